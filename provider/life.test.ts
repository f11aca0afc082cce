// The life of a version through the core, as a front drives it, against the simulator over the wire.
import { expect, it } from "vitest";
import { type Made, type Stage, withStage } from "./testing.ts";

const windows = {
  guest: "windows" as const,
  bootstrap: "xenlayer" as const,
  os: { name: "Windows 11 Enterprise", major: 10, minor: 0, build: 22631 },
  kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 5 },
  ngen: { frameworks: ["Framework64/v4.0.30319"] },
  programs: [
    {
      match: "tools.exe /quiet",
      seconds: 60,
      exitCode: 3010,
      files: { "Program Files/Tools/tools.txt": "9.4" },
      pending: ["driver-reboot" as const],
    },
    { match: "broker.exe /quiet", seconds: 30, exitCode: 0, files: { "Program Files/Broker/agent.txt": "2402" }, ngenSeconds: 120 },
  ],
};

const install = [
  { name: "VM tools", run: "tools.exe /quiet", shell: "cmd" },
  { name: "Broker agent", run: "broker.exe /quiet", shell: "cmd" },
];

async function connected(stage: Stage): Promise<{ made: Made; connector: Record<string, unknown> }> {
  const made = await stage.create("ConnectorConfig", stage.connector());
  return { made, connector: { ...stage.connector(), connectorId: made.outputs.connectorId } };
}

it("builds, checks and seals a version, and leaves the pool as it was", async () => {
  await withStage(async (stage) => {
    const before = stage.pool();
    const { made: config, connector } = await connected(stage);
    const os = await stage.create("OsLayer", { connector, name: "win11", version: "1.0", source: { file: await stage.image(windows) } });
    const layer = await stage.create("PlatformLayer", {
      connector,
      name: "plat",
      osLayer: os.outputs.layerId,
      purpose: "publishing",
      platform: { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "xendesktop" },
    });
    const disk = await stage.create("PackagingDisk", { connector, layer: layer.outputs.layerId, version: "2.3" });
    const machine = await stage.create("PackagingMachine", { connector, disk: disk.id, install });
    const version = await stage.create("Finalize", { connector, disk: disk.id, machine: machine.id, version: "2.3", kms: "rearm" });
    expect(version.outputs).toMatchObject({ report: { state: "ready" } });
    for (const made of [config, os, layer, disk, machine, version]) {
      const refreshed = await stage.refresh(made);
      expect(refreshed?.outputs).toEqual(made.outputs);
      expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false, replaces: [] });
    }
    for (const made of [version, machine, disk, layer, os, config]) await stage.destroy(made);
    expect(stage.pool()).toEqual(before);
  });
});
