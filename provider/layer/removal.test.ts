// The removal of a layer that is killed after each call that changes something: what is left says what it is, and the next destroy, up or gc ends it.
import { afterAll, beforeAll, beforeEach, expect, it, vi } from "vitest";
import type { Context } from "../resource.ts";
import { connectFor } from "../session.ts";
import { versionLike } from "../testing/versions.ts";
import { changes, killedAt, type OpenStage, openStage, Story, type StoryLayer, windowsGuest } from "../testing.ts";
import { collect } from "./collect.ts";
import type { Entry } from "./entry.ts";
import { survey, type Thing } from "./survey.ts";

vi.setConfig({ testTimeout: 180_000 });

const CHANGES = /^(Async\.)?(VDI|VM)\.(destroy|add_to_other_config|remove_from_other_config|set_\w+)$/;

let stage: OpenStage;
let story: Story;
let model: Entry;
let ctx: Context;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage);
  const built = await story.layer("model");
  await built.version("1", { machine: { install: [] } });
  model = await built.entry("1");
  ctx = { ...stage.front, connect: (connector) => connectFor(stage.front, connector) };
});
afterAll(() => stage?.close());
beforeEach(() => {
  stage.front.program = {};
});

/** A layer with a sealed version and an open one, whose destroy is killed after each of its changes; how many there are. */
async function killedEverywhere(next: (layer: StoryLayer) => Promise<void>): Promise<number> {
  const before = stage.pool();
  for (let skip = 0; ; skip++) {
    stage.front.program = {};
    const layer = await story.layer(`layer ${skip}`);
    await versionLike(model, layer, "1", { released: new Date().toISOString() });
    await layer.disk("2", { disk: { osVersion: "1.0" } });
    const came = await killedAt(stage, { message: CHANGES, skip, after: true }, () => stage.destroy(layer.made));
    if (came) await next(layer);
    expect({ skip, left: changes(before, stage.pool()) }).toEqual({ skip, left: [] });
    if (!came) return skip;
  }
}

const pool = () => connectFor(stage.front, stage.connector() as never);
const thingsOf = async (layer: StoryLayer): Promise<Thing[]> =>
  (await survey(await pool())).filter((thing) => thing.layer === layer.made.inputs.name);

it("what is left of it says truly what it is, and the next destroy ends it", async () => {
  const seen = new Set<string>();
  const points = await killedEverywhere(async (layer) => {
    const fates = (await thingsOf(layer)).map(({ what, version, fate, why, vdis }) => {
      // A version that is said to be kept, or open, is whole.
      if (what === "version" && fate !== "left behind")
        expect({ why, disks: vdis.length }).toEqual({ why, disks: version === "1" ? 2 : 1 });
      return [what, version, fate, `(${why})`].filter(Boolean).join(" ");
    });
    seen.add(fates.sort().join(", "));
    await stage.destroy(layer.made);
  });
  expect(points).toBeGreaterThan(10);
  const begun = "layer kept (platform layer, its removal was begun)";
  const open = "version 2 open (the next up goes on with it)";
  expect([...seen]).toEqual([
    `${begun}, version 1 kept (sealed, released), ${open}`,
    `${begun}, version 1 left behind (its removal was begun), ${open}`,
    `${begun}, ${open}`,
    `${begun}, version 2 left behind (its removal was begun)`,
    "layer left behind (platform layer, its removal was begun)",
    "",
  ]);
});

it("an up in its place keeps the layer and what is whole in it, and has the rest made anew", async () => {
  const kept = new Set<string>();
  await killedEverywhere(async (layer) => {
    if ((await stage.refresh(layer.made)) === undefined) return;
    const { changes: changed, made } = await stage.up(layer.made, layer.made.inputs);
    expect(changed).toBe(true);
    const record = await layer.record();
    expect(record.meta.removal).toBeUndefined();
    kept.add([...record.versions].map(([name, { state }]) => `${name} ${state}`).join(", "));
    expect((await thingsOf(layer)).filter(({ fate }) => fate === "left behind")).toEqual([]);
    // As a program that has the version would.
    if (!record.versions.has("1")) expect((await layer.disk("1", { disk: { osVersion: "1.0" } })).outputs.basedOn).toBe("win11/1.0");
    expect((await stage.up(made, made.inputs)).changes).toBe(false);
    await stage.destroy(made);
  });
  expect([...kept]).toEqual(["1 Deployable, 2 Editing", "2 Editing", ""]);
});

