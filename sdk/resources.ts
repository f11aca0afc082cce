// Generated from the definitions in provider/ by sdk/generate.ts: `npm run sdk`. Not edited by hand.
/** The resource classes. */
import type * as pulumi from "@pulumi/pulumi";
import type {
  CheckPolicies,
  Connector,
  ConnectorConfigArgs,
  FinalizeArgs,
  FinalizeKms,
  FinalizeNgen,
  FinalizeOffice,
  FinalizeOnDelete,
  FinalizeTimeouts,
  OsLayerArgs,
  OsLayerOs,
  OsLayerSource,
  OsLayerSourceHypervisor,
  PackagingDiskArgs,
  PackagingDiskFormat,
  PackagingMachineArgs,
  PackagingMachineMode,
  PackagingMachineOnFailure,
  PackagingMachineSsh,
  PackagingMachineTimeouts,
  Platform,
  PlatformLayerArgs,
  PlatformLayerPurpose,
  Retention,
  Step,
  StepResult,
  Tls,
} from "./args.ts";
import { type ResourceShape, XenlayerResource } from "./dynamic.ts";

const connectorConfigShape: ResourceShape = {
  type: "ConnectorConfig",
  outputs: [
    "username",
    "password",
    "tls",
    "network",
    "toolsIso",
    "folder",
    "tags",
    "transferOverTls",
    "connectorId",
    "pool",
    "product",
    "apiVersion",
    "coordinator",
    "templateUuid",
    "storageRepositoryUuid",
    "networkUuid",
    "toolsIsoUuid",
    "capabilities",
  ],
  secrets: ["password"],
};

/**
 * Where layers are built or published: a pool, an account, a template and a storage repository. Creating it tests all of them, down to a
 * disk that is written and read back.
 */
export class ConnectorConfig extends XenlayerResource {
  /**
   * Any member of the pool, or several: host, host:port or URL. The coordinator is found from there. Plain http only when written as
   * http://.
   */
  declare readonly address: pulumi.Output<string | string[]>;
  /** Account on the pool; also XENLAYER_USERNAME or stack config `xenlayer:username`. */
  declare readonly username: pulumi.Output<string | undefined>;
  /**
   * Its password; also XENLAYER_PASSWORD (best where passwords rotate: not in the state, and what it says now counts), or stack config
   * `xenlayer:password`.
   */
  declare readonly password: pulumi.Output<string | undefined>;
  /** How the hosts' certificates are verified; by default against the system's authorities. */
  declare readonly tls: pulumi.Output<Tls | undefined>;
  /** name_label or uuid of the custom template that packaging machines are cloned from: no disk, at least one network card. */
  declare readonly template: pulumi.Output<string>;
  /** name_label or uuid of the storage repository that holds layers; it must be able to hold VHD disks. */
  declare readonly storageRepository: pulumi.Output<string>;
  /** name_label or uuid of the network of packaging machines; default: the template's. */
  declare readonly network: pulumi.Output<string | undefined>;
  /** name_label or uuid of the ISO with the VM tools, inserted into packaging machines. */
  declare readonly toolsIso: pulumi.Output<string | undefined>;
  /** XenCenter folder of packaging machines, as /layers/packaging; default: the template's. */
  declare readonly folder: pulumi.Output<string | undefined>;
  /** Tags of packaging machines, beside the template's and xenlayer's own. */
  declare readonly tags: pulumi.Output<string[] | undefined>;
  /** false moves disks over plain http, for speed; refused where hosts are https-only. Default: `true`. */
  declare readonly transferOverTls: pulumi.Output<boolean>;
  /** The owner of everything made through this connector. */
  declare readonly connectorId: pulumi.Output<string>;
  /** uuid of the pool. */
  declare readonly pool: pulumi.Output<string>;
  /** Product and version, as `XenServer 8.4.0`. */
  declare readonly product: pulumi.Output<string>;
  /** XAPI's version, as `2.21`. */
  declare readonly apiVersion: pulumi.Output<string>;
  /** name_label of the pool's coordinator. */
  declare readonly coordinator: pulumi.Output<string>;
  /** uuid of the template. */
  declare readonly templateUuid: pulumi.Output<string>;
  /** uuid of the storage repository. */
  declare readonly storageRepositoryUuid: pulumi.Output<string>;
  /** uuid of the network. */
  declare readonly networkUuid: pulumi.Output<string | undefined>;
  /** uuid of the tools ISO. */
  declare readonly toolsIsoUuid: pulumi.Output<string | undefined>;
  /** What pool and account allow beyond the least: resize, snapshot-console, … */
  declare readonly capabilities: pulumi.Output<string[]>;

