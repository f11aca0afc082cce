// One order carried out by a guest: the payload disk is written while the machine is halted, the machine boots, and when it has powered itself off the
// disk is read back. Promises: nothing a guest says while it runs is believed, it only shows as progress; a machine that was already at it
// (a run was killed) is waited for, not restarted; a guest whose bootstrap is never heard is an error within minutes.
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duration, GuestError, ProviderError } from "./errors.ts";
import type { Order } from "./guest/order.ts";
import { type PayloadContent, type PayloadReport, writePayload } from "./guest/payload.ts";
import { type Asked, shownProgress } from "./guest/progress.ts";
import { lookAtDisk } from "./guestDisk.ts";
import type { Hands, Reached } from "./hands.ts";
import type { Machine, PictureTaken } from "./layer/entry.ts";
import type { Context } from "./resource.ts";
import { offersRunScript } from "./runScript.ts";
import { until, untilHeard, type Verdict } from "./wait.ts";
import type { Xapi } from "./xapi/client.ts";
import { isNull, parseRecord, type Rec } from "./xapi/records.ts";

const MINUTE = 60_000;
/** Twice as late each time, as reading a disk back takes its time; and no later than this. */
const MOST_BETWEEN_LOOKS = 30 * MINUTE;
const PROGRESS_KEY = "vm-data/xenlayer/progress";

export interface GuestRun {
  xapi: Xapi;
  vm: string;
  vmName: string;
  payload: string;
  /** The build that machine and payload disk are of. */
  build: string;
  nonce: string;
  /** The order's steps and facts: what progress calls by number is shown by name. */
  steps?: Asked["steps"];
  facts?: Asked["facts"];
  /** Names the wait in errors. */
  doing: string;
  /** Manual mode: nobody is heard before the engineer is done, and this is shown meanwhile. */
  manual?: string | undefined;
  /** Installs the bootstrap in a guest that has none; where the program says how to log in. */
  hands?: Hands | undefined;
  /** Starts the machine first; else it is at it already. */
  starts?: boolean | undefined;
  bootMinutes: number;
  totalMinutes: number;
  /** Told where a picture of the console was put when a time limit was over. */
  pictured?: ((picture: PictureTaken) => Promise<unknown>) | undefined;
}

/** What its tools have told in this run; nothing is in the way of what an earlier run has heard. */
export interface GuestSeen {
  ipAddresses?: string[];
  toolsVersion?: string;
}

export async function sendOrder(ctx: Context, xapi: Xapi, payload: string, content: PayloadContent): Promise<void> {
  await sendImage(ctx, xapi, payload, await writePayload(content));
}

/** `size`: the whole disk, where an earlier order's files and secrets must not be left behind the new file system. */
export async function sendImage(ctx: Context, xapi: Xapi, payload: string, image: Uint8Array, size = 0): Promise<void> {
  const length = Math.max(image.length, size);
  const stream = async function* () {
    yield image;
    const zeros = Buffer.alloc(2 ** 20);
    for (let left = length - image.length; left > 0; left -= zeros.length) yield zeros.subarray(0, Math.min(left, zeros.length));
  };
  await xapi.put(payload, { format: "raw", length, stream }, { signal: ctx.signal });
}

/** Size a payload disk must have for this content, in bytes. */
export const payloadSize = async (content: PayloadContent): Promise<number> => (await writePayload(content)).length;

export function demandHalted(vm: Rec<"VM">): void {
  if (vm.power_state !== "Halted")
    throw new GuestError(`packaging machine "${vm.name_label}" is ${vm.power_state.toLowerCase()}, and not by an order of xenlayer`, {
      hint: "shut it down, then `pulumi up` again",
    });
}

async function start(ctx: Context, { xapi, vm }: GuestRun): Promise<void> {
  ctx.signal.throwIfAborted();
  ctx.report("starting the packaging machine");
  await xapi.task("VM.start", [vm, false, false], { signal: ctx.signal });
}

