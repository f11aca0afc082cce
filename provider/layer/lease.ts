// One open operation per version: whoever works on a version holds a lease in its entry, written by compare-and-swap and renewed while the work goes on.
// A holder that is slow finds out when it renews (another generation is there) and its signal is aborted before its next change.
import { ConflictError } from "../errors.ts";
import type { Context } from "../resource.ts";
import { until } from "../wait.ts";
import { located } from "./build.ts";
import { disksOf, removeBuild } from "./buildRemoval.ts";
import type { Entry, Lease } from "./entry.ts";
import { elapsed, isOthers, LEASE_MS, leftOf, type Moment, newLease, now } from "./holder.ts";
import type { LayerRecord } from "./record.ts";

const RENEW_MS = 40_000;
/** A build under way takes its time; whoever wants the same version waits for it as long as a build may take. */
const WAIT_MS = 6 * 3_600_000;

/** What a holder may do to its entry. Writes follow one another; a lost lease aborts `signal`. */
export interface Held {
  readonly signal: AbortSignal;
  /** Another run has taken the version over: nothing of it may be touched. */
  readonly lost: boolean;
  readonly entry: Entry;
  update(change: (entry: Entry) => Entry): Promise<void>;
  /** Before a change that follows a long wait, or (`always`) takes something away: fails where another run has taken the version over. */
  confirm(always?: boolean): Promise<void>;
}

/**
 * Takes the lease of `name`, works, and gives it back with the last write (`finish`), or as it is when the work fails. Whoever waited for another run may find
 * its work done: where `first` says so (undefined), nothing is written and the answer is undefined.
 */
export async function withLease<T>(
  ctx: Context,
  record: LayerRecord,
  name: string,
  first: (entry: Entry | undefined) => Entry | undefined,
  work: (held: Held) => Promise<{ result: T; finish?: (entry: Entry) => Entry }>,
): Promise<T | undefined> {
  const taken = await take(ctx, record, name, first);
  if (taken === undefined) return undefined;
  let entry = taken;
  let confirmedAt = now();
  const lost = new AbortController();
  const signal = AbortSignal.any([ctx.signal, lost.signal]);
  let writes: Promise<unknown> = Promise.resolve();
  const put = async (next: Entry, confirmed = isStale(confirmedAt)): Promise<void> => {
    await record.put(name, next, { confirmed }).catch((error: unknown) => {
      if (error instanceof ConflictError)
        lost.abort(new ConflictError(`lost the lease of version ${name}: another run has taken it over`, { cause: error }));
      throw error;
    });
    if (confirmed) confirmedAt = now();
    entry = next;
  };
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const done = writes.then(work);
    writes = done.catch(() => {});
    return done;
  };
  const write = (change: (entry: Entry) => Entry): Promise<void> =>
    inTurn(() => {
      signal.throwIfAborted();
      return put(change(entry));
    });
  // A renewal that fails otherwise is made up for by the next, or the lease ends.
  const renewal = setInterval(() => void write((current) => ({ ...current, lease: newLease() })).catch(() => {}), RENEW_MS);
  renewal.unref();
  const end = async (change: (entry: Entry) => Entry): Promise<void> => {
    clearInterval(renewal);
    await writes;
    lost.signal.throwIfAborted();
    if (!record.versions.has(name)) return;
    const last = withoutLease(change(entry));
    // A seal is not taken back: it is confirmed however fresh the lease is, for a clock that is ahead elsewhere may have let another run in.
    const seals = last.state === "Deployable" && entry.state !== "Deployable";
    await put(last, seals || isStale(confirmedAt));
  };
  try {
    const { result, finish = (current) => current } = await work({
      signal,
      get lost() {
        return lost.signal.aborted;
      },
      get entry() {
        return entry;
      },
      update: (change) => write((current) => ({ ...change(current), lease: newLease() })),
      confirm: (always = false) =>
        inTurn(async () => {
          lost.signal.throwIfAborted();
          if (always || isStale(confirmedAt)) await put({ ...entry, lease: newLease() }, true);
        }),
    });
    await end(finish);
    return result;
  } catch (error) {
    // Asked before: what this run has written and could not confirm would look like another's.
    const why = lost.signal.aborted ? lost.signal.reason : error;
    await end((current) => current).catch(() => {});
    throw why;
  }
}

/** While the lease is fresh nobody else writes; a run that slept may have been overtaken, and more than once. */
const isStale = (since: Moment): boolean => elapsed(since) > RENEW_MS / 2;

