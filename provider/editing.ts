// Editing: an open version and its disk, made, resumed, renamed or cloned anew; and a sealed version of the same content, taken.
// Promises: a version is decided by what the record stores, never by old inputs, which may be missing; a disk that holds something else is never gone on
// with; the hold on a version is the last thing that is written.
import { storageOf } from "./connector.ts";
import { ConflictError, InputError } from "./errors.ts";
import { chooseBase, isRenamed } from "./layer/base.ts";
import { diskDescription, ensureDisk, takenBy, takenRefusal } from "./layer/build.ts";
import { removeStale } from "./layer/buildRemoval.ts";
import { anew, type Content, differences, type Entry } from "./layer/entry.ts";
import { abandon, withLease, withoutLease } from "./layer/lease.ts";
import { diskOf, mended, type OpenedVersion } from "./layer/open.ts";
import { type LayerRecord, randomId, versionId } from "./layer/record.ts";
import { sealedRefusal } from "./layer/sealed.ts";
import { takenBack } from "./plan.ts";
import { type Context, holdsUnknown, type Known } from "./resource.ts";
import type { Inputs, Outputs } from "./resources/packagingDisk.ts";
import type { Xapi } from "./xapi/client.ts";
import { isUnclear } from "./xapi/pool.ts";
import type { Rec } from "./xapi/records.ts";

export const fileNameOf = (record: LayerRecord, { fileName, version }: { fileName?: string | undefined; version: string }): string =>
  fileName ?? `${record.meta.name} ${version}`;

function contentOf(want: Known<Inputs>): Partial<Content> {
  return {
    ...(want.triggers === undefined || holdsUnknown(want.triggers) ? {} : { triggers: want.triggers as Record<string, string> }),
    ...(want.format === undefined ? {} : { diskFormat: want.format }),
    ...(want.sizeGiB === undefined ? {} : { sizeGiB: want.sizeGiB }),
  };
}

/** What the inputs mean otherwise than what the record stores: never compared with old inputs, which may be missing. */
export function changesOf(entry: Entry, want: Known<Inputs>): string[] {
  const changed = differences(entry.content, contentOf(want));
  return entry.base !== undefined && isRenamed(entry.base, want) ? [...changed, `the base changed from ${entry.base.name}`] : changed;
}

export const taken = (record: LayerRecord, version: string, entry: Entry): boolean => {
  const other = record.versions.get(version);
  return other !== undefined && other.id !== entry.id;
};

/** Renames an open version in place: the new key first, so that a killed run leaves both names, and the next finds the build by its id. */
export async function rename(ctx: Context, record: LayerRecord, entryId: string, version: string): Promise<void> {
  const former = [...record.versions].filter(([name, { id }]) => id === entryId && name !== version);
  const [[name, entry] = []] = former;
  if (name === undefined || entry === undefined) return;
  if (taken(record, version, entry))
    throw new InputError([{ property: "version", reason: `layer "${record.meta.name}" has another version "${version}"` }]);
  // Under the lease of its old name: whoever else wants it finds it gone.
  await withLease(
    ctx,
    record,
    name,
    (before) => before,
    async (held) => {
      if (!record.versions.has(version)) await record.put(version, withoutLease(held.entry));
      for (const [old] of former) await record.remove(old);
      const vdi = await diskOf({ xapi: record.xapi, record, entry });
      if (vdi !== undefined) await record.xapi.call("VDI.set_name_description", vdi.$ref, diskDescription(record, version, entry));
      return { result: true };
    },
  );
}

/** Holds a sealed version that means the same. */
export async function take(ctx: Context, record: LayerRecord, wanted: Inputs, entry: Entry): Promise<Outputs> {
  const { version } = wanted;
  const refusal = sealedRefusal(record, version, entry, changesOf(entry, wanted));
  if (refusal !== undefined) throw new InputError([{ property: "version", reason: refusal }]);
  const { xapi } = record;
  const opened: OpenedVersion = { xapi, record, name: version, entry };
  const fileName = wanted.fileName ?? entry.fileName;
  if (fileName !== undefined) await setFileName(opened, fileName);
  const holder = randomId();
  const { released: _, ...rest } = await mended(ctx, opened);
  const held = { ...rest, ...(fileName === undefined ? {} : { fileName }), holders: { ...entry.holders, disk: holder } } as Entry;
  await record.put(version, held);
  return told(record, version, held, holder, await srName(xapi, record, held));
}

