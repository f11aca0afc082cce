// Generated from the definitions in provider/ by sdk/generate.ts: `npm run sdk`. Not edited by hand.
/** What the classes and functions of this package take and give. */
import type * as pulumi from "@pulumi/pulumi";

export type OsLayerSourceFormat = "raw" | "vhd" | "qcow2";

export type OsLayerSourceHypervisor = "xenserver" | "vsphere" | "hyperv" | "acropolis" | "azure" | "aws" | "otherHypervisor";

export type OsLayerOs = "windows" | "linux";

export type PlatformLayerPurpose = "packaging" | "publishing";

export type PlatformHypervisor = "xenserver" | "vsphere" | "hyperv" | "acropolis" | "azure" | "aws" | "gcp" | "otherHypervisor";

export type PlatformProvisioningService = "none" | "mcs" | "pvs" | "viewcomposer" | "otherProvisioning";

export type PlatformConnectionBroker = "none" | "xendesktop" | "xenapp" | "view" | "rds" | "azurerdsh" | "otherBroker";

export type PackagingDiskFormat = "vhd" | "qcow2";

export type StepShell = "cmd" | "powershell" | "sh";

export type PackagingMachineMode = "automatic" | "manual";

export type CheckPolicy = "fix" | "block" | "warn" | "ignore";

export type PackagingMachineOnFailure = "keep" | "delete";

export type FinalizeNgen = "wait" | "execute-queued" | "update-force";

export type FinalizeKms = "rearm" | "none";

export type FinalizeOffice = "rearm" | "none";

export type FinalizeOnDelete = "release" | "destroy";

export type GetLayerKind = "os" | "platform";

export type ReportOrder = "package" | "finalize";

export type ReportState = "ready" | "blocked" | "failed" | "neverRan";

export type ReportCheckPolicy = "fix" | "block" | "warn" | "ignore";

export type ReportCheckVerdict = "ready" | "pending" | "failed" | "warned" | "ignored";

export type ReportSampleRound = "a" | "b" | "c";

export type ReportSampleState = "ready" | "pending" | "failed";

export type ReportFactAnswer = "said" | "absent" | "missing";

export type ReportKmsState = "ready" | "notApplicable" | "failed" | "off";

export type ReportStepState = "none" | "running" | "done" | "reboot" | "failed";

export type ReportPictureType = "image/jpeg" | "image/png";

/** How the hosts' certificates are verified; by default against the system's authorities. */
export interface TlsArgs {
  /** false accepts any certificate: for tests only. Default: `true`. */
  verify?: pulumi.Input<boolean | undefined>;
  /** PEM of the authority that signed the hosts' certificates. */
  caCertificate?: pulumi.Input<string | undefined>;
  /** SHA-256 fingerprints of the hosts' own certificates, one per host. */
  fingerprints?: pulumi.Input<pulumi.Input<string>[] | undefined>;
}

/** The connector: `connector.settings` of a ConnectorConfig. */
export interface ConnectorArgs {
  /**
   * Any member of the pool, or several: host, host:port or URL. The coordinator is found from there. Plain http only when written as
   * http://.
   */
  address: pulumi.Input<string | pulumi.Input<string>[]>;
  /** Account on the pool; also XENLAYER_USERNAME or stack config `xenlayer:username`. */
  username?: pulumi.Input<string | undefined>;
  /**
   * Its password; also XENLAYER_PASSWORD (best where passwords rotate: not in the state, and what it says now counts), or stack config
   * `xenlayer:password`.
   */
  password?: pulumi.Input<string | undefined>;
  /** How the hosts' certificates are verified; by default against the system's authorities. */
  tls?: pulumi.Input<TlsArgs | undefined>;
  /** name_label or uuid of the custom template that packaging machines are cloned from: no disk, at least one network card. */
  template: pulumi.Input<string>;
  /** name_label or uuid of the storage repository that holds layers; it must be able to hold VHD disks. */
  storageRepository: pulumi.Input<string>;
  /** name_label or uuid of the network of packaging machines; default: the template's. */
  network?: pulumi.Input<string | undefined>;
  /** name_label or uuid of the ISO with the VM tools, inserted into packaging machines. */
  toolsIso?: pulumi.Input<string | undefined>;
  /** XenCenter folder of packaging machines, as /layers/packaging; default: the template's. */
  folder?: pulumi.Input<string | undefined>;
  /** Tags of packaging machines, beside the template's and xenlayer's own. */
  tags?: pulumi.Input<pulumi.Input<string>[] | undefined>;
  /** false moves disks over plain http, for speed; refused where hosts are https-only. Default: `true`. */
  transferOverTls?: pulumi.Input<boolean | undefined>;
  /** The ConnectorConfig's connectorId: the owner of everything made through it. */
  connectorId: pulumi.Input<string>;
}

/** Where the operating system comes from: exactly one of file, vm, template, vdi. */
export interface OsLayerSourceArgs {
  /** Path of a VHD, raw or QCOW2 disk image; streamed sparsely. */
  file?: pulumi.Input<string | undefined>;
  /** Format of `file`; default: found out. A file that is not what this says is refused. */
  format?: pulumi.Input<OsLayerSourceFormat | undefined>;
  /** name_label or uuid of a halted VM whose first disk is copied. */
  vm?: pulumi.Input<string | undefined>;
  /** name_label or uuid of a template whose first disk is copied. */
  template?: pulumi.Input<string | undefined>;
  /** name_label or uuid of a disk that is copied. */
  vdi?: pulumi.Input<string | undefined>;
}

