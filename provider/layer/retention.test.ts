// Retention: which released versions go, by number and age, and that nothing goes that somebody uses; killed in the middle, the next run goes on.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { connectFor } from "../session.ts";
import { inMachine } from "../testing/machines.ts";
import { versionLike } from "../testing/versions.ts";
import { changes, killedAt, type OpenStage, openStage, Story, type StoryLayer } from "../testing.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Entry } from "./entry.ts";
import { versionId } from "./record.ts";

const DAY = 86_400_000;

let stage: OpenStage;
let story: Story;
let layer: StoryLayer;
let model: Entry;
let xapi: Xapi;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage);
  const built = await story.layer("model");
  await built.version("1.0", { machine: { install: [] } });
  model = await built.entry("1.0");
});
afterAll(() => stage?.close());

let layers = 0;
// A layer with three released versions 1, 2 and 3, a day apart: copies of one that was really built, marked as their own.
beforeEach(async () => {
  stage.front.program = {};
  stage.told.length = 0;
  xapi = await connectFor(stage.front, stage.connector() as never);
  layer = await story.layer(`retention ${++layers}`);
  const now = Date.now();
  for (const [at, name] of ["1", "2", "3"].entries()) await released(layer, name, now - (3 - at) * DAY);
});
afterEach(async () => {
  vi.useRealTimers();
  await stage.destroy(layer.made);
});

const released = (of: StoryLayer, name: string, at: number): Promise<void> =>
  versionLike(model, of, name, { sealedAt: new Date(at).toISOString(), released: new Date().toISOString() });

/** As if they had been sealed then. */
async function sealedAt(times: Record<string, number>): Promise<void> {
  const record = await layer.record();
  for (const [name, at] of Object.entries(times)) {
    const entry = await layer.entry(name);
    await record.put(name, { ...entry, sealed: { virtualSize: 0, ...entry.sealed, at: new Date(at).toISOString() } });
  }
}
const names = async () => [...(await layer.record()).versions.keys()].sort();
const retain = async (retention: object | undefined) => {
  const { made } = await stage.up(layer.made, { ...layer.made.inputs, retention });
  Object.assign(layer.made, made);
};
const diskOf = async (name: string) => (await xapi.get("VDI", (await layer.entry(name)).vdi ?? ""))?.$ref ?? "";
describe("which versions go", () => {
  it.each([
    ["none without retention", undefined, ["1", "2", "3"]],
    ["the oldest beyond keep", { keep: 2 }, ["2", "3"]],
    ["all where keep is 0", { keep: 0 }, []],
    ["none where keep is more than there are", { keep: 9 }, ["1", "2", "3"]],
    ["those older than maxAgeDays, keep or not", { keep: 3, maxAgeDays: 1.5 }, ["3"]],
    ["those that either says", { keep: 1, maxAgeDays: 2.5 }, ["3"]],
    ["none where maxAgeDays reaches back before there was time", { maxAgeDays: 1e12 }, ["1", "2", "3"]],
  ])("is: %s", async (_what, retention, left) => {
    await retain({});
    await retain(retention);
    expect(await names()).toEqual(left);
    // Their disks with them, and nothing else of the layer.
    const disks = stage.sim.db.all("VDI").filter(([, vdi]) => vdi.name_label.startsWith(`retention ${layers} `));
    expect(disks).toHaveLength(1 + 2 * left.length);
  });

  it("is not one that is exactly as old as maxAgeDays says; a millisecond later it is", async () => {
    const now = Date.parse("2030-01-01T00:00:00.000Z");
    vi.useFakeTimers({ toFake: ["Date"], now });
    await sealedAt({ "1": now - 2 * DAY - 1, "2": now - 2 * DAY, "3": now - 2 * DAY + 1 });
    await retain({ maxAgeDays: 2 });
    expect(await names()).toEqual(["2", "3"]);
    vi.setSystemTime(now + 1);
    await retain({ maxAgeDays: 2, keep: 9 });
    expect(await names()).toEqual(["3"]);
  });
});

