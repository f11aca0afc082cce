// PackagingDisk: a new version of a layer, being edited. A clone of the base's disk in the same SR, a copy across SRs.
import * as z from "zod";
import { connectorInput, currentOf, reachable, storageOf } from "../connector.ts";
import { ConflictError, InputError } from "../errors.ts";
import { chooseBase, isRenamed } from "../layer/base.ts";
import { diskDescription, ensureDisk, GiB, removeBuild, removeStale, takenBy, takenRefusal } from "../layer/build.ts";
import { anew, type Base, type Content, differences, type Entry } from "../layer/entry.ts";
import { applyRetention } from "../layer/layers.ts";
import { abandon, freeToTake, withLease } from "../layer/lease.ts";
import { demandStorage, demandVersion, diskIsThere, diskOf, mended, type OpenedVersion, openLayer, openVersion } from "../layer/open.ts";
import { type LayerRecord, randomId, versionId } from "../layer/record.ts";
import { sealedRefusal } from "../layer/sealed.ts";
import { takenBack } from "../plan.ts";
import { type CheckFailure, type Context, defineResource, holdsUnknown, type Known } from "../resource.ts";
import { connectFor } from "../session.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";

export const inputs = z.object({
  connector: connectorInput,
  layer: z.string().min(1).describe("Id of the platform layer (`layer.layerId`).").meta({ willReplaceOnChanges: true }),
  version: z.string().trim().min(1).max(100).describe("Name of the new version, unique in the layer."),
  baseVersion: z.string().optional().describe("Name of the version of this layer to start from; default: its latest sealed one."),
  osVersion: z.string().optional().describe("Name of a version of the OS layer to start afresh from (rebase)."),
  base: z
    .string()
    .optional()
    .describe("Resolved by xenlayer, shown for review: `<layer>/<version>` this version is based on. Don't set it."),
  fileName: z.string().trim().min(1).max(250).optional().describe("name_label of the disk; default: `<layer> <version>`."),
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

type Inputs = z.output<typeof inputs>;
type Outputs = z.output<typeof outputs>;

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
    if (opened === undefined || !(await diskIsThere(opened))) {
      await demandStorage(await ctx.connect(connector), connector);
      ctx.report(`version ${old.version} is gone and will be built again on its base ${old.basedOn}`);
      return { changes: true, replaces: ["version"] };
    }
    const { record, entry } = opened;
    if (want.version !== undefined && want.version !== old.version && (entry.state === "Deployable" || taken(record, want.version, entry)))
      return { replaces: ["version"] };
    if (entry.vdi === undefined || entry.holders.disk !== old.holder) return { changes: true };
    return {};
  },

  async create(ctx, wanted) {
    const { xapi, record } = await openLayer(ctx, wanted.connector, "layer", wanted.layer, "platform");
    const existing = record.versions.get(wanted.version);
    if (existing?.state === "Deployable" && (await diskIsThere({ xapi, record, entry: existing }))) {
      ctx.report(`${wanted.version} exists: taken, not built`);
      return { id: versionId(record.layerId, existing.id), outputs: await take(ctx, record, wanted, existing) };
    }
    return await build(ctx, record, wanted, existing);
  },

  async read(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined) {
      await demandStorage(await ctx.connect(state.connector), state.connector);
      return undefined;
    }
    const { xapi, record, name, entry } = opened;
    if (entry.state === "Deployable" && !(await diskIsThere(opened))) await demandStorage(xapi, state.connector);
    return told(record, name, entry, state.holder, await srName(xapi, record, entry));
  },

  async update(ctx, id, old, wanted) {
    const opened = await demandVersion(ctx, wanted.connector, id);
    const { record, name, entry } = opened;
    if (entry.state === "Deployable") {
      if (!(await diskIsThere(opened)))
        throw new ConflictError(`the disk of version ${name} is gone`, { hint: "run `pulumi up` again: it will be built again" });
      const outputs = await take(ctx, record, { ...wanted, version: name }, entry);
      await record.noteComment("version changed", name, wanted.comment === old.comment ? undefined : wanted.comment);
      return outputs;
    }
    await freeToTake(ctx, record, name);
    await rename(record, entry.id, wanted.version);
    const { outputs } = await build(ctx, record, wanted, record.versions.get(wanted.version));
    await record.noteComment("version changed", wanted.version, wanted.comment === old.comment ? undefined : wanted.comment);
    return outputs;
  },

  async delete(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined || opened.entry.holders.disk !== state.holder) return;
    const { xapi, record, name } = opened;
    await freeToTake(ctx, record, name);
    const entry = record.versions.get(name);
    if (entry === undefined || entry.holders.disk !== state.holder) return;
    if (entry.state === "Deployable") {
      // Finalize goes first and releases it: a version that is still held was sealed by a run that died before it could tell.
      if (entry.released !== undefined) return;
      await record.put(name, { ...entry, holders: {}, released: new Date().toISOString() });
      ctx.report(`${name} stays in layer ${record.meta.name}`);
      await applyRetention(ctx, record);
      await record.saveDocument(ctx.signal);
      return;
    }
    ctx.report(`removing the open version ${name}`);
    await removeBuild(ctx, xapi, record, entry);
    await record.remove(name);
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
  const source = await xapi.get("VDI", base.vdi);
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