/** Waits until the guest has powered off; what it left is on the payload disk. */
export async function awaitPowerOff(ctx: Context, run: GuestRun): Promise<GuestSeen> {
  const { xapi } = run;
  let started = performance.now();
  const seen: GuestSeen = {};
  let latest: Rec<"VM"> | undefined;
  let heard = run.manual !== undefined;
  let nextLook = run.bootMinutes * MINUTE;
  let answered: Answered | undefined;
  let metricsOf = "";
  let runsScripts = false;
  const offers = () => ({ addresses: seen.ipAddresses ?? [], runsScripts });
  let ran = false;
  let wake = () => {};

  const look = async (): Promise<Look> => {
    // The event brought the record along; without one something may have been missed. One that comes while the record is read is the next look's.
    // Halted is said by events from before the start, too: it counts once the machine was seen otherwise.
    const brought = ran || latest?.power_state !== "Halted" ? latest : undefined;
    latest = undefined;
    const vm = brought ?? (await xapi.record("VM", run.vm));
    ran ||= vm !== undefined && vm.power_state !== "Halted";
    heard ||= progressOf(vm, run.nonce) !== undefined;
    const running = vm?.power_state === "Running";
    const reaching = !heard && run.hands !== undefined && !run.hands.known(offers());
    // An agent writes key by key, and xapi passes them on as they come: what lacks at the first look may be there at the next.
    const news = metricsOf !== vm?.guest_metrics || seen.ipAddresses === undefined || seen.toolsVersion === undefined;
    if (running && (reaching || (heard && news)) && !isNull(vm.guest_metrics)) {
      metricsOf = vm.guest_metrics;
      runsScripts ||= offersRunScript(await noteMetrics(xapi, vm.guest_metrics, seen));
    }
    if (running && !heard) run.hands?.reach(offers(), () => wake());
    const waited = performance.now() - started;
    const overdue = waited > run.bootMinutes * MINUTE;
    // No words of its own, or its last ones: but what it wrote to the payload disk can be read in a snapshot while the machine runs.
    const silent = run.manual === undefined && (progressOf(vm, run.nonce)?.includes("left running") ?? true);
    if (running && silent && waited > nextLook && answered === undefined) {
      nextLook = waited + Math.min(waited, MOST_BETWEEN_LOOKS);
      const looked = await lookAtDisk(ctx, run);
      heard ||= looked.heard;
      if (looked.answered !== undefined) answered = { said: looked.answered, at: waited };
    }
    // It may be about to power off: only one that goes on running is left running.
    const stays = answered !== undefined && waited - answered.at > Math.min(MINUTE, run.bootMinutes * MINUTE);
    return { vm, heard, overdue, reached: run.hands?.reached, ...(stays ? { answered: answered?.said } : {}) };
  };

  // From before the start on: so the events of the start itself bring the first record.
  const watching = xapi.watch([`VM/${run.vm}`], (events) => {
    const last = events?.findLast((event) => event.class.toLowerCase() === "vm" && event.ref === run.vm);
    latest = last?.snapshot === undefined ? undefined : parseRecord("VM", run.vm, last.snapshot);
    wake();
  });
  try {
    await untilHeard(watching, undefined, ctx.signal);
    if (run.starts === true) await start(ctx, run);
    started = performance.now();
    await until({
      for: run.doing,
      look,
      judge: (now) => judgeRun(run, now),
      subscribe: (woken) => {
        wake = woken;
        return { ready: watching.ready, close: () => {} };
      },
      timeoutMs: run.totalMinutes * MINUTE,
      // An address comes without an event of the VM.
      relookMs: Math.min(run.hands === undefined ? 30_000 : 10_000, Math.max(50, run.bootMinutes * MINUTE + 10)),
      signal: ctx.signal,
      report: ctx.report,
    }).catch(async (error) => Promise.reject(await leftRunning(ctx, error, run)));
  } finally {
    watching.close();
    run.hands?.close();
  }
  return seen;
}

class StillRunningError extends GuestError {}

const stillRunning = ({ vmName }: Pick<GuestRun, "vmName">, answered: string): StillRunningError =>
  new StillRunningError(`${answered}; machine "${vmName}" is left running, as something is at work there`, {
    hint: "look at its console and let that come to its end; when the machine is off (shut it down if it does not do so by itself), `pulumi up` again goes on from there",
  });

interface Answered {
  said: string;
  /** Of the wait, in milliseconds. */
  at: number;
}

interface Look {
  vm: Rec<"VM"> | undefined;
  heard: boolean;
  overdue: boolean;
  reached?: Reached | undefined;
  /** The order was answered, and the machine runs on: something in it must not be interrupted. */
  answered?: string | undefined;
}

