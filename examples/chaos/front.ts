// The provider in a process of its own, as Pulumi's host has it: each method is called by a message and answered by one, and whoever wants to may kill it.

import { syncBuiltinESMExports } from "node:module";
import timers from "node:timers/promises";
import { disconnectAll, dynamicProvider } from "../../provider/index.ts";

export interface Request {
  id: number;
  type: string;
  method: "check" | "diff" | "create" | "read" | "update" | "delete";
  values: readonly unknown[];
}

export interface Reply {
  id: number;
  value?: unknown;
  /** `made`: what Pulumi's host tells the engine of a resource that is half made. */
  error?: { message: string; made?: { id: string; properties: Record<string, unknown>; reasons: string[] } };
}

// Retries pause for seconds (provider/xapi/codes.ts): here the pool is ready again at once.
const PAUSE_MS = 20;
const { setTimeout: pause } = timers;
Object.assign(timers, { setTimeout: ((ms, value, options) => pause(Math.min(ms ?? 0, PAUSE_MS), value, options)) as typeof pause });
syncBuiltinESMExports();

process.on("message", ({ id, type, method, values }: Request) => {
  const provider = dynamicProvider(type, { get: () => undefined }) as unknown as Record<string, (...values: unknown[]) => Promise<unknown>>;
  void Promise.resolve(provider[method]?.(...values)).then(
    (value) => answer({ id, value }),
    (error: Error & { id?: string; properties?: Record<string, unknown>; reasons?: string[] }) => {
      const { message, id: made, properties = {}, reasons = [] } = error;
      answer({ id, error: { message, ...(made === undefined ? {} : { made: { id: made, properties, reasons } }) } });
    },
  );
});

// Nobody may be there any more to hear it: whether this process then ends is up to the provider.
function answer(reply: Reply): void {
  process.send?.(reply, undefined, undefined, () => undefined);
}

process.once("disconnect", () => {
  if (process.argv[2] === undefined) void disconnectAll().finally(() => process.exit());
});
