// The same work in its single steps, for software that nobody can install without a hand: a disk, a machine at which an engineer works, and the seal.
import * as pulumi from "@pulumi/pulumi";
import * as xenlayer from "pulumi-xenlayer";

const pool = new pulumi.Config("xenlayer");
const config = new pulumi.Config();

const connector = new xenlayer.ConnectorConfig("pool", {
  address: pool.require("address"),
  template: pool.require("template"),
  storageRepository: pool.require("storageRepository"),
  tls: { fingerprints: pool.getObject<string[]>("fingerprints") },
});

const os = new xenlayer.OsLayer("windows-11", {
  connector: connector.settings,
  name: "Windows 11",
  version: "23H2",
  source: { file: config.get("image") ?? "windows-11.raw" },
  account: "Administrator",
});

const platform = new xenlayer.PlatformLayer("packaging", {
  connector: connector.settings,
  name: "XenServer packaging",
  osLayer: os.layerId,
  purpose: "packaging",
  platform: { hypervisor: "xenserver" },
});

const disk = new xenlayer.PackagingDisk("packaging", {
  connector: connector.settings,
  layer: platform.layerId,
  version: config.get("version") ?? "1.0",
  comment: "Installed by hand",
});

// Waits until the engineer has run Shutdown For Finalize at the machine; its row shows where the machine is and who logs in.
const machine = new xenlayer.PackagingMachine("packaging", {
  connector: connector.settings,
  disk: disk.id,
  mode: "manual",
  media: [config.get("installers") ?? "installers.iso"],
  timeouts: { packageMinutes: 480 },
});

const sealed = new xenlayer.Finalize("packaging", {
  connector: connector.settings,
  disk: disk.id,
  machine: machine.id,
  version: disk.version,
});

export const connectorId = connector.connectorId;
export const layerId = platform.layerId;
export const layerVersion = sealed.version;
export const location = disk.location;
export const vdi = sealed.vdiUuid;
export const report = sealed.report;
