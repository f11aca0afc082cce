// Finalize: proves that the version is ready, shuts the machine down, seals the disk as the version and removes the machine.
import { createHash } from "node:crypto";
import * as z from "zod";
import { connectorInput, reachable, storageOf } from "../connector.ts";
import { ConflictError, GuestError, InputError } from "../errors.ts";
import { checkPolicies } from "../guest/checks.ts";
import { buildOrder, ngenMode, type Order } from "../guest/order.ts";
import { type Verdict as GuestVerdict, judgeFinalize } from "../guest/verdict.ts";
import { awaitPowerOff, fetchReport, sendOrder, start } from "../guestRun.ts";
import { GiB, removeMachine, usersOf } from "../layer/build.ts";
import type { Entry, Machine } from "../layer/entry.ts";
import { applyRetention, removeVersion } from "../layer/layers.ts";
import { freeToTake, type Held, withLease } from "../layer/lease.ts";
import { demandStorage, demandVersion, diskIsThere, type OpenedVersion, openVersion } from "../layer/open.ts";
import { type LayerRecord, randomId, versionId } from "../layer/record.ts";
import { ensureMachine } from "../machine.ts";
import { type CheckFailure, type Context, defineResource, type Known } from "../resource.ts";
import { connectFor } from "../session.ts";
import type { Rec } from "../xapi/records.ts";

export const inputs = z.object({
  connector: connectorInput,
  disk: z.string().min(1).describe("Id of the PackagingDisk.").meta({ willReplaceOnChanges: true }),
  machine: z.string().min(1).describe("Id of the PackagingMachine."),
  version: z.string().trim().min(1).max(100).describe("Name of the version; must be the disk's."),
  checks: checkPolicies.optional().describe("Policy per check: fix, block, warn or ignore."),
  ngen: ngenMode.default("execute-queued").describe("What is done about queued NGen work: wait, execute-queued or update-force."),
  kms: z.enum(["rearm", "none"]).default("none").describe("rearm: KMS is rearmed as the last act; refused at a remaining count of 0."),
  timeouts: z
    .strictObject({
      finalizeMinutes: z.number().positive().max(1440).default(120).describe("Until the guest must have reported and powered off."),
      rebootMax: z.number().int().min(0).max(10).default(3).describe("Restarts that pending work may cost."),
      sampleGapSeconds: z.number().min(15).max(600).default(15).describe("Between the two samples of every fact."),
    })
    .prefault({})
    .describe("Limits."),
  comment: z.string().max(2000).optional().describe("Becomes an entry of the audit history."),
  onDelete: z
    .enum(["release", "destroy"])
    .default("release")
    .describe("release: the version stays in the layer; destroy: it is removed, once nothing uses it."),
});

export const outputs = z.object({
  versionId: z.string().describe("Id of the sealed version."),
  vdiUuid: z.string().describe("uuid of the sealed disk."),
  report: z.record(z.string(), z.unknown()).describe("Summary of the finalize report and the digest of the whole (getVersionReport)."),
  deltaGiB: z.number().optional().describe("What the version adds to its base, in GiB; absent where the storage repository can't tell."),
  sealedAt: z.string().describe("When it was sealed, ISO 8601."),
  holder: z.string().describe("Token of this hold on the version."),
});

type Inputs = z.output<typeof inputs>;
type Outputs = z.output<typeof outputs>;

