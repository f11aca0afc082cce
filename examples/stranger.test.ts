// A program that nobody tuned anything for: names with blanks, quotes and letters from everywhere, another pool, a VHD of another size, other steps and settings.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeGuestImage } from "../simulator/guests/image.ts";
import { missingPrograms } from "../simulator/storage/testing.ts";
import { disksOf, download, ENGINE, type Example, fileIn, run, startExample } from "./testing.ts";

const missing = missingPrograms(["qemu-img", "mtype"]);

const LAYER = `Büro "Süd" & Co — 'fünf' 日本 <1>`;
const VERSION = "2.0 β/ü (rc\\1)";
const PASSWORD = 'p%PATH%"w^r!d&<>|é';

const program = `
import * as pulumi from "@pulumi/pulumi";
import { ConnectorConfig, Finalize, getLayerVersionsOutput, getVersionReportOutput, LayerVersion, OsLayer, PackagingDisk, PackagingMachine, PlatformLayer } from "pulumi-xenlayer";

const pool = new pulumi.Config("xenlayer");
const password = new pulumi.Config().requireSecret("password");
const { settings } = new ConnectorConfig("a b", {
  address: [pool.require("address")],
  username: pool.require("username"),
  password: pool.requireSecret("password"),
  template: pool.require("template"),
  storageRepository: pool.require("storageRepository"),
  network: "Pool-wide network associated with eth0",
  tags: ["ünïcode", "two words"],
});
const os = new OsLayer("ös", { connector: settings, name: "Windows Server “2025”", version: "α 1", source: { file: "mein image.vhd", format: "vhd" } });
const layer = new PlatformLayer("lay:er", {
  connector: settings,
  name: ${JSON.stringify(LAYER)},
  description: ${JSON.stringify(`${LAYER}\nsecond line`)},
  osLayer: os.id,
  purpose: "publishing",
  platform: { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "otherBroker" },
});
const first = new LayerVersion("1", {
  connector: settings,
  layer: layer.id,
  version: ${JSON.stringify(VERSION)},
  fileName: "disk of “α”.vhd",
  sizeGiB: 1,
  comment: "with \\"quotes\\" and\\na second line",
  install: [
    { name: "Ünterbau \\"x\\" & <y>", shell: "powershell", run: "& 'C:\\\\Set Up\\\\go.exe' -Name \\"$env:WHO\\"", env: { WHO: "Jürgen & Söhne" } },
    { name: "second", shell: "powershell", run: "join.exe $env:SECRET", secretEnv: { SECRET: password }, rebootExit: [77] },
    { name: "日本", shell: "cmd", run: "reg add HKLM\\\\Software\\\\Acme /v Done /t REG_SZ /d yes /f\\nif errorlevel 1 exit /b 5\\nlate.exe", expectExit: [0, 12] },
  ],
  checks: { pendingReboot: "block" },
  ngen: "wait",
});
// A second new version in the same program, on the first, its steps on their own.
const disk = new PackagingDisk("2", { connector: settings, layer: layer.id, version: "2.1", baseVersion: first.version });
const machine = new PackagingMachine("2", { connector: settings, disk: disk.id, install: [{ name: "late", shell: "cmd", run: "late.exe", expectExit: [12] }], onFailure: "delete" });
const sealed = new Finalize("2", { connector: settings, disk: disk.id, machine: machine.id, version: disk.version, onDelete: "destroy" });

export const id = sealed.versionId;
export const disks = [first.vdiUuid, sealed.vdiUuid];
export const report = getVersionReportOutput({ connector: settings, versionId: first.versionId }).text;
export const versions = sealed.sealedAt.apply(() => getLayerVersionsOutput({ connector: settings, layer: layer.id })).versions.apply((all) => all.map(({ version }) => version));
`;

describe.skipIf(missing.length > 0).sequential("a program of a stranger", { timeout: ENGINE }, () => {
  let example: Example;
  beforeAll(async () => {
    example = await startExample({
      example: "quickstart",
      program,
      ownImage: true,
      pool: "ha",
      storageRepository: "Second shared NFS",
      secrets: { password: PASSWORD },
    });
    const raw = join(example.dir, "any.raw");
    await makeGuestImage(raw, {
      sizeMiB: 333,
      label: "SYS",
      descriptor: {
        guest: "windows",
        bootstrap: "cloud-init",
        tools: { version: "9.3.2" },
        kms: { channel: "RETAIL", rearmCount: 0 },
        ngen: { frameworks: ["Framework64/v4.0.30319"], queuedSeconds: 60 },
        programs: [
          { match: "C:\\Set Up\\go.exe -Name", seconds: 5, files: { "Programme/Büro/größe.txt": "1\r\n" } },
          { match: { regex: "^join\\.exe " }, exitCode: 77, pending: ["reboot", "rename"], files: { "joined.txt": "yes" } },
          { match: "late.exe", exitCode: 12, msiSeconds: 20, files: { "late.txt": "late" } },
        ],
      },
    });
    await run("qemu-img", [
      "convert",
      "-f",
      "raw",
      "-O",
      "vpc",
      "-o",
      "subformat=dynamic,force_size=on",
      raw,
      join(example.dir, "mein image.vhd"),
    ]);
  }, ENGINE);
  afterAll(() => example?.[Symbol.asyncDispose](), ENGINE);

  it("previews what it will make, and the pool stays as it is", async () => {
    expect((await example.stack.expect(["preview"])).changes).toEqual({ create: 11 });
    expect(example.changed()).toEqual([]);
  });

  it("builds both versions, with the names and steps that it gives", async () => {
    expect((await example.stack.expect(["up", "--skip-preview"])).changes).toEqual({ create: 11 });
    const { disks, versions, report } = await example.stack.outputs();
    expect(versions).toEqual([VERSION, "2.1"]);
    expect(report).toContain(VERSION);
    expect(disksOf(example)).toEqual(expect.arrayContaining(["disk of “α”.vhd", `${LAYER} 2.1`, "Windows Server “2025” α 1"]));
    const [first = "", second = ""] = disks as string[];
    const image = join(example.dir, "version.img");
    await download(example, first, "raw", image);
    expect(await fileIn(image, "Programme/Büro/größe.txt")).toBe("1\r\n");
    expect(await fileIn(image, "joined.txt")).toBe("yes");
    expect(example.simulator.disk(first).size).toBe(2 ** 30);
    await download(example, second, "raw", image);
    expect(await fileIn(image, "late.txt")).toBe("late");
  });

  it("shows and stores its secrets nowhere", async () => {
    for (const text of [
      await example.stack.storedState(),
      JSON.stringify(example.simulator.state()),
      JSON.stringify(example.simulator.log),
    ])
      for (const secret of [PASSWORD, JSON.stringify(PASSWORD).slice(1, -1), example.simulator.password])
        expect(text).not.toContain(secret);
  });

  it("has nothing to do after a refresh", async () => {
    expect((await example.stack.expect(["refresh", "--skip-preview"])).changes).toEqual({ same: 11 });
    expect((await example.stack.expect(["up", "--skip-preview"])).changes).toEqual({ same: 11 });
  });

  it("destroys all it made: the pool is as before the first up", async () => {
    expect((await example.stack.expect(["destroy", "--skip-preview"])).changes).toEqual({ delete: 11 });
    expect(example.changed()).toEqual([]);
  });
});
