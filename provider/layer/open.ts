// From what programs give (a connector, an id) to the record they mean, with the questions every resource asks first: is it there, is it ours.
import type { Connector } from "../connector.ts";
import { storageOf } from "../connector.ts";
import { ConflictError, InputError } from "../errors.ts";
import type { ConnectorCredentials, Context, Known } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { recordedDisk, remarked } from "./build.ts";
import type { Base, Entry } from "./entry.ts";
import { LayerRecord, splitVersionId, versionId } from "./record.ts";
import { recover } from "./restored.ts";

export interface Opened {
  xapi: Xapi;
  record: LayerRecord;
}

/** The layer an input names; refused by that property when it is missing, of another kind, or another connector's. */
export async function openLayer(
  ctx: Context,
  connector: Known<Connector> & ConnectorCredentials,
  property: string,
  layerId: string,
  kind?: "os" | "platform",
): Promise<Opened> {
  const xapi = await ctx.connect(connector);
  const record = await LayerRecord.open(xapi, layerId, ctx.warn);
  if (record === undefined) throw new InputError([{ property, reason: `there is no layer ${layerId} on this pool` }]);
  if (kind !== undefined && record.meta.kind !== kind)
    throw new InputError([
      { property, reason: `layer "${record.meta.name}" is ${record.meta.kind === "os" ? "an OS layer" : "a platform layer"}` },
    ]);
  demandOwner(record, connector.connectorId);
  return { xapi, record };
}

/** In a first preview the connectorId isn't known yet: then nothing can be said. */
export function demandOwner(record: LayerRecord, connectorId: string | undefined): void {
  if (connectorId !== undefined && record.meta.connectorId !== connectorId)
    throw new ConflictError(
      `layer "${record.meta.name}" (${record.layerId}) belongs to connector ${record.meta.connectorId}, not to ${connectorId}`,
      {
        hint: "give its connectorId to the ConnectorConfig to take over what it made",
      },
    );
}

/** Sealed, or on its way out: older marks would not say so. */
export const isSettled = (entry: Entry | undefined): boolean => entry?.state === "Deployable" || entry?.state === "Deleting";

export interface OpenedVersion extends Opened {
  name: string;
  entry: Entry;
}

/** The version that a disk's id names; undefined = its record can be read and doesn't have it. */
export async function openVersion(
  ctx: Context,
  connector: Known<Connector> & ConnectorCredentials,
  id: string,
  property = "disk",
): Promise<OpenedVersion | undefined> {
  const parts = splitVersionId(id);
  if (parts === undefined) throw new InputError([{ property, reason: `"${id}" is no id of a PackagingDisk: link it by its id` }]);
  const xapi = await ctx.connect(connector);
  const record = await LayerRecord.open(xapi, parts.layerId, ctx.warn);
  if (record === undefined) return undefined;
  demandOwner(record, connector.connectorId);
  if (!isSettled(record.byId(parts.entryId)?.entry)) await recover(ctx, record, parts.entryId);
  const found = record.byId(parts.entryId);
  // What is being deleted is gone for everybody but who deletes it.
  return found === undefined || found.entry.state === "Deleting" ? undefined : { xapi, record, ...found };
}

/** The same, where it must be there. */
export async function demandVersion(ctx: Context, connector: Connector, id: string, property = "disk"): Promise<OpenedVersion> {
  const opened = await openVersion(ctx, connector, id, property);
  if (opened === undefined)
    throw new InputError([{ property, reason: `version ${id} is not in its layer's record any more` }], {
      hint: "run `pulumi up` again: its disk will be made anew",
    });
  return opened;
}

/** "gone" may be said only where the storage could be asked: else nothing was found because nothing could be looked at. */
export async function demandStorage(xapi: Xapi, connector: { storageRepository: string }): Promise<Rec<"SR">> {
  const sr = await storageOf(xapi, connector);
  const pbds = await xapi.find("PBD", { SR: sr.$ref });
  if (!pbds.some((pbd) => pbd.currently_attached))
    throw new ConflictError(`storage repository "${sr.name_label}" is attached to no host, so its layers can't be looked at`, {
      hint: "plug its PBD",
    });
  return sr;
}

/** The newest sealed version. */
export function latestSealed(record: LayerRecord): { name: string; entry: Entry } | undefined {
  return [...record.versions]
    .map(([name, entry]) => ({ name, entry }))
    .filter(({ entry }) => entry.state === "Deployable" && entry.sealed !== undefined)
    .sort((a, b) => ((a.entry.sealed?.at ?? "") < (b.entry.sealed?.at ?? "") ? 1 : -1))[0];
}

export function baseOf(record: LayerRecord, name: string, entry: Entry): Base {
  if (entry.vdi === undefined) throw new ConflictError(`version ${name} of layer "${record.meta.name}" has no disk`);
  return {
    layer: record.layerId,
    id: versionId(record.layerId, entry.id),
    name: `${record.meta.name}/${name}`,
    version: name,
    vdi: entry.vdi,
    depth: entry.depth ?? 0,
    os: record.meta.os ?? entry.base?.os,
    account: record.meta.account ?? entry.base?.account,
    hardware: entry.hardware ?? entry.base?.hardware,
  };
}

/** The version's disk, also where a storage migration has put it; undefined = it is gone, or not made yet. */
export const diskOf = ({ xapi, record, entry }: Omit<OpenedVersion, "name">): Promise<Rec<"VDI"> | undefined> =>
  recordedDisk(xapi, record, entry);

/** An open version may not have its disk yet; a sealed one without it is gone. */
export async function diskIsThere(opened: Omit<OpenedVersion, "name">): Promise<boolean> {
  return opened.entry.vdi === undefined ? opened.entry.state !== "Deployable" : (await diskOf(opened)) !== undefined;
}

/** The entry with the disk's present uuid, its marks put back; written by the caller. */
export async function mended(ctx: Context, opened: OpenedVersion): Promise<Entry> {
  const { record, name, entry } = opened;
  const vdi = await diskOf(opened);
  if (vdi === undefined) return entry;
  await remarked(ctx, record, name, entry, vdi);
  return vdi.uuid === entry.vdi ? entry : { ...entry, vdi: vdi.uuid, sr: vdi.SR };
}
