// For tests: the lifecycle of resources as a front drives it, against a simulator over the wire.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeGuestImage } from "../simulator/guests/image.ts";
import { type Simulator, type SimulatorOptions, startSimulator } from "../simulator/index.ts";
import { InitFailedError } from "./errors.ts";
import type { Entry } from "./layer/entry.ts";
import { LayerRecord } from "./layer/record.ts";
import type { ConnectorCredentials, FrontContext, Resource } from "./resource.ts";
import { resources } from "./resources/index.ts";
import { connectFor } from "./session.ts";
import { disconnectAll } from "./xapi/client.ts";

type Json = Record<string, unknown>;
export interface Made {
  type: string;
  id: string;
  inputs: Json;
  outputs: Json;
}

export interface Stage {
  sim: Simulator;
  /**
   * The pool's objects, without its messages (XAPI's own log of what VMs did), the storage manager's notes on disks, and metrics, which XAPI collects some time
   * after their drive went with its disk (db_gc.ml): those stay.
   */
  pool(): Json;
  dir: string;
  /** What was told: reports and warnings. */
  told: string[];
  front: FrontContext;
  resource(type: string): Resource;
  check(type: string, news: Json, old?: Json): Promise<{ inputs: Json; failures: { property: string; reason: string }[] }>;
  /** check and create, as the engine does. */
  create(type: string, news: Json): Promise<Made>;
  /** check, diff and, where they say so, update. */
  up(made: Made, news: Json): Promise<{ changes: boolean; replaces: string[]; made: Made }>;
  refresh(made: Made): Promise<Made | undefined>;
  destroy(made: Made): Promise<void>;
  /** A disk image with this guest on it. */
  image(descriptor: Parameters<typeof makeGuestImage>[1]["descriptor"], sizeMiB?: number): Promise<string>;
  connector(more?: Json): Json;
}

export interface OpenStage extends Stage {
  close(): Promise<void>;
}

export async function withStage(body: (stage: Stage) => Promise<void>, options: SimulatorOptions = {}): Promise<void> {
  const stage = await openStage(options);
  try {
    await body(stage);
  } finally {
    await stage.close();
  }
}

