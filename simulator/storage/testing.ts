// For tests only: the system programs that a suite compares with. A missing one skips the suite and says so; with CI=true it fails.

import { execFileSync } from "node:child_process";

// dosfstools lives in /usr/sbin, which is not on every user's PATH.
process.env.PATH = `${process.env.PATH ?? ""}:/usr/sbin:/sbin`;

const packages: Record<string, string> = {
  "qemu-img": "qemu-utils",
  mformat: "mtools",
  mcopy: "mtools",
  mtype: "mtools",
  mdir: "mtools",
  "fsck.vfat": "dosfstools",
  "mkfs.vfat": "dosfstools",
  curl: "curl",
};

export function missingPrograms(programs: readonly string[]): string[] {
  const missing = programs.filter((program) => !isThere(program));
  if (missing.length > 0) {
    const from = [...new Set(missing.map((program) => packages[program] ?? program))].join(" ");
    const message = `${missing.join(", ")} not found: the tests that compare with them did not run (install ${from})`;
    if (process.env.CI === "true") {
      throw new Error(message);
    }
    process.stderr.write(`${message}\n`);
  }
  return missing;
}

function isThere(program: string): boolean {
  try {
    execFileSync("sh", ["-c", 'command -v "$1"', "sh", program], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
