// The life of a version, as a contract (design): each sentence, through the core as a front drives it, against the simulator over the wire.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { explain } from "./errors.ts";
import { getLayerVersions } from "./functions.ts";
import { type ConnectorCredentials, UNKNOWN } from "./resource.ts";
import { connectFor } from "./session.ts";
import {
  changes,
  type OpenStage,
  openStage,
  type Stage,
  Story,
  type StoryLayer,
  step,
  type Version,
  windowsGuest,
  withStage,
} from "./testing.ts";
import type { Xapi } from "./xapi/client.ts";

const disks = (stage: Stage): string[] => stage.sim.db.all("VDI").map(([, { name_label }]) => name_label);
const machines = (stage: Stage): string[] =>
  stage.sim.db.all("VM").flatMap(([, { name_label }]) => (name_label.includes("packaging ") ? [name_label] : []));

/** A VM that has a version's disk, as an image would. */
async function attachToVm(xapi: Xapi, vdiUuid: string, name: string): Promise<{ remove(): Promise<void> }> {
  const vdi = await xapi.get("VDI", vdiUuid);
  const [template] = await xapi.find("VM", { name_label: "Other install media" });
  const vm = await xapi.call<string>("VM.clone", template?.$ref, name);
  await xapi.call("VM.set_is_a_template", vm, false);
  await xapi.call("VBD.create", {
    VM: vm,
    VDI: vdi?.$ref,
    userdevice: "0",
    bootable: true,
    mode: "RW",
    type: "Disk",
    unpluggable: false,
    empty: false,
    other_config: {},
    qos_algorithm_type: "",
    qos_algorithm_params: {},
  });
  return { remove: () => xapi.destroy("VM", vm) };
}

it("builds, checks and seals a version, shows no change afterwards, and leaves the pool as it was", async () => {
  await withStage(async (stage) => {
    const before = stage.pool();
    const story = await Story.begin(stage);
    const layer = await story.layer("plat");
    const wish = { machine: { install: [step("driver.exe"), step("restarts.exe"), step("compiles.exe")] }, seal: { kms: "rearm" } };
    const version = await layer.version("2.3", wish);
    expect(version.seal.outputs).toMatchObject({ report: { state: "ready" } });
    expect(machines(stage)).toEqual([]);
    for (const made of [story.config, story.os, layer.made, version.disk, version.machine, version.seal]) {
      const refreshed = await stage.refresh(made);
      expect(refreshed?.outputs).toEqual(made.outputs);
      expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false, replaces: [] });
    }
    await layer.drop(version);
    await story.end(layer);
    expect(changes(before, stage.pool())).toEqual([]);
  });
});