  constructor(name: string, args: ConnectorConfigArgs, opts?: pulumi.CustomResourceOptions) {
    super(connectorConfigShape, name, args, opts);
  }
}

const osLayerShape: ResourceShape = {
  type: "OsLayer",
  outputs: ["description", "account", "sourceHypervisor", "os", "layerId", "versionId", "vdiUuid", "sizeGiB", "hardware", "holder"],
  secrets: ["connector.password"],
};

/**
 * An OS layer: the base of platform layers. Each `version` is one disk, taken from an image file, a VM, a template or a disk; a new
 * `version` adds one and the older ones stay.
 */
export class OsLayer extends XenlayerResource {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  declare readonly connector: pulumi.Output<Connector>;
  /** Name of the OS layer, unique among the connector's layers. */
  declare readonly name: pulumi.Output<string>;
  /** Name of the version that `source` becomes. Another name adds a version; the older ones stay. */
  declare readonly version: pulumi.Output<string>;
  /** Where the operating system comes from: exactly one of file, vm, template, vdi. */
  declare readonly source: pulumi.Output<OsLayerSource>;
  /** Free text. */
  declare readonly description: pulumi.Output<string>;
  /** The account that created the OS: shown when somebody must log in to a packaging machine. */
  declare readonly account: pulumi.Output<string | undefined>;
  /** The hypervisor that the OS was installed on. Default: `xenserver`. */
  declare readonly sourceHypervisor: pulumi.Output<OsLayerSourceHypervisor>;
  /** Which guest side is used for packaging and finalizing. Default: `windows`. */
  declare readonly os: pulumi.Output<OsLayerOs>;
  /** Id of the layer: the uuid of its record. */
  declare readonly layerId: pulumi.Output<string>;
  /** Id of this version. */
  declare readonly versionId: pulumi.Output<string>;
  /** uuid of this version's disk. */
  declare readonly vdiUuid: pulumi.Output<string>;
  /** Virtual size of the disk in GiB. */
  declare readonly sizeGiB: pulumi.Output<number>;
  /** Facts packaging machines are compared with: firmware, secureBoot, vtpm, vcpus, memoryGiB, nics. */
  declare readonly hardware: pulumi.Output<Record<string, string>>;
  /** Token of this hold on the layer; a later hold makes an earlier one's delete harmless. */
  declare readonly holder: pulumi.Output<string>;

  constructor(name: string, args: OsLayerArgs, opts?: pulumi.CustomResourceOptions) {
    super(osLayerShape, name, args, opts);
  }
}

const platformLayerShape: ResourceShape = {
  type: "PlatformLayer",
  outputs: ["description", "icon", "comment", "retention", "layerId", "recordUuid", "holder"],
  secrets: ["connector.password"],
};

/**
 * A platform layer: the software and settings that images need on one hypervisor, provisioning service and connection broker. It owns its
 * versions: deleting it removes them.
 */
