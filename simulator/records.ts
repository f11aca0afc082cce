// Made by datamodel.generate.ts from xen-api b56692c2841b2591e427d9ce4d47290f5c7be786; not edited.

/** The record of each class of the XenServer management API, as the database keeps it: dates as text, references as text, maps as objects. */
export interface Records {
  readonly auth: Readonly<Record<string, never>>;
  readonly blob: {
    readonly last_updated: string;
    readonly mime_type: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly public: boolean;
    readonly size: number;
    readonly uuid: string;
  };
  readonly Bond: {
    readonly auto_update_mac: boolean;
    readonly links_up: number;
    readonly master: string;
    readonly mode: "balance-slb" | "active-backup" | "lacp";
    readonly other_config: Readonly<Record<string, string>>;
    readonly primary_slave: string;
    readonly properties: Readonly<Record<string, string>>;
    readonly slaves: readonly string[];
    readonly uuid: string;
  };
  readonly Caller: {
    readonly auto_registered: boolean;
    readonly client_ip: string;
    readonly groups: readonly string[];
    readonly last_access: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly rate_limit: string;
    readonly user_agent: string;
    readonly uuid: string;
  };
  readonly Certificate: {
    readonly fingerprint: string;
    readonly fingerprint_sha1: string;
    readonly fingerprint_sha256: string;
    readonly host: string;
    readonly name: string;
    readonly not_after: string;
    readonly not_before: string;
    readonly purpose: readonly ("licensing" | "ldaps")[];
    readonly type: "ca" | "host" | "host_internal" | "pinned";
    readonly uuid: string;
  };
  readonly Cluster: {
    readonly allowed_operations: readonly ("add" | "remove" | "enable" | "disable" | "destroy")[];
    readonly cluster_config: Readonly<Record<string, string>>;
    readonly cluster_hosts: readonly string[];
    readonly cluster_stack: string;
    readonly cluster_stack_version: number;
    readonly cluster_token: string;
    readonly current_operations: Readonly<Record<string, "add" | "remove" | "enable" | "disable" | "destroy">>;
    readonly expected_hosts: number;
    readonly is_quorate: boolean;
    readonly live_hosts: number;
    readonly other_config: Readonly<Record<string, string>>;
    readonly pending_forget: readonly string[];
    readonly pool_auto_join: boolean;
    readonly quorum: number;
    readonly token_timeout: number;
    readonly token_timeout_coefficient: number;
    readonly uuid: string;
  };
  readonly Cluster_host: {
    readonly allowed_operations: readonly ("enable" | "disable" | "destroy")[];
    readonly cluster: string;
    readonly current_operations: Readonly<Record<string, "enable" | "disable" | "destroy">>;
    readonly enabled: boolean;
    readonly host: string;
    readonly joined: boolean;
    readonly last_update_live: string;
    readonly live: boolean;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PIF: string;
    readonly uuid: string;
  };
  readonly console: {
    readonly location: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly protocol: "vt100" | "rfb" | "rdp";
    readonly uuid: string;
    readonly VM: string;
  };
  readonly crashdump: {
    readonly other_config: Readonly<Record<string, string>>;
    readonly uuid: string;
    readonly VDI: string;
    readonly VM: string;
  };
  readonly data_source: {
    readonly enabled: boolean;
    readonly max: number;
    readonly min: number;
    readonly name_description: string;
    readonly name_label: string;
    readonly standard: boolean;
    readonly units: string;
    readonly value: number;
  };
  readonly DR_task: {
    readonly introduced_SRs: readonly string[];
    readonly uuid: string;
  };
  readonly Driver_variant: {
    readonly driver: string;
    readonly hardware_present: boolean;
    readonly name: string;
    readonly priority: number;
    readonly status: string;
    readonly uuid: string;
    readonly version: string;
  };
  readonly event: {
    readonly class: string;
    readonly id: number;
    readonly obj_uuid: string;
    readonly operation: "add" | "del" | "mod";
    readonly ref: string;
    readonly snapshot: unknown;
    readonly timestamp: string;
  };
  readonly Feature: {
    readonly enabled: boolean;
    readonly experimental: boolean;
    readonly host: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly uuid: string;
    readonly version: string;
  };
  readonly GPU_group: {
    readonly allocation_algorithm: "breadth_first" | "depth_first";
    readonly enabled_VGPU_types: readonly string[];
    readonly GPU_types: readonly string[];
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PGPUs: readonly string[];
    readonly supported_VGPU_types: readonly string[];
    readonly uuid: string;
    readonly VGPUs: readonly string[];
  };
  readonly host: {
    readonly address: string;
    readonly allowed_operations: readonly (
      | "provision"
      | "evacuate"
      | "shutdown"
      | "reboot"
      | "power_on"
      | "vm_start"
      | "vm_resume"
      | "vm_migrate"
      | "apply_updates"
      | "enable"
    )[];
    readonly API_version_major: number;
    readonly API_version_minor: number;
    readonly API_version_vendor: string;
    readonly API_version_vendor_implementation: Readonly<Record<string, string>>;
    readonly bios_strings: Readonly<Record<string, string>>;
    readonly blobs: Readonly<Record<string, string>>;
    readonly capabilities: readonly string[];
    readonly certificates: readonly string[];
    readonly chipset_info: Readonly<Record<string, string>>;
    readonly console_idle_timeout: number;
    readonly control_domain: string;
    readonly cpu_configuration: Readonly<Record<string, string>>;
    readonly cpu_info: Readonly<Record<string, string>>;
    readonly crash_dump_sr: string;
    readonly crashdumps: readonly string[];
    readonly current_operations: Readonly<
      Record<
        string,
        "provision" | "evacuate" | "shutdown" | "reboot" | "power_on" | "vm_start" | "vm_resume" | "vm_migrate" | "apply_updates" | "enable"
      >
    >;
    readonly display: "enabled" | "disable_on_reboot" | "disabled" | "enable_on_reboot";
    readonly edition: string;
    readonly editions: readonly string[];
    readonly enabled: boolean;
    readonly external_auth_configuration: Readonly<Record<string, string>>;
    readonly external_auth_service_name: string;
    readonly external_auth_type: string;
    readonly features: readonly string[];
    readonly guest_VCPUs_params: Readonly<Record<string, string>>;
    readonly ha_network_peers: readonly string[];
    readonly ha_statefiles: readonly string[];
    readonly host_CPUs: readonly string[];
    readonly hostname: string;
    readonly https_only: boolean;
    readonly iscsi_iqn: string;
    readonly last_software_update: string;
    readonly last_update_hash: string;
    readonly latest_synced_updates_applied: "yes" | "no" | "unknown";
    readonly license_params: Readonly<Record<string, string>>;
    readonly license_server: Readonly<Record<string, string>>;
    readonly local_cache_sr: string;
    readonly logging: Readonly<Record<string, string>>;
    readonly max_cstate: string;
    readonly memory_overhead: number;
    readonly metrics: string;
    readonly multipathing: boolean;
    readonly name_description: string;
    readonly name_label: string;
    readonly ntp_custom_servers: readonly string[];
    readonly ntp_mode: "DHCP" | "Custom" | "Factory" | "Disabled";
    readonly numa_affinity_policy: "any" | "best_effort" | "default_policy";
    readonly other_config: Readonly<Record<string, string>>;
    readonly patches: readonly string[];
    readonly PBDs: readonly string[];
    readonly PCIs: readonly string[];
    readonly pending_guidances: readonly (
      | "reboot_host"
      | "reboot_host_on_livepatch_failure"
      | "reboot_host_on_kernel_livepatch_failure"
      | "reboot_host_on_xen_livepatch_failure"
      | "restart_toolstack"
      | "restart_device_model"
      | "restart_vm"
    )[];
    readonly pending_guidances_full: readonly (
      | "reboot_host"
      | "reboot_host_on_livepatch_failure"
      | "reboot_host_on_kernel_livepatch_failure"
      | "reboot_host_on_xen_livepatch_failure"
      | "restart_toolstack"
      | "restart_device_model"
      | "restart_vm"
    )[];
    readonly pending_guidances_recommended: readonly (
      | "reboot_host"
      | "reboot_host_on_livepatch_failure"
      | "reboot_host_on_kernel_livepatch_failure"
      | "reboot_host_on_xen_livepatch_failure"
      | "restart_toolstack"
      | "restart_device_model"
      | "restart_vm"
    )[];
    readonly PGPUs: readonly string[];
    readonly PIFs: readonly string[];
    readonly power_on_config: Readonly<Record<string, string>>;
    readonly power_on_mode: string;
    readonly PUSBs: readonly string[];
    readonly resident_VMs: readonly string[];
    readonly sched_policy: string;
    readonly secure_boot: boolean;
    readonly software_version: Readonly<Record<string, string>>;
    readonly ssh_auto_mode: boolean;
    readonly ssh_enabled: boolean;
    readonly ssh_enabled_timeout: number;
    readonly ssh_expiry: string;
    readonly ssl_legacy: boolean;
    readonly supported_bootloaders: readonly string[];
    readonly suspend_image_sr: string;
    readonly tags: readonly string[];
    readonly timezone: string;
    readonly tls_verification_enabled: boolean;
    readonly uefi_certificates: string;
    readonly updates: readonly string[];
    readonly updates_requiring_reboot: readonly string[];
    readonly uuid: string;
    readonly virtual_hardware_platform_versions: readonly number[];
  };
  readonly host_cpu: {
    readonly family: number;
    readonly features: string;
    readonly flags: string;
    readonly host: string;
    readonly model: number;
    readonly modelname: string;
    readonly number: number;
    readonly other_config: Readonly<Record<string, string>>;
    readonly speed: number;
    readonly stepping: string;
    readonly utilisation: number;
    readonly uuid: string;
    readonly vendor: string;
  };
  readonly host_crashdump: {
    readonly host: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly size: number;
    readonly timestamp: string;
    readonly uuid: string;
  };
  readonly Host_driver: {
    readonly active_variant: string;
    readonly description: string;
    readonly friendly_name: string;
    readonly host: string;
    readonly info: string;
    readonly name: string;
    readonly selected_variant: string;
    readonly type: string;
    readonly uuid: string;
    readonly variants: readonly string[];
  };
  readonly host_metrics: {
    readonly last_updated: string;
    readonly live: boolean;
    readonly memory_free: number;
    readonly memory_total: number;
    readonly other_config: Readonly<Record<string, string>>;
    readonly uuid: string;
  };
  readonly host_patch: {
    readonly applied: boolean;
    readonly host: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly pool_patch: string;
    readonly size: number;
    readonly timestamp_applied: string;
    readonly uuid: string;
    readonly version: string;
  };
  readonly LVHD: {
    readonly uuid: string;
  };
  readonly message: {
    readonly body: string;
    readonly cls: "VM" | "Host" | "SR" | "Pool" | "VMPP" | "VMSS" | "PVS_proxy" | "VDI" | "Certificate";
    readonly name: string;
    readonly obj_uuid: string;
    readonly priority: number;
    readonly timestamp: string;
    readonly uuid: string;
  };
  readonly network: {
    readonly allowed_operations: readonly "attaching"[];
    readonly assigned_ips: Readonly<Record<string, string>>;
    readonly blobs: Readonly<Record<string, string>>;
    readonly bridge: string;
    readonly current_operations: Readonly<Record<string, "attaching">>;
    readonly default_locking_mode: "unlocked" | "disabled";
    readonly managed: boolean;
    readonly MTU: number;
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PIFs: readonly string[];
    readonly purpose: readonly ("nbd" | "insecure_nbd")[];
    readonly tags: readonly string[];
    readonly uuid: string;
    readonly VIFs: readonly string[];
  };
  readonly network_sriov: {
    readonly configuration_mode: "sysfs" | "modprobe" | "manual" | "unknown";
    readonly logical_PIF: string;
    readonly physical_PIF: string;
    readonly requires_reboot: boolean;
    readonly uuid: string;
  };
  readonly Observer: {
    readonly attributes: Readonly<Record<string, string>>;
    readonly components: readonly string[];
    readonly enabled: boolean;
    readonly endpoints: readonly string[];
    readonly hosts: readonly string[];
    readonly name_description: string;
    readonly name_label: string;
    readonly uuid: string;
  };
  readonly PBD: {
    readonly currently_attached: boolean;
    readonly device_config: Readonly<Record<string, string>>;
    readonly host: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly SR: string;
    readonly uuid: string;
  };
  readonly PCI: {
    readonly class_id: string;
    readonly class_name: string;
    readonly dependencies: readonly string[];
    readonly device_id: string;
    readonly device_name: string;
    readonly driver_name: string;
    readonly host: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly pci_id: string;
    readonly subsystem_device_id: string;
    readonly subsystem_device_name: string;
    readonly subsystem_vendor_id: string;
    readonly subsystem_vendor_name: string;
    readonly uuid: string;
    readonly vendor_id: string;
    readonly vendor_name: string;
  };
  readonly PGPU: {
    readonly compatibility_metadata: Readonly<Record<string, string>>;
    readonly dom0_access: "enabled" | "disable_on_reboot" | "disabled" | "enable_on_reboot";
    readonly enabled_VGPU_types: readonly string[];
    readonly GPU_group: string;
    readonly host: string;
    readonly is_system_display_device: boolean;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PCI: string;
    readonly resident_VGPUs: readonly string[];
    readonly supported_VGPU_max_capacities: Readonly<Record<string, number>>;
    readonly supported_VGPU_types: readonly string[];
    readonly uuid: string;
  };
  readonly PIF: {
    readonly bond_master_of: readonly string[];
    readonly bond_slave_of: string;
    readonly capabilities: readonly string[];
    readonly currently_attached: boolean;
    readonly device: string;
    readonly disallow_unplug: boolean;
    readonly DNS: string;
    readonly gateway: string;
    readonly host: string;
    readonly igmp_snooping_status: "enabled" | "disabled" | "unknown";
    readonly IP: string;
    readonly ip_configuration_mode: "None" | "DHCP" | "Static";
    readonly IPv6: readonly string[];
    readonly ipv6_configuration_mode: "None" | "DHCP" | "Static" | "Autoconf";
    readonly ipv6_gateway: string;
    readonly MAC: string;
    readonly managed: boolean;
    readonly management: boolean;
    readonly metrics: string;
    readonly MTU: number;
    readonly netmask: string;
    readonly network: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PCI: string;
    readonly physical: boolean;
    readonly primary_address_type: "IPv4" | "IPv6";
    readonly properties: Readonly<Record<string, string>>;
    readonly sriov_logical_PIF_of: readonly string[];
    readonly sriov_physical_PIF_of: readonly string[];
    readonly tunnel_access_PIF_of: readonly string[];
    readonly tunnel_transport_PIF_of: readonly string[];
    readonly uuid: string;
    readonly VLAN: number;
    readonly VLAN_master_of: string;
    readonly VLAN_slave_of: readonly string[];
  };
  readonly PIF_metrics: {
    readonly carrier: boolean;
    readonly device_id: string;
    readonly device_name: string;
    readonly duplex: boolean;
    readonly io_read_kbs: number;
    readonly io_write_kbs: number;
    readonly last_updated: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly pci_bus_path: string;
    readonly speed: number;
    readonly uuid: string;
    readonly vendor_id: string;
    readonly vendor_name: string;
  };
  readonly pool: {
    readonly allowed_operations: readonly (
      | "ha_enable"
      | "ha_disable"
      | "cluster_create"
      | "designate_new_master"
      | "configure_repositories"
      | "sync_updates"
      | "sync_bundle"
      | "get_updates"
      | "apply_updates"
      | "tls_verification_enable"
      | "cert_refresh"
      | "exchange_certificates_on_join"
      | "exchange_ca_certificates_on_join"
      | "copy_primary_host_certs"
      | "eject"
      | "exchange_crls_on_join"
    )[];
    readonly auto_update_vm_secureboot_certificates: boolean;
    readonly blobs: Readonly<Record<string, string>>;
    readonly client_certificate_auth_enabled: boolean;
    readonly client_certificate_auth_name: string;
    readonly coordinator_bias: boolean;
    readonly cpu_info: Readonly<Record<string, string>>;
    readonly crash_dump_SR: string;
    readonly current_operations: Readonly<
      Record<
        string,
        | "ha_enable"
        | "ha_disable"
        | "cluster_create"
        | "designate_new_master"
        | "configure_repositories"
        | "sync_updates"
        | "sync_bundle"
        | "get_updates"
        | "apply_updates"
        | "tls_verification_enable"
        | "cert_refresh"
        | "exchange_certificates_on_join"
        | "exchange_ca_certificates_on_join"
        | "copy_primary_host_certs"
        | "eject"
        | "exchange_crls_on_join"
      >
    >;
    readonly custom_uefi_certificates: string;
    readonly default_SR: string;
    readonly ext_auth_cache_enabled: boolean;
    readonly ext_auth_cache_expiry: number;
    readonly ext_auth_cache_size: number;
    readonly ext_auth_max_threads: number;
    readonly guest_agent_config: Readonly<Record<string, string>>;
    readonly gui_config: Readonly<Record<string, string>>;
    readonly ha_allow_overcommit: boolean;
    readonly ha_cluster_stack: string;
    readonly ha_configuration: Readonly<Record<string, string>>;
    readonly ha_enabled: boolean;
    readonly ha_host_failures_to_tolerate: number;
    readonly ha_overcommitted: boolean;
    readonly ha_plan_exists_for: number;
    readonly ha_reboot_vm_on_internal_shutdown: boolean;
    readonly ha_statefiles: readonly string[];
    readonly health_check_config: Readonly<Record<string, string>>;
    readonly igmp_snooping_enabled: boolean;
    readonly is_psr_pending: boolean;
    readonly last_update_sync: string;
    readonly license_server: Readonly<Record<string, string>>;
    readonly limit_console_sessions: boolean;
    readonly live_patching_disabled: boolean;
    readonly local_auth_max_threads: number;
    readonly master: string;
    readonly metadata_VDIs: readonly string[];
    readonly migration_compression: boolean;
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly policy_no_vendor_device: boolean;
    readonly recommendations: Readonly<Record<string, string>>;
    readonly redo_log_enabled: boolean;
    readonly redo_log_vdi: string;
    readonly repositories: readonly string[];
    readonly repository_proxy_password: string;
    readonly repository_proxy_url: string;
    readonly repository_proxy_username: string;
    readonly restrictions: Readonly<Record<string, string>>;
    readonly suspend_image_SR: string;
    readonly tags: readonly string[];
    readonly telemetry_frequency: "daily" | "weekly" | "monthly";
    readonly telemetry_next_collection: string;
    readonly telemetry_uuid: string;
    readonly tls_verification_enabled: boolean;
    readonly uefi_certificates: string;
    readonly update_sync_day: number;
    readonly update_sync_enabled: boolean;
    readonly update_sync_frequency: "daily" | "weekly";
    readonly uuid: string;
    readonly vm_console_idle_timeout: number;
    readonly vswitch_controller: string;
    readonly wlb_enabled: boolean;
    readonly wlb_url: string;
    readonly wlb_username: string;
    readonly wlb_verify_cert: boolean;
  };
  readonly pool_patch: {
    readonly after_apply_guidance: readonly ("restartHVM" | "restartPV" | "restartHost" | "restartXAPI")[];
    readonly host_patches: readonly string[];
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly pool_applied: boolean;
    readonly pool_update: string;
    readonly size: number;
    readonly uuid: string;
    readonly version: string;
  };
  readonly pool_update: {
    readonly after_apply_guidance: readonly ("restartHVM" | "restartPV" | "restartHost" | "restartXAPI")[];
    readonly enforce_homogeneity: boolean;
    readonly hosts: readonly string[];
    readonly installation_size: number;
    readonly key: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly uuid: string;
    readonly vdi: string;
    readonly version: string;
  };
  readonly probe_result: {
    readonly complete: boolean;
    readonly configuration: Readonly<Record<string, string>>;
    readonly extra_info: Readonly<Record<string, string>>;
    readonly sr: unknown | undefined;
  };
  readonly PUSB: {
    readonly description: string;
    readonly host: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly passthrough_enabled: boolean;
    readonly path: string;
    readonly product_desc: string;
    readonly product_id: string;
    readonly serial: string;
    readonly speed: number;
    readonly USB_group: string;
    readonly uuid: string;
    readonly vendor_desc: string;
    readonly vendor_id: string;
    readonly version: string;
  };
  readonly PVS_cache_storage: {
    readonly host: string;
    readonly site: string;
    readonly size: number;
    readonly SR: string;
    readonly uuid: string;
    readonly VDI: string;
  };
  readonly PVS_proxy: {
    readonly currently_attached: boolean;
    readonly site: string;
    readonly status: "stopped" | "initialised" | "caching" | "incompatible_write_cache_mode" | "incompatible_protocol_version";
    readonly uuid: string;
    readonly VIF: string;
  };
  readonly PVS_server: {
    readonly addresses: readonly string[];
    readonly first_port: number;
    readonly last_port: number;
    readonly site: string;
    readonly uuid: string;
  };
  readonly PVS_site: {
    readonly cache_storage: readonly string[];
    readonly name_description: string;
    readonly name_label: string;
    readonly proxies: readonly string[];
    readonly PVS_uuid: string;
    readonly servers: readonly string[];
    readonly uuid: string;
  };
  readonly Rate_limit: {
    readonly burst_size: number;
    readonly callers: readonly string[];
    readonly fill_rate: number;
    readonly name_description: string;
    readonly name_label: string;
    readonly uuid: string;
  };
  readonly Repository: {
    readonly binary_url: string;
    readonly certificate: string;
    readonly gpgkey_path: string;
    readonly hash: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly origin: "remote" | "bundle" | "remote_pool";
    readonly source_url: string;
    readonly up_to_date: boolean;
    readonly update: boolean;
    readonly uuid: string;
  };
  readonly role: {
    readonly is_internal: boolean;
    readonly name_description: string;
    readonly name_label: string;
    readonly subroles: readonly string[];
    readonly uuid: string;
  };
  readonly SDN_controller: {
    readonly address: string;
    readonly port: number;
    readonly protocol: "ssl" | "pssl";
    readonly uuid: string;
  };
  readonly secret: {
    readonly other_config: Readonly<Record<string, string>>;
    readonly uuid: string;
    readonly value: string;
  };
  readonly session: {
    readonly auth_user_name: string;
    readonly auth_user_sid: string;
    readonly client_certificate: boolean;
    readonly is_local_superuser: boolean;
    readonly last_active: string;
    readonly originator: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly parent: string;
    readonly pool: boolean;
    readonly rbac_permissions: readonly string[];
    readonly subject: string;
    readonly tasks: readonly string[];
    readonly this_host: string;
    readonly this_user: string;
    readonly uuid: string;
    readonly validation_time: string;
  };
  readonly SM: {
    readonly capabilities: readonly string[];
    readonly configuration: Readonly<Record<string, string>>;
    readonly copyright: string;
    readonly driver_filename: string;
    readonly features: Readonly<Record<string, number>>;
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly required_api_version: string;
    readonly required_cluster_stack: readonly string[];
    readonly supported_image_formats: readonly ("raw" | "vhd" | "qcow2")[];
    readonly type: string;
    readonly uuid: string;
    readonly vendor: string;
    readonly version: string;
  };
  readonly SR: {
    readonly allowed_operations: readonly (
      | "scan"
      | "destroy"
      | "forget"
      | "plug"
      | "unplug"
      | "update"
      | "vdi_create"
      | "vdi_introduce"
      | "vdi_destroy"
      | "vdi_resize"
      | "vdi_clone"
      | "vdi_snapshot"
      | "vdi_mirror"
      | "vdi_enable_cbt"
      | "vdi_disable_cbt"
      | "vdi_data_destroy"
      | "vdi_list_changed_blocks"
      | "vdi_set_on_boot"
      | "vdi_blocked"
      | "vdi_copy"
      | "vdi_force_unlock"
      | "vdi_forget"
      | "vdi_generate_config"
      | "vdi_resize_online"
      | "vdi_update"
      | "vdi_revert"
      | "pbd_create"
      | "pbd_destroy"
    )[];
    readonly blobs: Readonly<Record<string, string>>;
    readonly clustered: boolean;
    readonly content_type: string;
    readonly current_operations: Readonly<
      Record<
        string,
        | "scan"
        | "destroy"
        | "forget"
        | "plug"
        | "unplug"
        | "update"
        | "vdi_create"
        | "vdi_introduce"
        | "vdi_destroy"
        | "vdi_resize"
        | "vdi_clone"
        | "vdi_snapshot"
        | "vdi_mirror"
        | "vdi_enable_cbt"
        | "vdi_disable_cbt"
        | "vdi_data_destroy"
        | "vdi_list_changed_blocks"
        | "vdi_set_on_boot"
        | "vdi_blocked"
        | "vdi_copy"
        | "vdi_force_unlock"
        | "vdi_forget"
        | "vdi_generate_config"
        | "vdi_resize_online"
        | "vdi_update"
        | "vdi_revert"
        | "pbd_create"
        | "pbd_destroy"
      >
    >;
    readonly introduced_by: string;
    readonly is_tools_sr: boolean;
    readonly local_cache_enabled: boolean;
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PBDs: readonly string[];
    readonly physical_size: number;
    readonly physical_utilisation: number;
    readonly shared: boolean;
    readonly sm_config: Readonly<Record<string, string>>;
    readonly tags: readonly string[];
    readonly type: string;
    readonly uuid: string;
    readonly VDIs: readonly string[];
    readonly virtual_allocation: number;
  };
  readonly sr_stat: {
    readonly clustered: boolean;
    readonly free_space: number;
    readonly health: "healthy" | "recovering" | "unreachable" | "unavailable";
    readonly name_description: string;
    readonly name_label: string;
    readonly total_space: number;
    readonly uuid: string | undefined;
  };
  readonly subject: {
    readonly other_config: Readonly<Record<string, string>>;
    readonly roles: readonly string[];
    readonly subject_identifier: string;
    readonly uuid: string;
  };
  readonly task: {
    readonly allowed_operations: readonly ("cancel" | "destroy")[];
    readonly backtrace: string;
    readonly created: string;
    readonly current_operations: Readonly<Record<string, "cancel" | "destroy">>;
    readonly error_info: readonly string[];
    readonly finished: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly progress: number;
    readonly resident_on: string;
    readonly result: string;
    readonly status: "pending" | "success" | "failure" | "cancelling" | "cancelled";
    readonly subtask_of: string;
    readonly subtasks: readonly string[];
    readonly type: string;
    readonly uuid: string;
  };
  readonly tunnel: {
    readonly access_PIF: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly protocol: "gre" | "vxlan";
    readonly status: Readonly<Record<string, string>>;
    readonly transport_PIF: string;
    readonly uuid: string;
  };
  readonly USB_group: {
    readonly name_description: string;
    readonly name_label: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PUSBs: readonly string[];
    readonly uuid: string;
    readonly VUSBs: readonly string[];
  };
  readonly user: {
    readonly fullname: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly short_name: string;
    readonly uuid: string;
  };
  readonly VBD: {
    readonly allowed_operations: readonly ("attach" | "eject" | "insert" | "plug" | "unplug" | "unplug_force" | "pause" | "unpause")[];
    readonly bootable: boolean;
    readonly current_operations: Readonly<
      Record<string, "attach" | "eject" | "insert" | "plug" | "unplug" | "unplug_force" | "pause" | "unpause">
    >;
    readonly currently_attached: boolean;
    readonly device: string;
    readonly empty: boolean;
    readonly metrics: string;
    readonly mode: "RO" | "RW";
    readonly other_config: Readonly<Record<string, string>>;
    readonly qos_algorithm_params: Readonly<Record<string, string>>;
    readonly qos_algorithm_type: string;
    readonly qos_supported_algorithms: readonly string[];
    readonly runtime_properties: Readonly<Record<string, string>>;
    readonly status_code: number;
    readonly status_detail: string;
    readonly storage_lock: boolean;
    readonly type: "CD" | "Disk" | "Floppy";
    readonly unpluggable: boolean;
    readonly userdevice: string;
    readonly uuid: string;
    readonly VDI: string;
    readonly VM: string;
  };
  readonly VBD_metrics: {
    readonly io_read_kbs: number;
    readonly io_write_kbs: number;
    readonly last_updated: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly uuid: string;
  };
  readonly VDI: {
    readonly allow_caching: boolean;
    readonly allowed_operations: readonly (
      | "clone"
      | "copy"
      | "resize"
      | "resize_online"
      | "snapshot"
      | "mirror"
      | "destroy"
      | "forget"
      | "update"
      | "force_unlock"
      | "generate_config"
      | "enable_cbt"
      | "disable_cbt"
      | "data_destroy"
      | "list_changed_blocks"
      | "set_on_boot"
      | "blocked"
      | "revert_to"
      | "revert_from"
    )[];
    readonly cbt_enabled: boolean;
    readonly crash_dumps: readonly string[];
    readonly current_operations: Readonly<
      Record<
        string,
        | "clone"
        | "copy"
        | "resize"
        | "resize_online"
        | "snapshot"
        | "mirror"
        | "destroy"
        | "forget"
        | "update"
        | "force_unlock"
        | "generate_config"
        | "enable_cbt"
        | "disable_cbt"
        | "data_destroy"
        | "list_changed_blocks"
        | "set_on_boot"
        | "blocked"
        | "revert_to"
        | "revert_from"
      >
    >;
    readonly is_a_snapshot: boolean;
    readonly is_tools_iso: boolean;
    readonly location: string;
    readonly managed: boolean;
    readonly metadata_latest: boolean;
    readonly metadata_of_pool: string;
    readonly missing: boolean;
    readonly name_description: string;
    readonly name_label: string;
    readonly on_boot: "reset" | "persist";
    readonly other_config: Readonly<Record<string, string>>;
    readonly parent: string;
    readonly physical_utilisation: number;
    readonly read_only: boolean;
    readonly sharable: boolean;
    readonly sm_config: Readonly<Record<string, string>>;
    readonly snapshot_of: string;
    readonly snapshot_time: string;
    readonly snapshots: readonly string[];
    readonly SR: string;
    readonly storage_lock: boolean;
    readonly tags: readonly string[];
    readonly type:
      | "system"
      | "user"
      | "ephemeral"
      | "suspend"
      | "crashdump"
      | "ha_statefile"
      | "metadata"
      | "redo_log"
      | "rrd"
      | "pvs_cache"
      | "cbt_metadata";
    readonly uuid: string;
    readonly VBDs: readonly string[];
    readonly virtual_size: number;
    readonly xenstore_data: Readonly<Record<string, string>>;
  };
  readonly vdi_nbd_server_info: {
    readonly address: string;
    readonly cert: string;
    readonly exportname: string;
    readonly port: number;
    readonly subject: string;
  };
  readonly VGPU: {
    readonly compatibility_metadata: Readonly<Record<string, string>>;
    readonly currently_attached: boolean;
    readonly device: string;
    readonly extra_args: string;
    readonly GPU_group: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PCI: string;
    readonly resident_on: string;
    readonly scheduled_to_be_resident_on: string;
    readonly type: string;
    readonly uuid: string;
    readonly VM: string;
  };
  readonly VGPU_type: {
    readonly compatible_types_in_vm: readonly string[];
    readonly enabled_on_GPU_groups: readonly string[];
    readonly enabled_on_PGPUs: readonly string[];
    readonly experimental: boolean;
    readonly framebuffer_size: number;
    readonly identifier: string;
    readonly implementation: "passthrough" | "nvidia" | "nvidia_sriov" | "gvt_g" | "mxgpu";
    readonly max_heads: number;
    readonly max_resolution_x: number;
    readonly max_resolution_y: number;
    readonly model_name: string;
    readonly supported_on_GPU_groups: readonly string[];
    readonly supported_on_PGPUs: readonly string[];
    readonly uuid: string;
    readonly vendor_name: string;
    readonly VGPUs: readonly string[];
  };
  readonly VIF: {
    readonly allowed_operations: readonly ("attach" | "plug" | "unplug")[];
    readonly current_operations: Readonly<Record<string, "attach" | "plug" | "unplug">>;
    readonly currently_attached: boolean;
    readonly device: string;
    readonly ipv4_addresses: readonly string[];
    readonly ipv4_allowed: readonly string[];
    readonly ipv4_configuration_mode: "None" | "Static" | "DHCP";
    readonly ipv4_gateway: string;
    readonly ipv6_addresses: readonly string[];
    readonly ipv6_allowed: readonly string[];
    readonly ipv6_configuration_mode: "None" | "Static" | "Autoconf";
    readonly ipv6_gateway: string;
    readonly locking_mode: "network_default" | "locked" | "unlocked" | "disabled";
    readonly MAC: string;
    readonly MAC_autogenerated: boolean;
    readonly metrics: string;
    readonly MTU: number;
    readonly network: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly qos_algorithm_params: Readonly<Record<string, string>>;
    readonly qos_algorithm_type: string;
    readonly qos_supported_algorithms: readonly string[];
    readonly runtime_properties: Readonly<Record<string, string>>;
    readonly status_code: number;
    readonly status_detail: string;
    readonly trunks: readonly number[];
    readonly uuid: string;
    readonly VM: string;
  };
  readonly VIF_metrics: {
    readonly io_read_kbs: number;
    readonly io_write_kbs: number;
    readonly last_updated: string;
    readonly other_config: Readonly<Record<string, string>>;
    readonly uuid: string;
  };
  readonly VLAN: {
    readonly other_config: Readonly<Record<string, string>>;
    readonly tag: number;
    readonly tagged_PIF: string;
    readonly untagged_PIF: string;
    readonly uuid: string;
  };
  readonly VM: {
    readonly actions_after_crash: "destroy" | "coredump_and_destroy" | "restart" | "coredump_and_restart" | "preserve" | "rename_restart";
    readonly actions_after_reboot: "destroy" | "restart";
    readonly actions_after_shutdown: "destroy" | "restart";
    readonly actions_after_softreboot: "soft_reboot" | "destroy" | "restart" | "preserve";
    readonly affinity: string;
    readonly allowed_operations: readonly (
      | "snapshot"
      | "clone"
      | "copy"
      | "create_template"
      | "revert"
      | "checkpoint"
      | "snapshot_with_quiesce"
      | "provision"
      | "start"
      | "start_on"
      | "pause"
      | "unpause"
      | "clean_shutdown"
      | "clean_reboot"
      | "hard_shutdown"
      | "power_state_reset"
      | "hard_reboot"
      | "suspend"
      | "csvm"
      | "resume"
      | "resume_on"
      | "pool_migrate"
      | "migrate_send"
      | "get_boot_record"
      | "send_sysrq"
      | "send_trigger"
      | "query_services"
      | "shutdown"
      | "call_plugin"
      | "changing_memory_live"
      | "awaiting_memory_live"
      | "changing_dynamic_range"
      | "changing_static_range"
      | "changing_memory_limits"
      | "changing_shadow_memory"
      | "changing_shadow_memory_live"
      | "changing_VCPUs"
      | "changing_VCPUs_live"
      | "changing_NVRAM"
      | "assert_operation_valid"
      | "data_source_op"
      | "update_allowed_operations"
      | "make_into_template"
      | "import"
      | "export"
      | "metadata_export"
      | "reverting"
      | "destroy"
      | "create_vtpm"
      | "sysprep"
    )[];
    readonly appliance: string;
    readonly attached_PCIs: readonly string[];
    readonly bios_strings: Readonly<Record<string, string>>;
    readonly blobs: Readonly<Record<string, string>>;
    readonly blocked_operations: Readonly<Record<string, string>>;
    readonly children: readonly string[];
    readonly consoles: readonly string[];
    readonly crash_dumps: readonly string[];
    readonly current_operations: Readonly<
      Record<
        string,
        | "snapshot"
        | "clone"
        | "copy"
        | "create_template"
        | "revert"
        | "checkpoint"
        | "snapshot_with_quiesce"
        | "provision"
        | "start"
        | "start_on"
        | "pause"
        | "unpause"
        | "clean_shutdown"
        | "clean_reboot"
        | "hard_shutdown"
        | "power_state_reset"
        | "hard_reboot"
        | "suspend"
        | "csvm"
        | "resume"
        | "resume_on"
        | "pool_migrate"
        | "migrate_send"
        | "get_boot_record"
        | "send_sysrq"
        | "send_trigger"
        | "query_services"
        | "shutdown"
        | "call_plugin"
        | "changing_memory_live"
        | "awaiting_memory_live"
        | "changing_dynamic_range"
        | "changing_static_range"
        | "changing_memory_limits"
        | "changing_shadow_memory"
        | "changing_shadow_memory_live"
        | "changing_VCPUs"
        | "changing_VCPUs_live"
        | "changing_NVRAM"
        | "assert_operation_valid"
        | "data_source_op"
        | "update_allowed_operations"
        | "make_into_template"
        | "import"
        | "export"
        | "metadata_export"
        | "reverting"
        | "destroy"
        | "create_vtpm"
        | "sysprep"
      >
    >;
    readonly domain_type: "hvm" | "pv" | "pv_in_pvh" | "pvh" | "unspecified";
    readonly domarch: string;
    readonly domid: number;
    readonly generation_id: string;
    readonly groups: readonly string[];
    readonly guest_metrics: string;
    readonly ha_always_run: boolean;
    readonly ha_restart_priority: string;
    readonly hardware_platform_version: number;
    readonly has_vendor_device: boolean;
    readonly HVM_boot_params: Readonly<Record<string, string>>;
    readonly HVM_boot_policy: string;
    readonly HVM_shadow_multiplier: number;
    readonly is_a_snapshot: boolean;
    readonly is_a_template: boolean;
    readonly is_control_domain: boolean;
    readonly is_default_template: boolean;
    readonly is_snapshot_from_vmpp: boolean;
    readonly is_vmss_snapshot: boolean;
    readonly last_boot_CPU_flags: Readonly<Record<string, string>>;
    readonly last_booted_record: string;
    readonly memory_dynamic_max: number;
    readonly memory_dynamic_min: number;
    readonly memory_overhead: number;
    readonly memory_static_max: number;
    readonly memory_static_min: number;
    readonly memory_target: number;
    readonly metrics: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly NVRAM: Readonly<Record<string, string>>;
    readonly order: number;
    readonly other_config: Readonly<Record<string, string>>;
    readonly parent: string;
    readonly PCI_bus: string;
    readonly pending_guidances: readonly (
      | "reboot_host"
      | "reboot_host_on_livepatch_failure"
      | "reboot_host_on_kernel_livepatch_failure"
      | "reboot_host_on_xen_livepatch_failure"
      | "restart_toolstack"
      | "restart_device_model"
      | "restart_vm"
    )[];
    readonly pending_guidances_full: readonly (
      | "reboot_host"
      | "reboot_host_on_livepatch_failure"
      | "reboot_host_on_kernel_livepatch_failure"
      | "reboot_host_on_xen_livepatch_failure"
      | "restart_toolstack"
      | "restart_device_model"
      | "restart_vm"
    )[];
    readonly pending_guidances_recommended: readonly (
      | "reboot_host"
      | "reboot_host_on_livepatch_failure"
      | "reboot_host_on_kernel_livepatch_failure"
      | "reboot_host_on_xen_livepatch_failure"
      | "restart_toolstack"
      | "restart_device_model"
      | "restart_vm"
    )[];
    readonly platform: Readonly<Record<string, string>>;
    readonly power_state: "Halted" | "Paused" | "Running" | "Suspended";
    readonly protection_policy: string;
    readonly PV_args: string;
    readonly PV_bootloader: string;
    readonly PV_bootloader_args: string;
    readonly PV_kernel: string;
    readonly PV_legacy_args: string;
    readonly PV_ramdisk: string;
    readonly recommendations: string;
    readonly reference_label: string;
    readonly requires_reboot: boolean;
    readonly resident_on: string;
    readonly scheduled_to_be_resident_on: string;
    readonly secureboot_certificates_state: "ok" | "update_available" | "update_on_boot";
    readonly shutdown_delay: number;
    readonly snapshot_info: Readonly<Record<string, string>>;
    readonly snapshot_metadata: string;
    readonly snapshot_of: string;
    readonly snapshot_schedule: string;
    readonly snapshot_time: string;
    readonly snapshots: readonly string[];
    readonly start_delay: number;
    readonly suspend_SR: string;
    readonly suspend_VDI: string;
    readonly tags: readonly string[];
    readonly transportable_snapshot_id: string;
    readonly user_version: number;
    readonly uuid: string;
    readonly VBDs: readonly string[];
    readonly VCPUs_at_startup: number;
    readonly VCPUs_max: number;
    readonly VCPUs_params: Readonly<Record<string, string>>;
    readonly version: number;
    readonly VGPUs: readonly string[];
    readonly VIFs: readonly string[];
    readonly VTPMs: readonly string[];
    readonly VUSBs: readonly string[];
    readonly xenstore_data: Readonly<Record<string, string>>;
  };
  readonly VM_appliance: {
    readonly allowed_operations: readonly ("start" | "clean_shutdown" | "hard_shutdown" | "shutdown")[];
    readonly current_operations: Readonly<Record<string, "start" | "clean_shutdown" | "hard_shutdown" | "shutdown">>;
    readonly name_description: string;
    readonly name_label: string;
    readonly uuid: string;
    readonly VMs: readonly string[];
  };
  readonly VM_group: {
    readonly name_description: string;
    readonly name_label: string;
    readonly placement: "anti_affinity" | "normal";
    readonly uuid: string;
    readonly VMs: readonly string[];
  };
  readonly VM_guest_metrics: {
    readonly can_use_hotplug_vbd: "yes" | "no" | "unspecified";
    readonly can_use_hotplug_vif: "yes" | "no" | "unspecified";
    readonly disks: Readonly<Record<string, string>>;
    readonly last_updated: string;
    readonly live: boolean;
    readonly memory: Readonly<Record<string, string>>;
    readonly netbios_name: Readonly<Record<string, string>>;
    readonly networks: Readonly<Record<string, string>>;
    readonly os_version: Readonly<Record<string, string>>;
    readonly other: Readonly<Record<string, string>>;
    readonly other_config: Readonly<Record<string, string>>;
    readonly PV_drivers_detected: boolean;
    readonly PV_drivers_up_to_date: boolean;
    readonly PV_drivers_version: Readonly<Record<string, string>>;
    readonly services: Readonly<Record<string, string>>;
    readonly uuid: string;
  };
  readonly VM_metrics: {
    readonly current_domain_type: "hvm" | "pv" | "pv_in_pvh" | "pvh" | "unspecified";
    readonly hvm: boolean;
    readonly install_time: string;
    readonly last_updated: string;
    readonly memory_actual: number;
    readonly nested_virt: boolean;
    readonly nomigrate: boolean;
    readonly numa_node_memory: Readonly<Record<string, number>>;
    readonly numa_nodes: number;
    readonly numa_optimised: boolean;
    readonly other_config: Readonly<Record<string, string>>;
    readonly start_time: string;
    readonly state: readonly string[];
    readonly uuid: string;
    readonly VCPUs_CPU: Readonly<Record<string, number>>;
    readonly VCPUs_flags: Readonly<Record<string, readonly string[]>>;
    readonly VCPUs_number: number;
    readonly VCPUs_params: Readonly<Record<string, string>>;
    readonly VCPUs_utilisation: Readonly<Record<string, number>>;
  };
  readonly VMPP: {
    readonly alarm_config: Readonly<Record<string, string>>;
    readonly archive_frequency: "never" | "always_after_backup" | "daily" | "weekly";
    readonly archive_last_run_time: string;
    readonly archive_schedule: Readonly<Record<string, string>>;
    readonly archive_target_config: Readonly<Record<string, string>>;
    readonly archive_target_type: "none" | "cifs" | "nfs";
    readonly backup_frequency: "hourly" | "daily" | "weekly";
    readonly backup_last_run_time: string;
    readonly backup_retention_value: number;
    readonly backup_schedule: Readonly<Record<string, string>>;
    readonly backup_type: "snapshot" | "checkpoint";
    readonly is_alarm_enabled: boolean;
    readonly is_archive_running: boolean;
    readonly is_backup_running: boolean;
    readonly is_policy_enabled: boolean;
    readonly name_description: string;
    readonly name_label: string;
    readonly recent_alerts: readonly string[];
    readonly uuid: string;
    readonly VMs: readonly string[];
  };
  readonly VMSS: {
    readonly enabled: boolean;
    readonly frequency: "hourly" | "daily" | "weekly";
    readonly last_run_time: string;
    readonly name_description: string;
    readonly name_label: string;
    readonly retained_snapshots: number;
    readonly schedule: Readonly<Record<string, string>>;
    readonly type: "snapshot" | "checkpoint" | "snapshot_with_quiesce";
    readonly uuid: string;
    readonly VMs: readonly string[];
  };
  readonly VTPM: {
    readonly allowed_operations: readonly "destroy"[];
    readonly backend: string;
    readonly current_operations: Readonly<Record<string, "destroy">>;
    readonly is_protected: boolean;
    readonly is_unique: boolean;
    readonly persistence_backend: "xapi";
    readonly uuid: string;
    readonly VM: string;
  };
  readonly VUSB: {
    readonly allowed_operations: readonly ("attach" | "plug" | "unplug")[];
    readonly current_operations: Readonly<Record<string, "attach" | "plug" | "unplug">>;
    readonly currently_attached: boolean;
    readonly other_config: Readonly<Record<string, string>>;
    readonly USB_group: string;
    readonly uuid: string;
    readonly VM: string;
  };
}

export type ClassName = keyof Records;
