// The package as users have it, from program to pool: the real engine, the simulator, nothing between them that is not the product.
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { makeGuestImage, type Simulator, startSimulator } from "../simulator/index.ts";
import { Program } from "./testing.ts";

let simulator: Simulator;
beforeEach(async () => {
  simulator = await startSimulator({ seed: 1 });
});
afterEach(() => simulator.close());

const windows = {
  guest: "windows" as const,
  bootstrap: "xenlayer" as const,
  os: { name: "Windows 11 Enterprise", major: 10, minor: 0, build: 22631 },
  kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 5 },
  programs: [
    { match: "vda.exe /quiet", seconds: 60, exitCode: 3010, files: { "Program Files/VDA/version.txt": "2402" } },
    { match: "agent.exe", seconds: 30, exitCode: 0 },
  ],
};

const layer = `
import * as pulumi from "@pulumi/pulumi";
import * as xenlayer from "pulumi-xenlayer";
const config = new pulumi.Config("pool");
const pool = new xenlayer.ConnectorConfig("pool", {
  address: config.require("address"), username: "root", password: config.require("password"),
  template: "xenlayer-packaging", storageRepository: "Local storage",
});
const os = new xenlayer.OsLayer("win11", {
  connector: pool.settings, name: "win11", version: "1.0", source: { file: "windows.img" },
});
const plat = new xenlayer.PlatformLayer("plat", {
  connector: pool.settings, name: "plat", osLayer: os.id, purpose: "publishing",
  platform: { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "xendesktop" },
});
`;

// Several runs of the engine each, on whatever machine.
vi.setConfig({ testTimeout: 300_000 });

const story = (version: string, mode: string) => `${layer}
const version = new xenlayer.LayerVersion("plat", {
  connector: pool.settings, layer: plat.id, version: "${version}",
  install: [
    { name: "VDA", run: "vda.exe /quiet", shell: "cmd", secretEnv: { KEY: pulumi.secret("PW-step") } },
    { name: "agent", run: "agent.exe", shell: "cmd", env: { MODE: "${mode}" } },
  ],
});
export const sealed = version.version;
export const found = pulumi.all([pool.settings, version.version]).apply(async ([connector]) => {
  const { layerId } = await xenlayer.getLayer({ connector, name: "plat" });
  const { versions } = await xenlayer.getLayerVersions({ connector, layer: layerId });
  return versions.map(({ version, state }) => version + " " + state);
});
export const report = xenlayer.getVersionReportOutput({ connector: pool.settings, versionId: version.versionId }).text;
`;

const make = async (module: "esm" | "commonjs", program: string, env: Record<string, string> = {}): Promise<Program> => {
  const config = { "pool:address": simulator.url, "pool:password": `secret:${simulator.password}` };
  const made = await Program.make({ module, program, config, env });
  await makeGuestImage(join(made.dir, "windows.img"), { descriptor: windows });
  return made;
};

const providers = new Set<string>();

describe.each(["esm", "commonjs"] as const)("a type-checked %s program", (module) => {
  it("builds a version, bumps it, reads both, and leaves the pool as it was", async () => {
    const { message: _, ...before } = simulator.state();
    await using program = await make(module, story("2.3", "full"));
    const first = await program.expect(["preview", "--diff"]);
    // The checks looked at the pool, which a preview can since the connector is made of inputs.
    expect(first.output).toContain("XenServer 8.4.0, API 2.21");
    expect(first.output).toMatch(/connectorId +: \[unknown\]/);
    expect(first.output).not.toMatch(/PW-step|xapi-simulator/);
    await program.expect(["up", "--skip-preview"]);
    await program.expect(["preview", "--expect-no-changes"]);
    await program.expect(["refresh", "--skip-preview", "--expect-no-changes"]);

    await program.edit(story("2.4", "lean"));
    const bump = await program.expect(["preview", "--diff"]);
    expect(bump.output).toMatch(/~ install "agent": "[0-9a-f]{32}" => "[0-9a-f]{32}"/);
    expect(bump.output).not.toContain('~ install "VDA"');
    expect(bump.output).toContain('~ version: "2.3" => "2.4"');
    await program.expect(["up", "--skip-preview"]);
    const outputs = JSON.parse((await program.expect(["stack", "output", "--json", "--show-secrets"])).output);
    expect(outputs).toMatchObject({ sealed: "2.4", found: ["2.3 Deployable", "2.4 Deployable"] });
    expect(outputs.report).toMatch(/NGen/);
    // The password in its arguments doesn't make a secret of a report.
    expect(JSON.parse((await program.expect(["stack", "output", "--json"])).output).report).toBe(outputs.report);

    expect(await program.storedState()).not.toMatch(/PW-step|xapi-simulator/);
    // One text, but for the name of the type, whatever program made the resource.
    const resources = await program.resources();
    expect(new Set(resources.map(({ type }) => type)).size).toBe(6);
    for (const { type, inputs, outputs } of resources) {
      expect(outputs.__provider).toBe(inputs.__provider);
      providers.add(String(inputs.__provider).replace(`"${type.slice(type.lastIndexOf(":") + 1)}"`, '"…"'));
    }
    expect([...providers].map((text) => Buffer.byteLength(text) < 1000)).toEqual([true]);
    await program.expect(["destroy", "--skip-preview"]);
    const { message: __, ...after } = simulator.state();
    expect(after).toEqual(before);
    expect(simulator.sessions()).toBe(0);
  });
});

