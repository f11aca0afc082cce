// Finalizing in a Windows guest: two samples, bounded fixes, the rearms as the last act, a last sample, the report, the power.
import { removeIcon, windowsLeave } from "./bootstrap.ts";
import { begin, cmdEcho, endings, gather, header, label, longestWait, pause, valueLabel } from "./cmd.ts";
import { rearmStops, rearmsAsked, rearmsDone } from "./cmdRearm.ts";
import { NGEN_FRAMEWORKS, ngenPath } from "./facts/ngen.ts";
import { RUN_ONCE_KEYS } from "./facts/runOnce.ts";
import { cmdInventory } from "./inventory.ts";
import type { Order, OrderFact } from "./order.ts";

const FIX_VARIABLES = { none: "want_none", wait: "want_wait", ngen: "want_ngen", runOnce: "want_run_once", reboot: "want_reboot" } as const;

// A restart for what was found; for what could not be asked, another look.
function wanted(fact: OrderFact): string[] {
  if (fact.fix !== "reboot") return [`set ${FIX_VARIABLES[fact.fix]}=yes`];
  const { codes, text } = fact.found ?? { codes: [0] };
  const lines = ["set want=want_unread", ...codes.map((code) => `if "%rc%"=="${code}" set want=want_reboot`)];
  if (text !== undefined)
    lines.push(`find /i "${text}" out\\facts\\%r%\\${fact.id}.out >nul`, 'if not "%errorlevel%"=="0" set want=want_unread');
  return [...lines, "set %want%=yes"];
}

/** Two questions by PowerShell, some thirty by reg and sc. */
const ROUND_SECONDS = 10;

/** At what could not be asked: a service may still be starting. */
export const MORE_LOOKS = 2;

export function finalizeScript(order: Order, promptOf: (check: string) => string): string {
  const facts = order.facts.map((fact, index) => {
    const loud = order.accept.includes(fact.id) ? [] : ["set quiet=no", ...wanted(fact), `set blocked=%blocked% ${fact.id}`];
    const begins = order.facts[index - 1]?.check !== fact.check;
    return `${begins ? `echo xenlayer: check %r% ${fact.check}\n` : ""}${gather(fact, "", loud)}`;
  });
  const manual = order.mode === "manual";
  return `${header(order, "looks twice whether anything is pending, mends what the order allows, reports, and powers off.")}${begin}set kms=no
set ngen_runs=0
set run_once=0
set longest=no
set unread=0
set waited=0
if exist out\\waited for /f %%w in (out\\waited) do set waited=%%w
set /a waited=waited+0
if not exist out\\facts mkdir out\\facts
${rearmsAsked(order)}${manual || order.fixes.ngen === "wait" ? "" : "if not exist out\\ngen.ran call :ngen\n>out\\ngen.ran echo once\n"}
if exist out\\attempt for /f %%a in (out\\attempt) do set attempt=%%a
set /a attempt=attempt+0
:again
if exist out\\facts\\a call :keep a
if exist out\\facts\\b call :keep b
set /a attempt=attempt+1
>out\\attempt echo %attempt%
set r=a
call :round
set first=%quiet%
${order.sampleGapSeconds > 0 ? `${pause(order.sampleGapSeconds)}\nset /a waited=waited+${Math.ceil(order.sampleGapSeconds)}` : "rem no gap"}
set r=b
call :round
set round=b
if "%quiet%%first%"=="yesyes" goto quiet
rem It came to rest between the samples: both have to be quiet.
if "%quiet%"=="yes" set want_wait=yes
${manual ? 'if "%quiet%"=="yes" goto again\ngoto stop' : mend(order)}

:quiet
${order.facts.some((fact) => fact.worker === true && order.accept.includes(fact.id)) ? "rem What policy lets through is still waited for: it may take as long as the order allows.\ncall :settle\n" : ""}call :inventory
${rearmsDone(order)}rem Once more, as the last look before the power goes.
set r=c
set round=c
call :round
if "%quiet%"=="no" goto stop
rem What only served the packaging is no part of the layer.
${windowsLeave}
call :settle
if not "%busy%"=="" goto left
${manual ? `${removeIcon}\n` : ""}call :answer ready
echo xenlayer: ready
goto off

:stop
echo.
echo This machine is not ready to be finalized:
${[...new Map(order.facts.filter((fact) => !order.accept.includes(fact.id)).map((fact) => [fact.check, promptOf(fact.check)])).entries()]
  .map(([check, prompt]) => stopLine(order, check, prompt))
  .join("\n")}
echo Open:%blocked% (the answers are in %XENLAYER_HOME%\\out\\facts\\%r%)
${
  manual
    ? `call :answer blocked
pause
exit /b 1`
    : `call :settle
if not "%busy%"=="" goto left
call :answer blocked
goto off`
}

rem The first attempts and the last one tell the story.
:keep
if %attempt% gtr 8 rd /s /q out\\facts\\%1
if %attempt% leq 8 move out\\facts\\%1 out\\facts\\%attempt%-%1 >nul
exit /b 0

:round
call :tell check %r%
set quiet=yes
set blocked=
set want_none=no
set want_wait=no
set want_ngen=no
set want_run_once=no
set want_reboot=no
set want_unread=no
if not exist out\\facts\\%r% mkdir out\\facts\\%r%
${facts.join("\n")}
rem No clock that nobody sets is told by a program of Windows': so long it takes, about.
set /a waited=waited+${ROUND_SECONDS}
exit /b 0
${manual || order.fixes.ngen === "wait" ? "" : ngenFix(order)}${manual ? "" : runOnceFix()}${valueLabel}${rearmStops(order)}${cmdInventory()}${endings(order, "finalize")}`;
}

