// Packaging: the machine boots the version's disk and runs its steps, from whatever an earlier run has left to all steps done.
// Promises: a disk that carries other steps than these is never gone on with; a machine that is at work is waited for, never restarted; what is
// recorded as packaged has been proved by the guest's report for this very order.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { storageOf } from "./connector.ts";
import { ConflictError, GuestError, InitFailedError, InputError } from "./errors.ts";
import { secondsTaken } from "./guest/guestTime.ts";
import { buildOrder, type Order, type StepInput } from "./guest/order.ts";
import type { PayloadReport, StepReport } from "./guest/payload.ts";
import { type Verdict as GuestVerdict, judgeFinalize, judgePackage, type StepVerdict } from "./guest/verdict.ts";
import { fetchAnswer } from "./guestDisk.ts";
import { awaitPowerOff, demandHalted, doneSteps, type GuestSeen, payloadSize, sendOrder, withPicture } from "./guestRun.ts";
import { ensureDisk } from "./layer/build.ts";
import { removeBuild, removeStale } from "./layer/buildRemoval.ts";
import { anew, differences, type Entry, type Machine, type StepResult } from "./layer/entry.ts";
import { type Held, withLease } from "./layer/lease.ts";
import { diskOf, type OpenedVersion } from "./layer/open.ts";
import { type LayerRecord, randomId, versionId } from "./layer/record.ts";
import { sealedRefusal } from "./layer/sealed.ts";
import { ensureMachine, type MachineRequest } from "./machine.ts";
import { type Parts, partsOf, sealedChanges } from "./parts.ts";
import type { Context } from "./resource.ts";
import type { Inputs, Outputs } from "./resources/packagingMachine.ts";
import { handsFor } from "./waysIn.ts";
import type { Xapi } from "./xapi/client.ts";
import type { Rec } from "./xapi/records.ts";

/** The machine with all its steps done: taken as it is, waited for, resumed, or made. */
export async function packaged(ctx: Context, opened: OpenedVersion, wanted: Inputs): Promise<Outputs> {
  const { xapi, record, name } = opened;
  const parts = (await partsOf(wanted)) ?? {};
  const holder = randomId();
  const holding = (entry: Entry): Entry => ({ ...entry, holders: { ...entry.holders, machine: holder } });
  const made: Made = { vm: undefined, consoleUrl: "" };
  const first = (before: Entry | undefined): Entry | undefined => {
    if (before === undefined) throw new ConflictError(`version ${name} has been removed meanwhile`, { hint: "run `pulumi up` again" });
    return before.state === "Deployable" ? undefined : prepared(before, record, name, parts, wanted);
  };
  const outputs = await withLease<Outputs>(ctx, record, name, first, async (held) => {
    const work: Context = { ...ctx, signal: held.signal };
    const vdi = await diskFor(work, opened, wanted, held);
    try {
      const entry = held.entry.machine?.packaged === true ? held.entry : await run(work, opened, wanted, held, vdi, made);
      // The hold comes last: a run that fails before it has a machine must not take the version from the resource that has it.
      return { result: told(opened, entry, holder, made), finish: () => holding(entry) };
    } catch (error) {
      // Before there is a machine, nothing is to be kept that the record does not tell.
      if (made.vm === undefined || held.lost) throw error;
      if (wanted.onFailure === "delete" && error instanceof GuestError && !(await isRunning(xapi, made.vm))) {
        await held.update((entry) => ({ ...entry, machine: { ...(entry.machine as Machine), removed: true } }));
        await removeBuild(work, xapi, record, held.entry, { roles: ["payload"] });
        throw error;
      }
      await held.update(holding).catch(() => {});
      throw new InitFailedError(wanted.disk, told(opened, held.entry, held.entry.holders.machine ?? holder, made), error);
    }
  });
  if (outputs !== undefined) return outputs;
  // Sealed, now or by the run that was waited for.
  const entry = record.versions.get(name) ?? opened.entry;
  const refusal = sealedRefusal(record, name, entry, sealedChanges(entry, parts, wanted.mode));
  if (refusal !== undefined) throw new InputError([{ property: "install", reason: refusal }]);
  await record.put(name, holding(entry));
  return told(opened, entry, holder);
}

const osOf = (entry: Entry) => entry.base?.os ?? "windows";

const isRunning = async (xapi: Xapi, vm: Rec<"VM">): Promise<boolean> =>
  ((await xapi.record("VM", vm.$ref))?.power_state ?? "Halted") !== "Halted";

/** The entry as this run begins: a disk that carries other steps than these is to be cloned anew (`vdi` absent). */
function prepared(before: Entry, record: LayerRecord, version: string, parts: Parts, wanted: Inputs): Entry {
  const { machine } = before;
  const stale =
    machine?.begun === true && (differences(before.content, { parts }).length > 0 || machine.mode !== wanted.mode || isLost(machine));
  const entry: Entry = {
    ...(stale ? anew(before, { build: randomId() }) : before),
    state: "Editing",
    content: { ...before.content, parts },
  };
  return {
    ...entry,
    machine:
      machine === undefined || stale ? newMachine(record, version, entry.build, wanted) : { ...machine, resumed: true, removed: false },
  };
}

