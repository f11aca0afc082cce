// What the engine does with a program, without the engine: it keeps what was made, also half made, replaces by making the new one first, and forgets nothing but
// what was deleted. The provider is a process (front.ts) that may die under it.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { checkout } from "../engine.ts";
import type { Reply, Request } from "./front.ts";

type Json = Record<string, unknown>;

/** A provider's process. */
export class Front {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #asked = 0;

  /** `engine`: the address that Pulumi's host would get. */
  constructor(engine?: string, env: Record<string, string> = {}) {
    const module = join(checkout, "dist", "examples", "chaos", "front.js");
    this.#child = fork(module, engine === undefined ? [] : [engine], { execArgv: [], env: { ...process.env, ...env } });
    this.#ended = once(this.#child, "exit").then(() => this.forsake());
    this.#child.on("message", ({ id, value, error }: Reply) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(value);
      else waiting?.reject(Object.assign(new Error(error.message), { made: error.made }));
    });
  }

  ask<T>(type: string, method: Request["method"], ...values: unknown[]): Promise<T> {
    const id = ++this.#asked;
    const answered = new Promise<unknown>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#child.send({ id, type, method, values } satisfies Request);
    return answered as Promise<T>;
  }

  /** Nobody waits for its answers any more. */
  forsake(): void {
    for (const { reject } of this.#waiting.values()) reject(new Error("nobody hears the answer"));
    this.#waiting.clear();
  }

  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }

  /** It logs out and ends. */
  async end(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#ended;
  }

  get alive(): boolean {
    return this.#child.connected && this.#child.exitCode === null && !this.#child.killed;
  }

  get ended(): Promise<unknown> {
    return this.#ended;
  }
}

/** Providers' processes that have nothing to do. One is always being started: that takes longer than most of what is asked of it. */
export class Fronts {
  readonly #idle: Front[] = [];

  take(): Front {
    const front = this.#idle.shift() ?? new Front();
    if (this.#idle.length === 0) this.#idle.push(new Front());
    return front;
  }

  give(front: Front): void {
    if (front.alive) this.#idle.push(front);
  }

  async end(): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((front) => front.kill()));
  }
}

export interface Kept {
  name: string;
  type: string;
  id: string;
  inputs: Json;
  outputs: Json;
  /** It is half made: the next run updates it, whatever its diff says. */
  failed: boolean;
}

/** A program: its resources in order, each with its inputs, which may come from outputs of those before it. */
export type Program = readonly { name: string; type: string; inputs: (outputs: (name: string) => Json) => Json }[];

export class Stack {
  kept: Kept[];
  /** Replaced, and still to be deleted. */
  replaced: Kept[];

  constructor({ kept, replaced }: { kept: Kept[]; replaced: Kept[] } = { kept: [], replaced: [] }) {
    this.kept = kept;
    this.replaced = replaced;
  }

  /** One resource of the program: check, diff, and what they ask for. Answers what was done. */
  async make(front: Front, program: Program, name: string): Promise<string> {
    const wanted = program.find((resource) => resource.name === name);
    if (wanted === undefined) throw new Error(`the program has no ${name}`);
    const { type } = wanted;
    const before = this.kept.find((each) => each.name === name);
    const news = {
      ...wanted.inputs((other) => this.#outputs(other)),
      __urn: `urn:pulumi:dev::chaos::pulumi-nodejs:dynamic/xenlayer:${type}::${name}`,
    };
    const checked = await front.ask<{ inputs: Json; failures: { property: string; reason: string }[] }>(
      type,
      "check",
      before?.inputs ?? {},
      news,
    );
    const [failure] = checked.failures;
    if (failure !== undefined) throw new Error(`check of ${name}: ${failure.property}: ${failure.reason}`);
    const inputs = unwrapped(checked.inputs) as Json;
    if (before === undefined) return await this.#create(front, { name, type, inputs });
    const { changes, replaces = [] } = await front.ask<{ changes?: boolean; replaces?: string[] }>(
      type,
      "diff",
      before.id,
      before.outputs,
      inputs,
    );
    if (replaces.length > 0) return await this.#create(front, { name, type, inputs }, before);
    if (changes === false && !before.failed) return "same";
    try {
      const { outs } = await front.ask<{ outs: Json }>(type, "update", before.id, before.outputs, inputs);
      this.#put({ ...before, inputs, outputs: unwrapped(outs) as Json, failed: false });
      return "update";
    } catch (error) {
      const made = halfMade(error);
      if (made !== undefined) this.#put({ ...before, inputs, outputs: made.outputs, failed: true });
      throw error;
    }
  }

  async delete(front: Front, kept: Kept): Promise<void> {
    await front.ask(kept.type, "delete", kept.id, kept.outputs);
    this.kept = this.kept.filter((each) => each !== kept);
    this.replaced = this.replaced.filter((each) => each !== kept);
  }

  async #create(front: Front, wanted: Pick<Kept, "name" | "type" | "inputs">, before?: Kept): Promise<string> {
    const put = (made: { id: string; outputs: Json; failed: boolean }) => {
      if (before !== undefined) this.replaced.push(before);
      this.#put({ ...wanted, ...made });
    };
    try {
      const { id, outs } = await front.ask<{ id: string; outs: Json }>(wanted.type, "create", wanted.inputs);
      put({ id, outputs: unwrapped(outs) as Json, failed: false });
      return before === undefined ? "create" : "replace";
    } catch (error) {
      const made = halfMade(error);
      if (made !== undefined) put({ ...made, failed: true });
      throw error;
    }
  }

  #put(made: Kept): void {
    const at = this.kept.findIndex(({ name }) => name === made.name);
    if (at < 0) this.kept.push(made);
    else this.kept[at] = made;
  }

  #outputs(name: string): Json {
    const made = this.kept.find((each) => each.name === name);
    if (made === undefined) throw new Error(`${name} is not made yet`);
    return { ...made.outputs, id: made.id };
  }
}

function halfMade(error: unknown): { id: string; outputs: Json } | undefined {
  const { made } = error as { made?: { id: string; properties: Json } };
  return made === undefined ? undefined : { id: made.id, outputs: unwrapped(made.properties) as Json };
}

/** Values as the engine hands them to a provider that takes no secrets. */
function unwrapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== "object" || value === null) return value;
  if ("4dabf18193072939515e22adb298388d" in value) return unwrapped((value as { value?: unknown }).value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unwrapped(inner)]));
}
