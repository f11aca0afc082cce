// The scripts of a Windows guest, in the part of cmd's language that Windows and Wine both carry out: flat, one command a line, goto instead of blocks
// (a redirected block is misread by Wine), redirections in front of echo (a digit before `>` would be taken as a handle), no `set /p`, ASCII, CRLF.
// They run built-in programs, save what these say, and decide nothing but the quiet tests, the bookkeeping of steps and the bounded fixes of the order.

import { KMS_COMMANDS, KMS_TEXTS } from "./facts/kms.ts";
import { NGEN_FRAMEWORKS, ngenPath } from "./facts/ngen.ts";
import type { Order, OrderFact, OrderStep } from "./order.ts";
import { plain, type Script } from "./sh.ts";

// A label can't be told from a step's or fact's id otherwise.
const label = (id: string): string => id.replaceAll("-", "_");

/** `set` of any ASCII line as data: with every quote escaped nothing is quoted, so every character that means something is escaped by itself. */
export const cmdSet = (name: string, text: string): string => `set ${name}=${text.replace(/[\^&|<>()"]/g, "^$&").replaceAll("%", "%%")}`;

const cmdEcho = (text: string): string => `echo ${text.replace(/[\^&|<>]/g, "^$&").replaceAll("%", "%%")}`;

/** PowerShell takes the typographic quotes for quotes too. */
const psQuote = (text: string): string => `'${text.replace(/['\u2018\u2019\u201a\u201b]/g, "$&$&")}'`;

export function cmdScripts(order: Order, promptOf: (check: string) => string): Script[] {
  const scripts: Script[] = [
    { path: "run.cmd", text: runScript(order) },
    { path: "package.cmd", text: packageScript(order) },
    { path: "finalize.cmd", text: finalizeScript(order, promptOf) },
    ...order.steps.map((step) => ({ path: `start/${step.id}.cmd`, text: startScript(step) })),
  ].map(({ path, text }) => ({ path, text: crlf(text) }));
  return [...scripts, ...order.steps.map((step) => ({ path: step.script, text: stepScript(step) }))];
}

/** The file that a step reads its secrets from, by the step's shell. */
export function windowsSecret(step: OrderStep, values: Readonly<Record<string, string>>): Script {
  const lines = Object.entries(values).map(([name, text]) =>
    step.shell === "powershell" ? `$env:${name} = ${psQuote(text)}` : cmdSet(name, text),
  );
  return step.shell === "powershell"
    ? { path: `secret/${step.id}.ps1`, text: `\ufeff${crlf(`${lines.join("\n")}\n`)}` }
    : { path: `secret/${step.id}.cmd`, text: crlf(`@echo off\n${lines.join("\n")}\n`) };
}

const crlf = (text: string): string => text.replace(/\r?\n/g, "\r\n");

