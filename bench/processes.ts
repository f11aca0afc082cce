// Processes of a bench: the simulator and the provider each have one of their own, as in life, and are asked by messages.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** Milliseconds since the epoch, finer than Date.now() and the same in all processes of a machine. */
export const clock = (): number => performance.timeOrigin + performance.now();

export interface Reply {
  id: number;
  value?: unknown;
  error?: string;
}

export class Process {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #asked = 0;

  /** `module` is a file beside this one, `argument` is what it gets to begin with. */
  constructor(module: string, argument: unknown) {
    this.#child = fork(fileURLToPath(new URL(module, import.meta.url)), [JSON.stringify(argument)], { execArgv: ["--expose-gc"] });
    this.#child.on("message", ({ id, value, error }: Reply) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(new Error(`${module}: ${error}`));
    });
    this.#child.once("exit", (code) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${module} ended with ${code}`));
    });
  }

  ask<T>(name: string, ...args: unknown[]): Promise<T> {
    const id = ++this.#asked;
    const answered = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child.send({ id, name, args });
    return answered as Promise<T>;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.disconnect();
    await ended;
  }
}

/** The other side: answers by calling the function of that name, until the parent has gone. */
export function serve(functions: Record<string, (...args: never[]) => unknown>, end: () => Promise<void>): void {
  process.on("message", ({ id, name, args }: { id: number; name: string; args: never[] }) => {
    void Promise.resolve()
      .then(() => functions[name]?.(...args))
      .then(
        (value) => process.send?.({ id, value } satisfies Reply),
        (error: unknown) =>
          process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) } satisfies Reply),
      );
  });
  process.once("disconnect", () => void end().finally(() => process.exit(0)));
}
