/** SR: storage (xen-api ocaml/xapi/xapi_sr.ml). A new SR here is an empty VHD SR whatever its type; probing and replication are not written. */
import type { Context, Messages } from "../context.ts";
import { anyPlugged, measureSr } from "../devices.ts";
import { fail } from "../errors.ts";
import type { Records } from "../records.ts";

const DEFAULT_SIZE = 500 * 1024 ** 3;
const SCAN = 500;
const TYPES = ["cifs", "ext", "iscsi", "iso", "lvm", "lvmoiscsi", "nfs", "smb", "udev"];

/** Rows whose data is gone are forgotten, as SM does with a VDI whose location has vanished. */
async function scan(ctx: Context, sr: string): Promise<void> {
  const { VDIs } = ctx.db.get("SR", sr);
  if (!anyPlugged(ctx.db, sr)) fail("SR_HAS_NO_PBDS", sr);
  await ctx.clock.sleep(SCAN, ctx.signal);
  if (ctx.db.get("SR", sr).content_type === "iso") return;
  for (const vdi of VDIs) if (!ctx.storage.has(ctx.db.find("VDI", vdi)?.uuid ?? "")) ctx.db.destroy("VDI", vdi);
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
    const size = physical_size > 0 ? physical_size : DEFAULT_SIZE;
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
    return ctx.db.create("SR", { uuid, name_label, name_description, type, content_type, shared, sm_config, physical_size: DEFAULT_SIZE });
  },

  forget: (ctx: Context, sr: string) => {
    const { VDIs, PBDs } = ctx.db.get("SR", sr);
    if (anyPlugged(ctx.db, sr)) fail("SR_HAS_PBD", sr);
    for (const vdi of VDIs) ctx.db.destroy("VDI", vdi);
    for (const pbd of PBDs) ctx.db.destroy("PBD", pbd);
    ctx.db.destroy("SR", sr);
  },

  destroy: (ctx: Context, sr: string) => {
    const { VDIs } = ctx.db.get("SR", sr);
    if (anyPlugged(ctx.db, sr)) fail("SR_HAS_PBD", sr);
    if (VDIs.length > 0) fail("SR_NOT_EMPTY");
    SR.forget(ctx, sr);
  },

  get_supported_types: () => TYPES,
  set_shared: (ctx: Context, sr: string, shared: boolean) => ctx.db.update("SR", sr, { shared }),
  set_physical_size: (ctx: Context, sr: string, physical_size: number) => ctx.db.update("SR", sr, { physical_size }),
} satisfies Messages;