describe("the life of a version", () => {
  let stage: OpenStage;
  let story: Story;
  let xapi: Xapi;
  beforeAll(async () => {
    stage = await openStage();
    story = await Story.begin(stage);
    xapi = await connectFor(stage.front, story.connector as unknown as ConnectorCredentials);
  });
  afterAll(() => stage?.close());

  /** A layer of its own for one test; afterwards nothing of it may be left. */
  async function withLayer(name: string, body: (layer: StoryLayer) => Promise<void>, more = {}): Promise<void> {
    const before = stage.pool();
    const layer = await story.layer(name, more);
    await body(layer);
    await stage.destroy(layer.made);
    expect(changes(before, stage.pool())).toEqual([]);
  }

  const versionsOf = async (layer: StoryLayer) =>
    (await getLayerVersions(stage.front, { connector: story.connector, layer: layer.id })).versions;
  const told = async (work: () => Promise<unknown>): Promise<string> => {
    const from = stage.told.length;
    await work();
    return stage.told.slice(from).join("\n");
  };

  it("a bump makes the new three, then deletes the old three: the old version stays in the layer, released", () =>
    withLayer("bump", async (layer) => {
      const old = await layer.version("2.2");
      // The engine asks diff which of the three are replaced.
      const bumped = layer.inputs("2.3");
      expect((await stage.up(old.disk, bumped.disk)).replaces).toEqual(["version"]);
      const machine = bumped.machine(UNKNOWN);
      expect(await stage.resource("PackagingMachine").diff(stage.front, old.machine.id, old.machine.outputs, machine)).toEqual({
        replaces: ["disk"],
      });
      const seal = bumped.seal(UNKNOWN);
      expect(await stage.resource("Finalize").diff(stage.front, old.seal.id, old.seal.outputs, seal)).toEqual({ replaces: ["disk"] });

      const made = await layer.version("2.3");
      expect(made.disk.outputs.basedOn).toBe("bump/2.2");
      expect(await versionsOf(layer)).toMatchObject([
        { version: "2.2", state: "Deployable", released: false },
        { version: "2.3", state: "Deployable", released: false, basedOn: "bump/2.2" },
      ]);
      const oldDisk = String(old.disk.outputs.vdiUuid);
      expect(await told(() => layer.drop(old))).toContain("2.2 stays in layer bump");
      expect(await versionsOf(layer)).toMatchObject([
        { version: "2.2", state: "Deployable", released: true, vdiUuid: oldDisk },
        { version: "2.3", state: "Deployable", released: false },
      ]);
      expect(await xapi.get("VDI", oldDisk)).toBeDefined();
      // Nothing of the new one was touched.
      for (const resource of Object.values(made)) expect(await stage.up(resource, resource.inputs)).toMatchObject({ changes: false });
    }));

  it("a failed build leaves the old version untouched, and the next up goes on", () =>
    withLayer("failed", async (layer) => {
      const old = await layer.version("1");
      const before = await layer.entry("1");
      const disk = await layer.disk("2");
      const wish = { machine: { install: [step("agent.exe"), step("fails.exe")] } };
      const failure = await layer.machine(disk, wish).catch((error: unknown) => error);
      expect(String(failure)).toMatch(/step "fails" ended with exit code 1603.*out of luck/s);
      expect(await layer.entry("1")).toEqual(before);
      expect(await layer.entry("2")).toMatchObject({ state: "Editing", machine: { packaged: false } });
      for (const made of Object.values(old)) expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false });

      const machine = await stage.up((failure as { made: Version["machine"] }).made, layer.inputs("2").machine(disk.id));
      expect(machine.made.outputs).toMatchObject({ ready: true, steps: [{ name: "agent", exitCode: 0 }] });
      const seal = await layer.seal(disk, "2");
      expect(seal.outputs).toMatchObject({ report: { state: "ready" } });
      await layer.drop(old);
    }));

  it.each([
    ["SR_FULL", "VDI.clone", ["21474836480", "1048576"]],
    ["SR_BACKEND_FAILURE_44", "VDI.create", ["", "There is insufficient space", ""]],
    ["SR_BACKEND_FAILURE_180", "VM.start", ["", "Volume Group out of space.", ""]],
  ])(
    "a build that the storage has no room for ends with a sentence that says so, whoever says it (%s), and the next up goes on",
    (code, failed, params) =>
      withLayer(`no room ${code}`, async (layer) => {
        stage.sim.fault({ code, message: new RegExp(`${failed}$`), params });
        const failure = await layer.version("1").catch((error: unknown) => error);
        expect(explain(failure)).toBe(
          `${failed} failed: ${code} (${params.join(", ")}). Hint: there is not enough space on the storage repository: free some space, or use another one`,
        );
        await layer.drop(await layer.version("1"));
      }),
  );

  it("a failed build that is given up leaves nothing", () =>
    withLayer("given up", async (layer) => {
      const before = stage.pool();
      const disk = await layer.disk("1");
      const failure = await layer.machine(disk, { machine: { install: [step("fails.exe")] } }).catch((error: unknown) => error);
      await layer.drop({ disk, machine: (failure as { made: Version["machine"] }).made });
      expect(changes(before, stage.pool())).toEqual([]);
    }));

  it("holder tokens make the order of create and delete harmless: a replaced version survives the delete of what it replaced", () =>
    withLayer("tokens", async (layer) => {
      // --replace and taint: create again, then delete the first; the engine never asks diff.
      const first = await layer.version("1");
      const second = { disk: await layer.disk("1"), machine: await layer.machine(first.disk), seal: await layer.seal(first.disk, "1") };
      await layer.drop(first);
      expect(await layer.entry("1")).toMatchObject({ state: "Deployable" });
      expect((await layer.entry("1")).released).toBeUndefined();
      for (const made of Object.values(second)) expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false });
      // Of the first, everything says that it lost its hold.
      for (const made of Object.values(first))
        expect(await stage.resource(made.type).diff(stage.front, made.id, made.outputs, made.inputs)).toEqual({ changes: true });
      await layer.drop(second);
      expect((await layer.entry("1")).released).toBeDefined();
    }));

  it("the same for an open version and its machine, and for layers", () =>
    withLayer("open tokens", async (layer) => {
      const disk = await layer.disk("1");
      const machine = await layer.machine(disk);
      const again = { disk: await layer.disk("1"), machine: await layer.machine(disk) };
      await layer.drop({ disk, machine });
      expect(await layer.entry("1")).toMatchObject({ state: "Editing", machine: { packaged: true } });
      expect(machines(stage)).toHaveLength(1);
      const seal = await layer.seal(again.disk, "1");
      await layer.drop({ ...again, seal });

      const before = layer.made;
      const taken = await stage.create("PlatformLayer", before.inputs);
      expect(taken.id).toBe(before.id);
      await stage.destroy(before);
      expect(await stage.refresh(taken)).toBeDefined();
      await stage.destroy({ ...taken });
      expect(await stage.refresh(taken)).toBeUndefined();
    }));

  it("an equal version is taken, not built: rolled back, added again, or found after a lost state", () =>
    withLayer("taken", async (layer) => {
      const first = await layer.version("1");
      const second = await layer.version("2");
      await layer.drop(first);
      const uuid = first.disk.outputs.vdiUuid;
      const starts = () => stage.sim.log.filter(({ method }) => method.endsWith("VM.start")).length;
      const before = starts();
      let back: Version | undefined;
      expect(
        await told(async () => {
          back = await layer.version("1");
        }),
      ).toContain("1 exists: taken, not built");
      expect(back?.disk.outputs.vdiUuid).toBe(uuid);
      expect(starts()).toBe(before);
      expect(await layer.entry("1")).not.toHaveProperty("released");
      await layer.drop(second);
      expect(await versionsOf(layer)).toMatchObject([
        { version: "1", released: false },
        { version: "2", released: true },
      ]);
      for (const made of Object.values(back ?? {})) expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false });
    }));

  it("different content of a sealed version is refused in check, with a sentence that names layer, seal time and the changed steps", () =>
    withLayer("refused", async (layer) => {
      const wish = { disk: { triggers: { 'install "agent"': "1", "order of steps": "a" } } };
      const made = await layer.version("2.3", wish);
      const before = stage.pool();
      const at = String(made.seal.outputs.sealedAt);
      const refused = async (type: string, news: Record<string, unknown>, old?: Record<string, unknown>) =>
        (await stage.check(type, news, old)).failures.map(({ property, reason }) => `${property}: ${reason}`);
      const disk = layer.inputs("2.3", {
        disk: { triggers: { 'install "agent"': "2", "order of steps": "a", 'install "new"': "3" } },
      }).disk;
      // With old inputs, and without (--replace, taint, added again): only the record is asked.
      for (const old of [made.disk.inputs, undefined])
        expect(await refused("PackagingDisk", disk, old)).toEqual([
          `version: version 2.3 of layer "refused" was sealed ${at}, and install "agent" changed, install "new" was added: give a new version`,
        ]);
      const machine = layer.inputs("2.3", { machine: { install: [step("agent.exe", { env: { A: "1" } }), step("other.exe")] } });
      expect(await refused("PackagingMachine", machine.machine(made.disk.id))).toEqual([
        `install: version 2.3 of layer "refused" was sealed ${at}, and install "agent" changed, install "other" was added, order of steps was added: give a new version`,
      ]);
      const manual = layer.inputs("2.3", { machine: { mode: "manual", install: [] } }).machine(made.disk.id);
      expect(await refused("PackagingMachine", manual)).toEqual([expect.stringContaining("mode changed from automatic to manual")]);
      const seal = layer.inputs("2.3", { seal: { kms: "rearm", checks: { ngen: "ignore" } } }).seal(made.disk.id);
      expect(await refused("Finalize", seal)).toEqual([
        `kms: version 2.3 of layer "refused" was sealed ${at}, and kms changed: give a new version`,
        `checks: version 2.3 of layer "refused" was sealed ${at}, and checks changed: give a new version`,
      ]);
      expect(await refused("PackagingDisk", { ...made.disk.inputs, sizeGiB: 3 })).toEqual([
        expect.stringContaining("sizeGiB changed to 3"),
      ]);
      expect(await refused("PackagingDisk", { ...made.disk.inputs, osVersion: "0.9" })).toEqual([
        expect.stringContaining("the base changed from win11/1.0"),
      ]);
      // Time limits and what becomes of failures are no content.
      const limits = layer.inputs("2.3", { machine: { timeouts: { packageMinutes: 10 }, onFailure: "delete" } });
      expect(await refused("PackagingMachine", limits.machine(made.disk.id))).toEqual([]);
      // The update itself refuses too, where a check couldn't know.
      await expect(stage.resource("PackagingMachine").create(stage.front, machine.machine(made.disk.id))).rejects.toThrow(
        /give a new version/,
      );
      await expect(stage.resource("PackagingDisk").create(stage.front, disk)).rejects.toThrow(/give a new version/);
      expect(changes(before, stage.pool())).toEqual([]);
    }));

  it("what is not known yet in a preview is neither refused nor replaced", () =>
    withLayer("unknown", async (layer) => {
      const made = await layer.version("1", { disk: { triggers: { a: "1" } } });
      const disk = { ...made.disk.inputs, triggers: UNKNOWN };
      expect((await stage.check("PackagingDisk", disk)).failures).toEqual([]);
      expect(await stage.resource("PackagingDisk").diff(stage.front, made.disk.id, made.disk.outputs, disk)).toEqual({});
      const machine = { ...made.machine.inputs, install: [step("agent.exe", { run: UNKNOWN })] };
      expect((await stage.check("PackagingMachine", machine, made.machine.inputs)).failures).toEqual([]);
      expect(await stage.resource("PackagingMachine").diff(stage.front, made.machine.id, made.machine.outputs, machine)).toEqual({});
      const seal = { ...made.seal.inputs, checks: UNKNOWN };
      expect((await stage.check("Finalize", seal)).failures).toEqual([]);
    }));

  it("a version whose disk is gone is replaced, and built again on its recorded base", () =>
    withLayer("gone", async (layer) => {
      const first = await layer.version("1");
      const second = await layer.version("2");
      const third = await layer.version("3");
      await xapi.destroy("VDI", (await xapi.get("VDI", String(second.disk.outputs.vdiUuid)))?.$ref ?? "");
      expect(await versionsOf(layer)).toMatchObject([{ version: "1" }, { version: "2", state: "Broken" }, { version: "3" }]);
      expect(await stage.refresh(second.seal)).toBeUndefined();
      let up: Awaited<ReturnType<Stage["up"]>> | undefined;
      const said = await told(async () => {
        up = await stage.up(second.disk, second.disk.inputs);
      });
      expect(up?.replaces).toEqual(["version"]);
      expect(said).toContain("version 2 is gone and will be built again on its base gone/1");
      expect((await stage.check("PackagingDisk", second.disk.inputs)).inputs.base).toBe("gone/1");
      const again = await layer.version("2");
      expect(again.disk.outputs.basedOn).toBe("gone/1");
      await layer.drop(second);
      expect(await versionsOf(layer)).toMatchObject([
        { version: "1", state: "Deployable" },
        { version: "3", state: "Deployable", basedOn: "gone/2" },
        { version: "2", state: "Deployable", released: false, basedOn: "gone/1" },
      ]);
      await layer.drop(first);
      await layer.drop(third);
    }));

  it("delete of a layer is refused while an image uses a version, names it, and both up and destroy go on afterwards", () =>
    withLayer("used", async (layer) => {
      const made = await layer.version("1");
      const image = await attachToVm(xapi, String(made.disk.outputs.vdiUuid), "my image");
      await layer.drop(made);
      const before = stage.pool();
      await expect(stage.destroy(layer.made)).rejects.toThrow('layer "used" is not deleted: version 1 is used by VM "my image"');
      await expect(stage.destroy(story.os)).rejects.toThrow('layer "win11" is not deleted: platform layer "used" belongs to it');
      await expect(stage.destroy(story.config)).rejects.toThrow(
        'the connector is not deleted: what was made through it exists: layer "win11"',
      );
      expect(changes(before, stage.pool())).toEqual([]);
      // up again
      const again = await layer.version("1");
      expect(again.disk.outputs.vdiUuid).toBe(made.disk.outputs.vdiUuid);
      await layer.drop(again);
      await image.remove();
    }));

  it("onDelete: destroy of a version in use is a warning, and it goes when it is free", () =>
    withLayer("destroyed", async (layer) => {
      const made = await layer.version("1", { seal: { onDelete: "destroy" } });
      const second = await layer.version("2", { seal: { onDelete: "destroy" } });
      const image = await attachToVm(xapi, String(made.disk.outputs.vdiUuid), "its image");
      expect(await told(() => layer.drop(made))).toMatch(/warning: version 1 of layer "destroyed" .*VM "its image"/);
      expect(await versionsOf(layer)).toMatchObject([{ version: "1", released: true }, { version: "2" }]);
      await image.remove();
      await layer.drop(second);
      expect(await versionsOf(layer)).toEqual([]);
      expect(disks(stage).filter((name) => name.startsWith("destroyed"))).toEqual(["destroyed (layer record)"]);
      // Gone at once where nothing uses it; the delete of what is gone is no error.
      await layer.drop(second);
    }));

  it("a hold that a crash left after the seal is released by the delete of the disk", () =>
    withLayer("crashed", async (layer) => {
      const disk = await layer.disk("1");
      const machine = await layer.machine(disk);
      // The run died between the seal and its answer: the engine never heard of the Finalize.
      await layer.seal(disk, "1");
      await layer.drop({ disk, machine });
      expect(await versionsOf(layer)).toMatchObject([{ version: "1", state: "Deployable", released: true }]);
    }));

  it("a hold that was lost is taken again by an update", () =>
    withLayer("hold", async (layer) => {
      const first = await layer.version("1");
      await layer.version("1");
      const kept: Version = { ...first };
      for (const key of ["disk", "machine", "seal"] as const) {
        const { changes, made } = await stage.up(first[key], first[key].inputs);
        expect(changes).toBe(true);
        kept[key] = made;
      }
      for (const made of Object.values(kept)) expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false });
      await layer.drop(kept);
      expect((await layer.entry("1")).released).toBeDefined();
    }));

  it("a rotated password and a new address reach the pool by diff and update", () =>
    withLayer("rotated", async (layer) => {
      const made = await layer.version("1");
      const old = {
        ...made.seal,
        outputs: { ...made.seal.outputs, connector: { ...story.connector, password: "expired", address: "127.0.0.1:1" } },
      };
      expect(await stage.resource("Finalize").diff(stage.front, old.id, old.outputs, made.seal.inputs)).toEqual({});
      const { outputs } = await stage.resource("Finalize").update(stage.front, old.id, old.outputs, made.seal.inputs);
      await layer.drop({ ...made, seal: { ...made.seal, outputs } });
    }));
});

