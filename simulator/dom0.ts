/**
 * Disks in the hands of a host's own domain, as raw import and export have them: attached through a temporary VBD of dom0 (xen-api ocaml/xapi/sm_fs_ops.ml,
 * attach_helpers.ml), limited by the space of the SR.
 */
import type { Context, Pool } from "./context.ts";
import { fail, storageError } from "./errors.ts";
import type { Disk } from "./storage/disk.ts";

/** How long the temporary VBD outlives its use, simulated: a VDI.destroy right after a transfer meets VDI_IN_USE. */
const DETACH_MS = 500;

/** No block is left for a write: the device that dom0 has open answers with an I/O error. */
export class NoSpace extends Error {
  constructor(sr: string, id: string) {
    super(`SR ${sr} is full: no block for disk ${id}`);
    this.name = "NoSpace";
  }
}

/**
 * Attaches a VDI to dom0 of the host that got the request; answers what detaches it, which takes its time: a transfer is over before, a copy waits for it. dom0 is exempt
 * from the rules of sharing, so a VDI may be attached many times.
 */
export function attachToDom0(ctx: Context, vdi: string, mode: "RO" | "RW"): { disk: Disk; detach: () => Promise<void> } {
  const { db, storage } = ctx;
  const record = db.get("VDI", vdi);
  if (mode === "RW" && record.read_only) {
    fail("VDI_READONLY", vdi);
  }
  if (record.type === "cbt_metadata") {
    fail("VDI_INCOMPATIBLE_TYPE", vdi, record.type);
  }
  if (!storage.has(record.uuid)) {
    throw storageError("VDIUnavailable", `VDI ${record.uuid} not found`);
  }
  const dom0 = db.get("host", ctx.host).control_domain;
  const taken = new Set(db.all("VBD").flatMap(([, vbd]) => (vbd.VM === dom0 ? [vbd.userdevice] : [])));
  let device = 0;
  while (taken.has(String(device))) {
    device++;
  }
  const vbd = db.create("VBD", {
    VM: dom0,
    VDI: vdi,
    userdevice: String(device),
    device: `sm/backend/${record.SR}/${record.uuid}`,
    bootable: false,
    mode,
    type: "Disk",
    unpluggable: true,
    empty: false,
    currently_attached: true,
    other_config: { task_id: ctx.task },
  });
  let detached: Promise<void> | undefined;
  const detach = () => {
    detached ??= ctx.clock.sleep(DETACH_MS).then(() => removeVbd(ctx, vbd));
    return detached;
  };
  return { disk: mode === "RW" ? withinSpace(ctx, record.SR, storage.open(record.uuid)) : storage.open(record.uuid), detach };
}

/** What a host does as its toolstack starts: transfers that a former process was at are over, and their VBDs go. */
export function detachAllFromDom0(pool: Pool): void {
  const dom0s = new Set(pool.db.all("host").map(([, host]) => host.control_domain));
  for (const [ref, vbd] of pool.db.all("VBD")) {
    if (dom0s.has(vbd.VM) && "task_id" in vbd.other_config) {
      removeVbd(pool, ref);
    }
  }
}

function removeVbd({ db }: Pool, vbd: string): void {
  if (db.has("VBD", vbd)) {
    db.destroy("VBD", vbd);
  }
}

/** Writes physical_utilisation of a VDI, and of its SR, where both show in the database. */
export function accountSpace({ db, storage }: Pool, vdi: string): void {
  const record = db.find("VDI", vdi);
  if (record !== undefined && storage.has(record.uuid)) {
    db.update("VDI", vdi, { physical_utilisation: storage.open(record.uuid).allocated() });
    if (db.has("SR", record.SR)) {
      db.update("SR", record.SR, { physical_utilisation: used(db, storage, record.SR) });
    }
  }
}

/** The disk as its SR lets it grow: a write that needs a new block fails once the SR is full. */
function withinSpace({ db, storage }: Pool, sr: string, disk: Disk): Disk {
  const free = db.get("SR", sr).physical_size - used(db, storage, sr);
  const most = disk.allocated() + Math.max(0, free);
  return {
    id: disk.id,
    get size() {
      return disk.size;
    },
    read: (offset, length) => disk.read(offset, length),
    allocated: () => disk.allocated(),
    write: (offset, data) => {
      disk.write(offset, data);
      if (disk.allocated() > most) {
        throw new NoSpace(sr, disk.id);
      }
    },
  };
}

/** Bytes that the disks of an SR take, known to the pool or not, hidden parents counted once. */
export function used(db: Pool["db"], storage: Pool["storage"], sr: string): number {
  const { uuid, VDIs } = db.get("SR", sr);
  const ids = new Set([...VDIs.flatMap((vdi) => db.find("VDI", vdi)?.uuid ?? []), ...storage.inSr(uuid)]);
  return storage.footprint([...ids].filter((id) => storage.has(id)));
}
