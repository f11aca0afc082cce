// Every call of the main path, its bump and its destroy, with something going wrong right before or right after it; then the same once more, and the pool must be as if
// nothing had happened. Through the core as a front runs it: a process of its own that is really killed, over the wire, and an engine that keeps what it was told.
import { mkdirSync } from "node:fs";
import { cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeGuestImage } from "../../simulator/guests/image.ts";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../simulator/index.ts";
import { engineLog } from "./engineLog.ts";
import { contentOf, differences, poolText } from "./pool.ts";
import { Front, Fronts, type Program, Stack } from "./stack.ts";
import type { Way } from "./ways.ts";

/** One thing that the engine does: a resource made (or found as it should be), or deleted. */
export interface Unit {
  phase: "up" | "bump" | "destroy";
  doing: "make" | "delete";
  name: string;
}

const NAMES = ["connector", "os", "layer", "disk", "machine", "version"] as const;
const VERSION = ["version", "machine", "disk"];
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
  readonly calls: string[][] = [];
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
        const from = world.simulator.log.length;
        await world.run([each]);
        path.calls.push(
          world.simulator.log
            .slice(from)
            .map(({ method }) => method)
            .filter((method) => CALL.test(method)),
        );
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

interface Settings {
  simulator: Simulator;
  /** The pool's files. */
  dir: string;
  stack: Stack;
  image: string;
  pool: SimulatorOptions["pool"];
  fronts: Fronts;
}

/** A pool, a stack and a provider. */
export class World {
  readonly simulator: Simulator;
  readonly stack: Stack;
  front: Front;
  /** What somebody repairs in the pool before the next run. */
  readonly mends: (() => void)[] = [];
  readonly #settings: Settings;
  readonly #engine: { address: string; kill: () => void } | undefined;
  readonly #left: Front[] = [];

  constructor(settings: Settings, engine: { address: string; kill: () => void } | undefined) {
    this.#settings = settings;
    this.simulator = settings.simulator;
    this.stack = settings.stack;
    this.#engine = engine;
    this.front = engine === undefined ? settings.fronts.take() : new Front(engine.address);
  }

  async run(wanted: readonly Unit[]): Promise<void> {
    for (const { phase, doing, name } of wanted) {
      if (doing === "make") await this.stack.make(this.front, this.#program(phase === "up" ? "1.0" : "1.1"), name);
      else await this.#delete(phase, name);
    }
  }

  /** What an engine says that goes on after its provider has died, or that is gone itself; undefined: all went well. */
  async failed(wanted: readonly Unit[]): Promise<string | undefined> {
    try {
      await this.run(wanted);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** The engine is gone, and the provider does not know it yet. */
  orphan(): void {
    this.#engine?.kill();
    this.#left.push(this.front);
    this.front.forsake();
  }

  /** A new provider, as every run has one. */
  fresh(): void {
    this.simulator.clearFaults();
    for (const mend of this.mends.splice(0)) mend();
    if (!this.#left.includes(this.front)) this.#settings.fronts.give(this.front);
    this.front = this.#settings.fronts.take();
  }

  /** Until providers that lost their engine have ended, too. */
  async settle(): Promise<void> {
    await Promise.all(this.#left.map(({ ended }) => ended));
  }

  text(): string[] {
    return poolText(this.simulator);
  }

  content(vdi: string): string {
    return contentOf(this.simulator, vdi);
  }

  /** What the sealed disks hold. */
  sealed(): Record<string, string> {
    const disks = this.simulator.db.all("VDI").map(([, vdi]) => vdi);
    const records = disks.flatMap(({ other_config }) => Object.values(other_config).filter((value) => value.includes('"Deployable"')));
    const sealed = records.map((text) => (JSON.parse(text) as { vdi?: string }).vdi ?? "");
    return Object.fromEntries(sealed.filter((vdi) => this.simulator.storage.has(vdi)).map((vdi) => [vdi, this.content(vdi)]));
  }

  /** `keep`: where the pool's files go. */
  async close(keep?: string): Promise<void> {
    const { dir, fronts } = this.#settings;
    const left = this.#left.includes(this.front) || this.#engine !== undefined;
    await (left ? this.front.kill() : fronts.give(this.front));
    this.#engine?.kill();
    await this.simulator.close();
    if (keep === undefined) await rm(dir, { recursive: true, force: true });
    else await rename(dir, keep);
  }

  async #delete(phase: Unit["phase"], name: string): Promise<void> {
    const all = phase === "destroy" ? [...this.stack.replaced, ...this.stack.kept] : this.stack.replaced;
    for (const kept of all.filter((each) => each.name === name)) await this.stack.delete(this.front, kept);
  }

  #program(version: string): Program {
    const { url: address, username, password } = this.simulator;
    const storageRepository = this.#settings.pool === "ha" ? "Shared NFS" : "Local storage";
    const settings = { address, username, password, template: "xenlayer-packaging", storageRepository };
    const connector = (of: (name: string) => Record<string, unknown>) => ({ ...settings, connectorId: of("connector").connectorId });
    const platform = { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "none" };
    const step = (program: string) => ({ name: program, run: `${program}.exe`, shell: "cmd" });
    const install = version === "1.0" ? [step("restarts"), step("agent")] : [step("update")];
    return [
      { name: "connector", type: "ConnectorConfig", inputs: () => settings },
      {
        name: "os",
        type: "OsLayer",
        inputs: (of) => ({
          connector: connector(of),
          name: "windows",
          version: "11",
          source: { file: this.#settings.image },
          os: "windows",
        }),
      },
      {
        name: "layer",
        type: "PlatformLayer",
        inputs: (of) => ({
          connector: connector(of),
          name: "citrix",
          osLayer: of("os").layerId,
          purpose: "publishing",
          platform,
          comment: "made by a program",
        }),
      },
      {
        name: "disk",
        type: "PackagingDisk",
        inputs: (of) => ({ connector: connector(of), layer: of("layer").id, version, comment: `version ${version}` }),
      },
      {
        name: "machine",
        type: "PackagingMachine",
        inputs: (of) => ({ connector: connector(of), disk: of("disk").id, install }),
      },
      {
        name: "version",
        type: "Finalize",
        inputs: (of) => ({
          connector: connector(of),
          disk: of("disk").id,
          machine: of("machine").id,
          version,
          kms: "rearm",
          comment: "sealed",
        }),
      },
    ];
  }
}

const GUEST = {
  guest: "windows" as const,
  bootstrap: "xenlayer" as const,
  bootSeconds: 5,
  shutdownSeconds: 2,
  os: { name: "Windows 11 Enterprise", major: 10, minor: 0, build: 22631 },
  kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 5 },
  programs: [
    { match: "restarts.exe", seconds: 20, exitCode: 3010, files: { "Program Files/Restarts/r.txt": "1" }, pending: ["reboot" as const] },
    { match: "agent.exe", seconds: 20, files: { "Program Files/Agent/agent.txt": "1" } },
    { match: "update.exe", seconds: 20, files: { "Program Files/Agent/agent.txt": "2" } },
  ],
};
