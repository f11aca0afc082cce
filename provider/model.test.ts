// Random sequences of what stacks and strangers do to a pool, against a model of what it must hold. The seed is printed: with it, and with the path that a
// failure shows, one sequence runs again (XENLAYER_SEED, XENLAYER_PATH); XENLAYER_SEQUENCES says how many run.
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Change, type Command, destroy, run, up } from "./testing/commands.ts";
import { ACTS } from "./testing/strangers.ts";
import { type Beginning, type Wish, World } from "./testing/world.ts";
import { changes, type OpenStage, openStage, Story } from "./testing.ts";

const SEQUENCES = Number(process.env.XENLAYER_SEQUENCES ?? 200);
/** How often a command leads to a build, which takes a second: rarely where a bounded number of sequences runs with all other tests. */
const BUILDS = process.env.XENLAYER_SEQUENCES === undefined ? 1 : 4;
/** The same with all other tests, which must not fail by chance on a change that has nothing to do with it; another each time where a number is given. */
const SEED = Number(process.env.XENLAYER_SEED ?? (process.env.XENLAYER_SEQUENCES === undefined ? 1 : Date.now() % 2 ** 31));
const PATH = process.env.XENLAYER_PATH;

const BEGINNINGS = ["an OS layer", "two sealed versions", "an open version"] as const;
const dir = mkdtempSync(join(tmpdir(), "xenlayer-model-"));
const beginnings = new Map<string, Beginning>();
/** What a pool has before any stack has been there. */
let bare: Record<string, unknown>;

/** Prepares what sequences begin with, one from the other: building is what takes time. */
beforeAll(async () => {
  const keep = async (stage: OpenStage, name: string, begin: Beginning): Promise<void> => {
    beginnings.set(name, JSON.parse(JSON.stringify(begin)) as Beginning);
    await stage.close();
  };
  const first = await openStage({ stateDir: join(dir, BEGINNINGS[0]) });
  const story = await Story.begin(first);
  bare = structuredClone(first.pool());
  const { connectorId } = story.connector;
  const empty = { connectorId: String(connectorId), osLayer: String(story.os.outputs.layerId), state: [], wish: undefined, sealed: [] };
  await keep(first, BEGINNINGS[0], { ...empty, url: first.sim.url });
  await prepared(BEGINNINGS[0], BEGINNINGS[1], [
    { name: "L0", version: "1", steps: "agent" },
    { name: "L0", version: "2", steps: "agent" },
  ]);
  await prepared(BEGINNINGS[1], BEGINNINGS[2], [{ name: "L0", version: "3", steps: "fails" }]);

  async function prepared(from: string, to: string, wishes: Wish[]): Promise<void> {
    cpSync(join(dir, from), join(dir, to), { recursive: true });
    const { stage, world } = await begun(from, join(dir, to));
    for (const wish of wishes) {
      world.wishes.one[0] = wish;
      expect(await up(world, "one", () => false, undefined)).toEqual([]);
    }
    const wish = world.wishes.one[0];
    const state = world.stacks.one.state;
    await keep(stage, to, {
      url: stage.sim.url,
      connectorId: empty.connectorId,
      osLayer: empty.osLayer,
      state,
      wish,
      sealed: [...world.sealed],
    });
  }
}, 600_000);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A simulator of its own that begins where another has stopped. */
async function begun(from: string, stateDir: string): Promise<{ stage: OpenStage; world: World }> {
  const begin = beginnings.get(from);
  if (begin === undefined) throw new Error(`nothing is prepared as "${from}"`);
  const stage = await openStage({ stateDir });
  return { stage, world: new World(stage, JSON.parse(JSON.stringify(begin).replaceAll(begin.url, stage.sim.url)) as Beginning) };
}