export const finalize = defineResource(connectFor, {
  type: "Finalize",
  description:
    "Seals a version: proves that every step ran, waits until the guest is provably ready, shuts it down, demands a fresh verdict, makes the disk the version and removes the machine. Deleting it releases the version to its layer.",
  inputs,
  outputs,

  async examine(ctx, want) {
    const failures: CheckFailure[] = [];
    if (want.disk !== undefined && want.machine !== undefined && want.disk !== want.machine)
      failures.push({ property: "machine", reason: "is the machine of another disk: link both by the id of the same version" });
    if (failures.length > 0 || !reachable(want.connector) || want.disk === undefined) return { failures };
    const opened = await openVersion(ctx, want.connector, want.disk);
    if (opened === undefined) return { failures };
    const { record, name, entry } = opened;
    if (want.version !== undefined && want.version !== name)
      failures.push({ property: "version", reason: `the disk is of version "${name}"` });
    if (want.kms === "rearm" && entry.base?.os === "linux")
      failures.push({ property: "kms", reason: "is for Windows; this layer's OS is Linux" });
    if (entry.state === "Deployable")
      for (const property of sealedChanges(entry, want)) failures.push({ property, reason: sealedRefusal(record, name, entry, property) });
    return { failures };
  },

  async diff(ctx, id, old, want) {
    const opened = await openVersion(ctx, old.connector, id);
    if (opened === undefined || (opened.entry.state === "Deployable" && !(await diskIsThere(opened.xapi, opened.entry))))
      return { changes: true, replaces: ["disk"] };
    // An id that a preview doesn't know is another disk's.
    if (("disk" in want && want.disk !== old.disk) || (want.version !== undefined && want.version !== old.version))
      return { replaces: ["disk"] };
    return opened.entry.state === "Deployable" && opened.entry.holders.finalize === old.holder ? {} : { changes: true };
  },

  async create(ctx, wanted) {
    return { id: wanted.disk, outputs: await sealed(ctx, await demandVersion(ctx, wanted.connector, wanted.disk), wanted) };
  },

  async read(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened !== undefined && opened.entry.state === "Deployable" && (await diskIsThere(opened.xapi, opened.entry)))
      return told(opened, opened.entry, state.holder);
    await demandStorage(await ctx.connect(state.connector), state.connector);
    return undefined;
  },

  async update(ctx, id, old, wanted) {
    const opened = await demandVersion(ctx, wanted.connector, id);
    const outputs = await sealed(ctx, opened, wanted);
    if (wanted.comment !== undefined && wanted.comment !== old.comment && opened.entry.state === "Deployable")
      await opened.record.addAudit({ at: new Date().toISOString(), event: "comment", version: opened.name, comment: wanted.comment });
    return outputs;
  },

  async delete(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined || opened.entry.state !== "Deployable" || opened.entry.holders.finalize !== state.holder) return;
    const { xapi, record, name, entry } = opened;
    await freeToTake(ctx, record, name);
    if (state.onDelete === "destroy") {
      const vdi = entry.vdi === undefined ? undefined : await xapi.get("VDI", entry.vdi);
      const users = vdi === undefined ? [] : await usersOf(xapi, vdi, entry.machine?.name);
      if (users.length === 0) {
        await removeVersion(ctx, record, name, entry);
        await record.saveDocument(ctx.signal);
        return;
      }
      ctx.warn(
        `version ${name} of layer "${record.meta.name}" is used by ${users.join(", ")}: it is released now and destroyed when it is free`,
      );
    }
    const released: Entry = { ...entry, holders: {}, released: new Date().toISOString() };
    if (state.onDelete === "destroy") released.destroyWhenFree = true;
    await record.put(name, released);
    ctx.report(`${name} stays in layer ${record.meta.name}`);
    await record.saveDocument(ctx.signal);
    await applyRetention(ctx, record);
  },
});

/** What a seal was done with; more of it after the seal would be another version. */
const settingsOf = (want: Known<Inputs>): Record<string, string | undefined> => ({
  kms: want.kms,
  ngen: want.ngen,
  ...(want.checks === undefined ? {} : { checks: JSON.stringify(Object.entries(want.checks).sort()) }),
});

function sealedChanges(entry: Entry, want: Known<Inputs>): string[] {
  const made = (entry.sealed?.settings ?? {}) as Record<string, string | undefined>;
  return Object.entries(settingsOf(want)).flatMap(([key, value]) =>
    value !== undefined && made[key] !== undefined && made[key] !== value ? [key] : [],
  );
}

const sealedRefusal = (record: LayerRecord, version: string, entry: Entry, property: string): string =>
  `version ${version} of layer "${record.meta.name}" was sealed ${entry.sealed?.at ?? ""}, and ${property} changed: give a new version`;