const fast = { PULUMI_NODEJS_TRANSPILE_ONLY: "true" };

describe("a preview", () => {
  it("shows the digests that are known where others can't be yet", async () => {
    const steps = `
new xenlayer.LayerVersion("plat", { connector: pool.settings, layer: plat.id, version: "2.3", install: [
  { name: "VDA", run: "vda.exe", shell: "cmd" },
  { name: "agent", run: pool.product, shell: "cmd" },
  { name: "more", run: "more.exe", shell: "cmd", secretEnv: { ID: pool.product } },
] });`;
    await using program = await make("esm", layer + steps, fast);
    const { output } = await program.expect(["preview", "--diff"]);
    expect(output).toMatch(/install "VDA" *: "[0-9a-f]{32}"/);
    expect(output).toMatch(/install "more" *: "[0-9a-f]{32}"/);
    expect(output).toMatch(/install "agent" *: \[unknown\]/);
    expect(output).toMatch(/order of steps *: "VDA, agent, more"/);
  });

  it("refuses a file that can't be read, by its name", async () => {
    const files =
      'new xenlayer.LayerVersion("plat", { connector: pool.settings, layer: plat.id, version: "1", files: { "a.exe": "none" } });';
    await using program = await make("esm", layer + files, fast);
    const preview = await program.pulumi(["preview"]);
    expect(preview.code).not.toBe(0);
    expect(preview.output).toContain('file "a.exe" of a layer version can\'t be read: ENOENT');
  });
});

describe("the same version twice in one program", () => {
  const disk = (name: string, of: string) =>
    `new xenlayer.PackagingDisk("${name}", { connector: pool.settings, layer: ${of}, version: "2.3" });`;

  it("is refused by preview, in a sentence", async () => {
    await using program = await make("esm", layer + disk("one", "plat.id") + disk("two", "plat.id"), fast);
    const preview = await program.pulumi(["preview"]);
    expect(preview.code).not.toBe(0);
    expect(preview.output).toContain('"two" makes version 2.3 of a layer that "one" makes already in this program');
    expect(preview.output).not.toMatch(/^ +at /m);
  });

  it("is refused behind two different outputs, once they are known", async () => {
    await using program = await make("esm", layer + disk("one", "plat.id") + disk("two", "plat.layerId"), fast);
    const up = await program.pulumi(["up", "--skip-preview"]);
    expect(up.code).not.toBe(0);
    expect(up.output).toMatch(/"(one|two)" makes version 2\.3 of a layer that "(one|two)" makes already in this program/);
  });

  it("is no matter for two layers, nor for two versions", async () => {
    const other = 'new xenlayer.PackagingDisk("x", { connector: pool.settings, layer: "other", version: "2.3" });';
    await using program = await make("esm", layer + disk("one", "plat.id") + disk("two", "plat.id").replace("2.3", "2.4") + other, fast);
    expect((await program.pulumi(["preview"])).output).not.toContain("already in this program");
  });
});
