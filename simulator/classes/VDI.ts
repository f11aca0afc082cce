/** VDI: disks of an SR (xen-api ocaml/xapi/xapi_vdi.ml; the rules of the storage from xapi-project/sm, vhd SRs). */
import type { Context, Messages } from "../context.ts";
import { date, isNullRef, NULL_REF } from "../datamodel.ts";
import { anyPlugged, assertRoom, measureSr } from "../devices.ts";
import { attachToDom0 } from "../dom0.ts";
import { fail } from "../errors.ts";
import { operation } from "../operations.ts";
import type { Records } from "../records.ts";

type Vdi = Records["VDI"];

const ALIGNMENT = 2 * 1024 ** 2;
const MAX_CHAIN = 30;
const MAX_VHD = 2040 * 1024 ** 3;
/** Simulated durations of the storage manager's work, and its copying speed. */
const SM_CALL = 300;
const COPY_BYTES_PER_SECOND = 150e6;
const COPY_STEPS = 20;

/** VHD SRs round up to 2 MiB and hold 2 MiB to 2040 GiB (sm libs/sm/vhdutil.py, validate_and_round_vhd_size). */
function roundedSize(size: number): number {
  if (size < 0 || size > MAX_VHD)
    fail("SR_BACKEND_FAILURE_79", "", `VHD Size must be between 2 MB and ${MAX_VHD / 1024 ** 3 / 1024} TB`, "");
  return Math.max(ALIGNMENT, Math.ceil(size / ALIGNMENT) * ALIGNMENT);
}

function assertWritableSr(ctx: Context, sr: string): void {
  if (!anyPlugged(ctx.db, sr)) fail("SR_HAS_NO_PBDS", sr);
  if (ctx.db.get("SR", sr).content_type === "iso") fail("SR_OPERATION_NOT_SUPPORTED", sr);
}

/** What a clone or snapshot takes over; sm_config is the storage's own. */
function inherited(vdi: Vdi): Partial<Vdi> {
  const { name_label, name_description, type, sharable, other_config, xenstore_data, on_boot, allow_caching, tags, virtual_size } = vdi;
  return { name_label, name_description, type, sharable, other_config, xenstore_data, on_boot, allow_caching, tags, virtual_size };
}

/** Makes the row of a disk whose data is there already. */
function introduced(ctx: Context, uuid: string, fields: Partial<Vdi>): string {
  const ref = ctx.db.create("VDI", { managed: true, location: uuid, parent: NULL_REF, ...fields, uuid });
  if (fields.SR !== undefined) measureSr(ctx, fields.SR);
  return ref;
}

async function branch(ctx: Context, vdi: string, op: "clone" | "snapshot"): Promise<string> {
  return operation(ctx, "VDI", vdi, op, async () => {
    const source = ctx.db.get("VDI", vdi);
    assertWritableSr(ctx, source.SR);
    assertRoom(ctx, source.SR, ALIGNMENT);
    if (ctx.storage.depth(source.uuid) >= MAX_CHAIN) fail("SR_BACKEND_FAILURE_109", "", "The VDI chain is too long", "");
    await ctx.clock.sleep(SM_CALL, ctx.signal);
    const uuid = ctx.db.uuid();
    ctx.storage.clone(source.uuid, uuid);
    // Both stand on the same hidden parent now.
    const [, parent = ""] = ctx.storage.links(source.uuid);
    ctx.db.update("VDI", vdi, { sm_config: { ...source.sm_config, "vhd-parent": parent } });
    const isSnapshot = op === "snapshot";
    return introduced(ctx, uuid, {
      ...inherited(source),
      SR: source.SR,
      sm_config: { "vhd-parent": parent },
      ...(isSnapshot ? { is_a_snapshot: true, snapshot_of: vdi, snapshot_time: date(ctx.clock.now()) } : {}),
    });
  });
}

/** Copies the data of `from` over `to`, in steps that show as progress and at which it can be cancelled. */
async function copyData(ctx: Context, from: string, to: string): Promise<void> {
  const source = ctx.db.get("VDI", from);
  const bytes = ctx.storage.footprint([source.uuid]);
  for (let step = 1; step <= COPY_STEPS; step += 1) {
    await ctx.clock.sleep((bytes / COPY_BYTES_PER_SECOND / COPY_STEPS) * 1000, ctx.signal);
    ctx.progress(step / COPY_STEPS);
  }
  const target = ctx.db.get("VDI", to);
  ctx.storage.destroy(target.uuid);
  ctx.storage.copy(source.uuid, target.uuid, target.virtual_size);
}

