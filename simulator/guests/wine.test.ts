// The wine guest under the provider's own generated scripts, orders and verdicts: packaging and finalize with a real registry, a real Windows Installer package, real
// pending renames; and what keeps Wine's silent programs from being read as quiet.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { PayloadReport } from "../../provider/guest/evidence.ts";
import { buildOrder, type Order, type OrderFact, type OrderRequest } from "../../provider/guest/order.ts";
import { type PayloadContent, readPayload, writePayload } from "../../provider/guest/payload.ts";
import { judgeFinalize, judgePackage } from "../../provider/guest/verdict.ts";
import { virtualClock } from "../clock.ts";
import { BLOCK } from "../storage/disk.ts";
import { FatVolume } from "../storage/fat.ts";
import type { DescriptorInput } from "./descriptor.ts";
import { TestMachine } from "./testing.ts";
import { Program } from "./wine/pe.ts";
import { wineProblem } from "./wine/prefix.ts";

const problem = wineProblem() ?? (spawnSync("wixl", ["--version"]).error ? "wixl is missing (Debian: apt-get install wixl)" : undefined);
if (problem !== undefined) {
  if (process.env.CI === "true") throw new Error(`the wine guest can't be tested: ${problem}`);
  console.warn(`\nThe wine guest was NOT tested: ${problem}\n`);
}

/**
 * Most milliseconds for a test on a slow machine that has other work, too: programs really run here. And once in some thousand commands Wine's cmd does not find a
 * program that is there (9009): the guest is then, rightly, not ready.
 */
const WINE = { timeout: 300_000, retry: 2 };

beforeAll(() => FatVolume.ready());

const folders: string[] = [];
afterEach(() => {
  TestMachine.removeAll();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

type WineInput = Extract<DescriptorInput, { guest: "wine" }>;

function wine(descriptor: Partial<WineInput> = {}, clock = virtualClock({ start: Date.UTC(2026, 10, 23, 8) })): TestMachine {
  return new TestMachine({ guest: "wine", bootstrap: "xenlayer", ...descriptor }, clock);
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "xapi-wine-test-"));
  folders.push(path);
  return path;
}

const crlf = (lines: readonly string[]): string => lines.map((line) => `${line}\r\n`).join("");
const scripts = (...lines: string[]): Record<string, string> => ({ "xenlayer/run.cmd": crlf(["@echo off", ...lines]) });

const request = (given: Partial<OrderRequest>): OrderRequest => ({
  order: "package",
  os: "windows",
  layer: "tools",
  version: "1",
  ...given,
});
const step = (name: string, lines: readonly string[], more = {}) => ({ name, run: lines.join("\n"), shell: "cmd" as const, ...more });

async function carryOut(machine: TestMachine, order: Order, files: PayloadContent["files"] = []): Promise<PayloadReport> {
  machine.insert(await writePayload({ order, files }));
  await machine.run();
  return readPayload(machine.payload());
}

const PRODUCT = "{6A3B1F0E-8F0B-4F0C-9D5A-0A1B2C3D4E5F}";

/** A Windows Installer package with one file and one registry value. */
function installerPackage(): Uint8Array {
  const at = folder();
  writeFileSync(join(at, "tool.txt"), "tool 1.2.3\r\n");
  writeFileSync(
    join(at, "tool.wxs"),
    `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Id="${PRODUCT.slice(1, -1)}" UpgradeCode="0d4c5b1a-1c2d-4e3f-8a9b-1234567890ab" Name="Layer Tool" Version="1.2.3"
      Manufacturer="Example" Language="1033">
    <Package InstallerVersion="200" Compressed="yes"/>
    <Media Id="1" Cabinet="tool.cab" EmbedCab="yes"/>
    <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="ProgramFiles64Folder"><Directory Id="INSTALLDIR" Name="Layer Tool">
      <Component Id="Tool" Guid="3f1a2b3c-4d5e-4f60-8a7b-9c8d7e6f5a4b" Win64="yes">
        <File Id="ToolText" Source="tool.txt"/>
        <RegistryValue Root="HKLM" Key="SOFTWARE\\Layer Tool" Name="Version" Type="string" Value="1.2.3"/>
      </Component>
    </Directory></Directory></Directory>
    <Feature Id="All" Level="1"><ComponentRef Id="Tool"/></Feature>
  </Product>
</Wix>`,
  );
  execFileSync("wixl", ["-a", "x64", "-o", "tool.msi", "tool.wxs"], { cwd: at });
  return readFileSync(join(at, "tool.msi"));
}