describe("what stays, whatever its age", () => {
  it("is a version that a program holds", async () => {
    const { released: _, ...entry } = await layer.entry("1");
    await (await layer.record()).put("1", { ...entry, holders: { finalize: "a program" } } as Entry);
    await retain({ keep: 0 });
    expect(await names()).toEqual(["1"]);
  });

  it("is a version in a VM, also one whose disk somebody has moved to another storage repository", async () => {
    const remove = await inMachine(xapi, await diskOf("1"));
    const moved = await xapi.get("VDI", (await layer.entry("2")).vdi ?? "");
    const copy = await xapi.task<string>("VDI.copy", [moved?.$ref, moved?.SR, "OpaqueRef:NULL", "OpaqueRef:NULL"]);
    // What a storage migration leaves: another uuid, no marks, the description (xapi_vm_migrate.ml).
    await xapi.call("VDI.set_other_config", copy, {});
    await xapi.destroy("VDI", moved?.$ref ?? "");
    const removeMoved = await inMachine(xapi, copy);
    await retain({ keep: 0 });
    expect(await names()).toEqual(["1", "2"]);
    expect(stage.told.filter((line) => line.includes('is used by VM "an image"'))).toHaveLength(2);
    await remove();
    await removeMoved();
    await retain({ keep: 0, maxAgeDays: 9 });
    expect(await names()).toEqual([]);
    expect(await xapi.record("VDI", copy)).toBeUndefined();
  });

  it("is a version that an open one is based on, until that is sealed", async () => {
    const next = await layer.disk("4", { disk: { baseVersion: "1" } });
    await retain({ keep: 0 });
    expect(await names()).toEqual(["1", "4"]);
    await stage.destroy(next);
    await retain({ keep: 0, maxAgeDays: 9 });
    expect(await names()).toEqual([]);
  });

  it("is a version that an open one is based on, also where a storage migration has given it another disk since", async () => {
    const next = await layer.disk("4", { disk: { baseVersion: "1" } });
    const entry = await layer.entry("1");
    const disk = await xapi.get("VDI", entry.vdi ?? "");
    const copy = await xapi.task<string>("VDI.copy", [disk?.$ref, disk?.SR, "OpaqueRef:NULL", "OpaqueRef:NULL"]);
    await xapi.call("VDI.set_other_config", copy, {});
    await xapi.destroy("VDI", disk?.$ref ?? "");
    // As an up records it.
    await (await layer.record()).put("1", { ...entry, vdi: (await xapi.record("VDI", copy))?.uuid });
    await retain({ keep: 0 });
    expect(await names()).toEqual(["1", "4"]);
    await stage.destroy(next);
    await retain({ keep: 0, maxAgeDays: 9 });
    expect(await names()).toEqual([]);
    expect(await xapi.record("VDI", copy)).toBeUndefined();
  });

  it("is a version on which another run begins to build at this moment", async () => {
    // Between the look at what is open and the first write another run adds its version.
    const entry = await layer.entry("1");
    const record = await layer.record();
    let added = false;
    const adding = {
      test: (method: string) => {
        if (added || method !== "VDI.add_to_other_config") return false;
        added = true;
        const [ref, vdi] = stage.sim.db.all("VDI").find(([, { uuid }]) => uuid === record.vdi.uuid) ?? expect.fail();
        const open = {
          ...entry,
          id: "a".repeat(32),
          build: "b".repeat(32),
          state: "Editing",
          vdi: undefined,
          base: { layer: layer.id, id: versionId(layer.id, entry.id), name: "x", vdi: entry.vdi },
        };
        stage.sim.db.update("VDI", ref, { other_config: { ...vdi.other_config, "xenlayer:version:4:1": JSON.stringify(open) } });
        return false;
      },
    };
    stage.sim.fault({ message: Object.assign(/(?:)/, adding), code: "INTERNAL_ERROR" });
    await retain({ keep: 0 });
    stage.sim.clearFaults();
    expect(added).toBe(true);
    expect(await names()).toEqual(["1", "4"]);
    expect((await layer.entry("1")).state).toBe("Deployable");
    await (await layer.record()).remove("4");
  });
});

it("a run that is killed anywhere in it leaves the rest to the next, which ends as if nothing had been", async () => {
  const before = stage.pool();
  for (let skip = 0, came = true; came; skip++) {
    const other = await story.layer(`killed ${skip}`);
    await released(other, "1", Date.now());
    const inputs = { ...other.made.inputs, retention: { keep: 0 } };
    const message = /VDI\.(destroy|remove_from_other_config|add_to_other_config)$/;
    came = await killedAt(stage, { message, skip, after: skip % 2 === 0 }, () => stage.up(other.made, inputs));
    const { made: after } = await stage.up(other.made, { ...inputs, comment: "again" });
    expect({ skip, versions: [...(await other.record()).versions.keys()] }).toEqual({ skip, versions: [] });
    await stage.destroy(after);
    expect({ skip, changes: changes(before, stage.pool()) }).toEqual({ skip, changes: [] });
    expect(skip).toBeLessThan(20);
  }
});

it("says what the storage held before and after", async () => {
  await retain({ keep: 2 });
  expect(stage.told).toContainEqual(
    expect.stringMatching(/^retention: "Local storage": [\d.]+ GiB used before, [\d.]+ GiB after, as the storage counts$/),
  );
});
