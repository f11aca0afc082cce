// A lease, as it is written into what a run works on: whose it is, how long it counts, and whether its run is dead.
import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { type Lease, leaseSchema } from "./entry.ts";

export const LEASE_MS = 120_000;

// One per process: two operations of one run on one version follow each other by the engine's own order.
const RUN = randomBytes(16).toString("hex");

export function newLease(): Lease {
  const started = startTime(process.pid);
  const known = { ...(MACHINE === undefined ? {} : { machine: MACHINE }), ...(started === undefined ? {} : { started }) };
  return { run: RUN, host: hostname(), pid: process.pid, ...known, until: Date.now() + LEASE_MS };
}

/** What a key of an object's marks says; undefined = there is none, or none that can be read. */
export function leaseIn(text: string | undefined): Lease | undefined {
  try {
    return leaseSchema.parse(JSON.parse(text ?? ""));
  } catch {
    return undefined;
  }
}

/** A live run's that is not this one; free is what is nobody's, ours, or a dead run's. */
export const isOthers = (lease: Lease | undefined): boolean => lease !== undefined && !isOwn(lease) && leftOf(lease) > 0;
export const isOwn = (lease: Lease | undefined): lease is Lease => lease?.run === RUN;

/** Milliseconds that a lease still counts; none when its holder is dead. */
export const leftOf = (lease: Lease): number => (isDead(lease) ? 0 : lease.until - Date.now());

/** Neither clock alone tells how long ago something was: one stands still while the machine sleeps, the other can be set. */
export interface Moment {
  monotonic: number;
  wall: number;
}
export const now = (): Moment => ({ monotonic: performance.now(), wall: Date.now() });

/** Milliseconds, by whichever clock says more. */
export const elapsed = (since: Moment): number => Math.max(performance.now() - since.monotonic, Math.abs(Date.now() - since.wall));

// Names of hosts tell nothing: runners are made from one image. The id of this boot and the namespace of its processes (random(4), pid_namespaces(7)) do.
const MACHINE = ((): string | undefined => {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return undefined;
  }
})();

// A run of this very machine that was killed can be told by its process; elsewhere only the time tells.
export function isDead(lease: Lease): boolean {
  if (MACHINE === undefined || lease.machine !== MACHINE) return false;
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
