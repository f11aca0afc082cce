// The scripts of a Linux guest: POSIX sh that dash and busybox run. They run commands, save what they say, and decide nothing but the quiet tests,
// the bookkeeping of steps and the bounded fixes of the order. Values of a program's user are single-quoted data, or lie in files of their own.
import type { Order, OrderFact, OrderStep } from "./order.ts";

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

export function shScripts(order: Order, promptOf: (check: string) => string): Script[] {
  return [
    { path: "run.sh", text: runScript(order) },
    { path: "package.sh", text: packageScript(order) },
    { path: "finalize.sh", text: finalizeScript(order, promptOf) },
    ...order.facts.map((fact) => ({ path: `facts/${fact.id}.sh`, text: `# ${fact.check}: ${fact.id}\n${fact.command}\n` })),
    ...order.steps.map((step) => ({ path: step.script, text: stepScript(step) })),
  ];
}

/** `export` lines; the file is deleted by package.sh as soon as its step has ended. */
export function shSecret(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, text]) => `export ${name}=${shQuote(text)}\n`)
    .join("");
}

function stepScript(step: OrderStep): string {
  const lines = [`# step ${step.id}: ${plain(step.name)}`];
  for (const [name, text] of Object.entries(step.env ?? {})) lines.push(`export ${name}=${shQuote(text)}`);
  if (step.secretNames !== undefined) {
    lines.push(`[ -r "$XENLAYER_HOME/secret/${step.id}.sh" ] || { echo "xenlayer: the secrets of this step are gone" >&2; exit 125; }`);
    lines.push(`. "$XENLAYER_HOME/secret/${step.id}.sh"`);
  }
  return `${lines.join("\n")}\n${step.run}${step.run.endsWith("\n") ? "" : "\n"}`;
}

const header = (order: Order, does: string): string => `#!/bin/sh
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

const runScript = (order: Order): string => `${header(order, "run by the bootstrap at every boot.")}
mkdir -p out
n=1
if [ -e out/boot.txt ]; then
  while read -r line; do n=$((n + 1)); done <out/boot.txt
fi
id=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
echo "$n \${id:-unknown}" >>out/boot.txt
sync
${
  order.mode === "manual"
    ? `echo "xenlayer: this machine is prepared by hand. When all is installed, run: sh $XENLAYER_HOME/finalize.sh"
exit 0`
    : `# An order is answered once: a machine that is started again to be looked at is left alone.
if [ -e out/report ]; then exit 0; fi
exec sh ${order.order}.sh`
}
`;

// Kept in every script that needs it, so that each can be read from top to bottom.
const functions = (order: Order, kind: "package" | "finalize"): string => `
n=0
id=unknown
if [ -e out/boot.txt ]; then
  while read -r a b; do n=$a; id=$b; done <out/boot.txt
fi
seq=0
attempt=0
waited=0

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

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

restart() {
  progress "restart"
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
${workers(order)}`;

const testOf = (fact: OrderFact, out: string): string => {
  const { quiet } = fact;
  if (quiet.kind === "equals") return `[ "$rc" = 0 ] && [ "$(cat "${out}")" = ${shQuote(quiet.text)} ]`;
  const grep = quiet.kind === "textAbsent" && quiet.anyCase === true ? "grep -qiF -e" : "grep -qF -e";
  const present = (quiet.present ?? []).map((text) => ` && ${grep} ${shQuote(text)} "${out}"`).join("");
  if (quiet.kind === "exitCode") return `case $rc in ${quiet.codes.join("|")}) true ;; *) false ;; esac${present}`;
  // grep's own failure (2) is not "not found" (1).
  const absent = quiet.text.map((text) => ` && { ${grep} ${shQuote(text)} "${out}"; [ $? = 1 ]; }`).join("");
  return `[ "$rc" = 0 ]${present}${absent}`;
};

const variable = (id: string): string => `q_${id.replaceAll("-", "_")}`;

/** Gathers one fact into the folder $r and remembers in q_<id> whether it was quiet. A fact's own time limit: a program that hangs is no answer. */
function gather(fact: OrderFact, accepted: boolean): string {
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
  ${after}${accepted ? "" : `\n  [ "$${q}" = yes ] || loud ${fact.id} ${fact.fix}`}`;
}