function stepScript(step: OrderStep): string {
  const title = `step ${step.id}: ${plain(step.name)}`;
  const env = Object.entries(step.env ?? {});
  const body = step.run.endsWith("\n") ? step.run : `${step.run}\n`;
  if (step.shell === "cmd") {
    const secret =
      step.secretNames === undefined
        ? ""
        : `if not exist "%XENLAYER_HOME%\\secret\\${step.id}.cmd" exit /b 125\ncall "%XENLAYER_HOME%\\secret\\${step.id}.cmd"\n`;
    return crlf(`@echo off\nrem ${title}\n${env.map(([name, text]) => `${cmdSet(name, text)}\n`).join("")}${secret}${body}`);
  }
  const secret = step.secretNames === undefined ? "" : `. "$env:XENLAYER_HOME\\secret\\${step.id}.ps1"\n`;
  // As build services run PowerShell: the first error ends the step, and the exit code is the last program's. The mark in front makes 5.1 read UTF-8.
  return `\ufeff${crlf(
    `# ${title}\n$ErrorActionPreference = 'Stop'\n${env.map(([name, text]) => `$env:${name} = ${psQuote(text)}\n`).join("")}${secret}${body}` +
      "if (Test-Path -LiteralPath variable:\\LASTEXITCODE) { exit $LASTEXITCODE }\n",
  )}`;
}

/** Beside the step, so that package.cmd can stop waiting for it: runs it, deletes its secrets, saves its exit code and what that means. */
function startScript(step: OrderStep): string {
  const run =
    step.shell === "powershell"
      ? `powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%XENLAYER_HOME%\\steps\\${step.id}.ps1"`
      : `cmd /d /c "%XENLAYER_HOME%\\steps\\${step.id}.cmd"`;
  const secret = `"%XENLAYER_HOME%\\secret\\${step.id}.${step.shell === "powershell" ? "ps1" : "cmd"}"`;
  return `@echo off
rem Runs step ${step.id}: ${plain(step.name)}
cd /d "%SystemDrive%\\"
${run} >"%XENLAYER_HOME%\\out\\steps\\${step.id}\\log" 2>&1 <nul
set rc=%errorlevel%
if exist ${secret} del /f /q ${secret}
cd /d "%XENLAYER_HOME%\\out\\steps\\${step.id}"
>finished echo %DATE% %TIME%
>rc.new echo %rc%
move /y rc.new rc >nul
set ended=failed
${step.expectExit.map((code) => `if "%rc%"=="${code}" set ended=done`).join("\n")}
${step.rebootExit.map((code) => `if "%rc%"=="${code}" set ended=reboot`).join("\n")}
>ended.new echo %ended%
move /y ended.new ended >nul
`;
}

const header = (order: Order, does: string): string => `@echo off
rem xenlayer: ${does}
rem Generated for order ${order.nonce}. The verdict on what is saved here is xenlayer's.
setlocal EnableExtensions DisableDelayedExpansion
cd /d "%~dp0"
set XENLAYER_HOME=%~dp0
if "%XENLAYER_HOME:~-1%"=="\\" set XENLAYER_HOME=%XENLAYER_HOME:~0,-1%
set XENLAYER_FILES=%XENLAYER_HOME%\\files
if not exist out mkdir out
`;

const runScript = (order: Order): string => `${header(order, "run by the bootstrap at every boot.")}set n=0
if exist out\\boots for /f %%n in (out\\boots) do set n=%%n
set /a n=n+1
>out\\boots.new echo %n%
move /y out\\boots.new out\\boots >nul
set id=%n%-%RANDOM%%RANDOM%%RANDOM%
>out\\bootid echo %id%
>>out\\boot.txt echo %n% %id%
${
  order.mode === "manual"
    ? `echo xenlayer: this machine is prepared by hand. When all is installed, run "%XENLAYER_HOME%\\finalize.cmd" as administrator.
exit /b 0`
    : `rem An order is answered once: a machine that is started again to be looked at is left alone.
if exist out\\report exit /b 0
cmd /d /c "%XENLAYER_HOME%\\${order.order}.cmd"
exit /b 0`
}
`;

const begin = `set n=0
set id=unknown
if exist out\\boots for /f %%n in (out\\boots) do set n=%%n
if exist out\\bootid for /f %%i in (out\\bootid) do set id=%%i
set attempt=0
set round=
set step=
set blocked=
`;

// ping is the only program on every Windows that waits without a console (timeout.exe refuses a redirected input).
const pause = (seconds: number): string => `ping -n ${Math.max(1, Math.ceil(seconds)) + 1} 127.0.0.1 >nul`;

const endings = (order: Order, kind: "package" | "finalize"): string => {
  const force = order.mode === "automatic" ? " /f" : "";
  return `
:off
echo xenlayer: power off
${pause(order.wait.flushSeconds)}
shutdown /s${force} /t 0
exit /b 0

:restart
echo xenlayer: restart
shutdown /r${force} /t 0
exit /b 0

:left
rem Something is at work that must not be interrupted: the machine is left running.
call :answer blocked
echo xenlayer: left running, at work:%busy%
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
${settle(order)}`;
};