const stopLine = (order: Order, check: string, prompt: string): string => {
  const ids = order.facts.filter((fact) => fact.check === check).map((fact) => fact.id);
  const lines = ids.map((id) => `if not "%q_${label(id)}%"=="yes" goto tell_${check}`);
  return [...lines, `goto told_${check}`, `:tell_${check}`, cmdEcho(prompt), `:told_${check}`].join("\n");
};

function mend(order: Order): string {
  const poll = Math.max(1, Math.ceil(order.wait.pollSeconds));
  return `if "%want_none%"=="yes" goto stop
set limit=${Math.ceil(order.fixes.msiWaitSeconds)}
if "%want_ngen%"=="yes" set longest=yes
if "%longest%"=="yes" set limit=${longestWait(order)}
${order.fixes.ngen === "wait" ? "" : 'if "%want_wait%"=="no" if "%want_ngen%"=="yes" if %ngen_runs% lss 2 goto mend_ngen\n'}if "%want_wait%%want_ngen%"=="nono" goto mend_run_once
if %waited% geq %limit% goto stop
call :tell waiting for%blocked%
${pause(poll)}
set /a waited=waited+${poll}
goto again
${order.fixes.ngen === "wait" ? "" : ":mend_ngen\ncall :ngen\ngoto again\n"}:mend_run_once
if "%want_run_once%"=="no" goto mend_reboot
if "%run_once%"=="0" goto mend_entries
if "%want_reboot%"=="yes" goto mend_reboot
goto stop
:mend_entries
call :run_once
goto again
:mend_reboot
if "%want_reboot%"=="yes" goto mend_restart
if "%unread%"=="${MORE_LOOKS}" goto stop
set /a unread=unread+1
call :tell waiting for%blocked%
${pause(poll)}
set /a waited=waited+${poll}
goto again
:mend_restart
set reboots=0
if exist out\\reboots for /f %%b in (out\\reboots) do set reboots=%%b
set /a reboots=reboots+1
if %reboots% gtr ${order.fixes.rebootMax} goto stop
call :tell restart for%blocked%
call :settle
if not "%busy%"=="" goto left
>out\\reboots echo %reboots%
>out\\waited echo %waited%
set why= for%blocked%
>>out\\fixes.txt echo %attempt% reboot rc=0
goto restart`;
}

/**
 * What an administrator's logon would do: each entry is deleted and run, one after the other. An entry with blanks in its name is left, and goes on to block.
 */
function runOnceFix(): string {
  const keys = RUN_ONCE_KEYS.map(
    (key, index) => `set left=50
:run_once_${index}
set name=
reg query "${key}" >out\\run-once.txt 2>nul <nul
find "    REG_" out\\run-once.txt >out\\run-once-entries.txt
for /f "skip=2 tokens=1,2*" %%a in (out\\run-once-entries.txt) do set name=%%a
for /f "skip=2 tokens=1,2*" %%a in (out\\run-once-entries.txt) do set type=%%b
for /f "skip=2 tokens=1,2*" %%a in (out\\run-once-entries.txt) do set data=%%c
if "%name%"=="" goto run_once_done_${index}
if "%left%"=="0" goto run_once_done_${index}
set /a left=left-1
if "%type%"=="REG_SZ" goto run_once_run_${index}
if not "%type%"=="REG_EXPAND_SZ" goto run_once_done_${index}
:run_once_run_${index}
echo xenlayer: fix RunOnce %name%
reg delete "${key}" /v "%name%" /f >nul 2>nul <nul
cmd /d /c "%data%" >>out\\run-once.log 2>&1 <nul
set rc=%errorlevel%
>>out\\fixes.txt echo %attempt% run-once rc=%rc%
goto run_once_${index}
:run_once_done_${index}`,
  );
  return `
:run_once
set run_once=1
${keys.join("\n")}
exit /b 0
`;
}

/** In the foreground, each framework directory by itself; what they print may be megabytes and their exit codes say little: "compilation failed" is no failure. */
function ngenFix(order: Order): string {
  const runs = NGEN_FRAMEWORKS.map(({ id, directory }) => {
    const run = (arguments_: string, redirect: string): string =>
      `"${ngenPath(directory)}" ${arguments_} ${redirect}out\\ngen-${id}.log 2>&1 <nul`;
    return `if not exist "${ngenPath(directory)}" goto ngen_next_${label(id)}
call :tell fix ngen ${id}
${run("executeQueuedItems", ">")}
${order.fixes.ngen === "update-force" ? `${run("update /force", ">>")}\n` : ""}set rc=%errorlevel%
>>out\\fixes.txt echo %attempt% ngen-${id} rc=%rc%
:ngen_next_${label(id)}`;
  });
  return `
:ngen
set /a ngen_runs=ngen_runs+1
${runs.join("\n")}
exit /b 0
`;
}