const DRIVERS = "C:\\Windows\\System32\\drivers";
const REQUEST = "SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Request\\XENVBD";
const HKEY_LOCAL_MACHINE = -0x7fff_fffe;
const REPLACE_AT_RESTART = 5;
const VOLATILE = 1;
const ALL_ACCESS = 0xf003f;
const REG_DWORD = 4;

/** Does what the installer of a PV driver does while the old driver is in use: a replacement at the next start, and xenbus_monitor's volatile request. */
const driverInstaller = (): Uint8Array =>
  new Program()
    .text("new", `${DRIVERS}\\layer.new`)
    .text("old", `${DRIVERS}\\layer.sys`)
    .text("key", REQUEST)
    .text("name", "Reboot")
    .text("one", "\x01\0\0")
    .memory("handle", 8)
    .call("MoveFileExA", { address: "new" }, { address: "old" }, REPLACE_AT_RESTART)
    .call("RegCreateKeyExA", HKEY_LOCAL_MACHINE, { address: "key" }, 0, 0, VOLATILE, ALL_ACCESS, 0, { address: "handle" }, 0)
    .call("RegSetValueExA", { value: "handle" }, { address: "name" }, 0, REG_DWORD, { address: "one" }, 4)
    .call("ExitProcess", 3010)
    .bytes();

