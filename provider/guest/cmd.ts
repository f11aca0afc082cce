// What all scripts of a Windows guest share, in the part of cmd's language that Windows and Wine both carry out: flat, one command a line, goto instead of blocks
// (a redirected block is misread by Wine), redirections in front of echo (a digit before `>` would be taken as a handle), no `set /p`, ASCII, CRLF.
import type { Quiet } from "./fact.ts";
import type { Order, OrderFact } from "./order.ts";
import { tellLabel } from "./xeniface.ts";

// A label can't be told from a step's or fact's id otherwise.
export const label = (id: string): string => id.replaceAll("-", "_");

/** `set` of any ASCII line as data: with every quote escaped nothing is quoted, so every character that means something is escaped by itself. */
export const cmdSet = (name: string, text: string): string => `set ${name}=${text.replace(/[\^&|<>()"]/g, "^$&").replaceAll("%", "%%")}`;

export const cmdEcho = (text: string): string => `echo ${text.replace(/[\^&|<>]/g, "^$&").replaceAll("%", "%%")}`;

export const crlf = (text: string): string => text.replace(/\r?\n/g, "\r\n");

/**
 * Windows' own programs first: Git's "optional Unix tools", MSYS and the like bring a `find` of their own, by which no disk is ever found. Steps get the guest's own
 * order back (XENLAYER_PATH), as they would have it at a console.
 */
export const ownPrograms = `if not defined XENLAYER_PATH set "XENLAYER_PATH=%PATH%"
set "PATH=%SystemRoot%\\System32;%SystemRoot%;%SystemRoot%\\System32\\WindowsPowerShell\\v1.0;%PATH%"
`;

export const header = (order: Order, does: string): string => `@echo off
rem xenlayer: ${does}
rem Generated for order ${order.nonce}. The verdict on what is saved here is xenlayer's.
setlocal EnableExtensions DisableDelayedExpansion
cd /d "%~dp0"
set XENLAYER_HOME=%~dp0
if "%XENLAYER_HOME:~-1%"=="\\" set XENLAYER_HOME=%XENLAYER_HOME:~0,-1%
set XENLAYER_FILES=%XENLAYER_HOME%\\files
if not exist out mkdir out
${ownPrograms}`;

export const begin = `set n=0
set id=unknown
if exist out\\boots for /f %%n in (out\\boots) do set n=%%n
if exist out\\bootid for /f %%i in (out\\bootid) do set id=%%i
set seq=0
set attempt=0
set round=
set step=
set blocked=
`;

// ping is the only program on every Windows that waits without a console (timeout.exe refuses a redirected input).
export const pause = (seconds: number): string => `ping -n ${Math.max(1, Math.ceil(seconds)) + 1} 127.0.0.1 >nul`;

export const endings = (order: Order, kind: "package" | "finalize"): string => {
  const force = order.mode === "automatic" ? " /f" : "";
  // Straight after the last look at workers: nothing here is lost by a quick power-off.
  return `
:off
echo xenlayer: power off
shutdown /s${force} /t 0
exit /b 0

:restart
echo xenlayer: restart%why%
shutdown /r${force} /t 0
exit /b 0

:left
rem Something is at work that must not be interrupted: the machine is left running.
set blocked=%blocked%%busy%
call :answer blocked
call :tell left running:%busy%
exit /b 0

rem The report comes last: without it nothing that lies here counts. The reserve is the room that a full disk keeps for it.
:answer
if exist reserve del /f /q reserve
>out\\report.new echo format=1
>>out\\report.new echo nonce=${order.nonce}
>>out\\report.new echo order=${kind}
>>out\\report.new echo boot=%id%
>>out\\report.new echo boots=%n%
>>out\\report.new echo state=%1
>>out\\report.new echo attempt=%attempt%
>>out\\report.new echo round=%round%
>>out\\report.new echo step=%step%
>>out\\report.new echo blocked=%blocked%
move /y out\\report.new out\\report >nul
exit /b 0
${settle(order, kind)}${tellLabel(order.nonce)}`;
};

