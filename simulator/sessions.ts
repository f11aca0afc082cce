/**
 * Sessions and roles (xen-api ocaml/xapi/xapi_session.ml, session_check.ml, rbac.ml; roles in ocaml/idl/datamodel_roles.ml). root is the local superuser and passes
 * every check; every subject has the name of its one role and root's password.
 */
import type { Database } from "./database.ts";
import { date, isNullRef } from "./datamodel.ts";
import { fail } from "./errors.ts";

/** From the highest to the lowest; each includes those after it. */
export const ROLES = ["pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only"] as const;

/** xapi_globs.ml: sessions of one originator, of one user that is not root, and of all others. The oldest are dropped. */
const MAX_PER_ORIGINATOR = 500;
const EXPIRY = 24 * 3600_000;
const ACTIVITY = 10 * 60_000;

/** Sessions live in real time: simulated hours must not log a client out. */
export class Sessions {
  private readonly db: Database;
  private readonly active = new Map<string, number>();
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
    if (subject && subject[1].roles.length === 0) fail("RBAC_PERMISSION_DENIED", "session.login_with_password", "Subject has no roles");
    const now = date(Date.now());
    const ref = this.db.create("session", {
      this_host: options.host,
      is_local_superuser: user === "root",
      subject: subject?.[0] ?? "OpaqueRef:NULL",
      auth_user_sid: subject?.[1].subject_identifier ?? "",
      auth_user_name: user,
      originator: options.originator,
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
    this.db.destroy("session", ref);
    for (const listener of [...this.ended]) listener(ref);
  }

  /** Calls `listener` whenever a session ends; answers what stops that. Blocked calls of the session fail then. */
  onEnd(listener: (session: string) => void): () => void {
    this.ended.add(listener);
    return () => this.ended.delete(listener);
  }

  get count(): number {
    return this.db.refs("session").length;
  }

  /** Rank of a session's highest role in ROLES; the local superuser is above all of them. */
  private rank(session: string): number {
    const record = this.db.get("session", session);
    if (record.is_local_superuser) return -1;
    const subject = isNullRef(record.subject) ? undefined : this.db.find("subject", record.subject);
    const ranks = (subject?.roles ?? []).map((role) => (ROLES as readonly string[]).indexOf(this.db.find("role", role)?.name_label ?? ""));
    return Math.min(ROLES.length, ...ranks.filter((rank) => rank >= 0));
  }

  /** Whether a session has at least this role; a role outside the list is the local superuser's alone. */
  allows(session: string, role: string): boolean {
    return this.rank(session) <= (ROLES as readonly string[]).indexOf(role);
  }

  /** Refuses a permission to a session whose role is too low; the text is rbac.ml's. */
  authorize(session: string, permission: string, role: string): void {
    if (this.allows(session, role)) return;
    const allowed = ROLES.slice(0, (ROLES as readonly string[]).indexOf(role) + 1).join(", ");
    fail("RBAC_PERMISSION_DENIED", permission.toLowerCase(), `No permission in user session. (Roles with this permission: ${allowed})`);
  }
}

const GUI_KEYS = /^(folder|XenCenter\.CustomFields\..*)$/;
const TASK_KEYS = /^(applies_to|XenCenterUUID|XenCenterMeddlingActionTitle)$/;

/** Single keys of a map that need another role than the map itself: `vm.add_to_other_config/key:folder` (datamodel.ml, map_keys_roles). */
export function keyRole(cls: string, field: string, key: string): string | undefined {
  if (field === "other_config" && GUI_KEYS.test(key) && ["VM", "VDI", "SR", "host", "network", "pool"].includes(cls)) return "vm-operator";
  if (field === "other_config" && cls === "pool" && key === "EMPTY_FOLDERS") return "vm-operator";
  if (field === "other_config" && cls === "task" && TASK_KEYS.test(key)) return "vm-operator";
  if (cls === "VM" && field === "other_config" && key === "pci") return "pool-admin";
  if (cls === "VM" && field === "platform" && key === "hvm_serial") return "pool-admin";
  return undefined;
}
