// Runs that are at the same thing at the same time, and a run that is slow: no interleaving gives two layers or two versions of one name, a sealed disk that is half
// built, or a deleted object of somebody else. The other run is the provider anew, with a memory of its own.
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { getLayerVersions, getVersionReport } from "./functions.ts";
import { collect } from "./layer/collect.ts";
import { marksFor } from "./layer/marks.ts";
import type { ConnectorCredentials } from "./resource.ts";
import { connectFor } from "./session.ts";
import { anotherRun, type Run } from "./testing/runs.ts";
import { changes, type Made, type OpenStage, openStage, Story, type StoryLayer } from "./testing.ts";

// Whole lives of versions, on whatever machine.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

let stage: OpenStage;
let story: Story;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage);
});
afterAll(() => stage?.close());
afterEach(() => {
  stage.sim.clearFaults();
  vi.restoreAllMocks();
});

async function withRuns(count: number, body: (runs: Run[]) => Promise<void>): Promise<void> {
  const runs: Run[] = [];
  for (let index = 0; index < count; index++) runs.push(await anotherRun(stage));
  await body(runs);
  for (const run of runs) await run.close();
}

const reach = () => connectFor(stage.front, story.connector as unknown as ConnectorCredentials);
const versionsOf = async (layer: StoryLayer) =>
  (await getLayerVersions(stage.front, { connector: story.connector, layer: layer.id })).versions;
const labels = (prefix: string): string[] =>
  stage.sim.db
    .all("VDI")
    .map(([, { name_label }]) => name_label)
    .filter((label) => label.startsWith(prefix))
    .sort();
const made = <T>(results: PromiseSettledResult<T>[]): T[] =>
  results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
const refusals = (results: PromiseSettledResult<unknown>[]): string[] =>
  results.flatMap((result) => (result.status === "rejected" ? [String(result.reason)] : []));

it("of runs that make a layer of one name at the same time, one makes it and the others take it", () =>
  withRuns(3, async (runs) => {
    const before = stage.pool();
    const layers = await Promise.all(runs.map((run) => run.create("PlatformLayer", story.layerInputs("raced"))));
    expect(new Set(layers.map(({ id }) => id)).size).toBe(1);
    expect(labels("raced")).toEqual(["raced (layer record)"]);
    // One of them has the hold.
    for (const layer of layers) await stage.destroy(layer);
    expect(changes(before, stage.pool())).toEqual([]);
  }));

it("of two programs with states of their own, one has the layers and the other is refused by name", () =>
  withRuns(2, async (runs) => {
    const before = stage.pool();
    const configs = await Promise.all(runs.map((run) => run.create("ConnectorConfig", stage.connector())));
    const inputs = configs.map(({ outputs }) => ({
      ...story.os.inputs,
      name: "OS of both",
      connector: { ...stage.connector(), connectorId: outputs.connectorId },
    }));
    const results = await Promise.allSettled(runs.map((run, index) => run.create("OsLayer", inputs[index] ?? {})));
    const [os] = made(results);
    expect(made(results)).toHaveLength(1);
    expect(refusals(results)[0]).toMatch(/layer "OS of both" .*exists and belongs to connector .*: choose another name, or give that/);
    expect(labels("OS of both")).toEqual(["OS of both (layer record)", "OS of both 1.0"]);
    for (const resource of [os as Made, ...configs]) await stage.destroy(resource);
    expect(changes(before, stage.pool())).toEqual([]);
  }));

it("of runs with one connector that import one OS version at the same time, one imports it", () =>
  withRuns(2, async (runs) => {
    const before = stage.pool();
    const both = await Promise.all(runs.map((run) => run.create("OsLayer", { ...story.os.inputs, name: "imported" })));
    expect(both[0]?.outputs.versionId).toBe(both[1]?.outputs.versionId);
    expect(labels("imported")).toEqual(["imported (layer record)", "imported 1.0"]);
    for (const os of both) await stage.destroy(os);
    expect(changes(before, stage.pool())).toEqual([]);
  }));

