// The selftest: asks a real machine once all that a finalize asks, and makes a fixture of what it said. The facts' parsers were written from documentation; this is how
// somebody with a real Windows or Linux shows what is true there.
// Promises: nothing on the machine is changed; a fixture says where its answers came from; what a reader of today makes of them stands beside each.
import { factsOf } from "./checks.ts";
import { gather as cmdGather, crlf } from "./cmd.ts";
import type { Fact, GuestOs, Raw, Reading } from "./fact.ts";
import { KMS_COMMANDS, parseLicensing } from "./facts/kms.ts";
import { buildOrder, type OrderFact } from "./order.ts";
import { decode } from "./payloadFiles.ts";
import { type Script, gather as shGather } from "./sh.ts";
import { isQuiet } from "./verdict.ts";

const FIXTURE_FORMAT = 1;
const ROUND = "a";

/** Facts that the scripts of a finalize have beside those of the checks. */
const licensing: Fact<unknown> = {
  id: "kms-licensing",
  command: KMS_COMMANDS.show,
  quiet: { kind: "exitCode", codes: [0] },
  fix: "none",
  parse: parseLicensing,
};

function asked(os: GuestOs): { fact: Fact<unknown>; ordered: OrderFact }[] {
  const { facts } = buildOrder({ order: "finalize", os, layer: "selftest", version: "selftest", nonce: "0".repeat(32) });
  const all = factsOf(os).flatMap(({ fact }) => {
    const ordered = facts.find(({ id }) => id === fact.id);
    return ordered === undefined ? [] : [{ fact, ordered }];
  });
  const { id, command, quiet } = licensing;
  return os === "linux" ? all : [...all, { fact: licensing, ordered: { id, check: "kms", command, quiet, fix: "none" } }];
}

/** What is to be run there: a script and, on Linux, a file for each fact. */
export function selftestScripts(os: GuestOs): Script[] {
  const facts = asked(os).map(({ ordered }) => ordered);
  return os === "windows"
    ? [{ path: "selftest.cmd", text: crlf(windowsScript(facts)) }]
    : [
        { path: "selftest.sh", text: linuxScript(facts) },
        ...facts.map(({ id, check, command }) => ({ path: `facts/${id}.sh`, text: `# ${check}: ${id}\n${command}\n` })),
      ];
}

const NT = "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";

const windowsScript = (facts: readonly OrderFact[]): string => `@echo off
rem xenlayer selftest: asks this machine what a finalize asks, and saves the answers in the folder "out" beside this file. It changes nothing else.
rem Run it as administrator.
setlocal EnableExtensions DisableDelayedExpansion
cd /d "%~dp0"
if not exist out mkdir out
if not exist out\\facts mkdir out\\facts
if not exist out\\facts\\${ROUND} mkdir out\\facts\\${ROUND}
set r=${ROUND}
>out\\about.txt echo %DATE% %TIME%
for %%v in (ProductName EditionID CurrentBuildNumber UBR DisplayVersion InstallationType) do reg query "${NT}" /v %%v >>out\\about.txt 2>nul
reg query "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Nls\\Language" /v InstallLanguage >>out\\about.txt 2>nul
reg query "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Nls\\CodePage" /v OEMCP >>out\\about.txt 2>nul
${facts.map((fact) => `echo ${fact.id}\n${cmdGather(fact, "", [])}`).join("\n")}
echo.
echo Done. The answers are in "%~dp0out": look them through, they name programs and this machine; then bring the folder back.
exit /b 0
`;

const linuxScript = (facts: readonly OrderFact[]): string => `#!/bin/sh
# xenlayer selftest: asks this machine what a finalize asks, and saves the answers in the folder "out" beside this file. It changes nothing else.
# Run it as root.
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")" || exit 1
r=out/facts/${ROUND}
mkdir -p "$r" || exit 1
limited() {
  limit=$1
  shift
  if command -v timeout >/dev/null 2>&1; then timeout "$limit" "$@"; else "$@"; fi
}
{ date -u +%Y-%m-%dT%H:%M:%SZ; uname -srm; cat /etc/os-release 2>/dev/null; } >out/about.txt
${facts.map((fact) => `echo ${fact.id}\n${shGather(fact, true)}`).join("\n")}
echo "Done. The answers are in $(pwd)/out: look them through, they name programs and this machine; then bring the folder back."
`;

/** Reads one file of what came back, below its folder "out". */
export type ReadBack = (path: string) => Uint8Array | undefined;

interface FixtureFact {
  readonly id: string;
  readonly check: string;
  readonly command: string;
  /** Absent: it was not asked, or an answer's file is missing. */
  readonly raw?: Raw | "absent";
  readonly quiet: boolean;
  /** What today's parser reads in it. */
  readonly reading: string;
}

export interface Fixture {
  readonly format: typeof FIXTURE_FORMAT;
  readonly os: GuestOs;
  readonly provenance: { readonly kind: "captured"; readonly where: string; readonly about: string };
  readonly facts: readonly FixtureFact[];
}

export function fixtureOf(os: GuestOs, where: string, read: ReadBack): Fixture {
  const text = (path: string): string | undefined => {
    const data = read(path);
    return data === undefined ? undefined : decode(data);
  };
  return {
    format: FIXTURE_FORMAT,
    os,
    provenance: { kind: "captured", where, about: (text("about.txt") ?? "").trim().slice(0, 4000) },
    facts: asked(os).map(({ fact, ordered }) => {
      const raw = rawOf(text, `facts/${ROUND}/${fact.id}`);
      return {
        id: fact.id,
        check: ordered.check,
        command: fact.command,
        ...(raw === undefined ? {} : { raw }),
        quiet: isQuiet(ordered, raw),
        reading: told(fact, raw),
      };
    }),
  };
}

function rawOf(text: (path: string) => string | undefined, path: string): Raw | "absent" | undefined {
  const rc = text(`${path}.rc`)?.trim();
  if (rc === "absent") return "absent";
  const [out, err] = [text(`${path}.out`), text(`${path}.err`)];
  return rc === undefined || !/^-?\d{1,10}$/.test(rc) || out === undefined || err === undefined ? undefined : { out, err, rc: Number(rc) };
}

function told(fact: Fact<unknown>, raw: Raw | "absent" | undefined): string {
  if (raw === undefined) return "no answer";
  if (raw === "absent") return "absent: what it needs is not there";
  const reading = parsed(fact, raw);
  if (reading.kind === "absent") return "absent";
  return reading.kind === "error" ? `error: ${reading.error}` : `value: ${JSON.stringify(reading.value).slice(0, 400)}`;
}

function parsed(fact: Fact<unknown>, raw: Raw): Reading<unknown> {
  try {
    return fact.parse(raw);
  } catch (error) {
    // A machine that answers what no parser expects is what the selftest is for.
    return { kind: "error", error: `the parser gave up: ${error instanceof Error ? error.message : String(error)}` };
  }
}