/** Nothing restarts or powers off the guest while an installer works; when it does not end in time, the machine is left running. */
function workers(order: Order): string {
  const facts = order.facts.filter((fact) => fact.worker === true && !order.accept.includes(fact.id));
  return `
settle() {
  t=0
  while :; do
    busy=
    r=out/facts/settle
    mkdir -p "$r"
${facts.map((fact) => `${gather(fact, true)}\n  [ "$${variable(fact.id)}" = yes ] || busy="$busy ${fact.id}"`).join("\n")}
    [ -z "$busy" ] && return 0
    [ "$t" -ge ${order.fixes.msiWaitSeconds} ] && return 1
    progress "waiting for$busy"
    sleep ${Math.max(order.wait.pollSeconds, 1)}
    t=$((t + ${Math.max(order.wait.pollSeconds, 1)}))
  done
}
`;
}

function packageScript(order: Order): string {
  const calls = order.steps.map(
    (step) =>
      `# ${step.phase}: ${plain(step.name)}\nstep ${step.id} ${step.script} ${Math.ceil(step.timeoutSeconds)} ${shQuote(step.expectExit.join(" "))} ${shQuote(step.rebootExit.join(" "))}`,
  );
  return `${header(order, "runs the steps of a layer, each once, and powers off.")}${functions(order, "package")}
leave() { # state, step
  if settle; then
    answer "$1" "" "$2" ""
    off
  fi
  answer blocked "" "$2" "$busy"
  progress "left running:$busy"
  exit 0
}

step() { # id, script, seconds, exit codes that mean done, exit codes that mean restart
  d=out/steps/$1
  mkdir -p "$d"
  case $(cat "$d/state" 2>/dev/null) in
    done) return 0 ;;
    reboot) put "$d/state" "done"; return 0 ;;
    running) ;;
    *) rm -f "$d/tries" ;;
  esac
  # A step that the guest went down in is run again, but not for ever.
  case $(cat "$d/tries" 2>/dev/null) in 1) tries=2 ;; 2) tries=3 ;; 3) put "$d/state" failed; leave failed "$1" ;; *) tries=1 ;; esac
  put "$d/tries" "$tries"
  put "$d/state" running
  rm -f "$d/rc" "$d/timeout"
  now >"$d/started"
  progress "step $1 running"
  sync
  begun=$(date +%s)
  (cd / && limited "$3" sh "$XENLAYER_HOME/$2") >"$d/log" 2>&1 </dev/null
  rc=$?
  spent=$(($(date +%s) - begun))
  if [ -e "secret/$1.sh" ]; then
    dd if=/dev/zero of="secret/$1.sh" bs=1 count="$(wc -c <"secret/$1.sh")" conv=notrunc 2>/dev/null
    sync
    rm -f "secret/$1.sh"
  fi
  # A log that fills the disk must not cost the result.
  if [ "$(wc -c <"$d/log")" -gt 4194304 ]; then
    rm -f reserve
    tail -c 200000 "$d/log" >log.new
    mv -f log.new "$d/log"
  fi
  now >"$d/finished"
  case $rc in 124 | 137) [ "$spent" -ge "$3" ] && put "$d/timeout" "$3" ;; esac
  put "$d/rc" "$rc"
  for code in $4; do
    if [ "$rc" = "$code" ] && [ ! -e "$d/timeout" ]; then put "$d/state" "done"; sync; progress "step $1 done"; return 0; fi
  done
  for code in $5; do
    if [ "$rc" = "$code" ]; then
      put "$d/state" reboot
      if settle; then restart; fi
      answer blocked "" "$1" "$busy"
      progress "left running:$busy"
      exit 0
    fi
  done
  put "$d/state" failed
  progress "step $1 failed"
  leave failed "$1"
}

${calls.join("\n")}

leave "done" ""
`;
}

