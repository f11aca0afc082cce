/** message: the pool's log of what happened (xen-api ocaml/xapi/xapi_message.ml). */
import type { Context, Messages } from "../context.ts";
import { date } from "../datamodel.ts";
import type { Records } from "../records.ts";

type Message = Records["message"];

const CLASSES: Readonly<Record<Message["cls"], string>> = {
  VM: "VM",
  Host: "host",
  SR: "SR",
  Pool: "pool",
  VMPP: "VMPP",
  VMSS: "VMSS",
  PVS_proxy: "PVS_proxy",
  VDI: "VDI",
  Certificate: "Certificate",
};

function since(ctx: Context, earliest: string, fits: (message: Message) => boolean): Record<string, Message> {
  return Object.fromEntries(ctx.db.all("message").filter(([, message]) => message.timestamp >= earliest && fits(message)));
}

export const message = {
  create: (ctx: Context, name: string, priority: number, cls: Message["cls"], obj_uuid: string, body: string) => {
    ctx.db.refOf(CLASSES[cls], obj_uuid);
    return ctx.db.create("message", { name, priority, cls, obj_uuid, body, timestamp: date(ctx.clock.now()) });
  },
  get: (ctx: Context, cls: Message["cls"], uuid: string, earliest: string) =>
    since(ctx, earliest, (m) => m.cls === cls && m.obj_uuid === uuid),
  get_since: (ctx: Context, earliest: string) => since(ctx, earliest, () => true),
  destroy: (ctx: Context, ref: string) => ctx.db.destroy("message", ref),
  destroy_many: (ctx: Context, refs: readonly string[]) => {
    for (const ref of refs) ctx.db.destroy("message", ref);
  },
} satisfies Messages;
