/**
 * What a role allows, by the names of its permissions (xen-api ocaml/idl/ocaml_backend/gen_rbac.ml, datamodel_roles.ml): a permission for each message, for each HTTP action
 * and for some single keys of maps, all in lower case. A session gets the list of its role at login and is judged by it until it ends (ocaml/xapi/rbac.ml).
 */
import { classes } from "./datamodel.ts";

/** From the highest to the lowest; each includes those after it. */
export const ROLES = ["pool-admin", "pool-operator", "vm-power-admin", "vm-admin", "vm-operator", "read-only"] as const;
type Role = (typeof ROLES)[number];

/** ocaml/idl/datamodel.ml, http_actions, with the least role that may: the verb and the path, `/` for the parts of an action that need more. */
const HTTP: Readonly<Record<Role, readonly string[]>> = {
  "pool-admin": [
    "post_services",
    "put_services",
    "post_remote_db_access",
    "post_remote_db_access_v2",
    "connect_console/host_console",
    "connect_console_ws/host_console_ws",
    "get_host_backup",
    "put_host_restore",
    "get_vncsnapshot/host_console",
    "get_pool_xml_db_sync",
    "put_pool_xml_db_sync",
    "get_config_sync",
    "put_rrd",
    "connect_remotecmd",
  ],
  "pool-operator": [
    "get_host_logs_download",
    "put_pool_patch_upload",
    "get_system_status",
    "get_enabled_repository",
    "get_host_updates",
    "get_updates",
    "put_bundle",
  ],
  "vm-power-admin": [
    "get_services_xenops",
    "post_services_xenops",
    "put_services_xenops",
    "get_services_sm",
    "post_services_sm",
    "put_services_sm",
    "put_blob",
    "put_messages",
  ],
  "vm-admin": ["put_import", "put_import_metadata", "put_import_raw_vdi", "get_export", "get_export_metadata", "get_export_raw_vdi"],
  "vm-operator": ["connect_console", "connect_console_ws", "get_vncsnapshot"],
  "read-only": [
    "get_services",
    "get_root",
    "post_cli",
    "get_vm_rrd",
    "get_vm_rrds",
    "get_host_rrd",
    "get_host_rrds",
    "get_sr_rrd",
    "get_rrd_updates",
    "get_blob",
    "get_wlb_report",
    "get_wlb_diagnostics",
    "get_audit_log",
    "post_root",
    "post_rpc2",
    "post_json",
    "post_root_options",
    "post_json_options",
    "post_jsonrpc",
    "post_jsonrpc_options",
    "get_pool_update_download",
  ],
};

/** The one permission that is neither a message nor an action (datamodel.ml, extra_permissions): tasks of others. */
export const ANY_TASK = "task.destroy/any";

const FOLDERS = { folder: "vm-operator", "XenCenter.CustomFields.*": "vm-operator" } as const;
/** Keys that need another role than the map they are in (map_keys_roles in the datamodel); `*` at the end stands for anything. */
const KEYS: Readonly<Record<string, Readonly<Record<string, Role>>>> = {
  "VM.other_config": { pci: "pool-admin", hvm_serial: "pool-admin", ...FOLDERS },
  "VM.platform": { hvm_serial: "pool-admin" },
  "VDI.other_config": FOLDERS,
  "SR.other_config": FOLDERS,
  "host.other_config": FOLDERS,
  "network.other_config": { ...FOLDERS, XenCenterCreateInProgress: "vm-operator" },
  "pool.other_config": { ...FOLDERS, EMPTY_FOLDERS: "vm-operator" },
  "task.other_config": { applies_to: "vm-operator", XenCenterUUID: "vm-operator", XenCenterMeddlingActionTitle: "vm-operator" },
};

/** Permission -> rank of the least role that has it. */
const ranks: ReadonlyMap<string, number> = (() => {
  const found = new Map<string, number>();
  const add = (name: string, role: string) => {
    const rank = (ROLES as readonly string[]).indexOf(role);
    if (rank >= 0) found.set(name.toLowerCase(), rank); // what is the local superuser's alone is nobody's permission
  };
  for (const model of classes.values()) {
    for (const [name, { role }] of model.messages) add(`${model.name}.${name}`, role);
    if (model.getAll) for (const name of ["get_all_where", "get_all_records_where"]) add(`${model.name}.${name}`, "read-only");
  }
  for (const [map, keys] of Object.entries(KEYS)) {
    const [cls, field] = map.split(".");
    for (const [key, role] of Object.entries(keys))
      for (const change of ["add_to", "remove_from"]) add(`${cls}.${change}_${field}/key:${key}`, role);
  }
  for (const [role, actions] of Object.entries(HTTP)) for (const action of actions) add(`http/${action}`, role);
  add(ANY_TASK, "pool-operator");
  return found;
})();

const byRole: ReadonlyMap<string, readonly string[]> = new Map(
  ROLES.map((role, rank) => [role, [...ranks].flatMap(([name, least]) => (rank <= least ? [name] : [])).sort()]),
);

/** All permissions of a role. */
export function permissionsOf(role: string): readonly string[] {
  return byRole.get(role) ?? [];
}

/** The roles that have a permission, highest first. */
export function rolesWith(permission: string): readonly string[] {
  return ROLES.slice(0, (ranks.get(permission) ?? -1) + 1);
}

/** The permission that a call of `cls.name` needs; `key` is the first parameter after the reference, which only matters where it is a key of a map. */
export function permissionFor(cls: string, name: string, key: unknown): string {
  const permission = `${cls}.${name}`.toLowerCase();
  const field = /^(?:add_to|remove_from)_(.+)$/.exec(name)?.[1];
  const special = Object.keys(KEYS[`${cls}.${field}`] ?? {}).find((pattern) =>
    pattern.endsWith("*") ? String(key).startsWith(pattern.slice(0, -1)) : key === pattern,
  );
  return special === undefined ? permission : `${permission}/key:${special.toLowerCase()}`;
}

/** The permission that an HTTP action such as "PUT /import_raw_vdi" needs. */
export function permissionForHttp(action: string): string {
  return `http/${action.toLowerCase().replace(" /", "_")}`;
}
