// Facts that only CIM or COM knows, each asked by one line of PowerShell. The line ends with a word for "nothing" as it does for "something": a PowerShell that is
// missing (9009), that may not do it (constrained language mode: exit code 1 by `Stop`), that was broken off or that prints nothing never reads as quiet.
// What it prints is ASCII: our words, and instance ids of devices, which hold neither blanks nor commas (learn.microsoft.com, device identification strings).
import { type Fact, type FixKind, type Raw, type Reading, unknown, value, words } from "./fact.ts";

const NONE = "checked, none";
const SOME = "restart needed";
/** For the end of a line of PowerShell. */
export const sayNone = `Write-Output -InputObject '${NONE}'`;
export const saySome = `Write-Output -InputObject '${SOME}'`;

/** `line`: says `sayNone`, or `saySome` and then what needs the restart, one a line. No double quote and no percent sign: they would be cmd's. */
export const askedByPowerShell = (id: string, line: string, fix: FixKind): Fact<string[]> => ({
  id,
  command: `powershell -NoProfile -NonInteractive -Command "$ErrorActionPreference = 'Stop'; ${line}"`,
  quiet: { kind: "textAbsent", text: [SOME], present: [NONE] },
  fix,
  found: { codes: [0], text: SOME },
  parse: parseAnswer,
});

function parseAnswer(raw: Raw): Reading<string[]> {
  const [first = "", ...more] = raw.out
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "");
  if (raw.rc === 0 && first === NONE && more.length === 0) return { kind: "absent" };
  if (raw.rc === 0 && first === SOME) return value(more);
  return unknown(`powershell ended with ${raw.rc}: ${words(raw)}`);
}
