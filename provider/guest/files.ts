// Files in a Windows guest that should not be there: a fact that exists only where one is found. What `if exist` finds by a pattern, `dir` lists.
import { absent, type Fact, type FixKind, unknown, value } from "./fact.ts";

export function filesThere(id: string, path: string, fix: FixKind = "none"): Fact<string[]> {
  return {
    id,
    command: `cmd /d /c dir /b /a "${path}"`,
    // 1: it was there for `if exist` and is gone for `dir`.
    quiet: { kind: "exitCode", codes: [1] },
    requires: path,
    fix,
    parse: (raw) => {
      if (raw.rc === 1) return absent;
      const names = raw.out.split(/\r?\n/).filter((line) => line.trim() !== "");
      if (raw.rc !== 0 || names.length === 0) return unknown(`dir ended with ${raw.rc} and names no file`);
      return value(names.map((name) => name.trim().slice(0, 200)).slice(0, 100));
    },
  };
}
