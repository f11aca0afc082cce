// The real engine with its processes killed at a sample of calls, and Ctrl-C and SIGTERM at each stage. `make chaos` tries more.
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ENGINE } from "../testing.ts";
import { ENGINE_WAYS, EnginePath, engineOperations, heard } from "./engine.ts";
import { sample } from "./points.ts";

// The same each time: a test must not fail by chance on a change that has nothing to do with it. `make chaos` draws another.
const SEED = Number(process.env.SEED ?? 1);

describe.sequential("a run of the engine", { timeout: ENGINE }, () => {
  let path: EnginePath;
  beforeAll(async () => {
    path = await EnginePath.record();
    console.info(`seed of this run: ${SEED}`);
  }, ENGINE);
  afterAll(() => path?.[Symbol.asyncDispose](), ENGINE);

  it.each([0, 1, 2])("with its processes killed at a call, is made up for by the next (%i)", async (round) => {
    const victim = (["provider", "engine", "all"] as const)[round];
    const points = ENGINE_WAYS.filter((way) => "victim" in way && way.victim === victim).flatMap((way) =>
      engineOperations.flatMap((operation) => Array.from({ length: path.calls(operation) }, (_, n) => ({ operation, n, way }))),
    );
    const [point] = sample(points, 1, SEED + round);
    if (point === undefined) expect.fail();
    const { operation, n, way } = point;
    const name = `${operation}:${way.name}:${n}`;
    const { reached, problem } = await path.point(operation, n, way);
    expect({ name, reached, problem }).toEqual({ name, reached: true, problem: undefined });
  });

  // The second upload is the OS image, after the connector's probe; the machine starts for its steps, and for the finalize.
  it.each([
    ["one Ctrl-C while the OS image is imported", ["SIGINT"], /^PUT /, 1],
    ["two Ctrl-C while the machine packages", ["SIGINT", "SIGINT"], /VM\.start$/, 0],
    ["SIGTERM while the guest is waited for", ["SIGTERM"], /VM\.start$/, 1],
  ] as const)("%s: what was at work is recorded, or goes on with the next up", async (_, signals, message, after) => {
    await path.begin("up");
    let engine: ChildProcess | undefined;
    // The call is held until the engine has heard all of them.
    const happens = async () => {
      if (engine === undefined) return;
      for (const signal of signals) await heard(engine, signal);
    };
    path.simulator.fault({ message, after, happens });
    const run = await path.run("up", (child) => {
      engine = child;
    });
    expect(run.code).not.toBe(0);
    if (signals.length === 1) expect(run.output).toMatch(/cancell?ed/);
    expect(await path.converged("up")).toBeUndefined();
  });
});
