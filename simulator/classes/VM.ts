/** VM: its life (xen-api ocaml/xapi/xapi_vm.ml, message_forwarding.ml) and its settings. Suspend, checkpoint, revert and migration are not written. */
import type { Context, Messages } from "../context.ts";
import { copyVm, provision } from "../copies.ts";
import { date, isNullRef, NULL_REF } from "../datamodel.ts";
import { reaches } from "../devices.ts";
import { fail, XapiError } from "../errors.ts";
import { callPlugin } from "../guestAgent.ts";
import { addToMap, removeFromMap } from "../implicit.ts";
import { operation, vmOperationError } from "../operations.ts";
import type { Records } from "../records.ts";

type Vm = Records["VM"];
type VmOperation = Vm["allowed_operations"][number];

/** Simulated duration of the toolstack's own work in a clone. */
const COPY_RECORD = 200;

function assertPowerState(ctx: Context, vm: string, wanted: Vm["power_state"]): void {
  const { power_state } = ctx.db.get("VM", vm);
  if (power_state !== wanted) fail("VM_BAD_POWER_STATE", vm, wanted.toLowerCase(), power_state.toLowerCase());
}

/** Why a VM can't boot on a host: a disk or a network that is not there, or too little memory (xapi_vm_helpers.ml, assert_can_boot_here). */
function bootError(ctx: Context, vm: string, host: string): XapiError | undefined {
  const { db } = ctx;
  const record = db.get("VM", vm);
  const target = db.get("host", host);
  if (!target.enabled) return new XapiError("HOST_DISABLED", [host]);
  for (const vbd of record.VBDs) {
    const vdi = db.find("VDI", db.get("VBD", vbd).VDI);
    if (vdi && !reaches(db, host, vdi.SR)) return new XapiError("VM_REQUIRES_SR", [vm, vdi.SR]);
  }
  for (const vif of record.VIFs) {
    const { network } = db.get("VIF", vif);
    const pifs = db.get("network", network).PIFs.map((pif) => db.get("PIF", pif));
    if (pifs.length > 0 && !pifs.some((pif) => pif.host === host)) return new XapiError("VM_REQUIRES_NETWORK", [vm, network]);
  }
  const used = target.resident_VMs.reduce((sum, other) => sum + (db.find("VM", other)?.memory_static_max ?? 0), 0);
  const available = (db.find("host_metrics", target.metrics)?.memory_total ?? 0) - used;
  if (record.memory_static_max > available) {
    return new XapiError("HOST_NOT_ENOUGH_FREE_MEMORY", [String(record.memory_static_max), String(Math.max(0, available)), vm]);
  }
  return undefined;
}

function possibleHosts(ctx: Context, vm: string): string[] {
  return ctx.db.refs("host").filter((host) => !bootError(ctx, vm, host));
}

/** The VM's affinity if it can, else the host with the fewest VMs. A pool of one host says what is wrong with it. */
function chooseHost(ctx: Context, vm: string): string {
  const { db } = ctx;
  const hosts = db.refs("host");
  const possible = possibleHosts(ctx, vm);
  const { affinity } = db.get("VM", vm);
  if (possible.includes(affinity)) return affinity;
  const [best] = possible.sort((a, b) => db.get("host", a).resident_VMs.length - db.get("host", b).resident_VMs.length);
  if (best !== undefined) return best;
  const error = hosts.length === 1 ? bootError(ctx, vm, hosts[0] ?? "") : undefined;
  throw error ?? new XapiError("NO_HOSTS_AVAILABLE");
}

function start(ctx: Context, vm: string, host: () => string, paused: boolean, op: "start" | "start_on"): Promise<void> {
  ctx.db.get("VM", vm);
  return operation(ctx, "VM", vm, op, () => ctx.domains.start(ctx, vm, host(), paused));
}