// The machine went and its disk kept what had been done: nobody can tell how much of the steps that is.
const isLost = (machine: Machine): boolean => machine.removed === true && machine.nonce !== undefined;

const newMachine = (record: LayerRecord, version: string, build: string, { mode }: Inputs): Machine => ({
  name: `${record.meta.name} ${version} packaging ${build.slice(0, 8)}`,
  begun: true,
  packaged: false,
  mode,
  steps: [],
});

async function diskFor(ctx: Context, { xapi, record, name }: OpenedVersion, wanted: Inputs, held: Held): Promise<Rec<"VDI">> {
  const vdi = await diskOf({ xapi, record, entry: held.entry });
  if (vdi !== undefined && held.entry.stale === undefined) return vdi;
  if (held.entry.base === undefined) throw new ConflictError(`version ${name} has no disk and its base isn't recorded`);
  // A disk that somebody has deleted took with it what had been installed.
  if (vdi === undefined && held.entry.vdi !== undefined)
    await held.update((entry) => {
      const build = randomId();
      return { ...anew(entry, { build }), machine: newMachine(record, name, build, wanted) };
    });
  const { base, fileName, content } = held.entry;
  if (base === undefined) throw new ConflictError(`version ${name} has no disk and its base isn't recorded`);
  if (held.entry.stale !== undefined) ctx.report(`${name} is cloned anew: its disk carries other steps`);
  await removeStale(ctx, xapi, record, held.entry);
  const made = await ensureDisk(ctx, xapi, {
    sr: await storageOf(xapi, wanted.connector),
    record,
    version: name,
    entry: held.entry,
    base,
    fileName: fileName ?? `${record.meta.name} ${name}`,
    sizeGiB: content.sizeGiB,
  });
  await held.update(({ stale: _, ...entry }) => ({ ...entry, vdi: made.vdi.uuid, sr: made.vdi.SR, depth: made.depth }) as Entry);
  return made.vdi;
}

interface Made {
  vm: Rec<"VM"> | undefined;
  consoleUrl: string;
}

async function run(ctx: Context, opened: OpenedVersion, wanted: Inputs, held: Held, vdi: Rec<"VDI">, made: Made): Promise<Entry> {
  const { xapi, record, name } = opened;
  const machine = held.entry.machine as Machine;
  const request: MachineRequest = {
    connector: wanted.connector,
    record,
    version: name,
    entry: held.entry,
    vdi,
    name: machine.name,
    wanted: { ...wanted, os: osOf(held.entry) },
    settings: settingsOf(wanted),
  };
  const byHand = wanted.mode === "manual";
  const policies = wanted.checks ?? {};
  const orderFor = (nonce?: string) =>
    buildOrder({
      order: "package",
      os: osOf(held.entry),
      layer: record.meta.name,
      version: name,
      mode: wanted.mode,
      install: wanted.install as StepInput[],
      cleanup: wanted.cleanup as StepInput[],
      policies,
      accept,
      ...(nonce === undefined ? {} : { nonce }),
    });
  const files = await Promise.all(
    Object.entries(wanted.files ?? {}).map(async ([file, path]) => ({ name: file, data: await readFile(path) })),
  );
  const content = (order: Order, done: readonly StepReport[] = []) => ({ order, secrets: secretsOf(order, wanted), files, done });

  // By hand, what Shutdown For Finalize called noisy and the full rules find harmless goes into the next order.
  let accept = machine.accept ?? [];
  // A machine that an earlier run has started is waited for and heard first; only what it has not done is ordered again.
  let order = orderFor(machine.order === "package" ? machine.nonce : undefined);
  const parts = await ensureMachine(ctx, xapi, request, await payloadSize(content(order)));
  made.vm = parts.vm;
  made.consoleUrl = `https://${xapi.pool.coordinator.address}/console?vm=${parts.vm.uuid}`;
  const wait = async (starts: boolean): Promise<{ seen: GuestSeen; report: PayloadReport; verdict: GuestVerdict }> => {
    const seen = await awaitPowerOff(ctx, {
      xapi,
      vm: parts.vm.$ref,
      vmName: machine.name,
      payload: parts.payload.$ref,
      build: held.entry.build,
      nonce: order.nonce,
      steps: order.steps,
      facts: order.facts,
      doing: byHand ? `the engineer at "${machine.name}"` : `the install steps in "${machine.name}"`,
      manual: byHand ? manualText(parts.vm, made.consoleUrl, held.entry.base?.account) : undefined,
      starts,
      pictured: (picture) => held.update((entry) => ({ ...entry, machine: withPicture(entry.machine as Machine, picture) })),
      // By hand, the engineer is the hands.
      hands: byHand ? undefined : handsFor(xapi, wanted, parts.vm, osOf(held.entry)),
      bootMinutes: wanted.timeouts.bootMinutes,
      totalMinutes: wanted.timeouts.packageMinutes,
    });
    const report = await fetchAnswer(ctx, xapi, parts.payload, machine.name);
    return { seen, report, verdict: byHand ? judgeFinalize(order, report, policies) : judgePackage(order, report) };
  };
  let done: readonly StepReport[] = [];
  const resumes = machine.order === "package" && machine.nonce !== undefined;
  if (!resumes) demandHalted(parts.vm);
  let last = resumes ? await wait(false) : undefined;
  if (last?.verdict.state !== "ready") {
    if (last !== undefined) {
      done = doneSteps(order, last.report);
      accept = [...accept, ...last.verdict.accept];
    }
    order = orderFor();
    const { nonce } = order;
    await held.confirm();
    await sendOrder(ctx, xapi, parts.payload.$ref, content(order, done));
    await held.update((entry) => ({
      ...entry,
      machine: {
        ...(entry.machine as Machine),
        nonce,
        order: "package",
        ...(byHand ? { accept, policies } : {}),
        vm: parts.vm.uuid,
        payload: parts.payload.uuid,
        times: { packagingAt: new Date().toISOString(), ...entry.machine?.times },
      },
    }));
    last = await wait(true);
  }
  const { verdict, seen } = last;
  const steps = verdict.steps.map((step) => stepResult(step));
  const after: Machine = {
    ...(held.entry.machine as Machine),
    steps,
    ...seen,
    vm: parts.vm.uuid,
    payload: parts.payload.uuid,
    packaged: verdict.state === "ready",
    ...(verdict.state === "ready" ? { times: { ...held.entry.machine?.times, packagedAt: new Date().toISOString() } } : {}),
  };
  if (verdict.state !== "ready") {
    await held.update((entry) => ({ ...entry, machine: after }));
    throw new GuestError(`version ${name} is not packaged: ${verdict.summary}`, { hint: failureHint(wanted, verdict, machine.name) });
  }
  ctx.report(byHand ? "the engineer is done" : verdict.summary);
  return { ...held.entry, machine: after };
}

