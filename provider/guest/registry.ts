// Facts from the Windows registry, by `reg query`, and the parser of its answer.
// Absence is judged by the exit code alone: the error's text is localised, and older and foreign builds print it to stdout (wine.md 3).
import { absent, type Fact, type FixKind, type Raw, type Reading, unknown, value, words } from "./fact.ts";

export interface RegistryValue {
  readonly key: string;
  readonly name: string;
  readonly type: string;
  readonly data: string;
}

export interface RegistryAnswer {
  readonly keys: readonly string[];
  readonly values: readonly RegistryValue[];
}

const KEY_LINE = /^HKEY_[A-Z_]+(\\.*)?$/;
const VALUE_LINE = /^ {4}(.*?) {4}(REG_[A-Z0-9_]+)(?: {4}(.*))?$/;

/** The layout is the same from Windows 7 to 11: empty line, full key, values with four-space columns. Lines of neither form are ignored. */
export function parseRegQuery(out: string): RegistryAnswer {
  const keys: string[] = [];
  const values: RegistryValue[] = [];
  let key = "";
  for (const line of out.split(/\r?\n/)) {
    if (KEY_LINE.test(line)) {
      key = line;
      keys.push(line);
      continue;
    }
    const [, name, type, data] = VALUE_LINE.exec(line) ?? [];
    if (name !== undefined && type !== undefined && key !== "") values.push({ key, name, type, data: data ?? "" });
  }
  return { keys, values };
}

export const valueNamed = (answer: RegistryAnswer, name: string): RegistryValue | undefined =>
  answer.values.find((entry) => entry.name.toLowerCase() === name.toLowerCase());

/** `0x1` as reg prints a REG_DWORD. */
export function dword(entry: RegistryValue): number | undefined {
  return entry.type === "REG_DWORD" && /^0x[0-9a-f]{1,8}$/i.test(entry.data) ? Number.parseInt(entry.data, 16) : undefined;
}

const CURRENT_VERSION = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion";
const PROOF = "ProgramFilesDir";

function readAnswer(raw: Raw): Reading<RegistryAnswer> {
  if (raw.rc === 1) return absent;
  if (raw.rc !== 0) return unknown(`reg ended with ${raw.rc}: ${words(raw)}`);
  return value(parseRegQuery(raw.out));
}

/** A key that is there only while something is pending. Quiet: reg says it is not there. */
export function registryKey(id: string, key: string, fix: FixKind): Fact<RegistryAnswer> {
  return { id, command: `reg query "${key}"`, quiet: { kind: "exitCode", codes: [1] }, fix, parse: readAnswer };
}

/** A value that is there only while something is pending. `recurse`: below the key, as `/s` does. */
export function registryValue(id: string, key: string, name: string, fix: FixKind, recurse = false): Fact<RegistryAnswer> {
  return {
    id,
    command: `reg query "${key}" ${recurse ? "/s " : ""}/v ${name}`,
    quiet: { kind: "exitCode", codes: [1] },
    fix,
    parse: readAnswer,
  };
}

/** A key that every Windows has: its absence is an error, which makes it the proof that reg.exe answers at all. */
export function registryListing(id: string, key: string, pending: readonly string[], present: string, fix: FixKind): Fact<RegistryAnswer> {
  return {
    id,
    command: `reg query "${key}"`,
    quiet: { kind: "textAbsent", text: [...pending], present: [present] },
    fix,
    parse: (raw) => {
      if (raw.rc !== 0) return unknown(`reg ended with ${raw.rc}: ${words(raw)}`);
      const answer = parseRegQuery(raw.out);
      const proof = answer.values.some((entry) => entry.name === present) || answer.keys.some((name) => name.endsWith(`\\${present}`));
      return proof ? value(answer) : unknown(`the answer lacks ${present}, which every Windows has`);
    },
  };
}

/** A DWORD that every answer but `0x0` makes pending; the value, or its key, may be missing. */
export function registryFlag(id: string, key: string, name: string, fix: FixKind): Fact<RegistryAnswer> {
  const quiet = { kind: "textAbsent" as const, text: [], present: [`${name}    REG_DWORD    0x0`], orCode: 1 };
  return { id, command: `reg query "${key}" /v ${name}`, quiet, fix, parse: readAnswer };
}

/**
 * Keys that may be there and empty, of which reg says nothing, as a program that does not work does: in the same line it is asked for a value that every Windows
 * has. `loud`: what an entry of theirs shows.
 */
export function registryContents(id: string, keys: readonly string[], loud: readonly string[], fix: FixKind): Fact<RegistryAnswer> {
  const queries = [...keys.map((key) => `reg query "${key}"`), `reg query "${CURRENT_VERSION}" /v ${PROOF}`];
  return {
    id,
    command: `cmd /d /c "${queries.join(" & ")}"`,
    quiet: { kind: "textAbsent", text: [...loud], present: [PROOF] },
    fix,
    parse: (raw) => {
      if (raw.rc !== 0) return unknown(`reg ended with ${raw.rc}: ${words(raw)}`);
      const { keys: found, values } = parseRegQuery(raw.out);
      if (valueNamed({ keys: found, values }, PROOF) === undefined) return unknown(`the answer lacks ${PROOF}, which every Windows has`);
      const isProof = (key: string): boolean => key.toLowerCase().endsWith("\\windows\\currentversion");
      return value({ keys: found.filter((key) => !isProof(key)), values: values.filter(({ key }) => !isProof(key)) });
    },
  };
}