export class PlatformLayer extends XenlayerResource {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  declare readonly connector: pulumi.Output<Connector>;
  /** Name of the layer, unique among the connector's layers. */
  declare readonly name: pulumi.Output<string>;
  /** Id of the OS layer it belongs to for good (`os.layerId`). */
  declare readonly osLayer: pulumi.Output<string>;
  /** packaging: used while making layers; publishing: part of published images. */
  declare readonly purpose: pulumi.Output<PlatformLayerPurpose>;
  /** What the layer is for. packaging takes only the hypervisor, publishing requires all three. */
  declare readonly platform: pulumi.Output<Platform>;
  /** Free text. */
  declare readonly description: pulumi.Output<string>;
  /**
   * Path of a PNG or JPG file (at most 1024 x 1024 pixels, 512 KiB), `builtin:windows`, `builtin:linux`, `builtin:layer`, or
   * `layer:<layerId>`.
   */
  declare readonly icon: pulumi.Output<string | undefined>;
  /** Becomes an entry of the audit history at create and at each change of it. */
  declare readonly comment: pulumi.Output<string | undefined>;
  /** What becomes of versions that no program holds any more; default: they stay. */
  declare readonly retention: pulumi.Output<Retention | undefined>;
  /** Id of the layer: the uuid of its record. */
  declare readonly layerId: pulumi.Output<string>;
  /** uuid of the record's VDI. */
  declare readonly recordUuid: pulumi.Output<string>;
  /** Token of this hold on the layer. */
  declare readonly holder: pulumi.Output<string>;

  constructor(name: string, args: PlatformLayerArgs, opts?: pulumi.CustomResourceOptions) {
    super(platformLayerShape, name, args, opts);
  }
}

const packagingDiskShape: ResourceShape = {
  type: "PackagingDisk",
  outputs: [
    "baseVersion",
    "osVersion",
    "base",
    "fileName",
    "format",
    "sizeGiB",
    "triggers",
    "comment",
    "versionId",
    "vdiUuid",
    "location",
    "basedOn",
    "holder",
  ],
  secrets: ["connector.password"],
};

/**
 * A new version of a platform layer, being edited: a clone of its base's disk in the same storage repository, a copy across storage
 * repositories. It becomes the version when it is sealed by Finalize.
 */
export class PackagingDisk extends XenlayerResource {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  declare readonly connector: pulumi.Output<Connector>;
  /** Id of the platform layer (`layer.layerId`). */
  declare readonly layer: pulumi.Output<string>;
  /** Name of the new version, unique in the layer. */
  declare readonly version: pulumi.Output<string>;
  /** Name of the version of this layer to start from; default: its latest sealed one. */
  declare readonly baseVersion: pulumi.Output<string | undefined>;
  /** Name of a version of the OS layer to start afresh from (rebase). */
  declare readonly osVersion: pulumi.Output<string | undefined>;
  /** Resolved by xenlayer, shown for review: `<layer>/<version>` this version is based on. Don't set it. */
  declare readonly base: pulumi.Output<string | undefined>;
  /** name_label of the disk; default: `<layer> <version>`. */
  declare readonly fileName: pulumi.Output<string | undefined>;
  /** Disk format: what the storage repository can hold. Default: `vhd`. */
  declare readonly format: pulumi.Output<PackagingDiskFormat>;
  /** Virtual size in GiB; can only grow. Default: the base's. */
  declare readonly sizeGiB: pulumi.Output<number | undefined>;
  /** Digests by a name that people read; a changed one clones the disk anew. */
  declare readonly triggers: pulumi.Output<Record<string, string> | undefined>;
  /** Becomes an entry of the audit history. */
  declare readonly comment: pulumi.Output<string | undefined>;
  /** Id of the version; the same as the resource's id. */
  declare readonly versionId: pulumi.Output<string>;
  /** uuid of the disk. */
  declare readonly vdiUuid: pulumi.Output<string>;
  /** Where it is: `<storage repository>/<name_label> (<uuid>)`. */
  declare readonly location: pulumi.Output<string>;
  /** What it is based on, as `plat/2.2` or `win11/1.0`. */
  declare readonly basedOn: pulumi.Output<string>;
  /** Token of this hold on the version. */
  declare readonly holder: pulumi.Output<string>;

  constructor(name: string, args: PackagingDiskArgs, opts?: pulumi.CustomResourceOptions) {
    super(packagingDiskShape, name, args, opts);
  }
}

const packagingMachineShape: ResourceShape = {
  type: "PackagingMachine",
  outputs: [
    "install",
    "cleanup",
    "files",
    "media",
    "mode",
    "checks",
    "cpus",
    "memoryGiB",
    "network",
    "toolsIso",
    "ssh",
    "runScript",
    "timeouts",
    "onFailure",
    "versionId",
    "vmUuid",
    "consoleUrl",
    "ipAddresses",
    "toolsVersion",
    "steps",
    "ready",
    "holder",
  ],
  secrets: ["connector.password", "install.*.secretEnv", "cleanup.*.secretEnv", "ssh.privateKey", "ssh.password"],
};

