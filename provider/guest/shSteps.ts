// What runs in a Linux guest at every boot, and the steps of a layer: each once, each with its log, exit code and time limit, its secrets deleted when it has ended.
import type { Order, OrderStep } from "./order.ts";
import { functions, header, plain, shQuote } from "./sh.ts";

export const runScript = (order: Order): string => `${header(order, "run by the bootstrap at every boot.")}
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

export function packageScript(order: Order): string {
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
  begun=$(uptime_seconds)
  (cd / && limited "$3" sh "$XENLAYER_HOME/$2") >"$d/log" 2>&1 </dev/null
  rc=$?
  spent=$(($(uptime_seconds) - begun))
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
  put "$d/seconds" "$spent"
  case $rc in 124 | 137) [ "$spent" -ge "$3" ] && put "$d/timeout" "$3" ;; esac
  put "$d/rc" "$rc"
  for code in $4; do
    if [ "$rc" = "$code" ] && [ ! -e "$d/timeout" ]; then put "$d/state" "done"; sync; progress "step $1 done"; return 0; fi
  done
  for code in $5; do
    if [ "$rc" = "$code" ]; then
      put "$d/state" reboot
      if settle; then restart " step $1"; fi
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

export function stepScript(step: OrderStep): string {
  const lines = [`# step ${step.id}: ${plain(step.name)}`];
  for (const [name, text] of Object.entries(step.env ?? {})) lines.push(`export ${name}=${shQuote(text)}`);
  if (step.secretNames !== undefined) {
    lines.push(`[ -r "$XENLAYER_HOME/secret/${step.id}.sh" ] || { echo "xenlayer: the secrets of this step are gone" >&2; exit 125; }`);
    lines.push(`. "$XENLAYER_HOME/secret/${step.id}.sh"`);
  }
  return `${lines.join("\n")}\n${step.run}${step.run.endsWith("\n") ? "" : "\n"}`;
}

/** `export` lines; the file is deleted by package.sh as soon as its step has ended. */
export function shSecret(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, text]) => `export ${name}=${shQuote(text)}\n`)
    .join("");
}
