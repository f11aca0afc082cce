// What all scripts of a Linux guest share: POSIX sh that dash and busybox run. They run commands, save what they say, and decide nothing but the quiet tests,
// the bookkeeping of steps and the bounded fixes of the order. Values of a program's user are single-quoted data, or lie in files of their own.
import type { Order, OrderFact } from "./order.ts";

export interface Script {
  readonly path: string;
  readonly text: string;
}

export const shQuote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** A name that can stand in a comment of any script. */
export const plain = (text: string): string =>
  text
    .replace(/[^A-Za-z0-9 ._-]+/g, " ")
    .trim()
    .slice(0, 80);

export const header = (order: Order, does: string): string => `#!/bin/sh
# xenlayer: ${does}
# Generated for order ${order.nonce}. The verdict on what is saved here is xenlayer's.
LC_ALL=C
PATH=\${PATH:+$PATH:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
unset CDPATH
cd "$(dirname "$0")/" || exit 1
XENLAYER_HOME=$(pwd)
XENLAYER_FILES=$XENLAYER_HOME/files
export XENLAYER_HOME XENLAYER_FILES
`;

// Kept in every script that needs it, so that each can be read from top to bottom.
export const functions = (order: Order, kind: "package" | "finalize"): string => `
n=0
id=unknown
if [ -e out/boot.txt ]; then
  while read -r a b; do n=$a; id=$b; done <out/boot.txt
fi
seq=0
attempt=0

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# Seconds of the kernel, which go on evenly when somebody (time synchronisation, at the first start above all) sets the clock.
uptime_seconds() {
  if read -r up rest 2>/dev/null </proc/uptime; then echo "\${up%%.*}"; else date +%s; fi
}

# What was waited since: by the kernel's clock, and at least what was slept through; before: by earlier boots.
before=0
waited=0
since=$(uptime_seconds)

nap() { # seconds
  sleep "$1"
  waited=$((waited + $1))
}

is_over() { # seconds
  real=$(($(uptime_seconds) - since))
  [ "$real" -le "$waited" ] || waited=$real
  [ $((before + waited)) -ge "$1" ]
}

put() { printf '%s\\n' "$2" >"$1.new" && mv -f "$1.new" "$1"; }

progress() {
  seq=$((seq + 1))
  echo "xenlayer: $1"
  if command -v xenstore-write >/dev/null 2>&1; then
    xenstore-write vm-data/xenlayer/progress "${order.nonce} $n $seq $1" >/dev/null 2>&1
  fi
}

# The report comes last: without it nothing that lies here counts. The reserve is the room that a full disk keeps for it.
answer() { # state, round, step, facts that block
  rm -f reserve
  printf '%s\\n' format=1 nonce=${order.nonce} order=${kind} "boot=$id" "boots=$n" "state=$1" "attempt=$attempt" "round=$2" "step=$3" "blocked=$4" >out/report.new
  mv -f out/report.new out/report
  sync
}

off() {
  progress "power off"
  sync
  sleep ${order.wait.flushSeconds}
  poweroff || shutdown -h now || systemctl poweroff
  exit 0
}

restart() { # why
  progress "restart for$1"
  sync
  sleep ${Math.min(order.wait.flushSeconds, 1)}
  reboot || shutdown -r now || systemctl reboot
  exit 0
}

# Runs a command for so many seconds; 124 or 137 when it had to be ended. Without timeout(1) only the command itself is ended, not what it started.
limited() {
  limit=$1
  shift
  if timeout -k 1 5 true >/dev/null 2>&1; then
    timeout -k 10 "$limit" "$@"
    return $?
  fi
  "$@" &
  child=$!
  (
    t=0
    while [ "$t" -lt "$limit" ]; do
      sleep 1
      kill -0 "$child" 2>/dev/null || exit 0
      t=$((t + 1))
    done
    kill "$child" 2>/dev/null
    sleep 10
    kill -9 "$child" 2>/dev/null
  ) >/dev/null 2>&1 &
  watcher=$!
  wait "$child"
  ended=$?
  kill "$watcher" 2>/dev/null
  case $ended in 143) ended=124 ;; esac
  return $ended
}
${workers(order, kind)}`;