const stack = fc.constantFrom("one" as const, "one" as const, "two" as const);
const skip = fc.oneof(fc.nat(25), fc.nat(100));
const kill = fc.option(fc.record({ skip, after: fc.boolean() }), { freq: 2, nil: undefined });
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Change>({ nothing: true }) },
  { weight: 20, arbitrary: fc.constantFrom("1", "2").map((version) => ({ version })) },
  { weight: BUILDS, arbitrary: fc.constant({ version: "3" }) },
  { weight: 2, arbitrary: fc.constantFrom("agent" as const, "other" as const, "fails" as const).map((steps) => ({ steps })) },
  { weight: 4, arbitrary: fc.constantFrom(undefined, 0, 1).map((keep) => ({ keep })) },
  { weight: 2, arbitrary: fc.constantFrom("L0", "L0 renamed").map((name) => ({ name })) },
  { weight: 2, arbitrary: fc.constant({ wished: false }) },
);
const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant("up" as const),
      stack,
      layer: fc.nat(39).map((which): 0 | 1 => (which < BUILDS ? 1 : 0)),
      change,
      replace: fc.constantFrom(false, false, false, false, true),
      kill,
    }),
  },
  { weight: BUILDS, arbitrary: fc.record({ do: fc.constant("destroy" as const), stack, kill }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("refresh" as const), stack }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("lose the state" as const), stack }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("stranger" as const), act: fc.constantFrom(...ACTS), which: fc.nat(9) }) },
);
// Most begin with what is built already: a build takes a second.
const from = fc.oneof(
  { weight: 20, arbitrary: fc.constant(BEGINNINGS[1]) },
  { weight: BUILDS, arbitrary: fc.constant(BEGINNINGS[2]) },
  { weight: BUILDS, arbitrary: fc.constant(BEGINNINGS[0]) },
);
const sequence = fc.record({ from, commands: fc.array(command, { minLength: 1, maxLength: 6 }) });

describe("any sequence of ups, changes, kills, other people's doings and destroys", () => {
  it("loses nothing, leaves nothing, and ends where the programs say", { timeout: 24 * 3_600_000 }, async () => {
    console.log(
      `${process.env.XENLAYER_SEQUENCES === undefined ? "" : `XENLAYER_SEQUENCES=${SEQUENCES} `}XENLAYER_SEED=${SEED}: ${SEQUENCES} sequences`,
    );
    let ran = 0;
    await fc.assert(
      fc.asyncProperty(sequence, async ({ from, commands }) => {
        const own = join(dir, `sequence ${++ran}`);
        cpSync(join(dir, from), own, { recursive: true });
        const { stage, world } = await begun(from, own);
        try {
          for (const [index, one] of commands.entries())
            expect(await run(world, one), `after command ${index + 1}, ${JSON.stringify(one)}`).toEqual([]);
          await ended(stage, world);
        } finally {
          await stage.close();
          rmSync(own, { recursive: true, force: true });
        }
      }),
      { numRuns: SEQUENCES, seed: SEED, ...(PATH === undefined ? {} : { path: PATH }), endOnFailure: PATH !== undefined },
    );
  });
});

/** Everything is taken away, also what a lost state or a killed run had made, by programs that name it: the pool is as it was before any stack, but for what strangers made. */
async function ended(stage: OpenStage, world: World): Promise<void> {
  expect(world.changedBytes()).toEqual([]);
  const xapi = await world.xapi();
  for (const [ref, { cls }] of [...world.foreign])
    if (cls === "VM") {
      world.foreign.delete(ref);
      await xapi.destroy("VM", ref);
    }
  for (const name of ["one", "two"] as const) expect(await destroy(world, name, undefined), `at the end, destroy of ${name}`).toEqual([]);
  for (const name of world.layersLeft(await world.look())) {
    const taken = await stage.create("PlatformLayer", {
      connector: world.connector,
      name,
      osLayer: world.osLayer,
      purpose: "publishing",
      platform: { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "none" },
    });
    await stage.destroy(taken);
  }
  for (const [ref, { cls }] of world.foreign) await xapi.destroy(cls, ref);
  expect(changes(bare, stage.pool()), "at the end").toEqual([]);
}
