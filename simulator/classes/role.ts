/** role (xen-api ocaml/xapi/xapi_role.ml, ocaml/idl/datamodel_roles.ml). */
import type { Context, Messages } from "../context.ts";
import { permissionsOf } from "../permissions.ts";

export const role = {
  get_permissions_name_label: (ctx: Context, ref: string) => permissionsOf(ctx.db.get("role", ref).name_label),
  get_by_permission_name_label: (ctx: Context, label: string) =>
    ctx.db.all("role").flatMap(([ref, row]) => (permissionsOf(row.name_label).includes(label.toLowerCase()) ? [ref] : [])),
} satisfies Messages;

export const subject = {
  get_permissions_name_label: (ctx: Context, ref: string) => [
    ...new Set(ctx.db.get("subject", ref).roles.flatMap((held) => permissionsOf(ctx.db.get("role", held).name_label))),
  ],
  add_to_roles: (ctx: Context, ref: string, held: string) => {
    const { roles } = ctx.db.get("subject", ref);
    ctx.db.get("role", held);
    if (!roles.includes(held)) ctx.db.update("subject", ref, { roles: [...roles, held] });
  },
  remove_from_roles: (ctx: Context, ref: string, held: string) =>
    ctx.db.update("subject", ref, { roles: ctx.db.get("subject", ref).roles.filter((other) => other !== held) }),
} satisfies Messages;
