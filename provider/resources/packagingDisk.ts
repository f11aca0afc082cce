// PackagingDisk: a new version of a layer, being edited. A clone of the base's disk in the same SR, a copy across SRs.
import * as z from "zod";
import { connectorInput, currentOf, reachable, storageOf } from "../connector.ts";
import { build, changesOf, fileNameOf, rename, srName, take, taken, told } from "../editing.ts";
import { ConflictError } from "../errors.ts";
import { chooseBase } from "../layer/base.ts";
import { baseDisk, GiB, takenBy, takenRefusal } from "../layer/build.ts";
import type { Base, Entry } from "../layer/entry.ts";
import { abandon, freeToTake, withLease } from "../layer/lease.ts";
import { demandStorage, demandVersion, diskIsThere, diskOf, isSettled, openLayer, openVersion } from "../layer/open.ts";
import { type LayerRecord, versionId } from "../layer/record.ts";
import { applyRetention } from "../layer/removal.ts";
import { recover } from "../layer/restored.ts";
import { sealedRefusal } from "../layer/sealed.ts";
import { objectName } from "../names.ts";
import { type CheckFailure, type Context, defineResource, type Known } from "../resource.ts";
import { connectFor } from "../session.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";

export const inputs = z.object({
  connector: connectorInput,
  layer: z.string().min(1).describe("Id of the platform layer (`layer.layerId`).").meta({ willReplaceOnChanges: true }),
  version: objectName(100).describe("Name of the new version, unique in the layer."),
  baseVersion: z.string().optional().describe("Name of the version of this layer to start from; default: its latest sealed one."),
  osVersion: z.string().optional().describe("Name of a version of the OS layer to start afresh from (rebase)."),
  base: z
    .string()
    .optional()
    .describe("Resolved by xenlayer, shown for review: `<layer>/<version>` this version is based on. Don't set it."),
  fileName: objectName(250).optional().describe("name_label of the disk; default: `<layer> <version>`."),
  format: z.enum(["vhd", "qcow2"]).default("vhd").describe("Disk format: what the storage repository can hold."),
  sizeGiB: z.number().positive().max(2040).optional().describe("Virtual size in GiB; can only grow. Default: the base's."),
  triggers: z.record(z.string(), z.string()).optional().describe("Digests by a name that people read; a changed one clones the disk anew."),
  comment: z.string().max(2000).optional().describe("Becomes an entry of the audit history."),
});

export const outputs = z.object({
  versionId: z.string().describe("Id of the version; the same as the resource's id."),
  vdiUuid: z.string().describe("uuid of the disk."),
  location: z.string().describe("Where it is: `<storage repository>/<name_label> (<uuid>)`."),
  basedOn: z.string().describe("What it is based on, as `plat/2.2` or `win11/1.0`."),
  holder: z.string().describe("Token of this hold on the version."),
});

export type Inputs = z.output<typeof inputs>;
export type Outputs = z.output<typeof outputs>;