it("gc takes away what its removal was begun of, and the layer only once there is nothing else in it", async () => {
  await killedEverywhere(async (layer) => {
    const before = [...((await stage.refresh(layer.made)) === undefined ? [] : (await layer.record()).versions)];
    const whole = before.filter(([, { state }]) => state !== "Deleting");
    const { failed } = await collect(ctx, await pool(), [String(story.config.outputs.connectorId)]);
    expect(failed).toEqual([]);
    const left = await thingsOf(layer);
    expect(left.map(({ what, version }) => version ?? what).sort()).toEqual(
      whole.length === 0 ? [] : [...whole.map(([name]) => name), "layer"].sort(),
    );
    await stage.destroy(layer.made);
  });
});

it("an OS layer's, too: an up takes what is whole, imports what is not, and ends what was begun", async () => {
  const before = stage.pool();
  const inputs = { ...story.os.inputs, name: "killed" };
  const first = await stage.create("OsLayer", inputs);
  const source = { file: await stage.image({ ...windowsGuest, hostName: "two" }) };
  const { made: os } = await stage.up(first, { ...inputs, version: "2.0", source });
  // The older version goes first.
  for (const kept of [true, false]) {
    expect(await killedAt(stage, { message: /VDI\.destroy$/, after: true }, () => stage.destroy(os))).toBe(true);
    const { changes: changed, made } = await stage.up(os, os.inputs);
    expect(changed).toBe(true);
    expect(made.outputs.vdiUuid === os.outputs.vdiUuid).toBe(kept);
    const things = (await survey(await pool())).filter(({ layer }) => layer === "killed");
    expect(things.map(({ what, version = "", why }) => `${what} ${version} ${why}`.replace("  ", " "))).toEqual([
      "layer os layer",
      "version 2.0 sealed",
    ]);
    Object.assign(os, made);
  }
  await stage.destroy(os);
  expect(changes(before, stage.pool())).toEqual([]);
});

it("a removal that takes long is said again, and ends where another run has begun something meanwhile", async () => {
  const layer = await story.layer("long");
  for (const name of ["1", "2"]) await versionLike(model, layer, name, { released: new Date().toISOString() });
  const record = await layer.record();
  const real = Date.now;
  stage.sim.fault({
    message: /VDI\.destroy$/,
    happens: async () => {
      vi.spyOn(Date, "now").mockImplementation(() => real() + 90_000);
      const { meta, removal: _ } = await layer.record();
      await record.refresh();
      await record.putMeta({ ...meta, holder: "another" });
    },
  });
  await expect(stage.destroy(layer.made)).rejects.toThrow('layer "long" is not removed: another run has begun something in it meanwhile');
  vi.restoreAllMocks();
  expect([...(await layer.record()).versions].map(([name, { state }]) => `${name} ${state}`)).toEqual(["2 Deployable"]);
  await stage.destroy({ ...layer.made, outputs: { ...layer.made.outputs, holder: "another" } });
});

it("whoever has slept, and lost the layer in that time to a run that saw its removal end, leaves it", async () => {
  const layer = await story.layer("slept");
  await versionLike(model, layer, "1", { released: new Date().toISOString() });
  // No clock of this run has moved: it was stopped, or it is behind.
  stage.sim.fault({
    message: /VDI\.destroy$/,
    happens: async () => {
      const record = await layer.record();
      const { removal: _, ...meta } = record.meta;
      await record.putMeta({ ...meta, holder: "another" });
    },
  });
  await expect(stage.destroy(layer.made)).rejects.toThrow('layer "slept" is not removed: another run has begun something in it meanwhile');
  expect((await layer.record()).meta.holder).toBe("another");
  await stage.destroy({ ...layer.made, outputs: { ...layer.made.outputs, holder: "another" } });
});

it("whoever has only waited for another's removal leaves it said when it gives up", async () => {
  const layer = await story.layer("waited for");
  const record = await layer.record();
  // Longer than any lease: it is not waited out.
  const removal = { run: "other", host: "elsewhere", pid: 1, until: Date.now() + 3_600_000 };
  await record.putMeta({ ...record.meta, removal });
  await expect(stage.destroy(layer.made)).rejects.toThrow("is being removed by a run on elsewhere");
  await expect(stage.up(layer.made, { ...layer.made.inputs, name: "renamed" })).rejects.toThrow("is being removed by a run on elsewhere");
  expect((await layer.record()).meta).toMatchObject({ name: "waited for", removal });
  await record.putMeta({ ...record.meta, removal: { ...removal, until: 0 } });
  await stage.destroy(layer.made);
});