/** What the layer is for. packaging takes only the hypervisor, publishing requires all three. */
export interface PlatformArgs {
  /** Hypervisor. */
  hypervisor: pulumi.Input<PlatformHypervisor>;
  /** Provisioning service; required for publishing, `none` is a value. */
  provisioningService?: pulumi.Input<PlatformProvisioningService | undefined>;
  /** Connection broker; required for publishing, `none` is a value. */
  connectionBroker?: pulumi.Input<PlatformConnectionBroker | undefined>;
}

/** What becomes of versions that no program holds any more; default: they stay. */
export interface RetentionArgs {
  /** Released versions that are kept. */
  keep?: pulumi.Input<number | undefined>;
  /** Released versions older than this are removed. */
  maxAgeDays?: pulumi.Input<number | undefined>;
}

export interface StepArgs {
  /** What the step installs; shown while it runs. */
  name: pulumi.Input<string>;
  /** The text of the script. It runs as the guest's system account; its last exit code is the step's. */
  run: pulumi.Input<string>;
  /** Which program runs it: cmd or powershell on Windows, sh on Linux. */
  shell: pulumi.Input<StepShell>;
  /** Environment of this step only. */
  env?: pulumi.Input<Record<string, pulumi.Input<string>> | undefined>;
  /** Secret environment of this step only; deleted from the payload disk when the step has ended. */
  secretEnv?: pulumi.Input<Record<string, pulumi.Input<string>> | undefined>;
  /** Exit codes that mean success. Default: `[0]`. */
  expectExit?: pulumi.Input<pulumi.Input<number>[] | undefined>;
  /** Exit codes that mean success once the guest has restarted. Default: `[3010,1641,194]`. */
  rebootExit?: pulumi.Input<pulumi.Input<number>[] | undefined>;
  /** After this time the step counts as failed. Default: `60`. */
  timeoutMinutes?: pulumi.Input<number | undefined>;
}

/**
 * Policy per check: fix, block, warn or ignore; the same as for Finalize. In manual mode Shutdown For Finalize goes by it; in automatic
 * mode what has to end before the machine is powered off.
 */
export interface CheckPoliciesArgs {
  /** Drivers of the boot disk. Default: `fix`. */
  bootDiskDrivers?: pulumi.Input<CheckPolicy | undefined>;
  /** Restart after an installation. Default: `fix`. */
  pendingReboot?: pulumi.Input<CheckPolicy | undefined>;
  /** Installation in progress. Default: `fix`. */
  installer?: pulumi.Input<CheckPolicy | undefined>;
  /** Microsoft NGen. Default: `fix`. */
  ngen?: pulumi.Input<CheckPolicy | undefined>;
  /** Microsoft NGen needed. Default: `fix`. */
  ngenNeeded?: pulumi.Input<CheckPolicy | undefined>;
  /** RunOnce. Default: `block`. */
  runOnce?: pulumi.Input<CheckPolicy | undefined>;
  /** VM tools. Default: `fix`. */
  vmTools?: pulumi.Input<CheckPolicy | undefined>;
  /** Windows servicing. Default: `fix`. */
  servicing?: pulumi.Input<CheckPolicy | undefined>;
  /** Windows upgrade. Default: `fix`. */
  windowsUpgrade?: pulumi.Input<CheckPolicy | undefined>;
  /** Start of the guest. Default: `fix`. */
  startup?: pulumi.Input<CheckPolicy | undefined>;
  /** System volume. Default: `fix`. */
  systemVolume?: pulumi.Input<CheckPolicy | undefined>;
  /** BitLocker. Default: `block`. */
  bitLocker?: pulumi.Input<CheckPolicy | undefined>;
  /** Configuration Manager client. Default: `block`. */
  smsConfig?: pulumi.Input<CheckPolicy | undefined>;
  /** WEM agent. Default: `block`. */
  wemKey?: pulumi.Input<CheckPolicy | undefined>;
  /** FSLogix. Default: `warn`. */
  fsLogix?: pulumi.Input<CheckPolicy | undefined>;
  /** The machine's own identity. Default: `warn`. */
  machineIdentity?: pulumi.Input<CheckPolicy | undefined>;
  /** Version of the PV drivers. Default: `warn`. */
  pvDrivers?: pulumi.Input<CheckPolicy | undefined>;
  /** What the layer says it is. Default: `warn`. */
  platformSays?: pulumi.Input<CheckPolicy | undefined>;
  /** Left behind. Default: `warn`. */
  residue?: pulumi.Input<CheckPolicy | undefined>;
}

/** How to log in where the OS layer runs no orders: the bootstrap is installed by SSH, for this version alone. */
export interface PackagingMachineSshArgs {
  /** An administrator; on Linux root, or whom sudo asks for no password. */
  username: pulumi.Input<string>;
  /** Private key (OpenSSH or PEM, without a passphrase). */
  privateKey?: pulumi.Input<string | undefined>;
  /** Password, where there is no key. */
  password?: pulumi.Input<string | undefined>;
  /** Fingerprint of the guest's host key, as `ssh-keygen -lf` prints it. */
  hostKeyFingerprint: pulumi.Input<string>;
  /** Where it listens; default: the address that the VM's tools report. */
  address?: pulumi.Input<string | undefined>;
  /** Port. Default: `22`. */
  port?: pulumi.Input<number | undefined>;
}

/** Limits of the waits. */
export interface PackagingMachineTimeoutsArgs {
  /** Until the guest's bootstrap must have been heard. Default: `15`. */
  bootMinutes?: pulumi.Input<number | undefined>;
  /** Until all steps must be done (manual mode: until the engineer is). Default: `240`. */
  packageMinutes?: pulumi.Input<number | undefined>;
}