it("an import that fails takes its layer back, unless another run has begun something in it, whenever that begins", () =>
  withRuns(1, async ([other]) => {
    const before = stage.pool();
    for (let at = 0, came = true; came; at++) {
      const inputs = { ...story.os.inputs, name: `failing ${at}` };
      let theirs: Promise<Made> | undefined;
      let seen = 0;
      came = false;
      // At a change that the failing run makes while it takes back what it began, the other begins, and comes as far as it can.
      const change = (method: string): boolean => {
        if (came || seen === 0 || !/VDI\.(destroy|add_to_other_config|remove_from_other_config)$/.test(method)) return false;
        came = seen++ > at;
        return came;
      };
      stage.sim.fault({ message: "PUT /import_raw_vdi", after: 1, code: "INTERNAL_ERROR", happens: () => void seen++ });
      stage.sim.fault({
        message: Object.assign(/(?:)/, { test: change }),
        happens: async () => {
          const from = stage.told.length;
          theirs = (other as Run).create("OsLayer", inputs);
          const waits = async () => {
            await vi.waitFor(() => expect(stage.told.slice(from).join()).toContain("waiting for it"), { timeout: 60_000 });
            // Of an object that came and went since a token event.from tells nothing (xapi_event.ml): the other has heard of this one.
            const [record] = stage.sim.db.all("VDI").find(([, { name_label }]) => name_label === `${inputs.name} (layer record)`) ?? [""];
            stage.sim.db.touch("VDI", record);
            await vi.waitFor(() => expect(stage.sim.log.some(({ params: [targets] }) => String(targets) === `VDI/${record}`)).toBe(true));
          };
          await Promise.race([waits(), theirs]);
        },
      });
      await expect(stage.create("OsLayer", inputs)).rejects.toThrow(/^PUT \/import_raw_vdi failed: INTERNAL_ERROR \(fault on order\)$/);
      stage.sim.clearFaults();
      if (theirs !== undefined) {
        const os = await theirs;
        expect({ at, labels: labels("failing") }).toEqual({ at, labels: [`failing ${at} (layer record)`, `failing ${at} 1.0`] });
        expect((await stage.refresh(os))?.outputs).toEqual(os.outputs);
        expect((await other?.up(os))?.changes).toBe(false);
        await stage.destroy(os);
      }
      expect({ at, left: changes(before, stage.pool()) }).toEqual({ at, left: [] });
      if (!came) expect(at).toBeGreaterThan(6);
    }
  }));

it("of runs that remove an OS layer and make a layer of it at the same time, one gives way at least", () =>
  withRuns(1, async ([other]) => {
    const before = stage.pool();
    const removes = /VDI\.(get_all_records|add_to_other_config|get_by_uuid|destroy)$/;
    const makes = /VDI\.(create|set_other_config)$/;
    const outcomes = new Set<string>();
    for (const [first, at] of [...[0, 1, 2, 3, 4].map((n) => [removes, n] as const), ...[0, 1].map((n) => [makes, n] as const)])
      for (const when of ["before", "after"] as const) {
        const name = `${first === removes ? "removed" : "in the making"}, ${when} call ${at}`;
        const os = await stage.create("OsLayer", { ...story.os.inputs, name });
        const make = (run: Pick<Run, "create">) =>
          run.create("PlatformLayer", story.layerInputs(`of ${name}`, { osLayer: os.outputs.layerId }));
        let second: Promise<unknown> = Promise.reject(new Error("never begun"));
        second.catch(() => undefined);
        stage.sim.fault({
          message: first,
          after: at,
          when,
          happens: async () => {
            second = first === removes ? make(other as Run) : (other as Run).destroy(os);
            await second.catch(() => undefined);
          },
        });
        const [one] = await Promise.allSettled([first === removes ? stage.destroy(os) : make(stage)]);
        const [two] = await Promise.allSettled([second]);
        stage.sim.clearFaults();
        expect(String(two?.status === "rejected" && two.reason)).not.toContain("never begun");
        const [removed, layer] = first === removes ? [one, two] : [two, one];
        outcomes.add(`${removed?.status} ${layer?.status}`);
        expect({ name, both: removed?.status === "fulfilled" && layer?.status === "fulfilled" }).toEqual({ name, both: false });
        if (layer?.status === "fulfilled") await stage.destroy(layer.value as Made);
        if (removed?.status === "rejected") await stage.destroy(os);
        expect({ name, left: changes(before, stage.pool()) }).toEqual({ name, left: [] });
      }
    expect([...outcomes]).toEqual(expect.arrayContaining(["fulfilled rejected", "rejected fulfilled"]));
  }));