describe.skipIf(problem !== undefined)("a layer's life under Wine", () => {
  it(
    "installs a real MSI and a driver that waits for a restart, finds both through, and what was written is on the sealed disk",
    WINE,
    async () => {
      const machine = wine({ tools: { version: "9.4.0" } });
      const install = [
        step("Tool", ['msiexec /i "%XENLAYER_FILES%\\tool.msi" /qn']),
        step("Driver", [
          "mkdir C:\\Layer",
          'copy "%XENLAYER_FILES%\\driver.exe" C:\\Layer >nul',
          `>${DRIVERS}\\layer.sys echo driver 1`,
          `>${DRIVERS}\\layer.new echo driver 2`,
          "C:\\Layer\\driver.exe",
          "set rc=%errorlevel%",
          `reg query "HKLM\\${REQUEST}" /v Reboot`,
          'reg query "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager" /v PendingFileRenameOperations',
          "exit /b %rc%",
        ]),
        step("After the restart", [
          `type ${DRIVERS}\\layer.sys`,
          `if exist ${DRIVERS}\\layer.new exit /b 2`,
          `reg query "HKLM\\${REQUEST}" >nul`,
          'if not "%errorlevel%"=="1" exit /b 3',
          `>C:\\Layer\\once.cmd echo ^>${DRIVERS}\\layer.new echo driver 3`,
          ">>C:\\Layer\\once.cmd echo C:\\Layer\\driver.exe",
          'reg add HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\RunOnce /v LayerDriver /d "cmd /c C:\\Layer\\once.cmd" /f',
        ]),
      ];
      const files = [
        { name: "tool.msi", data: installerPackage() },
        { name: "driver.exe", data: driverInstaller() },
      ];
      const toPackage = buildOrder(request({ install }));
      const packaged = judgePackage(toPackage, await carryOut(machine, toPackage, files));
      expect(packaged).toMatchObject({ state: "ready", boots: 2, steps: [{ exitCode: 0 }, { exitCode: 3010 }, { exitCode: 0 }] });
      expect(packaged.steps[1]?.logTail).toContain("    Reboot    REG_DWORD    0x1");
      expect(packaged.steps[1]?.logTail).toContain(`\\??\\${DRIVERS}\\layer.new\\0!\\??\\${DRIVERS}\\layer.sys`);
      expect(packaged.steps[2]?.logTail).toMatch(/^driver 2\n/);

      // The driver is installed once more, by RunOnce as the machine starts for its finalize: that start is not enough. Of all facts those are asked that this
      // is about: all of them, under Wine, are in executed.test.ts.
      const order = buildOrder(request({ order: "finalize", kms: true }));
      const about = ["bootDiskDrivers", "pendingReboot"];
      const fewer = { ...order, facts: order.facts.filter(({ check }) => about.includes(check)) };
      const evidence = await carryOut(machine, fewer);
      expect(evidence.report).toMatchObject({ state: "ready", boots: 2, attempt: 2, blocked: [] });
      expect(evidence.fixes).toContainEqual(expect.objectContaining({ fix: "reboot" }));
      const verdict = judgeFinalize(fewer, evidence);
      expect(verdict.kms).toMatchObject({ state: "ready", before: 1001, message: expect.stringContaining("rearmed once") });
      expect(verdict.checks.filter(({ verdict: judged }) => judged === "ready").map(({ id }) => id)).toEqual(expect.arrayContaining(about));

      // As a stranger's tool reads the sealed disk.
      const image = join(folder(), "sealed.raw");
      writeFileSync(image, machine.systemDisk.read(0, machine.systemDisk.size));
      const read = (path: string): string =>
        execFileSync("mtype", ["-i", `${image}@@1M`, `::/${path}`], { encoding: "utf8", maxBuffer: 2 ** 26 });
      expect(read("Program Files/Layer Tool/tool.txt")).toBe("tool 1.2.3\r\n");
      expect(read("windows/system32/drivers/layer.sys")).toBe("driver 3\r\n");
      const hive = read("XAPISIM/WINE/system.reg");
      expect(hive).toMatch(/^\[Software\\\\Layer Tool\][^[]*"Version"="1\.2\.3"/m);
      expect(hive).not.toMatch(/"PendingFileRenameOperations"=|^"LayerDriver"=|^\[[^\]]*xenbus_monitor\\\\Request/m);

      // A clone is the same Windows: it knows what is installed, and can remove it.
      const clone = wine();
      for (let at = 0; at < clone.systemDisk.size; at += BLOCK) clone.systemDisk.write(at, machine.systemDisk.read(at, BLOCK));
      clone.insert(
        scripts(
          'reg query "HKLM\\SOFTWARE\\Layer Tool" /v Version',
          `msiexec /x ${PRODUCT} /qn`,
          "echo removed: %errorlevel%",
          'if not exist "C:\\Program Files\\Layer Tool\\tool.txt" echo gone',
          "shutdown /s /t 0",
        ),
      );
      await clone.run();
      expect(clone.lines).toEqual(expect.arrayContaining(["Version    REG_SZ    1.2.3", "removed: 0", "gone"]));
      expect(clone.file("Program Files/Layer Tool/tool.txt")).toBeUndefined();
      expect(machine.file("Program Files/Layer Tool/tool.txt")).toBe("tool 1.2.3\r\n");
    },
  );
});

const RUN_ONCE = [
  "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\RunOnce",
  "HKLM\\SOFTWARE\\Wow6432Node\\Microsoft\\Windows\\CurrentVersion\\RunOnce",
];

describe.skipIf(problem !== undefined)("RunOnce under Wine", () => {
  it(
    "blocks while an entry is left and is drained by the next start, or by the script where the order says so; and is quiet then",
    WINE,
    async () => {
      const machine = wine();
      const lines = [
        "if exist C:\\Layer\\left%1.txt exit /b 0",
        "ver >C:\\Layer\\left%1.txt",
        ...RUN_ONCE.map((key, view) => `reg add ${key} /v Later%1-${view} /d "cmd /c ver>C:\\Layer\\ran%1-${view}.txt" /f`),
      ];
      const install = step("Set-up", ["mkdir C:\\Layer", 'copy "%XENLAYER_FILES%\\setup.cmd" C:\\Layer >nul']);
      const toPackage = buildOrder(request({ install: [install] }));
      const files = [{ name: "setup.cmd", data: new TextEncoder().encode(crlf(lines)) }];
      expect(judgePackage(toPackage, await carryOut(machine, toPackage, files)).state).toBe("ready");

      /** An entry from before the start would be drained by it: these are left, once, by what runs just before the first look. */
      const finalize = async (set: string, policy: "block" | "fix") => {
        const policies = { runOnce: policy };
        const order = buildOrder(request({ order: "finalize", policies, ngen: "wait" }));
        const command = `cmd /d /c C:\\Layer\\setup.cmd ${set}`;
        const leaves: OrderFact = { id: "leaves", check: "runOnce", command, quiet: { kind: "exitCode", codes: [0] }, fix: "none" };
        const fewer = { ...order, facts: [leaves, ...order.facts.filter(({ check }) => check === "runOnce")] };
        const evidence = await carryOut(machine, fewer);
        const { state, summary } = judgeFinalize(fewer, evidence, policies);
        const ran = [0, 1].map((view) => machine.file(`Layer/ran${set}-${view}.txt`) !== undefined);
        const left = machine.file("XAPISIM/WINE/system.reg")?.match(/^"Later.-.(?="=)/gm) ?? [];
        return { state, summary, boots: evidence.boots.length, fixes: evidence.fixes.map(({ fix, rc }) => `${fix} ${rc}`), ran, left };
      };
      expect(await finalize("A", "block")).toMatchObject({
        state: "blocked",
        summary: expect.stringMatching(/A RunOnce script is outstanding.*RunOnce, LaterA-0: cmd \/c ver>C:\\Layer\\ranA-0\.txt/),
        boots: 1,
        fixes: [],
        ran: [false, false],
        left: ['"LaterA-0', '"LaterA-1'],
      });
      const quiet = { state: "ready", boots: 1, ran: [true, true], left: [] };
      expect(await finalize("A", "block")).toMatchObject({ ...quiet, fixes: [] });
      expect(await finalize("B", "fix")).toMatchObject({ ...quiet, fixes: ["run-once 0", "run-once 0"] });
    },
  );
});

