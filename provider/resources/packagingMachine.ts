// PackagingMachine: the temporary VM that boots the packaging disk and runs the install steps.
import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import * as z from "zod";
import { connectorInput, isoOf, networkOf, reachable } from "../connector.ts";
import { ConflictError, GuestError, InitFailedError, InputError } from "../errors.ts";
import { buildOrder, type Order, type StepInput, stepDigests, stepInput, stepProblem } from "../guest/order.ts";
import { type PayloadReport, payloadFileProblem, type StepReport } from "../guest/payload.ts";
import { type Verdict as GuestVerdict, judgeFinalize, judgePackage, type StepVerdict } from "../guest/verdict.ts";
import { awaitPowerOff, doneSteps, fetchReport, type GuestSeen, payloadSize, sendOrder, start } from "../guestRun.ts";
import { ensureDisk, GiB, removeBuild } from "../layer/build.ts";
import { differences, type Entry, type Machine, type StepResult } from "../layer/entry.ts";
import { freeToTake, type Held, withLease } from "../layer/lease.ts";
import { demandStorage, demandVersion, type OpenedVersion, openVersion } from "../layer/open.ts";
import { type LayerRecord, randomId, versionId } from "../layer/record.ts";
import { ensureMachine, type MachineRequest } from "../machine.ts";
import { type CheckFailure, type Context, defineResource, holdsUnknown, type Known } from "../resource.ts";
import { connectFor } from "../session.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";

export const inputs = z.object({
  connector: connectorInput,
  disk: z.string().min(1).describe("Id of the PackagingDisk."),
  install: z.array(stepInput).max(90).default([]).describe("Steps in order."),
  cleanup: z
    .array(stepInput)
    .max(9)
    .default([])
    .describe("Steps after the others: remove installers, settings and files that don't belong into the layer."),
  files: z
    .record(z.string().regex(/^[A-Za-z0-9._ -]{1,100}$/, "letters, digits, blank, dot, hyphen, underscore"), z.string())
    .optional()
    .describe("Files for the steps: name to path. Steps find them in the folder XENLAYER_FILES."),
  media: z.array(z.string()).max(2).optional().describe("name_label or uuid of ISO images with installers."),
  mode: z
    .enum(["automatic", "manual"])
    .default("automatic")
    .describe("manual: an engineer installs at the machine and runs Shutdown For Finalize."),
  cpus: z.number().int().min(1).max(64).optional().describe("vCPUs; default: the template's. Needs vm-power-admin."),
  memoryGiB: z.number().positive().max(1024).optional().describe("Memory in GiB; default: the template's. Needs vm-power-admin."),
  network: z.string().optional().describe("name_label or uuid of the network; default: the connector's."),
  toolsIso: z.string().optional().describe("name_label or uuid of the ISO with the VM tools; default: the connector's."),
  timeouts: z
    .strictObject({
      bootMinutes: z.number().positive().max(240).default(15).describe("Until the guest's bootstrap must have been heard."),
      packageMinutes: z
        .number()
        .positive()
        .max(2880)
        .default(240)
        .describe("Until all steps must be done (manual mode: until the engineer is)."),
    })
    .prefault({})
    .describe("Limits of the waits."),
  onFailure: z
    .enum(["keep", "delete"])
    .default("keep")
    .describe("What becomes of the machine when a step fails: keep it for a look and resume, or delete it."),
});

export const outputs = z.object({
  versionId: z.string().describe("Id of the version."),
  vmUuid: z.string().describe("uuid of the VM (gone once the version is sealed)."),
  consoleUrl: z.string().describe("Where its console is."),
  ipAddresses: z.array(z.string()).describe("Addresses the guest's tools reported last."),
  toolsVersion: z.string().describe("Version of the VM tools that answered last; empty = none."),
  steps: z
    .array(z.object({ name: z.string(), exitCode: z.number(), seconds: z.number(), logDigest: z.string() }))
    .describe("What each step ended with: exit code, duration, SHA-256 of its log."),
  ready: z.boolean().describe("Whether every step is done."),
  holder: z.string().describe("Token of this hold on the version."),
});

