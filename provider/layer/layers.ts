// Layers as a whole: finding one by name, making its record, taking one over, removing one with its versions.
import { type Connector, storageOf } from "../connector.ts";
import { ConflictError, explain, InputError, ProviderError } from "../errors.ts";
import { takenBack } from "../plan.ts";
import type { ConnectorCredentials, Context, Known } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { diskDescription, removeBuild, usersOf } from "./build.ts";
import { claimName, claims } from "./claim.ts";
import { RECORD_SIZE, writeDocument } from "./document.ts";
import type { Audit, Entry, Meta } from "./entry.ts";
import { demandFree } from "./lease.ts";
import { isCopy, MADE, marksFor } from "./marks.ts";
import { diskOf } from "./open.ts";
import { auditKeys, LayerRecord, randomId, recordDescription, recordName } from "./record.ts";
import { spaceLines, spaceOf } from "./space.ts";

/** The layer of this name; one of another connector is a conflict that is named. */
export async function findLayer(
  xapi: Xapi,
  connector: Known<Connector> & ConnectorCredentials,
  name: string,
  report?: (message: string) => void,
): Promise<LayerRecord | undefined> {
  const found = await xapi.find("VDI", { name_label: recordName(name) });
  let record = named(xapi, found, name);
  // An SR that was forgotten and introduced again brings its disks back without their marks.
  for (const layerId of record === undefined ? LayerRecord.unmarked(found) : []) {
    const rebuilt = await LayerRecord.open(xapi, layerId, report);
    if (rebuilt?.meta.name === name) record = rebuilt;
  }
  // Its record may have been given another name by somebody: a second layer of that name is made only where there is none.
  record ??= named(xapi, await xapi.all("VDI"), name);
  if (record !== undefined) demandConnector(record, connector.connectorId);
  return record;
}

function named(xapi: Xapi, vdis: readonly Rec<"VDI">[], name: string): LayerRecord | undefined {
  const records = LayerRecord.among(xapi, vdis, (vdi, error) => {
    // Whose it is can't be told: nothing is made beside it.
    if (vdi.name_label === recordName(name) && !isCopy(vdi)) throw error;
  });
  return records.find((layer) => layer.meta.name === name);
}

function demandConnector(record: LayerRecord, connectorId: string | undefined): void {
  const { name, connectorId: owner } = record.meta;
  if (connectorId === undefined || owner === connectorId) return;
  throw new InputError([
    {
      property: "name",
      reason: `layer "${name}" (${record.layerId}) exists and belongs to connector ${owner}: choose another name, or give that connectorId to the ConnectorConfig to take it over`,
    },
  ]);
}

/** The layer of this name, made where there is none. */
export async function ensureLayer(
  ctx: Context,
  xapi: Xapi,
  connector: Connector,
  meta: Meta,
  content: { icon?: Uint8Array; audit?: Audit[] } = {},
): Promise<{ record: LayerRecord; made: boolean }> {
  for (let rounds = 1; ; rounds++) {
    const existing = await findLayer(xapi, connector, meta.name, ctx.warn);
    if (existing !== undefined) return { record: existing, made: false };
    const record = await createLayer(ctx, xapi, connector, meta, content);
    if (record !== undefined) return { record, made: true };
    if (rounds === 5)
      throw new ConflictError(`layer "${meta.name}" is made and given up by other runs all the time`, { hint: "run `pulumi up` again" });
  }
}

