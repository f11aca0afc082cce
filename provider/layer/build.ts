// The disks of one build of a version: made from its base, and found again wherever they were moved and whatever marks they have lost.
// Taking a build away is in buildRemoval.ts.
import { ConflictError, InputError, XapiError } from "../errors.ts";
import type { Context } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import { NULL_REF, type Rec } from "../xapi/records.ts";
import { removeCopies, usersOf } from "./buildRemoval.ts";
import type { Base, Entry } from "./entry.ts";
import { boundMarks, findDisk, inFlightKey, isOurs, type Marks, marksFor, marksOf, OPEN, withoutMarks } from "./marks.ts";
import { LayerRecord, splitVersionId } from "./record.ts";

export const GiB = 2 ** 30;
/** SM refuses chains longer than 30 (SR_BACKEND_FAILURE_109); images and snapshots above a version need room too. */
const MAX_DEPTH = 20;

export interface DiskRequest {
  /** Where it goes. */
  sr: Rec<"SR">;
  record: LayerRecord;
  version: string;
  entry: Entry;
  base: Base;
  fileName: string;
  sizeGiB?: number | undefined;
}

export const diskMarks = (record: LayerRecord, entry: Entry): Marks => ({
  connector: record.meta.connectorId,
  role: "disk",
  layer: record.layerId,
  version: entry.id,
  build: entry.build,
});

/** A short id in name_description survives a storage migration, which drops other_config (xapi.md 5.1). */
export const diskDescription = (record: LayerRecord, version: string, entry: Entry): string =>
  `${DISK}${record.meta.name}/${version} ${record.layerId}/${entry.id}`;
export const payloadDescription = (record: LayerRecord, version: string, entry: Entry): string =>
  `${EVIDENCE}${record.meta.name}/${version} ${record.layerId}/${entry.id}`;

const DISK = "xenlayer ";
const EVIDENCE = "xenlayer payload and evidence of ";

/** Disks without marks that are described as this version's, whatever it and its layer are called since. */
async function described(xapi: Xapi, record: LayerRecord, entry: Entry, evidence: boolean): Promise<Rec<"VDI">[]> {
  return (await xapi.all("VDI")).filter(
    ({ name_description, ...vdi }) =>
      name_description.startsWith(DISK) &&
      name_description.startsWith(EVIDENCE) === evidence &&
      name_description.endsWith(` ${record.layerId}/${entry.id}`) &&
      !vdi.is_a_snapshot &&
      marksOf(vdi) === undefined,
  );
}

/** The evidence of a sealed version, also where a storage migration has put it. */
export async function evidenceOf(
  xapi: Xapi,
  record: LayerRecord,
  entry: Entry,
  seen: readonly Rec<"VDI">[] = [],
): Promise<Rec<"VDI"> | undefined> {
  const uuid = entry.sealed?.evidence;
  if (uuid === undefined) return undefined;
  const there = seen.find((vdi) => vdi.uuid === uuid) ?? (await xapi.get("VDI", uuid));
  if (there !== undefined || entry.state === "Deleting") return there;
  const [moved, ...more] = await described(xapi, record, entry, true);
  // Of several nobody can tell which are copies; and what a VM has may be one.
  return moved === undefined || more.length > 0 || (await usersOf(xapi, moved, entry.machine)).length > 0 ? undefined : moved;
}

