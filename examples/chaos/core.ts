// Every call of the main path, its bump and its destroy, with something going wrong right before or right after it; then the same once more, and the pool must be as if
// nothing had happened. Through the core as a front runs it: a process of its own that is really killed, over the wire, and an engine that keeps what it was told.
import { mkdirSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeGuestImage } from "../../simulator/guests/image.ts";
import { type SimulatorOptions, startSimulator } from "../../simulator/index.ts";
import { engineLog } from "./engineLog.ts";
import { differences } from "./pool.ts";
import { Fronts, Stack } from "./stack.ts";
import type { Way } from "./ways.ts";
import { GUEST, type Unit, World } from "./world.ts";

const NAMES = ["connector", "os", "layer", "disk", "machine", "version"] as const;
export const VERSION: readonly string[] = ["version", "machine", "disk"];
const unit = (phase: Unit["phase"], doing: Unit["doing"]) => (name: string) => ({ phase, doing, name });

export const units: readonly Unit[] = [
  ...NAMES.map(unit("up", "make")),
  ...NAMES.map(unit("bump", "make")),
  ...VERSION.map(unit("bump", "delete")),
  ...[...NAMES].reverse().map(unit("destroy", "delete")),
];

export const unitName = ({ phase, doing, name }: Unit): string => `${phase}-${doing}-${name}`;

/** All but reading events, whose number is a matter of time. */
export const CALL = /^(?!event\.)/;

export interface Call {
  method: string;
  /** The pool is no more as it was when the call before was done. */
  changed: boolean;
}

interface Snapshot {
  dir: string;
  url: string;
  stack: string;
  expected: readonly string[];
}

export interface Outcome {
  /** False: the operation ended before it came to that call. */
  reached: boolean;
  problem?: string;
  orphans: number;
}

/** A main path that was run undisturbed, step by step: where all points begin, and what must come out of them. */
export class MainPath implements AsyncDisposable {
  readonly #dir: string;
  readonly #pool: SimulatorOptions["pool"];
  readonly #snapshots: Snapshot[] = [];
  /** Calls of each unit, in order. */
  readonly calls: Call[][] = [];
  readonly #fronts = new Fronts();
  #worlds = 0;

  private constructor(dir: string, pool: SimulatorOptions["pool"]) {
    this.#dir = dir;
    this.#pool = pool;
  }

  static async record(pool: SimulatorOptions["pool"] = "small"): Promise<MainPath> {
    const path = new MainPath(await mkdtemp(join(tmpdir(), "xenlayer-chaos-")), pool);
    try {
      await makeGuestImage(path.image, { descriptor: GUEST });
      await path.#snapshot(await path.#open(undefined));
      for (const [at, each] of units.entries()) {
        const world = await path.#open(at);
        path.calls.push(await recorded(world, () => world.run([each])));
        await path.#snapshot(world);
      }
      return path;
    } catch (error) {
      await path[Symbol.asyncDispose]();
      throw error;
    }
  }

  get image(): string {
    return join(this.#dir, "image.raw");
  }

  /**
   * Unit `at` with the n-th of its calls going wrong; then the phase is run again, up to this unit or to its end, or all is destroyed. Tells what is not as it would
   * be without.
   */
  async point(at: number, n: number, way: Way, then: "again" | "to the end" | "destroy" = "again"): Promise<Outcome> {
    const { phase } = units[at] ?? unit("up", "make")("");
    const [up, destroy] = [units.filter((each) => each.phase === "up"), units.filter((each) => each.phase === "destroy")];
    const begin = units.findIndex((each) => each.phase === phase);
    const end = then === "again" ? at + 1 : units.findLastIndex((each) => each.phase === phase) + 1;
    const { expected = [] } = this.#snapshots[then === "destroy" ? 0 : end] ?? {};
    const world = await this.#open(at, way.engine);
    const outcome: Outcome = { reached: false, orphans: 0 };
    try {
      const sealed = world.sealed();
      let seen = 0;
      const test = (method: string): boolean => {
        if (outcome.reached || !CALL.test(method) || way.at?.test(method) === false || seen++ < n) return false;
        outcome.reached = true;
        return true;
      };
      way.arm(world, Object.assign(/(?:)/, { test }), n, () => {
        outcome.reached = true;
      });
      const first = await world.failed(units.slice(at, at + 1));
      if (!outcome.reached) {
        if (first !== undefined) outcome.problem = `failed by itself: ${first}`;
        return outcome;
      }
      world.fresh();
      let error = await world.failed(then === "destroy" ? destroy : units.slice(begin, end));
      await world.settle();
      // What no state knows of is found by the next run of the program, not by destroy.
      if (then === "destroy" && (error !== undefined || differences(expected, world.text()).length > 0))
        error = await world.failed([...up, ...destroy]);
      const changed = Object.entries(sealed).filter(([vdi, content]) => world.simulator.storage.has(vdi) && world.content(vdi) !== content);
      const different = differences(expected, world.text());
      outcome.orphans = different.filter((line) => line.endsWith('" is too much')).length;
      const problems = [
        ...(error === undefined ? [] : [`does not converge: ${error}`]),
        ...changed.map(([vdi]) => `the content of sealed disk ${vdi} has changed`),
        ...different,
        ...(first?.includes("an error in xenlayer itself") === true ? [`fails without a word: ${first}`] : []),
      ];
      if (problems.length > 0) outcome.problem = problems.join("\n");
      return outcome;
    } finally {
      await world.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#fronts.end();
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #open(at: number | undefined, engine = false): Promise<World> {
    const before = at === undefined ? undefined : this.#snapshots[at];
    const dir = join(this.#dir, `world-${++this.#worlds}`);
    if (before !== undefined) await cp(before.dir, dir, { recursive: true });
    else mkdirSync(dir);
    const simulator = await startSimulator({ stateDir: dir, seed: 1, ...(this.#pool === undefined ? {} : { pool: this.#pool }) });
    // Every world has a port of its own, and the state knows the address.
    const stack = before === undefined ? undefined : (JSON.parse(before.stack.replaceAll(before.url, simulator.url)) as Stack);
    const settings = { simulator, dir, stack: new Stack(stack), image: this.image, pool: this.#pool, fronts: this.#fronts };
    return new World(settings, engine ? await engineLog() : undefined);
  }

  async #snapshot(world: World): Promise<void> {
    await world.settle();
    const { simulator, stack } = world;
    const snapshot = { url: simulator.url, stack: JSON.stringify(stack), expected: world.text() };
    const dir = join(this.#dir, `snapshot-${this.#snapshots.length}`);
    await world.close(dir);
    this.#snapshots.push({ dir, ...snapshot });
  }
}

/** Runs it undisturbed, and looks at the pool after each of its calls. */
async function recorded({ simulator }: World, work: () => Promise<void>): Promise<Call[]> {
  const calls: Call[] = [];
  const pool = () => JSON.stringify(simulator.state());
  let before = pool();
  const armed = (n: number): void => {
    const test = (method: string): boolean => {
      if (!CALL.test(method)) return false;
      calls[n] = { method, changed: false };
      armed(n + 1);
      return true;
    };
    const happens = () => {
      const after = pool();
      calls[n] = { method: calls[n]?.method ?? "", changed: after !== before };
      before = after;
    };
    simulator.fault({ message: Object.assign(/(?:)/, { test }), when: "after", happens });
  };
  armed(0);
  await work();
  return calls;
}