/**
 * The temporary VM that boots the packaging disk and runs the install steps, cloned from the connector's template. It is removed when its
 * version is sealed.
 */
export class PackagingMachine extends XenlayerResource {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  declare readonly connector: pulumi.Output<Connector>;
  /** Id of the PackagingDisk. */
  declare readonly disk: pulumi.Output<string>;
  /** Steps in order. */
  declare readonly install: pulumi.Output<Step[]>;
  /** Steps after the others: remove installers, settings and files that don't belong into the layer. */
  declare readonly cleanup: pulumi.Output<Step[]>;
  /** Files for the steps: name to path. Steps find them in the folder XENLAYER_FILES. */
  declare readonly files: pulumi.Output<Record<string, string> | undefined>;
  /** name_label or uuid of ISO images with installers. */
  declare readonly media: pulumi.Output<string[] | undefined>;
  /** manual: an engineer installs at the machine and runs Shutdown For Finalize; no steps are run. Default: `automatic`. */
  declare readonly mode: pulumi.Output<PackagingMachineMode>;
  /**
   * Policy per check: fix, block, warn or ignore; the same as for Finalize. In manual mode Shutdown For Finalize goes by it; in automatic
   * mode what has to end before the machine is powered off.
   */
  declare readonly checks: pulumi.Output<CheckPolicies | undefined>;
  /** vCPUs; default: the template's. */
  declare readonly cpus: pulumi.Output<number | undefined>;
  /** Memory in GiB; default: the template's. Needs vm-power-admin. */
  declare readonly memoryGiB: pulumi.Output<number | undefined>;
  /** name_label or uuid of the network; default: the connector's. */
  declare readonly network: pulumi.Output<string | undefined>;
  /** name_label or uuid of the ISO with the VM tools; default: the connector's. */
  declare readonly toolsIso: pulumi.Output<string | undefined>;
  /** How to log in where the OS layer runs no orders: the bootstrap is installed by SSH, for this version alone. */
  declare readonly ssh: pulumi.Output<PackagingMachineSsh | undefined>;
  /**
   * Installs the bootstrap through run-script of the guest's agent, for this version alone: only where the pool allows it, the role is
   * vm-power-admin and XenServer's VM tools for Windows offer it.
   */
  declare readonly runScript: pulumi.Output<boolean | undefined>;
  /** Limits of the waits. */
  declare readonly timeouts: pulumi.Output<PackagingMachineTimeouts>;
  /** What becomes of the machine when a step fails: keep it for a look and resume, or delete it. Default: `keep`. */
  declare readonly onFailure: pulumi.Output<PackagingMachineOnFailure>;
  /** Id of the version. */
  declare readonly versionId: pulumi.Output<string>;
  /** uuid of the VM (gone once the version is sealed). */
  declare readonly vmUuid: pulumi.Output<string>;
  /** Where its console is. */
  declare readonly consoleUrl: pulumi.Output<string>;
  /** Addresses the guest's tools reported last. */
  declare readonly ipAddresses: pulumi.Output<string[]>;
  /** Version of the VM tools that answered last; empty = none. */
  declare readonly toolsVersion: pulumi.Output<string>;
  /** What each step ended with: exit code, duration, SHA-256 of its log. */
  declare readonly steps: pulumi.Output<StepResult[]>;
  /** Whether every step is done. */
  declare readonly ready: pulumi.Output<boolean>;
  /** Token of this hold on the version. */
  declare readonly holder: pulumi.Output<string>;

  constructor(name: string, args: PackagingMachineArgs, opts?: pulumi.CustomResourceOptions) {
    super(packagingMachineShape, name, args, opts);
  }
}