/** The build's disk: found, or cloned from its base (copied across SRs, or when the chain has grown too long). */
export async function ensureDisk(ctx: Context, xapi: Xapi, request: DiskRequest): Promise<{ vdi: Rec<"VDI">; depth: number }> {
  const { record, entry, base, version, sr } = request;
  const vdis = await xapi.find("VDI", { SR: sr.$ref });
  const marks = diskMarks(record, entry);
  // What is recorded counts, wherever somebody has moved it and whatever it has lost: it holds what was done so far.
  const existing = (await recordedDisk(xapi, record, entry, vdis)) ?? findDisk(vdis, marks);
  refuseTaken(vdis, request);
  const source = await baseDisk(xapi, base, vdis);
  const flight = inFlightKey(entry.build);
  const baseDepth = base.depth ?? 0;
  const clones = source?.SR === sr.$ref && baseDepth < MAX_DEPTH;
  const depth = clones ? baseDepth + 1 : 0;
  if (existing !== undefined) {
    if (existing.name_label !== request.fileName) await xapi.call("VDI.set_name_label", existing.$ref, request.fileName);
    if (source !== undefined && flight in source.other_config) await xapi.call("VDI.remove_from_other_config", source.$ref, flight);
    const whole = { ...(await remarked(ctx, record, version, entry, existing)), name_label: request.fileName };
    return { vdi: await grown(xapi, whole, request.sizeGiB), depth: entry.depth ?? depth };
  }
  if (source === undefined)
    throw new ConflictError(`the disk of base version ${base.name} (${base.vdi}) is gone`, {
      hint: "name another base with baseVersion or osVersion",
    });

  if (source.uuid !== base.vdi && marksOf(source) === undefined)
    ctx.warn(`the disk of base version ${base.name} (${base.vdi}) is gone, and disk ${source.uuid}, described as its own, is taken for it`);
  ctx.report(clones ? `cloning ${base.name}` : `copying ${base.name} to "${sr.name_label}"`);
  // A clone bears its source's marks until it gets its own: only the in-flight key tells it from a clone that somebody else made.
  await removeCopies(ctx, xapi, source, entry.build, vdis);
  if (!(flight in source.other_config))
    await xapi.call("VDI.add_to_other_config", source.$ref, flight, new Date().toISOString()).catch(onlyDuplicate);
  const ref = clones
    ? await xapi.call<string>("VDI.clone", source.$ref)
    : await copied(ctx, xapi, source, request, { ...marksFor(marks), [flight]: "" });
  const vdi = await xapi.record("VDI", ref);
  if (vdi === undefined) throw new ConflictError(`the new disk of version ${version} has been removed meanwhile`);
  await xapi.call("VDI.set_name_label", ref, request.fileName);
  await xapi.call("VDI.set_name_description", ref, diskDescription(record, version, entry));
  // Last: from here on it counts as made.
  const other_config = { ...withoutMarks(vdi.other_config), ...boundMarks(marks, vdi.uuid), [OPEN]: new Date().toISOString() };
  await xapi.call("VDI.set_other_config", ref, other_config);
  await xapi.call("VDI.remove_from_other_config", source.$ref, flight);
  return { vdi: await grown(xapi, { ...vdi, other_config, name_label: request.fileName }, request.sizeGiB), depth };
}

/** The version's disk, also where a storage migration has put it. `seen`: what was listed a moment ago. */
export async function recordedDisk(
  xapi: Xapi,
  record: LayerRecord,
  entry: Entry,
  seen: readonly Rec<"VDI">[] = [],
): Promise<Rec<"VDI"> | undefined> {
  if (entry.vdi === undefined) return undefined;
  return seen.find(({ uuid }) => uuid === entry.vdi) ?? (await xapi.get("VDI", entry.vdi)) ?? (await movedDisk(xapi, record, entry));
}

/**
 * The disk of a version after a storage migration: under another uuid, without marks, its description kept (xapi.md 5.1). Looked for only where the recorded disk
 * is gone. A clone of a version's disk, as images are, bears the description too, and no marks either once it is migrated: so it is taken only where it is the only
 * one and no VM has it; and never for a version that is being removed, whose own disk may have gone a moment ago.
 */
async function movedDisk(xapi: Xapi, record: LayerRecord, entry: Entry): Promise<Rec<"VDI"> | undefined> {
  if (entry.vdi === undefined || entry.state === "Deleting") return undefined;
  const [found, ...more] = await described(xapi, record, entry, false);
  if (found === undefined) return undefined;
  const gone = `the disk of version ${record.byId(entry.id)?.name ?? entry.id} of layer "${record.meta.name}" (${entry.vdi}) is gone`;
  if (more.length > 0)
    throw new ConflictError(`${gone}, and several others say that they are it: ${[found, ...more].map(({ uuid }) => uuid).join(", ")}`, {
      hint: "remove, or describe otherwise, those that are copies",
    });
  const users = await usersOf(xapi, found, entry.machine);
  if (users.length > 0)
    throw new ConflictError(
      `${gone}, and another that says that it is it, "${found.name_label}" (${found.uuid}), is used by ${users.join(", ")}`,
      {
        hint: "if it was moved there, detach it from what uses it; if it is a clone, give it another description (name_description); then run again",
      },
    );
  return found;
}

/** The entry with the uuids that its disks have now: to be written before any of them goes, so that they go by these and nothing else does. */
export async function located(xapi: Xapi, record: LayerRecord, entry: Entry, seen: readonly Rec<"VDI">[]): Promise<Entry> {
  if (entry.state === "Deleting") return entry;
  const disk = await recordedDisk(xapi, record, entry, seen);
  const evidence = await evidenceOf(xapi, record, entry, seen);
  return {
    ...entry,
    ...(disk === undefined ? {} : { vdi: disk.uuid }),
    ...(evidence === undefined || entry.sealed === undefined ? {} : { sealed: { ...entry.sealed, evidence: evidence.uuid } }),
  };
}

