/** VDI: disks of an SR (xen-api ocaml/xapi/xapi_vdi.ml; the rules of the storage from xapi-project/sm, vhd SRs). */
import type { Context, Messages } from "../context.ts";
import { date, isNullRef, NULL_REF } from "../datamodel.ts";
import { anyPlugged, assertRoom, measureSr } from "../devices.ts";
import { attachToDom0 } from "../dom0.ts";
import { fail, storageError } from "../errors.ts";
import { operation } from "../operations.ts";
import type { Records } from "../records.ts";
import { BLOCK } from "../storage/disk.ts";
import { assertShortChain, grownSize, note, register, roundedSize, withParent } from "../storageManager.ts";

type Vdi = Records["VDI"];

/** Simulated durations of the storage manager's work, and its copying speed. */
const SM_CALL = 300;
const COPY_BYTES_PER_SECOND = 150e6;
/** Blocks between two looks at the clock: few, so that the process answers others meanwhile and a cancelled copy ends soon. */
const STRIDE = 8;

function assertWritableSr(ctx: Context, sr: string): void {
  if (!anyPlugged(ctx.db, sr)) fail("SR_HAS_NO_PBDS", sr);
  if (ctx.db.get("SR", sr).content_type === "iso") fail("SR_OPERATION_NOT_SUPPORTED", sr);
}

/** What a clone or snapshot takes over; sm_config is the storage's own. */
function inherited(vdi: Vdi): Partial<Vdi> {
  const { name_label, name_description, type, sharable, other_config, xenstore_data, on_boot, allow_caching, tags, virtual_size } = vdi;
  return { name_label, name_description, type, sharable, other_config, xenstore_data, on_boot, allow_caching, tags, virtual_size };
}

async function branch(ctx: Context, vdi: string, op: "clone" | "snapshot"): Promise<string> {
  return operation(ctx, "VDI", vdi, op, async () => {
    const source = ctx.db.get("VDI", vdi);
    assertWritableSr(ctx, source.SR);
    assertRoom(ctx, source.SR, BLOCK);
    assertShortChain(ctx, source.uuid);
    await ctx.clock.sleep(SM_CALL, ctx.signal);
    const uuid = ctx.db.uuid();
    ctx.storage.clone(source.uuid, uuid);
    // Both stand on the same hidden disk now.
    ctx.db.update("VDI", vdi, { sm_config: withParent(ctx, source.uuid, source.sm_config) });
    const isSnapshot = op === "snapshot";
    return register(ctx, uuid, {
      ...inherited(source),
      SR: source.SR,
      sm_config: withParent(ctx, uuid),
      ...(isSnapshot ? { is_a_snapshot: true, snapshot_of: vdi, snapshot_time: date(ctx.clock.now()) } : {}),
    });
  });
}

/** Writes what `from` holds over `to`, which keeps what it had where this breaks off. */
async function copyData(ctx: Context, from: string, to: string): Promise<void> {
  let blocks = 0;
  const pause = async () => {
    await ctx.clock.sleep(((blocks * BLOCK) / COPY_BYTES_PER_SECOND) * 1000, ctx.signal);
    blocks = 0;
  };
  for (const fraction of ctx.storage.copyBlocks(ctx.db.get("VDI", from).uuid, ctx.db.get("VDI", to).uuid)) {
    blocks += 1;
    if (blocks === STRIDE) {
      ctx.progress(fraction);
      await pause();
    }
  }
  if (blocks > 0) await pause();
}

async function copyInto(ctx: Context, vdi: string, into: string): Promise<string> {
  const source = ctx.db.get("VDI", vdi);
  const target = ctx.db.get("VDI", into);
  if (target.read_only) fail("VDI_READONLY", into);
  if (target.virtual_size < source.virtual_size) fail("VDI_TOO_SMALL", into, String(source.virtual_size));
  // Only the source says that it is copied; dom0's attachment protects the target (message_forwarding.ml, VDI.copy).
  await copyAttached(ctx, vdi, into);
  return into;
}