/** Runs one fact's program, saves its answer below out\facts\%r%, goes to `quiet_` or `loud_` and ends at `next_`. */
function gather(fact: OrderFact, prefix: string, loud: readonly string[]): string {
  const id = `${prefix}${label(fact.id)}`;
  const file = `out\\facts\\%r%\\${fact.id}`;
  const { quiet } = fact;
  const lines = [`rem ${fact.check}: ${fact.id}`, `set q_${id}=no`];
  if (fact.after !== undefined) lines.push(`if not "%q_${prefix}${label(fact.after)}%"=="yes" goto loud_${id}`);
  if (fact.requires !== undefined) lines.push(`if not exist "${fact.requires}" goto absent_${id}`);
  lines.push(`${fact.command} >${file}.out 2>${file}.err <nul`, "set rc=%errorlevel%", `>${file}.rc echo %rc%`);
  const codes = quiet.kind === "exitCode" ? quiet.codes : [0];
  if (codes.length === 1) lines.push(`if not "%rc%"=="${codes[0]}" goto loud_${id}`);
  else lines.push(...codes.map((code) => `if "%rc%"=="${code}" goto code_${id}`), `goto loud_${id}`, `:code_${id}`);
  // 0 is found, 1 is not found, anything else is find's own failure and never "not found". Wine's find knows no /i, so it stands only where case may vary.
  const find = quiet.kind === "textAbsent" && quiet.anyCase === true ? "find /i" : "find";
  for (const text of presentOf(fact)) lines.push(`${find} "${text}" ${file}.out >nul`, `if not "%errorlevel%"=="0" goto loud_${id}`);
  for (const text of quiet.kind === "textAbsent" ? quiet.text : [])
    lines.push(`${find} "${text}" ${file}.out >nul`, `if not "%errorlevel%"=="1" goto loud_${id}`);
  lines.push(`goto quiet_${id}`);
  if (fact.requires !== undefined) lines.push(`:absent_${id}`, `>${file}.rc echo absent`);
  lines.push(`:quiet_${id}`, `set q_${id}=yes`, `goto next_${id}`, `:loud_${id}`, ...loud, `:next_${id}`);
  return lines.join("\n");
}

const presentOf = (fact: OrderFact): readonly string[] => (fact.quiet.kind === "equals" ? [fact.quiet.text] : (fact.quiet.present ?? []));

function settle(order: Order): string {
  const facts = order.facts.filter((fact) => fact.worker === true && !order.accept.includes(fact.id));
  const poll = Math.max(1, Math.ceil(order.wait.pollSeconds));
  return `
rem Nothing restarts or powers off the machine while an installer or NGen works; sets busy.
:settle
set r=settle
set settled=0
if not exist out\\facts\\settle mkdir out\\facts\\settle
:settle_more
set busy=
${facts.map((fact) => gather(fact, "settle_", [`set busy=%busy% ${fact.id}`])).join("\n")}
if "%busy%"=="" exit /b 0
if %settled% geq ${Math.ceil(Math.max(order.fixes.msiWaitSeconds, order.fixes.ngenWaitSeconds))} exit /b 0
echo xenlayer: waiting for%busy%
${pause(poll)}
set /a settled=settled+${poll}
goto settle_more
`;
}

