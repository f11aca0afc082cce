/** role (xen-api ocaml/xapi/xapi_role.ml, ocaml/idl/datamodel_roles.ml): permissions are the names of messages, in lower case. */
import type { Context, Messages } from "../context.ts";
import { classes } from "../datamodel.ts";
import { ROLES } from "../sessions.ts";

function permissions(role: string): string[] {
  const rank = (ROLES as readonly string[]).indexOf(role);
  const found: string[] = [];
  for (const model of classes.values()) {
    for (const [name, message] of model.messages) {
      if (message.session && (ROLES as readonly string[]).indexOf(message.role) >= rank && rank >= 0)
        found.push(`${model.name}.${name}`.toLowerCase());
    }
  }
  return found.sort();
}

export const role = {
  get_permissions_name_label: (ctx: Context, ref: string) => permissions(ctx.db.get("role", ref).name_label),
  get_by_permission_name_label: (ctx: Context, label: string) =>
    ctx.db.all("role").flatMap(([ref, row]) => (permissions(row.name_label).includes(label.toLowerCase()) ? [ref] : [])),
} satisfies Messages;

/** What a session may do; empty for the local superuser, who needs no permission. */
export const subject = {
  get_permissions_name_label: (ctx: Context, ref: string) => [
    ...new Set(ctx.db.get("subject", ref).roles.flatMap((held) => permissions(ctx.db.get("role", held).name_label))),
  ],
  add_to_roles: (ctx: Context, ref: string, held: string) => {
    const { roles } = ctx.db.get("subject", ref);
    ctx.db.get("role", held);
    if (!roles.includes(held)) ctx.db.update("subject", ref, { roles: [...roles, held] });
  },
  remove_from_roles: (ctx: Context, ref: string, held: string) =>
    ctx.db.update("subject", ref, { roles: ctx.db.get("subject", ref).roles.filter((other) => other !== held) }),
} satisfies Messages;
