/** What the database shows of a VM's domain: when it is there, when it is gone, and what its xenstore says (xen-api ocaml/xapi/xapi_xenops.ml, update_vm). */
import type { Pool } from "./context.ts";
import { date, isNullRef, NULL_REF } from "./datamodel.ts";
import { detachVbd } from "./devices.ts";
import { guestMetrics, type Xenstore, xenstoreData } from "./xenstore.ts";

type Shown = Pick<Pool, "db" | "clock">;

/** The domain is built: where it runs, its console, its metrics from now on. */
export function showDomain(pool: Pool, vm: string, host: string, domid: number, power_state: "Running" | "Paused"): void {
  const { db, clock } = pool;
  const { consoles, metrics: old, memory_static_max, VCPUs_at_startup } = db.get("VM", vm);
  for (const console of consoles) db.destroy("console", console);
  const metrics = isNullRef(old) ? db.create("VM_metrics", {}) : old;
  const now = date(clock.now());
  db.update("VM_metrics", metrics, {
    start_time: now,
    last_updated: now,
    memory_actual: memory_static_max,
    VCPUs_number: VCPUs_at_startup,
    hvm: true,
    current_domain_type: "hvm",
  });
  const uuid = db.uuid();
  const { tls, authority } = pool.endpoint(host);
  db.create("console", { VM: vm, protocol: "rfb", uuid, location: `${tls ? "https" : "http"}://${authority}/console?uuid=${uuid}` });
  const gone = { scheduled_to_be_resident_on: NULL_REF };
  db.update("VM", vm, { power_state, domid, resident_on: host, metrics, memory_target: memory_static_max, ...gone });
}

/** The domain is gone: devices are detached; guest metrics stay until the next start, no longer live. */
export function showHalted(pool: Pool, vm: string): void {
  const { db, clock } = pool;
  const record = db.find("VM", vm);
  if (!record) return;
  for (const vbd of record.VBDs) detachVbd(pool, vbd);
  for (const vif of record.VIFs) db.update("VIF", vif, { currently_attached: false });
  for (const console of record.consoles) db.destroy("console", console);
  if (db.has("VM_metrics", record.metrics)) db.update("VM_metrics", record.metrics, { last_updated: date(clock.now()) });
  if (db.has("VM_guest_metrics", record.guest_metrics)) db.update("VM_guest_metrics", record.guest_metrics, { live: false });
  db.update("VM", vm, { power_state: "Halted", domid: -1, resident_on: NULL_REF });
}

export function createGuestMetrics({ db, clock }: Shown, vm: string): void {
  db.update("VM", vm, { guest_metrics: db.create("VM_guest_metrics", { live: true, last_updated: date(clock.now()) }) });
}

export function destroyGuestMetrics({ db }: Shown, vm: string): void {
  const { guest_metrics } = db.get("VM", vm);
  if (db.has("VM_guest_metrics", guest_metrics)) db.destroy("VM_guest_metrics", guest_metrics);
  db.update("VM", vm, { guest_metrics: NULL_REF });
}

/** What xapi does when a watch fires: the tree replaces VM.xenstore_data, and the guest metrics follow it; last_updated moves only with a real change. */
export function publishXenstore({ db, clock }: Shown, vm: string, store: Xenstore): void {
  const record = db.find("VM", vm);
  if (!record) return;
  const data = xenstoreData(store);
  if (Object.keys(data).length > 1 || Object.keys(record.xenstore_data).length > 0) db.update("VM", vm, { xenstore_data: data });
  const { guest_metrics } = record;
  const before = db.find("VM_guest_metrics", guest_metrics);
  if (!before) return;
  db.update("VM_guest_metrics", guest_metrics, guestMetrics(store));
  if (db.find("VM_guest_metrics", guest_metrics) !== before)
    db.update("VM_guest_metrics", guest_metrics, { last_updated: date(clock.now()) });
}

/** A message of the pool's log, as xapi writes it itself. */
export function note({ db, clock }: Shown, name: string, vm: string, body: string): void {
  db.create("message", { name, priority: 5, cls: "VM", obj_uuid: db.get("VM", vm).uuid, timestamp: date(clock.now()), body });
}