/** Limits. */
export interface FinalizeTimeoutsArgs {
  /** Until the guest must have reported and powered off. Default: `120`. */
  finalizeMinutes?: pulumi.Input<number | undefined>;
  /** Restarts that pending work may cost. Default: `3`. */
  rebootMax?: pulumi.Input<number | undefined>;
  /** Between the two samples of every fact. Default: `15`. */
  sampleGapSeconds?: pulumi.Input<number | undefined>;
}

/** Limits of the waits, of packaging and of finalizing. */
export interface LayerVersionTimeoutsArgs {
  /** Until the guest's bootstrap must have been heard. Default: `15`. */
  bootMinutes?: pulumi.Input<number | undefined>;
  /** Until all steps must be done (manual mode: until the engineer is). Default: `240`. */
  packageMinutes?: pulumi.Input<number | undefined>;
  /** Until the guest must have reported and powered off. Default: `120`. */
  finalizeMinutes?: pulumi.Input<number | undefined>;
  /** Restarts that pending work may cost. Default: `3`. */
  rebootMax?: pulumi.Input<number | undefined>;
  /** Between the two samples of every fact. Default: `15`. */
  sampleGapSeconds?: pulumi.Input<number | undefined>;
}

/** How the hosts' certificates are verified; by default against the system's authorities. */
export interface Tls {
  /** false accepts any certificate: for tests only. Default: `true`. */
  verify: boolean;
  /** PEM of the authority that signed the hosts' certificates. */
  caCertificate?: string | undefined;
  /** SHA-256 fingerprints of the hosts' own certificates, one per host. */
  fingerprints?: string[] | undefined;
}

/** The connector: `connector.settings` of a ConnectorConfig. */
export interface Connector {
  /**
   * Any member of the pool, or several: host, host:port or URL. The coordinator is found from there. Plain http only when written as
   * http://.
   */
  address: string | string[];
  /** Account on the pool; also XENLAYER_USERNAME or stack config `xenlayer:username`. */
  username?: string | undefined;
  /**
   * Its password; also XENLAYER_PASSWORD (best where passwords rotate: not in the state, and what it says now counts), or stack config
   * `xenlayer:password`.
   */
  password?: string | undefined;
  /** How the hosts' certificates are verified; by default against the system's authorities. */
  tls?: Tls | undefined;
  /** name_label or uuid of the custom template that packaging machines are cloned from: no disk, at least one network card. */
  template: string;
  /** name_label or uuid of the storage repository that holds layers; it must be able to hold VHD disks. */
  storageRepository: string;
  /** name_label or uuid of the network of packaging machines; default: the template's. */
  network?: string | undefined;
  /** name_label or uuid of the ISO with the VM tools, inserted into packaging machines. */
  toolsIso?: string | undefined;
  /** XenCenter folder of packaging machines, as /layers/packaging; default: the template's. */
  folder?: string | undefined;
  /** Tags of packaging machines, beside the template's and xenlayer's own. */
  tags?: string[] | undefined;
  /** false moves disks over plain http, for speed; refused where hosts are https-only. Default: `true`. */
  transferOverTls: boolean;
  /** The ConnectorConfig's connectorId: the owner of everything made through it. */
  connectorId: string;
}

/** Where the operating system comes from: exactly one of file, vm, template, vdi. */
export interface OsLayerSource {
  /** Path of a VHD, raw or QCOW2 disk image; streamed sparsely. */
  file?: string | undefined;
  /** Format of `file`; default: found out. A file that is not what this says is refused. */
  format?: OsLayerSourceFormat | undefined;
  /** name_label or uuid of a halted VM whose first disk is copied. */
  vm?: string | undefined;
  /** name_label or uuid of a template whose first disk is copied. */
  template?: string | undefined;
  /** name_label or uuid of a disk that is copied. */
  vdi?: string | undefined;
}

/** What the layer is for. packaging takes only the hypervisor, publishing requires all three. */
export interface Platform {
  /** Hypervisor. */
  hypervisor: PlatformHypervisor;
  /** Provisioning service; required for publishing, `none` is a value. */
  provisioningService?: PlatformProvisioningService | undefined;
  /** Connection broker; required for publishing, `none` is a value. */
  connectionBroker?: PlatformConnectionBroker | undefined;
}

/** What becomes of versions that no program holds any more; default: they stay. */
export interface Retention {
  /** Released versions that are kept. */
  keep?: number | undefined;
  /** Released versions older than this are removed. */
  maxAgeDays?: number | undefined;
}

export interface Step {
  /** What the step installs; shown while it runs. */
  name: string;
  /** The text of the script. It runs as the guest's system account; its last exit code is the step's. */
  run: string;
  /** Which program runs it: cmd or powershell on Windows, sh on Linux. */
  shell: StepShell;
  /** Environment of this step only. */
  env?: Record<string, string> | undefined;
  /** Secret environment of this step only; deleted from the payload disk when the step has ended. */
  secretEnv?: Record<string, string> | undefined;
  /** Exit codes that mean success. Default: `[0]`. */
  expectExit: number[];
  /** Exit codes that mean success once the guest has restarted. Default: `[3010,1641,194]`. */
  rebootExit: number[];
  /** After this time the step counts as failed. Default: `60`. */
  timeoutMinutes: number;
}

/**
 * Policy per check: fix, block, warn or ignore; the same as for Finalize. In manual mode Shutdown For Finalize goes by it; in automatic
 * mode what has to end before the machine is powered off.
 */
