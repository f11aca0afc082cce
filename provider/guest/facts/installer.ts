// An installation under way: Windows Installer, Windows servicing, or the package manager of a Linux guest.
// Windows Installer's own mutex (Global\_MSIExecute) can't be seen by a built-in program; the service tells the same:
// while an installation runs it accepts SHUTDOWN and nothing else (learn.microsoft.com, _MSIExecute mutex). RUNNING alone says nothing: it idles for ten minutes.
import {
  type Check,
  cannotTell,
  type Fact,
  type Judgement,
  joinJudgements,
  judgeAbsent,
  pending,
  type Raw,
  type Reading,
  ready,
  unknown,
  value,
  words,
} from "../fact.ts";
import { named, processList, running } from "../processes.ts";
import { registryKey } from "../registry.ts";

const SEED = "An MSI install operation is in progress - please check the Packaging Machine.";
const IN_PROGRESS = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Installer\\InProgress";
const SERVICING = ["TiWorker.exe", "TrustedInstaller.exe"];

export interface ServiceState {
  readonly state: number;
  /** What the service accepts, as sc prints it: STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN. */
  readonly accepts: readonly string[];
}

const STOPPED = 1;
const RUNNING = 4;
const BUSY = "NOT_STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN";

/** `sc query NAME`: labels may be localised, the order of the lines, the numbers and the flags are not: type, state, flags. */
export function parseScQuery(raw: Raw): Reading<ServiceState> {
  if (raw.rc === 1060) return { kind: "absent" };
  if (raw.rc !== 0) return unknown(`sc ended with ${raw.rc}: ${words(raw)}`);
  const lines = raw.out.split(/\r?\n/);
  const numbered = lines.flatMap((line, index) => {
    // Bounded, so that no line of a guest's makes the search quadratic.
    const [, number] = /^\s{1,40}[^\s:][^:]{0,60}:\s*([0-9a-f]+)\s+\S/i.exec(line) ?? [];
    return number === undefined ? [] : [{ index, number: Number.parseInt(number, 16) }];
  });
  const state = numbered[1];
  if (!/msiserver/i.test(raw.out) || state === undefined || state.number < 1 || state.number > 7)
    return unknown("the answer of sc holds no service state");
  const flags = /^\s+\(([A-Z_, ]+)\)\s*$/.exec(lines[state.index + 1] ?? "")?.[1];
  return value({ state: state.number, accepts: flags === undefined ? [] : flags.split(",").map((flag) => flag.trim()) });
}

export const msiService: Fact<ServiceState> = {
  id: "msi-service",
  command: "sc query msiserver",
  quiet: { kind: "textAbsent", text: [BUSY, ": 2 ", ": 3 ", ": 5 ", ": 6 ", ": 7 "], present: ["msiserver"] },
  worker: true,
  fix: "wait",
  parse: parseScQuery,
};

export const msiInProgress = registryKey("msi-in-progress", IN_PROGRESS, "wait");
export const servicing = processList("servicing-workers", SERVICING, "wait");

function judgeService(state: ServiceState, installers: string): Judgement {
  if (state.accepts.join(", ") === BUSY && state.state === RUNNING)
    return pending(`${SEED} The service msiserver is at work${installers}; let it finish.`);
  if (state.state === STOPPED || (state.state === RUNNING && state.accepts.length > 0)) return ready;
  return state.state === RUNNING
    ? { state: "failed", message: `${SEED} sc does not say what the running service msiserver accepts.` }
    : pending(`${SEED} The service msiserver is starting or stopping; let it finish.`);
}

// fcntl locks: flock(1) does not see them and the files always exist, so the kernel's own table is read (guest.md 2.10).
const packageLocks: Fact<string[]> = {
  id: "package-locks",
  command: [
    '[ -r /proc/locks ] || { echo "/proc/locks cannot be read" >&2; exit 2; }',
    "for f in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock; do",
    '  [ -e "$f" ] || continue',
    '  set -- $(ls -di "$f")',
    '  grep ":$1 " /proc/locks | while read -r n kind mode access pid rest; do echo "held $f $pid $(cat "/proc/$pid/comm" 2>/dev/null)"; done',
    "done",
    "echo checked",
  ].join("\n"),
  quiet: { kind: "equals", text: "checked" },
  worker: true,
  fix: "wait",
  parse: (raw) => listUntilChecked(raw, "held "),
};