// Of the machine itself: a halted one with others is made anew around its disk.
const settingsOf = ({ cpus, memoryGiB, network, toolsIso }: Inputs): string =>
  JSON.stringify([cpus ?? null, memoryGiB ?? null, network ?? null, toolsIso ?? null]);

function failureHint(wanted: Inputs, verdict: GuestVerdict, machine: string): string {
  const kept = wanted.onFailure === "keep" ? `machine "${machine}" is kept, halted; ` : "";
  if (wanted.mode === "manual")
    return `${kept}\`pulumi up\` starts it again: finish the work there (or set the check's policy) and run Shutdown For Finalize`;
  if (verdict.state === "neverRan") return `${kept}look at its console, mend what keeps it from reporting, then \`pulumi up\` again`;
  return `${kept}mend what it needs and \`pulumi up\` again (it resumes at this step), or change the step (the disk is cloned anew)`;
}

const manualText = (vm: Rec<"VM">, consoleUrl: string, account: string | undefined): string =>
  `install by hand on "${vm.name_label}" (console ${consoleUrl})${account === undefined ? "" : `, log in as ${account}`}, then run Shutdown For Finalize there`;

function secretsOf(order: Order, wanted: Inputs): Record<string, Record<string, string>> {
  const all = [...wanted.install, ...wanted.cleanup];
  return Object.fromEntries(
    order.steps.flatMap((step, index) => (all[index]?.secretEnv === undefined ? [] : [[step.id, all[index].secretEnv]])),
  );
}

function stepResult(step: StepVerdict): StepResult {
  return {
    name: step.name,
    state: step.state,
    exitCode: step.exitCode ?? -1,
    seconds: secondsTaken(step) ?? 0,
    logDigest: createHash("sha256").update(step.logTail).digest("hex"),
  };
}

function told({ record, xapi }: OpenedVersion, entry: Entry, holder: string, made?: Made): Outputs {
  const machine = entry.machine;
  const vmUuid = made?.vm?.uuid ?? machine?.vm ?? "";
  return {
    versionId: versionId(record.layerId, entry.id),
    vmUuid,
    consoleUrl: made?.consoleUrl || (vmUuid === "" ? "" : `https://${xapi.pool.coordinator.address}/console?vm=${vmUuid}`),
    ipAddresses: machine?.ipAddresses ?? [],
    toolsVersion: machine?.toolsVersion ?? "",
    steps: (machine?.steps ?? []).map(({ name, exitCode, seconds, logDigest }) => ({
      name,
      exitCode: exitCode ?? -1,
      seconds: seconds ?? 0,
      logDigest: logDigest ?? "",
    })),
    ready: entry.state === "Deployable" || machine?.packaged === true,
    holder,
  };
}
