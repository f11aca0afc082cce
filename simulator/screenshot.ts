/** GET /vncsnapshot: a picture of a VM's console, as dom0's vncsnapshot makes it (xen-api ocaml/xapi/xapi_http.ml: a JPEG). No guest here has a display, so it is always a grey one. */
import type { Context, HttpHandler } from "./context.ts";
import { fail } from "./errors.ts";
import type { HttpRequest } from "./http.ts";
import type { HttpReply } from "./httpReply.ts";
import type { Action } from "./server.ts";

/** 16 x 16, baseline, one component: tables of one code each, four blocks whose coefficients are all zero. */
const GREY = Buffer.from(
  [
    "ffd8",
    `ffdb004300${"01".repeat(64)}`,
    "ffc0000b080010001001011100",
    `ffc4001400${"01"}${"00".repeat(16)}`,
    `ffc4001410${"01"}${"00".repeat(16)}`,
    "ffda0008010100003f00",
    "00",
    "ffd9",
  ].join(""),
  "hex",
);

const snapshot: HttpHandler = async (request: HttpRequest, reply: HttpReply, ctx: Context) => {
  const { uuid, ref } = request.query;
  const vm = ref ?? ctx.db.refOf("VM", uuid ?? "");
  const { power_state, is_control_domain } = ctx.db.get("VM", vm);
  if (is_control_domain) ctx.sessions.authorize(ctx.session, "http/get_vncsnapshot/host_console");
  if (power_state !== "Running") fail("VM_BAD_POWER_STATE", vm, "running", power_state.toLowerCase());
  await reply.send(200, "image/jpeg", GREY, { connection: "close" });
  return undefined;
};

export const screenshots: Readonly<Record<string, Action>> = { "GET /vncsnapshot": { handle: snapshot } };