// Not by name: unattended-upgr, which idles on every Ubuntu to see the shutdown, and packagekitd. Their work shows in the locks.
const packageManagers: Fact<string[]> = {
  id: "package-managers",
  command: [
    '[ -r /proc/self/comm ] || { echo "/proc cannot be read" >&2; exit 2; }',
    "for p in /proc/[0-9]*; do",
    '  c=$(cat "$p/comm" 2>/dev/null) || continue',
    "  case $c in",
    '    apt|apt-get|aptitude|dpkg|dnf|dnf5|yum|rpm|zypper|pacman|apk) echo "running $c $p" ;;',
    "  esac",
    "done",
    "echo checked",
  ].join("\n"),
  quiet: { kind: "equals", text: "checked" },
  worker: true,
  fix: "wait",
  parse: (raw) => listUntilChecked(raw, "running "),
};

function listUntilChecked(raw: Raw, prefix: string): Reading<string[]> {
  const lines = raw.out.trim().split(/\r?\n/);
  const last = lines.pop();
  if (raw.rc !== 0 || last !== "checked" || !lines.every((line) => line.startsWith(prefix))) {
    return unknown(`ended with ${raw.rc}: ${words(raw)}`);
  }
  return lines.length === 0 ? { kind: "absent" } : value(lines.map((line) => line.slice(prefix.length).trim()));
}

// `dpkg --audit` says nothing when all is well, as a program that does not work would: dpkg has to give its name first.
const dpkgAudit: Fact<string> = {
  id: "dpkg-audit",
  command: [
    "v=$(dpkg --version) || exit 3",
    'case $v in *dpkg*) ;; *) echo "dpkg does not say its version" >&2; exit 4 ;; esac',
    'a=$(dpkg --audit) || { echo "$a"; exit 5; }',
    'if [ -n "$a" ]; then echo "$a"; else echo clean; fi',
  ].join("\n"),
  quiet: { kind: "equals", text: "clean" },
  requires: "/var/lib/dpkg/status",
  fix: "none",
  parse: (raw) => {
    if (raw.rc !== 0 || raw.out.trim() === "") return unknown(`ended with ${raw.rc}: ${words(raw)}`);
    return raw.out.trim() === "clean" ? { kind: "absent" } : value(raw.out.trim());
  },
};

export const installer: Check = {
  id: "installer",
  title: "Installation in progress",
  prompt: SEED,
  bit: { name: "installer", value: 4 },
  policy: "fix",
  windows: {
    facts: [msiService, msiInProgress, servicing],
    judge: (look) => {
      const processes = look(servicing);
      const service = look(msiService);
      const msiexec = processes.kind === "value" ? running(processes.value, ["msiexec.exe"]) : [];
      const installers = msiexec.length > 0 ? `: ${named(msiexec)}` : "";
      return joinJudgements([
        service.kind === "value" ? judgeService(service.value, installers) : cannotTell(msiService, service),
        judgeAbsent(msiInProgress, look, () =>
          pending(
            msiexec.length > 0
              ? `${SEED} ${IN_PROGRESS} exists and ${named(msiexec)} runs; let it finish.`
              : `${SEED} ${IN_PROGRESS} exists though no msiexec.exe runs: an installation was suspended or broken off; resume it or roll it back.`,
          ),
        ),
        processes.kind !== "value"
          ? cannotTell(servicing, processes)
          : running(processes.value, SERVICING).length > 0
            ? pending(`${SEED} Windows servicing is at work: ${named(running(processes.value, SERVICING))}; let it finish.`)
            : ready,
      ]);
    },
  },
  linux: {
    facts: [packageLocks, packageManagers, dpkgAudit],
    judge: (look) =>
      joinJudgements([
        judgeAbsent(packageLocks, look, (held) =>
          pending(`An installation is in progress: the package manager's lock is held (${held.slice(0, 5).join("; ")}); let it finish.`),
        ),
        judgeAbsent(packageManagers, look, (list) =>
          pending(`An installation is in progress: ${list.slice(0, 5).join("; ")} runs; let it finish.`),
        ),
        judgeAbsent(dpkgAudit, look, (text) =>
          pending(`Packages are half installed; run dpkg --configure -a in a step. dpkg --audit says: ${text.slice(0, 600)}`),
        ),
      ]),
  },
};