/** Runs one fact's program, saves its answer below out\facts\%r%, goes to `quiet_` or `loud_` and ends at `next_`. */
export function gather(fact: OrderFact, prefix: string, loud: readonly string[]): string {
  const id = `${prefix}${label(fact.id)}`;
  const file = `out\\facts\\%r%\\${fact.id}`;
  const { quiet } = fact;
  const lines = [`rem ${fact.check}: ${fact.id}`, `set q_${id}=no`];
  if (fact.after !== undefined) lines.push(`if not "%q_${prefix}${label(fact.after)}%"=="yes" goto loud_${id}`);
  if (fact.requires !== undefined) lines.push(`if not exist "${fact.requires}" goto absent_${id}`);
  lines.push(`${fact.command} >${file}.out 2>${file}.err <nul`, "set rc=%errorlevel%", `>${file}.rc echo %rc%`);
  const codes = quiet.kind === "exitCode" ? quiet.codes : [0];
  if ((quiet.kind === "textAbsent" || quiet.kind === "value") && quiet.orCode !== undefined)
    lines.push(`if "%rc%"=="${quiet.orCode}" goto quiet_${id}`);
  if (codes.length === 1) lines.push(`if not "%rc%"=="${codes[0]}" goto loud_${id}`);
  else lines.push(...codes.map((code) => `if "%rc%"=="${code}" goto code_${id}`), `goto loud_${id}`, `:code_${id}`);
  // 0 is found, 1 is not found, anything else is find's own failure and never "not found". Wine's find knows no /i, so it stands only where case may vary.
  const find = quiet.kind === "textAbsent" && quiet.anyCase === true ? "find /i" : "find";
  for (const text of presentOf(fact)) lines.push(`${find} "${text}" ${file}.out >nul`, `if not "%errorlevel%"=="0" goto loud_${id}`);
  if (quiet.kind === "exitCode" && quiet.oneOf !== undefined)
    lines.push(
      ...quiet.oneOf.flatMap((text) => [`find "${text}" ${file}.out >nul`, `if "%errorlevel%"=="0" goto quiet_${id}`]),
      `goto loud_${id}`,
    );
  if (quiet.kind === "value") lines.push(...valueTest(quiet, file, id), `goto loud_${id}`);
  for (const text of quiet.kind === "textAbsent" ? quiet.text : [])
    lines.push(`${find} "${text}" ${file}.out >nul`, `if not "%errorlevel%"=="1" goto loud_${id}`);
  if (lines.at(-1) !== `goto loud_${id}`) lines.push(`goto quiet_${id}`);
  if (fact.requires !== undefined) lines.push(`:absent_${id}`, `>${file}.rc echo absent`);
  lines.push(`:quiet_${id}`, `set q_${id}=yes`, `goto next_${id}`, `:loud_${id}`, ...loud, `:next_${id}`);
  return lines.join("\n");
}

function presentOf({ quiet }: OrderFact): readonly string[] {
  if (quiet.kind === "equals") return [quiet.text];
  return quiet.kind === "value" ? [] : (quiet.present ?? []);
}

// "    ServicingInProgress    REG_DWORD    0x1"
function valueTest({ name, data }: Quiet & { kind: "value" }, file: string, id: string): string[] {
  const read = [`set value=`, `set before=`, `for /f "tokens=1,3" %%a in (${file}.out) do if "%%a"=="${name}" call :value "%%b"`];
  if (data !== undefined) return [...read, ...data.map((text) => `if "%value%"=="${text}" goto quiet_${id}`)];
  return [...read, `if "%value%"=="" goto loud_${id}`, `if /i "%value%"=="%before%" goto quiet_${id}`];
}

/** For a script whose facts have such tests. */
export const valueLabel = `
:value
set "before=%value%"
set "value=%~1"
exit /b 0
`;

/** What a finalize waits for in all its boots together: the provider waits for no longer, and what blocks is to be reported before. */
export const longestWait = ({ fixes }: Order): number => Math.ceil(Math.max(fixes.msiWaitSeconds, fixes.ngenWaitSeconds));

function settle(order: Order, kind: "package" | "finalize"): string {
  const facts = order.facts.filter((fact) => fact.worker === true);
  const list = (fact: OrderFact): string => (order.accept.includes(fact.id) ? "spared" : "busy");
  const poll = Math.max(1, Math.ceil(order.wait.pollSeconds));
  // Of a packaging each wait is one of its own, of a finalize it is what is left.
  const counter = kind === "package" ? "settled" : "waited";
  return `
rem Nothing restarts or powers off the machine while an installer or NGen works; sets busy. What policy lets through is waited for as long, and then spared.
:settle
set r=settle
${kind === "package" ? "set settled=0\n" : ""}if not exist out\\facts\\settle mkdir out\\facts\\settle
:settle_more
set busy=
set spared=
${facts.map((fact) => gather(fact, "settle_", [`set ${list(fact)}=%${list(fact)}% ${fact.id}`])).join("\n")}
if "%busy%%spared%"=="" exit /b 0
if %${counter}% geq ${longestWait(order)} exit /b 0
call :tell waiting for%busy%%spared%
${pause(poll)}
set /a ${counter}=${counter}+${poll}
goto settle_more
`;
}
