// Sealing: the machine boots once more with the finalize order, its evidence is judged, and the disk becomes the version.
// Promises: nothing is sealed without a fresh report of this very order; the seal is one write of the record, and what comes after it (the machine goes,
// the durable copy) is made up for by any later run.
import { ConflictError, duration, GuestError, InputError } from "./errors.ts";
import { PACKAGING_FILE } from "./guest/evidence.ts";
import { platform } from "./guest/fact.ts";
import { buildOrder, type Order } from "./guest/order.ts";
import { LEAST_PAYLOAD, type StepReport, writePayload } from "./guest/payload.ts";
import { type Verdict as GuestVerdict, isBypass, judgeFinalize } from "./guest/verdict.ts";
import { fetchAnswer } from "./guestDisk.ts";
import { awaitPowerOff, demandHalted, sendImage, withPicture } from "./guestRun.ts";
import { GiB } from "./layer/build.ts";
import { removeMachine } from "./layer/buildRemoval.ts";
import type { Entry, Machine } from "./layer/entry.ts";
import { type Held, withLease } from "./layer/lease.ts";
import { OPEN } from "./layer/marks.ts";
import { diskOf, mended, type OpenedVersion } from "./layer/open.ts";
import { randomId, versionId } from "./layer/record.ts";
import { applyRetention } from "./layer/removal.ts";
import { driftOf, sealedRefusal } from "./layer/sealed.ts";
import { isThin } from "./layer/space.ts";
import { ensureMachine } from "./machine.ts";
import { grownPayload } from "./payloadDisk.ts";
import { verdictDigest } from "./report/build.ts";
import { keepPictures } from "./report/pictures.ts";
import type { Context } from "./resource.ts";
import type { Inputs, Outputs } from "./resources/finalize.ts";
import { changedSettings, settingsOf } from "./sealedWith.ts";
import { handsFor } from "./waysIn.ts";
import type { Rec } from "./xapi/records.ts";

/** The version, sealed: taken as it is, or brought there. */
export async function sealed(ctx: Context, opened: OpenedVersion, wanted: Inputs): Promise<Outputs> {
  const { record, name, entry } = opened;
  if (wanted.version !== name) throw new InputError([{ property: "version", reason: `the disk is of version "${name}"` }]);
  const holder = randomId();
  const holding = (current: Entry): Entry => ({ ...current, holders: { ...current.holders, finalize: holder } });
  const used: { vm?: Rec<"VM"> } = {};
  const begun = (before: Entry | undefined): Entry | undefined => {
    if (before === undefined) throw new ConflictError(`version ${name} has been removed meanwhile`, { hint: "run `pulumi up` again" });
    if (before.state === "Deployable") return undefined;
    if (before.machine?.packaged === true) return { ...before, state: "Finalizing" };
    throw new ConflictError(`version ${name} can't be finalized: its install steps are not done`, {
      hint: "run `pulumi up` again, so that the packaging machine finishes them",
    });
  };
  const done = await withLease<Entry>(ctx, record, name, begun, async (held) => {
    try {
      const made = holding(await proven({ ...ctx, signal: held.signal }, opened, wanted, held, used));
      return { result: made, finish: () => made };
    } catch (error) {
      // A finalize that fails falls back: the version is open again, its machine is kept.
      await held.update((current) => ({ ...current, state: "Editing" })).catch(() => {});
      throw error;
    }
  });
  // Sealed, now or by the run that was waited for.
  if (done === undefined) return await taken(ctx, { ...opened, entry: record.versions.get(name) ?? entry }, wanted, holding, holder);
  await settled(ctx, opened, done, wanted, used.vm);
  return told(opened, done, holder);
}

