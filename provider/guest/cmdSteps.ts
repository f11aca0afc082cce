// What runs in a Windows guest at every boot, and the steps of a layer: each once, each with its log, exit code and time limit, its secrets deleted when it has ended.
import { putIcon } from "./bootstrap.ts";
import { begin, cmdSet, crlf, endings, header, pause } from "./cmd.ts";
import type { Order, OrderStep } from "./order.ts";
import { plain, type Script } from "./sh.ts";

export const runScript = (order: Order): string => `${header(order, "run by the bootstrap at every boot.")}set n=0
if exist out\\boots for /f %%n in (out\\boots) do set n=%%n
set /a n=n+1
>out\\boots.new echo %n%
move /y out\\boots.new out\\boots >nul
set id=%n%-%RANDOM%%RANDOM%%RANDOM%
>out\\bootid echo %id%
>>out\\boot.txt echo %n% %id%
${
  order.mode === "manual"
    ? `${putIcon}
echo xenlayer: this machine is prepared by hand. When all is installed, run Shutdown For Finalize on the desktop, or "%XENLAYER_HOME%\\finalize.cmd" as administrator.
exit /b 0`
    : `rem An order is answered once: a machine that is started again to be looked at is left alone.
if exist out\\report exit /b 0
cmd /d /c "%XENLAYER_HOME%\\${order.order}.cmd"
exit /b 0`
}
`;

export function packageScript(order: Order): string {
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
call :tell step %step% failed
call :settle
if not "%busy%"=="" goto left_failed
call :answer failed
goto off

:left_failed
call :answer failed
call :tell left running:%busy%
exit /b 0

rem Told at once, and waited for as long as it takes: an installer that is cut off half-way leaves worse than none. When it has ended, the machine is powered off.
:late
>out\\steps\\%step%\\state echo failed
call :answer failed
call :tell step %step% over its time and left running
:late_more
if exist out\\steps\\%step%\\ended goto failed
${pause(order.wait.pollSeconds)}
goto late_more

:reboot
>out\\steps\\%step%\\state echo reboot
call :tell restart for step %step%
call :settle
if not "%busy%"=="" goto left
set why= for step %step%
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
call :tell step %1 running
exit /b 0

rem Waits for step %1, at most %2 seconds, counted here because clocks get set.
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
>out\\steps\\%1\\seconds echo %spent%
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
if "%ended%"=="timeout" goto late
if not "%ended%"=="done" goto failed
:done_${id}
>out\\steps\\${id}\\state echo done
call :tell step ${id} done
goto ${next}
`;
}

export function stepScript(step: OrderStep): string {
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
export function startScript(step: OrderStep): string {
  const run =
    step.shell === "powershell"
      ? `powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "%XENLAYER_HOME%\\steps\\${step.id}.ps1"`
      : `cmd /d /c "%XENLAYER_HOME%\\steps\\${step.id}.cmd"`;
  const secret = `"%XENLAYER_HOME%\\secret\\${step.id}.${step.shell === "powershell" ? "ps1" : "cmd"}"`;
  return `@echo off
rem Runs step ${step.id}: ${plain(step.name)}
cd /d "%SystemDrive%\\"
set "PATH=%XENLAYER_PATH%"
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

/** PowerShell takes the typographic quotes for quotes too. */
const psQuote = (text: string): string => `'${text.replace(/['\u2018\u2019\u201a\u201b]/g, "$&$&")}'`;

/** The file that a step reads its secrets from, by the step's shell. */
export function windowsSecret(step: OrderStep, values: Readonly<Record<string, string>>): Script {
  const lines = Object.entries(values).map(([name, text]) =>
    step.shell === "powershell" ? `$env:${name} = ${psQuote(text)}` : cmdSet(name, text),
  );
  return step.shell === "powershell"
    ? { path: `secret/${step.id}.ps1`, text: `\ufeff${crlf(`${lines.join("\n")}\n`)}` }
    : { path: `secret/${step.id}.cmd`, text: crlf(`@echo off\n${lines.join("\n")}\n`) };
}
