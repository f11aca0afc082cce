// What lies on the payload disk as text, generated from the order alone: the same order gives the same scripts.
import { checks } from "./checks.ts";
import { cmdScripts, windowsSecret } from "./cmd.ts";
import type { Order, OrderStep } from "./order.ts";
import { type Script, shScripts, shSecret } from "./sh.ts";

const promptOf = (check: string): string =>
  checks.find(({ id }) => id === check)?.prompt ?? "Something is pending - please check the Packaging Machine.";

/** Paths below /xenlayer. */
export const generateScripts = (order: Order): Script[] =>
  order.os === "windows" ? cmdScripts(order, promptOf) : shScripts(order, promptOf);

export const secretScript = (order: Order, step: OrderStep, values: Readonly<Record<string, string>>): Script =>
  order.os === "windows" ? windowsSecret(step, values) : { path: `secret/${step.id}.sh`, text: shSecret(values) };
