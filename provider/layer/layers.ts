// Layers as a whole: finding one by name, making its record, taking one over, removing one with its versions.
import { type Connector, storageOf } from "../connector.ts";
import { ConflictError, InputError } from "../errors.ts";
import type { ConnectorCredentials, Context, Known } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { diskDescription, removeBuild, usersOf } from "./build.ts";
import { RECORD_SIZE, writeDocumentAndIcon } from "./document.ts";
import type { Entry, Meta } from "./entry.ts";
import { freeToTake } from "./lease.ts";
import { isCopy, marksFor, marksOf } from "./marks.ts";
import { demandOwner } from "./open.ts";
import { LayerRecord, randomId, recordDescription, recordName } from "./record.ts";

/** The layer of this name; one of another connector is a conflict that is named. */
export async function findLayer(
  xapi: Xapi,
  connector: Known<Connector> & ConnectorCredentials,
  name: string,
): Promise<LayerRecord | undefined> {
  const found = await xapi.find("VDI", { name_label: recordName(name) });
  const record = LayerRecord.among(xapi, found).find((layer) => layer.meta.name === name);
  if (record === undefined) return undefined;
  if (connector.connectorId !== undefined && record.meta.connectorId !== connector.connectorId)
    throw new InputError([
      {
        property: "name",
        reason: `layer "${name}" (${record.layerId}) exists and belongs to connector ${record.meta.connectorId}: choose another name, or give that connectorId to the ConnectorConfig to take it over`,
      },
    ]);
  demandOwner(record, connector.connectorId);
  return record;
}

/** A new record, with its durable copy; one left half-made by a killed run is found by its name and marks. */
export async function createLayer(ctx: Context, xapi: Xapi, connector: Connector, meta: Meta, icon?: Uint8Array): Promise<LayerRecord> {
  const sr = await storageOf(xapi, connector);
  const name = recordName(meta.name);
  ctx.report(`creating the record of layer ${meta.name}`);
  const left = (await xapi.find("VDI", { name_label: name })).find(
    (vdi) => vdi.SR === sr.$ref && marksOf(vdi)?.connector === connector.connectorId && marksOf(vdi)?.role === "layer" && !isCopy(vdi),
  );
  const ref: string =
    left?.$ref ??
    (await xapi.call<string>("VDI.create", {
      name_label: name,
      name_description: "",
      SR: sr.$ref,
      virtual_size: RECORD_SIZE,
      type: "user",
      sharable: false,
      read_only: false,
      other_config: marksFor({ connector: connector.connectorId, role: "layer" }),
    }));
  const vdi = left ?? (await xapi.record("VDI", ref));
  if (vdi === undefined) throw new ConflictError(`the record of layer "${meta.name}" has been removed while it was made`);
  await xapi.call("VDI.set_name_description", ref, recordDescription(vdi.uuid));
  const full = { ...meta, uuid: vdi.uuid };
  await writeDocumentAndIcon(xapi, vdi, { meta: full, versions: {}, audit: [] }, icon ?? new Uint8Array(), ctx.signal);
  return await LayerRecord.write(xapi, { ...vdi, name_description: recordDescription(vdi.uuid) }, full);
}

/** A later hold makes an earlier one's delete harmless, whatever order the engine chooses. */
export async function holdLayer(record: LayerRecord, change: Partial<Meta>): Promise<string> {
  const holder = randomId();
  await record.putMeta({ ...record.meta, ...change, holder });
  return holder;
}