export interface CheckPolicies {
  /** Drivers of the boot disk. Default: `fix`. */
  bootDiskDrivers?: CheckPolicy | undefined;
  /** Restart after an installation. Default: `fix`. */
  pendingReboot?: CheckPolicy | undefined;
  /** Installation in progress. Default: `fix`. */
  installer?: CheckPolicy | undefined;
  /** Microsoft NGen. Default: `fix`. */
  ngen?: CheckPolicy | undefined;
  /** Microsoft NGen needed. Default: `fix`. */
  ngenNeeded?: CheckPolicy | undefined;
  /** RunOnce. Default: `block`. */
  runOnce?: CheckPolicy | undefined;
  /** VM tools. Default: `fix`. */
  vmTools?: CheckPolicy | undefined;
  /** Windows servicing. Default: `fix`. */
  servicing?: CheckPolicy | undefined;
  /** Windows upgrade. Default: `fix`. */
  windowsUpgrade?: CheckPolicy | undefined;
  /** Start of the guest. Default: `fix`. */
  startup?: CheckPolicy | undefined;
  /** System volume. Default: `fix`. */
  systemVolume?: CheckPolicy | undefined;
  /** BitLocker. Default: `block`. */
  bitLocker?: CheckPolicy | undefined;
  /** Configuration Manager client. Default: `block`. */
  smsConfig?: CheckPolicy | undefined;
  /** WEM agent. Default: `block`. */
  wemKey?: CheckPolicy | undefined;
  /** FSLogix. Default: `warn`. */
  fsLogix?: CheckPolicy | undefined;
  /** The machine's own identity. Default: `warn`. */
  machineIdentity?: CheckPolicy | undefined;
  /** Version of the PV drivers. Default: `warn`. */
  pvDrivers?: CheckPolicy | undefined;
  /** What the layer says it is. Default: `warn`. */
  platformSays?: CheckPolicy | undefined;
  /** Left behind. Default: `warn`. */
  residue?: CheckPolicy | undefined;
}

/** How to log in where the OS layer runs no orders: the bootstrap is installed by SSH, for this version alone. */
export interface PackagingMachineSsh {
  /** An administrator; on Linux root, or whom sudo asks for no password. */
  username: string;
  /** Private key (OpenSSH or PEM, without a passphrase). */
  privateKey?: string | undefined;
  /** Password, where there is no key. */
  password?: string | undefined;
  /** Fingerprint of the guest's host key, as `ssh-keygen -lf` prints it. */
  hostKeyFingerprint: string;
  /** Where it listens; default: the address that the VM's tools report. */
  address?: string | undefined;
  /** Port. Default: `22`. */
  port: number;
}

/** Limits of the waits. */
export interface PackagingMachineTimeouts {
  /** Until the guest's bootstrap must have been heard. Default: `15`. */
  bootMinutes: number;
  /** Until all steps must be done (manual mode: until the engineer is). Default: `240`. */
  packageMinutes: number;
}

export interface StepResult {
  /** The step's name. */
  name: string;
  /** The exit code that it ended with. */
  exitCode: number;
  /** How long it ran, by the guest's clock. */
  seconds: number;
  /** SHA-256 of what is kept of its output. */
  logDigest: string;
}

/** Limits. */
export interface FinalizeTimeouts {
  /** Until the guest must have reported and powered off. Default: `120`. */
  finalizeMinutes: number;
  /** Restarts that pending work may cost. Default: `3`. */
  rebootMax: number;
  /** Between the two samples of every fact. Default: `15`. */
  sampleGapSeconds: number;
}

/** Limits of the waits, of packaging and of finalizing. */
export interface LayerVersionTimeouts {
  /** Until the guest's bootstrap must have been heard. Default: `15`. */
  bootMinutes: number;
  /** Until all steps must be done (manual mode: until the engineer is). Default: `240`. */
  packageMinutes: number;
  /** Until the guest must have reported and powered off. Default: `120`. */
  finalizeMinutes: number;
  /** Restarts that pending work may cost. Default: `3`. */
  rebootMax: number;
  /** Between the two samples of every fact. Default: `15`. */
  sampleGapSeconds: number;
}

export interface AuditEntry {
  /** When, ISO 8601. */
  at: string;
  /** What happened, such as `version sealed`. */
  event: string;
  /** The version that it happened to; absent: the layer as a whole. */
  version?: string | undefined;
  /** The program's comment. */
  comment?: string | undefined;
}

export interface VersionSummary {
  /** Id of the version. */
  versionId: string;
  /** Its name. */
  version: string;
  /** Editing, Finalizing, Deployable, Deleting or Broken. */
  state: string;
  /** uuid of its disk. */
  vdiUuid: string;
  /** What it is based on. */
  basedOn: string;
  /** When it was sealed, ISO 8601. */
  sealedAt?: string | undefined;
  /** Whether no program holds it any more. */
  released: boolean;
  /** What it adds to its base, in GiB. */
  deltaGiB?: number | undefined;
}

/** Absent: the version is not sealed. */
export interface ReportSeal {
  /** When it was sealed, ISO 8601. */
  at: string;
  /** SHA-256 of the verdict that it was sealed by. */
  digest: string;
  /** Whether the evidence, judged again, gives that very verdict: false after an upgrade of the rules, or when it was changed. */
  asSealed: boolean;
}

/** By the provider's clock, ISO 8601. */
export interface ReportTimes {
  /** First order of the install steps. */
  packagingAt?: string | undefined;
  /** All steps done. */
  packagedAt?: string | undefined;
  /** First order to finalize. */
  finalizingAt?: string | undefined;
  /** From the first order to all steps done. */
  packagingSeconds?: number | undefined;
  /** From the first order to finalize to the seal. */
  finalizingSeconds?: number | undefined;
}