it("a version that two runs release at the same time is released, and both are done", () =>
  withRuns(1, async ([other]) => {
    const layer = await story.layer("released twice");
    const version = await layer.version("1.0");
    const second = vi.fn(() => (other as Run).destroy(version.seal));
    stage.sim.fault({ message: "VDI.add_to_other_config", happens: second });
    await stage.destroy(version.seal);
    expect(second).toHaveBeenCalledOnce();
    expect((await layer.entry("1.0")).released).toBeDefined();
    await layer.drop(version);
    await stage.destroy(layer.made);
  }));

it("what a killed run has claimed is in nobody's way, and what it left is removed", async () => {
  const before = stage.pool();
  const xapi = await reach();
  const [sr] = await xapi.find("SR", { name_label: "Local storage" });
  const lease = { run: "dead", host: "elsewhere", pid: 4711, until: Date.now() - 1 };
  const claimed = async (connector: string, until = lease.until) =>
    await xapi.call<string>("VDI.create", {
      name_label: "claimed (layer record)",
      name_description: "",
      SR: sr?.$ref,
      virtual_size: 2 ** 22,
      type: "user",
      sharable: false,
      read_only: false,
      other_config: { ...marksFor({ connector, role: "layer" }), "xenlayer:claim": JSON.stringify({ ...lease, until }) },
    });
  const mine = String(story.connector.connectorId);
  await claimed(mine);
  const theirs = await claimed("another");
  const layer = await story.layer("claimed");
  // Another connector's is its own to remove.
  expect(labels("claimed")).toEqual(["claimed (layer record)", "claimed (layer record)"]);
  expect(await xapi.record("VDI", theirs)).toBeDefined();
  await xapi.destroy("VDI", theirs);
  await stage.destroy(layer.made);
  // One that dies while it is waited for: of two claims that with the lesser uuid goes on.
  stage.sim.fault({
    message: "VDI.create",
    when: "after",
    happens: async () => {
      const uuidOf = async (ref: string) => (await xapi.record("VDI", ref))?.uuid ?? "";
      const [own] = await xapi.find("VDI", { name_label: "claimed (layer record)" });
      let rival = await claimed(mine, Date.now() + 60_000);
      while ((await uuidOf(rival)) < (own?.uuid ?? "")) {
        await xapi.destroy("VDI", rival);
        rival = await claimed(mine, Date.now() + 60_000);
      }
    },
  });
  const from = stage.told.length;
  const making = story.layer("claimed");
  await vi.waitFor(() => expect(stage.told.slice(from).join()).toContain("waiting for it"), { timeout: 60_000 });
  for (const [ref, vdi] of stage.sim.db.all("VDI"))
    if (vdi.other_config["xenlayer:claim"]?.includes("elsewhere") === true)
      stage.sim.db.update("VDI", ref, { other_config: { ...vdi.other_config, "xenlayer:claim": JSON.stringify(lease) } });
  await stage.destroy((await making).made);
  expect(changes(before, stage.pool())).toEqual([]);
});

// The answer to a call, or the call itself, is held until the claim on the name counts for nobody any more and another run has made the layer.
it.each([
  ["PUT /import_raw_vdi", "the same", "after"],
  ["VDI.set_name_description", "the same", "after"],
  ["VDI.set_other_config", "the same", "before"],
  ["VDI.set_name_description", "another", "after"],
  ["VDI.set_other_config", "another", "before"],
] as const)("of a run that was too slow to make its layer, at %s, and one of %s connector there is one layer", (message, whose, when) =>
  withRuns(1, async ([other]) => {
    const before = stage.pool();
    const config = whose === "another" ? await (other as Run).create("ConnectorConfig", stage.connector()) : story.config;
    const connector = { ...stage.connector(), connectorId: config.outputs.connectorId };
    const inputs = { ...story.os.inputs, name: "slowly made" };
    const real = Date.now;
    let fast: Made | undefined;
    stage.sim.fault({
      message,
      when,
      happens: async () => {
        vi.spyOn(Date, "now").mockImplementation(() => real() + 125_000);
        fast = await (other as Run).create("OsLayer", { ...inputs, connector });
      },
    });
    const [slow] = await Promise.allSettled([stage.create("OsLayer", inputs)]);
    vi.restoreAllMocks();
    expect(labels("slowly made")).toEqual(["slowly made (layer record)", "slowly made 1.0"]);
    if (whose === "the same") expect(slow).toMatchObject({ status: "fulfilled", value: { id: fast?.id } });
    else expect(refusals([slow])[0]).toMatch(/layer "slowly made" .*exists and belongs to connector/);
    for (const os of [...made([slow]), fast as Made]) await stage.destroy(os);
    if (config !== story.config) await stage.destroy(config);
    expect(changes(before, stage.pool())).toEqual([]);
  }),
);