function packageScript(order: Order): string {
  const blocks = order.steps.map((step, index) => {
    const next = order.steps[index + 1];
    return stepBlock(step, next === undefined ? "all_done" : `step_${next.id}`);
  });
  return `${header(order, "runs the steps of a layer, each once, and powers off.")}${begin}
${blocks.join("\n")}
:all_done
set step=
call :settle
if not "%busy%"=="" goto left
call :answer done
goto off

:failed
>out\\steps\\%step%\\state echo failed
echo xenlayer: step %step% failed
call :settle
if not "%busy%"=="" goto left_failed
call :answer failed
goto off

:left_failed
call :answer failed
echo xenlayer: left running, at work:%busy%
exit /b 0

:reboot
>out\\steps\\%step%\\state echo reboot
call :settle
if not "%busy%"=="" goto left
goto restart

rem Sets state and tries; a step that the machine went down in is run again, but not for ever.
:state_of
set state=none
set tries=0
if not exist out\\steps mkdir out\\steps
if not exist out\\steps\\%1 mkdir out\\steps\\%1
if exist out\\steps\\%1\\state for /f %%s in (out\\steps\\%1\\state) do set state=%%s
if not "%state%"=="running" exit /b 0
if exist out\\steps\\%1\\tries for /f %%t in (out\\steps\\%1\\tries) do set tries=%%t
exit /b 0

:begin
set /a tries=tries+1
>out\\steps\\%1\\tries echo %tries%
>out\\steps\\%1\\state echo running
>out\\steps\\%1\\started echo %DATE% %TIME%
if exist out\\steps\\%1\\rc del /f /q out\\steps\\%1\\rc
if exist out\\steps\\%1\\ended del /f /q out\\steps\\%1\\ended
if exist out\\steps\\%1\\timeout del /f /q out\\steps\\%1\\timeout
echo xenlayer: step %1 running
exit /b 0

rem Waits for step %1, at most %2 seconds. It is not killed then: cut off half-way, an installer leaves worse than a machine that is powered off.
:await
set ended=timeout
set spent=0
:await_more
if exist out\\steps\\%1\\ended goto await_ended
if %spent% geq %2 goto await_over
${pause(1)}
set /a spent=spent+1
goto await_more
:await_ended
for /f %%e in (out\\steps\\%1\\ended) do set ended=%%e
exit /b 0
:await_over
>out\\steps\\%1\\timeout echo %2
exit /b 0
${endings(order, "package")}`;
}

function stepBlock(step: OrderStep, next: string): string {
  const { id } = step;
  return `rem --- step ${id}, ${step.phase}: ${plain(step.name)}
:step_${id}
set step=${id}
call :state_of ${id}
if "%state%"=="done" goto ${next}
if "%state%"=="reboot" goto done_${id}
if "%tries%"=="3" goto failed
call :begin ${id}
start "" /b cmd /d /c "%XENLAYER_HOME%\\start\\${id}.cmd"
call :await ${id} ${Math.ceil(step.timeoutSeconds)}
if "%ended%"=="reboot" goto reboot
if not "%ended%"=="done" goto failed
:done_${id}
>out\\steps\\${id}\\state echo done
echo xenlayer: step ${id} done
goto ${next}
`;
}

const FIX_VARIABLES = { none: "want_none", wait: "want_wait", ngen: "want_ngen", reboot: "want_reboot" } as const;