export interface ReportBit {
  /** App Layering's name, such as `icReboot`. */
  name: string;
  /** Its value in the mask. */
  value: number;
  /** What it says. */
  meaning: string;
}

export interface ReportSample {
  /** The attempt that it belongs to: each fix or wait begins a new one. */
  attempt: number;
  /** First and second look of an attempt; c is the last look before the power-off. */
  round: ReportSampleRound;
  /** As judged by the full rules. */
  state: ReportSampleState;
  /** What blocks and what to do, or what was found harmless; may be empty. */
  message: string;
}

export interface ReportFact {
  /** Id of the fact. */
  id: string;
  /** What was run in the guest. */
  command: string;
  /** absent: the program does not exist in this guest; missing: no whole answer was kept. */
  answer: ReportFactAnswer;
  /** Exit code of the program. */
  exitCode?: number | undefined;
  /** What it printed, its beginning. */
  output: string;
  /** Whether the guest's own plain test found it quiet. */
  quiet: boolean;
  /** Whether the order let it pass in the guest, to be judged outside. */
  accepted: boolean;
}

export interface ReportCheck {
  /** Id of the check, as in `checks` of a Finalize. */
  id: string;
  /** Its title. */
  title: string;
  /** What was to be done about it. */
  policy: ReportCheckPolicy;
  /** warned and ignored: not ready, and let through by policy. */
  verdict: ReportCheckVerdict;
  /** What blocks and what to do; may be empty. */
  message: string;
  bit: ReportBit;
  /** Every sample of every attempt that was kept, oldest first. */
  samples: ReportSample[];
  /** What was asked, with the answers of the last sample. */
  facts: ReportFact[];
}

export interface ReportBypass {
  /** Id of the check. */
  check: string;
  /** Which policy let it through. */
  policy: ReportCheckPolicy;
  /** What it was. */
  message: string;
}

export interface ReportFix {
  /** The attempt after which it was done. */
  attempt: number;
  /** What was done: `reboot`, `ngen-64-v4`. */
  fix: string;
  /** Exit code; NGen's says little. */
  exitCode: number;
}

/** The KMS rearm. */
export interface ReportKms {
  /** What became of the rearm. */
  state: ReportKmsState;
  /** In one sentence. */
  message: string;
  /** Remaining count before the rearm. */
  before?: number | undefined;
  /** Remaining count after it; Windows shows it after its next start only, and then it is absent here. */
  after?: number | undefined;
}

/** Office's own rearm; absent where nobody asked for it. */
export interface ReportOffice {
  /** What became of the rearm. */
  state: ReportKmsState;
  /** In one sentence, with exit codes and what was printed. */
  message: string;
}

export interface ReportStep {
  /** Its number in the order. */
  id: string;
  /** Its name. */
  name: string;
  /** What became of it. */
  state: ReportStepState;
  /** Exit code; absent: it has not ended. */
  exitCode?: number | undefined;
  /** Whether its time limit was over. */
  timedOut: boolean;
  /** By the guest's clock and in its form. */
  started?: string | undefined;
  /** By the guest's clock and in its form. */
  finished?: string | undefined;
  /** How long it ran, by the guest's clock. */
  seconds?: number | undefined;
  /** The end of what it printed. */
  log: string;
  /** How much it printed in all. */
  logBytes: number;
  /** Whether the log is what the layer record knows it to have been when the step had ended. */
  asRecorded?: boolean | undefined;
}

export interface ReportInstalled {
  /** What tells it apart inside one guest: product key, package with architecture, published name of a driver. */
  id: string;
  /** Its name. */
  name: string;
  /** Its version; may be empty. */
  version: string;
  /** Who made it; may be empty. */
  publisher: string;
}

/** What is installed; absent: the guest was not ready to be asked. */
export interface ReportInventory {
  /** The guest's name for itself. */
  system: string;
  /** Installed software. */
  software: ReportInstalled[];
  /** Driver packages that did not come with Windows. */
  drivers: ReportInstalled[];
  /** What could not be read. */
  problems: string[];
}

export interface ReportPicture {
  /** When, ISO 8601. */
  at: string;
  /** What was waited for when the time was over. */
  doing: string;
  /** Where the run that took it has kept it. */
  file: string;
  /** Its form. */
  type: ReportPictureType;
  /** The picture in base64; absent: it was on another machine when the version was sealed, or is gone. */
  data?: string | undefined;
}

/** The whole report, as report.schema.json has it. */
export interface Report {
  /** Format of this report. */
  format: number;
  /** Name of the layer. */
  layer: string;
  /** Name of the version. */
  version: string;
  /** Id of the version. */
  versionId: string;
  /** What the version is based on. */
  basedOn: string;
  /** The guest's kind. */
  os: OsLayerOs;
  /** What the guest was last asked for. */
  order: ReportOrder;
  /** Who installed: steps, or an engineer. */
  mode: PackagingMachineMode;
  /** The verdict. */
  state: ReportState;
  /** The verdict in one sentence. */
  summary: string;
  /** Absent: the version is not sealed. */
  sealed?: ReportSeal | undefined;
  /** uuid of the disk that this was read from. */
  evidence: string;
  /** Name of the packaging machine. */
  machine: string;
  /** Version of the VM tools, as they said it; may be empty. */
  toolsVersion: string;
  /** The order that was answered. */
  nonce: string;
  /** Boots of the guest under this order. */
  boots: number;
  /** What tells the boots apart, oldest first; the last one has reported. */
  bootIds: string[];
  /** How often the samples were begun anew. */
  attempts: number;
  /** By the provider's clock, ISO 8601. */
  times: ReportTimes;
  /** App Layering's mask BlockFinalize: the bits of what is not ready, and bit 1 where something was let through. */
  blockFinalize: number;
  /** The mask's bits by name. */
  bits: ReportBit[];
  /** Every check with its samples. */
  checks: ReportCheck[];
  /** What was not ready and let through by policy. */
  letThrough: ReportBypass[];
  /** What the guest did about what was pending. */
  fixes: ReportFix[];
  /** The KMS rearm. */
  kms: ReportKms;
  /** Office's own rearm; absent where nobody asked for it. */
  office?: ReportOffice | undefined;
  /** The install and clean-up steps. */
  steps: ReportStep[];
  /** What is installed; absent: the guest was not ready to be asked. */
  inventory?: ReportInventory | undefined;
  /** The console, pictured when a time limit was over. */
  pictures: ReportPicture[];
  /** What of the evidence could not be read. */
  problems: string[];
}