type Inputs = z.output<typeof inputs>;
type Outputs = z.output<typeof outputs>;

export const packagingMachine = defineResource(connectFor, {
  type: "PackagingMachine",
  description:
    "The temporary VM that boots the packaging disk and runs the install steps, cloned from the connector's template. It is removed when its version is sealed.",
  inputs,
  outputs,

  async examine(ctx, want) {
    const failures = await shapeFailures(want);
    if (failures.length > 0 || !reachable(want.connector)) return { failures };
    const xapi = await ctx.connect(want.connector);
    for (const [index, iso] of (want.media ?? []).entries()) await isoOf(xapi, `media[${index}]`, iso);
    if (want.toolsIso !== undefined) await isoOf(xapi, "toolsIso", want.toolsIso);
    if (want.network !== undefined) await networkOf(xapi, want.network);
    if (want.cpus !== undefined || want.memoryGiB !== undefined) {
      const session = await xapi.session();
      const permission = want.cpus === undefined ? "vm.set_memory_limits" : "vm.set_vcpus_max";
      if (!session.is_local_superuser && !session.rbac_permissions.includes(permission))
        failures.push({
          property: want.cpus === undefined ? "memoryGiB" : "cpus",
          reason: `the account's role lacks ${permission}: vm-power-admin has it`,
        });
    }
    const opened = want.disk === undefined ? undefined : await openVersion(ctx, want.connector, want.disk);
    if (opened === undefined) return { failures };
    const { record, name, entry } = opened;
    for (const [property, steps] of [
      ["install", want.install],
      ["cleanup", want.cleanup],
    ] as const)
      for (const [index, step] of (steps ?? []).entries()) {
        const problem = holdsUnknown(step) ? undefined : stepProblem(osOf(entry), step as z.output<typeof stepInput>);
        if (problem !== undefined) failures.push({ property: `${property}[${index}].run`, reason: problem });
      }
    if (entry.state === "Deployable") {
      const parts = await partsOf(want);
      const changed = parts === undefined ? [] : differences(entry.content, { parts });
      if (changed.length > 0) failures.push({ property: "install", reason: sealedRefusal(record, name, entry, changed) });
    }
    return { failures };
  },

  async diff(ctx, id, old, want) {
    const opened = await openVersion(ctx, old.connector, id);
    // Its disk is made anew then, under another id.
    if (opened === undefined) return want.disk === old.disk ? { changes: true, replaces: ["disk"] } : { replaces: ["disk"] };
    // The id of a disk that is updated in place stays known in a preview: one that isn't known is another disk's.
    if ("disk" in want && want.disk !== old.disk) return { replaces: ["disk"] };
    const { entry } = opened;
    if (entry.holders.machine !== old.holder) return { changes: true };
    if (entry.state === "Deployable") return {};
    return entry.machine?.packaged === true && old.ready ? {} : { changes: true };
  },

  async create(ctx, wanted) {
    const opened = await demandVersion(ctx, wanted.connector, wanted.disk);
    return { id: wanted.disk, outputs: await packaged(ctx, opened, wanted) };
  },

  async read(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined) {
      await demandStorage(await ctx.connect(state.connector), state.connector);
      return undefined;
    }
    // Outputs don't change because of what a later resource does: the seal removes the VM, and what was said of it stays true.
    const { entry } = opened;
    const ready = entry.state === "Deployable" || entry.machine?.packaged === true;
    const { versionId, vmUuid, consoleUrl, ipAddresses, toolsVersion, steps, holder } = state;
    return { versionId, vmUuid, consoleUrl, ipAddresses, toolsVersion, steps, holder, ready };
  },

  update: async (ctx, id, _old, wanted) => packaged(ctx, await demandVersion(ctx, wanted.connector, id), wanted),

  async delete(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined || opened.entry.state === "Deployable" || opened.entry.holders.machine !== state.holder) return;
    const { xapi, record, name } = opened;
    await freeToTake(ctx, record, name);
    const entry = record.versions.get(name);
    if (entry === undefined || entry.state === "Deployable" || entry.holders.machine !== state.holder) return;
    await removeBuild(ctx, xapi, record, entry, ["payload"]);
    const { machine: _, ...holders } = entry.holders;
    // The disk may carry some of the steps: a later machine clones it anew.
    await record.put(name, {
      ...entry,
      holders,
      machine: entry.machine === undefined ? undefined : { ...entry.machine, packaged: false, removed: true },
    });
  },
});

