/** SR: storage (xen-api ocaml/xapi/xapi_sr.ml). A new SR here is an empty VHD SR whatever its type; probing and replication are not written. */
import type { Context, Messages } from "../context.ts";
import { anyPlugged, DEFAULT_SR_SIZE, measureSr } from "../devices.ts";
import { fail, storageError } from "../errors.ts";
import type { Records } from "../records.ts";
import { reconcile } from "../storageManager.ts";

const SCAN = 500;
const TYPES = ["cifs", "ext", "iscsi", "iso", "lvm", "lvmoiscsi", "nfs", "smb", "udev"];

async function scan(ctx: Context, sr: string): Promise<void> {
  ctx.db.get("SR", sr);
  if (!anyPlugged(ctx.db, sr)) fail("SR_HAS_NO_PBDS", sr);
  await ctx.clock.sleep(SCAN, ctx.signal);
  reconcile(ctx, sr);
  measureSr(ctx, sr);
}

export const SR = {
  scan,
  update: (ctx: Context, sr: string) => measureSr(ctx, sr),

  create: (
    ctx: Context,
    host: string,
    device_config: Records["PBD"]["device_config"],
    physical_size: number,
    name_label: string,
    name_description: string,
    type: string,
    content_type: string,
    shared: boolean,
    sm_config: Records["SR"]["sm_config"],
  ) => {
    if (!TYPES.includes(type)) fail("SR_UNKNOWN_DRIVER", type);
    ctx.db.get("host", host);
    const size = physical_size > 0 ? physical_size : DEFAULT_SR_SIZE;
    const sr = ctx.db.create("SR", { name_label, name_description, type, content_type, shared, sm_config, physical_size: size });
    for (const member of shared ? ctx.db.refs("host") : [host])
      ctx.db.create("PBD", { host: member, SR: sr, device_config, currently_attached: true });
    return sr;
  },

  introduce: (
    ctx: Context,
    uuid: string,
    name_label: string,
    name_description: string,
    type: string,
    content_type: string,
    shared: boolean,
    sm_config: Records["SR"]["sm_config"],
  ) => {
    if (ctx.db.all("SR").some(([, sr]) => sr.uuid === uuid)) fail("SR_UUID_EXISTS", uuid);
    const fields = { name_label, name_description, type: type.toLowerCase(), content_type, shared, sm_config };
    // What it holds shows once it is plugged and scanned.
    return ctx.db.create("SR", { ...fields, ...(uuid === "" ? {} : { uuid }), physical_size: -1, physical_utilisation: -1 });
  },

  /** The data stays where it is: whoever introduces the SR again finds it. */
  forget: (ctx: Context, sr: string) => {
    const { VDIs, PBDs } = ctx.db.get("SR", sr);
    if (anyPlugged(ctx.db, sr)) fail("SR_HAS_PBD", sr);
    for (const vdi of VDIs) ctx.db.destroy("VDI", vdi);
    for (const pbd of PBDs) ctx.db.destroy("PBD", pbd);
    ctx.db.destroy("SR", sr);
  },

  destroy: (ctx: Context, sr: string) => {
    const { uuid, VDIs } = ctx.db.get("SR", sr);
    if (anyPlugged(ctx.db, sr)) fail("SR_HAS_PBD", sr);
    if (VDIs.length > 0) fail("SR_NOT_EMPTY");
    // Disks that only the storage knows (FileSR.py, delete).
    if (ctx.storage.inSr(uuid).length > 0) throw storageError("SRNotEmpty", "VDIs still exist in SR");
    SR.forget(ctx, sr);
  },

  get_supported_types: () => TYPES,
  set_shared: (ctx: Context, sr: string, shared: boolean) => ctx.db.update("SR", sr, { shared }),
  set_physical_size: (ctx: Context, sr: string, physical_size: number) => ctx.db.update("SR", sr, { physical_size }),
} satisfies Messages;