/** Arguments of ConnectorConfig. */
export interface ConnectorConfigArgs {
  /**
   * Any member of the pool, or several: host, host:port or URL. The coordinator is found from there. Plain http only when written as
   * http://.
   */
  address: pulumi.Input<string | pulumi.Input<string>[]>;
  /** Account on the pool; also XENLAYER_USERNAME or stack config `xenlayer:username`. */
  username?: pulumi.Input<string | undefined>;
  /**
   * Its password; also XENLAYER_PASSWORD (best where passwords rotate: not in the state, and what it says now counts), or stack config
   * `xenlayer:password`.
   */
  password?: pulumi.Input<string | undefined>;
  /** How the hosts' certificates are verified; by default against the system's authorities. */
  tls?: pulumi.Input<TlsArgs | undefined>;
  /** name_label or uuid of the custom template that packaging machines are cloned from: no disk, at least one network card. */
  template: pulumi.Input<string>;
  /** name_label or uuid of the storage repository that holds layers; it must be able to hold VHD disks. */
  storageRepository: pulumi.Input<string>;
  /** name_label or uuid of the network of packaging machines; default: the template's. */
  network?: pulumi.Input<string | undefined>;
  /** name_label or uuid of the ISO with the VM tools, inserted into packaging machines. */
  toolsIso?: pulumi.Input<string | undefined>;
  /** XenCenter folder of packaging machines, as /layers/packaging; default: the template's. */
  folder?: pulumi.Input<string | undefined>;
  /** Tags of packaging machines, beside the template's and xenlayer's own. */
  tags?: pulumi.Input<pulumi.Input<string>[] | undefined>;
  /** false moves disks over plain http, for speed; refused where hosts are https-only. Default: `true`. */
  transferOverTls?: pulumi.Input<boolean | undefined>;
  /** The id of an earlier connector whose layers are taken over, e.g. after a lost state; default: a new one. */
  connectorId?: pulumi.Input<string | undefined>;
}

/** Arguments of OsLayer. */
export interface OsLayerArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Name of the OS layer, unique among the connector's layers. */
  name: pulumi.Input<string>;
  /** Name of the version that `source` becomes. Another name adds a version; the older ones stay. */
  version: pulumi.Input<string>;
  /** Where the operating system comes from: exactly one of file, vm, template, vdi. */
  source: pulumi.Input<OsLayerSourceArgs>;
  /** Free text. */
  description?: pulumi.Input<string | undefined>;
  /** The account that created the OS: shown when somebody must log in to a packaging machine. */
  account?: pulumi.Input<string | undefined>;
  /** The hypervisor that the OS was installed on. Default: `xenserver`. */
  sourceHypervisor?: pulumi.Input<OsLayerSourceHypervisor | undefined>;
  /** Which guest side is used for packaging and finalizing. Default: `windows`. */
  os?: pulumi.Input<OsLayerOs | undefined>;
}

/** Arguments of PlatformLayer. */
export interface PlatformLayerArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Name of the layer, unique among the connector's layers. */
  name: pulumi.Input<string>;
  /** Id of the OS layer it belongs to for good (`os.layerId`). */
  osLayer: pulumi.Input<string>;
  /** packaging: used while making layers; publishing: part of published images. */
  purpose: pulumi.Input<PlatformLayerPurpose>;
  /** What the layer is for. packaging takes only the hypervisor, publishing requires all three. */
  platform: pulumi.Input<PlatformArgs>;
  /** Free text. */
  description?: pulumi.Input<string | undefined>;
  /**
   * Path of a PNG or JPG file (at most 1024 x 1024 pixels, 512 KiB), `builtin:windows`, `builtin:linux`, `builtin:layer`, or
   * `layer:<layerId>`.
   */
  icon?: pulumi.Input<string | undefined>;
  /** Becomes an entry of the audit history at create and at each change of it. */
  comment?: pulumi.Input<string | undefined>;
  /** What becomes of versions that no program holds any more; default: they stay. */
  retention?: pulumi.Input<RetentionArgs | undefined>;
}

