// Killed at every call that changes something, and at a sample of all else that may happen: the next run ends as if nothing had been. `make chaos` tries all points.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { MainPath, type Outcome, units, VERSION } from "./core.ts";
import { engineLog } from "./engineLog.ts";
import { inParallel, type Point, pointName, pointsOf, sample } from "./points.ts";
import { Front } from "./stack.ts";
import { FAULTS, KILLS, ORPHANS } from "./ways.ts";

// The same each time: a test must not fail by chance on a change that has nothing to do with it. `make chaos` draws another.
const SEED = Number(process.env.SEED ?? 1);
const MINUTES = 60_000;

describe("whatever goes wrong, the next run ends as if nothing had been", { timeout: 10 * MINUTES }, () => {
  const paths: Partial<Record<"small" | "ha", MainPath>> = {};
  beforeAll(async () => {
    paths.small = await MainPath.record("small");
    paths.ha = await MainPath.record("ha");
    console.info(`seed of this run: ${SEED}`);
  }, 10 * MINUTES);
  afterAll(async () => {
    for (const path of Object.values(paths)) await path[Symbol.asyncDispose]();
  });

  const pathOf = ({ way }: Point): MainPath => paths[way.pool ?? "small"] ?? expect.fail("no main path was recorded");
  /** How often a wait looks is a matter of time: where there are fewer calls than there were, the last one stands for those that are missing. */
  async function reach(point: Point, then?: "destroy"): Promise<Outcome> {
    const outcome = await pathOf(point).point(point.at, point.n, point.way, then);
    if (outcome.reached || outcome.problem !== undefined || point.n === 0) return outcome;
    return await reach({ ...point, n: point.n - 1 }, then);
  }
  async function wrong(points: readonly Point[], then?: "destroy"): Promise<string[]> {
    const said: string[] = [];
    await inParallel(points, 2, async (point) => {
      const { reached, problem } = await reach(point, then);
      if (!reached) said.push(`${pointName(point)} was never reached`);
      if (problem !== undefined) said.push(`${pointName(point)}: ${problem}`);
    });
    return said;
  }
  const all = (ways: readonly Point["way"][]) => ways.flatMap((way) => pointsOf(paths[way.pool ?? "small"] ?? expect.fail(), way));

  // Whoever is killed before a call, or after one that left the pool as it was, leaves what a kill at the call before leaves: that point is tried.
  // A bump makes its version by the calls that made the first one: of those every other is tried there, the others here. `make chaos` tries all in both.
  it("killed at any call", async () => {
    const [, , after] = KILLS;
    const all = after === undefined || paths.small === undefined ? [] : pointsOf(paths.small, after, ({ changed }) => changed);
    const repeated = all.filter(({ at }) => units[at]?.doing === "make" && VERSION.includes(units[at]?.name ?? ""));
    const points = all.filter((point) => !repeated.includes(point) || (point.n % 2 === 0) === (units[point.at]?.phase === "up"));
    expect(points.length).toBeGreaterThan(90);
    expect(await wrong(points)).toEqual([]);
  });

  it("killed at a sample of all calls, before, during and after them", async () => {
    expect(await wrong(sample(all(KILLS), 8, SEED))).toEqual([]);
  });

  it("killed, and then given up: destroy leaves the pool as it was before", async () => {
    expect(await wrong(sample(all(KILLS), 3, SEED), "destroy")).toEqual([]);
  });

  it("with the engine killed, its provider beside the next", async () => {
    expect(await wrong(sample(all(ORPHANS), 4, SEED))).toEqual([]);
  });

  it.each(FAULTS.map((way) => [way.name, way] as const))("%s", async (_, way) => {
    expect(await wrong(sample(all([way]), 1, SEED))).toEqual([]);
  });

  it("is heard by its engine, whatever proxy the environment names, and ends with it", async () => {
    const engine = await engineLog();
    const front = new Front(engine.address, { http_proxy: "http://127.0.0.1:9", grpc_proxy: "http://127.0.0.1:9", no_proxy: "" });
    const inputs = { address: "127.0.0.1:9", username: "root", password: "none", template: "none", storageRepository: "none" };
    const asked = front.ask("ConnectorConfig", "check", {}, { ...inputs, __urn: "urn:pulumi:dev::chaos::xenlayer:ConnectorConfig::one" });
    await vi.waitFor(() => expect(engine.heard()).toBeGreaterThan(0), { timeout: MINUTES });
    engine.kill();
    await Promise.all([front.ended, asked.catch(() => undefined)]);
  });

  it("tells a pool that is not as it was", async () => {
    const { small } = paths;
    const way = KILLS[0];
    if (small === undefined || way === undefined) expect.fail();
    const spoils = {
      ...way,
      name: "spoils",
      arm: (...given: Parameters<typeof way.arm>) => {
        way.arm(...given);
        const [world] = given;
        world.mends.push(() => void world.simulator.db.create("VM", { name_label: "left over" }));
      },
    };
    expect((await small.point(5, 0, spoils)).problem).toBe('VM "left over" is too much');
  });
});
