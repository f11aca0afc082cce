/** Ready-made pools: what a client finds in a freshly installed XenServer 8, plus a template for packaging. References and uuids follow from the seed. */
import type { Pool } from "./context.ts";
import { macOf } from "./copies.ts";
import { date, NULL_REF } from "./datamodel.ts";
import { ROLES } from "./permissions.ts";
import type { Records } from "./records.ts";
import { register } from "./storageManager.ts";

export type PoolName = "small" | "ha";

const GiB = 1024 ** 3;
const HOST_MEMORY = 64 * GiB;
const SR_SIZE = 500 * GiB;

/** "small": one host with a local VHD SR. "ha": three hosts, two shared SRs, HA enabled, nothing local. Both have an ISO library, a network and templates. */
export function createPool(pool: Pool, name: PoolName, addresses: readonly string[]): void {
  const { db } = pool;
  roles(pool);
  const network = db.create("network", {
    name_label: "Pool-wide network associated with eth0",
    bridge: "xenbr0",
    MTU: 1500,
    managed: true,
  });
  db.create("network", {
    name_label: "Host internal management network",
    name_description: "Network on which guests will be assigned a private link-local IP address which can be used to talk XenAPI",
    bridge: "xenapi",
    MTU: 1500,
    other_config: {
      is_guest_installer_network: "true",
      is_host_internal_management_network: "true",
      ip_begin: "169.254.0.1",
      ip_end: "169.254.255.254",
    },
  });
  const hosts = addresses.map((address, index) => createHost(pool, `xs${index + 1}`, address, network));
  const ha = name === "ha";
  const disks = ha
    ? [
        createSr(pool, { name_label: "Shared NFS", type: "nfs", shared: true }, hosts),
        createSr(pool, { name_label: "Second shared NFS", type: "nfs", shared: true }, hosts),
      ]
    : [createSr(pool, { name_label: "Local storage", type: "ext", shared: false, other_config: { "i18n-key": "local-storage" } }, hosts)];
  const isos = createSr(
    pool,
    {
      name_label: "Installers",
      name_description: "NFS ISO library",
      type: "iso",
      content_type: "iso",
      shared: true,
      physical_size: 40 * GiB,
    },
    hosts,
  );
  iso(pool, isos, "guest-tools.iso", "XenServer VM Tools", 300 * 1024 ** 2);
  iso(pool, isos, "installers.iso", "Installers of agents and applications", 600 * 1024 ** 2);
  for (const type of ["ext", "nfs", "lvm", "lvmoiscsi", "iso"]) storageManager(pool, type);
  db.create("pool", {
    name_label: ha ? "ha" : "",
    master: hosts[0] ?? NULL_REF,
    default_SR: disks[0] ?? NULL_REF,
    suspend_image_SR: disks[0] ?? NULL_REF,
    crash_dump_SR: disks[0] ?? NULL_REF,
    ha_enabled: ha,
    ha_host_failures_to_tolerate: ha ? 1 : 0,
    ha_plan_exists_for: ha ? 1 : 0,
    ha_reboot_vm_on_internal_shutdown: true,
    tls_verification_enabled: true,
    restrictions: {
      restrict_cbt: "false",
      restrict_vm_groups: "false",
      restrict_ad: "false",
      restrict_rbac: "false",
      restrict_pool_size: "false",
    },
    cpu_info: { vendor: "GenuineIntel", cpu_count: "8", socket_count: "1" },
  });
  templates(pool, network);
}

function roles({ db }: Pool): void {
  for (const role of ROLES) {
    const ref = db.create("role", { name_label: role, name_description: `The ${role} role` });
    db.create("subject", {
      subject_identifier: `u:${role}`,
      other_config: { "subject-name": role, "subject-sid": `u:${role}` },
      roles: [ref],
    });
  }
}

function createHost(pool: Pool, name: string, address: string, network: string): string {
  const { db, clock } = pool;
  const now = date(clock.now());
  const metrics = db.create("host_metrics", {
    memory_total: HOST_MEMORY,
    memory_free: HOST_MEMORY - 4 * GiB,
    live: true,
    last_updated: now,
  });
  const host = db.create("host", {
    name_label: name,
    name_description: "Default install",
    hostname: name,
    address,
    metrics,
    enabled: true,
    API_version_major: 2,
    API_version_minor: 21,
    API_version_vendor: "XenSource",
    software_version: {
      product_brand: "XenServer",
      product_version: "8.4.0",
      product_version_text: "8",
      product_version_text_short: "8",
      platform_name: "XCP",
      platform_version: "3.4.0",
      xapi: "25.33",
      xapi_build: "25.33.1",
      xen: "4.17.5-20",
      linux: "4.19.0+1",
      build_number: "cloud",
      db_schema: "5.791",
      network_backend: "openvswitch",
      xencenter_min: "2.21",
      xencenter_max: "2.21",
    },
    capabilities: ["xen-3.0-x86_64", "hvm-3.0-x86_32", "hvm-3.0-x86_64", ""],
    cpu_info: { cpu_count: "8", socket_count: "1", vendor: "GenuineIntel", modelname: "Simulated CPU", speed: "2400.000" },
    edition: "premium-per-socket",
    allowed_operations: ["vm_migrate", "provision", "vm_resume", "evacuate", "vm_start"],
    virtual_hardware_platform_versions: [0, 1, 2],
    supported_bootloaders: ["pygrub", "eliloader"],
    https_only: false,
    tls_verification_enabled: true,
    other_config: { agent_start_time: String(clock.now() / 1000), boot_time: String(clock.now() / 1000) },
  });
  const vm = db.create("VM", {
    name_label: `Control domain on host: ${name}`,
    name_description: "The domain which manages physical devices and manages other domains",
    is_control_domain: true,
    power_state: "Running",
    domid: 0,
    resident_on: host,
    affinity: host,
    memory_static_max: 4 * GiB,
    memory_dynamic_max: 4 * GiB,
    memory_dynamic_min: 4 * GiB,
    VCPUs_max: 4,
    VCPUs_at_startup: 4,
    metrics: db.create("VM_metrics", { VCPUs_number: 4, memory_actual: 4 * GiB, start_time: now, last_updated: now }),
  });
  db.update("host", host, { control_domain: vm });
  db.create("PIF", {
    device: "eth0",
    host,
    network,
    MAC: macOf(name, "eth0"),
    MTU: 1500,
    VLAN: -1,
    physical: true,
    management: true,
    managed: true,
    currently_attached: true,
    ip_configuration_mode: "Static",
    IP: address,
    netmask: "255.0.0.0",
    primary_address_type: "IPv4",
    metrics: db.create("PIF_metrics", { carrier: true, speed: 10_000, duplex: true, last_updated: now }),
  });
  return host;
}

