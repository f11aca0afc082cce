// A version's report over the wire: what was kept is read back from the pool, by a function and for people.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { main } from "../cli.ts";
import { getVersionReport } from "../functions.ts";
import { checks } from "../guest/checks.ts";
import { OTHER_BIT } from "../guest/fact.ts";
import { connectFor } from "../session.ts";
import { halfMade, type OpenStage, openStage, Story, step, windowsGuest } from "../testing.ts";
import { bitsOf } from "./bits.ts";
import { reportSchemaText } from "./schema.ts";
import { report as shape } from "./shape.ts";

const UNINSTALL = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall";
const software = (name: string, version: string) => ({
  [`${UNINSTALL}\\${name}`]: { DisplayName: ["REG_SZ", name], DisplayVersion: ["REG_SZ", version], Publisher: ["REG_SZ", "Vendor"] },
});

/** A Windows with VM tools, and installers that leave their names. */
const guest = {
  ...windowsGuest,
  tools: { version: "9.4.0.146", drivers: { xenbus: "9.1.12.94", xenvif: "9.1.13.2" } },
  programs: [
    { match: "agent24.exe", seconds: 90, output: "installed <b>24</b> & more\n", registry: software("Agent", "24.0") },
    { match: "agent25.exe", seconds: 95, output: "installed 25\n", registry: software("Agent", "25.0") },
    {
      match: "tools.exe",
      seconds: 30,
      registry: software("Viewer", "1.0"),
      installsTools: { version: "9.5.0.2", drivers: { xenbus: "9.2.0.1", xennet: "9.2.0.1" } },
    },
    ...windowsGuest.programs,
  ],
} as unknown as typeof windowsGuest;

let stage: OpenStage;
let story: Story;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage, guest);
});
afterAll(() => stage?.close());
afterEach(() => vi.unstubAllEnvs());

const reportOf = (versionId: unknown) => getVersionReport(stage.front, { connector: story.connector, versionId: String(versionId) });