const finalizeShape: ResourceShape = {
  type: "Finalize",
  outputs: [
    "checks",
    "ngen",
    "kms",
    "office",
    "timeouts",
    "ssh",
    "runScript",
    "comment",
    "onDelete",
    "versionId",
    "vdiUuid",
    "report",
    "deltaGiB",
    "sealedAt",
    "holder",
  ],
  secrets: ["connector.password", "ssh.privateKey", "ssh.password"],
};

/**
 * Seals a version: proves that every step ran, waits until the guest is provably ready, shuts it down, demands a fresh verdict, makes the
 * disk the version and removes the machine. Deleting it releases the version to its layer.
 */
export class Finalize extends XenlayerResource {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  declare readonly connector: pulumi.Output<Connector>;
  /** Id of the PackagingDisk. */
  declare readonly disk: pulumi.Output<string>;
  /** Id of the PackagingMachine. */
  declare readonly machine: pulumi.Output<string>;
  /** Name of the version; must be the disk's. */
  declare readonly version: pulumi.Output<string>;
  /** Policy per check: fix, block, warn or ignore. */
  declare readonly checks: pulumi.Output<CheckPolicies | undefined>;
  /** What is done about queued NGen work: wait, execute-queued or update-force. Default: `execute-queued`. */
  declare readonly ngen: pulumi.Output<FinalizeNgen>;
  /** rearm: KMS is rearmed as the last act; refused at a remaining count of 0. Default: `none`. */
  declare readonly kms: pulumi.Output<FinalizeKms>;
  /**
   * rearm: an Office whose products are all licensed by KMS is rearmed once, just before KMS; refused where others are among them. Each
   * Office has five. Default: none.
   */
  declare readonly office: pulumi.Output<FinalizeOffice | undefined>;
  /** Limits. */
  declare readonly timeouts: pulumi.Output<FinalizeTimeouts>;
  /** How to log in where the OS layer runs no orders: the bootstrap is installed by SSH, for this version alone. */
  declare readonly ssh: pulumi.Output<PackagingMachineSsh | undefined>;
  /**
   * Installs the bootstrap through run-script of the guest's agent, for this version alone: only where the pool allows it, the role is
   * vm-power-admin and XenServer's VM tools for Windows offer it.
   */
  declare readonly runScript: pulumi.Output<boolean | undefined>;
  /** Becomes an entry of the audit history. */
  declare readonly comment: pulumi.Output<string | undefined>;
  /** release: the version stays in the layer; destroy: it is removed, once nothing uses it. Default: `release`. */
  declare readonly onDelete: pulumi.Output<FinalizeOnDelete>;
  /** Id of the sealed version. */
  declare readonly versionId: pulumi.Output<string>;
  /** uuid of the sealed disk. */
  declare readonly vdiUuid: pulumi.Output<string>;
  /** Summary of the finalize report and the digest of the whole (getVersionReport). */
  declare readonly report: pulumi.Output<Record<string, unknown>>;
  /** What the version adds to its base, in GiB; absent where the storage repository can't tell. */
  declare readonly deltaGiB: pulumi.Output<number | undefined>;
  /** When it was sealed, ISO 8601. */
  declare readonly sealedAt: pulumi.Output<string>;
  /** Token of this hold on the version. */
  declare readonly holder: pulumi.Output<string>;

  constructor(name: string, args: FinalizeArgs, opts?: pulumi.CustomResourceOptions) {
    super(finalizeShape, name, args, opts);
  }
}

/** Which input of a LayerVersion goes to which of its parts. */
export const layerVersionParts = {
  disk: ["connector", "layer", "version", "baseVersion", "osVersion", "fileName", "format", "sizeGiB"],
  machine: [
    "connector",
    "install",
    "cleanup",
    "files",
    "media",
    "mode",
    "checks",
    "cpus",
    "memoryGiB",
    "network",
    "toolsIso",
    "ssh",
    "runScript",
    "timeouts",
    "onFailure",
  ],
  finalize: ["connector", "version", "checks", "ngen", "kms", "office", "timeouts", "ssh", "runScript", "comment", "onDelete"],
} as const;

/** The same for its timeouts. */
export const layerVersionTimeouts = {
  machine: ["bootMinutes", "packageMinutes"],
  finalize: ["finalizeMinutes", "rebootMax", "sampleGapSeconds"],
} as const;
