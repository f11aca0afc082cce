/** host (xen-api ocaml/xapi/xapi_host.ml). */
import type { Context, Messages } from "../context.ts";
import { date } from "../datamodel.ts";
import { fail } from "../errors.ts";

export const host = {
  get_servertime: (ctx: Context) => date(ctx.clock.now()),
  get_server_localtime: (ctx: Context) => date(ctx.clock.now()).replace(/Z$/, ""), // dom0 runs in UTC

  get_management_interface: (ctx: Context, ref: string) =>
    ctx.db.get("host", ref).PIFs.find((pif) => ctx.db.get("PIF", pif).management) ?? fail("HOST_HAS_NO_MANAGEMENT_IP"),

  compute_free_memory: (ctx: Context, ref: string) => {
    const { metrics, resident_VMs } = ctx.db.get("host", ref);
    const used = resident_VMs.reduce((sum, vm) => sum + ctx.db.get("VM", vm).memory_static_max, 0);
    return ctx.db.get("host_metrics", metrics).memory_total - used;
  },

  enable: (ctx: Context, ref: string) => ctx.db.update("host", ref, { enabled: true }),
  disable: (ctx: Context, ref: string) => ctx.db.update("host", ref, { enabled: false }),
  call_plugin: (_ctx: Context, _host: string, plugin: string) => fail("XENAPI_MISSING_PLUGIN", plugin),
} satisfies Messages;