export const packagingDisk = defineResource(connectFor, {
  type: "PackagingDisk",
  description:
    "A new version of a platform layer, being edited: a clone of its base's disk in the same storage repository, a copy across storage repositories. It becomes the version when it is sealed by Finalize.",
  inputs,
  outputs,

  async examine(ctx, want, old) {
    if (!reachable(want.connector) || want.layer === undefined || want.version === undefined) return { failures: [] };
    const { xapi, record } = await openLayer(ctx, want.connector, "layer", want.layer, "platform");
    const { version } = want;
    const begun = record.versions.get(version);
    if (!isSettled(begun) && (begun !== undefined || old?.version === version))
      await recover(ctx, record, begun?.id ?? `${record.layerId} ${version}`);
    const existing = record.versions.get(version);
    const there = existing !== undefined && (await diskIsThere({ xapi, record, entry: existing }));
    if (existing?.state === "Deployable" && there) {
      const refusal = sealedRefusal(record, version, existing, changesOf(existing, want));
      if (refusal !== undefined) return { failures: [{ property: "version", reason: refusal }] };
      if (old?.version !== version) ctx.report(`${version} exists: taken, not built`);
      return { failures: [], inputs: { base: existing.base?.name } };
    }
    const ambiguous = baseFailure(ctx, record, want, version, old?.version);
    if (ambiguous !== undefined) return { failures: [ambiguous] };
    const kept = old?.version === version && old.baseVersion === want.baseVersion && old.osVersion === want.osVersion;
    const base = await chooseBase(ctx, record, want, existing, kept ? old.base : undefined);
    const sr = await storageOf(xapi, want.connector);
    const failures = await diskFailures(xapi, record, sr, base, existing, { ...want, version });
    if (existing !== undefined) tellOpen(ctx, version, existing, changesOf(existing, want));
    else if (old?.version !== undefined && old.version !== version && record.versions.get(old.version)?.state === "Deployable")
      ctx.report(`${old.version} stays in the layer`);
    return { failures, inputs: { base: base.name } };
  },

  async diff(ctx, id, old, want) {
    if (want.layer !== undefined && want.layer !== old.layer) return { replaces: ["layer"] };
    const connector = currentOf(want.connector, old.connector);
    const opened = await openVersion(ctx, connector, id);
    const vdi = opened === undefined ? undefined : await diskOf(opened);
    // An open version may not have its disk yet.
    const unmade = opened?.entry.vdi === undefined && opened?.entry.state !== "Deployable";
    if (opened === undefined || (vdi === undefined && !unmade)) {
      await demandStorage(await ctx.connect(connector), connector);
      ctx.report(`version ${old.version} is gone and will be built again on its base ${old.basedOn}`);
      return { changes: true, replaces: ["version"] };
    }
    const { record, entry } = opened;
    if (want.version !== undefined && want.version !== old.version && (entry.state === "Deployable" || taken(record, want.version, entry)))
      return { replaces: ["version"] };
    // Moved or renamed by somebody: the update sees to it.
    const asMade = vdi !== undefined && vdi.uuid === entry.vdi && vdi.name_label === (entry.fileName ?? vdi.name_label);
    return asMade && entry.holders.disk === old.holder ? {} : { changes: true };
  },

  async create(ctx, wanted) {
    const { xapi, record } = await openLayer(ctx, wanted.connector, "layer", wanted.layer, "platform");
    const begun = record.versions.get(wanted.version);
    if (begun !== undefined && !isSettled(begun)) await recover(ctx, record, begun.id);
    const existing = record.versions.get(wanted.version);
    if (existing?.state === "Deployable" && (await diskIsThere({ xapi, record, entry: existing }))) {
      ctx.report(`${wanted.version} exists: taken, not built`);
      return { id: versionId(record.layerId, existing.id), outputs: await take(ctx, record, wanted, existing) };
    }
    const made = await build(ctx, record, wanted, existing);
    // By whoever gets so far: a run that began it may have been killed.
    await record.noteComment("version added", wanted.version, wanted.comment);
    return made;
  },

  async read(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined) {
      await demandStorage(await ctx.connect(state.connector), state.connector);
      return undefined;
    }
    const { xapi, record, name, entry } = opened;
    const vdi = await diskOf(opened);
    if (entry.state === "Deployable" && vdi === undefined) await demandStorage(xapi, state.connector);
    return told(record, name, entry, state.holder, await srName(xapi, record, entry, vdi), vdi);
  },

  async update(ctx, id, old, wanted) {
    const { xapi, record, name } = await demandVersion(ctx, wanted.connector, id);
    // Another run may be about to seal it.
    await freeToTake(ctx, record, name);
    const entry = record.versions.get(name);
    if (entry === undefined) throw new ConflictError(`version ${name} has been removed meanwhile`, { hint: "run `pulumi up` again" });
    const sealed = entry.state === "Deployable";
    if (sealed && !(await diskIsThere({ xapi, record, entry })))
      throw new ConflictError(`the disk of version ${name} is gone`, { hint: "run `pulumi up` again: it will be built again" });
    const version = sealed ? name : wanted.version;
    if (!sealed) await rename(ctx, record, entry.id, version);
    const outputs = sealed
      ? await take(ctx, record, { ...wanted, version }, entry)
      : (await build(ctx, record, wanted, record.versions.get(version))).outputs;
    await record.noteComment("version changed", version, wanted.comment === old.comment ? undefined : wanted.comment);
    return outputs;
  },

  async delete(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined || opened.entry.holders.disk !== state.holder) return;
    const { record, name } = opened;
    await freeToTake(ctx, record, name);
    const entry = record.versions.get(name);
    if (entry === undefined || entry.holders.disk !== state.holder) return;
    if (entry.state === "Deployable") {
      // Finalize goes first and releases it: a version that is still held was sealed by a run that died before it could tell.
      const released = await record.change(name, (now) =>
        now?.state === "Deployable" && now.released === undefined && now.holders.disk === state.holder
          ? { ...now, holders: {}, released: new Date().toISOString() }
          : undefined,
      );
      if (!released) return;
      ctx.report(`${name} stays in layer ${record.meta.name}`);
      await applyRetention(ctx, record);
      await record.saveDocument(ctx.signal);
      return;
    }
    ctx.report(`removing the open version ${name}`);
    const mine = (before: Entry | undefined) =>
      before?.holders.disk === state.holder && before.state !== "Deployable" ? before : undefined;
    await withLease(ctx, record, name, mine, async (held) => {
      await abandon({ ...ctx, signal: held.signal }, record, name, held);
      return { result: true };
    });
  },
});

