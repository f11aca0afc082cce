/**
 * Which operation is allowed on what, when: the rules of xen-api ocaml/xapi/xapi_vm_lifecycle.ml, xapi_vdi.ml, xapi_vbd_helpers.ml as tables. The same rules refuse a call and
 * fill `allowed_operations`, which is recomputed after each write that may matter; `current_operations` shows what runs.
 */
import type { Context, Pool } from "./context.ts";
import type { Database } from "./database.ts";
import { isNullRef } from "./datamodel.ts";
import { XapiError } from "./errors.ts";
import type { Records } from "./records.ts";

type VmOperation = Records["VM"]["allowed_operations"][number];
type VdiOperation = Records["VDI"]["allowed_operations"][number];
type PowerState = Records["VM"]["power_state"];

const ANY: readonly PowerState[] = ["Halted", "Paused", "Running", "Suspended"];

/** xapi_vm_lifecycle.ml, allowed_power_states. Operations that nothing here does are left out: they are never allowed. */
const POWER_STATES: Partial<Record<VmOperation, readonly PowerState[]>> = {
  snapshot: ANY,
  copy: ["Halted"],
  clone: ["Halted"],
  create_template: ["Halted"],
  make_into_template: ["Halted"],
  provision: ["Halted"],
  start: ["Halted"],
  start_on: ["Halted"],
  pause: ["Running"],
  unpause: ["Paused"],
  clean_shutdown: ["Running"],
  clean_reboot: ["Running"],
  hard_shutdown: ["Paused", "Running", "Suspended"],
  hard_reboot: ["Paused", "Running"],
  shutdown: ["Paused", "Running", "Suspended"],
  call_plugin: ["Running"],
  power_state_reset: ANY,
  changing_VCPUs: ["Halted"],
  changing_static_range: ["Halted"],
  changing_memory_limits: ["Halted"],
  changing_dynamic_range: ["Halted", "Running"],
  changing_NVRAM: ["Halted"],
  changing_shadow_memory: ["Halted"],
  data_source_op: ["Running"],
  get_boot_record: ANY,
  metadata_export: ANY,
  export: ["Halted"],
  destroy: ["Halted", "Suspended"],
  create_vtpm: ["Halted"],
};

const ON_TEMPLATE: readonly VmOperation[] = [
  "changing_dynamic_range",
  "changing_static_range",
  "changing_memory_limits",
  "changing_shadow_memory",
  "changing_VCPUs",
  "changing_NVRAM",
  "clone",
  "copy",
  "export",
  "metadata_export",
  "provision",
  "destroy",
  "create_vtpm",
];
const ON_SNAPSHOT: readonly VmOperation[] = ["clone", "copy", "create_template", "export", "metadata_export", "destroy", "hard_shutdown"];
/** Pairs that may run at once. */
const COMPATIBLE: readonly (readonly VmOperation[])[] = [
  ["clone", "copy", "export"],
  ["snapshot", "checkpoint"],
];
/** hard_shutdown goes over any other operation: it is the way out when one hangs. */
const OVER_OTHERS: readonly VmOperation[] = ["hard_shutdown", "hard_reboot", "shutdown"];

const quote = (state: string) => state.toLowerCase();

/** Why an operation is refused now, in XAPI's order of checks; undefined when it is allowed. `strict` also asks for the guest's features, as allowed_operations does. */
export function vmOperationError(db: Database, ref: string, op: VmOperation, options: { strict?: boolean } = {}): XapiError | undefined {
  const vm = db.get("VM", ref);
  const blocked = vm.blocked_operations[op];
  if (blocked !== undefined) return new XapiError("OPERATION_BLOCKED", [ref, blocked]);
  const states = POWER_STATES[op] ?? [];
  if (!states.includes(vm.power_state)) {
    return new XapiError("VM_BAD_POWER_STATE", [ref, states.map(quote).join(", "), quote(vm.power_state)]);
  }
  const other = Object.entries(vm.current_operations).find(
    ([, running]) => !COMPATIBLE.some((pair) => pair.includes(op) && pair.includes(running)),
  );
  if (other && !OVER_OTHERS.includes(op)) return new XapiError("OTHER_OPERATION_IN_PROGRESS", ["VM", ref, other[1], other[0]]);
  if (vm.is_a_snapshot && !ON_SNAPSHOT.includes(op)) return new XapiError("VM_IS_SNAPSHOT", [ref, op]);
  if (vm.is_a_template && !vm.is_a_snapshot && !ON_TEMPLATE.includes(op)) return new XapiError("VM_IS_TEMPLATE", [ref, op]);
  if (op === "provision" && !vm.is_a_template) return new XapiError("ONLY_PROVISION_TEMPLATE");
  if (vm.is_control_domain && op !== "data_source_op" && op !== "get_boot_record" && op !== "metadata_export") {
    return new XapiError("OPERATION_NOT_ALLOWED", ["This operation is not allowed on dom0"]);
  }
  if (op === "destroy" && vm.is_default_template) return new XapiError("VM_CANNOT_DELETE_DEFAULT_TEMPLATE");
  if (options.strict && (op === "clean_shutdown" || op === "clean_reboot") && !hasFeature(db, vm, "feature-shutdown")) {
    return new XapiError("VM_LACKS_FEATURE", [ref]);
  }
  return undefined;
}