describe("the report of a sealed version", () => {
  it("is whole, and is read back from the evidence that is kept with it", async () => {
    const layer = await story.layer("plat");
    const install = [step("agent24.exe"), step("driver.exe"), step("compiles.exe")];
    const version = await layer.version("1.0", { machine: { install }, seal: { kms: "rearm", checks: { ngen: "warn" } } });
    const { text, html, report } = await reportOf(version.seal.outputs.versionId);

    expect(shape.parse(JSON.parse(JSON.stringify(report)))).toEqual(report);
    expect(report).toMatchObject({
      layer: "plat",
      version: "1.0",
      basedOn: "win11/1.0",
      state: "ready",
      boots: 2,
      mode: "automatic",
      toolsVersion: "9.4.0.146",
      sealed: { asSealed: true },
      kms: { state: "ready", before: 5 },
      inventory: { system: "Windows 11 Enterprise (22631.1)", problems: [] },
      problems: [],
    });
    // The machine and the evidence's former owner are gone: nothing but the version's own disks was read.
    expect(stage.sim.db.all("VM").filter(([, vm]) => vm.name_label.startsWith("plat"))).toEqual([]);

    expect(report.steps.map(({ name, exitCode, asRecorded }) => [name, exitCode, asRecorded])).toEqual([
      ["agent24", 0, true],
      ["driver", 0, true],
      ["compiles", 0, true],
    ]);
    expect(report.steps[0]).toMatchObject({ log: "installed <b>24</b> & more\r\n", seconds: expect.any(Number) });
    expect(report.steps[0]?.seconds).toBeGreaterThanOrEqual(90);
    const drivers = report.checks.find(({ id }) => id === "bootDiskDrivers");
    expect(drivers?.samples.map(({ attempt, round, state }) => `${attempt}${round} ${state}`)).toEqual([
      "1a pending",
      "1b pending",
      "2a ready",
      "2b ready",
      "2c ready",
    ]);
    expect(drivers?.facts.find(({ id }) => id === "xenbus-requests")).toMatchObject({ quiet: true, exitCode: 1, answer: "said" });
    expect(report.fixes.map(({ fix }) => fix)).toContain("reboot");
    expect(report.bits).toEqual([{ name: "icNone", value: 0, meaning: "finalize is allowed" }]);
    expect(report.inventory?.software).toEqual([{ id: "Agent", name: "Agent", version: "24.0", publisher: "Vendor" }]);
    expect(report.inventory?.drivers.map(({ name, version }) => `${name} ${version}`)).toEqual([
      "xenbus.inf 9.1.12.94",
      "xenvif.inf 9.1.13.2",
    ]);
    expect(Object.keys(report.times).sort()).toEqual([
      "finalizingAt",
      "finalizingSeconds",
      "packagedAt",
      "packagingAt",
      "packagingSeconds",
    ]);

    expect(text).toContain("Layer plat, version 1.0: finalize report\nready: ");
    expect(text).toMatch(
      /\nDrivers of the boot disk \(bootDiskDrivers, policy fix\): ready\n {2}attempt 1, sample a: pending - A reboot is pending/,
    );
    expect(text).toContain("step 01 agent24: done, exit code 0, 90 s\n  | installed <b>24</b> & more\n");
    expect(html).toContain("installed &lt;b&gt;24&lt;/b&gt; &amp; more");
    expect(html).not.toMatch(/<script|<link|https?:|src="(?!data:)/);
    await layer.drop(version);
    await stage.destroy(layer.made);
  });

  it("says so when the evidence is not what the version was sealed by", async () => {
    const layer = await story.layer("tampered");
    const version = await layer.version("1", { machine: { install: [step("agent24.exe")] } });
    const before = await reportOf(version.seal.outputs.versionId);
    expect(before.report.sealed).toMatchObject({ asSealed: true, digest: (version.seal.outputs.report as { digest: string }).digest });
    const record = await layer.record();
    const entry = await layer.entry("1");
    // Another verdict was recorded than the evidence gives.
    await record.put("1", {
      ...entry,
      sealed: { ...(entry.sealed as NonNullable<typeof entry.sealed>), report: { state: "ready", summary: "as sealed", digest: "0" } },
    });
    const after = await reportOf(version.seal.outputs.versionId);
    expect(after.report).toMatchObject({ summary: "as sealed", sealed: { asSealed: false } });
    expect(after.text).toContain("gives another verdict than when it was sealed");
    expect(after.html).toContain("gives another verdict than when the version was sealed");
    await layer.drop(version);
    await stage.destroy(layer.made);
  });
});

it("the report of a version that could not be sealed says what blocks, and what its steps have printed", async () => {
  const layer = await story.layer("open");
  const wish = { machine: { install: [step("agent24.exe"), step("hopeless.exe")] }, seal: { timeouts: { rebootMax: 0 } } };
  const disk = await layer.disk("1");
  const machine = await layer.machine(disk, wish);
  const packaged = (await reportOf(machine.outputs.versionId)).report;
  expect(packaged).toMatchObject({ order: "package", state: "ready", checks: [], steps: [{ name: "agent24" }, { name: "hopeless" }] });
  expect(packaged.sealed).toBeUndefined();
  await expect(layer.seal(disk, "1", wish)).rejects.toThrow("is not ready to be finalized");
  const { report, text } = await reportOf(machine.outputs.versionId);
  expect(report).toMatchObject({ order: "finalize", state: "blocked", steps: [{ name: "agent24" }, { name: "hopeless" }] });
  expect(report.bits).toEqual([{ name: "icReboot", value: 2, meaning: "a restart is pending" }]);
  expect(report.inventory).toBeUndefined();
  expect(text).toContain("\nnot sealed, based on win11/1.0\n");
  await layer.drop({ disk, machine });
  await stage.destroy(layer.made);
});

it("every bit that a check can set has a name, also those that App Layering has none for", () => {
  for (const { id, bit } of checks) expect([id, bitsOf(bit.value).map(({ value }) => value)]).toEqual([id, [bit.value]]);
  expect(bitsOf(OTHER_BIT.value + 2).map(({ name }) => name)).toEqual(["icReboot", "other"]);
});

it("a console is pictured when a time limit is over, and the report shows the picture", async () => {
  const layer = await story.layer("late");
  const wish = { machine: { install: [step("never.exe")], timeouts: { packageMinutes: 0.02 } } };
  const disk = await layer.disk("1");
  const error = await layer.machine(disk, wish).catch((failed: unknown) => failed);
  expect(String(error)).toMatch(/left running \(its console is pictured in .*\.jpg\)/);
  const machine = halfMade(error);
  await expect(reportOf(machine.outputs.versionId)).rejects.toThrow(/machine "late 1 packaging .*" is running, and writes on its evidence/);
  const [, vm] = stage.sim.db.all("VM").find(([, { name_label }]) => name_label.startsWith("late 1 packaging")) ?? [];
  await (await connectFor(stage.front, story.connector as never)).task("VM.hard_shutdown", [stage.sim.db.refOf("VM", vm?.uuid ?? "")]);
  const { report, html } = await reportOf(machine.outputs.versionId);
  expect(report.pictures).toMatchObject([
    { type: "image/jpeg", doing: expect.stringMatching(/^the install steps in "late 1/), data: expect.any(String) },
  ]);
  expect(html).toContain(`src="data:image/jpeg;base64,${report.pictures[0]?.data}"`);
  // Nothing else of this machine is ever read, whatever the record on the pool says.
  const record = await layer.record();
  const entry = await layer.entry("1");
  const [picture] = entry.machine?.pictures ?? [];
  for (const file of ["/etc/hostname", join(tmpdir(), "xenlayer-console-x", "..", "..", "etc", "hostname"), fileURLToPath(import.meta.url)])
    await record.put("1", {
      ...(await layer.entry("1")),
      machine: {
        ...(entry.machine as NonNullable<typeof entry.machine>),
        pictures: [{ ...(picture as NonNullable<typeof picture>), file }],
      },
    });
  expect((await reportOf(machine.outputs.versionId)).report.pictures[0]).not.toHaveProperty("data");
  await layer.drop({ disk, machine });
  await stage.destroy(layer.made);
});

it("a picture is kept with the version that is sealed after all, wherever it is asked for", async () => {
  const layer = await story.layer("slow");
  const disk = await layer.disk("1");
  const machine = await layer.machine(disk, { machine: { install: [step("agent24.exe")] } });
  const late = layer.seal(disk, "1", { seal: { timeouts: { finalizeMinutes: 0.000_01 } } });
  const [, file = ""] = /is pictured in (.+?\.jpg)\)/.exec(String(await late.catch((error: unknown) => error))) ?? [];
  const data = readFileSync(file).toString("base64");
  const seal = await layer.seal(disk, "1");
  // As on any other machine.
  rmSync(dirname(file), { recursive: true });
  const { report, html, text } = await reportOf(seal.outputs.versionId);
  expect(report).toMatchObject({ state: "ready", sealed: { asSealed: true }, steps: [{ name: "agent24" }] });
  expect(report.pictures).toEqual([{ at: expect.any(String), doing: expect.stringMatching(/^"slow 1/), file, type: "image/jpeg", data }]);
  expect(html).toContain(`src="data:image/jpeg;base64,${data}"`);
  expect(text).toContain(`${file} (shown by --format html)`);
  expect(shape.parse(JSON.parse(JSON.stringify(report)))).toEqual(report);
  await layer.drop({ disk, machine, seal });
  await stage.destroy(layer.made);
});

it("xenlayer report shows a version, writes its page, and compares two", async () => {
  vi.stubEnv("XENLAYER_USERNAME", stage.sim.username);
  vi.stubEnv("XENLAYER_PASSWORD", stage.sim.password);
  const run = async (...args: string[]) => {
    const [out, err]: [string[], string[]] = [[], []];
    const code = await main(["report", "--address", stage.sim.url, ...args], {
      out: (text) => void out.push(text),
      err: (text) => void err.push(text),
    });
    return { code, out: out.join(""), err: err.join("") };
  };
  const layer = await story.layer("plat");
  const old = await layer.version("1.0", { machine: { install: [step("agent24.exe")] } });
  const now = await layer.version("1.1", { machine: { install: [step("agent25.exe"), step("tools.exe")] } });

  const shown = await run("--layer", "plat", "--version", "1.1");
  expect(shown).toMatchObject({ code: 0, err: "" });
  expect(shown.out).toMatch(/^Layer plat, version 1\.1: finalize report\nready: /);
  const json = await run("--layer", layer.id, "--version", "1.0", "--format", "json");
  expect(shape.parse(JSON.parse(json.out))).toMatchObject({ version: "1.0", state: "ready" });
  const file = join(stage.dir, "report.html");
  expect(await run("--layer", "plat", "--version", "1.0", "--format", "html", "--out", file)).toEqual({ code: 0, out: "", err: "" });
  expect(readFileSync(file, "utf8")).toMatch(/^<!doctype html>/);

  const compared = await run("--layer", "plat", "--compare", "1.0", "1.1");
  expect(compared.out).toBe(`Layer plat: version 1.0 compared with 1.1
VM tools: 9.4.0.146 -> 9.5.0.2

Installed software:
  + Viewer 1.0
  ~ Agent 24.0 -> 25.0

Driver packages:
  + xennet.inf 9.2.0.1
  ~ xenbus.inf 9.1.12.94 -> 9.2.0.1
`);
  const comparison = await run("--layer", "plat", "--compare", "1.0", "1.1", "--format", "html");
  expect(comparison.out).toContain("1 added, 0 removed, 1 changed");

  expect(await run("--layer", "plat", "--version", "3")).toMatchObject({
    code: 1,
    err: expect.stringContaining('layer "plat" has no version 3 (it has: 1.0, 1.1)'),
  });
  expect(await run("--layer", "none", "--version", "3")).toMatchObject({
    code: 1,
    err: expect.stringContaining('there is no layer "none"'),
  });
  for (const [args, says] of [
    [["--layer", "plat"], "--version or --compare is missing"],
    [["--layer", "plat", "--compare", "1.0"], "--compare takes two versions"],
    [["--layer", "plat", "--version", "1", "--compare", "1.0", "1.1"], "exclude each other"],
    [["--layer", "plat", "--version", "1", "--format", "pdf"], '--format is text, html, json, not "pdf"'],
    [["--version", "1"], "--layer is missing"],
  ] as const)
    expect(await run(...args)).toMatchObject({ code: 2, out: "", err: expect.stringContaining(says) });
  await layer.drop(now);
  await layer.drop(old);
  await stage.destroy(layer.made);
});

it("report.schema.json is what the shape generates", () => {
  const file = join(dirname(fileURLToPath(import.meta.url)), "report.schema.json");
  expect(existsSync(file) && readFileSync(file, "utf8")).toBe(reportSchemaText());
});