function finalizeScript(order: Order, promptOf: (check: string) => string): string {
  const prompts = order.facts
    .filter((fact) => !order.accept.includes(fact.id))
    .map((fact) => `      ${fact.id}) echo ${shQuote(promptOf(fact.check))} ;;`);
  const manual = order.mode === "manual";
  return `${header(order, "looks twice whether anything is pending, mends what the order allows, reports, and powers off.")}${functions(order, "finalize")}
loud() { # fact, what may be done about it
  quiet=no
  blocked="$blocked $1"
  case $2 in none) want_none=yes ;; wait | ngen) want_wait=yes ;; reboot) want_reboot=yes ;; esac
}

round() {
  r=out/facts/$1
  quiet=yes
  blocked=
  want_none=no
  want_wait=no
  want_reboot=no
  rm -rf "$r"
  mkdir -p "$r"
  progress "facts $1"
${order.facts.map((fact) => gather(fact, order.accept.includes(fact.id))).join("\n")}
  sync
}

stop() { # round
  echo "This machine is not ready to be finalized:"
  for fact in $blocked; do
    case $fact in
${prompts.join("\n")}
    esac
    echo "  ($fact: see $XENLAYER_HOME/out/facts/$1/$fact.out)"
  done
${
  manual
    ? `  answer blocked "$1" "" "$blocked"
  progress "blocked:$blocked"
  exit 1`
    : `  if settle; then
    answer blocked "$1" "" "$blocked"
    off
  fi
  answer blocked "$1" "" "$blocked"
  progress "left running:$busy"
  exit 0`
}
}

attempt=$(cat out/attempt 2>/dev/null)
case $attempt in '' | *[!0-9]* | ????*) attempt=0 ;; esac
while :; do
  if [ "$attempt" -gt 0 ] && [ -d out/facts/a ]; then
    rm -rf "out/facts/$attempt-a" "out/facts/$attempt-b"
    mv out/facts/a "out/facts/$attempt-a"
    [ -d out/facts/b ] && mv out/facts/b "out/facts/$attempt-b"
    # The first attempts and the last one tell the story.
    [ "$attempt" -gt 8 ] && rm -rf "out/facts/$attempt-a" "out/facts/$attempt-b"
  fi
  attempt=$((attempt + 1))
  put out/attempt "$attempt"
  round a
  first=$quiet
  sleep ${order.sampleGapSeconds}
  round b
  if [ "$quiet" = yes ]; then
    [ "$first" = yes ] && break
    # It came to rest between the samples: both have to be quiet.
    want_wait=yes
  fi
${
  manual
    ? `  if [ "$quiet" = no ]; then stop b; fi`
    : `  if [ "$want_none" = yes ]; then stop b; fi
  if [ "$want_wait" = yes ]; then
    if [ "$waited" -ge ${order.fixes.msiWaitSeconds} ]; then stop b; fi
    sleep ${Math.max(order.wait.pollSeconds, 1)}
    waited=$((waited + ${Math.max(order.wait.pollSeconds, 1)}))
    continue
  fi
  if [ "$want_reboot" = yes ]; then
    case $(cat out/reboots 2>/dev/null) in ${rebootCases(order.fixes.rebootMax)} esac
    if [ "$reboots" -gt ${order.fixes.rebootMax} ]; then stop b; fi
    if settle; then
      put out/reboots "$reboots"
      echo "$attempt reboot rc=0" >>out/fixes.txt
      restart
    fi
    stop b
  fi`
}
done

# Once more, as the last look before the power goes.
round c
if [ "$quiet" = no ]; then stop c; fi
answer ready c "" ""
progress "ready"
off
`;
}

// Spelled out: what stands in a file of the guest is never put into an arithmetic expansion.
function rebootCases(max: number): string {
  const known = Array.from({ length: max }, (_, index) => `${index + 1}) reboots=${index + 2} ;;`);
  return [...known, "*) reboots=1 ;;"].join(" ");
}
