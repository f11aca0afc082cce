// A platform layer for published images on XenServer: hypervisor tools, provisioning target device and broker agent on top of an OS layer.
import * as pulumi from "@pulumi/pulumi";
import * as xenlayer from "pulumi-xenlayer";

// How the pool is reached: xenlayer:address and so on. The provider reads xenlayer:username and xenlayer:password itself.
const pool = new pulumi.Config("xenlayer");
const config = new pulumi.Config();
const agent = config.get("agent") ?? "2402";

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

const platform = new xenlayer.PlatformLayer("citrix-on-xenserver", {
  connector: connector.settings,
  name: "Citrix on XenServer",
  osLayer: os.layerId,
  purpose: "publishing",
  platform: { hypervisor: "xenserver", provisioningService: "pvs", connectionBroker: "xendesktop" },
  icon: "builtin:windows",
});

const version = new xenlayer.LayerVersion("citrix-on-xenserver", {
  connector: connector.settings,
  layer: platform.layerId,
  version: config.get("version") ?? "1.0",
  comment: `Virtual Delivery Agent ${agent}`,
  media: [config.get("installers") ?? "installers.iso"],
  install: [
    // Its drivers take over at the next start: it answers 3010, the machine is restarted, and the next step follows.
    { name: "XenServer VM Tools", shell: "cmd", run: "msiexec /i D:\\managementagent-x64.msi /quiet /norestart" },
    { name: "Provisioning target device", shell: "cmd", run: "D:\\PVS_Device_x64.exe /s /norestart" },
    // It leaves .NET assemblies to compile behind it: the version is sealed when that has ended.
    {
      name: "Virtual Delivery Agent",
      shell: "cmd",
      run: `D:\\VDAWorkstationSetup_${agent}.exe /quiet /noreboot /components vda /masterpvsimage`,
      timeoutMinutes: 90,
    },
  ],
  cleanup: [{ name: "Logs of the installers", shell: "cmd", run: "if exist C:\\InstallLogs rmdir /s /q C:\\InstallLogs" }],
  ngen: "execute-queued",
  kms: "rearm",
});

export const connectorId = connector.connectorId;
export const layerId = platform.layerId;
export const versionId = version.versionId;
export const layerVersion = version.version;
export const disk = version.vdiUuid;
export const basedOn = version.basedOn;
export const sealedAt = version.sealedAt;
export const report = version.report;