/** For tests that share a pool; who opens it closes it. */
export async function openStage(options: SimulatorOptions = {}): Promise<OpenStage> {
  const sim = await startSimulator({ seed: 1, ...options });
  const dir = mkdtempSync(join(tmpdir(), "xenlayer-test-"));
  const told: string[] = [];
  const front: FrontContext = {
    report: (line) => told.push(line),
    warn: (line) => told.push(`warning: ${line}`),
    signal: new AbortController().signal,
    program: {},
    config: {},
  };
  const resource = (type: string): Resource => {
    const found = resources.find((candidate) => candidate.type === type);
    if (found === undefined) throw new Error(`no resource ${type}`);
    return found;
  };
  const check: Stage["check"] = (type, news, old) => resource(type).check(front, old, news);
  const checked = async (type: string, news: Json, old?: Json): Promise<Json> => {
    const { inputs, failures } = await check(type, news, old);
    if (failures.length === 0) return inputs;
    throw new Error(`check of ${type}: ${failures.map(({ property, reason }) => `${property}: ${reason}`).join("; ")}`);
  };
  let images = 0;
  return {
    sim,
    pool() {
      // dom0 holds a disk for a moment after a transfer (sm_fs_ops.ml): its VBD, and what follows from it, come and go by themselves.
      const { message: _, VBD_metrics: __, VBD = {}, VDI = {}, VM = {}, ...objects } = sim.state();
      const held = new Set(Object.keys(VBD).filter((ref) => String(VBD[ref]?.device).startsWith("sm/backend")));
      const free = (refs: unknown) => (refs as string[]).filter((ref) => !held.has(ref));
      const settled = Object.entries(VBD).filter(([ref]) => !held.has(ref));
      const disks = Object.entries(VDI).map(([ref, { sm_config: _, allowed_operations: __, current_operations: ___, VBDs, ...vdi }]) => [
        ref,
        { ...vdi, VBDs: free(VBDs) },
      ]);
      const machines = Object.entries(VM).map(([ref, vm]) => [ref, { ...vm, VBDs: free(vm.VBDs) }]);
      return { ...objects, VBD: Object.fromEntries(settled), VDI: Object.fromEntries(disks), VM: Object.fromEntries(machines) };
    },
    dir,
    told,
    front,
    resource,
    check,
    async create(type, news) {
      const inputs = await checked(type, news);
      try {
        return { type, inputs, ...(await resource(type).create(front, inputs)) };
      } catch (error) {
        if (error instanceof InitFailedError) Object.assign(error, { made: { type, inputs, id: error.id, outputs: error.outputs } });
        throw error;
      }
    },
    async up(made, news) {
      const inputs = await checked(made.type, news, made.inputs);
      const { changes, replaces = [] } = await resource(made.type).diff(front, made.id, made.outputs, inputs);
      if (replaces.length > 0) return { changes: true, replaces, made };
      if (changes !== true && JSON.stringify(sorted(inputs)) === JSON.stringify(sorted(made.inputs)))
        return { changes: false, replaces, made };
      try {
        const { outputs } = await resource(made.type).update(front, made.id, made.outputs, inputs);
        return { changes: true, replaces, made: { ...made, inputs, outputs } };
      } catch (error) {
        if (error instanceof InitFailedError) Object.assign(error, { made: { ...made, inputs, outputs: error.outputs } });
        throw error;
      }
    },
    async refresh(made) {
      const seen = await resource(made.type).read(front, made.id, made.outputs);
      return seen === undefined ? undefined : { ...made, outputs: seen.outputs };
    },
    destroy: (made) => resource(made.type).delete(front, made.id, made.outputs),
    async image(descriptor, sizeMiB) {
      const path = join(dir, `image-${++images}.img`);
      await makeGuestImage(path, { descriptor, ...(sizeMiB === undefined ? {} : { sizeMiB }) });
      return path;
    },
    connector: (more = {}) => ({
      address: sim.url,
      username: sim.username,
      password: sim.password,
      template: "xenlayer-packaging",
      storageRepository: options.pool === "ha" ? "Shared NFS" : "Local storage",
      ...(sim.ca === undefined ? {} : { tls: { caCertificate: sim.ca } }),
      ...more,
    }),
    async close() {
      await disconnectAll();
      await sim.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** What differs between two looks at a pool, a line each. */
export function changes(before: Json, after: Json): string[] {
  type Objects = Record<string, Record<string, { name_label?: string } & Json>>;
  const [old, now] = [before as Objects, after as Objects];
  return Object.keys(now).flatMap((cls) =>
    [...new Set([...Object.keys(old[cls] ?? {}), ...Object.keys(now[cls] ?? {})])].flatMap((ref) => {
      const [was, is] = [old[cls]?.[ref], now[cls]?.[ref]];
      const name = `${cls} "${is?.name_label ?? was?.name_label ?? ref}"`;
      if (was === undefined || is === undefined) return [`${name} is ${was === undefined ? "new" : "gone"}`];
      const fields = Object.keys(is).filter((field) => JSON.stringify(sorted(was[field])) !== JSON.stringify(sorted(is[field])));
      return fields.map((field) => `${name}: ${field} is ${JSON.stringify(is[field])}`);
    }),
  );
}

/** What an operation left half made, as the engine would keep it: from the error of `create` or `up`. */
export function halfMade(error: unknown): Made {
  const { made } = error as { made?: Made };
  if (made === undefined) throw error;
  return made;
}

const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : typeof value === "object" && value !== null
      ? Object.fromEntries(
          Object.entries(value)
            .sort(([a], [b]) => (a < b ? -1 : 1))
            .map(([key, inner]) => [key, sorted(inner)]),
        )
      : value;

/** Neither a session's own calls, nor reading events. */
export const isWork = (method: string): boolean => !method.startsWith("event.") && !method.startsWith("session.");
export const isTransfer = (method: string): boolean => /^(PUT|GET) /.test(method);

/**
 * Runs `work` in a process that is killed at a call: before it reaches the pool, or (`after`) when it is done and its answer not heard. From then on nothing of
 * this process reaches the pool, and what it knew is forgotten. Answers whether it came to that call.
 */
export async function killedAt(
  stage: Stage,
  call: { message?: RegExp; skip?: number; after?: boolean },
  work: () => Promise<unknown>,
): Promise<boolean> {
  const { message = /(?:)/, skip = 0, after = false } = call;
  let seen = 0;
  let dead = false;
  const killing = Object.assign(/(?:)/, {
    test: (name: string) => {
      if (dead || !isWork(name) || !message.test(name)) return false;
      // The end of a killed transfer is XAPI's to notice: here the process dies at its next call.
      if (seen++ < skip || isTransfer(name)) return false;
      dead = true;
      // A call that is done is done, whatever becomes of who asked for it.
      setImmediate(() => death.abort(new Error("this process was killed")));
      return true;
    },
  });
  // Nothing of a dead process waits.
  const { signal } = stage.front;
  const death = new AbortController();
  stage.front.signal = death.signal;
  // An HTTP error, not one of XAPI's: a call that starts a task fails itself, and is not waited for.
  const gone = { http: 500 };
  stage.sim.fault({ ...gone, message: killing, when: after ? "after" : "before" });
  stage.sim.fault({ ...gone, message: Object.assign(/(?:)/, { test: () => dead }), times: Number.POSITIVE_INFINITY });
  await work().then(
    () => undefined,
    (error: unknown) => {
      if (!dead) throw error;
    },
  );
  stage.sim.clearFaults();
  stage.front.signal = signal;
  await disconnectAll();
  return dead;
}

/** A Windows whose installers are told apart by their name: what each does stands beside it. */
export const windowsGuest = {
  guest: "windows" as const,
  bootstrap: "xenlayer" as const,
  bootSeconds: 5,
  shutdownSeconds: 2,
  os: { name: "Windows 11 Enterprise", major: 10, minor: 0, build: 22631 },
  kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 5 },
  ngen: { frameworks: ["Framework64/v4.0.30319"] },
  programs: [
    { match: "agent.exe", seconds: 20, files: { "Program Files/Agent/agent.txt": "1" } },
    { match: "other.exe", seconds: 20, files: { "Program Files/Other/other.txt": "1" } },
    { match: "restarts.exe", seconds: 20, exitCode: 3010, files: { "Program Files/Restarts/r.txt": "1" }, pending: ["reboot" as const] },
    // The boot for the finalize order is one restart.
    { match: "driver.exe", seconds: 20, pending: ["driver-reboot" as const], pendingReboots: 2 },
    { match: "compiles.exe", seconds: 20, ngenSeconds: 60 },
    { match: "installs.exe", seconds: 20, msiSeconds: 60 },
    { match: "hopeless.exe", seconds: 20, pending: ["reboot" as const], pendingReboots: 99 },
    { match: "needs.exe", seconds: 20, requiresFile: "C:/mended.txt", files: { "Program Files/Needs/n.txt": "1" } },
    { match: "fails.exe", seconds: 5, exitCode: 1603, output: "out of luck" },
    { match: "late.exe", seconds: 900, files: { "Program Files/Late/l.txt": "1" } },
    { match: "never.exe", never: true as const },
  ],
};

export const step = (program: string, more: Json = {}): Json => ({
  name: program.replace(/\.exe.*/, ""),
  run: program,
  shell: "cmd",
  ...more,
});

/** An OS layer and what it needs, for tests of versions. */
export class Story {
  readonly stage: Stage;
  readonly connector: Json;
  readonly config: Made;
  readonly os: Made;

  private constructor(stage: Stage, connector: Json, config: Made, os: Made) {
    this.stage = stage;
    this.connector = connector;
    this.config = config;
    this.os = os;
  }

  static async begin(stage: Stage, guest: Parameters<Stage["image"]>[0] = windowsGuest): Promise<Story> {
    const config = await stage.create("ConnectorConfig", stage.connector());
    const connector = { ...stage.connector(), connectorId: config.outputs.connectorId };
    const source = { file: await stage.image(guest) };
    const os = await stage.create("OsLayer", { connector, name: "win11", version: "1.0", source, os: guest.guest });
    return new Story(stage, connector, config, os);
  }

  layerInputs(name: string, more: Json = {}): Json {
    const platform = { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "none" };
    return { connector: this.connector, name, osLayer: this.os.outputs.layerId, purpose: "publishing", platform, ...more };
  }

  async layer(name: string, more: Json = {}): Promise<StoryLayer> {
    return new StoryLayer(this, await this.stage.create("PlatformLayer", this.layerInputs(name, more)));
  }

  async end(...layers: StoryLayer[]): Promise<void> {
    for (const { made } of layers) await this.stage.destroy(made);
    await this.stage.destroy(this.os);
    await this.stage.destroy(this.config);
  }
}

export interface Version {
  disk: Made;
  machine: Made;
  seal: Made;
}

/** Inputs of the three resources of a version, beside those that link them. */
export interface Wish {
  disk?: Json;
  machine?: Json;
  seal?: Json;
}

export class StoryLayer {
  readonly story: Story;
  readonly made: Made;

  constructor(story: Story, made: Made) {
    this.story = story;
    this.made = made;
  }

  get id(): string {
    return this.made.id;
  }

  inputs(
    version: string,
    { disk = {}, machine = {}, seal = {} }: Wish = {},
  ): { disk: Json; machine: (id: string) => Json; seal: (id: string) => Json } {
    const { connector } = this.story;
    return {
      disk: { connector, layer: this.id, version, ...disk },
      machine: (id) => ({ connector, disk: id, install: [step("agent.exe")], ...machine }),
      seal: (id) => ({ connector, disk: id, machine: id, version, ...seal }),
    };
  }

  disk = (version: string, wish?: Wish): Promise<Made> => this.story.stage.create("PackagingDisk", this.inputs(version, wish).disk);
  machine = (disk: Made, wish?: Wish): Promise<Made> => this.story.stage.create("PackagingMachine", this.inputs("", wish).machine(disk.id));
  seal = (disk: Made, version: string, wish?: Wish): Promise<Made> =>
    this.story.stage.create("Finalize", this.inputs(version, wish).seal(disk.id));

  /** All three, as one program has them. */
  async version(version: string, wish?: Wish): Promise<Version> {
    const disk = await this.disk(version, wish);
    const machine = await this.machine(disk, wish);
    return { disk, machine, seal: await this.seal(disk, version, wish) };
  }

  /** As the engine deletes them: what depends on another goes first. */
  async drop({ disk, machine, seal }: Partial<Version>): Promise<void> {
    for (const made of [seal, machine, disk]) if (made !== undefined) await this.story.stage.destroy(made);
  }

  /** The record as it is on the pool. */
  async record(): Promise<LayerRecord> {
    const xapi = await connectFor(this.story.stage.front, this.story.connector as unknown as ConnectorCredentials);
    const record = await LayerRecord.open(xapi, this.id);
    if (record === undefined) throw new Error(`layer ${this.id} is gone`);
    return record;
  }

  async entry(version: string): Promise<Entry> {
    const entry = (await this.record()).versions.get(version);
    if (entry === undefined) throw new Error(`version ${version} is gone`);
    return entry;
  }
}