const STD_OUTPUT = -11;

/** Prints a line and ends with a code, as OSPPREARM.EXE does. */
const prints = (line: string, code: number): Uint8Array =>
  new Program()
    .text("line", `${line}\r\n`)
    .memory("handle", 8)
    .memory("written", 8)
    .call("GetStdHandle", STD_OUTPUT)
    .save("handle")
    .call("WriteFile", { value: "handle" }, { address: "line" }, line.length + 2, { address: "written" }, 0)
    .call("ExitProcess", code)
    .bytes();

describe.skipIf(problem !== undefined)("Office's rearm under Wine", () => {
  const refused = 0xc004d307;
  it.each([
    [
      "that goes well",
      prints("Microsoft Office rearm successful.", 0),
      "ready",
      /rearmed once \(Office16 \(64-bit\), exit code 0: Microsoft/,
    ],
    ["that is refused", prints("ERROR CODE: 0xC004D307", refused), "blocked", /ended with -1073425657: ERROR CODE: 0xC004D307/],
  ])("%s", WINE, async (_what, program, state, message) => {
    const machine = wine();
    const volume = FatVolume.open(machine.systemDisk);
    const folder = "Program Files/Microsoft Office/Office16";
    // As ospp.vbs prints it, and run by Wine's own script host.
    const lines = [
      "---Processing---",
      "LICENSE DESCRIPTION: Office 16, VOLUME_KMSCLIENT channel",
      "LICENSE STATUS:  ---LICENSED--- ",
      "---Exiting---",
    ];
    volume?.writeFile(`${folder}/OSPP.VBS`, crlf(lines.map((line) => `WScript.Echo "${line}"`)));
    volume?.writeFile(`${folder}/OSPPREARM.EXE`, program);
    const order = buildOrder(request({ order: "finalize", office: true }));
    const fewer = { ...order, facts: order.facts.filter(({ check }) => check === "runOnce") };
    const verdict = judgeFinalize(fewer, await carryOut(machine, fewer));
    expect(verdict.state).toBe(state);
    expect(verdict.office?.message).toMatch(message);
  });
});

/** Runs commands one by one, after lines of preparation, and hands back what each said. */
async function answersTo(
  machine: TestMachine,
  prepared: readonly string[],
  commands: readonly string[],
): Promise<{ rc: string; out: string }[]> {
  const asked = commands.flatMap((command, index) => [`${command} >E:\\${index}.out 2>&1`, `>E:\\${index}.rc echo %errorlevel%`]);
  machine.insert(scripts("cd /d E:\\", ...prepared, ...asked, "shutdown /s /t 0"));
  // Sleeps for ever, under the name of a worker that a fact looks for.
  const worker = new Program().call("Sleep", 0xffff_ffff).bytes();
  if (machine.payloadDisk !== undefined) FatVolume.open(machine.payloadDisk)?.writeFile("TiWorker.exe", worker);
  await machine.run();
  return commands.map((_, index) => ({
    rc: machine.payloadFile(`${index}.rc`)?.trim() ?? "none",
    out: machine.payloadFile(`${index}.out`) ?? "none",
  }));
}

describe.skipIf(problem !== undefined)("who answers", () => {
  it("what Wine only pretends to have is an unknown command, what it lacks is the model's, the rest is its own", WINE, async () => {
    const pretended = [
      "where cmd",
      "certutil -?",
      "icacls C:\\",
      "dism /online",
      "wevtutil el",
      "netsh show",
      "schtasks /query",
      "systeminfo",
    ];
    const modelled: [string, string, string][] = [
      ['cscript //nologo "%SystemRoot%\\System32\\slmgr.vbs" /dlv', "0", "VOLUME_KMSCLIENT channel"],
      ["fsutil dirty query C:", "0", "is NOT Dirty"],
      ["%SystemRoot%\\Microsoft.NET\\Framework64\\v4.0.30319\\ngen.exe queue status", "0", "Service is stopped"],
      ["powershell -NoProfile -Command Get-Something", "1", "is not recognized"],
      ['find /i "some TEXT" C:\\text.txt', "0", "Some Text"],
      ['find "WScript" hello.vbs', "0", "WScript.Echo"],
      ['find "wscript" hello.vbs', "1", "HELLO.VBS"],
    ];
    const wines: [string, string, string][] = [
      ["sc query eventlog", "0", "        STATE              : "],
      ["sc query NoSuchService", "1", ""],
      ["reg query HKLM\\SOFTWARE\\NotThere", "1", "Unable to find"],
      ["cmd /d /c exit 3010", "3010", ""],
      ["cscript //nologo E:\\hello.vbs", "0", "hello from Wine"],
      ["tasklist /fo csv /nh", "0", '"TiWorker.exe"'],
      ['%SystemRoot%\\System32\\wine-find.exe "[mci]" C:\\windows\\win.ini', "1", ""],
    ];
    const machine = wine();
    const prepared = ['>E:\\hello.vbs echo WScript.Echo "hello from Wine"', ">C:\\text.txt echo Some Text", 'start "" /b E:\\TiWorker.exe'];
    const asked = [...modelled, ...wines];
    const answers = await answersTo(machine, prepared, [...pretended, ...asked.map(([command]) => command)]);
    for (const [index, command] of pretended.entries())
      expect(answers[index], command).toMatchObject({ rc: "9009", out: expect.stringContaining("is not recognized") });
    for (const [index, [command, rc, out]] of asked.entries())
      expect(answers[pretended.length + index], command).toMatchObject({ rc, out: expect.stringContaining(out) });
  });

  it("keeps what was saved and loses what was not when its power is cut; a person at the console shuts it down too", WINE, async () => {
    const machine = wine({ bootstrap: "none" });
    const first = machine.boot().catch((error: Error) => error.message);
    await machine.said("no bootstrap");
    const typed = (command: string) => machine.guest?.type(command);
    expect(await typed("mkdir C:\\Lost& reg add HKLM\\SOFTWARE\\Lost /f& cmd /d /c exit 3010")).toMatchObject({ rc: 3010 });
    machine.cut();
    expect(await first).toBe("the domain is gone");
    const second = machine.boot();
    await machine.until(() => machine.lines.filter((line) => line.includes("no bootstrap")).length === 2);
    expect(await typed("reg query HKLM\\SOFTWARE\\Lost")).toMatchObject({ rc: 1 });
    expect(await typed("if exist C:\\Lost echo there")).toEqual({ rc: 0, output: "" });
    // Wine's own volatile key: a value in it ends with the boot, one in another key does not.
    const active = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\ComputerName\\ActiveComputerName";
    for (const key of [active, "HKLM\\SOFTWARE\\Kept"]) expect(await typed(`reg add ${key} /v Test /d 1 /f`)).toMatchObject({ rc: 0 });
    expect(await typed("sc create LayerService binPath= C:\\Layer\\service.exe")).toMatchObject({ rc: 0 });
    await typed("shutdown /r /t 5");
    expect(await second).toBe("reboot");
    const third = machine.boot();
    await machine.until(() => machine.lines.filter((line) => line.includes("no bootstrap")).length === 3);
    expect(await typed(`reg query ${active} /v Test`)).toMatchObject({ rc: 1 });
    expect(await typed("reg query HKLM\\SOFTWARE\\Kept /v Test")).toMatchObject({
      rc: 0,
      output: expect.stringContaining("REG_SZ    1"),
    });
    expect(await typed("sc query LayerService")).toMatchObject({ rc: 0, output: expect.stringContaining("1  STOPPED") });
    await typed("shutdown /s /t 0");
    expect(await third).toBe("poweroff");
  });

  it("refuses to boot without Wine, and says why", async () => {
    vi.stubEnv("PATH", "");
    const machine = wine();
    machine.boot().catch(() => {});
    await machine.said("refuses to boot without: Wine is missing");
    vi.unstubAllEnvs();
  });
});
