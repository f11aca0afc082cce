// The running kernel of a Linux guest against the installed ones; part of pendingReboot.ts.
import { cannotTell, type Fact, type Judgement, type Look, pending, ready, unknown, value, words } from "../fact.ts";

interface Kernels {
  readonly running: string;
  /** Absent where none lies in /boot. */
  readonly newest?: string;
}

// A kernel that was installed and not started yet: plain Debian says nothing of it. Versions are compared again by the judge. A guest whose kernel lies elsewhere
// (none in /boot) has nothing to compare.
export const kernel: Fact<Kernels> = {
  id: "kernel",
  command: [
    "k=$(uname -r) || exit 2",
    "set -- /boot/vmlinuz-*",
    'if [ -e "$1" ]; then',
    "  n=$(printf '%s\\n' \"$@\" | sed 's|^/boot/vmlinuz-||' | grep -v rescue | sort -V | tail -n 1)",
    '  [ -n "$n" ] || { echo "the kernels in /boot cannot be sorted" >&2; exit 3; }',
    '  h=$(printf "%s\\n%s\\n" "$k" "$n" | sort -V | tail -n 1)',
    '  if [ "$h" = "$k" ]; then echo "installed $n"; else echo "newer $n"; fi',
    "fi",
    'echo "running $k"',
  ].join("\n"),
  quiet: { kind: "textAbsent", text: ["newer "], present: ["running "] },
  fix: "reboot",
  parse: (raw) => {
    const [, newest] = /^(?:newer|installed) (\S{1,100})$/m.exec(raw.out) ?? [];
    const [, running] = /^running (\S{1,100})$/m.exec(raw.out) ?? [];
    if (raw.rc !== 0 || running === undefined) return unknown(`ended with ${raw.rc}: ${words(raw)}`);
    return value({ running, ...(newest === undefined ? {} : { newest }) });
  },
};

/** As `sort -V` has it, as far as kernels go: numbers by value, the rest by letters. */
export function isNewer(one: string, other: string): boolean {
  const parts = (text: string): string[] => text.match(/\d+|\D+/g) ?? [];
  const [a, b] = [parts(one), parts(other)];
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const [x = "", y = ""] = [a[index], b[index]];
    if (x === y) continue;
    return /^\d/.test(x) && /^\d/.test(y) ? Number(x) > Number(y) : x > y;
  }
  return false;
}

export function judgeKernel(look: Look): Judgement {
  const kernels = look(kernel);
  if (kernels.kind !== "value") return cannotTell(kernel, kernels);
  const { running, newest } = kernels.value;
  if (newest === undefined || !isNewer(newest, running)) return ready;
  return pending(`A post-installation reboot is pending: the kernel ${newest} is installed and ${running} runs.`);
}