/** A new record, with its durable copy; undefined = another run was faster, or may be. */
async function createLayer(
  ctx: Context,
  xapi: Xapi,
  connector: Connector,
  meta: Meta,
  { icon = new Uint8Array(), audit = [] }: { icon?: Uint8Array; audit?: Audit[] },
): Promise<LayerRecord | undefined> {
  const sr = await storageOf(xapi, connector);
  ctx.report(`creating the record of layer ${meta.name}`);
  const claim = await claimName(ctx, xapi, recordName(meta.name), {
    name_description: "",
    SR: sr.$ref,
    virtual_size: RECORD_SIZE,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: {
      ...marksFor({ connector: connector.connectorId, role: "layer" }),
      ...auditKeys(audit),
      [MADE]: new Date().toISOString(),
    },
  });
  if (claim === undefined) return undefined;
  const { vdi, end } = claim;
  try {
    const full = { ...meta, uuid: vdi.uuid };
    await writeDocument(xapi, vdi, { meta: full, versions: {}, audit }, { icon, signal: ctx.signal });
    // Only a record with content is described as one: its marks could be rebuilt.
    await xapi.call("VDI.set_name_description", vdi.$ref, recordDescription(vdi.uuid));
    // With its facts it is a layer's record: nothing is left to do after them.
    return await LayerRecord.write(xapi, { ...vdi, name_description: recordDescription(vdi.uuid) }, full);
  } catch (error) {
    throw await takenBack(error, () => xapi.destroy("VDI", vdi.$ref));
  } finally {
    end();
  }
}

/** A later hold makes an earlier one's delete harmless, whatever order the engine chooses. */
export async function holdLayer(record: LayerRecord, change: Partial<Meta>): Promise<string> {
  const holder = randomId();
  for (let tries = 1; ; tries++)
    try {
      await record.putMeta({ ...record.meta, ...change, holder });
      break;
    } catch (error) {
      // Of several that take it at the same time the last one has it.
      if (!(error instanceof ConflictError) || tries === 5) throw error;
      await record.refresh();
    }
  const label = recordName(record.meta.name);
  if (record.vdi.name_label !== label) await record.xapi.call("VDI.set_name_label", record.vdi.$ref, label);
  return holder;
}

/** Removes the layer with all its versions; refused, naming what uses it, while anything does or a version is being built. */
export async function removeLayer(ctx: Context, record: LayerRecord): Promise<void> {
  const { xapi } = record;
  const uses: string[] = [];
  for (const [name, entry] of record.versions) {
    demandFree(record, name);
    const users = await usersOfVersion(record, entry);
    if (users.length > 0) uses.push(`version ${name} is used by ${users.join(", ")}`);
  }
  if (record.meta.kind === "os")
    // Wherever it is: a connector may have been given another SR since.
    for (const other of LayerRecord.among(xapi, await xapi.all("VDI")))
      if (other.meta.osLayer === record.layerId) uses.push(`platform layer "${other.meta.name}" belongs to it`);
  if (uses.length > 0)
    throw new ConflictError(`layer "${record.meta.name}" is not deleted: ${uses.join("; ")}`, {
      hint: "remove what uses it, then destroy again",
    });
  for (const [name, entry] of record.versions) {
    ctx.report(`removing version ${name}`);
    await removeVersion(ctx, record, name, entry);
  }
  await xapi.destroy("VDI", record.vdi.$ref);
}

/** Disk, evidence, machine and entry of one version. */
export async function removeVersion(ctx: Context, record: LayerRecord, name: string, entry: Entry): Promise<void> {
  await removeBuild(ctx, record.xapi, record, entry);
  await record.remove(name);
}

/** What has the version's disk, wherever that was moved, other than the machine it was packaged with. */
export async function usersOfVersion(record: LayerRecord, entry: Entry): Promise<string[]> {
  const { xapi } = record;
  const vdi = await diskOf({ xapi, record, entry });
  return vdi === undefined ? [] : await usersOf(xapi, vdi, entry.machine);
}

