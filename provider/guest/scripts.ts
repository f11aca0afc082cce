// What lies on the payload disk as text, generated from the order alone: the same order gives the same scripts.
// They run programs and save what these say; what it means is decided by verdict.ts.
import { checks } from "./checks.ts";
import { crlf } from "./cmd.ts";
import * as cmdFinalize from "./cmdFinalize.ts";
import * as cmdSteps from "./cmdSteps.ts";
import { questions } from "./inventory.ts";
import type { Order, OrderStep } from "./order.ts";
import type { Script } from "./sh.ts";
import * as shFinalize from "./shFinalize.ts";
import * as shSteps from "./shSteps.ts";

const promptOf = (check: string): string =>
  checks.find(({ id }) => id === check)?.prompt ?? "Something is pending - please check the Packaging Machine.";

/** Paths below /xenlayer. */
export const generateScripts = (order: Order): Script[] => (order.os === "windows" ? cmdScripts(order) : shScripts(order));

function cmdScripts(order: Order): Script[] {
  const scripts: Script[] = [
    { path: "run.cmd", text: cmdSteps.runScript(order) },
    { path: "package.cmd", text: cmdSteps.packageScript(order) },
    { path: "finalize.cmd", text: cmdFinalize.finalizeScript(order, promptOf) },
    ...order.steps.map((step) => ({ path: `start/${step.id}.cmd`, text: cmdSteps.startScript(step) })),
  ];
  return [
    ...scripts.map(({ path, text }) => ({ path, text: crlf(text) })),
    ...order.steps.map((step) => ({ path: step.script, text: cmdSteps.stepScript(step) })),
  ];
}

function shScripts(order: Order): Script[] {
  return [
    { path: "run.sh", text: shSteps.runScript(order) },
    { path: "package.sh", text: shSteps.packageScript(order) },
    { path: "finalize.sh", text: shFinalize.finalizeScript(order, promptOf) },
    ...order.facts.map((fact) => ({ path: `facts/${fact.id}.sh`, text: `# ${fact.check}: ${fact.id}\n${fact.command}\n` })),
    ...questions.linux.map(({ id, command }) => ({ path: `inventory/${id}.sh`, text: `# inventory: ${id}\n${command}\n` })),
    ...order.steps.map((step) => ({ path: step.script, text: shSteps.stepScript(step) })),
  ];
}

export const secretScript = (order: Order, step: OrderStep, values: Readonly<Record<string, string>>): Script =>
  order.os === "windows" ? cmdSteps.windowsSecret(step, values) : { path: `secret/${step.id}.sh`, text: shSteps.shSecret(values) };