// Open versions that a program was asked to check, by layer: two in one program must name their bases, whatever order they come in.
const programs = new WeakMap<object, Map<string, Map<string, string>>>();
const thisProcess = {};

function baseFailure(
  ctx: Context,
  record: LayerRecord,
  want: Known<Inputs>,
  version: string,
  before: string | undefined,
): CheckFailure | undefined {
  if (want.baseVersion !== undefined && want.osVersion !== undefined)
    return { property: "osVersion", reason: "give baseVersion or osVersion, not both" };
  const program = programs.get(ctx.program ?? thisProcess) ?? new Map<string, Map<string, string>>();
  programs.set(ctx.program ?? thisProcess, program);
  const open = program.get(record.layerId) ?? new Map<string, string>();
  program.set(record.layerId, open);
  if (before !== undefined) open.delete(before);
  open.set(ctx.urn ?? version, version);
  // A version whose base was chosen once keeps it.
  if ("baseVersion" in want || "osVersion" in want || record.versions.get(version)?.base !== undefined) return undefined;
  const held = [...record.versions].filter(([name, { holders }]) => name !== before && holders.disk !== undefined).map(([name]) => name);
  const rival = [...open.values(), ...held].find((name) => name !== version && record.versions.get(name)?.state !== "Deployable");
  if (rival === undefined) return undefined;
  return {
    property: "baseVersion",
    reason: `"${rival}" and "${version}" are both new in layer "${record.meta.name}": name what this one is based on (baseVersion or osVersion)`,
  };
}

async function diskFailures(
  xapi: Xapi,
  record: LayerRecord,
  sr: Rec<"SR">,
  base: Base,
  existing: Entry | undefined,
  want: Known<Inputs> & { version: string },
): Promise<CheckFailure[]> {
  const source = await baseDisk(xapi, base);
  if (source === undefined)
    return [
      { property: "baseVersion", reason: `the disk of ${base.name} (${base.vdi}) is gone: name another base (baseVersion or osVersion)` },
    ];
  const failures: CheckFailure[] = [];
  if (want.sizeGiB !== undefined && want.sizeGiB * GiB < source.virtual_size)
    failures.push({
      property: "sizeGiB",
      reason: `${want.sizeGiB} GiB is less than the ${Math.ceil((source.virtual_size / GiB) * 100) / 100} GiB of ${base.name}: a disk can only grow`,
    });
  if (want.format === "qcow2" && sr.sm_config["image-format"] !== "qcow2")
    failures.push({
      property: "format",
      reason: `"${sr.name_label}" (${sr.type}) holds vhd disks; qcow2 is for storage repositories made for it`,
    });
  const need = source.SR === sr.$ref ? GiB : source.physical_utilisation;
  const free = sr.physical_size - sr.physical_utilisation;
  if (free < need)
    failures.push({
      property: "connector.storageRepository",
      reason: `"${sr.name_label}" has ${Math.floor(free / GiB)} GiB free, ${Math.ceil(need / GiB)} GiB are needed: free some space, or name another storage repository`,
    });
  const fileName = fileNameOf(record, want);
  const taken = takenBy(await xapi.find("VDI", { name_label: fileName, SR: sr.$ref }), fileName, existing?.id);
  if (taken !== undefined) failures.push(takenRefusal(fileName, taken, sr));
  return failures;
}

function tellOpen(ctx: Context, version: string, existing: Entry, changed: string[]): void {
  const step = existing.machine?.steps.find((result) => result.state !== "done");
  if (existing.state === "Deployable") ctx.report(`${version} is gone and will be built again on its base ${existing.base?.name}`);
  else if (changed.length > 0) ctx.report(`${version} is cloned anew: ${changed.join(", ")}`);
  else ctx.report(step === undefined ? `${version} is open` : `resumes at step ${step.name}`);
}
