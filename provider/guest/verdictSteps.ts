// What is said of the steps of a packaging: each one's state, what went wrong with the one that stopped it, and the end of what it printed.
// Whether the steps make a version is judged in verdict.ts.
import type { PayloadReport, StepReport } from "./evidence.ts";
import type { Order } from "./order.ts";
import type { StepVerdict } from "./verdictReport.ts";

/** Lines of a step's output that its digest in the layer record is of. */
export const LOG_TAIL = 20;

export function stepVerdicts(order: Order, payload: PayloadReport): StepVerdict[] {
  return order.steps.map(({ id, name }) => {
    const step: StepReport = payload.steps.find((entry) => entry.id === id) ?? {
      id,
      state: "none",
      log: "",
      logBytes: 0,
      timedOut: false,
      tries: 0,
    };
    return {
      id,
      name,
      state: step.state,
      ...(step.rc === undefined ? {} : { exitCode: step.rc }),
      timedOut: step.timedOut,
      ...(step.started === undefined ? {} : { started: step.started }),
      ...(step.finished === undefined ? {} : { finished: step.finished }),
      ...(step.seconds === undefined ? {} : { seconds: step.seconds }),
      logTail: lastLines(step.log, LOG_TAIL),
    };
  });
}

export function succeeded(step: Order["steps"][number], steps: readonly StepVerdict[]): boolean {
  const found = steps.find((entry) => entry.id === step.id);
  return found?.exitCode !== undefined && !found.timedOut && [...step.expectExit, ...step.rebootExit].includes(found.exitCode);
}

export function stepMessage(order: Order, step: StepVerdict, payload: PayloadReport): string {
  const asked = order.steps.find((entry) => entry.id === step.id);
  const expected = [...(asked?.expectExit ?? []), ...(asked?.rebootExit ?? [])].join(", ");
  const log = step.logTail === "" ? "; it printed nothing" : `; it printed last:\n${step.logTail}`;
  if (step.timedOut) return `step "${step.name}" did not end within ${Math.round((asked?.timeoutSeconds ?? 0) / 6) / 10} minutes${log}`;
  const tries = payload.steps.find((entry) => entry.id === step.id)?.tries ?? 0;
  if (step.exitCode === undefined) {
    return tries >= 3
      ? `the guest went down ${tries} times while step "${step.name}" ran${log}`
      : `step "${step.name}" has no exit code (was the payload disk full?)${log}`;
  }
  return `step "${step.name}" ended with exit code ${step.exitCode} (expected ${expected})${step.exitCode === 9009 ? ": cmd knows no such command" : ""}${log}`;
}

export const lastStep = (steps: readonly StepVerdict[]): string => {
  const running = steps.find((step) => step.state === "running" || step.state === "reboot");
  return running === undefined
    ? ""
    : `; step "${running.name}" was ${running.state === "running" ? "under way" : "waiting for its restart"}`;
};

export const lastLines = (text: string, count: number): string => text.trimEnd().split(/\r?\n/).slice(-count).join("\n").slice(-4000);
