// What people do with stacks, through the real engine: replaced and tainted without a change, rolled back, taken out and added again, renamed, deleted from the state,
// exported and imported, lost, retained, moved to another stack; and a password that is changed before the end. XENLAYER_STACKS=all does all of it. A sealed
// version is taken each time, never built again, and the end leaves the pool as it was.
import { copyFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { makeGuestImage, startSimulator } from "../simulator/index.ts";
import { Program } from "./testing.ts";

// Some runs of the engine, on whatever machine.
vi.setConfig({ testTimeout: 600_000 });

/** More of it takes minutes. */
const all = process.env.XENLAYER_STACKS === "all";

interface Wish {
  version?: string;
  /** Name of the component, and what it was called before. */
  name?: string;
  aliases?: string;
  options?: string;
  layerOptions?: string;
  description?: string;
  connectorId?: string;
}

const text = ({ version, name = "plat", aliases = "[]", options = "", layerOptions = "", description = "", connectorId }: Wish) => `
import * as pulumi from "@pulumi/pulumi";
import * as xenlayer from "pulumi-xenlayer";
const config = new pulumi.Config("pool");
const pool = new xenlayer.ConnectorConfig("pool", {
  address: config.require("address"), username: "root", password: config.require("password"),
  template: "xenlayer-packaging", storageRepository: "Local storage", ${connectorId === undefined ? "" : `connectorId: "${connectorId}",`}
});
const os = new xenlayer.OsLayer("win11", {
  connector: pool.settings, name: "win11", version: "1.0", source: { file: "windows.img" }, description: "${description}",
});
const plat = new xenlayer.PlatformLayer("plat", {
  connector: pool.settings, name: "plat", osLayer: os.id, purpose: "publishing", description: "${description}",
  platform: { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "xendesktop" },
}, { ${layerOptions} });
export const connectorId = pool.connectorId;
export const disk = ${
  version === undefined
    ? '""'
    : `new xenlayer.LayerVersion("${name}", {
  connector: pool.settings, layer: plat.id, version: "${version}", comment: "${description}",
  install: [{ name: "agent", run: "agent.exe ${version}", shell: "cmd" }],
}, { aliases: ${aliases}, ${options} }).vdiUuid`
};
`;

it("a sealed version is taken, whatever is done to the stack", async () => {
  const simulator = await startSimulator({ seed: 1 });
  const { message: _, ...before } = simulator.state();
  const config = { "pool:address": simulator.url, "pool:password": `secret:${simulator.password}` };
  const make = async (wish: Wish): Promise<Program> => {
    const made = await Program.make({ module: "esm", program: text(wish), config, env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true" } });
    await makeGuestImage(join(made.dir, "windows.img"), {
      descriptor: { guest: "windows", bootstrap: "xenlayer", programs: [{ match: "agent.exe", seconds: 5, files: { "agent.txt": "1" } }] },
    });
    return made;
  };
  await using program = await make({ version: "1" });
  const starts = () => simulator.log.filter(({ method }) => method.endsWith("VM.start")).length;
  /** Runs the program; nothing may be built. */
  const up = async (wish: Wish, args: string[] = [], on = program) => {
    const built = starts();
    await on.edit(text(wish));
    const run = await on.expect(["up", "--skip-preview", ...args]);
    expect({ args, built: starts() - built }).toEqual({ args, built: 0 });
    return run;
  };
  /** The disks of a version by its name: never more than one. */
  const disksOf = (version: string): string[] =>
    simulator.db.all("VDI").flatMap(([, { uuid, name_label }]) => (name_label === `plat ${version}` ? [uuid] : []));
  const urnOf = (type: string, name = "plat"): string => {
    const parent = /Packaging|Finalize/.test(type) ? "xenlayer:index:LayerVersion$" : "";
    return `urn:pulumi:test::program::${parent}pulumi-nodejs:dynamic/xenlayer:${type}::${name}`;
  };
  const counts = ({ events }: Awaited<ReturnType<typeof up>>) =>
    events.findLast(({ summaryEvent }) => summaryEvent !== undefined)?.summaryEvent?.resourceChanges;

  await program.expect(["up", "--skip-preview"]);
  const first = disksOf("1");
  expect(first).toHaveLength(1);

  // --replace and taint, without a change: the engine creates again, then deletes, and asks no diff.
  const layer = urnOf("PlatformLayer");
  await program.expect(["state", "taint", urnOf("Finalize"), layer, "--yes"]);
  const replaced = await up({ version: "1" }, ["--replace", urnOf("PackagingDisk"), "--replace", urnOf("PackagingMachine")]);
  expect(counts(replaced)).toMatchObject({ replace: 4 });
  expect(disksOf("1")).toEqual(first);

  let now: Wish = { version: "1" };
  if (all) {
    // --target and --exclude change what they name.
    expect(counts(await up({ version: "1", description: "new" }, ["--target", layer]))).toMatchObject({ update: 1 });
    const others = ["--exclude", layer, "--exclude-dependents"];
    expect(counts(await up({ version: "1", description: "newer" }, others))).toMatchObject({ update: 1 });

    // A new version, and back to the older one under another name of the component; protected, and with changes that are to be ignored.
    await program.edit(text({ version: "2" }));
    await program.expect(["up", "--skip-preview"]);
    expect(disksOf("2")).toHaveLength(1);
    now = { version: "1", name: "renamed", layerOptions: 'protect: true, ignoreChanges: ["description"]', description: "ignored" };
    await up({ ...now, aliases: '[{ name: "plat" }]' });
    expect(disksOf("1")).toEqual(first);

    // Taken out and added again; and an older state is imported: its holds are lost, and taken again.
    const exported = (await program.expect(["stack", "export"])).output;
    const { version: _version, ...without } = now;
    await up(without);
    await up(now);
    // Retained: the engine forgets it and asks nobody.
    await up({ ...now, options: "retainOnDelete: true" });
    const asked = simulator.log.length;
    expect(counts(await up(without))).toMatchObject({ delete: 4 });
    expect(simulator.log.slice(asked).filter(({ method }) => /other_config|destroy/.test(method))).toEqual([]);
    await up(now);
    expect(disksOf("1")).toEqual(first);
    await writeFile(join(program.dir, "older.json"), exported);
    await program.expect(["stack", "import", "--file", "older.json"]);
    await up(now);
    expect(disksOf("1")).toEqual(first);
  }

  // Deleted from the state, as if it had been somebody else's.
  for (const type of ["Finalize", "PackagingMachine", "PackagingDisk"])
    await program.expect(["state", "delete", urnOf(type, now.name), "--force", "--yes"]);
  await up(now);
  expect(disksOf("1")).toEqual(first);

  // The state is lost: another stack takes over by the connectorId, and what the first one knew does no harm.
  const [record] = simulator.db.all("VDI").filter(([, { name_label }]) => name_label === "plat (layer record)");
  await using heir = await make({ version: "1" });
  await copyFile(join(program.dir, "windows.img"), join(heir.dir, "windows.img"));
  const heirs = { version: "1", connectorId: record?.[1].other_config["xenlayer:connector"] ?? "" };
  await up(heirs, [], heir);
  expect(disksOf("1")).toEqual(first);
  let last = "test";
  if (all) {
    const refused = await program.pulumi(["destroy", "--skip-preview"]);
    expect(refused.code).not.toBe(0);
    expect(refused.output).toContain("protected");
    await program.expect(["state", "unprotect", "--all", "--yes"]);

    // The version is moved to another stack, which takes over what it needs; a component's children are moved by name.
    last = "other";
    await heir.expect(["stack", "init", last, "--no-select", "--copy-config-from", "test"]);
    const parts = ["PackagingDisk", "PackagingMachine", "Finalize"].map((type) => urnOf(type));
    const version = "urn:pulumi:test::program::xenlayer:index:LayerVersion::plat";
    await heir.expect(["state", "move", "--source", "test", "--dest", last, version, ...parts, "--yes"]);
    const { version: _version, ...rest } = heirs;
    expect(counts(await up(rest, ["--stack", "test"], heir))).toEqual({ same: 4 });
    const moved = await up(heirs, ["--stack", last], heir);
    expect(counts(moved)).toMatchObject({ create: 3, same: 5 });
    const left = await heir.pulumi(["destroy", "--skip-preview", "--stack", "test"]);
    expect(left.output).toContain("pulumi state delete");
    await heir.expect(["state", "delete", urnOf("ConnectorConfig", "pool"), "--stack", "test", "--yes"]);
    await heir.expect(["destroy", "--skip-preview", "--stack", "test"]);
    expect(disksOf("1")).toEqual(first);
  }

  // The password is changed: destroy asks with what the state holds, where nothing else is said.
  simulator.changePassword("rotated");
  simulator.expireSessions();
  if (all) {
    const refused = await heir.pulumi(["destroy", "--skip-preview", "--stack", last]);
    expect(refused.code).not.toBe(0);
    expect(refused.output).toContain("SESSION_AUTHENTICATION_FAILED");
    // Given by the program, an up takes it into the state.
    await heir.expect(["config", "set", "--stack", last, "--secret", "pool:password", "rotated"]);
    expect(counts(await up(heirs, ["--stack", last], heir))).toMatchObject({ update: 6 });
  }

  // The connector is the same one: it goes with the last that has layers in it.
  vi.stubEnv("XENLAYER_PASSWORD", "rotated");
  expect((await program.pulumi(["destroy", "--skip-preview"])).output).not.toContain("SESSION_AUTHENTICATION_FAILED");
  if (all) vi.unstubAllEnvs();
  expect(disksOf("1")).toEqual(first);
  await heir.expect(["destroy", "--skip-preview", "--stack", last]);
  vi.unstubAllEnvs();
  const { message: __, ...after } = simulator.state();
  expect(after).toEqual(before);
  await simulator.close();
});