const osOf = (entry: Entry) => entry.base?.os ?? "windows";

const sealedRefusal = (record: LayerRecord, version: string, entry: Entry, changed: string[]): string =>
  `version ${version} of layer "${record.meta.name}" was sealed ${entry.sealed?.at ?? ""}, and ${changed.join(", ")}: give a new version`;

async function shapeFailures(want: Known<Inputs>): Promise<CheckFailure[]> {
  const failures: CheckFailure[] = [];
  const names = new Set<string>();
  for (const [property, steps] of [
    ["install", want.install],
    ["cleanup", want.cleanup],
  ] as const)
    for (const [index, step] of (steps ?? []).entries()) {
      if (names.has(`${property} ${step.name}`))
        failures.push({ property: `${property}[${index}].name`, reason: `two steps are named "${step.name}"` });
      names.add(`${property} ${step.name}`);
    }
  for (const [name, path] of Object.entries(want.files ?? {})) {
    if (path === undefined) continue;
    const problem = payloadFileProblem(name);
    const found = await stat(path).catch(() => undefined);
    if (problem !== undefined) failures.push({ property: `files.${name}`, reason: problem });
    else if (found === undefined || !found.isFile()) failures.push({ property: `files.${name}`, reason: `there is no file "${path}"` });
    else if (found.size > MAX_FILE)
      failures.push({ property: `files.${name}`, reason: `"${path}" is larger than 2 GiB: use an ISO image (media) for it` });
  }
  return failures;
}

const MAX_FILE = 2 * GiB;

/** One digest per step, file and medium, under the names that LayerVersion's triggers use too; undefined while some are not known yet. */
async function partsOf(want: Known<Inputs>): Promise<Record<string, string> | undefined> {
  const { install, cleanup, files, media } = want;
  if (install === undefined || cleanup === undefined || holdsUnknown([install, cleanup, files, media])) return undefined;
  const parts: Record<string, string> = {};
  for (const { name, digest } of stepDigests(install as StepInput[])) parts[`install "${name}"`] = digest;
  for (const { name, digest } of stepDigests([], cleanup as StepInput[])) parts[`cleanup "${name}"`] = digest;
  for (const [name, path] of Object.entries(files ?? {}))
    if (path !== undefined)
      parts[`file "${name}"`] = createHash("sha256")
        .update(await readFile(path))
        .digest("hex")
        .slice(0, 32);
  for (const iso of media ?? []) parts[`media "${iso}"`] = iso;
  return parts;
}

