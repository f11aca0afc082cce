// Who makes the layer of a name, when several runs find that there is none. XAPI has names that may be there twice and no lock that an account of ours may use,
// but a VDI is there with its name at once: each run makes one, then looks who else did. Promises: whoever comes later sees who was earlier, so no two go on; the
// one with the greater uuid gives way and the other waits until it has, so that one goes on; what a dead run has claimed is in nobody's way, and a run that was
// only slow finds out before its claim becomes a record.
import { ConflictError, XapiError } from "../errors.ts";
import { takenBack } from "../plan.ts";
import type { Context } from "../resource.ts";
import { until } from "../wait.ts";
import type { Xapi } from "../xapi/client.ts";
import { OUTCOME_UNKNOWN } from "../xapi/codes.ts";
import { isGone } from "../xapi/pool.ts";
import type { Rec } from "../xapi/records.ts";
import type { Lease } from "./entry.ts";
import { elapsed, isOthers, LEASE_MS, leaseIn, newLease, now } from "./holder.ts";
import { CLAIM, hasOwnUuid, isCopy, isOurs, marksOf } from "./marks.ts";
import { LayerRecord } from "./record.ts";
import { bearsMeta, recordName } from "./recordKeys.ts";

/** Claims of this process that are at work: a failed one leaves its VDI to the next, which is of the same process perhaps. */
const own = new Set<string>();

/** A record, or what is to become one, unless it is somebody's copy. */
export const claims = (xapi: Xapi, vdi: Rec<"VDI">): boolean =>
  bearsMeta(vdi)
    ? LayerRecord.among(xapi, [vdi]).length > 0
    : !vdi.is_a_snapshot && !isCopy(vdi) && marksOf(vdi)?.role === "layer" && isLive(vdi);

function isLive(vdi: Rec<"VDI">): boolean {
  return own.has(vdi.$ref) || isOthers(leaseOf(vdi));
}

const leaseOf = (vdi: Rec<"VDI">): Lease | undefined => leaseIn(vdi.other_config[CLAIM]);

/** A name that this run has, as long as nobody can have taken the run for dead. */
export interface Claim {
  /** Without the claim in its other_config. */
  readonly vdi: Rec<"VDI">;
  /** Before what others will rely on: whether it still has the name; it is said anew where whoever came meanwhile may have thought otherwise. */
  holds(): Promise<boolean>;
  /** After it, for a call may have been repeated for long: whether it was nobody else's by then. */
  held(): Promise<boolean>;
  end(): void;
}

