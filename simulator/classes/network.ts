/** network (xen-api ocaml/xapi/xapi_network.ml): a new one is internal, without a PIF. */
import type { Context, Messages } from "../context.ts";
import { fail } from "../errors.ts";
import type { Records } from "../records.ts";

export const network = {
  create: (ctx: Context, record: Partial<Records["network"]>) => {
    const taken = new Set(ctx.db.all("network").map(([, other]) => other.bridge));
    let index = 0;
    while (taken.has(`xapi${index}`)) index += 1;
    const bridge = record.bridge ? record.bridge : `xapi${index}`;
    if (taken.has(bridge)) fail("BRIDGE_NAME_EXISTS", bridge);
    return ctx.db.create("network", { MTU: 1500, managed: true, ...record, bridge });
  },

  destroy: (ctx: Context, ref: string) => {
    const { VIFs, PIFs } = ctx.db.get("network", ref);
    const attached = VIFs.find((vif) => ctx.db.get("VIF", vif).currently_attached);
    if (attached !== undefined) fail("NETWORK_CONTAINS_VIF", attached);
    if (PIFs[0] !== undefined) fail("NETWORK_CONTAINS_PIF", PIFs[0]);
    for (const vif of VIFs) ctx.db.destroy("VIF", vif);
    ctx.db.destroy("network", ref);
  },
} satisfies Messages;