async function taken(
  ctx: Context,
  opened: OpenedVersion,
  wanted: Inputs,
  holding: (entry: Entry) => Entry,
  holder: string,
): Promise<Outputs> {
  const { record, name, entry } = opened;
  const [changed] = changedSettings(entry, wanted);
  const refusal = changed === undefined ? undefined : sealedRefusal(record, name, entry, [`${changed} changed`]);
  if (changed !== undefined && refusal !== undefined) throw new InputError([{ property: changed, reason: refusal }]);
  const vdi = await diskOf(opened);
  const drift = vdi === undefined ? "its disk is gone" : driftOf(entry, vdi);
  if (drift !== undefined)
    throw new ConflictError(`version ${name} of layer "${record.meta.name}" is not what was sealed any more: ${drift}`, {
      hint: "give a new version; this one can be removed with its Finalize (onDelete: destroy) or restored from a backup",
    });
  const { released: _, destroyWhenFree: __, ...rest } = await mended(ctx, opened);
  const held = holding(rest as Entry);
  await record.put(name, held);
  await settled(ctx, opened, held, wanted);
  return told(opened, held, holder);
}

// After the commit point, and again whenever a run finds it undone: the machine goes, the durable copy is written.
async function settled(ctx: Context, { xapi, record, name }: OpenedVersion, entry: Entry, wanted: Inputs, vm?: Rec<"VM">): Promise<void> {
  if (entry.machine !== undefined) await removeMachine(ctx, xapi, entry.machine, vm);
  await record.noteComment("version sealed", name, wanted.comment);
  await applyRetention(ctx, record);
  await record.saveDocument(ctx.signal);
}