function hasFeature(db: Database, vm: Records["VM"], feature: string): boolean {
  return !isNullRef(vm.guest_metrics) && db.find("VM_guest_metrics", vm.guest_metrics)?.other[feature] === "1";
}

/** Operations that an SR of each type offers for its VDIs (SM features); an ISO library only lists files. */
const READ_ONLY_SRS = new Set(["iso", "udev"]);

export function vdiOperationError(db: Database, ref: string, op: VdiOperation): XapiError | undefined {
  const vdi = db.get("VDI", ref);
  // A copy holds nothing up: what it does not bear is refused for the attachment in dom0.
  const other = Object.entries(vdi.current_operations).find(([, running]) => running !== "copy");
  if (other) return new XapiError("OTHER_OPERATION_IN_PROGRESS", ["VDI", ref, other[1], other[0]]);
  const vbds = vdi.VBDs.map((vbd) => db.find("VBD", vbd)).filter((vbd) => vbd !== undefined);
  const attached = vbds.filter((vbd) => vbd.currently_attached || Object.keys(vbd.current_operations).length > 0);
  const written = attached.filter((vbd) => vbd.mode === "RW");
  const inUse = new XapiError("VDI_IN_USE", [ref, op]);
  if ((op === "destroy" || op === "resize" || op === "forget" || op === "set_on_boot") && attached.length > 0) return inUse;
  if (op === "copy" && written.length > 0) return inUse;
  const sr = db.find("SR", vdi.SR);
  if (sr && READ_ONLY_SRS.has(sr.type) && op !== "copy" && op !== "update" && op !== "forget")
    return new XapiError("SR_OPERATION_NOT_SUPPORTED", [vdi.SR]);
  if (
    op === "resize_online" ||
    op === "mirror" ||
    op === "enable_cbt" ||
    op === "disable_cbt" ||
    op === "data_destroy" ||
    op === "list_changed_blocks"
  ) {
    return new XapiError("SR_OPERATION_NOT_SUPPORTED", [vdi.SR]);
  }
  if (op === "snapshot" && vdi.sharable) return new XapiError("VDI_IS_SHARABLE", [ref]);
  if ((op === "snapshot" || op === "copy") && vdi.on_boot === "reset") return new XapiError("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION");
  if (op === "snapshot" && Object.values(vdi.current_operations).includes("copy"))
    return new XapiError("OPERATION_NOT_ALLOWED", ["Snapshot operation not allowed during copy."]);
  if (op === "destroy" && vdi.is_tools_iso) return new XapiError("OPERATION_NOT_ALLOWED", ["VDI is a tools ISO"]);
  return undefined;
}

const VDI_OPERATIONS: readonly VdiOperation[] = [
  "snapshot",
  "clone",
  "copy",
  "resize",
  "destroy",
  "forget",
  "update",
  "generate_config",
  "set_on_boot",
];

function vbdOperations(db: Database, vbd: Records["VBD"]): Records["VBD"]["allowed_operations"] {
  if (Object.keys(vbd.current_operations).length > 0) return [];
  const vm = db.find("VM", vbd.VM);
  const media: Records["VBD"]["allowed_operations"] = vbd.type === "CD" ? [vbd.empty ? "insert" : "eject"] : [];
  if (vm?.power_state === "Halted") return ["attach", ...media];
  if (vm?.power_state !== "Running") return [];
  return [...(vbd.currently_attached ? (["unplug", "unplug_force"] as const) : (["attach", "plug"] as const)), ...media];
}