function hardShutdown(ctx: Context, vm: string): Promise<void> {
  return operation(ctx, "VM", vm, "hard_shutdown", () => ctx.domains.destroy(vm));
}

function cleanShutdown(ctx: Context, vm: string): Promise<void> {
  return operation(ctx, "VM", vm, "clean_shutdown", () => ctx.domains.ask(ctx, vm, "poweroff"));
}

/** true destroys VM_metrics, false makes them and sets the time of installation. */
function setIsATemplate(ctx: Context, vm: string, value: boolean): void {
  const record = ctx.db.get("VM", vm);
  if (record.is_a_snapshot || record.is_control_domain)
    fail("OPERATION_NOT_ALLOWED", "A snapshot or control domain can't change is_a_template");
  if (value) {
    assertPowerState(ctx, vm, "Halted");
    if (ctx.db.has("VM_metrics", record.metrics)) ctx.db.destroy("VM_metrics", record.metrics);
    ctx.db.update("VM", vm, { is_a_template: true, metrics: NULL_REF, groups: [] });
    return;
  }
  const now = date(ctx.clock.now());
  const metrics = ctx.db.has("VM_metrics", record.metrics) ? record.metrics : ctx.db.create("VM_metrics", { last_updated: now });
  ctx.db.update("VM_metrics", metrics, { install_time: now });
  ctx.db.update("VM", vm, { is_a_template: false, is_default_template: false, metrics });
}

function pushXenstore(ctx: Context, vm: string): void {
  ctx.domains.pushXenstore(vm, ctx.db.get("VM", vm).xenstore_data);
}

type Memory = Pick<Vm, "memory_static_min" | "memory_static_max" | "memory_dynamic_min" | "memory_dynamic_max">;

/** Memory limits must be in order; the static ones change only while halted (vm_memory_constraints.ml). */
function setMemory(ctx: Context, vm: string, fields: Partial<Memory>): void {
  const old = ctx.db.get("VM", vm);
  const op = "memory_static_max" in fields || "memory_static_min" in fields ? "changing_static_range" : "changing_dynamic_range";
  const refused = vmOperationError(ctx.db, vm, op);
  if (refused) throw refused;
  const wanted: Memory = { ...old, ...fields };
  const limits = [0, wanted.memory_static_min, wanted.memory_dynamic_min, wanted.memory_dynamic_max, wanted.memory_static_max];
  if (limits.some((limit, index) => index > 0 && limit < (limits[index - 1] ?? 0))) {
    fail("MEMORY_CONSTRAINT_VIOLATION", "Memory limits must satisfy: 0 <= static_min <= dynamic_min <= dynamic_max <= static_max");
  }
  ctx.db.update("VM", vm, fields);
}

function setVcpus(ctx: Context, vm: string, fields: Partial<Pick<Vm, "VCPUs_max" | "VCPUs_at_startup">>): void {
  const refused = vmOperationError(ctx.db, vm, "changing_VCPUs");
  if (refused) throw refused;
  const { VCPUs_max, VCPUs_at_startup } = { ...ctx.db.get("VM", vm), ...fields };
  if (VCPUs_at_startup < 1 || VCPUs_at_startup > VCPUs_max) {
    const [name = "", value = 0] = Object.entries(fields)[0] ?? [];
    fail("INVALID_VALUE", name, String(value));
  }
  ctx.db.update("VM", vm, fields);
}

function allowedDevices(taken: readonly string[], count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index)).filter((device) => !taken.includes(device));
}

