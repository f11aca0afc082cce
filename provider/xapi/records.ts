// The XAPI records that the provider reads, checked at the edge: what a pool sends is data, not what a type says it is.
// Only fields that something here reads are named; all others are dropped. Names, spelling and types are XAPI's (datamodel of xen-api);
// fields that one of the supported releases (API 2.15 to 2.23) lacks have XAPI's own default.
import * as z from "zod";

export const NULL_REF = "OpaqueRef:NULL";

/** XAPI knows several ways to point to nothing: the null reference, the empty string (`VRef ""` defaults) and leaked internal names (xen-api#4338). */
export function isNull(ref: string): boolean {
  return ref === "" || ref === NULL_REF || !ref.startsWith("OpaqueRef:");
}

const ref = z.string().transform((value) => (isNull(value) ? NULL_REF : value));
const refs = z.array(z.string()).transform((values) => values.filter((value) => !isNull(value)));
// int64 is a bare number in JSON-RPC, decimal text in XML-RPC.
const int = z.union([
  z.number(),
  z
    .string()
    .regex(/^-?\d+$/)
    .transform(Number),
]);
const text = z.string();
const bool = z.boolean();
const map = z.record(z.string(), z.string());
const set = z.array(z.string());

export const schemas = {
  pool: z.object({
    uuid: text,
    master: ref,
    ha_enabled: bool,
    other_config: map,
  }),
  host: z.object({
    uuid: text,
    name_label: text,
    address: text,
    https_only: bool.default(false),
    API_version_major: int,
    API_version_minor: int,
    software_version: map,
  }),
  SR: z.object({
    uuid: text,
    name_label: text,
    name_description: text,
    type: text,
    content_type: text,
    shared: bool,
    is_tools_sr: bool.default(false),
    physical_size: int,
    physical_utilisation: int,
    sm_config: map,
  }),
  PBD: z.object({ uuid: text, host: ref, SR: ref, currently_attached: bool, device_config: map }),
  VDI: z.object({
    uuid: text,
    name_label: text,
    name_description: text,
    SR: ref,
    VBDs: refs,
    virtual_size: int,
    physical_utilisation: int,
    read_only: bool,
    is_a_snapshot: bool,
    is_tools_iso: bool.default(false),
    current_operations: map,
    tags: set,
    other_config: map,
  }),
  VBD: z.object({
    uuid: text,
    VM: ref,
    VDI: ref,
    type: text,
    mode: text,
    userdevice: text,
    bootable: bool,
    empty: bool,
    currently_attached: bool,
    other_config: map,
  }),
  VIF: z.object({
    uuid: text,
    VM: ref,
    network: ref,
    device: text,
    MTU: int,
    other_config: map,
  }),
  VM: z.object({
    uuid: text,
    name_label: text,
    power_state: text,
    is_a_template: bool,
    is_default_template: bool.default(false),
    is_a_snapshot: bool,
    is_control_domain: bool,
    VBDs: refs,
    VIFs: refs,
    VTPMs: refs.default([]),
    guest_metrics: ref,
    VCPUs_max: int,
    memory_static_max: int,
    memory_static_min: int,
    platform: map,
    HVM_boot_params: map,
    actions_after_shutdown: text,
    ha_restart_priority: text,
    blocked_operations: map,
    tags: set,
    xenstore_data: map,
    other_config: map,
  }),
  VM_guest_metrics: z.object({
    uuid: text,
    PV_drivers_version: map,
    networks: map,
    other: map,
  }),
  network: z.object({
    uuid: text,
    name_label: text,
  }),
  task: z.object({
    uuid: text,
    status: text,
    progress: z.number(),
    result: text,
    error_info: set,
  }),
  /** Without its reference: whoever has that is logged in. */
  session: z.object({
    uuid: text,
    is_local_superuser: bool,
    rbac_permissions: set,
  }),
};

export type ClassName = keyof typeof schemas;
/** A record as the provider sees it; `$ref` is its reference. */
export type Rec<C extends ClassName> = z.output<(typeof schemas)[C]> & { readonly $ref: string };

/** Parses what XAPI sent as a record of the class; throws z.ZodError. */
export function parseRecord<C extends ClassName>(cls: C, $ref: string, value: unknown): Rec<C> {
  // The union of all schemas can't be narrowed by `cls`: the key says which one it is.
  return { ...schemas[cls].parse(value), $ref } as unknown as Rec<C>;
}

/** Database columns of the fields that xen-api groups (`name/label`): queries see these, records don't (datamodel.json `db`). */
const GROUPS: readonly [prefix: string, classes: readonly ClassName[]][] = [
  ["name", ["host", "SR", "VDI", "VM", "network"]],
  ["VCPUs", ["VM"]],
  ["memory", ["VM"]],
  ["actions", ["VM"]],
  ["HVM", ["VM"]],
  ["API_version", ["host"]],
];

/** The name that `get_all_records_where` knows a field by. */
export function column(cls: ClassName, field: string): string {
  const group = GROUPS.find(([prefix, classes]) => field.startsWith(`${prefix}_`) && classes.includes(cls));
  return group === undefined ? field : `${group[0]}__${field.slice(group[0].length + 1)}`;
}
