// The same through the real engine: pulumi up, a bump, and destroy of an example, with its processes killed at a call; then `pulumi cancel` where the stack is locked,
// the same command again, and the pool must be as if nothing had happened.
import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type FaultRule, type Simulator, startSimulator } from "../../simulator/index.ts";
import { Stack, stackFolder } from "../engine.ts";
import { CALL, type Outcome } from "./core.ts";
import { differences, poolText } from "./pool.ts";

export const engineOperations = ["up", "bump", "destroy"] as const;
export type Operation = (typeof engineOperations)[number];

/** Processes that are killed, or what the engine is sent; the call is held until it has heard it. */
export type EngineWay = { name: string } & (
  | { victim: "provider" | "engine" | "all"; when: "before" | "after" }
  | { signals: readonly NodeJS.Signals[] }
);
export const ENGINE_WAYS: readonly EngineWay[] = [
  ...(["provider", "engine", "all"] as const).flatMap((victim) =>
    (["before", "after"] as const).map((when) => ({ name: `pulumi-${victim}-killed-${when}`, victim, when })),
  ),
  { name: "pulumi-one-ctrl-c", signals: ["SIGINT"] },
  { name: "pulumi-two-ctrl-c", signals: ["SIGINT", "SIGINT"] },
  { name: "pulumi-sigterm", signals: ["SIGTERM"] },
];

interface Snapshot {
  dir: string;
  expected: readonly string[];
}

/** An example that was brought up, bumped and destroyed undisturbed: where all points begin, and what must come out of them. */
export class EnginePath implements AsyncDisposable {
  readonly stack: Stack;
  simulator: Simulator;
  readonly #folder: string;
  readonly #snapshots: Snapshot[] = [];
  readonly #calls: number[] = [];

  private constructor(folder: string, stack: Stack, simulator: Simulator) {
    this.#folder = folder;
    this.stack = stack;
    this.simulator = simulator;
  }

  static async record(operations: readonly Operation[] = engineOperations): Promise<EnginePath> {
    const folder = await stackFolder("chaos");
    const simulator = await startSimulator({ stateDir: join(folder, "pool"), seed: 1 });
    const config = {
      "xenlayer:address": simulator.url,
      "xenlayer:username": simulator.username,
      "xenlayer:template": "xenlayer-packaging",
      "xenlayer:storageRepository": "Local storage",
    };
    const secrets = { "xenlayer:password": simulator.password };
    const env = { PULUMI_NODEJS_TRANSPILE_ONLY: "true" };
    const stack = await Stack.make({ example: "new-version", folder, config, secrets, env });
    await stack.makeImage();
    const path = new EnginePath(folder, stack, simulator);
    await path.#snapshot();
    for (const operation of operations) {
      const from = path.simulator.log.length;
      const run = await path.run(operation);
      if (run.code !== 0) throw new Error(`${operation} of the example ended with ${run.code}:\n${run.output}`);
      path.#calls.push(path.simulator.log.slice(from).filter(({ method }) => CALL.test(method)).length);
      await path.#snapshot();
    }
    return path;
  }

  /** How many calls an operation makes, undisturbed. */
  calls(operation: Operation): number {
    return this.#calls[engineOperations.indexOf(operation)] ?? 0;
  }

  async run(operation: Operation, ...started: Parameters<Stack["pulumi"]>[2][]): Promise<Awaited<ReturnType<Stack["pulumi"]>>> {
    if (operation === "destroy") return await this.stack.pulumi(["destroy", "--skip-preview"], undefined, ...started);
    const version = operation === "up" ? "2024.1" : "2024.2";
    return await this.stack.pulumi(["up", "--skip-preview", "--config", `version=${version}`], undefined, ...started);
  }

  /** The operation with something going wrong at its n-th call: the last, or the one that never comes, of whoever is killed. */
  async point(operation: Operation, n: number, way: EngineWay): Promise<Outcome> {
    await this.begin(operation);
    const { simulator } = this;
    const outcome: Outcome = { reached: false, orphans: 0 };
    let engine: ChildProcess | undefined;
    let left: number[] = [];
    const happens = async () => {
      outcome.reached = true;
      if (engine === undefined) return;
      if ("signals" in way) for (const signal of way.signals) await heard(engine, signal);
      else left = kill(engine, way.victim);
    };
    simulator.fault({ message: CALL, after: n, ...momentOf(way), happens });
    const first = await this.run(operation, (child) => {
      engine = child;
    });
    if (!outcome.reached) {
      if (first.code !== 0) outcome.problem = `failed by itself: ${first.output}`;
      return outcome;
    }
    simulator.clearFaults();
    const problem = await this.converged(operation, left.filter(isProvider));
    if (problem === undefined) return outcome;
    return { ...outcome, problem, orphans: problem.split("\n").filter((line) => line.endsWith('" is too much')).length };
  }