const testOf = (fact: OrderFact, out: string): string => {
  const { quiet } = fact;
  if (quiet.kind === "value") throw new Error(`${fact.id} asks for a value of Windows' registry`);
  if (quiet.kind === "equals") return `[ "$rc" = 0 ] && [ "$(cat "${out}")" = ${shQuote(quiet.text)} ]`;
  const grep = quiet.kind === "textAbsent" && quiet.anyCase === true ? "grep -qiF -e" : "grep -qF -e";
  const present = (quiet.present ?? []).map((text) => ` && ${grep} ${shQuote(text)} "${out}"`).join("");
  if (quiet.kind === "exitCode") {
    const one = (quiet.oneOf ?? []).map((text) => `${grep} ${shQuote(text)} "${out}"`).join(" || ");
    return `case $rc in ${quiet.codes.join("|")}) true ;; *) false ;; esac${present}${one === "" ? "" : ` && { ${one}; }`}`;
  }
  // grep's own failure (2) is not "not found" (1).
  const absent = quiet.text.map((text) => ` && { ${grep} ${shQuote(text)} "${out}"; [ $? = 1 ]; }`).join("");
  const answered = `[ "$rc" = 0 ]${present}${absent}`;
  return quiet.orCode === undefined ? answered : `[ "$rc" = ${quiet.orCode} ] || { ${answered}; }`;
};

const variable = (id: string): string => `q_${id.replaceAll("-", "_")}`;

/** Gathers one fact into the folder $r and remembers in q_<id> whether it was quiet. A fact's own time limit: a program that hangs is no answer. */
export function gather(fact: OrderFact, accepted: boolean): string {
  const file = `$r/${fact.id}`;
  const q = variable(fact.id);
  const run = `limited 300 sh facts/${fact.id}.sh >"${file}.out" 2>"${file}.err" </dev/null
  rc=$?
  echo "$rc" >"${file}.rc"
  if ${testOf(fact, `${file}.out`)}; then ${q}=yes; else ${q}=no; fi`;
  const required =
    fact.requires === undefined
      ? run
      : `if [ -e ${shQuote(fact.requires)} ]; then
  ${run}
  else echo absent >"${file}.rc"; ${q}=yes; fi`;
  const after = fact.after === undefined ? required : `if [ "$${variable(fact.after)}" = yes ]; then\n  ${required}\n  fi`;
  return `  # ${fact.check}: ${fact.id}${accepted ? " (accepted, judged later)" : ""}
  ${q}=no
  ${after}${accepted ? "" : `\n  [ "$${q}" = yes ] || loud ${fact.id} ${wanted(fact, file)}`}`;
}

// A restart for what was found; for what could not be asked, another look.
function wanted({ fix, found }: OrderFact, file: string): string {
  if (fix !== "reboot") return fix;
  const { codes, text } = found ?? { codes: [0] };
  const says = text === undefined ? "" : ` && grep -qiF -e ${shQuote(text)} "${file}.out"`;
  return `"$(case $rc in ${codes.join("|")}) true ;; *) false ;; esac${says} && echo reboot || echo unread)"`;
}

/**
 * Nothing restarts or powers off the guest while an installer works; when it does not end in time, the machine is left running. What policy lets through is waited
 * for as long, and then spared.
 */
function workers(order: Order, kind: "package" | "finalize"): string {
  const facts = order.facts.filter((fact) => fact.worker === true);
  const noted = (fact: OrderFact): string => {
    const list = order.accept.includes(fact.id) ? "spared" : "busy";
    return `${gather(fact, true)}\n  [ "$${variable(fact.id)}" = yes ] || ${list}="$${list} ${fact.id}"`;
  };
  return `
settle() {
${kind === "package" ? "  waited=0\n  since=$(uptime_seconds)\n" : ""}  while :; do
    busy=
    spared=
    r=out/facts/settle
    mkdir -p "$r"
${facts.map(noted).join("\n")}
    [ -z "$busy$spared" ] && return 0
    if is_over ${Math.ceil(order.fixes.msiWaitSeconds)}; then
      [ -z "$busy" ]
      return
    fi
    progress "waiting for$busy$spared"
    nap ${Math.max(Math.ceil(order.wait.pollSeconds), 1)}
  done
}
`;
}
