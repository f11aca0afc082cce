/**
 * Sessions, and what they may do (xen-api ocaml/xapi/xapi_session.ml, session_check.ml, rbac.ml). root is the local superuser and passes every check; every subject has
 * the name of its one role and root's password.
 */
import type { Database } from "./database.ts";
import { date } from "./datamodel.ts";
import { fail } from "./errors.ts";
import { permissionsOf, rolesWith } from "./permissions.ts";

/** xapi_globs.ml: sessions of one originator, of one user that is not root, and of all others. The oldest are dropped. */
const MAX_PER_ORIGINATOR = 500;
const EXPIRY = 24 * 3600_000;
const ACTIVITY = 10 * 60_000;

/** Sessions live in real time: simulated hours must not log a client out. */
export class Sessions {
  private readonly db: Database;
  private readonly active = new Map<string, number>();
  private readonly permissions = new Map<string, ReadonlySet<string>>();
  private readonly ended = new Set<(session: string) => void>();

  constructor(db: Database) {
    this.db = db;
  }

  login(options: { host: string; user: string; password: string; expected: string; originator: string }): string {
    const { user } = options;
    const subject = this.db.all("subject").find(([, s]) => s.other_config["subject-name"] === user);
    if (options.password !== options.expected || (user !== "root" && !subject)) {
      fail("SESSION_AUTHENTICATION_FAILED", user, "Authentication failure");
    }
    const roles = subject?.[1].roles.map((role) => this.db.get("role", role).name_label) ?? [];
    if (subject && roles.length === 0) fail("RBAC_PERMISSION_DENIED", "session.login_with_password", "Subject has no roles");
    const now = date(Date.now());
    const ref = this.db.create("session", {
      this_host: options.host,
      is_local_superuser: user === "root",
      subject: subject?.[0] ?? "OpaqueRef:NULL",
      auth_user_sid: subject?.[1].subject_identifier ?? "",
      auth_user_name: user,
      originator: options.originator,
      // One list for all sessions of a role; a later change of the subject's roles counts from its next login.
      rbac_permissions: roles.length === 1 ? permissionsOf(roles[0] ?? "") : [...new Set(roles.flatMap(permissionsOf))],
      last_active: now,
      validation_time: now,
    });
    this.active.set(ref, Date.now());
    const same = this.db.all("session").filter(([, s]) => s.originator === options.originator);
    for (const [old] of same.slice(0, Math.max(0, same.length - MAX_PER_ORIGINATOR))) this.logout(old);
    return ref;
  }

  /** Refuses a session that is not there or has been idle for a day. */
  check(ref: string): void {
    const last = this.active.get(ref);
    if (last !== undefined && Date.now() - last > EXPIRY && this.db.has("session", ref)) this.logout(ref);
    if (!this.db.has("session", ref)) fail("SESSION_INVALID", ref);
    if (last === undefined || Date.now() - last > ACTIVITY) this.db.update("session", ref, { last_active: date(Date.now()) });
    this.active.set(ref, Date.now());
  }

  logout(ref: string): void {
    this.active.delete(ref);
    this.permissions.delete(ref);
    this.db.destroy("session", ref);
    for (const listener of [...this.ended]) listener(ref);
  }

  /** Ends all sessions; answers how many there were. */
  endAll(): number {
    const open = this.db.refs("session");
    for (const ref of open) this.logout(ref);
    return open.length;
  }

  /** Calls `listener` whenever a session ends; answers what stops that. Blocked calls of the session fail then. */
  onEnd(listener: (session: string) => void): () => void {
    this.ended.add(listener);
    return () => this.ended.delete(listener);
  }

  get count(): number {
    return this.db.refs("session").length;
  }

  /** Refuses what is not among the permissions that the session got at login; the text is rbac.ml's. */
  authorize(session: string, permission: string): void {
    const { is_local_superuser, rbac_permissions } = this.db.get("session", session);
    if (is_local_superuser) return;
    const granted = this.permissions.get(session) ?? new Set(rbac_permissions);
    this.permissions.set(session, granted);
    if (granted.has(permission)) return;
    const roles = rolesWith(permission).join(", ");
    fail("RBAC_PERMISSION_DENIED", permission, `No permission in user session. (Roles with this permission: ${roles})`);
  }
}
