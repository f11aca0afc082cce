// Finalizing in a Linux guest: two samples, bounded fixes, a last sample, the report, the power.

import { linuxLeave } from "./bootstrap.ts";
import { MORE_LOOKS } from "./cmdFinalize.ts";
import { shInventory } from "./inventory.ts";
import type { Order } from "./order.ts";
import { functions, gather, header, shQuote } from "./sh.ts";

export function finalizeScript(order: Order, promptOf: (check: string) => string): string {
  const prompts = order.facts
    .filter((fact) => !order.accept.includes(fact.id))
    .map((fact) => `      ${fact.id}) echo ${shQuote(promptOf(fact.check))} ;;`);
  const manual = order.mode === "manual";
  return `${header(order, "looks twice whether anything is pending, mends what the order allows, reports, and powers off.")}${functions(order, "finalize")}
loud() { # fact, what may be done about it
  quiet=no
  blocked="$blocked $1"
  case $2 in none) want_none=yes ;; wait | ngen) want_wait=yes ;; reboot) want_reboot=yes ;; *) want_unread=yes ;; esac
}

round() {
  r=out/facts/$1
  quiet=yes
  blocked=
  want_none=no
  want_wait=no
  want_reboot=no
  want_unread=no
  rm -rf "$r"
  mkdir -p "$r"
${order.facts
  .map((fact, index) => {
    const begins = order.facts[index - 1]?.check !== fact.check;
    return `${begins ? `  progress "check $1 ${fact.check}"\n` : ""}${gather(fact, order.accept.includes(fact.id))}`;
  })
  .join("\n")}
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
${shInventory()}
attempt=$(cat out/attempt 2>/dev/null)
case $attempt in '' | *[!0-9]* | ????*) attempt=0 ;; esac
unread=0
before=$(cat out/waited 2>/dev/null)
case $before in '' | 0?* | *[!0-9]* | ??????*) before=0 ;; esac
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
  nap ${Math.ceil(order.sampleGapSeconds)}
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
    if is_over ${Math.ceil(order.fixes.msiWaitSeconds)}; then stop b; fi
    progress "waiting for$blocked"
    nap ${Math.max(Math.ceil(order.wait.pollSeconds), 1)}
    continue
  fi
  if [ "$want_reboot" = yes ]; then
    case $(cat out/reboots 2>/dev/null) in ${rebootCases(order.fixes.rebootMax)} esac
    if [ "$reboots" -gt ${order.fixes.rebootMax} ]; then stop b; fi
    if settle; then
      put out/reboots "$reboots"
      put out/waited "$((before + waited))"
      echo "$attempt reboot rc=0" >>out/fixes.txt
      restart "$blocked"
    fi
    stop b
  fi
  if [ "$want_unread" = yes ]; then
    if [ "$unread" -ge ${MORE_LOOKS} ]; then stop b; fi
    unread=$((unread + 1))
    progress "waiting for$blocked"
    nap ${Math.max(Math.ceil(order.wait.pollSeconds), 1)}
  fi`
}
done

inventory
${order.facts.some((fact) => fact.worker === true && order.accept.includes(fact.id)) ? "# What policy lets through is still waited for: it may take as long as the order allows.\nsettle\n" : ""}# Once more, as the last look before the power goes.
round c
if [ "$quiet" = no ]; then stop c; fi
# What only served the packaging is no part of the layer.
${linuxLeave}
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
