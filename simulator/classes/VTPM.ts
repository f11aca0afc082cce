/** VTPM (xen-api ocaml/xapi/xapi_vtpm.ml): one a VM, made and removed while it is halted. */
import type { Context, Messages } from "../context.ts";
import { fail } from "../errors.ts";
import { vmOperationError } from "../operations.ts";

export const VTPM = {
  create: (ctx: Context, VM: string, is_unique: boolean) => {
    const refused = vmOperationError(ctx.db, VM, "create_vtpm");
    if (refused) throw refused;
    if (ctx.db.get("VM", VM).VTPMs.length > 0) fail("VTPM_MAX_AMOUNT_REACHED", "1");
    return ctx.db.create("VTPM", { VM, is_unique, persistence_backend: "xapi" });
  },
  destroy: (ctx: Context, vtpm: string) => {
    const { VM } = ctx.db.get("VTPM", vtpm);
    const { power_state } = ctx.db.get("VM", VM);
    if (power_state !== "Halted") fail("VM_BAD_POWER_STATE", VM, "halted", power_state.toLowerCase());
    ctx.db.destroy("VTPM", vtpm);
  },
} satisfies Messages;