const SR_OPERATIONS: Records["SR"]["allowed_operations"] = [
  "vdi_introduce",
  "unplug",
  "plug",
  "pbd_create",
  "update",
  "pbd_destroy",
  "vdi_clone",
  "scan",
];
const SR_DISK_OPERATIONS: Records["SR"]["allowed_operations"] = ["vdi_create", "vdi_destroy", "vdi_resize", "vdi_snapshot"];

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** Keeps `allowed_operations` true: watches the database and recomputes what a write may have changed, once all writes of the moment are done. */
export function keepAllowedOperations(db: Database): void {
  let seen = 0;
  let scheduled = false;
  const refresh = () => {
    const changed = (cls: "VM" | "VDI" | "VBD" | "VIF" | "SR" | "PBD" | "VM_guest_metrics") =>
      [...db.stored(cls)].filter(([, stored]) => stored.modified > seen).map(([ref]) => ref);
    const vms = new Set(changed("VM"));
    const vbds = new Set(changed("VBD"));
    const vifs = new Set(changed("VIF"));
    const vdis = new Set(changed("VDI"));
    const srs = new Set([...changed("SR"), ...changed("PBD").map((pbd) => db.get("PBD", pbd).SR)]);
    const metrics = new Set(changed("VM_guest_metrics"));
    for (const [ref, vm] of db.all("VM")) if (metrics.has(vm.guest_metrics)) vms.add(ref);
    for (const vm of vms) for (const vbd of db.get("VM", vm).VBDs) vbds.add(vbd);
    for (const vm of vms) for (const vif of db.get("VM", vm).VIFs) vifs.add(vif);
    for (const vbd of vbds) vdis.add(db.find("VBD", vbd)?.VDI ?? "");
    for (const vm of vms) {
      const operations = (Object.keys(POWER_STATES) as VmOperation[]).filter((op) => !vmOperationError(db, vm, op, { strict: true }));
      if (!same(operations, db.get("VM", vm).allowed_operations)) db.update("VM", vm, { allowed_operations: operations });
    }
    for (const ref of vbds) {
      const vbd = db.find("VBD", ref);
      if (vbd) db.update("VBD", ref, { allowed_operations: vbdOperations(db, vbd) });
    }
    for (const ref of vifs) {
      const vif = db.find("VIF", ref);
      const running = vif && db.find("VM", vif.VM)?.power_state === "Running";
      if (vif)
        db.update("VIF", ref, {
          allowed_operations: vif.currently_attached ? ["attach", "unplug"] : running ? ["attach", "plug"] : ["attach"],
        });
    }
    for (const ref of vdis) {
      if (!db.has("VDI", ref)) continue;
      db.update("VDI", ref, { allowed_operations: VDI_OPERATIONS.filter((op) => !vdiOperationError(db, ref, op)) });
    }
    for (const ref of srs) {
      const sr = db.find("SR", ref);
      if (!sr) continue;
      const plugged = sr.PBDs.some((pbd) => db.find("PBD", pbd)?.currently_attached);
      const operations = READ_ONLY_SRS.has(sr.type) ? SR_OPERATIONS : [...SR_OPERATIONS, ...SR_DISK_OPERATIONS];
      db.update("SR", ref, { allowed_operations: plugged ? operations : ["plug", "forget", "pbd_create", "pbd_destroy"] });
    }
    seen = db.generation;
    scheduled = false;
  };
  db.onChange(() => {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(refresh);
  });
}

/** How long xapi retries an operation that conflicts with a running one before it gives up (message_forwarding.ml, Helpers). */
const PATIENCE = 2 * 3600_000;

/**
 * Runs `work` with the operation shown in the object's current_operations. A conflict with a running operation does not fail: XAPI waits for the other to end, for up to
 * two hours, and so does this; the waiting task can be cancelled.
 */
export async function operation<T>(ctx: Context, cls: "VM" | "VDI", ref: string, op: string, work: () => Promise<T> | T): Promise<T> {
  const error = () =>
    cls === "VM" ? vmOperationError(ctx.db, ref, op as VmOperation) : vdiOperationError(ctx.db, ref, op as VdiOperation);
  const since = Date.now();
  for (let refused = error(); refused; refused = error()) {
    ctx.signal.throwIfAborted();
    if (refused.code !== "OTHER_OPERATION_IN_PROGRESS" || Date.now() - since > PATIENCE) throw refused;
    await nextChange(ctx, ctx.signal);
  }
  const mark = ctx.task || `OpaqueRef:${op}`;
  const running = () => ctx.db.row(cls, ref).current_operations as Record<string, string>;
  ctx.db.updateRow(cls, ref, { current_operations: { ...running(), [mark]: op } });
  try {
    return await work();
  } finally {
    if (ctx.db.has(cls, ref)) {
      const { [mark]: _, ...rest } = running();
      ctx.db.updateRow(cls, ref, { current_operations: rest });
    }
  }
}

/** Resolves at the next write of the database, or when the task is cancelled. */
function nextChange(pool: Pool, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stop();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const stop = pool.db.onChange(done);
    signal.addEventListener("abort", done, { once: true });
  });
}