/** Boots the machine with the finalize order until its evidence proves the version ready; returns the entry as it will be sealed. */
async function proven(ctx: Context, opened: OpenedVersion, wanted: Inputs, held: Held, used: { vm?: Rec<"VM"> }): Promise<Entry> {
  const { xapi, record, name } = opened;
  const machine = held.entry.machine as Machine;
  const os = held.entry.base?.os ?? "windows";
  const vdi = await diskOf({ xapi, record, entry: held.entry });
  if (vdi === undefined)
    throw new ConflictError(`the disk of version ${name} is gone`, { hint: "run `pulumi up` again: it will be made anew" });
  const request = {
    connector: wanted.connector,
    record,
    version: name,
    entry: held.entry,
    vdi,
    name: machine.name,
    wanted: { mode: machine.mode, os },
  };
  const parts = await ensureMachine(ctx, xapi, request, LEAST_PAYLOAD);
  used.vm = parts.vm;
  const policies = wanted.checks ?? {};
  const says = platform.safeParse(record.meta.platform).data;
  const settings = { os, layer: record.meta.name, version: name, platform: says, mode: machine.mode, policies };

  // A machine that somebody has started by hand for a look has its payload disk in use: such a one is never read, or written under.
  if (machine.mode === "manual") {
    // The engineer's Shutdown For Finalize is the finalize: its verdict is of the last boot, and nothing has run since.
    demandHalted(parts.vm);
    const report = await fetchAnswer(ctx, xapi, parts.payload, machine.name);
    const { nonce, accept = [] } = machine;
    const order = buildOrder({ ...settings, order: "package", accept, ...(nonce === undefined ? {} : { nonce }) });
    const verdict = judgeFinalize(order, report, policies);
    // Started since, without its payload disk, or judged otherwise now: the next `up` has the machine wait for the engineer again.
    if (verdict.state !== "ready")
      await held.update((entry) => ({ ...entry, machine: { ...(entry.machine as Machine), packaged: false } }));
    return entryOf(ctx, opened, wanted, held, parts.payload, vdi, demandReady(name, machine, verdict));
  }

  // One budget for all that this run waits for; what the guest waits for by itself is less than that, so that it reports before we give up.
  const { finalizeMinutes, rebootMax, sampleGapSeconds } = wanted.timeouts;
  const end = performance.now() + finalizeMinutes * MINUTE;
  const left = (): number => Math.max(0, (end - performance.now()) / MINUTE);
  const orderFor = (accept: readonly string[], nonce?: string): Order => {
    // Of what is left: the guest starts, looks and runs NGen's queue beside its waits.
    const most = Math.floor(left() * 60 * 0.75);
    return buildOrder({
      ...settings,
      order: "finalize",
      accept,
      ngen: wanted.ngen,
      kms: wanted.kms === "rearm",
      office: wanted.office === "rearm",
      limits: { rebootMax, sampleGapSeconds, ngenWaitSeconds: Math.min(3600, most), msiWaitSeconds: Math.min(1800, most) },
      ...(nonce === undefined ? {} : { nonce }),
    });
  };
  // What the steps printed goes with the disk from order to order.
  let packaging: readonly StepReport[] | undefined;
  // A step may have installed other tools than those that were heard of while it ran.
  let { toolsVersion } = machine;
  // A finalize that the guest's own check has ended took away what was installed for this version alone, whatever is judged of it then.
  const again = machine.order === "finalize";
  const run = async (order: Order, starts: boolean): Promise<GuestVerdict> => {
    const seen = await awaitPowerOff(ctx, {
      xapi,
      vm: parts.vm.$ref,
      vmName: machine.name,
      payload: parts.payload.$ref,
      build: held.entry.build,
      nonce: order.nonce,
      facts: order.facts,
      doing: `"${machine.name}" to be ready for finalizing`,
      starts,
      pictured: (picture) => held.update((entry) => ({ ...entry, machine: withPicture(entry.machine as Machine, picture) })),
      hands: again ? handsFor(xapi, wanted, parts.vm, os) : undefined,
      bootMinutes: BOOT_MINUTES,
      totalMinutes: left(),
    });
    const report = await fetchAnswer(ctx, xapi, parts.payload, machine.name);
    packaging = report.packaging ?? packaging;
    toolsVersion = seen.toolsVersion ?? toolsVersion;
    return judgeFinalize(order, report, policies);
  };
  if (!again) demandHalted(parts.vm);
  const accepted = machine.accept ?? [];
  let verdict = again ? await run(orderFor(accepted, machine.nonce), false) : undefined;
  if (!again) {
    const { order, packaging: kept, steps } = await fetchAnswer(ctx, xapi, parts.payload, machine.name);
    // A run that was killed may have put the finalize order there without living to record it.
    packaging = order?.order === "finalize" ? kept : steps;
  }
  // What the guest's plain tests call noisy and the full rules find harmless goes into the next order: at most twice.
  for (let boots = 0, accept = accepted; verdict?.state !== "ready" && boots < MAX_ORDERS; boots++) {
    const more = verdict?.accept.filter((fact) => !accept.includes(fact)) ?? [];
    if (boots > 0 && more.length === 0) break;
    if (boots > 0 && left() === 0)
      throw new GuestError(
        `version ${name} is not ready to be finalized after ${duration(finalizeMinutes * MINUTE)} (timeouts.finalizeMinutes): ${verdict?.summary}`,
        { hint: `machine "${machine.name}" is kept, halted; \`pulumi up\` again goes on from there` },
      );
    accept = [...accept, ...more];
    const order = orderFor(accept);
    const files = packaging === undefined ? [] : [{ name: PACKAGING_FILE, data: Buffer.from(JSON.stringify(packaging, null, 2)) }];
    const image = await writePayload({ order, files });
    await held.confirm();
    // Steps may have printed more than fits beside what they needed.
    parts.payload = await grownPayload(xapi, parts.payload, image.length);
    await sendImage(ctx, xapi, parts.payload.$ref, image, parts.payload.virtual_size);
    const sent = { order: "finalize" as const, nonce: order.nonce, accept, policies, vm: parts.vm.uuid, payload: parts.payload.uuid };
    const finalizingAt = new Date().toISOString();
    await held.update((entry) => {
      const before = entry.machine as Machine;
      return { ...entry, machine: { ...before, ...sent, times: { finalizingAt, ...before.times } } };
    });
    verdict = await run(order, true);
  }
  const entry = await entryOf(ctx, opened, wanted, held, parts.payload, vdi, demandReady(name, machine, verdict));
  return toolsVersion === undefined ? entry : { ...entry, machine: { ...(entry.machine as Machine), toolsVersion } };
}