/** The entry with our lease in it. Of two runs that find a version free at the same time, one is told that it came second, and waits. */
async function take(
  ctx: Context,
  record: LayerRecord,
  name: string,
  first: (entry: Entry | undefined) => Entry | undefined,
): Promise<Entry | undefined> {
  for (;;) {
    await freeToTake(ctx, record, name);
    const wanted = first(record.versions.get(name));
    if (wanted === undefined) return undefined;
    const entry: Entry = { ...wanted, lease: newLease() };
    const before = record.versions.get(name);
    try {
      await record.put(name, entry);
      // The write is there, and who removes the layer has not seen it perhaps: whichever of the two sees the other gives way.
      if (!isOthers(record.removal)) return entry;
      await (before === undefined ? record.remove(name) : record.put(name, before));
    } catch (error) {
      if (!(error instanceof ConflictError) || ctx.signal.aborted) throw error;
      await record.refresh();
    }
  }
}

/** Waits until no other live run holds the version, or removes the layer: woken by what that run writes, and when its lease ends. */
export async function freeToTake(ctx: Context, record: LayerRecord, name?: string): Promise<void> {
  const { xapi } = record;
  if (inTheWay(record, name) === undefined) return;
  await until<Lease | undefined, true>({
    for: `${called(record, name)} to be free`,
    look: async () => {
      await record.refresh();
      return inTheWay(record, name);
    },
    judge: (lease) => {
      if (lease === undefined) return { state: "ready", value: true };
      // A lease longer than we ever give comes from a clock that is ahead: it is not waited out.
      if (leftOf(lease) > 2 * LEASE_MS)
        return { state: "failed", error: heldByOther(record, name, lease, "check the clocks of both machines") };
      const what = lease === record.removal ? `layer "${record.meta.name}" is being removed` : `version ${name} is held`;
      return { state: "pending", message: `${what} by a run on ${lease.host} (process ${lease.pid}); waiting for it` };
    },
    subscribe: (wake) => xapi.watch([`VDI/${record.vdi.$ref}`], () => wake()),
    timeoutMs: WAIT_MS,
    relookMs: 5000,
    signal: ctx.signal,
    report: ctx.report,
  });
}

/** Refuses at once where a live run is at work on the version, or removes the layer. */
export function demandFree(record: LayerRecord, name?: string): void {
  const lease = inTheWay(record, name);
  if (lease !== undefined) throw heldByOther(record, name, lease, "wait until that run has ended, or stop it, then run again");
}

const called = (record: LayerRecord, name: string | undefined): string =>
  `${name === undefined ? "" : `version ${name} of `}layer "${record.meta.name}"`;

const heldByOther = (record: LayerRecord, name: string | undefined, lease: Lease, hint: string): ConflictError =>
  new ConflictError(
    `${lease === record.removal ? `${called(record, undefined)} is being removed` : `${called(record, name)} is being worked on`} by a run on ${lease.host} (process ${lease.pid}), which holds it until ${new Date(lease.until).toISOString()}`,
    { hint },
  );

/** Whether another live run holds the version, or removes its layer. */
export const isHeld = (record: LayerRecord, name: string): boolean => inTheWay(record, name) !== undefined;

const inTheWay = (record: LayerRecord, name: string | undefined): Lease | undefined =>
  [record.removal, record.versions.get(name ?? "")?.lease].find(isOthers);

/** Takes away a version that this run has begun. */
export async function abandon(ctx: Context, record: LayerRecord, name: string, held: Held): Promise<void> {
  if (held.lost) return;
  await held.confirm(true);
  const { xapi } = record;
  const seen = await disksOf(xapi, record, held.entry);
  const { vdi } = await located(xapi, record, held.entry, seen);
  if (vdi !== undefined && vdi !== held.entry.vdi) await held.update((entry) => ({ ...entry, vdi }));
  await removeBuild(ctx, xapi, record, held.entry, { seen });
  // A rename that was killed has left it under both names; the held one goes last, for it is what is asked for again.
  const { id, holders } = held.entry;
  for (const [other, twin] of record.versions)
    if (other !== name && twin.id === id && twin.holders.disk === holders.disk && !isHeld(record, other)) await record.remove(other);
  await record.remove(name);
}

export function withoutLease(entry: Entry): Entry {
  const { lease: _, ...rest } = entry;
  return rest as Entry;
}