/** Undefined = another run has the name, or gave it up: look again. */
export async function claimName(
  ctx: Context,
  xapi: Xapi,
  name_label: string,
  fresh: { other_config: Record<string, string> } & Record<string, unknown>,
): Promise<Claim | undefined> {
  const { other_config } = fresh;
  const claiming = () => ({ ...other_config, [CLAIM]: JSON.stringify(newLease()) });
  let since = now();
  const ref = await created(xapi, { ...fresh, name_label, other_config: claiming() });
  own.add(ref);
  const end = () => void own.delete(ref);
  const alone = async (): Promise<boolean> => {
    const all = await xapi.find("VDI", { name_label });
    return all.some(({ $ref }) => $ref === ref) && !all.some((other) => other.$ref !== ref && claims(xapi, other));
  };
  // Said first, then looked: who has come before is there, and who comes later sees it.
  const holds = async (): Promise<boolean> => {
    if (elapsed(since) < LEASE_MS / 2) return true;
    since = now();
    await xapi.call("VDI.set_other_config", ref, claiming());
    return await alone();
  };
  const held = async (): Promise<boolean> => elapsed(since) < LEASE_MS || (await alone());
  try {
    const all = await xapi.find("VDI", { name_label });
    const vdi = all.find(({ $ref }) => $ref === ref);
    const rivals = all.filter((other) => other.$ref !== ref && claims(xapi, other));
    for (const { vdi: other, meta } of LayerRecord.among(xapi, rivals))
      if (recordName(meta.name) !== name_label)
        throw new ConflictError(`disk ${other.uuid} is named "${name_label}", and is the record of layer "${meta.name}"`, {
          hint: "rename it, or run the program that has that layer, which gives its record the right name again",
        });
    const later = rivals.every((rival) => !bearsMeta(rival) && vdi !== undefined && rival.uuid > vdi.uuid);
    if (vdi !== undefined && later) {
      for (const rival of rivals) await givenUp(ctx, xapi, rival);
      const there = rivals.length === 0 ? all : await xapi.find("VDI", { name_label });
      const gone = !there.some((other) => claims(xapi, other) && rivals.some(({ $ref }) => $ref === other.$ref));
      // What killed runs of this connector have left, one that was waited for, too.
      const marks = { role: "layer", connector: marksOf(vdi)?.connector ?? "" } as const;
      const left = there.filter((other) => other.$ref !== ref && isOurs(other, marks) && isLeft(xapi, other));
      if (gone && (await holds()) && (await removed(xapi, left))) return { vdi: { ...vdi, other_config }, holds, held, end };
    }
    await xapi.destroy("VDI", ref);
    end();
    for (const rival of rivals) await givenUp(ctx, xapi, rival);
    return undefined;
  } catch (error) {
    end();
    // Another run has taken this one for dead.
    if (isGone(error, ref)) return undefined;
    throw await takenBack(error, () => xapi.destroy("VDI", ref));
  }
}

/** What a dead run has claimed and not made a record of; a record that has lost its marks, and gets them back, bears its own uuid first. */
const isLeft = (xapi: Xapi, vdi: Rec<"VDI">): boolean => !bearsMeta(vdi) && !hasOwnUuid(vdi) && !claims(xapi, vdi);

/** Takes away what dead runs have left of their claims. False: one of them was only slow; it is looked at again, for by now it may have a record there. */
export async function removed(xapi: Xapi, left: readonly Rec<"VDI">[]): Promise<boolean> {
  for (const { $ref } of left) {
    const vdi = await xapi.record("VDI", $ref);
    if (vdi !== undefined && !isLeft(xapi, vdi)) return false;
    await xapi.destroy("VDI", $ref);
  }
  return true;
}

/** Where the answer is lost, the VDI is known by its claim, which no other bears. */
async function created(xapi: Xapi, fresh: { name_label: string; other_config: Record<string, string> }): Promise<string> {
  try {
    return await xapi.call<string>("VDI.create", fresh);
  } catch (error) {
    if (!(error instanceof XapiError) || error.code !== OUTCOME_UNKNOWN) throw error;
    const found = await xapi.find("VDI", { name_label: fresh.name_label });
    const made = found.find(({ other_config }) => other_config[CLAIM] === fresh.other_config[CLAIM]);
    if (made === undefined) throw error;
    return made.$ref;
  }
}

/** Waits until a rival has its record, or has gone. */
async function givenUp(ctx: Context, xapi: Xapi, rival: Rec<"VDI">): Promise<void> {
  await until<Rec<"VDI"> | undefined, true>({
    for: `"${rival.name_label}" to be made by another run`,
    look: () => xapi.record("VDI", rival.$ref),
    judge: (vdi) => {
      if (vdi === undefined || bearsMeta(vdi) || !isLive(vdi)) return { state: "ready", value: true };
      const { host = "this machine", pid = process.pid } = leaseOf(vdi) ?? {};
      return { state: "pending", message: `"${vdi.name_label}" is being made by a run on ${host} (process ${pid}); waiting for it` };
    },
    subscribe: (wake) => xapi.watch([`VDI/${rival.$ref}`], () => wake()),
    timeoutMs: 2 * LEASE_MS,
    relookMs: 5000,
    signal: ctx.signal,
    report: ctx.report,
  });
}