it("a lost state is taken over by the connectorId, another connector's layer is refused and named", async () => {
  await withStage(async (stage) => {
    const before = stage.pool();
    const story = await Story.begin(stage);
    const layer = await story.layer("plat");
    const lost = await layer.version("1", { machine: { install: [] } });
    const stranger = await stage.create("ConnectorConfig", stage.connector());
    const foreign = { ...stage.connector(), connectorId: stranger.outputs.connectorId };
    const theirs = await stage.check("PlatformLayer", { ...layer.made.inputs, connector: foreign });
    expect(theirs.failures).toMatchObject([{ property: "name", reason: expect.stringContaining(String(story.connector.connectorId)) }]);
    const osLayer = await stage.check("OsLayer", { ...story.os.inputs, connector: foreign });
    expect(osLayer.failures).toMatchObject([{ property: "name", reason: expect.stringContaining(String(story.connector.connectorId)) }]);
    const disk = await stage.check("PackagingDisk", { ...lost.disk.inputs, connector: foreign });
    expect(disk.failures).toMatchObject([
      { property: "connector", reason: expect.stringMatching(/belongs to connector .*give its connectorId/) },
    ]);
    await stage.destroy(stranger);

    const config = await stage.create("ConnectorConfig", { ...stage.connector(), connectorId: story.connector.connectorId });
    expect(config.outputs.connectorId).toBe(story.connector.connectorId);
    const os = await stage.create("OsLayer", story.os.inputs);
    expect(os.outputs.versionId).toBe(story.os.outputs.versionId);
    const again = await story.layer("plat");
    expect(again.id).toBe(layer.id);
    const taken = await again.version("1", { machine: { install: [] } });
    expect(taken.seal.outputs).toEqual({ ...lost.seal.outputs, holder: taken.seal.outputs.holder });
    // What the lost state knew has no hold any more: its deletes change nothing.
    // dom0 holds a disk for a moment after a transfer: simulated time passes until it has let go.
    await stage.sim.clock.sleep(1_000);
    const now = stage.pool();
    await layer.drop(lost);
    for (const made of [layer.made, story.os]) await stage.destroy(made);
    expect(changes(now, stage.pool())).toEqual([]);
    await again.drop(taken);
    for (const made of [again.made, os, config]) await stage.destroy(made);
    expect(changes(before, stage.pool())).toEqual([]);
  });
});

