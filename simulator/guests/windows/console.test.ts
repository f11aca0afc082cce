// What a modelled Windows answers at its console: forms of the real programs, and the rules of cmd's language.
// Expected texts are the real programs' (guest.md 2, wine.md 2, 3 and 5, "real"), written from documents: none was captured on a Windows here.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FatVolume } from "../../storage/fat.ts";
import { TestMachine } from "../testing.ts";

let machine: TestMachine;

beforeAll(async () => {
  await FatVolume.ready();
  machine = new TestMachine({
    guest: "windows",
    bootstrap: "xenlayer",
    registry: {
      "HKLM\\SOFTWARE\\Example": { Text: ["REG_SZ", "a b"], Number: ["REG_DWORD", "17"], List: ["REG_MULTI_SZ", "a", "b"] },
      "HKLM\\SOFTWARE\\Example\\Below": { Text: ["REG_SZ", "c"] },
    },
    ngen: { frameworks: ["Framework64/v4.0.30319"], queuedSeconds: 100_000 },
    programs: [
      {
        match: "setup.exe",
        output: "one\ntwo\n",
        exitCode: 1641,
        services: ["BrokerAgent"],
        registry: { "HKLM\\SOFTWARE\\Vendor": { Done: ["REG_DWORD", "0x1"] } },
      },
    ],
  });
  machine.insert({ "xenlayer/run.cmd": "@echo off\r\n", "note.txt": "first line\r\nsecond line\r\n" });
  machine.boot().catch(() => {});
  await machine.said("run.cmd ended");
});
afterAll(() => machine.remove());

async function type(command: string): Promise<{ rc: number; output: string }> {
  if (machine.guest === undefined) throw new Error("nothing runs");
  return machine.guest.type(command);
}

/** Runs a script from the payload disk, as text. */
async function script(...lines: string[]): Promise<{ rc: number; output: string }> {
  const disk = machine.payloadDisk;
  if (disk === undefined) throw new Error("no payload disk");
  FatVolume.open(disk)?.writeFile("test.cmd", ["@echo off", ...lines].join("\r\n"));
  return type('E:\\test.cmd one "two words"');
}

const NOT_FOUND = { rc: 1, output: "ERROR: The system was unable to find the specified registry key or value.\r\n" };

describe("Windows' own programs", () => {
  it.each([
    [
      "reg query HKLM\\SOFTWARE\\Example /v number",
      0,
      "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Example\r\n    Number    REG_DWORD    0x11\r\n\r\n",
    ],
    [
      "reg query HKLM\\SOFTWARE\\Example",
      0,
      "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Example\r\n    Text    REG_SZ    a b\r\n    Number    REG_DWORD    0x11\r\n    List    REG_MULTI_SZ    a\\0b\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Example\\Below\r\n",
    ],
    [
      'reg query "HKLM\\SOFTWARE\\Example" /v List /se "|"',
      0,
      "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Example\r\n    List    REG_MULTI_SZ    a|b\r\n\r\n",
    ],
    [
      "reg query HKLM\\SOFTWARE\\Example /s /v Text",
      0,
      "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Example\r\n    Text    REG_SZ    a b\r\n\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Example\\Below\r\n    Text    REG_SZ    c\r\n\r\nEnd of search: 2 match(es) found.\r\n",
    ],
    ["reg query HKLM\\SOFTWARE\\Example /s /v Nothing", 1, "\r\nEnd of search: 0 match(es) found.\r\n"],
    ["reg query HKLM\\SOFTWARE\\Missing", 1, NOT_FOUND.output],
    ["reg query HKLM\\SOFTWARE\\Example /v Missing", 1, NOT_FOUND.output],
    ["reg flip HKLM\\SOFTWARE\\Example", 1, 'ERROR: Invalid syntax.\r\nType "REG /?" for usage.\r\n'],
    [
      "sc query nothing",
      1060,
      "[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\r\n\r\nThe specified service does not exist as an installed service.\r\n\r\n",
    ],
    ['tasklist /fi "imagename eq nothing.exe"', 0, "INFO: No tasks are running which match the specified criteria.\r\n"],
    ["fsutil dirty query c:", 0, "Volume - c: is NOT Dirty\r\n"],
    ["frobnicate /now", 9009, "'frobnicate' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n"],
    ["wmic os get name", 9009, "'wmic' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n"],
    ["cscript //nologo C:\\other.vbs", 1, 'Input Error: Can not find script file "C:\\other.vbs".\r\n'],
  ])("%s", async (command, rc, output) => {
    expect(await type(command)).toEqual({ rc, output });
  });

  it("sc tells a service that idles from one that is stopped", async () => {
    const { output } = await type("sc query msiserver");
    expect(output).toContain("        STATE              : 1  STOPPED \r\n        WIN32_EXIT_CODE    : 1077  (0x435)\r\n");
  });

  it("tasklist as CSV lists itself and NGen's workers", async () => {
    const { rc, output } = await type("tasklist /fo csv /nh");
    expect(rc).toBe(0);
    expect(output.split("\r\n")[0]).toMatch(/^"System Idle Process","0","Services","0","8 K"$/);
    expect(output).toMatch(/^"tasklist\.exe","\d+",/m);
    expect(output).toMatch(/^"mscorsvw\.exe","\d+",/m);
  });

  it("a question about NGen's queue pauses its work", async () => {
    const ngen = "%SystemRoot%\\Microsoft.NET\\Framework64\\v4.0.30319\\ngen.exe queue status";
    expect((await type(ngen)).output).toContain("The .NET Runtime Optimization Service is running\r\n");
    expect((await type(ngen)).output).toContain("The .NET Runtime Optimization Service is started and paused\r\n");
  });

  it("has no ngen.exe of a framework that is not installed", async () => {
    expect((await type("%SystemRoot%\\Microsoft.NET\\Framework\\v2.0.50727\\ngen.exe queue status")).rc).toBe(9009);
    expect((await type('if exist "%SystemRoot%\\Microsoft.NET\\Framework64\\v4.0.30319\\ngen.exe" echo there')).output).toBe("there\r\n");
  });

  it("runs a declared program: output, exit code, registry, services", async () => {
    expect(await type("start /wait C:\\Installers\\SETUP.EXE /S")).toEqual({ rc: 1641, output: "one\r\ntwo\r\n" });
    expect((await type("reg query HKLM\\SOFTWARE\\Vendor /v Done")).rc).toBe(0);
    expect((await type("sc query brokeragent")).output).toContain("4  RUNNING");
    expect((await type("mysetup.exe")).rc).toBe(9009);
  });

  it("reg add and reg delete change what reg query says", async () => {
    expect(await type('reg add "HKLM\\SOFTWARE\\New Key" /v V /t REG_DWORD /d 0x10 /f')).toEqual({
      rc: 0,
      output: "The operation completed successfully.\r\n",
    });
    expect((await type('reg query "HKLM\\SOFTWARE\\New Key"')).output).toContain("    V    REG_DWORD    0x10\r\n");
    expect((await type('reg delete "HKLM\\SOFTWARE\\New Key" /f')).rc).toBe(0);
    expect(await type('reg query "HKLM\\SOFTWARE\\New Key"')).toEqual(NOT_FOUND);
  });
});