async function copyInto(ctx: Context, vdi: string, into: string): Promise<string> {
  const source = ctx.db.get("VDI", vdi);
  const target = ctx.db.get("VDI", into);
  if (target.read_only) fail("VDI_READONLY", into);
  if (target.virtual_size < source.virtual_size) fail("VDI_TOO_SMALL", into, String(source.virtual_size));
  await operation(ctx, "VDI", into, "copy", () => copyData(ctx, vdi, into));
  measureSr(ctx, target.SR);
  return into;
}

async function copyToSr(ctx: Context, vdi: string, sr: string): Promise<string> {
  const source = ctx.db.get("VDI", vdi);
  assertWritableSr(ctx, sr);
  assertRoom(ctx, sr, ctx.storage.footprint([source.uuid]));
  const uuid = ctx.db.uuid();
  const size = roundedSize(source.virtual_size);
  ctx.storage.create(uuid, size);
  const { name_label, name_description, type, sharable, other_config, xenstore_data, tags } = source;
  const copy = introduced(ctx, uuid, {
    name_label,
    name_description,
    type,
    sharable,
    other_config,
    xenstore_data,
    tags,
    SR: sr,
    virtual_size: size,
  });
  const { detach } = attachToDom0(ctx, copy, "RW");
  try {
    await copyData(ctx, vdi, copy);
  } catch (error) {
    detach();
    ctx.db.destroy("VDI", copy); // xapi removes what a failed copy has made (xapi_vdi.ml, copy)
    ctx.storage.destroy(uuid);
    measureSr(ctx, sr);
    throw error;
  }
  detach();
  measureSr(ctx, sr);
  return copy;
}

/** These belong to the storage manager: only its own sessions may write them (message_forwarding.ml, "may_be_called_by_sm"). */
function forTheStorageManager(): never {
  return fail("PERMISSION_DENIED", "");
}

async function renamed(ctx: Context, vdi: string, fields: Partial<Vdi>): Promise<void> {
  const { SR } = ctx.db.get("VDI", vdi);
  if (!anyPlugged(ctx.db, SR)) fail("SR_HAS_NO_PBDS", SR); // names go through the storage manager
  ctx.db.update("VDI", vdi, fields);
}