export const VM = {
  create: (ctx: Context, record: Partial<Vm>): string =>
    ctx.db.create("VM", {
      ...record,
      power_state: "Halted",
      domid: -1,
      other_config: { mac_seed: ctx.db.uuid(), ...record.other_config },
      metrics: ctx.db.create("VM_metrics", { last_updated: date(ctx.clock.now()) }),
    }),

  destroy: async (ctx: Context, vm: string) => {
    const record = ctx.db.get("VM", vm);
    if (record.is_default_template) fail("VM_CANNOT_DELETE_DEFAULT_TEMPLATE");
    await operation(ctx, "VM", vm, "destroy", () => {
      const { db } = ctx;
      for (const cls of ["VBD", "VIF", "VTPM", "console"] as const) {
        for (const ref of db.all(cls).flatMap(([ref, row]) => (row.VM === vm ? [ref] : []))) {
          const metrics = cls === "VBD" || cls === "VIF" ? db.get(cls, ref).metrics : NULL_REF;
          if (db.has(`${cls}_metrics`, metrics)) db.destroy(`${cls}_metrics`, metrics);
          db.destroy(cls, ref);
        }
      }
      const { metrics, guest_metrics, uuid } = db.get("VM", vm);
      if (db.has("VM_metrics", metrics)) db.destroy("VM_metrics", metrics);
      if (db.has("VM_guest_metrics", guest_metrics)) db.destroy("VM_guest_metrics", guest_metrics);
      db.destroy("VM", vm);
      ctx.domains.forget(uuid);
    });
  },

  clone: (ctx: Context, vm: string, name: string) =>
    operation(ctx, "VM", vm, "clone", async () => {
      await ctx.clock.sleep(COPY_RECORD, ctx.signal);
      return copyVm(ctx, vm, name, { kind: "clone" });
    }),

  copy: (ctx: Context, vm: string, name: string, sr: string) =>
    operation(ctx, "VM", vm, "copy", async () => {
      if (!isNullRef(sr) && ctx.db.get("SR", sr).content_type === "iso")
        fail("OPERATION_NOT_ALLOWED", "Cannot copy a VM's disks into an ISO SR");
      await ctx.clock.sleep(COPY_RECORD, ctx.signal);
      return copyVm(ctx, vm, name, { kind: "copy", sr });
    }),

  snapshot: (ctx: Context, vm: string, name: string, ignored: readonly string[]) =>
    operation(ctx, "VM", vm, "snapshot", async () => {
      await ctx.clock.sleep(COPY_RECORD, ctx.signal);
      return copyVm(ctx, vm, name, { kind: "snapshot", ignored });
    }),

  provision: (ctx: Context, vm: string) => {
    if (!ctx.db.get("VM", vm).is_a_template) fail("ONLY_PROVISION_TEMPLATE");
    return operation(ctx, "VM", vm, "provision", async () => {
      await provision(ctx, vm);
      setIsATemplate(ctx, vm, false);
    });
  },

  set_is_a_template: setIsATemplate,

  start: (ctx: Context, vm: string, paused: boolean) => start(ctx, vm, () => chooseHost(ctx, vm), paused, "start"),

  start_on: (ctx: Context, vm: string, host: string, paused: boolean) => {
    ctx.db.get("host", host);
    const chosen = () => {
      const refused = bootError(ctx, vm, host);
      if (refused) throw refused;
      return host;
    };
    return start(ctx, vm, chosen, paused, "start_on");
  },

  pause: (ctx: Context, vm: string) => operation(ctx, "VM", vm, "pause", () => ctx.domains.pause(vm)),
  unpause: (ctx: Context, vm: string) => operation(ctx, "VM", vm, "unpause", () => ctx.domains.unpause(vm)),

  clean_shutdown: cleanShutdown,
  clean_reboot: (ctx: Context, vm: string) => operation(ctx, "VM", vm, "clean_reboot", () => ctx.domains.ask(ctx, vm, "reboot")),
  hard_shutdown: hardShutdown,
  hard_reboot: (ctx: Context, vm: string) => operation(ctx, "VM", vm, "hard_reboot", () => ctx.domains.reset(ctx, vm)),
  power_state_reset: (ctx: Context, vm: string) => ctx.domains.destroy(vm),

  /** Clean if the guest can, else hard. */
  shutdown: async (ctx: Context, vm: string): Promise<void> => {
    const refused = vmOperationError(ctx.db, vm, "clean_shutdown", { strict: true });
    if (!refused) {
      try {
        return await cleanShutdown(ctx, vm);
      } catch (error) {
        if (ctx.signal.aborted) throw error;
      }
    }
    return hardShutdown(ctx, vm);
  },

  assert_operation_valid: (ctx: Context, vm: string, op: VmOperation) => {
    const refused = vmOperationError(ctx.db, vm, op);
    if (refused) throw refused;
  },
  assert_can_boot_here: (ctx: Context, vm: string, host: string) => {
    const refused = bootError(ctx, vm, host);
    if (refused) throw refused;
  },
  get_possible_hosts: possibleHosts,
  update_allowed_operations: (ctx: Context, vm: string) => void ctx.db.get("VM", vm), // they are kept true all the time

  get_allowed_VBD_devices: (ctx: Context, vm: string) => {
    const { VBDs } = ctx.db.get("VM", vm);
    return allowedDevices(
      VBDs.map((vbd) => ctx.db.get("VBD", vbd).userdevice),
      255,
    );
  },
  get_allowed_VIF_devices: (ctx: Context, vm: string) => {
    const { VIFs } = ctx.db.get("VM", vm);
    return allowedDevices(
      VIFs.map((vif) => ctx.db.get("VIF", vif).device),
      7,
    );
  },
  get_cooperative: (ctx: Context, vm: string) => ctx.db.has("VM", vm),

  call_plugin: callPlugin,

  set_memory_limits: (ctx: Context, vm: string, staticMin: number, staticMax: number, dynamicMin: number, dynamicMax: number) =>
    setMemory(ctx, vm, {
      memory_static_min: staticMin,
      memory_static_max: staticMax,
      memory_dynamic_min: dynamicMin,
      memory_dynamic_max: dynamicMax,
    }),
  set_memory: (ctx: Context, vm: string, value: number) =>
    setMemory(ctx, vm, { memory_static_max: value, memory_dynamic_min: value, memory_dynamic_max: value }),
  set_memory_static_max: (ctx: Context, vm: string, value: number) => setMemory(ctx, vm, { memory_static_max: value }),
  set_memory_static_min: (ctx: Context, vm: string, value: number) => setMemory(ctx, vm, { memory_static_min: value }),
  set_memory_dynamic_max: (ctx: Context, vm: string, value: number) => setMemory(ctx, vm, { memory_dynamic_max: value }),
  set_memory_dynamic_min: (ctx: Context, vm: string, value: number) => setMemory(ctx, vm, { memory_dynamic_min: value }),
  set_memory_static_range: (ctx: Context, vm: string, min: number, max: number) =>
    setMemory(ctx, vm, { memory_static_min: min, memory_static_max: max }),
  set_memory_dynamic_range: (ctx: Context, vm: string, min: number, max: number) =>
    setMemory(ctx, vm, { memory_dynamic_min: min, memory_dynamic_max: max }),

  set_VCPUs_max: (ctx: Context, vm: string, value: number) => setVcpus(ctx, vm, { VCPUs_max: value }),
  set_VCPUs_at_startup: (ctx: Context, vm: string, value: number) => setVcpus(ctx, vm, { VCPUs_at_startup: value }),

  set_xenstore_data: (ctx: Context, vm: string, xenstore_data: Vm["xenstore_data"]) => {
    ctx.db.update("VM", vm, { xenstore_data });
    pushXenstore(ctx, vm);
  },
  add_to_xenstore_data: (ctx: Context, vm: string, key: string, value: string) => {
    addToMap(ctx, "VM", vm, "xenstore_data", key, value);
    pushXenstore(ctx, vm);
  },
  remove_from_xenstore_data: (ctx: Context, vm: string, key: string) => {
    removeFromMap(ctx, "VM", vm, "xenstore_data", key);
    pushXenstore(ctx, vm);
  },
} satisfies Messages;
