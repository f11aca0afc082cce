// The provider's checks in a modelled Windows: each state that the model can be in, what the guest's own script and the judge make of it together, what is mended,
// and that nothing at work is ever interrupted, whatever the order lets through.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildOrder, type OrderRequest } from "../../provider/guest/order.ts";
import { readPayload, writePayload } from "../../provider/guest/payload.ts";
import { judgeFinalize, type Verdict } from "../../provider/guest/verdict.ts";
import { FatVolume } from "../storage/fat.ts";
import { TestMachine, type WindowsInput, windows } from "./testing.ts";

beforeAll(() => FatVolume.ready());

afterEach(() => TestMachine.removeAll());

type Registry = NonNullable<WindowsInput["registry"]>;

async function finalize(machine: TestMachine, given: Partial<OrderRequest> = {}): Promise<Verdict> {
  const order = buildOrder({ order: "finalize", os: "windows", layer: "XenServer", version: "2.4", ...given });
  machine.insert(await writePayload({ order }));
  await machine.run();
  return judgeFinalize(order, await readPayload(machine.payload()), given.policies);
}

/** Beside NGen's queue, which is run at each finalize. */
const mended = ({ fixes }: Verdict): string[] => fixes.filter(({ fix }) => !fix.startsWith("ngen")).map(({ fix, rc }) => `${fix} ${rc}`);

const opened = (verdict: Verdict): [string, string][] =>
  verdict.checks.filter((check) => check.verdict !== "ready").map((check) => [check.id, check.verdict]);

const SERVICES = "HKLM\\SYSTEM\\CurrentControlSet\\Services";
const CURRENT = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion";
const SESSION_MANAGER = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager";
const tools = { version: "9.4.0.146" };

it("a quiet guest with VM tools has nothing to be warned of", async () => {
  expect(await finalize(windows({ tools }))).toMatchObject({ state: "ready", boots: 1, accept: [], blockFinalize: 0 });
});

describe("what stays after a restart", () => {
  it.each<[string, string, Registry, string, string?]>([
    [
      "a driver that may be left out",
      "bootDiskDrivers",
      { [`${SERVICES}\\xenbus\\StartOverride`]: { "0": ["REG_DWORD", "0x3"] } },
      "pending",
    ],
    [
      "a monitor that restarts by itself",
      "vmTools",
      { [`${SERVICES}\\xenbus_monitor\\Parameters`]: { AutoReboot: ["REG_DWORD", "0x3"] } },
      "pending",
    ],
    [
      "tools that have failed",
      "vmTools",
      { "HKLM\\SOFTWARE\\Citrix\\XenToolsInstaller": { InstallStatus: ["REG_SZ", "Failed"] } },
      "pending",
    ],
    ["packages that wait", "servicing", { [`${CURRENT}\\Component Based Servicing\\PackagesPending\\KB5034441`]: {} }, "pending"],
    ["RunOnce", "runOnce", { [`${CURRENT}\\RunOnce`]: { "Finish setup": ["REG_SZ", "C:\\setup.exe"] } }, "pending"],
    ["RunOnceEx", "runOnce", { "HKLM\\SOFTWARE\\Wow6432Node\\Microsoft\\Windows\\CurrentVersion\\RunOnceEx\\0001": {} }, "pending"],
    ["an encrypted volume", "bitLocker", { "HKLM\\SYSTEM\\XAPISIM\\Volume": { Encrypted: ["REG_DWORD", "100"] } }, "pending"],
    [
      "a Windows Update that does not answer",
      "pendingReboot",
      { "HKLM\\SYSTEM\\XAPISIM\\Restart": { WindowsUpdate: ["REG_DWORD", "2"] } },
      "failed",
    ],
    ["sessions of FSLogix", "fsLogix", { "HKLM\\SOFTWARE\\FSLogix\\Profiles\\Sessions\\S-1-5-21-7": {} }, "warned"],
    ["mapped drives", "residue", { "HKCU\\Network\\S": { RemotePath: ["REG_SZ", "\\\\server\\share"] } }, "warned"],
    ["a set-up that goes on", "windowsUpgrade", { "HKLM\\SYSTEM\\Setup": { SystemSetupInProgress: ["REG_DWORD", "0x1"] } }, "pending"],
  ])("%s", async (_what, check, registry, verdict) => {
    const judged = await finalize(windows({ tools, registry }), { limits: { rebootMax: 1, msiWaitSeconds: 60 } });
    expect(opened(judged)).toEqual([[check, verdict]]);
    expect(judged.state).toBe(verdict === "warned" ? "ready" : verdict === "failed" ? "failed" : "blocked");
  });

  it("a driver's start is the tools' business only where they are", async () => {
    expect((await finalize(windows({ registry: { [`${SERVICES}\\xenvbd`]: { Start: ["REG_DWORD", "0x3"] } } }))).state).toBe("ready");
  });

  it.each([
    ["%SystemRoot%\\SMSCFG.INI", "smsConfig"],
    ["%ProgramData%\\Microsoft\\Crypto\\RSA\\S-1-5-18\\fb8cc9e38d3e60ab60c17cdfd6dd6d99_5c2d", "wemKey"],
    ["%TEMP%\\setup.msi", "residue"],
  ])("a file %s", async (path, check) => {
    const plain = path.replace("%SystemRoot%", "Windows").replace("%ProgramData%", "ProgramData").replace("%TEMP%", "Windows/TEMP");
    const registry = { [`${SERVICES}\\CcmExec`]: { Start: ["REG_DWORD", "0x2"] } } satisfies Registry;
    const leaves = { match: "leaves.exe", files: { [plain.replaceAll("\\", "/")]: "x" } };
    const runOnce = { [`${CURRENT}\\RunOnce`]: { leaves: ["REG_SZ", "leaves.exe"] } } satisfies Registry;
    const machine = windows({ tools, programs: [leaves], registry: { ...registry, ...runOnce } });
    expect(opened(await finalize(machine, { policies: { runOnce: "fix" } })).map(([id]) => id)).toEqual([check]);
  });

  it("an inserted ISO", async () => {
    const machine = windows({ tools });
    machine.cds = ["tools.iso"];
    expect(opened(await finalize(machine))).toEqual([["residue", "warned"]]);
  });
});

