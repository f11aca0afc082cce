// A Linux guest must have finished starting: a job of systemd or a stage of cloud-init under way still changes the disk.
// What runs this very script is no news: inside cloud-init its own status is "running" and its units are jobs; a unit of the bootstrap is a job, too. Jobs that
// wait are not looked at: they wait for one that runs. A degraded system is only noted; exit code 2 of cloud-init (recoverable errors, since 23.4) as well.
import {
  type Check,
  type Fact,
  type Judgement,
  joinJudgements,
  judgeAbsent,
  OTHER_BIT,
  pending,
  ready,
  unknown,
  value,
  words,
} from "../fact.ts";

const PROMPT = "The guest is still starting - please wait, then check the Packaging Machine.";

interface Systemd {
  readonly state: string;
  readonly jobs: readonly string[];
}

const systemd: Fact<Systemd> = {
  id: "systemd",
  command: [
    "s=$(systemctl is-system-running 2>/dev/null)",
    "case $s in",
    "  running | degraded | starting | initializing | stopping | maintenance) ;;",
    '  *) echo "systemctl does not say the state of the system: $s" >&2; exit 2 ;;',
    "esac",
    "j=$(systemctl list-jobs --no-legend --no-pager) || exit 3",
    "printf '%s\\n' \"$j\" | while read -r number unit kind state rest; do",
    "  case $unit in '' | cloud-*.service | cloud-*.target | xenlayer*) continue ;; esac",
    '  [ "$state" = running ] && echo "job $unit $kind"',
    "done",
    'echo "state $s"',
  ].join("\n"),
  quiet: { kind: "textAbsent", text: ["job ", "state stopping", "state maintenance"], present: ["state "] },
  requires: "/run/systemd/system",
  fix: "wait",
  parse: (raw) => {
    const lines = raw.out.trim().split(/\r?\n/);
    const state = /^state ([a-z]{1,20})$/.exec(lines.pop() ?? "")?.[1];
    if (raw.rc !== 0 || state === undefined || !lines.every((line) => line.startsWith("job ")))
      return unknown(`ended with ${raw.rc}: ${words(raw)}`);
    return value({ state, jobs: lines.map((line) => line.slice("job ".length, 204)) });
  },
};

function judgeSystemd({ state, jobs }: Systemd): Judgement {
  if (jobs.length > 0) return pending(`${PROMPT} systemd is at work on ${jobs.slice(0, 5).join(", ")}.`);
  if (state === "stopping" || state === "maintenance") return pending(`${PROMPT} systemd says that the system is "${state}".`);
  return state === "degraded" ? { state: "ready", notes: ["systemd is degraded: some unit has failed (systemctl --failed)"] } : ready;
}

interface CloudInit {
  readonly inside: boolean;
  readonly rc: number;
  readonly status: string;
}

const cloudInit: Fact<CloudInit> = {
  id: "cloud-init",
  command: [
    "where=outside",
    "p=$$",
    'while [ "$p" -gt 1 ]; do',
    '  [ "$(cat "/proc/$p/comm" 2>/dev/null)" = cloud-init ] && where=inside',
    "  p=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$p/status 2>/dev/null)",
    '  [ -n "$p" ] || break',
    "done",
    "s=$(cloud-init status)",
    'echo "$where code $? $s"',
  ].join("\n"),
  quiet: {
    kind: "textAbsent",
    text: [
      ...["outside code 0", "outside code 2"].flatMap((code) =>
        ["running", "degraded running", "not"].map((status) => `${code} status: ${status}`),
      ),
      "status: error",
      "status: degraded error",
      "code 1 ",
      "code 127 ",
    ],
    present: [" status: "],
  },
  requires: "/usr/bin/cloud-init",
  fix: "wait",
  parse: (raw) => {
    const [, where, rc, status] = /^(inside|outside) code (\d{1,3}) status: ([a-z -]{1,40})$/m.exec(raw.out) ?? [];
    if (raw.rc !== 0 || where === undefined || status === undefined) return unknown(`ended with ${raw.rc}: ${words(raw)}`);
    return value({ inside: where === "inside", rc: Number(rc), status: status.trim() });
  },
};

function judgeCloudInit({ inside, rc, status }: CloudInit): Judgement {
  if (/^(error|degraded error)/.test(status) || (rc !== 0 && rc !== 2))
    return pending(`cloud-init has failed (status: ${status}, exit code ${rc}): look at cloud-init status --long in the guest.`);
  if (/(^|\b)running$|^not (run|started)/.test(status)) return inside ? ready : pending(`${PROMPT} cloud-init says "${status}".`);
  return rc === 2 ? { state: "ready", notes: [`cloud-init ended with recoverable errors (status: ${status})`] } : ready;
}

export const startup: Check = {
  id: "startup",
  title: "Start of the guest",
  prompt: PROMPT,
  bit: OTHER_BIT,
  policy: "fix",
  linux: {
    facts: [systemd, cloudInit],
    judge: (look) => joinJudgements([judgeAbsent(systemd, look, judgeSystemd), judgeAbsent(cloudInit, look, judgeCloudInit)]),
  },
};
