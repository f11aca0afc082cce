/**
 * The storage below XAPI: its sizes and errors, and what an SR itself knows of its disks, which is all that is left of them when the pool has forgotten the SR
 * (xapi-project/sm: libs/sm/drivers/FileSR.py, LVHDSR.py, ISOSR.py).
 */
import type { Pool } from "./context.ts";
import { isNullRef, NULL_REF } from "./datamodel.ts";
import { measureSr } from "./devices.ts";
import { storageError } from "./errors.ts";
import type { Records } from "./records.ts";

type Vdi = Records["VDI"];

const ALIGNMENT = 2 * 1024 ** 2;
const MAX_VHD = 2040 * 1024 ** 3;
const MAX_CHAIN = 30;

/** VHD SRs round up to 2 MiB and hold 2 MiB to 2040 GiB (libs/sm/vhdutil.py, validate_and_round_vhd_size). */
export function roundedSize(size: number): number {
  if (size < 0 || size > MAX_VHD) throw storageError("VDISize", `VDI size must be between 1 MB and ${MAX_VHD / 1024 ** 2} MB`);
  return Math.max(ALIGNMENT, Math.ceil(size / ALIGNMENT) * ALIGNMENT);
}

/** The size that a disk gets by growing; it can't shrink. */
export function grownSize(old: number, size: number): number {
  const rounded = roundedSize(size);
  if (rounded < old) throw storageError("VDISize", "shrinking not allowed");
  return rounded;
}

/** A disk whose chain is as long as it may be can't be cloned or snapshotted: only a copy is short again. */
export function assertShortChain({ storage }: Pool, uuid: string): void {
  if (storage.depth(uuid) >= MAX_CHAIN) throw storageError("SnapshotChainTooLong");
}

/** sm_config with the hidden disk that a disk stands on, or without where it stands on none. */
export function withParent({ storage }: Pool, uuid: string, sm_config: Vdi["sm_config"] = {}): Vdi["sm_config"] {
  const { "vhd-parent": _, ...rest } = sm_config;
  const parent = storage.links(uuid)[1];
  return parent === undefined ? rest : { ...rest, "vhd-parent": parent };
}

/** Makes the row of a disk whose data is there already, and notes in the SR what goes with it. */
export function register(pool: Pool, uuid: string, fields: Partial<Vdi> & Pick<Vdi, "SR">): string {
  const vdi = pool.db.create("VDI", { managed: true, location: uuid, parent: NULL_REF, ...fields, uuid });
  note(pool, vdi);
  measureSr(pool, fields.SR);
  return vdi;
}

/** Writes down beside the data what LVM SRs keep in their metadata volume, and ISO libraries as the name of the file. */
export function note({ db, storage }: Pool, vdi: string): void {
  const { uuid, SR, location, name_label, name_description, type, read_only, is_a_snapshot, snapshot_of, snapshot_time } = db.get(
    "VDI",
    vdi,
  );
  const of = isNullRef(snapshot_of) ? "" : (db.find("VDI", snapshot_of)?.uuid ?? "");
  const notes = { location, name_label, name_description, type, read_only, is_a_snapshot, snapshot_of: of, snapshot_time };
  storage.setPlace(uuid, { sr: db.get("SR", SR).uuid, notes });
}

/**
 * Makes the rows of an SR what the SR holds: those whose data is gone go, data without a row gets one. Such a row has what the storage knows, and that depends on its
 * type: uuid and size everywhere; names and snapshots where there is metadata (LVM); the file's name in an ISO library, under a new uuid. other_config and tags are XAPI's
 * own and come back empty.
 */
export function reconcile(pool: Pool, sr: string): void {
  const { db, storage } = pool;
  const { uuid: srUuid, VDIs } = db.get("SR", sr);
  for (const vdi of VDIs) {
    const { uuid, sm_config } = db.get("VDI", vdi);
    if (!storage.has(uuid)) db.destroy("VDI", vdi);
    else db.update("VDI", vdi, { sm_config: withParent(pool, uuid, sm_config) });
  }
  const known = new Set(db.all("VDI").map(([, { uuid }]) => uuid));
  for (const uuid of storage.inSr(srUuid)) if (!known.has(uuid)) find(pool, sr, uuid);
}

function find(pool: Pool, sr: string, found: string): void {
  const { db, storage } = pool;
  const { type, content_type } = db.get("SR", sr);
  const notes = (storage.place(found)?.notes ?? {}) as Partial<Omit<Vdi, "snapshot_of">> & { snapshot_of?: string };
  const { size } = storage.open(found);
  if (content_type === "iso") {
    const location = notes.location ?? found;
    const uuid = db.uuid();
    storage.clone(found, uuid);
    storage.destroy(found);
    const file = { name_label: location, location, read_only: true, sharable: true, is_tools_iso: location === "guest-tools.iso" };
    register(pool, uuid, { SR: sr, virtual_size: size, physical_utilisation: size, type: "user", ...file });
    return;
  }
  const { location: _, snapshot_of = "", ...kept } = notes;
  const source = db.all("VDI").find(([, { uuid }]) => uuid === snapshot_of)?.[0] ?? NULL_REF;
  const metadata: Partial<Vdi> = type.startsWith("lvm") ? { ...kept, snapshot_of: source } : { type: "user", snapshot_of: NULL_REF };
  const vdi = register(pool, found, { SR: sr, virtual_size: size, sm_config: withParent(pool, found), ...metadata });
  if (type.startsWith("lvm"))
    for (const [ref, { uuid }] of db.all("VDI"))
      if (storage.has(uuid) && storage.place(uuid)?.notes?.snapshot_of === found) db.update("VDI", ref, { snapshot_of: vdi });
}
