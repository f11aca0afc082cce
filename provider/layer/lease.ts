// One open operation per version: whoever works on a version holds a lease in its entry, written by compare-and-swap and renewed while the work goes on.
// A holder that is slow finds out when it renews (another generation is there) and its signal is aborted before its next change.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { ConflictError, duration } from "../errors.ts";
import type { Context } from "../resource.ts";
import type { Entry, Lease } from "./entry.ts";
import { type LayerRecord, randomId } from "./record.ts";

const LEASE_MS = 120_000;
const RENEW_MS = 40_000;

// One per process: two operations of one run on one version follow each other by the engine's own order.
const RUN = randomId();

/** What a holder may do to its entry. Writes follow one another; a lost lease aborts `signal`. */
export interface Held {
  readonly signal: AbortSignal;
  readonly entry: Entry;
  update(change: (entry: Entry) => Entry): Promise<void>;
}

/** Takes the lease of `name`, works, and gives it back with the last write (`finish`), or as it is when the work fails. */
export async function withLease<T>(
  ctx: Context,
  record: LayerRecord,
  name: string,
  first: (entry: Entry | undefined) => Entry,
  work: (held: Held) => Promise<{ result: T; finish?: (entry: Entry) => Entry | undefined }>,
): Promise<T> {
  await freeToTake(ctx, record, name);
  let entry: Entry = { ...first(record.versions.get(name)), lease: newLease() };
  await record.put(name, entry);
  const lost = new AbortController();
  const signal = AbortSignal.any([ctx.signal, lost.signal]);
  let writes: Promise<unknown> = Promise.resolve();
  const write = (change: (entry: Entry) => Entry): Promise<void> => {
    const done = writes.then(async () => {
      signal.throwIfAborted();
      const next = change(entry);
      await record.put(name, next);
      entry = next;
    });
    writes = done.catch(() => {});
    return done;
  };
  const renewal = setInterval(() => {
    write((current) => ({ ...current, lease: newLease() })).catch((error) => {
      if (error instanceof ConflictError)
        lost.abort(new ConflictError(`lost the lease of version ${name}: another run has taken it over`, { cause: error }));
    });
  }, RENEW_MS);
  renewal.unref();
  const release = (change: (entry: Entry) => Entry | undefined) =>
    writes.then(async () => {
      clearInterval(renewal);
      const next = change(entry);
      if (next !== undefined) await record.put(name, withoutLease(next));
    });
  try {
    const { result, finish } = await work({
      signal,
      get entry() {
        return entry;
      },
      update: (change) => write((current) => ({ ...change(current), lease: newLease() })),
    });
    await release(finish ?? ((current) => current));
    return result;
  } catch (error) {
    clearInterval(renewal);
    if (!lost.signal.aborted && record.versions.has(name)) await release((current) => current).catch(() => {});
    throw lost.signal.aborted ? lost.signal.reason : error;
  } finally {
    clearInterval(renewal);
  }
}

/** Waits until no other live run holds it. */
export async function freeToTake(ctx: Context, record: LayerRecord, name: string): Promise<void> {
  for (;;) {
    const lease = record.versions.get(name)?.lease;
    const left = lease === undefined || lease.run === RUN || isDead(lease) ? 0 : lease.until - Date.now();
    if (lease === undefined || left <= 0) return;
    // A lease longer than we ever give comes from a clock that is ahead: it is not waited out.
    if (left > 2 * LEASE_MS)
      throw new ConflictError(
        `version ${name} of layer "${record.meta.name}" is held by a run on ${lease.host} until ${new Date(lease.until).toISOString()}`,
        {
          hint: "check the clocks of both machines",
        },
      );
    ctx.report(`version ${name} is held by a run on ${lease.host} (process ${lease.pid}); waiting up to ${duration(left)}`);
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, Math.min(left, 5000));
      const stop = () => {
        clearTimeout(timer);
        reject(ctx.signal.reason);
      };
      ctx.signal.addEventListener("abort", stop, { once: true });
    });
    await record.refresh();
  }
}

function newLease(): Lease {
  const started = startTime(process.pid);
  return { run: RUN, host: hostname(), pid: process.pid, ...(started === undefined ? {} : { started }), until: Date.now() + LEASE_MS };
}

export function withoutLease(entry: Entry): Entry {
  const { lease: _, ...rest } = entry;
  return rest as Entry;
}

// A run of this very machine that was killed can be told by its process; elsewhere only the time tells.
function isDead(lease: Lease): boolean {
  if (lease.host !== hostname()) return false;
  try {
    process.kill(lease.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
  const started = startTime(lease.pid);
  return lease.started !== undefined && started !== undefined && started !== lease.started;
}

// Field 22 of /proc/PID/stat (proc(5)): a process id that was given anew has another start time.
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