/** The machine with all its steps done: taken as it is, waited for, resumed, or made. */
async function packaged(ctx: Context, opened: OpenedVersion, wanted: Inputs): Promise<Outputs> {
  const { xapi, record, name } = opened;
  const parts = (await partsOf(wanted)) ?? {};
  const holder = randomId();
  if (opened.entry.state === "Deployable") {
    const changed = differences(opened.entry.content, { parts });
    if (changed.length > 0) throw new InputError([{ property: "install", reason: sealedRefusal(record, name, opened.entry, changed) }]);
    await record.put(name, { ...opened.entry, holders: { ...opened.entry.holders, machine: holder } });
    return told(opened, opened.entry, holder);
  }
  const outputs = { vm: undefined as Rec<"VM"> | undefined, consoleUrl: "" };
  const start = (before: Entry | undefined): Entry => {
    if (before === undefined) throw new ConflictError(`version ${name} has been removed meanwhile`, { hint: "run `pulumi up` again" });
    return prepared(before, record, name, parts, wanted, holder);
  };
  return await withLease<Outputs>(ctx, record, name, start, async (held) => {
    const work: Context = { ...ctx, signal: held.signal };
    const vdi = await diskFor(work, opened, wanted, held);
    try {
      const entry = held.entry.machine?.packaged ? held.entry : await run(work, opened, wanted, held, vdi, outputs);
      return { result: told(opened, entry, holder, outputs), finish: () => entry };
    } catch (error) {
      if (
        wanted.onFailure === "delete" &&
        error instanceof GuestError &&
        outputs.vm !== undefined &&
        !(await isRunning(xapi, outputs.vm))
      ) {
        await removeBuild(work, xapi, record, held.entry, ["payload"]);
        await held.update((entry) => ({ ...entry, machine: { ...(entry.machine as Machine), removed: true } }));
        throw error;
      }
      if (outputs.vm === undefined) throw error;
      throw new InitFailedError(wanted.disk, told(opened, held.entry, holder, outputs), error);
    }
  });
}

const isRunning = async (xapi: Xapi, vm: Rec<"VM">): Promise<boolean> =>
  ((await xapi.record("VM", vm.$ref))?.power_state ?? "Halted") !== "Halted";

/** The entry as this run begins: a disk that carries other steps than these is to be cloned anew (`vdi` absent). */
function prepared(
  before: Entry,
  record: LayerRecord,
  version: string,
  parts: Record<string, string>,
  wanted: Inputs,
  holder: string,
): Entry {
  const machine = before.machine;
  const stale =
    machine?.begun === true && (differences(before.content, { parts }).length > 0 || machine.mode !== wanted.mode || machineLost(machine));
  const build = stale ? randomId() : before.build;
  const fresh = { name: machineName(record, version, build), begun: true, packaged: false, mode: wanted.mode, steps: [] };
  const { vdi, ...rest } = before;
  return {
    ...rest,
    ...(vdi === undefined || stale ? {} : { vdi }),
    ...(stale ? { stale: { build: before.build, machine } } : {}),
    build,
    content: { ...before.content, parts },
    holders: { ...before.holders, machine: holder },
    machine: machine === undefined || stale ? fresh : { ...machine, begun: true, resumed: true },
  };
}

// The machine went and its disk kept what had been done: nobody can tell how much of the steps that is.
const machineLost = (machine: Machine): boolean => machine.removed === true && machine.nonce !== undefined;

const machineName = (record: LayerRecord, version: string, build: string): string =>
  `${record.meta.name} ${version} packaging ${build.slice(0, 8)}`;

