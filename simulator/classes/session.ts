/** session (xen-api ocaml/xapi/xapi_session.ml). */
import type { Context, Messages } from "../context.ts";
import { fail } from "../errors.ts";

export const session = {
  login_with_password: (ctx: Context, user: string, password: string, _version: string, originator: string) =>
    ctx.sessions.login({ host: ctx.host, user, password, expected: ctx.password, originator }),

  logout: (ctx: Context) => ctx.sessions.logout(ctx.session),
  local_logout: (ctx: Context) => ctx.sessions.logout(ctx.session),

  get_all_subject_identifiers: (ctx: Context) => [
    ...new Set(ctx.db.all("session").flatMap(([, s]) => (s.auth_user_sid === "" ? [] : [s.auth_user_sid]))),
  ],

  logout_subject_identifier: (ctx: Context, subject: string) => {
    for (const [ref, { auth_user_sid }] of ctx.db.all("session"))
      if (auth_user_sid === subject && ref !== ctx.session) ctx.sessions.logout(ref);
  },

  change_password: () => fail("NOT_IMPLEMENTED", "session.change_password"),
} satisfies Messages;