it("retention keeps what it says and removes the rest, never what is used", async () => {
  await withStage(async (stage) => {
    const story = await Story.begin(stage, windowsGuest);
    const xapi = await connectFor(stage.front, story.connector as unknown as ConnectorCredentials);
    const layer = await story.layer("kept", { retention: { keep: 1 } });
    const names = async () => [...(await layer.record()).versions.keys()].sort();
    // Each on the OS layer, so that they may be built at the same time.
    const wish = { disk: { osVersion: "1.0" }, machine: { install: [] } };
    const built = await Promise.all(
      ["1", "2", "3", "4"].map(async (name) => {
        const disk = await layer.disk(name, wish);
        return { name, disk, machine: await layer.machine(disk, wish) };
      }),
    );
    // One after the other: which is older must be told by the time of its seal.
    const versions: Version[] = [];
    for (const { name, ...made } of built) versions.push({ ...made, seal: await layer.seal(made.disk, name, wish) });
    const [first, ...others] = versions.sort((a, b) => (String(a.seal.outputs.sealedAt) < String(b.seal.outputs.sealedAt) ? -1 : 1));
    if (first === undefined) throw new Error("no versions");
    const [oldest, older, newer, held] = [first, ...others].map(({ disk }) => String(disk.inputs.version));
    const image = await attachToVm(xapi, String(first.disk.outputs.vdiUuid), "old image");
    for (const version of versions.slice(0, 3)) await layer.drop(version);
    // Kept: the newest released one; the oldest, which is in use; the one that is held.
    expect(await names()).toEqual([oldest, newer, held].sort());
    expect((await layer.record()).audit).toMatchObject([{ event: "version removed by retention", version: older }]);
    await image.remove();
    await stage.up(layer.made, { ...layer.made.inputs, retention: { keep: 0, maxAgeDays: 365 } });
    expect(await names()).toEqual([held]);
  });
});
