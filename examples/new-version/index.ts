// Versions of one platform layer as code. What a version holds stands in the table below: a new version is a new line, reviewed like any other change.
import * as pulumi from "@pulumi/pulumi";
import * as xenlayer from "pulumi-xenlayer";

const pool = new pulumi.Config("xenlayer");
const config = new pulumi.Config();

interface Release {
  tools: string;
  agent: string;
  /** Registered with the agent; a change of it alone is a new version, too. */
  controllers: string;
}

const releases: Record<string, Release> = {
  "2024.1": { tools: "9.3.3", agent: "2402", controllers: "ddc1.example.com" },
  "2024.2": { tools: "9.4.0", agent: "2402", controllers: "ddc1.example.com ddc2.example.com" },
};

const version = config.get("version") ?? "2024.1";
const known = releases[version];
if (known === undefined) throw new Error(`new-version:version is "${version}"; there are ${Object.keys(releases).join(", ")}`);
// For a try: what happens to somebody who changes a version that is sealed already.
const release = { ...known, controllers: config.get("controllers") ?? known.controllers };

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
});

const platform = new xenlayer.PlatformLayer("workstations", {
  connector: connector.settings,
  name: "Workstations",
  osLayer: os.layerId,
  purpose: "publishing",
  platform: { hypervisor: "xenserver", provisioningService: "mcs", connectionBroker: "xendesktop" },
});

const current = new xenlayer.LayerVersion("workstations", {
  connector: connector.settings,
  layer: platform.layerId,
  version,
  media: [config.get("installers") ?? "installers.iso"],
  install: [
    { name: "XenServer VM Tools", shell: "cmd", run: `msiexec /i D:\\managementagent-${release.tools}-x64.msi /quiet /norestart` },
    { name: "Virtual Delivery Agent", shell: "cmd", run: `D:\\VDAWorkstationSetup_${release.agent}.exe /quiet /noreboot /components vda` },
    {
      name: "Controllers",
      shell: "cmd",
      run: `reg add HKLM\\Software\\Citrix\\VirtualDesktopAgent /v ListOfDDCs /t REG_SZ /d "${release.controllers}" /f`,
    },
  ],
});

export const connectorId = connector.connectorId;
export const layerId = platform.layerId;
export const layerVersion = current.version;
export const disk = current.vdiUuid;
export const basedOn = current.basedOn;