/** The version, sealed: taken as it is, or brought there. */
async function sealed(ctx: Context, opened: OpenedVersion, wanted: Inputs): Promise<Outputs> {
  const { record, name, entry } = opened;
  if (wanted.version !== name) throw new InputError([{ property: "version", reason: `the disk is of version "${name}"` }]);
  const holder = randomId();
  if (entry.state === "Deployable") {
    const [changed] = sealedChanges(entry, wanted);
    if (changed !== undefined) throw new InputError([{ property: changed, reason: sealedRefusal(record, name, entry, changed) }]);
    const held: Entry = { ...entry, holders: { ...entry.holders, finalize: holder } };
    delete held.released;
    delete held.destroyWhenFree;
    await record.put(name, held);
    await tidy(ctx, opened, held);
    return told(opened, held, holder);
  }
  if (entry.machine?.packaged !== true)
    throw new ConflictError(`version ${name} can't be finalized: its install steps are not done`, {
      hint: "run `pulumi up` again, so that the packaging machine finishes them",
    });
  const used: { vm?: Rec<"VM"> } = {};
  const done = await withLease<Entry>(
    ctx,
    record,
    name,
    (before) => begun(before, name, holder),
    async (held) => {
      try {
        const made = await proven({ ...ctx, signal: held.signal }, opened, wanted, held, used);
        return { result: made, finish: () => made };
      } catch (error) {
        // A finalize that fails falls back: the version is open again, its machine is kept.
        await held.update((current) => ({ ...current, state: "Editing" })).catch(() => {});
        throw error;
      }
    },
  );
  await tidy(ctx, opened, done, used.vm);
  if (wanted.comment !== undefined)
    await record.addAudit({ at: done.sealed?.at ?? "", event: "version sealed", version: name, comment: wanted.comment });
  return told(opened, done, holder);
}

function begun(before: Entry | undefined, name: string, holder: string): Entry {
  if (before === undefined) throw new ConflictError(`version ${name} has been removed meanwhile`, { hint: "run `pulumi up` again" });
  return { ...before, state: "Finalizing", holders: { ...before.holders, finalize: holder } };
}

// After the commit point, and again whenever a run finds it undone: the machine goes, the durable copy is written.
async function tidy(ctx: Context, { xapi, record }: OpenedVersion, entry: Entry, vm?: Rec<"VM">): Promise<void> {
  if (entry.machine !== undefined) await removeMachine(ctx, xapi, entry.machine.name, vm);
  await record.saveDocument(ctx.signal);
}