describe("what CIM and COM alone know", () => {
  it.each([
    ["device", /Windows can't use PCI\\VEN_5853&DEV_0001\\0 before/],
    ["update", /Windows Update says so/],
  ] as const)("a %s is mended by a restart, and blocks when it stays", async (kind, says) => {
    const registry = { [`${CURRENT}\\RunOnce`]: { once: ["REG_SZ", "once.exe"] } } satisfies Registry;
    const leaves = (pendingReboots: number) =>
      windows({ tools, registry, programs: [{ match: "once.exe", pending: [kind], pendingReboots }] });
    const gone = await finalize(leaves(1), { policies: { runOnce: "fix" } });
    expect([gone.state, mended(gone)]).toEqual(["ready", ["run-once 0", "reboot 0"]]);
    const stays = await finalize(leaves(99), { policies: { runOnce: "fix" } });
    expect(stays.state).toBe("blocked");
    expect(stays.summary).toMatch(says);
  });

  it("a device with another problem is nobody's restart", async () => {
    const registry = {
      "HKLM\\SYSTEM\\XAPISIM\\Restart": { Device: ["REG_SZ", "ROOT\\X\\0"], Problem: ["REG_DWORD", "28"] },
    } satisfies Registry;
    expect((await finalize(windows({ tools, registry }))).state).toBe("ready");
  });
});

describe("RunOnce", () => {
  const entries = {
    [`${CURRENT}\\RunOnce`]: {
      first: ["REG_SZ", '"C:\\Program Files\\x\\first.exe" /quiet'],
      second: [
        "REG_EXPAND_SZ",
        `reg add "${SESSION_MANAGER}" /v BootExecute /t REG_MULTI_SZ /d "autocheck autochk /p C:\\0autocheck autochk *" /f`,
      ],
    },
    "HKLM\\SOFTWARE\\Wow6432Node\\Microsoft\\Windows\\CurrentVersion\\RunOnce": { third: ["REG_SZ", "third.exe & third.exe"] },
  } satisfies Registry;
  const programs = [
    { match: "first.exe", files: { "first.txt": "" } },
    { match: "third.exe", exitCode: 5, files: { "third.txt": "" } },
  ];

  it("is carried out where policy says so, entry by entry, and what that leaves is mended in turn", async () => {
    const machine = windows({ tools, programs, registry: entries });
    const judged = await finalize(machine, { policies: { runOnce: "fix" } });
    expect(judged).toMatchObject({ state: "ready", boots: 2 });
    // The check of the volume that the second entry has ordered is what the restart was for.
    expect(mended(judged)).toEqual(["run-once 0", "run-once 0", "run-once 5", "reboot 0"]);
    expect([machine.file("first.txt"), machine.file("third.txt")]).toEqual(["", ""]);
  });

  it("is left alone by default, and said", async () => {
    const machine = windows({ tools, programs, registry: entries });
    const judged = await finalize(machine);
    expect(judged).toMatchObject({ state: "blocked", blockFinalize: 16 });
    expect(mended(judged)).toEqual([]);
    expect(judged.summary).toMatch(/A RunOnce script is outstanding.*RunOnce, first: "C:\\Program Files\\x\\first\.exe" \/quiet; /);
    expect(machine.file("first.txt")).toBeUndefined();
  });

  it("leaves an entry that it can't read from one line, and goes on to block", async () => {
    const registry = { [`${CURRENT}\\RunOnce`]: { "Finish setup": ["REG_SZ", "first.exe"] } } satisfies Registry;
    const machine = windows({ tools, programs, registry });
    const judged = await finalize(machine, { policies: { runOnce: "fix" } });
    expect([judged.state, mended(judged)]).toEqual(["blocked", []]);
    expect(machine.file("first.txt")).toBeUndefined();
  });

  it("ends, though an entry puts itself back each time", async () => {
    const again = `reg add "${CURRENT}\\RunOnce" /v again /d first.exe /f`;
    const registry = { [`${CURRENT}\\RunOnce`]: { again: ["REG_SZ", again] } } satisfies Registry;
    const back = {
      match: "first.exe",
      registry: { [`${CURRENT}\\RunOnce`]: { again: ["REG_SZ" as const, "first.exe"] as ["REG_SZ", string] } },
    };
    const judged = await finalize(windows({ tools, programs: [back], registry }), { policies: { runOnce: "fix" } });
    expect(judged.state).toBe("blocked");
    expect(mended(judged)).toHaveLength(50);
  });
});

describe("a program that does not do its work", () => {
  const limits = { rebootMax: 0, msiWaitSeconds: 0, ngenWaitSeconds: 0 };
  // As a stub does (Wine has such), as one that was damaged, and as cmd says of one that is missing or forbidden.
  const answers = { "says nothing and ends with 0": ["", 0], "says nothing and fails": ["", 5], "is missing": ["", 9009] } as const;
  const asked = ["reg query", "tasklist", "sc query", "fsutil dirty", "powershell", "ngen.exe", "cscript"];

  it.each(asked)("%s, keeps the guest from being ready, whatever it does instead", async (match) => {
    for (const [what, [output, exitCode]] of Object.entries(answers)) {
      const machine = windows({ tools, programs: [{ match, output, exitCode }] });
      const order = buildOrder({ order: "finalize", os: "windows", layer: "XenServer", version: "2.4", kms: true, limits });
      machine.insert(await writePayload({ order }));
      let off = false;
      machine.run().then(
        () => (off = true),
        () => {},
      );
      // What tells of workers and doesn't work tells of no rest either: then nothing powers the machine off.
      await machine.until(() => off || machine.lines.some((line) => line.includes("left running")));
      const judged = judgeFinalize(order, await readPayload(machine.payload()));
      expect([what, judged.state]).toEqual([what, expect.stringMatching(/^(blocked|failed)$/)]);
      expect(judged.summary, what).toMatch(
        /could not be read|no \.NET Framework|is pending|is in progress|outstanding|said nothing|ended with/,
      );
    }
  });
});

describe("what is at work is never interrupted", () => {
  const ngen = { frameworks: ["Framework64/v4.0.30319"], queuedSeconds: 400 };
  const policies = [{}, { ngen: "block" }, { ngen: "warn" }, { ngen: "ignore", ngenNeeded: "ignore" }, { pendingReboot: "block" }] as const;

  it.each(policies)("NGen, with policies %j, waited for", async (chosen) => {
    const machine = windows({ tools, ngen, registry: { [`${CURRENT}\\RunOnce`]: { x: ["REG_SZ", "x.exe"] } } });
    await finalize(machine, { ngen: "wait", policies: chosen, limits: { ngenWaitSeconds: 3600 } });
    expect(machine.lines.join("\n")).not.toContain("interrupted");
    expect(machine.file("XAPISIM/STATE.JSON")).toContain('"interrupted": []');
  });

  it.each([{}, { installer: "block" }, { installer: "ignore" }] as const)("Windows Installer, with policies %j", async (chosen) => {
    const busy = { match: "busy.exe", msiSeconds: 300, pending: ["reboot" as const] };
    const registry = { [`${CURRENT}\\RunOnce`]: { busy: ["REG_SZ", "busy.exe"] } } satisfies Registry;
    const machine = windows({ tools, programs: [busy], registry });
    await finalize(machine, { policies: { runOnce: "fix", ...chosen } });
    expect(machine.lines.join("\n")).not.toContain("interrupted");
  });

  it("what is let through is spared only when it has had its time", async () => {
    const machine = windows({ tools, ngen: { ...ngen, queuedSeconds: 20_000 } });
    const chosen = { ngen: "ignore", ngenNeeded: "ignore" } as const;
    const before = machine.clock.now();
    const judged = await finalize(machine, { ngen: "wait", policies: chosen, limits: { ngenWaitSeconds: 900, msiWaitSeconds: 60 } });
    expect(machine.clock.now() - before).toBeGreaterThan(900_000);
    expect(judged).toMatchObject({ state: "ready", blockFinalize: 1 });
  });
});