export const VDI = {
  create: async (ctx: Context, record: Partial<Vdi> & Pick<Vdi, "SR" | "virtual_size">): Promise<string> => {
    ctx.db.get("SR", record.SR);
    if (record.type === "cbt_metadata") fail("VDI_INCOMPATIBLE_TYPE", NULL_REF, "cbt_metadata");
    assertWritableSr(ctx, record.SR);
    const virtual_size = roundedSize(record.virtual_size);
    assertRoom(ctx, record.SR, ALIGNMENT);
    await ctx.clock.sleep(SM_CALL, ctx.signal);
    const uuid = ctx.db.uuid();
    ctx.storage.create(uuid, virtual_size);
    return introduced(ctx, uuid, { ...record, virtual_size });
  },

  destroy: (ctx: Context, vdi: string) =>
    operation(ctx, "VDI", vdi, "destroy", async () => {
      const { SR, uuid, VBDs } = ctx.db.get("VDI", vdi);
      if (!anyPlugged(ctx.db, SR)) fail("SR_HAS_NO_PBDS", SR);
      await ctx.clock.sleep(SM_CALL, ctx.signal);
      ctx.storage.destroy(uuid);
      for (const vbd of VBDs) if (ctx.db.has("VBD", vbd)) ctx.db.destroy("VBD", vbd);
      ctx.db.destroy("VDI", vdi);
      measureSr(ctx, SR);
    }),

  clone: (ctx: Context, vdi: string) => branch(ctx, vdi, "clone"),
  snapshot: (ctx: Context, vdi: string) => branch(ctx, vdi, "snapshot"),

  copy: (ctx: Context, vdi: string, sr: string, base: string, into: string) =>
    operation(ctx, "VDI", vdi, "copy", async () => {
      if (!isNullRef(base)) fail("NOT_IMPLEMENTED", "VDI.copy with base_vdi");
      if (isNullRef(sr) === isNullRef(into)) fail("INTERNAL_ERROR", 'Failure("Exactly one of sr and into_vdi must be given")');
      const { detach } = attachToDom0(ctx, vdi, "RO");
      try {
        return isNullRef(into) ? await copyToSr(ctx, vdi, sr) : await copyInto(ctx, vdi, into);
      } finally {
        detach();
      }
    }),

  resize: (ctx: Context, vdi: string, size: number) =>
    operation(ctx, "VDI", vdi, "resize", async () => {
      const { SR, uuid, virtual_size } = ctx.db.get("VDI", vdi);
      assertWritableSr(ctx, SR);
      const rounded = roundedSize(size);
      if (rounded < virtual_size) fail("SR_BACKEND_FAILURE_79", "", "Shrinking not allowed", "");
      await ctx.clock.sleep(SM_CALL, ctx.signal);
      ctx.storage.resize(uuid, rounded);
      ctx.db.update("VDI", vdi, { virtual_size: rounded });
      measureSr(ctx, SR);
    }),

  forget: (ctx: Context, vdi: string) => operation(ctx, "VDI", vdi, "forget", () => ctx.db.destroy("VDI", vdi)),

  introduce: (
    ctx: Context,
    uuid: string,
    name_label: string,
    name_description: string,
    SR: string,
    type: Vdi["type"],
    sharable: boolean,
    read_only: boolean,
    other_config: Vdi["other_config"],
    location: string,
  ): string => {
    if (!ctx.storage.has(uuid)) fail("SR_BACKEND_FAILURE_46", "", "The VDI is not available", `opterr=no VDI ${uuid} in the SR`);
    if (ctx.db.all("VDI").some(([, vdi]) => vdi.uuid === uuid)) fail("LOCATION_NOT_UNIQUE", SR, location);
    const virtual_size = ctx.storage.open(uuid).size;
    return introduced(ctx, uuid, { name_label, name_description, SR, type, sharable, read_only, other_config, virtual_size });
  },

  update: (ctx: Context, vdi: string) => measureSr(ctx, ctx.db.get("VDI", vdi).SR),

  /** A storage migration of a disk that no VM has attached: a new VDI, which keeps names and nothing else (xapi_vm_migrate.ml). */
  pool_migrate: async (ctx: Context, vdi: string, sr: string) => {
    const source = ctx.db.get("VDI", vdi);
    const owners = source.VBDs.map((vbd) => ctx.db.get("VM", ctx.db.get("VBD", vbd).VM));
    if (!owners.some((vm) => !vm.is_a_template && !vm.is_control_domain)) fail("VDI_NEEDS_VM_FOR_MIGRATE", vdi);
    if (owners.some((vm) => vm.power_state !== "Halted")) fail("NOT_IMPLEMENTED", "VDI.pool_migrate of a running VM's disk");
    const { VBDs } = source;
    const copy = await operation(ctx, "VDI", vdi, "copy", () => copyToSr(ctx, vdi, sr));
    ctx.db.update("VDI", copy, { other_config: {}, sm_config: {}, tags: [], xenstore_data: {} });
    for (const vbd of VBDs) ctx.db.update("VBD", vbd, { VDI: copy });
    ctx.storage.destroy(source.uuid);
    ctx.db.destroy("VDI", vdi);
    measureSr(ctx, source.SR);
    return copy;
  },

  set_name_label: (ctx: Context, vdi: string, name_label: string) => renamed(ctx, vdi, { name_label }),
  set_name_description: (ctx: Context, vdi: string, name_description: string) => renamed(ctx, vdi, { name_description }),

  set_on_boot: (ctx: Context, vdi: string, on_boot: Vdi["on_boot"]) =>
    operation(ctx, "VDI", vdi, "set_on_boot", () => {
      for (const vbd of ctx.db.get("VDI", vdi).VBDs) {
        const owner = ctx.db.get("VBD", vbd).VM;
        const { power_state } = ctx.db.get("VM", owner);
        if (power_state !== "Halted") fail("VM_BAD_POWER_STATE", owner, "halted", power_state.toLowerCase());
      }
      ctx.db.update("VDI", vdi, { on_boot });
    }),
  set_allow_caching: (ctx: Context, vdi: string, allow_caching: boolean) => ctx.db.update("VDI", vdi, { allow_caching }),

  set_read_only: forTheStorageManager,
  set_sharable: forTheStorageManager,
} satisfies Messages;