const fileNameOf = (record: LayerRecord, { fileName, version }: { fileName?: string | undefined; version: string }): string =>
  fileName ?? `${record.meta.name} ${version}`;

function contentOf(want: Known<Inputs>): Partial<Content> {
  return {
    ...(want.triggers === undefined || holdsUnknown(want.triggers) ? {} : { triggers: want.triggers as Record<string, string> }),
    ...(want.format === undefined ? {} : { diskFormat: want.format }),
    ...(want.sizeGiB === undefined ? {} : { sizeGiB: want.sizeGiB }),
  };
}

/** What the inputs mean otherwise than what the record stores: never compared with old inputs, which may be missing. */
function changesOf(entry: Entry, want: Known<Inputs>): string[] {
  const changed = differences(entry.content, contentOf(want));
  return entry.base !== undefined && isRenamed(entry.base, want) ? [...changed, `the base changed from ${entry.base.name}`] : changed;
}

const taken = (record: LayerRecord, version: string, entry: Entry): boolean => {
  const other = record.versions.get(version);
  return other !== undefined && other.id !== entry.id;
};

/** Renames an open version in place: the new key first, so that a killed run leaves both names, and the next finds the build by its id. */
async function rename(record: LayerRecord, entryId: string, version: string): Promise<void> {
  const found = record.byId(entryId);
  if (found === undefined) return;
  if (taken(record, version, found.entry))
    throw new InputError([{ property: "version", reason: `layer "${record.meta.name}" has another version "${version}"` }]);
  if (!record.versions.has(version)) {
    const { lease: _, ...entry } = found.entry;
    await record.put(version, entry as Entry);
  }
  const former = [...record.versions].filter(([name, { id }]) => id === entryId && name !== version);
  for (const [name] of former) await record.remove(name);
  const vdi = former.length === 0 ? undefined : await diskOf({ xapi: record.xapi, record, entry: found.entry });
  if (vdi !== undefined) await record.xapi.call("VDI.set_name_description", vdi.$ref, diskDescription(record, version, found.entry));
}

/** Holds a sealed version that means the same. */
async function take(ctx: Context, record: LayerRecord, wanted: Inputs, entry: Entry): Promise<Outputs> {
  const { version } = wanted;
  const refusal = sealedRefusal(record, version, entry, changesOf(entry, wanted));
  if (refusal !== undefined) throw new InputError([{ property: "version", reason: refusal }]);
  const { xapi } = record;
  const opened: OpenedVersion = { xapi, record, name: version, entry };
  const fileName = wanted.fileName ?? entry.fileName;
  if (fileName !== undefined && fileName !== entry.fileName) await setFileName(opened, fileName);
  const holder = randomId();
  const { released: _, ...rest } = await mended(ctx, opened);
  const held = { ...rest, ...(fileName === undefined ? {} : { fileName }), holders: { ...entry.holders, disk: holder } } as Entry;
  await record.put(version, held);
  return told(record, version, held, holder, await srName(xapi, record, held));
}