  /** The stack and the pool as they are before an operation. */
  async begin(operation: Operation): Promise<void> {
    const at = engineOperations.indexOf(operation);
    const port = Number(new URL(this.simulator.url).port);
    await this.simulator.close();
    const { dir = "" } = this.#snapshots[at] ?? {};
    for (const [name, place] of this.#places()) {
      await rm(place, { recursive: true, force: true });
      await cp(join(dir, name), place, { recursive: true });
    }
    this.simulator = await startSimulator({ stateDir: join(this.#folder, "pool"), seed: 1, port });
  }

  /** Unlocks the stack where it is locked, runs the operation again and tells what is not as it would be; when providers that were left alone have ended, too. */
  async converged(operation: Operation, left: readonly number[] = []): Promise<string | undefined> {
    let run = await this.run(operation);
    if (/stack is currently locked/.test(run.output)) {
      await this.stack.expect(["cancel", "--yes"]);
      run = await this.run(operation);
    }
    if (run.code !== 0) return `does not converge: ${run.output}`;
    for (let tries = 0; left.some(isAlive); tries++) {
      if (tries > 600) return `a provider without engine does not end (process ${left.find(isAlive)})`;
      await delay(100);
    }
    const different = differences(this.#snapshots[engineOperations.indexOf(operation) + 1]?.expected ?? [], poolText(this.simulator));
    return different.length === 0 ? undefined : different.join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.simulator.close();
    await this.stack[Symbol.asyncDispose]();
  }

  async #snapshot(): Promise<void> {
    const expected = poolText(this.simulator);
    const port = Number(new URL(this.simulator.url).port);
    await this.simulator.close();
    const dir = join(this.#folder, `snapshot-${this.#snapshots.length}`);
    for (const [name, place] of this.#places()) await cp(place, join(dir, name), { recursive: true });
    this.#snapshots.push({ dir, expected });
    // On the same port: the state of the stack knows the address.
    this.simulator = await startSimulator({ stateDir: join(this.#folder, "pool"), seed: 1, port });
  }

  #places(): [string, string][] {
    return [
      ["pool", join(this.#folder, "pool")],
      ["state", this.stack.state],
    ];
  }
}

/** A call before which its provider is killed never comes; any other is done. */
function momentOf(way: EngineWay): Partial<FaultRule> {
  if ("signals" in way) return {};
  if (way.when === "after") return { when: "after" };
  return way.victim === "engine" ? {} : { cut: true };
}

/** Sends a signal to an engine and waits until it says that it has it, or has ended. */
export function heard(engine: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  return new Promise((resolve) => {
    for (const stream of [engine.stdout, engine.stderr])
      stream?.on("data", (text: string) => {
        if (/(\^C|SIGTERM) received; (cancelling|terminating)/.test(text)) resolve();
      });
    engine.once("exit", () => resolve());
    engine.kill(signal);
  });
}

/** What is left of the engine's processes. */
function kill({ pid = 0 }: ChildProcess, victim: "provider" | "engine" | "all"): number[] {
  const below = descendants(pid);
  const victims = victim === "engine" ? [pid] : victim === "all" ? [pid, ...below] : below.filter(isProvider);
  for (const one of victims) killed(one);
  return below.filter((one) => !victims.includes(one));
}

/** The processes below one, as proc(5) has them. */
export function descendants(pid: number): number[] {
  const parents = readdirSync("/proc").flatMap((name): [number, number][] => {
    const stat = /^\d+$/.test(name) ? textOf(name, "stat") : undefined;
    return stat === undefined ? [] : [[Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])]];
  });
  const below = (parent: number): number[] => parents.flatMap(([child, of]) => (of === parent ? [child, ...below(child)] : []));
  return below(pid);
}

/** Pulumi's host of dynamic providers. */
export const isProvider = (pid: number): boolean => /node\0.*dynamic-provider/s.test(textOf(String(pid), "cmdline") ?? "");

const isAlive = (pid: number): boolean => (textOf(String(pid), "cmdline") ?? "") !== "";

function killed(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended by itself.
  }
}

function textOf(pid: string, name: string): string | undefined {
  try {
    return readFileSync(join("/proc", pid, name), "latin1");
  } catch {
    return undefined;
  }
}