async function diskFor(ctx: Context, opened: OpenedVersion, wanted: Inputs, held: Held): Promise<Rec<"VDI">> {
  const { xapi, record, name } = opened;
  const { entry } = held;
  const vdi = entry.vdi === undefined ? undefined : await xapi.get("VDI", entry.vdi);
  if (vdi !== undefined) return vdi;
  if (entry.base === undefined) throw new ConflictError(`version ${name} has no disk and its base isn't recorded`);
  if (entry.stale !== undefined) {
    ctx.report(`${name} is cloned anew: its disk carries other steps`);
    await removeBuild(ctx, xapi, record, { ...entry, build: entry.stale.build, machine: entry.stale.machine });
  }
  const made = await ensureDisk(ctx, xapi, {
    connector: wanted.connector,
    record,
    version: name,
    entry,
    base: entry.base,
    fileName: entry.fileName ?? `${record.meta.name} ${name}`,
    sizeGiB: entry.content.sizeGiB,
  });
  await held.update(({ stale: _, ...current }) => ({ ...current, vdi: made.vdi.uuid, depth: made.depth }) as Entry);
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
  };
  const orderFor = (nonce?: string) =>
    buildOrder({
      order: "package",
      os: osOf(held.entry),
      layer: record.meta.name,
      version: name,
      mode: wanted.mode,
      install: wanted.install as StepInput[],
      cleanup: wanted.cleanup as StepInput[],
      ...(nonce === undefined ? {} : { nonce }),
    });
  const files = await Promise.all(
    Object.entries(wanted.files ?? {}).map(async ([file, path]) => ({ name: file, data: await readFile(path) })),
  );
  const content = (order: Order, done: readonly StepReport[] = []) => ({ order, secrets: secretsOf(order, wanted), files, done });

  // A machine that an earlier run has started is waited for and heard first; only what it has not done is ordered again.
  let order = orderFor(machine.order === "package" ? machine.nonce : undefined);
  const parts = await ensureMachine(ctx, xapi, request, await payloadSize(content(order)));
  made.vm = parts.vm;
  made.consoleUrl = `https://${xapi.pool.coordinator.address}/console?vm=${parts.vm.uuid}`;
  const wait = async (): Promise<{ seen: GuestSeen; report: PayloadReport; verdict: GuestVerdict }> => {
    const seen = await awaitPowerOff(ctx, {
      xapi,
      vm: parts.vm.$ref,
      vmName: machine.name,
      payload: parts.payload.$ref,
      nonce: order.nonce,
      doing: wanted.mode === "manual" ? `the engineer at "${machine.name}"` : `the install steps in "${machine.name}"`,
      manual: wanted.mode === "manual" ? manualText(parts.vm, made.consoleUrl, held.entry.base?.account) : undefined,
      bootMinutes: wanted.timeouts.bootMinutes,
      totalMinutes: wanted.timeouts.packageMinutes,
    });
    const report = await fetchReport(ctx, xapi, parts.payload);
    return { seen, report, verdict: wanted.mode === "manual" ? judgeFinalize(order, report) : judgePackage(order, report) };
  };
  let done: readonly StepReport[] = [];
  let last = machine.order === "package" && machine.nonce !== undefined ? await wait() : undefined;
  if (last?.verdict.state !== "ready") {
    if (last !== undefined) done = doneSteps(order, last.report);
    order = orderFor();
    const { nonce } = order;
    await sendOrder(ctx, xapi, parts.payload.$ref, content(order, done));
    await held.update((entry) => ({
      ...entry,
      machine: { ...(entry.machine as Machine), nonce, order: "package", vm: parts.vm.uuid, payload: parts.payload.uuid },
    }));
    await start(ctx, xapi, parts.vm.$ref);
    last = await wait();
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
  };
  if (verdict.state !== "ready") {
    await held.update((entry) => ({ ...entry, machine: after }));
    throw new GuestError(`version ${name} is not packaged: ${verdict.summary}`, { hint: failureHint(wanted, verdict, machine.name) });
  }
  ctx.report(wanted.mode === "manual" ? "the engineer is done" : verdict.summary);
  return { ...held.entry, machine: after };
}

function failureHint(wanted: Inputs, verdict: GuestVerdict, machine: string): string {
  const kept = wanted.onFailure === "keep" ? `machine "${machine}" is kept, halted; ` : "";
  if (wanted.mode === "manual") return `${kept}\`pulumi up\` starts it again: finish the work there and run Shutdown For Finalize`;
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
  const [started, finished] = [Date.parse(step.started ?? ""), Date.parse(step.finished ?? "")];
  return {
    name: step.name,
    state: step.state,
    exitCode: step.exitCode ?? -1,
    seconds: Number.isNaN(finished - started) ? 0 : Math.max(0, Math.round((finished - started) / 1000)),
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