/** Pure: what one look at a machine under orders means. */
export function judgeRun(
  run: Pick<GuestRun, "vmName" | "nonce" | "steps" | "facts" | "manual" | "bootMinutes">,
  { vm, heard, overdue, reached, answered }: Look,
): Verdict<true> {
  if (vm === undefined)
    return {
      state: "failed",
      error: new GuestError(`packaging machine "${run.vmName}" has been deleted while it worked`, {
        hint: "run `pulumi up` again: it will be made anew",
      }),
    };
  if (vm.power_state === "Halted") return { state: "ready", value: true };
  if (vm.power_state !== "Running") return { state: "pending", message: `the machine is ${vm.power_state.toLowerCase()}: resume it` };
  if (answered !== undefined) return { state: "failed", error: stillRunning(run, answered) };
  const progress = progressOf(vm, run.nonce);
  if (progress !== undefined) return { state: "pending", ...shownProgress(progress, run) };
  if (run.manual !== undefined) return { state: "pending", message: run.manual };
  if (heard) return { state: "pending", message: "the guest is at work (it has no tools to say more)" };
  if (reached?.refused !== undefined)
    return {
      state: "failed",
      error: new GuestError(`${reached.refused.message}; machine "${run.vmName}" is left running`, {
        hint: `${reached.refused.hint ?? "mend ssh or runScript of the packaging machine"}; then \`pulumi up\` again`,
      }),
    };
  if (!overdue)
    return { state: "pending", message: `booting; ${reached === undefined ? "nothing heard from its bootstrap yet" : reached.said}` };
  return {
    state: "failed",
    error: new StillRunningError(
      `nothing was heard from the bootstrap in packaging machine "${run.vmName}" within ${duration(run.bootMinutes * MINUTE)} of its start${reached === undefined ? "" : ` (${reached.said})`}`,
      {
        hint: "the OS layer must run xenlayer/run.cmd or run.sh of the disk labelled CIDATA at every boot, by cloud-init, cloudbase-init or the bootstrap that this disk carries; its console shows what it does instead (a generalised Windows may wait at its first questions). It is left running: run xenlayer\\bootstrap\\install.cmd (install.sh) of that disk there as administrator (root), then `pulumi up` again",
      },
    ),
  };
}

// "<nonce> <boot> <seq> <text>", at most 1 KiB of ASCII: data from the guest, shown and never acted on.
function progressOf(vm: Rec<"VM"> | undefined, nonce: string): string | undefined {
  const match = /^([0-9a-f]{32}) (\d{1,6}) (\d{1,9}) ([\x20-\x7e]{1,200})/.exec(vm?.xenstore_data[PROGRESS_KEY] ?? "");
  return match?.[1] === nonce ? match[4] : undefined;
}

async function noteMetrics(xapi: Xapi, ref: string, seen: GuestSeen): Promise<Readonly<Record<string, string>>> {
  const metrics = await xapi.record("VM_guest_metrics", ref);
  if (metrics === undefined) return {};
  const addresses = Object.entries(metrics.networks).filter(([key]) => /\/ip(v[46]\/\d+)?$/.test(key));
  if (addresses.length > 0) seen.ipAddresses = [...new Set(addresses.map(([, address]) => address))].sort().slice(0, 16);
  const { major, minor, micro, build } = metrics.PV_drivers_version;
  if (major !== undefined) seen.toolsVersion = [major, minor, micro, build].filter((part) => part !== undefined && part !== "-1").join(".");
  return metrics.other;
}

// A guest may be compiling or installing: it is never stopped because somebody lost patience (guest.md 2.7: an interrupted NGen breaks .NET).
async function leftRunning(ctx: Context, error: unknown, run: GuestRun): Promise<unknown> {
  if (error instanceof StillRunningError) return new GuestError(`${error.message}${await pictured(run)}`, { hint: error.hint });
  if (!(error instanceof ProviderError) || (error.kind !== "timeout" && error.kind !== "cancelled")) return error;
  const picture = error.kind === "timeout" ? await pictured(run) : "";
  // It may have said why since the last look.
  const looked = error.kind === "timeout" && run.manual === undefined ? await lookAtDisk(ctx, run).catch(() => undefined) : undefined;
  if (looked?.answered !== undefined) {
    const told = stillRunning(run, looked.answered);
    return new GuestError(`${told.message}${picture}`, { hint: told.hint, cause: error });
  }
  return new GuestError(`${error.message}; machine "${run.vmName}" is left running${picture}`, {
    hint: error.hint ?? "look at its console; `pulumi up` goes on waiting for it",
    cause: error,
  });
}

export const PICTURE_FOLDER = "xenlayer-console-";

/** Keeps what the console shows, where the account may look at it. */
async function pictured({ xapi, vm, vmName, doing, pictured: tell }: GuestRun): Promise<string> {
  try {
    const picture = await xapi.screenshot(vm);
    const folder = await mkdtemp(join(tmpdir(), PICTURE_FOLDER));
    const file = join(folder, `${vmName.replace(/[^A-Za-z0-9._-]+/g, "-")}.${picture[0] === 0x89 ? "png" : "jpg"}`);
    await writeFile(file, picture);
    await tell?.({ at: new Date().toISOString(), doing, file });
    return ` (its console is pictured in ${file})`;
  } catch {
    return "";
  }
}

/** The machine with one picture more; the last few are remembered. */
export const withPicture = (machine: Machine, picture: PictureTaken): Machine => ({
  ...machine,
  pictures: [...(machine.pictures ?? []), picture].slice(-4),
});

/** The steps that an earlier boot series has done, for the next order. */
export const doneSteps = (order: Order, report: PayloadReport) =>
  report.steps.filter((step) => step.state === "done" && order.steps.some(({ id }) => id === step.id));