/** Arguments of PackagingDisk. */
export interface PackagingDiskArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Id of the platform layer (`layer.layerId`). */
  layer: pulumi.Input<string>;
  /** Name of the new version, unique in the layer. */
  version: pulumi.Input<string>;
  /** Name of the version of this layer to start from; default: its latest sealed one. */
  baseVersion?: pulumi.Input<string | undefined>;
  /** Name of a version of the OS layer to start afresh from (rebase). */
  osVersion?: pulumi.Input<string | undefined>;
  /** Resolved by xenlayer, shown for review: `<layer>/<version>` this version is based on. Don't set it. */
  base?: pulumi.Input<string | undefined>;
  /** name_label of the disk; default: `<layer> <version>`. */
  fileName?: pulumi.Input<string | undefined>;
  /** Disk format: what the storage repository can hold. Default: `vhd`. */
  format?: pulumi.Input<PackagingDiskFormat | undefined>;
  /** Virtual size in GiB; can only grow. Default: the base's. */
  sizeGiB?: pulumi.Input<number | undefined>;
  /** Digests by a name that people read; a changed one clones the disk anew. */
  triggers?: pulumi.Input<Record<string, pulumi.Input<string>> | undefined>;
  /** Becomes an entry of the audit history. */
  comment?: pulumi.Input<string | undefined>;
}

/** Arguments of PackagingMachine. */
export interface PackagingMachineArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Id of the PackagingDisk. */
  disk: pulumi.Input<string>;
  /** Steps in order. */
  install?: pulumi.Input<pulumi.Input<StepArgs>[] | undefined>;
  /** Steps after the others: remove installers, settings and files that don't belong into the layer. */
  cleanup?: pulumi.Input<pulumi.Input<StepArgs>[] | undefined>;
  /** Files for the steps: name to path. Steps find them in the folder XENLAYER_FILES. */
  files?: pulumi.Input<Record<string, pulumi.Input<string>> | undefined>;
  /** name_label or uuid of ISO images with installers. */
  media?: pulumi.Input<pulumi.Input<string>[] | undefined>;
  /** manual: an engineer installs at the machine and runs Shutdown For Finalize; no steps are run. Default: `automatic`. */
  mode?: pulumi.Input<PackagingMachineMode | undefined>;
  /**
   * Policy per check: fix, block, warn or ignore; the same as for Finalize. In manual mode Shutdown For Finalize goes by it; in automatic
   * mode what has to end before the machine is powered off.
   */
  checks?: pulumi.Input<CheckPoliciesArgs | undefined>;
  /** vCPUs; default: the template's. */
  cpus?: pulumi.Input<number | undefined>;
  /** Memory in GiB; default: the template's. Needs vm-power-admin. */
  memoryGiB?: pulumi.Input<number | undefined>;
  /** name_label or uuid of the network; default: the connector's. */
  network?: pulumi.Input<string | undefined>;
  /** name_label or uuid of the ISO with the VM tools; default: the connector's. */
  toolsIso?: pulumi.Input<string | undefined>;
  /** How to log in where the OS layer runs no orders: the bootstrap is installed by SSH, for this version alone. */
  ssh?: pulumi.Input<PackagingMachineSshArgs | undefined>;
  /**
   * Installs the bootstrap through run-script of the guest's agent, for this version alone: only where the pool allows it, the role is
   * vm-power-admin and XenServer's VM tools for Windows offer it.
   */
  runScript?: pulumi.Input<boolean | undefined>;
  /** Limits of the waits. */
  timeouts?: pulumi.Input<PackagingMachineTimeoutsArgs | undefined>;
  /** What becomes of the machine when a step fails: keep it for a look and resume, or delete it. Default: `keep`. */
  onFailure?: pulumi.Input<PackagingMachineOnFailure | undefined>;
}

/** Arguments of Finalize. */
export interface FinalizeArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Id of the PackagingDisk. */
  disk: pulumi.Input<string>;
  /** Id of the PackagingMachine. */
  machine: pulumi.Input<string>;
  /** Name of the version; must be the disk's. */
  version: pulumi.Input<string>;
  /** Policy per check: fix, block, warn or ignore. */
  checks?: pulumi.Input<CheckPoliciesArgs | undefined>;
  /** What is done about queued NGen work: wait, execute-queued or update-force. Default: `execute-queued`. */
  ngen?: pulumi.Input<FinalizeNgen | undefined>;
  /** rearm: KMS is rearmed as the last act; refused at a remaining count of 0. Default: `none`. */
  kms?: pulumi.Input<FinalizeKms | undefined>;
  /**
   * rearm: an Office whose products are all licensed by KMS is rearmed once, just before KMS; refused where others are among them. Each
   * Office has five. Default: none.
   */
  office?: pulumi.Input<FinalizeOffice | undefined>;
  /** Limits. */
  timeouts?: pulumi.Input<FinalizeTimeoutsArgs | undefined>;
  /** How to log in where the OS layer runs no orders: the bootstrap is installed by SSH, for this version alone. */
  ssh?: pulumi.Input<PackagingMachineSshArgs | undefined>;
  /**
   * Installs the bootstrap through run-script of the guest's agent, for this version alone: only where the pool allows it, the role is
   * vm-power-admin and XenServer's VM tools for Windows offer it.
   */
  runScript?: pulumi.Input<boolean | undefined>;
  /** Becomes an entry of the audit history. */
  comment?: pulumi.Input<string | undefined>;
  /** release: the version stays in the layer; destroy: it is removed, once nothing uses it. Default: `release`. */
  onDelete?: pulumi.Input<FinalizeOnDelete | undefined>;
}

