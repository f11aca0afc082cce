// Every call of the main path fails once, or is the last of a killed process: the next run goes on, ends with the same objects, and destroy leaves the pool as
// it was. A sample by default; XENLAYER_KILLS=all tries each call in each way, which takes minutes.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  changes,
  halfMade,
  isTransfer,
  isWork,
  killedAt,
  type Made,
  type OpenStage,
  openStage,
  type Stage,
  Story,
  step,
} from "./testing.ts";

const WAYS = ["fails", "fails after it was done", "is not reached by a killed process", "is the last of a killed process"] as const;
type Way = (typeof WAYS)[number];

/** What the engine does with a program: it keeps what was made, also half made, and forgets nothing but what was deleted. */
class Program {
  readonly state = new Map<string, Made>();
  readonly stage: Stage;
  readonly name: string;
  readonly story: Story;

  constructor(stage: Stage, story: Story, name: string) {
    this.stage = stage;
    this.story = story;
    this.name = name;
  }

  async up(): Promise<void> {
    const { connector } = this.story;
    const layer = await this.ensure("PlatformLayer", this.story.layerInputs(this.name, { comment: "made by a program" }));
    const install = [step("restarts.exe"), step("agent.exe")];
    const disk = await this.ensure("PackagingDisk", { connector, layer: layer.id, version: "1" });
    const machine = await this.ensure("PackagingMachine", { connector, disk: disk.id, install });
    await this.ensure("Finalize", { connector, disk: disk.id, machine: machine.id, version: "1", kms: "rearm" });
  }

  async destroy(): Promise<void> {
    for (const [type, made] of [...this.state].reverse()) {
      await this.stage.destroy(made);
      this.state.delete(type);
    }
  }

  private async ensure(type: string, inputs: Record<string, unknown>): Promise<Made> {
    const before = this.state.get(type);
    try {
      const made = before === undefined ? await this.stage.create(type, inputs) : (await this.stage.up(before, inputs)).made;
      this.state.set(type, made);
      return made;
    } catch (error) {
      if ((error as { made?: Made }).made !== undefined) this.state.set(type, halfMade(error));
      throw error;
    }
  }
}

let stage: OpenStage;
let story: Story;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage);
});
afterAll(() => stage?.close());

/** How many calls `work` makes. */
async function calls(work: () => Promise<unknown>): Promise<number> {
  const from = stage.sim.log.at(-1)?.n ?? 0;
  await work();
  return stage.sim.log.filter(({ n, method }) => n > from && isWork(method)).length;
}

/** Runs `work` with its n-th call disturbed. */
async function disturbed(way: Way, n: number, work: () => Promise<unknown>): Promise<void> {
  if (way === "is not reached by a killed process" || way === "is the last of a killed process") {
    await killedAt(stage, { skip: n, after: way === "is the last of a killed process" }, work);
    return;
  }
  const when = way === "fails" ? "before" : "after";
  let at = -1;
  const call = { test: (name: string) => isWork(name) && ++at === n && !isTransfer(name) };
  const transfer = { test: (name: string) => at === n && isTransfer(name) };
  stage.sim.fault({ message: Object.assign(/(?:)/, call), http: 500, when });
  stage.sim.fault({ message: Object.assign(/(?:)/, transfer), code: "INTERNAL_ERROR", when });
  await work().catch(() => {});
  stage.sim.clearFaults();
}

/** Named objects, without what differs from build to build. */
const objects = (name: string): string[] =>
  [...stage.sim.db.all("VDI"), ...stage.sim.db.all("VM")]
    .map(([, { name_label }]) => name_label.replace(/packaging \w+$/, "packaging"))
    .filter((label) => label.startsWith(`${name} `))
    .map((label) => label.slice(name.length + 1))
    .sort();

/** Evenly spread over all calls, each way in turn. */
function sample(count: number, cases: number): [number, Way][] {
  const all = process.env.XENLAYER_KILLS === "all";
  if (all) return Array.from({ length: count }, (_, n) => WAYS.map((way): [number, Way] => [n, way])).flat();
  return Array.from({ length: cases }, (_, at) => [Math.floor(((at + 0.5) * count) / cases), WAYS[at % WAYS.length] ?? "fails"]);
}

describe("a program whose calls fail", { timeout: process.env.XENLAYER_KILLS === "all" ? 3_600_000 : 120_000 }, () => {
  let made = 0;
  let unmade = 0;
  const whole = ["(layer record)", "1", "1 evidence"];

  it("makes and removes its version when none does", async () => {
    const before = stage.pool();
    const program = new Program(stage, story, "clean");
    made = await calls(() => program.up());
    expect(objects("clean")).toEqual(whole);
    unmade = await calls(() => program.destroy());
    expect(changes(before, stage.pool())).toEqual([]);
    expect(made).toBeGreaterThan(60);
    expect(unmade).toBeGreaterThan(8);
  });

  it("goes on with the next up", async () => {
    const before = stage.pool();
    for (const [index, [n, way]] of sample(made, 10).entries()) {
      const name = `up${index}`;
      const what = `call ${n + 1} of ${made} ${way}`;
      const program = new Program(stage, story, name);
      await disturbed(way, n, () => program.up());
      await program.up().catch((error) => expect.fail(`${what}: ${error}`));
      expect({ what, objects: objects(name) }).toEqual({ what, objects: whole });
      // Nothing is left to do.
      const from = stage.sim.log.at(-1)?.n ?? 0;
      await program.up();
      expect({ what, starts: stage.sim.log.filter(({ n, method }) => n > from && method.endsWith("VM.start")) }).toEqual({
        what,
        starts: [],
      });
      await program.destroy();
      expect({ what, changes: changes(before, stage.pool()) }).toEqual({ what, changes: [] });
    }
  });

  it("is given up without a trace", async () => {
    const before = stage.pool();
    for (const [index, [n, way]] of sample(made, 5).entries()) {
      const name = `gone${index}`;
      const what = `call ${n + 1} of ${made} ${way}, then destroy`;
      const program = new Program(stage, story, name);
      await disturbed(way, n, () => program.up());
      await program.destroy();
      // What no state knows is found by the next program of that name.
      if (objects(name).length > 0) {
        await program.up();
        await program.destroy();
      }
      expect({ what, changes: changes(before, stage.pool()) }).toEqual({ what, changes: [] });
    }
  });

  it("is destroyed by the next destroy", async () => {
    const before = stage.pool();
    for (const [index, [n, way]] of sample(unmade, 4).entries()) {
      const what = `call ${n + 1} of ${unmade} of destroy ${way}`;
      const program = new Program(stage, story, `down${index}`);
      await program.up();
      await disturbed(way, n, () => program.destroy());
      await program.destroy();
      expect({ what, changes: changes(before, stage.pool()) }).toEqual({ what, changes: [] });
    }
  });
});
