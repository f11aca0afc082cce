// A version's report over the wire: what was kept is read back from the pool, by a function and for people.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { getVersionReport } from "../functions.ts";
import { type OpenStage, openStage, Story, step, windowsGuest } from "../testing.ts";
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

const reportOf = (versionId: unknown) => getVersionReport(stage.front, { connector: story.connector, versionId: String(versionId) });

describe("the report of a sealed version", () => {
  it("is whole, and is read back from the evidence that is kept with it", async () => {
    const layer = await story.layer("plat");
    const install = [step("agent24.exe"), step("driver.exe"), step("compiles.exe")];
    const version = await layer.version("1.0", { machine: { install }, seal: { kms: "rearm", checks: { ngen: "warn" } } });
    const { text, html, report } = await reportOf(version.seal.outputs.versionId);
    if (process.env.XENLAYER_SHOW !== undefined) writeFileSync(process.env.XENLAYER_SHOW, html);

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
      kms: { state: "ready", before: 5, after: 4 },
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
});

it("report.schema.json is what the shape generates", () => {
  const file = join(dirname(fileURLToPath(import.meta.url)), "report.schema.json");
  expect(existsSync(file) && readFileSync(file, "utf8")).toBe(reportSchemaText());
});