/** Versions that no program holds, beyond what the layer's retention keeps; never one that something uses or is based on while open. */
export async function applyRetention(ctx: Context, record: LayerRecord): Promise<void> {
  const { keep, maxAgeDays } = record.meta.retention ?? {};
  const all = [...record.versions].filter(([, entry]) => entry.state === "Deployable" && entry.released !== undefined);
  const newestFirst = all.sort(([, a], [, b]) => ((a.sealed?.at ?? "") < (b.sealed?.at ?? "") ? 1 : -1));
  const oldest = maxAgeDays === undefined ? Number.NEGATIVE_INFINITY : Date.now() - maxAgeDays * 86_400_000;
  const kept = newestFirst.filter(([, entry]) => entry.destroyWhenFree !== true).slice(0, keep);
  const surplus = newestFirst.filter((version) => !kept.includes(version) || Date.parse(version[1].sealed?.at ?? "") < oldest);
  const begun = [...record.versions].filter(([, entry]) => entry.state === "Deleting");
  const going = [...begun, ...surplus];
  const before = going.length === 0 ? [] : await spaceOf(record.xapi, [record.vdi]);
  let removed = 0;
  for (const [name, entry] of going)
    try {
      if (await removeReleased(ctx, record, name, entry)) removed++;
    } catch (error) {
      // What the user asked for is done; this is tried again with the layer's next change.
      if (!(error instanceof ProviderError) || ctx.signal.aborted) throw error;
      ctx.warn(
        `version ${name} of layer "${record.meta.name}" can't be removed now, its layer's next change tries again: ${explain(error)}`,
      );
    }
  if (removed > 0) for (const line of spaceLines(before, await spaceOf(record.xapi, [record.vdi]))) ctx.report(`retention: ${line}`);
}

/** Whether it has gone: what somebody uses stays. */
async function removeReleased(ctx: Context, record: LayerRecord, name: string, entry: Entry): Promise<boolean> {
  const open = () =>
    [...record.versions]
      .filter(([, other]) => other.state !== "Deployable" && other.state !== "Deleting" && other.base?.vdi === entry.vdi)
      .map(([other]) => `open version ${other}`);
  const users = await usersOfVersion(record, entry);
  const stays = (uses: readonly string[]): boolean => {
    if (uses.length === 0) return false;
    const becomes = entry.destroyWhenFree === true ? "it is released now and destroyed when it is free" : "it stays for now";
    ctx.warn(`version ${name} of layer "${record.meta.name}" is used by ${uses.join(", ")}: ${becomes}`);
    return true;
  };
  if (stays([...users, ...open()])) return false;
  if (entry.state !== "Deleting") {
    // Said first, and by compare-and-swap: a run that takes the version at this moment has it, or finds it gone.
    await record.put(name, { ...entry, state: "Deleting" });
    // Another run may have begun to build on it since the record was read; from here on none does.
    await record.refresh();
    if (stays(open())) {
      await record.put(name, entry);
      return false;
    }
  }
  ctx.report(`retention: removing version ${name}`);
  await removeVersion(ctx, record, name, entry);
  await record.addAudit({ at: new Date().toISOString(), event: "version removed by retention", version: name });
  return true;
}

/** Gives a layer another name: the record's, the one in its facts, and the short ids of its disks. */
export async function renameLayer(record: LayerRecord, name: string): Promise<void> {
  const { xapi } = record;
  const label = recordName(name);
  const rival = async () =>
    (await xapi.find("VDI", { name_label: label })).find((vdi) => vdi.uuid !== record.vdi.uuid && claims(xapi, vdi));
  if ((await rival()) !== undefined) throw new InputError([{ property: "name", reason: `a layer "${name}" exists` }]);
  await xapi.call("VDI.set_name_label", record.vdi.$ref, label);
  // Of two runs that give the same name at the same time, at least one sees the other.
  if ((await rival()) !== undefined) {
    await xapi.call("VDI.set_name_label", record.vdi.$ref, recordName(record.meta.name));
    throw new ConflictError(`layer "${name}" was made by another run at the same time`, { hint: "choose another name" });
  }
  await record.putMeta({ ...record.meta, name });
  record.vdi = { ...record.vdi, name_label: label };
  for (const [version, entry] of record.versions) {
    const vdi = entry.vdi === undefined ? undefined : await xapi.get("VDI", entry.vdi);
    if (vdi !== undefined) await xapi.call("VDI.set_name_description", vdi.$ref, diskDescription(record, version, entry));
  }
}