async function setFileName(opened: OpenedVersion, fileName: string): Promise<void> {
  const { xapi, entry } = opened;
  const vdi = await diskOf(opened);
  if (vdi === undefined || vdi.name_label === fileName) return;
  const other = takenBy(await xapi.find("VDI", { name_label: fileName, SR: vdi.SR }), fileName, entry.id);
  const sr = other === undefined ? undefined : await xapi.record("SR", other.SR);
  if (other !== undefined && sr !== undefined) throw new InputError([takenRefusal(fileName, other, sr)]);
  await xapi.call("VDI.set_name_label", vdi.$ref, fileName);
}

/** The open version with its disk: as it is where it was made of the same, else cloned anew; what was sealed and is gone, on its recorded base. */
export async function build(
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
  const disk = existing === undefined ? undefined : await diskOf({ xapi, record, entry: existing });
  const lost = existing !== undefined && disk === undefined && (existing.vdi !== undefined || existing.state === "Deployable");
  let fresh = false;
  const first = (before: Entry | undefined): Entry | undefined => {
    fresh = before === undefined;
    const made = { base, content, fileName, sr: sr.$ref, srType: { sr: sr.$ref, type: sr.type } };
    if (before === undefined)
      return { format: 1, id: randomId(), build: randomId(), state: "Editing", holders: {}, createdAt: new Date().toISOString(), ...made };
    const gone = lost && before.build === existing.build;
    // Sealed by the run that was waited for.
    if (before.state === "Deployable" && !gone) return undefined;
    // Another version under the name, though on the base of the one that is gone, or about to be.
    if (before.state === "Deployable" || before.state === "Deleting")
      return anew(before, { id: randomId(), build: randomId(), holders: {}, ...made });
    // Asked for in another SR: neither moved there by somebody, nor under the reference that an SR has since it was introduced again.
    const elsewhere = before.sr !== undefined && before.sr !== sr.$ref && (disk?.uuid !== before.vdi || disk?.SR !== sr.$ref);
    if (gone || elsewhere || before.base?.id !== base.id || differences(before.content, content).length > 0)
      // Under the uuid that it has now the former disk goes: what it is described as tells too little for that.
      return anew(disk !== undefined && before.vdi === existing?.vdi ? { ...before, vdi: disk.uuid } : before, {
        build: randomId(),
        ...made,
      });
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
      // Nothing is left of what this run began; a version that was there before stays open. So does one whose disk may come yet: XAPI goes on with a call
      // whose client is gone, and only key and entry tell whose the disk is.
      if (!fresh || isUnclear(error)) throw error;
      throw await takenBack(error, (signal) => abandon({ ...ctx, signal }, record, version, held));
    }
  });
  if (entry === undefined) {
    const sealed = record.versions.get(version);
    if (sealed === undefined) throw new ConflictError(`version ${version} has been removed meanwhile`, { hint: "run `pulumi up` again" });
    return { id: versionId(record.layerId, sealed.id), outputs: await take(ctx, record, wanted, sealed) };
  }
  return { id: versionId(record.layerId, entry.id), outputs: told(record, version, entry, holder, sr.name_label) };
}

export const srName = async (xapi: Xapi, record: LayerRecord, entry: Entry, vdi?: Rec<"VDI">): Promise<string> =>
  (await xapi.record("SR", vdi?.SR ?? entry.sr ?? record.vdi.SR))?.name_label ?? "";

/** `vdi`: the disk as it is, where it was looked at. */
export function told(record: LayerRecord, version: string, entry: Entry, holder: string, sr: string, vdi?: Rec<"VDI">): Outputs {
  const uuid = vdi?.uuid ?? entry.vdi ?? "";
  return {
    versionId: versionId(record.layerId, entry.id),
    vdiUuid: uuid,
    location: `${sr}/${vdi?.name_label ?? entry.fileName ?? version} (${uuid})`,
    basedOn: entry.base?.name ?? "",
    holder,
  };
}
