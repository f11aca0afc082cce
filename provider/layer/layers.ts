// Layers as a whole: finding one by name, making its record, taking one over, giving it another name.
import { type Connector, storageOf } from "../connector.ts";
import { ConflictError, InputError } from "../errors.ts";
import { takenBack } from "../plan.ts";
import type { ConnectorCredentials, Context, Known } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import { isGone } from "../xapi/pool.ts";
import type { Rec } from "../xapi/records.ts";
import { diskDescription } from "./build.ts";
import { claimName, claims } from "./claim.ts";
import { RECORD_SIZE, writeDocument } from "./document.ts";
import type { Audit, Meta } from "./entry.ts";
import { freeToTake } from "./lease.ts";
import { isCopy, MADE, marksFor } from "./marks.ts";
import { LayerRecord, RecordGoneError, randomId } from "./record.ts";
import { auditKeys, recordDescription, recordName } from "./recordKeys.ts";
import { giveUpLayer } from "./removal.ts";

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
    if (existing !== undefined && (await stays(ctx, existing))) return { record: existing, made: false };
    const record = await createLayer(ctx, xapi, connector, meta, content);
    if (record !== undefined) return { record, made: true };
    if (rounds === 5)
      throw new ConflictError(`layer "${meta.name}" is made and given up by other runs all the time`, { hint: "run `pulumi up` again" });
  }
}

/** Whether it is there when nobody removes it any more. */
async function stays(ctx: Context, record: LayerRecord): Promise<boolean> {
  try {
    await freeToTake(ctx, record);
    return true;
  } catch (error) {
    if (error instanceof RecordGoneError) return false;
    throw error;
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
  const { vdi } = claim;
  try {
    const full = { ...meta, uuid: vdi.uuid };
    await writeDocument(xapi, vdi, { meta: full, versions: {}, audit }, { icon, signal: ctx.signal });
    // Only a record with content is described as one: its marks could be rebuilt.
    await xapi.call("VDI.set_name_description", vdi.$ref, recordDescription(vdi.uuid));
    if (!(await claim.holds())) {
      await xapi.destroy("VDI", vdi.$ref);
      return undefined;
    }
    // With its facts it is a layer's record: nothing is left to do after them.
    const record = await LayerRecord.write(xapi, { ...vdi, name_description: recordDescription(vdi.uuid) }, full);
    if (await claim.held()) return record;
    await giveUpLayer(record);
    return undefined;
  } catch (error) {
    // Taken away by a run that has taken this one for dead.
    if (isGone(error, vdi.$ref)) return undefined;
    throw await takenBack(error, () => xapi.destroy("VDI", vdi.$ref));
  } finally {
    claim.end();
  }
}

/** A later hold makes an earlier one's delete harmless, whatever order the engine chooses. */
export async function holdLayer(ctx: Context, record: LayerRecord, change: Partial<Meta>): Promise<string> {
  const holder = randomId();
  for (let tries = 1; ; tries++)
    try {
      await freeToTake(ctx, record);
      // A removal that was begun and came to nothing is over: somebody wants the layer.
      const { removal: _, ...meta } = record.meta;
      await record.putMeta({ ...meta, ...change, holder });
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

/** Gives a layer another name: the record's, the one in its facts, and the short ids of its disks. */
export async function renameLayer(ctx: Context, record: LayerRecord, name: string): Promise<void> {
  await freeToTake(ctx, record);
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