function finalizeScript(order: Order, promptOf: (check: string) => string): string {
  const facts = order.facts.map((fact) =>
    gather(
      fact,
      "",
      order.accept.includes(fact.id) ? [] : ["set quiet=no", `set ${FIX_VARIABLES[fact.fix]}=yes`, `set blocked=%blocked% ${fact.id}`],
    ),
  );
  const manual = order.mode === "manual";
  return `${header(order, "looks twice whether anything is pending, mends what the order allows, reports, and powers off.")}${begin}set kms=no
set ngen_runs=0
set waited=0
if not exist out\\facts mkdir out\\facts
${order.kms.rearm ? kmsBefore(manual) : ""}${manual || order.fixes.ngen === "wait" ? "" : "if not exist out\\ngen.ran call :ngen\n>out\\ngen.ran echo once\n"}
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
${order.sampleGapSeconds > 0 ? pause(order.sampleGapSeconds) : "rem no gap"}
set r=b
call :round
set round=b
if "%quiet%%first%"=="yesyes" goto quiet
rem It came to rest between the samples: both have to be quiet.
if "%quiet%"=="yes" set want_wait=yes
${manual ? 'if "%quiet%"=="yes" goto again\ngoto stop' : mend(order)}

:quiet
${order.kms.rearm ? kmsRearm : ""}rem Once more, as the last look before the power goes.
set r=c
set round=c
call :round
if "%quiet%"=="no" goto stop
call :answer ready
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
set quiet=yes
set blocked=
set want_none=no
set want_wait=no
set want_ngen=no
set want_reboot=no
if not exist out\\facts\\%r% mkdir out\\facts\\%r%
echo xenlayer: facts %r%
${facts.join("\n")}
exit /b 0
${manual || order.fixes.ngen === "wait" ? "" : ngenFix(order)}${order.kms.rearm ? kmsStops(manual) : ""}${endings(order, "finalize")}`;
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
if "%want_ngen%"=="yes" set limit=${Math.ceil(order.fixes.ngenWaitSeconds)}
${order.fixes.ngen === "wait" ? "" : 'if "%want_wait%"=="no" if "%want_ngen%"=="yes" if %ngen_runs% lss 2 goto mend_ngen\n'}if "%want_wait%%want_ngen%"=="nono" goto mend_reboot
if %waited% geq %limit% goto stop
${pause(poll)}
set /a waited=waited+${poll}
goto again
${order.fixes.ngen === "wait" ? "" : ":mend_ngen\ncall :ngen\ngoto again\n"}:mend_reboot
set reboots=0
if exist out\\reboots for /f %%b in (out\\reboots) do set reboots=%%b
set /a reboots=reboots+1
if %reboots% gtr ${order.fixes.rebootMax} goto stop
call :settle
if not "%busy%"=="" goto left
>out\\reboots echo %reboots%
>>out\\fixes.txt echo %attempt% reboot rc=0
goto restart`;
}

/** In the foreground, each framework directory by itself; what they print may be megabytes and their exit codes say little: "compilation failed" is no failure. */
function ngenFix(order: Order): string {
  const runs = NGEN_FRAMEWORKS.map(({ id, directory }) => {
    const run = (arguments_: string, redirect: string): string =>
      `"${ngenPath(directory)}" ${arguments_} ${redirect}out\\ngen-${id}.log 2>&1 <nul`;
    return `if not exist "${ngenPath(directory)}" goto ngen_next_${label(id)}
echo xenlayer: fix ngen ${id}
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

const slmgr = (command: string, name: string): string => `${command} >out\\kms\\${name}.out 2>out\\kms\\${name}.err <nul
set rc=%errorlevel%
>out\\kms\\${name}.rc echo %rc%
`;

// Before anything else: at a remaining count of 0 nothing is begun. A rearm of an earlier boot is spent by this boot, so it is not repeated blindly.
// By hand it is ("rearm KMS yet again just before you shutdown"); within one boot, once is enough in any case.
const kmsBefore = (manual: boolean): string => `if not exist out\\kms mkdir out\\kms
set kms_boot=none
if exist out\\kms\\started for /f %%k in (out\\kms\\started) do set kms_boot=%%k
if "%kms_boot%"=="%id%" goto kms_checked
${manual ? "" : 'if not "%kms_boot%"=="none" goto kms_spent\n'}${slmgr(KMS_COMMANDS.show, "before")}if not "%rc%"=="0" goto kms_unread
find "${KMS_TEXTS.answered}" out\\kms\\before.out >nul
if not "%errorlevel%"=="0" goto kms_unread
find "${KMS_TEXTS.client}" out\\kms\\before.out >nul
if "%errorlevel%"=="1" goto kms_checked
find "${KMS_TEXTS.count}" out\\kms\\before.out >nul
if not "%errorlevel%"=="0" goto kms_unread
find "${KMS_TEXTS.none}" out\\kms\\before.out >nul
if not "%errorlevel%"=="1" goto kms_none
find "${KMS_TEXTS.notApplicable}" out\\kms\\before.out >nul
if not "%errorlevel%"=="1" goto kms_unread
set kms=yes
:kms_checked
`;

const kmsRearm = `if "%kms%"=="no" goto kms_rearmed
>out\\kms\\started echo %id%
echo xenlayer: rearming KMS
${slmgr(KMS_COMMANDS.rearm, "rearm")}${slmgr(KMS_COMMANDS.show, "after")}:kms_rearmed
`;

const kmsStops = (manual: boolean): string => {
  const end = manual
    ? "call :answer blocked\npause\nexit /b 1"
    : 'call :settle\nif not "%busy%"=="" goto left\ncall :answer blocked\ngoto off';
  return `
:kms_unread
set blocked= kms
echo KMS: the remaining rearm count can't be read from slmgr /dlv, see out\\kms\\before.out
${end}
:kms_none
set blocked= kms
echo KMS: the remaining rearm count is 0, so this machine can't be rearmed.
${end}
:kms_spent
set blocked= kms
echo KMS: this order has rearmed the machine before; finalize it anew.
${end}
`;
};
