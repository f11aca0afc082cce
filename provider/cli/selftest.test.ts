import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { TestMachine } from "../../simulator/guests/testing.ts";
import { FatVolume } from "../../simulator/storage/fat.ts";
import { main } from "../cli.ts";
import { factsOf } from "../guest/checks.ts";
import { type Fixture, selftestScripts } from "../guest/selftest.ts";

beforeAll(() => FatVolume.ready());
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "xenlayer-selftest-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: "", err: "" };
  const code = await main(["selftest", ...args], { out: (text) => (said.out += text), err: (text) => (said.err += text) });
  return { code, ...said };
}

const fixtureIn = (file: string): Fixture => JSON.parse(readFileSync(file, "utf8")) as Fixture;

/** Shells that are here; the scripts must run under each. */
const shells = [["dash"], ["busybox", "sh"], ["sh"]].filter(([program]) => {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`]);
    return true;
  } catch {
    return false;
  }
});

describe("xenlayer selftest on Linux", () => {
  it.each(shells)("runs under %s, changes nothing but its own folder, and comes back as a fixture of every fact", async (...shell) => {
    const folder = join(dir, "there");
    expect((await run("--os", "linux", "--out", folder)).out).toBe(`${folder}: copy it to a machine and run selftest.sh there as root\n`);
    const [program = "sh", ...rest] = shell.filter((each) => each !== undefined);
    const said = execFileSync(program, [...rest, join(folder, "selftest.sh")], { cwd: "/", encoding: "utf8" });
    expect(said).toContain("Done. The answers are in ");

    const file = join(dir, "fixture.json");
    await run("--os", "linux", "--read", folder, "--where", "this test's machine", "--out", file);
    const { os, provenance, facts } = fixtureIn(file);
    expect({ os, provenance }).toMatchObject({ os: "linux", provenance: { kind: "captured", where: "this test's machine" } });
    expect(provenance.about).toContain("Linux");
    expect(facts.map(({ id }) => id)).toEqual(factsOf("linux").map(({ fact }) => fact.id));
    for (const { id, raw, reading } of facts) if (raw === undefined) expect(reading, id).toBe("no answer");
    expect(facts.filter(({ raw }) => raw !== undefined).length).toBeGreaterThan(facts.length / 2);
  });

  it("gives a disk image, and reads one", async () => {
    const image = join(dir, "selftest.img");
    expect((await run("--os", "linux", "--image", image)).code).toBe(0);
    const { code, out } = await run("--os", "linux", "--read", image, "--where", "nowhere yet");
    expect(out).toMatch(/^nowhere yet\nLOUD {3}.* {2}no answer$/m);
    expect(code).toBe(1);
    // It may be somebody's only copy of what came back.
    const again = await run("--os", "linux", "--image", image);
    expect(again.err).toContain("EEXIST");
    expect(again.code).toBe(1);
  });
});

describe("xenlayer selftest on Windows", () => {
  it("asks the modelled Windows everything, and its answers are read back", async () => {
    const machine = new TestMachine({ guest: "windows", bootstrap: "none", kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 4 } });
    try {
      machine.insert(Object.fromEntries(selftestScripts("windows").map(({ path, text }) => [`selftest/${path}`, text])));
      const power = machine.boot();
      await machine.said("no bootstrap");
      const typed = await machine.guest?.type("E:\\selftest\\selftest.cmd");
      expect(typed).toMatchObject({ rc: 0, output: expect.stringContaining("Done. The answers are in") });
      await machine.guest?.type("shutdown /s /t 0");
      await power;
      const folder = join(dir, "back");
      const disk = machine.payloadDisk;
      const volume = disk === undefined ? undefined : FatVolume.open(disk);
      for (const name of volume
        ?.list("selftest/out/facts/a")
        .map((entry) => `facts/a/${entry.name}`)
        .concat("about.txt") ?? []) {
        const path = join(folder, "out", name);
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, volume?.readFile(`selftest/out/${name}`) ?? "");
      }
      const { code, out } = await run("--os", "windows", "--read", folder, "--where", "the model");
      expect(out).toMatch(/kms-licensing +value: \{"channel":"VOLUME_KMSCLIENT".*"rearmCount":4\}/);
      expect(out).toMatch(/quiet {2}session-manager/);
      expect(out).toMatch(new RegExp(`${factsOf("windows").length + 1} facts, 0 not understood\\.\\n$`));
      expect(code).toBe(0);
    } finally {
      machine.remove();
    }
  });

  it("is one script that can be printed, plain ASCII, and runs nothing that changes the machine", async () => {
    const { out } = await run("--os", "windows");
    expect(out).toMatch(/^@echo off\r\n/);
    expect([...out].every((character) => character <= "~")).toBe(true);
    expect(out).not.toMatch(/\b(?:shutdown|reg (?:add|delete|import)|\/rearm|executeQueuedItems|schtasks|del |rd )/i);
  });
});

it("is answered by the usage when it isn't understood", async () => {
  expect(await run("--os", "dos")).toMatchObject({ code: 2, err: expect.stringContaining("--os is windows or linux") });
  expect(await run("--os", "linux", "--read", dir)).toMatchObject({ code: 2, err: expect.stringContaining("--where is missing") });
  expect(await run("--os", "linux", "--read", "/nowhere", "--where", "x")).toMatchObject({
    code: 1,
    err: expect.stringContaining("ENOENT"),
  });
  expect(existsSync(join(dir, "out"))).toBe(false);
});
