/** PBD: a host's access to an SR (xen-api ocaml/xapi/xapi_pbd.ml). */
import type { Context, Messages } from "../context.ts";
import { fail } from "../errors.ts";
import type { Records } from "../records.ts";

export const PBD = {
  create: (ctx: Context, record: Partial<Records["PBD"]> & Pick<Records["PBD"], "host" | "SR">) => {
    const { PBDs } = ctx.db.get("SR", record.SR);
    ctx.db.get("host", record.host);
    const old = PBDs.find((pbd) => ctx.db.get("PBD", pbd).host === record.host);
    if (old !== undefined) fail("PBD_EXISTS", record.SR, record.host, old);
    return ctx.db.create("PBD", record);
  },
  destroy: (ctx: Context, pbd: string) => {
    if (ctx.db.get("PBD", pbd).currently_attached) fail("DEVICE_ALREADY_ATTACHED", pbd);
    ctx.db.destroy("PBD", pbd);
  },
  plug: (ctx: Context, pbd: string) => ctx.db.update("PBD", pbd, { currently_attached: true }),

  unplug: (ctx: Context, pbd: string) => {
    const { SR, host, currently_attached } = ctx.db.get("PBD", pbd);
    if (!currently_attached) return;
    for (const vdi of ctx.db.get("SR", SR).VDIs) {
      for (const vbd of ctx.db.get("VDI", vdi).VBDs.map((ref) => ctx.db.get("VBD", ref))) {
        if (vbd.currently_attached && ctx.db.get("VM", vbd.VM).resident_on === host) fail("VDI_IN_USE", vdi, "PBD.unplug");
      }
    }
    ctx.db.update("PBD", pbd, { currently_attached: false });
  },

  set_device_config: (ctx: Context, pbd: string, device_config: Records["PBD"]["device_config"]) => {
    if (ctx.db.get("PBD", pbd).currently_attached) fail("OPERATION_NOT_ALLOWED", "PBD must be unplugged");
    ctx.db.update("PBD", pbd, { device_config });
  },
} satisfies Messages;