/** Boots the machine with the finalize order until its evidence proves the version ready; returns the entry as it will be sealed. */
async function proven(ctx: Context, opened: OpenedVersion, wanted: Inputs, held: Held, used: { vm?: Rec<"VM"> }): Promise<Entry> {
  const { xapi, record, name } = opened;
  const machine = held.entry.machine as Machine;
  const os = held.entry.base?.os ?? "windows";
  const vdi = held.entry.vdi === undefined ? undefined : await xapi.get("VDI", held.entry.vdi);
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
  const parts = await ensureMachine(ctx, xapi, request, 0);
  used.vm = parts.vm;
  const policies = wanted.checks ?? {};
  const settings = { os, layer: record.meta.name, version: name, mode: machine.mode, policies };

  if (machine.mode === "manual") {
    // The engineer's Shutdown For Finalize is the finalize: its verdict is of the last boot, and nothing has run since.
    const report = await fetchReport(ctx, xapi, parts.payload);
    const order = buildOrder({ ...settings, order: "package", ...(machine.nonce === undefined ? {} : { nonce: machine.nonce }) });
    return entryOf(opened, wanted, held, parts.payload, vdi, demandReady(name, machine, judgeFinalize(order, report, policies)));
  }

  const orderFor = (accept: readonly string[], nonce?: string): Order =>
    buildOrder({
      ...settings,
      order: "finalize",
      accept,
      ngen: wanted.ngen,
      kms: wanted.kms === "rearm",
      limits: { rebootMax: wanted.timeouts.rebootMax, sampleGapSeconds: wanted.timeouts.sampleGapSeconds },
      ...(nonce === undefined ? {} : { nonce }),
    });
  const run = async (order: Order): Promise<GuestVerdict> => {
    await awaitPowerOff(ctx, {
      xapi,
      vm: parts.vm.$ref,
      vmName: machine.name,
      payload: parts.payload.$ref,
      nonce: order.nonce,
      doing: `"${machine.name}" to be ready for finalizing`,
      bootMinutes: BOOT_MINUTES,
      totalMinutes: wanted.timeouts.finalizeMinutes,
    });
    const report = await fetchReport(ctx, xapi, parts.payload);
    return judgeFinalize(order, report, policies);
  };
  const accepted = (machine.accept ?? []) as string[];
  let verdict = machine.order === "finalize" ? await run(orderFor(accepted, machine.nonce)) : undefined;
  const files =
    machine.order === "finalize"
      ? []
      : [{ name: "packaging.json", data: Buffer.from(JSON.stringify((await fetchReport(ctx, xapi, parts.payload)).steps, null, 2)) }];
  // What the guest's plain tests call noisy and the full rules find harmless goes into the next order: at most twice.
  for (let boots = 0, accept = accepted; verdict?.state !== "ready" && boots < MAX_ORDERS; boots++) {
    const more = verdict?.accept.filter((fact) => !accept.includes(fact)) ?? [];
    if (boots > 0 && more.length === 0) break;
    accept = [...accept, ...more];
    const order = orderFor(accept);
    await sendOrder(ctx, xapi, parts.payload.$ref, { order, files }, parts.payload.virtual_size);
    await held.update((entry) => ({ ...entry, machine: { ...(entry.machine as Machine), order: "finalize", nonce: order.nonce, accept } }));
    await start(ctx, xapi, parts.vm.$ref);
    verdict = await run(order);
  }
  return entryOf(opened, wanted, held, parts.payload, vdi, demandReady(name, machine, verdict));
}

const BOOT_MINUTES = 15;
const MAX_ORDERS = 3;

function demandReady(name: string, machine: Machine, verdict: GuestVerdict | undefined): GuestVerdict {
  if (verdict?.state === "ready") return verdict;
  throw new GuestError(`version ${name} is not ready to be finalized: ${verdict?.summary ?? "it gave no verdict"}`, {
    hint: `machine "${machine.name}" is kept, halted; mend what blocks (start it and look, change a step, or set the check's policy), then \`pulumi up\` again`,
  });
}

async function entryOf(
  opened: OpenedVersion,
  wanted: Inputs,
  held: Held,
  payload: Rec<"VDI">,
  before: Rec<"VDI">,
  verdict: GuestVerdict,
): Promise<Entry> {
  const { xapi } = opened;
  const vdi = (await xapi.get("VDI", before.uuid)) ?? before;
  const sr = await storageOf(xapi, wanted.connector);
  const thin = THIN.has(sr.type);
  const summary = {
    state: verdict.state,
    summary: verdict.summary,
    blockFinalize: verdict.blockFinalize,
    boots: verdict.boots,
    kms: verdict.kms.message,
    warned: verdict.checks.filter((check) => check.verdict === "warned" || check.verdict === "ignored").map((check) => check.id),
    digest: createHash("sha256").update(JSON.stringify(verdict)).digest("hex"),
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

// SM drivers that keep VHDs as files, or thin volumes: there, what a leaf takes is what its version added (XenServer's and XCP-ng's SM).
const THIN = new Set(["ext", "ext4", "xfs", "nfs", "smb", "cifs", "gfs2", "zfs", "linstor", "cephfs", "glusterfs", "moosefs", "file"]);

function told({ record }: OpenedVersion, entry: Entry, holder: string): Outputs {
  return {
    versionId: versionId(record.layerId, entry.id),
    vdiUuid: entry.vdi ?? "",
    report: entry.sealed?.report ?? {},
    ...(entry.sealed?.deltaGiB === undefined ? {} : { deltaGiB: entry.sealed.deltaGiB }),
    sealedAt: entry.sealed?.at ?? "",
    holder,
  };
}