it("what a dead run seems to have claimed is looked at again before it goes: a record that it has made meanwhile stays", async () => {
  const before = stage.pool();
  const xapi = await reach();
  const model = await story.layer("model");
  const { meta } = await model.record();
  const lease = { run: "slow", host: "elsewhere", pid: 4711, until: Date.now() - 1 };
  const claimed = async (): Promise<string> => {
    const other_config = { ...marksFor({ connector: meta.connectorId, role: "layer" }), "xenlayer:claim": JSON.stringify(lease) };
    const vdi = { SR: (await model.record()).vdi.SR, virtual_size: 2 ** 22, type: "user", sharable: false, read_only: false, other_config };
    return await xapi.call<string>("VDI.create", { ...vdi, name_label: "woken (layer record)", name_description: "" });
  };
  /** What the slow run does as soon as it has been taken for dead. */
  const wakes = (ref: string) => () => {
    const { uuid, other_config } = stage.sim.db.get("VDI", ref);
    const facts = JSON.stringify({ ...meta, uuid, name: "woken" });
    stage.sim.db.update("VDI", ref, { other_config: { ...other_config, "xenlayer:meta:1": facts } });
  };
  const slow = await claimed();
  stage.sim.fault({
    message: "VDI.create",
    when: "after",
    happens: () => stage.sim.fault({ message: "VDI.get_all_records_where", when: "after", happens: wakes(slow) }),
  });
  const layer = await story.layer("woken");
  expect(layer.id).toBe(stage.sim.db.get("VDI", slow).uuid);
  expect(labels("woken")).toEqual(["woken (layer record)"]);
  await stage.destroy(layer.made);

  const second = await claimed();
  stage.sim.fault({ message: "VDI.get_all_records", when: "after", happens: wakes(second) });
  const ctx = { ...stage.front, connect: () => Promise.resolve(xapi) };
  const { failed } = await collect(ctx, xapi, [meta.connectorId]);
  expect(failed.map(({ problem }) => problem)).toEqual([expect.stringContaining("by a run that was only slow")]);
  expect(labels("woken")).toEqual(["woken (layer record)"]);
  await xapi.destroy("VDI", second);
  await stage.destroy(model.made);
  expect(changes(before, stage.pool())).toEqual([]);
});

it("a layer whose claim is made while the answer is lost is made of that claim", async () => {
  const before = stage.pool();
  stage.sim.fault({ message: "VDI.create", when: "after", cut: true });
  const layer = await story.layer("unheard");
  expect(labels("unheard")).toEqual(["unheard (layer record)"]);
  await stage.destroy(layer.made);
  expect(changes(before, stage.pool())).toEqual([]);
});

it("two stacks build into one layer at the same time: each its own version, and neither touches the other's", () =>
  withRuns(2, async ([one, two]) => {
    const before = stage.pool();
    const layer = await story.layer("shared");
    const build = async (run: Run | undefined, version: string): Promise<Made[]> => {
      const inputs = layer.inputs(version, { disk: { osVersion: "1.0" } });
      const disk = await (run as Run).create("PackagingDisk", inputs.disk);
      const machine = await (run as Run).create("PackagingMachine", inputs.machine(disk.id));
      return [disk, machine, await (run as Run).create("Finalize", inputs.seal(disk.id))];
    };
    const [first, second] = await Promise.all([build(one, "1"), build(two, "2")]);
    expect(await versionsOf(layer)).toMatchObject([{ state: "Deployable" }, { state: "Deployable" }]);
    // One stack is destroyed while the other's version stays held.
    for (const resource of [...(first ?? [])].reverse()) await one?.destroy(resource);
    for (const resource of second ?? []) expect((await two?.refresh(resource))?.outputs).toEqual(resource.outputs);
    expect((await layer.entry("2")).released).toBeUndefined();
    await stage.destroy(layer.made);
    expect(changes(before, stage.pool())).toEqual([]);
  }));