const MINUTE = 60_000;
const BOOT_MINUTES = 15;
const MAX_ORDERS = 3;

function demandReady(name: string, machine: Machine, verdict: GuestVerdict | undefined): GuestVerdict {
  if (verdict?.state === "ready") return verdict;
  throw new GuestError(`version ${name} is not ready to be finalized: ${verdict?.summary ?? "it gave no verdict"}`, {
    hint:
      machine.mode === "manual"
        ? `machine "${machine.name}" is kept, halted; \`pulumi up\` starts it again: mend what blocks there (or set the check's policy) and run Shutdown For Finalize`
        : `machine "${machine.name}" is kept, halted; mend what blocks (start it and look, change a step, or set the check's policy), then \`pulumi up\` again`,
  });
}

/** Before the seal, so that no sealed version lacks it. */
async function noteBypasses({ record, name }: OpenedVersion, { checks }: GuestVerdict): Promise<void> {
  const told = checks.filter(isBypass).map(({ id, policy, message }) => `${id} (${policy}): ${message}`.slice(0, 600));
  await record.noteComment("checks let through", name, told.length === 0 ? undefined : told.join("; ").slice(0, 2000));
}

async function entryOf(
  ctx: Context,
  opened: OpenedVersion,
  wanted: Inputs,
  held: Held,
  payload: Rec<"VDI">,
  before: Rec<"VDI">,
  verdict: GuestVerdict,
): Promise<Entry> {
  const { xapi } = opened;
  const pictures = held.entry.machine?.pictures ?? [];
  if (pictures.length > 0) {
    await held.confirm();
    await keepPictures(ctx, xapi, payload, pictures);
  }
  await noteBypasses(opened, verdict);
  await opened.record.noteComment("Office rearm", opened.name, verdict.office?.message.slice(0, 2000));
  // What a disk takes is counted when the storage is asked to (SM's vdi_update), not when it is written.
  await xapi.call("VDI.update", before.$ref);
  // Before the seal: what is sealed never looks open, whenever this run ends.
  if (OPEN in before.other_config) await xapi.call("VDI.remove_from_other_config", before.$ref, OPEN);
  const vdi = (await xapi.record("VDI", before.$ref)) ?? before;
  const { srType } = held.entry;
  const thin = isThin(srType?.sr === vdi.SR ? srType.type : (await xapi.record("SR", vdi.SR))?.type);
  const summary = {
    state: verdict.state,
    summary: verdict.summary,
    blockFinalize: verdict.blockFinalize,
    boots: verdict.boots,
    kms: verdict.kms.message,
    ...(verdict.office === undefined ? {} : { office: verdict.office.message }),
    warned: verdict.checks.filter((check) => check.verdict === "warned" || check.verdict === "ignored").map((check) => check.id),
    digest: verdictDigest(verdict),
  };
  return {
    ...held.entry,
    state: "Deployable",
    sealed: {
      at: new Date().toISOString(),
      evidence: payload.uuid,
      report: summary,
      settings: settingsOf(wanted),
      policies: wanted.checks ?? {},
      accept: held.entry.machine?.accept ?? [],
      virtualSize: vdi.virtual_size,
      physicalUtilisation: vdi.physical_utilisation,
      ...(thin ? { deltaGiB: Math.round((vdi.physical_utilisation / GiB) * 1000) / 1000 } : {}),
    },
  };
}

export function told({ record }: OpenedVersion, entry: Entry, holder: string): Outputs {
  return {
    versionId: versionId(record.layerId, entry.id),
    vdiUuid: entry.vdi ?? "",
    report: entry.sealed?.report ?? {},
    ...(entry.sealed?.deltaGiB === undefined ? {} : { deltaGiB: entry.sealed.deltaGiB }),
    sealedAt: entry.sealed?.at ?? "",
    holder,
  };
}