/** Arguments of LayerVersion. */
export interface LayerVersionArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Id of the platform layer (`layer.layerId`). */
  layer: pulumi.Input<string>;
  /** Name of the new version, unique in the layer. */
  version: pulumi.Input<string>;
  /** Name of the version of this layer to start from; default: its latest sealed one. */
  baseVersion?: pulumi.Input<string | undefined>;
  /** Name of a version of the OS layer to start afresh from (rebase). */
  osVersion?: pulumi.Input<string | undefined>;
  /** name_label of the disk; default: `<layer> <version>`. */
  fileName?: pulumi.Input<string | undefined>;
  /** Disk format: what the storage repository can hold. Default: `vhd`. */
  format?: pulumi.Input<PackagingDiskFormat | undefined>;
  /** Virtual size in GiB; can only grow. Default: the base's. */
  sizeGiB?: pulumi.Input<number | undefined>;
  /** Steps in order. */
  install?: pulumi.Input<pulumi.Input<StepArgs>[] | undefined>;
  /** Steps after the others: remove installers, settings and files that don't belong into the layer. */
  cleanup?: pulumi.Input<pulumi.Input<StepArgs>[] | undefined>;
  /** Files for the steps: name to path. Steps find them in the folder XENLAYER_FILES. */
  files?: pulumi.Input<Record<string, pulumi.Input<string>> | undefined>;
  /** name_label or uuid of ISO images with installers. */
  media?: pulumi.Input<pulumi.Input<string>[] | undefined>;
  /** manual: an engineer installs at the machine and runs Shutdown For Finalize; no steps are run. Default: `automatic`. */
  mode?: pulumi.Input<PackagingMachineMode | undefined>;
  /** Policy per check: fix, block, warn or ignore. */
  checks?: pulumi.Input<CheckPoliciesArgs | undefined>;
  /** vCPUs; default: the template's. */
  cpus?: pulumi.Input<number | undefined>;
  /** Memory in GiB; default: the template's. Needs vm-power-admin. */
  memoryGiB?: pulumi.Input<number | undefined>;
  /** name_label or uuid of the network; default: the connector's. */
  network?: pulumi.Input<string | undefined>;
  /** name_label or uuid of the ISO with the VM tools; default: the connector's. */
  toolsIso?: pulumi.Input<string | undefined>;
  /** How to log in where the OS layer runs no orders: the bootstrap is installed by SSH, for this version alone. */
  ssh?: pulumi.Input<PackagingMachineSshArgs | undefined>;
  /**
   * Installs the bootstrap through run-script of the guest's agent, for this version alone: only where the pool allows it, the role is
   * vm-power-admin and XenServer's VM tools for Windows offer it.
   */
  runScript?: pulumi.Input<boolean | undefined>;
  /** Limits of the waits, of packaging and of finalizing. */
  timeouts?: pulumi.Input<LayerVersionTimeoutsArgs | undefined>;
  /** What becomes of the machine when a step fails: keep it for a look and resume, or delete it. Default: `keep`. */
  onFailure?: pulumi.Input<PackagingMachineOnFailure | undefined>;
  /** What is done about queued NGen work: wait, execute-queued or update-force. Default: `execute-queued`. */
  ngen?: pulumi.Input<FinalizeNgen | undefined>;
  /** rearm: KMS is rearmed as the last act; refused at a remaining count of 0. Default: `none`. */
  kms?: pulumi.Input<FinalizeKms | undefined>;
  /**
   * rearm: an Office whose products are all licensed by KMS is rearmed once, just before KMS; refused where others are among them. Each
   * Office has five. Default: none.
   */
  office?: pulumi.Input<FinalizeOffice | undefined>;
  /** Becomes an entry of the audit history. */
  comment?: pulumi.Input<string | undefined>;
  /** release: the version stays in the layer; destroy: it is removed, once nothing uses it. Default: `release`. */
  onDelete?: pulumi.Input<FinalizeOnDelete | undefined>;
}

/** Arguments of getLayer. */
export type GetLayerArgs = pulumi.Unwrap<GetLayerOutputArgs>;

/** Arguments of getLayerOutput. */
export interface GetLayerOutputArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Name of the layer. */
  name?: pulumi.Input<string | undefined>;
  /** Its id; one of the two. */
  layerId?: pulumi.Input<string | undefined>;
}

/** Result of getLayer. */
export interface GetLayerResult {
  /** Id of the layer. */
  layerId: string;
  /** Its name. */
  name: string;
  /** OS layer or platform layer. */
  kind: GetLayerKind;
  /** Free text. */
  description: string;
  /** Id of the OS layer of a platform layer. */
  osLayer?: string | undefined;
  /** packaging or publishing. */
  purpose?: string | undefined;
  /** Hypervisor, provisioning service, connection broker. */
  platform: Record<string, string>;
  /** When it was created, ISO 8601. */
  createdAt: string;
  /** Names of its versions. */
  versions: string[];
  /** The audit history, oldest first. */
  audit: AuditEntry[];
}

/** Arguments of getLayerVersions. */
export type GetLayerVersionsArgs = pulumi.Unwrap<GetLayerVersionsOutputArgs>;

/** Arguments of getLayerVersionsOutput. */
export interface GetLayerVersionsOutputArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Id of the layer. */
  layer: pulumi.Input<string>;
}

/** Result of getLayerVersions. */
export interface GetLayerVersionsResult {
  /** The versions. */
  versions: VersionSummary[];
}

/** Arguments of getVersionReport. */
export type GetVersionReportArgs = pulumi.Unwrap<GetVersionReportOutputArgs>;

/** Arguments of getVersionReportOutput. */
export interface GetVersionReportOutputArgs {
  /** The connector: `connector.settings` of a ConnectorConfig. */
  connector: pulumi.Input<ConnectorArgs>;
  /** Id of the version. */
  versionId: pulumi.Input<string>;
}

/** Result of getVersionReport. */
export interface GetVersionReportResult {
  /** Id of the version. */
  versionId: string;
  /** The report for people. */
  text: string;
  /** The same as one page for a browser: no scripts, and nothing is loaded by it. */
  html: string;
  /** The whole report, as report.schema.json has it. */
  report: Report;
}