async function copyToSr(ctx: Context, vdi: string, sr: string): Promise<string> {
  const source = ctx.db.get("VDI", vdi);
  assertWritableSr(ctx, sr);
  assertRoom(ctx, sr, ctx.storage.footprint([source.uuid]));
  const uuid = ctx.db.uuid();
  const virtual_size = roundedSize(source.virtual_size);
  ctx.storage.create(uuid, virtual_size);
  const { name_label, name_description, type, sharable, other_config, xenstore_data, tags, allow_caching } = source;
  const taken = { name_label, name_description, type, sharable, other_config, xenstore_data, tags, allow_caching };
  const copy = register(ctx, uuid, { ...taken, SR: sr, virtual_size });
  try {
    await copyAttached(ctx, vdi, copy);
  } catch (error) {
    ctx.db.destroy("VDI", copy); // xapi removes what a failed copy has made (xapi_vdi.ml, copy)
    ctx.storage.destroy(uuid);
    measureSr(ctx, sr);
    throw error;
  }
  return copy;
}

/** The copying with both disks in dom0's hands; it is over when dom0 has let go of them (sm_fs_ops.ml, with_block_attached_device). */
async function copyAttached(ctx: Context, from: string, to: string): Promise<void> {
  const attached = [attachToDom0(ctx, from, "RO")];
  try {
    attached.push(attachToDom0(ctx, to, "RW"));
    await copyData(ctx, from, to);
  } finally {
    await Promise.all(attached.map(({ detach }) => detach()));
    measureSr(ctx, ctx.db.get("VDI", to).SR);
  }
}

/** These belong to the storage manager: only its own sessions may write them (message_forwarding.ml, "may_be_called_by_sm"). */
function forTheStorageManager(): never {
  return fail("PERMISSION_DENIED", "");
}

async function renamed(ctx: Context, vdi: string, fields: Partial<Vdi>): Promise<void> {
  const { SR } = ctx.db.get("VDI", vdi);
  if (!anyPlugged(ctx.db, SR)) fail("SR_HAS_NO_PBDS", SR); // names go through the storage manager
  ctx.db.update("VDI", vdi, fields);
  note(ctx, vdi);
}

export const VDI = {
  create: async (ctx: Context, record: Partial<Vdi> & Pick<Vdi, "SR" | "virtual_size">): Promise<string> => {
    ctx.db.get("SR", record.SR);
    if (record.type === "cbt_metadata") fail("VDI_INCOMPATIBLE_TYPE", NULL_REF, "cbt_metadata");
    assertWritableSr(ctx, record.SR);
    const virtual_size = roundedSize(record.virtual_size);
    assertRoom(ctx, record.SR, BLOCK);
    await ctx.clock.sleep(SM_CALL, ctx.signal);
    const uuid = ctx.db.uuid();
    ctx.storage.create(uuid, virtual_size);
    return register(ctx, uuid, { ...record, virtual_size });
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
      return isNullRef(into) ? copyToSr(ctx, vdi, sr) : copyInto(ctx, vdi, into);
    }),

  resize: (ctx: Context, vdi: string, size: number) =>
    operation(ctx, "VDI", vdi, "resize", async () => {
      const { SR, uuid, virtual_size } = ctx.db.get("VDI", vdi);
      assertWritableSr(ctx, SR);
      const rounded = grownSize(virtual_size, size);
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
    if (!anyPlugged(ctx.db, SR)) fail("SR_HAS_NO_PBDS", SR);
    if (!ctx.storage.inSr(ctx.db.get("SR", SR).uuid).includes(uuid)) throw storageError("VDIUnavailable", `VDI ${uuid} not found`);
    if (ctx.db.all("VDI").some(([, vdi]) => vdi.uuid === uuid)) fail("LOCATION_NOT_UNIQUE", SR, location);
    const virtual_size = ctx.storage.open(uuid).size;
    const fields = { name_label, name_description, SR, type, sharable, read_only, other_config, virtual_size };
    return register(ctx, uuid, { ...fields, sm_config: withParent(ctx, uuid) });
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