/** Removes the layer with all its versions; refused, naming what uses it, while anything does. */
export async function removeLayer(ctx: Context, record: LayerRecord): Promise<void> {
  const { xapi } = record;
  const vdis = await xapi.find("VDI", { SR: record.vdi.SR });
  const uses: string[] = [];
  for (const [name, entry] of record.versions) {
    const vdi = vdis.find(({ uuid }) => uuid === entry.vdi);
    const users = vdi === undefined ? [] : await usersOf(xapi, vdi, entry.machine?.name);
    if (users.length > 0) uses.push(`version ${name} is used by ${users.join(", ")}`);
  }
  if (record.meta.kind === "os")
    for (const other of LayerRecord.among(xapi, vdis))
      if (other.meta.osLayer === record.layerId) uses.push(`platform layer "${other.meta.name}" belongs to it`);
  if (uses.length > 0)
    throw new ConflictError(`layer "${record.meta.name}" is not deleted: ${uses.join("; ")}`, {
      hint: "remove what uses it, then destroy again",
    });
  for (const name of record.versions.keys()) await freeToTake(ctx, record, name);
  for (const [name, entry] of record.versions) {
    ctx.report(`removing version ${name}`);
    await removeVersion(ctx, record, name, entry, vdis);
  }
  await xapi.destroy("VDI", record.vdi.$ref);
}

/** Disk, evidence, machine and entry of one version. */
export async function removeVersion(
  ctx: Context,
  record: LayerRecord,
  name: string,
  entry: Entry,
  vdis?: readonly Rec<"VDI">[],
): Promise<void> {
  const { xapi } = record;
  await removeBuild(ctx, xapi, record, entry);
  // A disk that a storage migration gave a new uuid has lost its marks, not its place in the record.
  const all = vdis ?? (await xapi.find("VDI", { SR: record.vdi.SR }));
  for (const uuid of [entry.vdi, entry.sealed?.evidence]) {
    const left = uuid === undefined ? undefined : all.find((vdi) => vdi.uuid === uuid);
    if (left !== undefined && entry.state === "Deployable") await xapi.destroy("VDI", left.$ref);
  }
  await record.remove(name);
}

/** Versions that no program holds, beyond what the layer's retention keeps; never one that something uses or is based on while open. */
export async function applyRetention(ctx: Context, record: LayerRecord): Promise<void> {
  const { keep, maxAgeDays } = record.meta.retention ?? {};
  const all = [...record.versions].filter(([, entry]) => entry.state === "Deployable" && entry.released !== undefined);
  const newestFirst = all.sort(([, a], [, b]) => ((a.sealed?.at ?? "") < (b.sealed?.at ?? "") ? 1 : -1));
  const oldest = maxAgeDays === undefined ? undefined : new Date(Date.now() - maxAgeDays * 86_400_000).toISOString();
  const surplus = newestFirst.filter(
    ([, entry], index) =>
      entry.destroyWhenFree === true ||
      (keep !== undefined && index >= keep) ||
      (oldest !== undefined && (entry.sealed?.at ?? "") < oldest),
  );
  for (const [name, entry] of surplus) {
    const vdi = entry.vdi === undefined ? undefined : await record.xapi.get("VDI", entry.vdi);
    const users = vdi === undefined ? [] : await usersOf(record.xapi, vdi);
    const children = [...record.versions]
      .filter(([, other]) => other.state !== "Deployable" && other.base?.vdi === entry.vdi)
      .map(([other]) => `open version ${other}`);
    const uses = [...users, ...children];
    if (uses.length > 0) ctx.warn(`version ${name} of layer "${record.meta.name}" stays for now: used by ${uses.join(", ")}`);
    else {
      ctx.report(`retention: removing version ${name}`);
      await removeVersion(ctx, record, name, entry);
      await record.addAudit({ at: new Date().toISOString(), event: "version removed by retention", version: name });
    }
  }
}

/** Gives a layer another name: the record's, the one in its facts, and the short ids of its disks. */
export async function renameLayer(record: LayerRecord, name: string): Promise<void> {
  const { xapi } = record;
  const taken = LayerRecord.among(xapi, await xapi.find("VDI", { name_label: recordName(name) })).some((layer) => layer.meta.name === name);
  if (taken) throw new InputError([{ property: "name", reason: `a layer "${name}" exists` }]);
  await xapi.call("VDI.set_name_label", record.vdi.$ref, recordName(name));
  await record.putMeta({ ...record.meta, name });
  for (const [version, entry] of record.versions) {
    const vdi = entry.vdi === undefined ? undefined : await xapi.get("VDI", entry.vdi);
    if (vdi !== undefined) await xapi.call("VDI.set_name_description", vdi.$ref, diskDescription(record, version, entry));
  }
}