async function setFileName(opened: OpenedVersion, fileName: string): Promise<void> {
  const { xapi, entry } = opened;
  const vdi = await diskOf(opened);
  if (vdi === undefined) return;
  const other = takenBy(await xapi.find("VDI", { name_label: fileName, SR: vdi.SR }), fileName, entry.id);
  const sr = other === undefined ? undefined : await xapi.record("SR", other.SR);
  if (other !== undefined && sr !== undefined) throw new InputError([takenRefusal(fileName, other, sr)]);
  await xapi.call("VDI.set_name_label", vdi.$ref, fileName);
}

/** The open version with its disk: as it is where it was made of the same, else cloned anew; what was sealed and is gone, on its recorded base. */
async function build(
  ctx: Context,
  record: LayerRecord,
  wanted: Inputs,
  existing: Entry | undefined,
): Promise<{ id: string; outputs: Outputs }> {
  const { xapi } = record;
  const { version } = wanted;
  const base = await chooseBase(ctx, record, wanted, existing, wanted.base);
  const sr = await storageOf(xapi, wanted.connector);
  const holder = randomId();
  const content: Content = { format: 1, ...contentOf(wanted) };
  const fileName = fileNameOf(record, wanted);
  const lost = existing !== undefined && !(await diskIsThere({ xapi, record, entry: existing }));
  let fresh = false;
  const first = (before: Entry | undefined): Entry | undefined => {
    fresh = before === undefined;
    const made = { base, content, fileName, sr: sr.$ref, srType: { sr: sr.$ref, type: sr.type } };
    if (before === undefined)
      return { format: 1, id: randomId(), build: randomId(), state: "Editing", holders: {}, createdAt: new Date().toISOString(), ...made };
    const gone = lost && before.build === existing.build;
    // Sealed by the run that was waited for.
    if (before.state === "Deployable" && !gone) return undefined;
    if (before.state === "Deployable") return anew(before, { id: randomId(), build: randomId(), holders: {}, ...made });
    const elsewhere = before.sr !== undefined && before.sr !== sr.$ref;
    if (gone || elsewhere || before.base?.id !== base.id || differences(before.content, content).length > 0)
      return anew(before, { build: randomId(), ...made });
    return { ...before, ...made, content: { ...before.content, ...content } };
  };
  const entry = await withLease<Entry>(ctx, record, version, first, async (held) => {
    const work = { ...ctx, signal: held.signal };
    if (held.entry.stale !== undefined) ctx.report(`${version} is cloned anew`);
    await removeStale(work, xapi, record, held.entry);
    try {
      const { vdi, depth } = await ensureDisk(work, xapi, {
        sr,
        record,
        version,
        entry: held.entry,
        base,
        fileName,
        sizeGiB: wanted.sizeGiB,
      });
      const { stale: _, ...rest } = held.entry;
      // The hold comes last: a create that fails must not take the version from the resource that has it.
      const made: Entry = { ...rest, vdi: vdi.uuid, depth, holders: { ...rest.holders, disk: holder } };
      return { result: made, finish: () => made };
    } catch (error) {
      // Nothing is left of what this run began; a version that was there before stays open.
      if (!fresh) throw error;
      throw await takenBack(error, (signal) => abandon({ ...ctx, signal }, record, version, held));
    }
  });
  if (entry === undefined) {
    const sealed = record.versions.get(version);
    if (sealed === undefined) throw new ConflictError(`version ${version} has been removed meanwhile`, { hint: "run `pulumi up` again" });
    return { id: versionId(record.layerId, sealed.id), outputs: await take(ctx, record, wanted, sealed) };
  }
  if (fresh) await record.noteComment("version added", version, wanted.comment);
  return { id: versionId(record.layerId, entry.id), outputs: told(record, version, entry, holder, sr.name_label) };
}

const srName = async (xapi: Xapi, record: LayerRecord, entry: Entry): Promise<string> =>
  (await xapi.record("SR", entry.sr ?? record.vdi.SR))?.name_label ?? "";

function told(record: LayerRecord, version: string, entry: Entry, holder: string, sr: string): Outputs {
  const uuid = entry.vdi ?? "";
  return {
    versionId: versionId(record.layerId, entry.id),
    vdiUuid: uuid,
    location: `${sr}/${entry.fileName ?? version} (${uuid})`,
    basedOn: entry.base?.name ?? "",
    holder,
  };
}