describe("cmd's language", () => {
  it.each([
    ["variables, substrings and replacements", ["set v=abcdef", "echo %v:~1,3% %v:~-2% %v:cd=X% [%none%]"], "bcd ef abXef []\r\n"],
    ["arguments", ["echo %1 %~2 %~dp0 %*"], 'one two words E:\\ one "two words"\r\n'],
    ["arithmetic", ["set /a n=2+3*4", "set /a n+=1", "echo %n%"], "15\r\n"],
    [
      "labels and subroutines",
      ["call :sub x", "echo back %errorlevel%", "goto :end", ":sub", "echo sub %1", "exit /b 7", ":end"],
      "sub x\r\nback 7\r\n",
    ],
    [
      "blocks: variables are replaced before any of it runs",
      ["set v=old", "if 1==1 (", "  set v=new", "  echo %v%", ") else (", "  echo else", ")", "echo %v%"],
      "old\r\nnew\r\n",
    ],
    ["else after a block", ["if exist C:\\nothing (echo yes) else (echo no)"], "no\r\n"],
    ["delayed expansion", ["setlocal EnableDelayedExpansion", "set v=old", "if 1==1 (", "set v=new", "echo !v!", ")"], "new\r\n"],
    [
      "comparisons",
      ["if 10 gtr 9 echo number", 'if /i "A"=="a" echo folded', "if not defined nothing echo undefined", "if errorlevel 1 echo wrong"],
      "number\r\nfolded\r\nundefined\r\n",
    ],
    ["chains", ["frob 2>nul || echo failed", "echo a && echo b", "(frob & echo after) 2>nul"], "failed\r\na \r\nb\r\nafter\r\n"],
    [
      "loops over words, numbers and lines",
      ["for %%i in (a b) do echo %%i", "for /l %%i in (1,1,3) do echo %%i", 'for /f "tokens=1,2" %%a in (E:\\note.txt) do echo %%b-%%a'],
      "a\r\nb\r\n1\r\n2\r\n3\r\nline-first\r\nline-second\r\n",
    ],
    ["loops over a command's output", ["for /f \"delims=\" %%l in ('hostname') do echo [%%l]"], "[PACKAGING]\r\n"],
    [
      "redirections in front and behind",
      [">E:\\r.txt echo 1", ">>E:\\r.txt echo two", "type E:\\r.txt", 'find "two" E:\\r.txt >nul && echo found'],
      "1\r\ntwo\r\nfound\r\n",
    ],
    [
      "stderr into a file",
      ["frob 2>E:\\e.txt", "type E:\\e.txt"],
      "'frob' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n",
    ],
    ["pipes", ['type E:\\note.txt | find /c "line"'], "2\r\n"],
    ["carets and quotes", ['echo a ^& b "c & d"'], 'a & b "c & d"\r\n'],
    [
      "files",
      [
        "mkdir E:\\d\\e",
        "copy E:\\note.txt E:\\d\\e\\n.txt >nul",
        "move /y E:\\d\\e E:\\f >nul",
        "if exist E:\\f\\n.txt echo moved",
        "rd /s /q E:\\f",
        "if not exist E:\\f echo gone",
      ],
      "moved\r\ngone\r\n",
    ],
    ["a script without call does not come back", ["E:\\xenlayer\\run.cmd", "echo never"], ""],
  ])("%s", async (_what, lines, output) => {
    expect((await script(...lines)).output).toBe(output);
  });

  it("ends a script at a line that it can't read", async () => {
    expect(await script("echo before", "if %none%==1 goto end", "echo after")).toEqual({
      rc: 255,
      output: "before\r\ngoto was unexpected at this time.\r\n",
    });
  });

  it("hands exit codes through cmd /c, call and exit", async () => {
    expect((await script("cmd /d /c exit 3010", "exit /b %errorlevel%")).rc).toBe(3010);
    expect((await script("call :f", "exit /b", ":f", "exit /b -1")).rc).toBe(-1);
  });

  it("lets time pass in a script that never waits", async () => {
    const before = machine.clock.now();
    await script("set n=0", ":more", "set /a n=n+1", "if %n% lss 200 goto more");
    expect(machine.clock.now()).toBeGreaterThan(before);
  });
});
