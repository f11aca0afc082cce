/** Attaching of disks: sharing (xen-api ocaml/xapi/xapi_vbd_helpers.ml), device names, and the space of SRs. */
import type { Pool } from "./context.ts";
import type { Database } from "./database.ts";
import { isNullRef } from "./datamodel.ts";
import { accountSpace, used } from "./dom0.ts";
import { storageError, XapiError } from "./errors.ts";

/** Why a VBD can't become active now: on a disk that is not sharable only readers share, and dom0 and suspended VMs do not count. */
export function sharingError(db: Database, ref: string): XapiError | undefined {
  const vbd = db.get("VBD", ref);
  const vdi = isNullRef(vbd.VDI) ? undefined : db.find("VDI", vbd.VDI);
  if (!vdi || vdi.sharable) return undefined;
  for (const other of vdi.VBDs) {
    const active = other === ref ? undefined : db.find("VBD", other);
    if (!active?.currently_attached) continue;
    const owner = db.find("VM", active.VM);
    if (!owner || owner.is_control_domain || owner.power_state === "Suspended") continue;
    if (active.mode === "RW" || vbd.mode === "RW") return new XapiError("VDI_IN_USE", [vbd.VDI]);
  }
  return undefined;
}

/** Whether a host reaches an SR: it has a plugged PBD there. */
export function reaches(db: Database, host: string, sr: string): boolean {
  return db.find("SR", sr)?.PBDs.some((pbd) => db.find("PBD", pbd)?.host === host && db.find("PBD", pbd)?.currently_attached) ?? false;
}

export function anyPlugged(db: Database, sr: string): boolean {
  return db.get("SR", sr).PBDs.some((pbd) => db.find("PBD", pbd)?.currently_attached);
}

/** The device that a position becomes: xvda for 0 of a disk, hdd for 3 of a CD of an HVM guest. */
export function deviceName(userdevice: string, type: string): string {
  const position = Number(userdevice);
  if (!Number.isInteger(position) || position < 0) return userdevice;
  const letter =
    position < 26
      ? String.fromCharCode(97 + position)
      : `${String.fromCharCode(96 + Math.floor(position / 26))}${String.fromCharCode(97 + (position % 26))}`;
  return type === "CD" && position < 4 ? `hd${letter}` : `xvd${letter}`;
}

export function attachVbd(db: Database, ref: string): void {
  const vbd = db.get("VBD", ref);
  db.update("VBD", ref, { currently_attached: true, device: deviceName(vbd.userdevice, vbd.type) });
}

export function detachVbd(pool: Pool, ref: string): void {
  const vbd = pool.db.find("VBD", ref);
  if (!vbd) return;
  pool.db.update("VBD", ref, { currently_attached: false });
  if (vbd.mode === "RW" && !isNullRef(vbd.VDI)) accountSpace(pool, vbd.VDI);
}

/** What an SR holds that nobody has given a size. */
export const DEFAULT_SR_SIZE = 500 * 1024 ** 3;

/** SR.update and SR.scan: what an SR is and what its disks take, summed up (xapi_sr.ml). An introduced SR has no size until then. */
export function measureSr(pool: Pool, sr: string): void {
  const { db } = pool;
  const { VDIs, content_type, physical_size } = db.get("SR", sr);
  if (physical_size < 0) db.update("SR", sr, { physical_size: DEFAULT_SR_SIZE });
  if (content_type === "iso") return;
  for (const vdi of VDIs) accountSpace(pool, vdi);
  db.update("SR", sr, {
    physical_utilisation: used(db, pool.storage, sr),
    virtual_allocation: VDIs.reduce((sum, vdi) => sum + (db.find("VDI", vdi)?.virtual_size ?? 0), 0),
  });
}

/** Bytes that an SR can still take. */
export function roomIn(pool: Pool, sr: string): number {
  if (pool.db.get("SR", sr).physical_size < 0) measureSr(pool, sr);
  const { physical_size, physical_utilisation } = pool.db.get("SR", sr);
  return Math.max(0, physical_size - physical_utilisation);
}

/** Refuses a write of so many bytes that an SR has no room for (SM's error 44). */
export function assertRoom(pool: Pool, sr: string, bytes: number): void {
  if (roomIn(pool, sr) < bytes) throw storageError("SRNoSpace");
}