it("a refresh during a build sees what is there and disturbs nothing", () =>
  withRuns(1, async ([other]) => {
    const before = stage.pool();
    const layer = await story.layer("refreshed");
    const disk = await layer.disk("1");
    const seen: unknown[] = [];
    const look = async () => {
      for (const resource of [story.config, story.os, layer.made, disk]) seen.push((await other?.refresh(resource))?.outputs);
    };
    for (const message of ["VM.clone", "VM.start", "VDI.update", "VM.destroy"]) stage.sim.fault({ message, happens: look });
    const machine = await layer.machine(disk);
    const seal = await layer.seal(disk, "1");
    expect(seen).toHaveLength(16);
    expect(seen.slice(-4)).toEqual([story.config, story.os, layer.made, disk].map(({ outputs }) => outputs));
    await layer.drop({ disk, machine, seal });
    await stage.destroy(layer.made);
    expect(changes(before, stage.pool())).toEqual([]);
  }));

// The answer to a call stays away until another run has found the lease expired, has taken the version over and has sealed it.
it.each([
  ["VDI.clone", "its disk is cloned", "elapsed"],
  ["VDI.update", "it is about to seal", "elapsed"],
  // To its own clocks nothing is late: the other's is ahead.
  ["VDI.update", "it is about to seal, by a clock that is ahead", "ahead"],
])(
  "a run that hears nothing while %s (%s) has lost its lease (%s): it stops, and what the other sealed stays as it is",
  (message, _when, clock) =>
    withRuns(1, async ([other]) => {
      const before = stage.pool();
      const layer = await story.layer("slow");
      const inputs = layer.inputs("1");
      const real = Date.now;
      let fast: Made[] = [];
      stage.sim.fault({
        message,
        when: "after",
        happens: async () => {
          vi.spyOn(Date, "now").mockImplementation(() => real() + 125_000);
          const disk = await (other as Run).create("PackagingDisk", inputs.disk);
          const machine = await (other as Run).create("PackagingMachine", inputs.machine(disk.id));
          fast = [disk, machine, await (other as Run).create("Finalize", inputs.seal(disk.id))];
          if (clock === "ahead") vi.restoreAllMocks();
        },
      });
      const slow = await layer.version("1").then(
        () => "took what the other made",
        (error: Error) => error.message,
      );
      expect(fast).toHaveLength(3);
      const sealedAt = fast[2]?.outputs.sealedAt;
      expect(slow).toMatch(/lost the lease of version 1: another run has taken it over|took what the other made|can't be finalized|gone/);
      expect(await layer.entry("1")).toMatchObject({ state: "Deployable", sealed: { at: sealedAt } });
      expect(labels("slow")).toEqual(["slow (layer record)", "slow 1", "slow 1 evidence"]);
      expect(stage.sim.db.all("VM").filter(([, { name_label }]) => name_label.startsWith("slow"))).toEqual([]);
      const report = await getVersionReport(stage.front, { connector: story.connector, versionId: String(fast[2]?.outputs.versionId) });
      expect(report.report).toMatchObject({ state: "ready" });
      // The slow one's next run takes it.
      vi.restoreAllMocks();
      const taken = await layer.version("1");
      expect(taken.seal.outputs.sealedAt).toBe(sealedAt);
      await layer.drop(taken);
      await stage.destroy(layer.made);
      expect(changes(before, stage.pool())).toEqual([]);
    }),
);

it("a layer that is deleted while another run begins a version in it: one of them is told, and nothing is left", () =>
  withRuns(1, async ([other]) => {
    const before = stage.pool();
    const layer = await story.layer("contested");
    const results = await Promise.allSettled([other?.create("PackagingDisk", layer.inputs("1").disk), stage.destroy(layer.made)]);
    expect(refusals(results).length).toBeLessThan(2);
    const [disk] = results;
    if (disk?.status === "fulfilled" && disk.value !== undefined) await layer.drop({ disk: disk.value });
    await stage.destroy(layer.made);
    expect(changes(before, stage.pool())).toEqual([]);
  }));
