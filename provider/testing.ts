// For tests: the lifecycle of resources as a front drives it, against a simulator over the wire.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeGuestImage } from "../simulator/guests/image.ts";
import { type Simulator, type SimulatorOptions, startSimulator } from "../simulator/index.ts";
import { InitFailedError } from "./errors.ts";
import type { FrontContext, Resource } from "./resource.ts";
import { resources } from "./resources/index.ts";
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
  /** The pool's objects, without its messages: those are XAPI's own log of what VMs did, and stay. */
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

export async function withStage(body: (stage: Stage) => Promise<void>, options: SimulatorOptions = {}): Promise<void> {
  const sim = await startSimulator({ seed: 1, ...options });
  const dir = mkdtempSync(join(tmpdir(), "xenlayer-test-"));
  const told: string[] = [];
  const front: FrontContext = {
    report: (line) => told.push(line),
    warn: (line) => told.push(`warning: ${line}`),
    signal: new AbortController().signal,
    config: {},
  };
  const resource = (type: string): Resource => {
    const found = resources.find((candidate) => candidate.type === type);
    if (found === undefined) throw new Error(`no resource ${type}`);
    return found;
  };
  const check: Stage["check"] = (type, news, old) => resource(type).check(front, old, news);
  const create: Stage["create"] = async (type, news) => {
    const { inputs, failures } = await check(type, news);
    if (failures.length > 0)
      throw new Error(`check of ${type}: ${failures.map(({ property, reason }) => `${property}: ${reason}`).join("; ")}`);
    try {
      return { type, inputs, ...(await resource(type).create(front, inputs)) };
    } catch (error) {
      if (error instanceof InitFailedError) Object.assign(error, { made: { type, inputs, id: error.id, outputs: error.outputs } });
      throw error;
    }
  };
  let images = 0;
  const stage: Stage = {
    sim,
    pool() {
      const { message: _, ...objects } = sim.state();
      return objects;
    },
    dir,
    told,
    front,
    resource,
    check,
    create,
    async up(made, news) {
      const { inputs, failures } = await check(made.type, news, made.inputs);
      if (failures.length > 0)
        throw new Error(`check of ${made.type}: ${failures.map(({ property, reason }) => `${property}: ${reason}`).join("; ")}`);
      const { changes, replaces = [] } = await resource(made.type).diff(front, made.id, made.outputs, inputs);
      if (replaces.length > 0) return { changes: true, replaces, made };
      if (changes !== true && JSON.stringify(sorted(inputs)) === JSON.stringify(sorted(made.inputs)))
        return { changes: false, replaces, made };
      const { outputs } = await resource(made.type).update(front, made.id, made.outputs, inputs);
      return { changes: true, replaces, made: { ...made, inputs, outputs } };
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
  };
  try {
    await body(stage);
  } finally {
    await disconnectAll();
    await sim.close();
    rmSync(dir, { recursive: true, force: true });
  }
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
