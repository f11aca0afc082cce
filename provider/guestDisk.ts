// A payload disk read back: whole when its machine is off, as a snapshot of it while the machine runs. A guest that can't be heard writes there first of all, and
// its report when it is left running.
import { GuestError } from "./errors.ts";
import { type PayloadReport, readPayload } from "./guest/payload.ts";
import { judgeFinalize, judgePackage } from "./guest/verdict.ts";
import { onlyDuplicate } from "./layer/build.ts";
import { lookKey } from "./layer/marks.ts";
import type { Context } from "./resource.ts";
import type { Xapi } from "./xapi/client.ts";
import { isGone } from "./xapi/pool.ts";
import type { Rec } from "./xapi/records.ts";

/** Far above any payload that is written here; a larger disk is not read back. */
const MAX_PAYLOAD = 8 * 2 ** 30;

interface PayloadDisk {
  $ref: string;
  virtual_size?: number | undefined;
}

export const fetchReport = async (ctx: Context, xapi: Xapi, payload: PayloadDisk): Promise<PayloadReport> =>
  readPayload(await fetchImage(ctx, xapi, payload));

/** The same, of a machine's own disk: somebody may have taken that away. */
export async function fetchAnswer(ctx: Context, xapi: Xapi, payload: Rec<"VDI">, vmName: string): Promise<PayloadReport> {
  try {
    return await fetchReport(ctx, xapi, payload);
  } catch (error) {
    if (!isGone(error, payload.$ref)) throw error;
    throw new GuestError(`the payload disk of packaging machine "${vmName}" is gone, and with it what the guest has reported`, {
      hint: "run `pulumi up` again: the machine gets another and goes on",
    });
  }
}

export async function fetchImage(ctx: Context, xapi: Xapi, payload: PayloadDisk): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const reading = { format: "raw" as const, size: payload.virtual_size, maxBytes: MAX_PAYLOAD, signal: ctx.signal };
  for await (const part of await xapi.getDisk(payload.$ref, reading)) parts.push(part);
  return Buffer.concat(parts);
}

export interface Looked {
  /** The bootstrap has run this order. */
  heard: boolean;
  /** What the order was answered with, though the machine runs. */
  answered?: string;
}

export async function lookAtDisk(
  ctx: Context,
  { xapi, payload, build, nonce }: { xapi: Xapi; payload: string; build: string; nonce: string },
): Promise<Looked> {
  // The snapshot bears the key too: so a run that is killed here leaves one that can be told from somebody's backup.
  await xapi.call("VDI.add_to_other_config", payload, lookKey(build), nonce).catch(onlyDuplicate);
  const snapshot = await xapi.call<string>("VDI.snapshot", payload);
  try {
    const report = await fetchReport(ctx, xapi, { $ref: snapshot });
    const { order } = report;
    if (order?.nonce !== nonce || report.boots.length === 0) return { heard: false };
    const said = report.report;
    // "done" and "ready" are followed by the power-off.
    if (said?.nonce !== nonce || (said.state !== "failed" && said.state !== "blocked")) return { heard: true };
    const { summary } = said.order === "package" ? judgePackage(order, report) : judgeFinalize(order, report);
    return { heard: true, answered: summary };
  } finally {
    await xapi.destroy("VDI", snapshot);
    await xapi.call("VDI.remove_from_other_config", payload, lookKey(build));
  }
}