/** The disk of a base, also where it was moved since the base was chosen: its own layer's record tells. */
export async function baseDisk(xapi: Xapi, base: Base, seen: readonly Rec<"VDI">[] = []): Promise<Rec<"VDI"> | undefined> {
  const there = seen.find(({ uuid }) => uuid === base.vdi) ?? (await xapi.get("VDI", base.vdi));
  if (there !== undefined) return there;
  const record = await LayerRecord.open(xapi, base.layer);
  const entry = record?.byId(splitVersionId(base.id)?.entryId ?? "")?.entry;
  return record === undefined || entry === undefined ? undefined : await recordedDisk(xapi, record, entry);
}

/** The version's disk with marks of its own: those are lost in a storage migration, and when an SR is forgotten and introduced again. */
export async function remarked(ctx: Context, record: LayerRecord, version: string, entry: Entry, vdi: Rec<"VDI">): Promise<Rec<"VDI">> {
  const { xapi } = record;
  const marks = diskMarks(record, entry);
  const name_description = diskDescription(record, version, entry);
  if (vdi.name_description !== name_description) await xapi.call("VDI.set_name_description", vdi.$ref, name_description);
  if (isOurs(vdi, marks)) return { ...vdi, name_description };
  const open = entry.sealed === undefined ? { [OPEN]: new Date().toISOString() } : {};
  const other_config = { ...withoutMarks(vdi.other_config), ...boundMarks(marks, vdi.uuid), ...open };
  await xapi.call("VDI.set_other_config", vdi.$ref, other_config);
  const what = `version ${version} of layer "${record.meta.name}"`;
  if (vdi.uuid === entry.vdi) ctx.report(`${what} had lost its marks: they have been rebuilt`);
  // By its description alone: that is said for good.
  else ctx.warn(`${what} was moved: its disk ${entry.vdi} is gone, and disk ${vdi.uuid}, described as its own, is taken for it`);
  return { ...vdi, name_description, other_config };
}

/** The disk of another version that bears this name_label; App Layering's file names are unique in an SR, too. */
export const takenBy = (vdis: readonly Rec<"VDI">[], fileName: string, entryId: string | undefined): Rec<"VDI"> | undefined =>
  vdis.find(
    (vdi) => vdi.name_label === fileName && isOurs(vdi, { role: "disk" }) && (entryId === undefined || !isOurs(vdi, { version: entryId })),
  );

export const takenRefusal = (fileName: string, taken: Rec<"VDI">, sr: Rec<"SR">): { property: string; reason: string } => ({
  property: "fileName",
  reason: `"${fileName}" is taken by disk ${taken.uuid} in "${sr.name_label}", another version's: give another fileName`,
});

function refuseTaken(vdis: readonly Rec<"VDI">[], { sr, fileName, entry }: DiskRequest): void {
  const taken = takenBy(vdis, fileName, entry.id);
  if (taken !== undefined) throw new InputError([takenRefusal(fileName, taken, sr)]);
}

async function copied(
  ctx: Context,
  xapi: Xapi,
  source: Rec<"VDI">,
  request: DiskRequest,
  other_config: Record<string, string>,
): Promise<string> {
  const { sr, fileName, record, version, entry } = request;
  const into = await xapi.call<string>("VDI.create", {
    name_label: fileName,
    name_description: diskDescription(record, version, entry),
    SR: sr.$ref,
    virtual_size: source.virtual_size,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: { ...other_config, "xenlayer:uuid": "being copied" },
  });
  await xapi.task("VDI.copy", [source.$ref, NULL_REF, NULL_REF, into], {
    signal: ctx.signal,
    onProgress: (fraction) => ctx.report(`copying ${request.base.name} to "${sr.name_label}" (${Math.floor(fraction * 100)} %)`),
  });
  return into;
}

async function grown(xapi: Xapi, vdi: Rec<"VDI">, sizeGiB: number | undefined): Promise<Rec<"VDI">> {
  const size = sizeGiB === undefined ? vdi.virtual_size : Math.ceil(sizeGiB * GiB);
  if (size <= vdi.virtual_size) return vdi;
  await xapi.task("VDI.resize", [vdi.$ref, size]);
  return { ...vdi, virtual_size: size };
}

/** A key that is there already was put there by an earlier run, or by this call before its answer was lost. */
export function onlyDuplicate(error: unknown): void {
  if (!(error instanceof XapiError && error.code === "MAP_DUPLICATE_KEY")) throw error;
}
