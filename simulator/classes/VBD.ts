/** VBD: the attachment of a disk or CD to a VM (xen-api ocaml/xapi/xapi_vbd.ml, xapi_vbd_helpers.ml). */
import type { Context, Messages } from "../context.ts";
import { isNullRef, NULL_REF } from "../datamodel.ts";
import { attachVbd, detachVbd, sharingError } from "../devices.ts";
import { fail } from "../errors.ts";
import type { Records } from "../records.ts";

type Vbd = Records["VBD"];

/** A position as a number: "1", and its aliases hdb, sdb and xvdb. */
function position(userdevice: string): number | undefined {
  if (/^\d+$/.test(userdevice)) return Number(userdevice);
  const letters = /^(?:hd|sd|xvd)([a-z])$/.exec(userdevice)?.[1];
  return letters === undefined ? undefined : letters.charCodeAt(0) - 97;
}

function freePosition(ctx: Context, vm: string, userdevice: string): string {
  const taken = ctx.db.get("VM", vm).VBDs.map((vbd) => position(ctx.db.get("VBD", vbd).userdevice));
  if (userdevice === "autodetect") {
    let free = 0;
    while (taken.includes(free)) free += 1;
    return String(free);
  }
  const wanted = position(userdevice);
  if (wanted === undefined || wanted > 254) return fail("INVALID_DEVICE", userdevice);
  if (taken.includes(wanted)) fail("DEVICE_ALREADY_EXISTS", userdevice);
  return userdevice;
}

function isHvm(ctx: Context, vm: string): boolean {
  return ctx.db.get("VM", vm).HVM_boot_policy !== "";
}

function plug(ctx: Context, ref: string): void {
  const vbd = ctx.db.get("VBD", ref);
  const vm = ctx.db.get("VM", vbd.VM);
  if (vm.power_state !== "Running") fail("VM_BAD_POWER_STATE", vbd.VM, "running", vm.power_state.toLowerCase());
  if (vbd.currently_attached) fail("DEVICE_ALREADY_ATTACHED", ref);
  if (isHvm(ctx, vbd.VM)) {
    if (vbd.type === "CD") fail("OPERATION_NOT_ALLOWED", "HVM CDROMs cannot be hotplugged/unplugged, only inserted or ejected");
    if (vbd.mode === "RO") fail("DISK_VBD_MUST_BE_READWRITE_FOR_HVM", ref);
    const metrics = ctx.db.find("VM_guest_metrics", vm.guest_metrics);
    if (!metrics?.PV_drivers_detected && metrics?.can_use_hotplug_vbd !== "yes") fail("VM_MISSING_PV_DRIVERS", vbd.VM);
  }
  const refused = sharingError(ctx.db, ref);
  if (refused) throw refused;
  attachVbd(ctx.db, ref);
}

function unplug(ctx: Context, ref: string): void {
  const vbd = ctx.db.get("VBD", ref);
  const vm = ctx.db.get("VM", vbd.VM);
  if (vm.power_state !== "Running") fail("VM_BAD_POWER_STATE", vbd.VM, "running", vm.power_state.toLowerCase());
  if (!vbd.currently_attached) fail("DEVICE_ALREADY_DETACHED", ref);
  if (vbd.type === "CD") fail("OPERATION_NOT_ALLOWED", "HVM CDROMs cannot be hotplugged/unplugged, only inserted or ejected");
  if (vbd.bootable) fail("DEVICE_DETACH_REJECTED", "VBD", ref, "the guest uses the device");
  detachVbd(ctx, ref);
}

export const VBD = {
  create: (ctx: Context, record: Partial<Vbd> & Pick<Vbd, "VM" | "VDI" | "userdevice" | "mode" | "type" | "empty">): string => {
    const { VM, type, mode, empty } = record;
    ctx.db.get("VM", VM);
    if (type === "CD" && mode !== "RO") fail("VBD_CDS_MUST_BE_READONLY");
    if (empty && type !== "CD") fail("VBD_NOT_REMOVABLE_MEDIA", "in constructor");
    const VDI = empty ? NULL_REF : record.VDI;
    if (!empty) {
      const vdi = ctx.db.get("VDI", VDI);
      if (mode === "RW" && vdi.read_only) fail("VDI_READONLY", VDI);
      if (vdi.type === "cbt_metadata" || vdi.type === "redo_log") fail("VDI_INCOMPATIBLE_TYPE", VDI, vdi.type);
      if (mode === "RW" && ctx.db.get("SR", vdi.SR).content_type === "iso") fail("VDI_READONLY", VDI);
    }
    const userdevice = freePosition(ctx, VM, record.userdevice);
    const suspended = ctx.db.get("VM", VM).power_state === "Suspended";
    const metrics = ctx.db.create("VBD_metrics", {});
    return ctx.db.create("VBD", {
      ...record,
      VDI,
      userdevice,
      metrics,
      currently_attached: suspended && record.currently_attached === true,
    });
  },

  destroy: (ctx: Context, ref: string) => {
    const vbd = ctx.db.get("VBD", ref);
    if (vbd.currently_attached) {
      fail("OPERATION_NOT_ALLOWED", `VBD '${vbd.uuid}' still attached to '${ctx.db.get("VM", vbd.VM).uuid}'`);
    }
    if (ctx.db.has("VBD_metrics", vbd.metrics)) ctx.db.destroy("VBD_metrics", vbd.metrics);
    ctx.db.destroy("VBD", ref);
  },

  plug,
  unplug,
  unplug_force: unplug,

  insert: (ctx: Context, ref: string, vdi: string) => {
    const vbd = ctx.db.get("VBD", ref);
    ctx.db.get("VDI", vdi);
    if (vbd.type !== "CD") fail("VBD_NOT_REMOVABLE_MEDIA", ref);
    if (!vbd.empty) fail("VBD_NOT_EMPTY", ref);
    assertNotSuspended(ctx, vbd.VM);
    ctx.db.update("VBD", ref, { VDI: vdi, empty: false });
  },

  eject: (ctx: Context, ref: string) => {
    const vbd = ctx.db.get("VBD", ref);
    if (vbd.type !== "CD") fail("VBD_NOT_REMOVABLE_MEDIA", ref);
    if (vbd.empty) fail("VBD_IS_EMPTY", ref);
    assertNotSuspended(ctx, vbd.VM);
    ctx.db.update("VBD", ref, { VDI: NULL_REF, empty: true });
  },

  set_mode: (ctx: Context, ref: string, mode: Vbd["mode"]) => {
    const vbd = ctx.db.get("VBD", ref);
    const { power_state } = ctx.db.get("VM", vbd.VM);
    if (power_state !== "Halted") fail("VM_BAD_POWER_STATE", vbd.VM, "halted", power_state.toLowerCase());
    if (vbd.type === "CD" && mode === "RW") fail("VBD_CDS_MUST_BE_READONLY");
    if (mode === "RW" && !isNullRef(vbd.VDI) && ctx.db.get("VDI", vbd.VDI).read_only) fail("VDI_READONLY", vbd.VDI);
    ctx.db.update("VBD", ref, { mode });
  },

  assert_attachable: (ctx: Context, ref: string) => {
    const refused = sharingError(ctx.db, ref);
    if (refused) throw refused;
  },
} satisfies Messages;

function assertNotSuspended(ctx: Context, vm: string): void {
  if (ctx.db.get("VM", vm).power_state === "Suspended") fail("VM_BAD_POWER_STATE", vm, "halted, running", "suspended");
}