function createSr({ db }: Pool, fields: Partial<Records["SR"]>, hosts: readonly string[]): string {
  const sr = db.create("SR", { content_type: "user", physical_size: SR_SIZE, ...fields });
  for (const host of hosts) db.create("PBD", { host, SR: sr, currently_attached: true, device_config: { location: "/simulated" } });
  return sr;
}

/** An ISO is an empty file of its size: no guest here reads more of it than its name. */
function iso(pool: Pool, sr: string, location: string, name_description: string, size: number): void {
  const uuid = pool.db.uuid();
  pool.storage.create(uuid, size);
  register(pool, uuid, {
    SR: sr,
    name_label: location,
    name_description,
    location,
    type: "user",
    virtual_size: size,
    physical_utilisation: size,
    read_only: true,
    sharable: true,
    is_tools_iso: location === "guest-tools.iso",
  });
}

function storageManager({ db }: Pool, type: string): void {
  const disk = [
    "VDI_CREATE",
    "VDI_DELETE",
    "VDI_CLONE",
    "VDI_SNAPSHOT",
    "VDI_RESIZE",
    "VDI_ATTACH",
    "VDI_DETACH",
    "VDI_UPDATE",
    "SR_SCAN",
    "SR_UPDATE",
  ];
  const names = type === "iso" ? ["SR_SCAN", "VDI_ATTACH", "VDI_DETACH"] : disk;
  db.create("SM", {
    type,
    name_label: type === "iso" ? "ISO" : `${type} VHD on Dom0 storage`,
    features: Object.fromEntries(names.map((feature) => [feature, 1])),
    capabilities: names,
    supported_image_formats: type === "iso" ? [] : ["vhd"],
    vendor: "Citrix Systems Inc",
    required_api_version: "1.0",
  });
}

const HVM_PLATFORM = {
  acpi: "1",
  apic: "true",
  "device-model": "qemu-upstream-uefi",
  hpet: "true",
  nx: "true",
  pae: "true",
  secureboot: "auto",
  vga: "std",
  videoram: "8",
  viridian: "true",
};

const machine = (memory: number, vcpus: number): Partial<Records["VM"]> => ({
  is_a_template: true,
  power_state: "Halted",
  domid: -1,
  memory_static_max: memory,
  memory_dynamic_max: memory,
  memory_dynamic_min: memory,
  memory_static_min: 2 * GiB,
  VCPUs_max: vcpus,
  VCPUs_at_startup: vcpus,
  actions_after_shutdown: "destroy",
  actions_after_reboot: "restart",
  actions_after_crash: "restart",
  HVM_boot_policy: "BIOS order",
  HVM_boot_params: { firmware: "uefi", order: "cdn" },
  HVM_shadow_multiplier: 1,
  platform: HVM_PLATFORM,
  has_vendor_device: false,
  hardware_platform_version: 2,
  domain_type: "hvm",
});

function templates(pool: Pool, network: string): void {
  const { db } = pool;
  const disks = '<provision><disk device="0" size="68719476736" sr="" bootable="true" type="system"/></provision>';
  const standard = { default_template: "true", disks, "install-methods": "cdrom" };
  db.create("VM", {
    ...machine(4 * GiB, 2),
    name_label: "Windows 11",
    name_description: "Clones of this template will automatically provision their storage when first booted.",
    is_default_template: true,
    reference_label: "windows-11",
    has_vendor_device: true,
    other_config: standard,
  });
  db.create("VM", {
    ...machine(1 * GiB, 1),
    memory_static_min: 512 * 1024 ** 2,
    name_label: "Other install media",
    name_description: "Template which allows VM installation from install media",
    is_default_template: true,
    reference_label: "other-install-media",
    platform: { ...HVM_PLATFORM, "device-model": "qemu-upstream-compat" },
    HVM_boot_params: { firmware: "bios", order: "dc" },
    other_config: { ...standard, disks: "<provision/>" },
  });
  const seed = db.uuid();
  const packaging = db.create("VM", {
    ...machine(4 * GiB, 2),
    name_label: "xenlayer-packaging",
    name_description: "Machines that package layers: no disk, one network interface",
    tags: ["packaging"],
    other_config: { mac_seed: seed, base_template_name: "Windows 11" },
  });
  db.create("VIF", {
    VM: packaging,
    network,
    device: "0",
    MTU: 1500,
    MAC: macOf(seed, "0"),
    MAC_autogenerated: true,
    metrics: db.create("VIF_metrics", {}),
  });
}
