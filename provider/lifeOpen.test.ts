// Versions that are not sealed yet: what a run resumes, clones anew or refuses. A kill is simulated by what it leaves: nothing more reaches the pool, and
// what the killed run knew is forgotten.
import { expect, it } from "vitest";
import { FatVolume } from "../simulator/storage/fat.ts";
import type { Entry } from "./layer/entry.ts";
import { failing, sharedStage } from "./testing/sharedStage.ts";
import { changes, halfMade, killedAt, type Made, Story, type StoryLayer, step, windowsGuest, withStage } from "./testing.ts";

const { stage, withLayer, told } = await sharedStage();

const files = (made: Made): FatVolume => {
  const volume = FatVolume.open(stage.sim.disk(String(made.outputs.vdiUuid)));
  if (volume === undefined) throw new Error("no file system");
  return volume;
};
/** As a person does it: detached, then deleted. */
async function deleteDisk(layer: StoryLayer, disk: Made): Promise<void> {
  const { xapi } = await layer.record();
  const vdi = await xapi.get("VDI", String(disk.outputs.vdiUuid));
  for (const vbd of vdi?.VBDs ?? []) await xapi.destroy("VBD", vbd);
  await xapi.destroy("VDI", vdi?.$ref ?? "");
}
const stepsRun = (entry: Entry): string[] => (entry.machine?.steps ?? []).map(({ name, state }) => `${name} ${state}`);
const text = (bytes: Uint8Array | undefined): string | undefined => (bytes === undefined ? undefined : new TextDecoder().decode(bytes));

const starts = (): number => stage.sim.log.filter(({ method }) => method.endsWith("VM.start")).length;
const machineVm = (name: string) => stage.sim.db.all("VM").find(([, vm]) => vm.name_label.startsWith(`${name} `))?.[1];

it("own unfinished work is resumed: a machine that is at work is waited for, and its steps run once", () =>
  withLayer("resumed", async (layer) => {
    const disk = await layer.disk("1");
    const before = starts();
    expect(await killedAt(stage, { message: /VM\.start/, after: true }, () => layer.machine(disk))).toBe(true);
    const machine = await layer.machine(disk);
    expect(starts()).toBe(before + 1);
    expect(stepsRun(await layer.entry("1"))).toEqual(["agent done"]);
    await layer.drop({ disk, machine, seal: await layer.seal(disk, "1") });
  }));

it("own unfinished work is destroyed when its content differs", () =>
  withLayer("differs", async (layer) => {
    await killedAt(stage, { message: /VM\.start/ }, async () => {
      const disk = await layer.disk("1", { disk: { triggers: { a: "1" } } });
      await layer.machine(disk);
    });
    const first = (await layer.entry("1")).vdi;
    let disk: Made | undefined;
    expect(
      await told(async () => {
        disk = await layer.disk("1", { disk: { triggers: { a: "2" } } });
      }),
    ).toContain("1 is cloned anew");
    expect(disk?.outputs.vdiUuid).not.toBe(first);
    expect(stage.sim.storage.has(String(first))).toBe(false);
    expect(machineVm("differs")).toBeUndefined();
    await layer.drop({ disk: disk as Made });
  }));

it("a failed step: fix the world and up again resumes at that step", () =>
  withLayer("mended", async (layer) => {
    const disk = await layer.disk("1");
    const wish = { machine: { install: [step("agent.exe"), step("needs.exe"), step("other.exe")] } };
    const half = halfMade(await failing(layer.machine(disk, wish)));
    expect(half.outputs).toMatchObject({
      ready: false,
      steps: [{ name: "agent", exitCode: 0 }, { name: "needs" }, { name: "other", exitCode: -1 }],
    });
    expect(stepsRun(await layer.entry("1"))).toEqual(["agent done", "needs failed", "other none"]);
    expect(await told(() => stage.check("PackagingDisk", disk.inputs, disk.inputs))).toContain("resumes at step needs");
    // Not ready: an update, whatever the engine remembers of it.
    expect(await stage.resource("PackagingMachine").diff(stage.front, half.id, half.outputs, half.inputs)).toEqual({ changes: true });
    expect((await stage.refresh(half))?.outputs.ready).toBe(false);

    const volume = files(disk);
    volume.writeFile("mended.txt", "now it is there");
    volume.close();
    const agentRuns = () => stage.sim.guestLog.filter(({ line }) => line.includes("agent.exe")).length;
    const before = agentRuns();
    const { made } = await stage.up(half, half.inputs);
    expect(made.outputs).toMatchObject({ ready: true, steps: [{ exitCode: 0 }, { exitCode: 0 }, { exitCode: 0 }] });
    expect(agentRuns()).toBe(before);
    const seal = await layer.seal(disk, "1");
    expect(seal.outputs.vdiUuid).toBe(disk.outputs.vdiUuid);
    await layer.drop({ disk, machine: made, seal });
  }));

it("a changed step clones the disk anew: what the old steps installed is not in the version", () =>
  withLayer("changed", async (layer) => {
    const disk = await layer.disk("1");
    const machine = await layer.machine(disk);
    expect(text(files(disk).readFile("Program Files/Agent/agent.txt"))).toBe("1");
    // By the machine itself: a program without triggers on its disk.
    const wish = { machine: { install: [step("other.exe")] } };
    const { made } = await stage.up(machine, layer.inputs("1", wish).machine(disk.id));
    const entry = await layer.entry("1");
    expect(entry.vdi).not.toBe(disk.outputs.vdiUuid);
    expect(stage.sim.storage.has(String(disk.outputs.vdiUuid))).toBe(false);
    const seal = await layer.seal(disk, "1", wish);
    expect(files(seal).readFile("Program Files/Agent/agent.txt")).toBeUndefined();
    expect(text(files(seal).readFile("Program Files/Other/other.txt"))).toBe("1");
    // The disk's own outputs catch up.
    expect((await stage.refresh(disk))?.outputs.vdiUuid).toBe(entry.vdi);
    await layer.drop({ disk, machine: made, seal });
  }));

it("steps in another order are other content", () =>
  withLayer("order", async (layer) => {
    const disk = await layer.disk("1");
    const install = [step("agent.exe"), step("other.exe")];
    const machine = await layer.machine(disk, { machine: { install } });
    const { made } = await stage.up(machine, layer.inputs("1", { machine: { install: install.reverse() } }).machine(disk.id));
    expect((await layer.entry("1")).vdi).not.toBe(disk.outputs.vdiUuid);
    await layer.drop({ disk, machine: made });
  }));

it("a changed trigger of an open version clones its disk anew in place, and the machine packages again", () =>
  withLayer("triggers", async (layer) => {
    const disk = await layer.disk("1", { disk: { triggers: { a: "1" } } });
    const machine = await layer.machine(disk);
    const { made, replaces } = await stage.up(disk, layer.inputs("1", { disk: { triggers: { a: "2" } } }).disk);
    expect(replaces).toEqual([]);
    expect(made.id).toBe(disk.id);
    expect(made.outputs.vdiUuid).not.toBe(disk.outputs.vdiUuid);
    expect(machineVm("triggers")).toBeUndefined();
    await expect(layer.seal(made, "1")).rejects.toThrow("version 1 can't be finalized: its install steps are not done");
    const again = await stage.up(machine, machine.inputs);
    expect(again.changes).toBe(true);
    expect(text(files(made).readFile("Program Files/Agent/agent.txt"))).toBe("1");
    await layer.drop({ disk: made, machine: again.made });
  }));

it("an open version is renamed in place, its disk and machine kept", () =>
  withLayer("renamed", async (layer) => {
    const disk = await layer.disk("1");
    const half = halfMade(await failing(layer.machine(disk, { machine: { install: [step("agent.exe"), step("fails.exe")] } })));
    const { made, replaces } = await stage.up(disk, layer.inputs("1.1").disk);
    expect(replaces).toEqual([]);
    expect(made).toMatchObject({ id: disk.id, outputs: { vdiUuid: disk.outputs.vdiUuid } });
    expect([...(await layer.record()).versions.keys()]).toEqual(["1.1"]);
    const vdi = stage.sim.db.all("VDI").find(([, { uuid }]) => uuid === disk.outputs.vdiUuid)?.[1];
    expect(vdi).toMatchObject({ name_label: "renamed 1.1", name_description: expect.stringMatching(/^xenlayer renamed\/1\.1 /) });
    await layer.drop({ disk: made, machine: half });
  }));

it("a rename that was killed between its writes is finished by the next", () =>
  withLayer("half renamed", async (layer) => {
    const disk = await layer.disk("1");
    const inputs = layer.inputs("2").disk;
    expect(await killedAt(stage, { message: /VDI\.add_to_other_config/, skip: 1, after: true }, () => stage.up(disk, inputs))).toBe(true);
    expect([...(await layer.record()).versions.keys()]).toEqual(["1", "2"]);
    const { made } = await stage.up(disk, inputs);
    expect([...(await layer.record()).versions.keys()]).toEqual(["2"]);
    await layer.drop({ disk: made });
  }));

it("a version that is deleted after its rename was killed is gone under both names, wherever the delete is killed, too", () =>
  withLayer("half renamed, deleted", async (layer) => {
    const before = stage.pool();
    let killed = true;
    for (let skip = 0; killed; skip++) {
      stage.front.program = {};
      const disk = await layer.disk("1");
      const renames = () => stage.up(disk, layer.inputs("2").disk);
      expect(await killedAt(stage, { message: /VDI\.add_to_other_config/, skip: 1, after: true }, renames)).toBe(true);
      expect([...(await layer.record()).versions.keys()]).toEqual(["1", "2"]);
      const removes = /VDI\.(remove_from_other_config|destroy)/;
      killed = await killedAt(stage, { message: removes, skip, after: true }, () => stage.destroy(disk));
      await stage.destroy(disk);
      expect([...(await layer.record()).versions.keys()]).toEqual([]);
      expect(changes(before, stage.pool())).toEqual([]);
    }
    // A name that another program has taken meanwhile is its own.
    stage.front.program = {};
    const disk = await layer.disk("1");
    await killedAt(stage, { message: /VDI\.add_to_other_config/, skip: 1, after: true }, () => stage.up(disk, layer.inputs("2").disk));
    const other = await layer.disk("2", { disk: { osVersion: "1.0" } });
    await stage.destroy(disk);
    expect([...(await layer.record()).versions.keys()]).toEqual(["2"]);
    await layer.drop({ disk: other });
  }));

it("a disk that somebody deleted is made anew, and nothing is sealed before its steps have run again", () =>
  withLayer("deleted", async (layer) => {
    const disk = await layer.disk("1");
    const machine = await layer.machine(disk);
    await deleteDisk(layer, disk);
    expect((await stage.up(disk, disk.inputs)).replaces).toEqual(["version"]);
    const again = await stage.create("PackagingDisk", disk.inputs);
    await stage.destroy(disk);
    await expect(layer.seal(again, "1")).rejects.toThrow("its install steps are not done");
    const { changes, made } = await stage.up(machine, machine.inputs);
    expect(changes).toBe(true);
    expect(text(files(again).readFile("Program Files/Agent/agent.txt"))).toBe("1");
    await layer.drop({ disk: again, machine: made });
  }));

it("the same when only the machine notices", () =>
  withLayer("deleted late", async (layer) => {
    const disk = await layer.disk("1");
    const half = halfMade(await failing(layer.machine(disk, { machine: { install: [step("agent.exe"), step("fails.exe")] } })));
    await deleteDisk(layer, disk);
    const { outputs } = await stage
      .resource("PackagingMachine")
      .update(stage.front, half.id, half.outputs, layer.inputs("1").machine(disk.id));
    expect(outputs).toMatchObject({ ready: true, steps: [{ name: "agent", exitCode: 0 }] });
    await layer.drop({ disk, machine: { ...half, outputs } });
  }));

it("a machine that somebody deleted is made anew around its disk, which keeps what was done", () =>
  withLayer("no machine", async (layer) => {
    const disk = await layer.disk("1");
    const wish = { machine: { install: [step("agent.exe"), step("needs.exe")] } };
    const half = halfMade(await failing(layer.machine(disk, wish)));
    const { xapi } = await layer.record();
    await xapi.destroy("VM", (await xapi.get("VM", String(half.outputs.vmUuid)))?.$ref ?? "");
    const volume = files(disk);
    volume.writeFile("mended.txt", "");
    volume.close();
    const { made } = await stage.up(half, half.inputs);
    expect(made.outputs).toMatchObject({ ready: true });
    expect(made.outputs.vmUuid).not.toBe(half.outputs.vmUuid);
    expect((await layer.entry("1")).vdi).toBe(disk.outputs.vdiUuid);
    await layer.drop({ disk, machine: made, seal: await layer.seal(disk, "1", wish) });
  }));

it("onFailure: delete takes the machine away, and the next up starts from a fresh clone", () =>
  withLayer("onFailure", async (layer) => {
    const disk = await layer.disk("1");
    const wish = { machine: { install: [step("agent.exe"), step("fails.exe")], onFailure: "delete" } };
    const error = await failing(layer.machine(disk, wish));
    expect(() => halfMade(error)).toThrow();
    expect(String(error)).toMatch(/exit code 1603/);
    expect(machineVm("onFailure")).toBeUndefined();
    expect(stage.sim.db.all("VDI").filter(([, { name_label }]) => name_label.startsWith("onFailure"))).toHaveLength(2);
    const machine = await layer.machine(disk, { machine: { onFailure: "delete" } });
    expect((await layer.entry("1")).vdi).not.toBe(disk.outputs.vdiUuid);
    await layer.drop({ disk, machine });
  }));

it("a deleted machine's disk is not gone on with: the next machine clones it anew", () =>
  withLayer("removed", async (layer) => {
    const disk = await layer.disk("1");
    await stage.destroy(await layer.machine(disk));
    expect(machineVm("removed")).toBeUndefined();
    await expect(layer.seal(disk, "1")).rejects.toThrow("its install steps are not done");
    const machine = await layer.machine(disk);
    expect((await layer.entry("1")).vdi).not.toBe(disk.outputs.vdiUuid);
    await layer.drop({ disk, machine });
  }));

it("other processors and memory make a halted machine anew around its disk", () =>
  withLayer("hardware", async (layer) => {
    const disk = await layer.disk("1");
    const failingSteps = { install: [step("agent.exe"), step("fails.exe")] };
    const half = halfMade(await failing(layer.machine(disk, { machine: failingSteps })));
    const bigger = layer.inputs("1", { machine: { ...failingSteps, cpus: 4, memoryGiB: 6 } }).machine(disk.id);
    const again = halfMade(await failing(stage.up(half, bigger)));
    expect(machineVm("hardware")).toMatchObject({ VCPUs_max: 4, memory_static_max: 6 * 2 ** 30 });
    expect((await layer.entry("1")).vdi).toBe(disk.outputs.vdiUuid);
    await layer.drop({ disk, machine: again });
  }));

it("two new versions of one program must name their bases; named, both are built", () =>
  withLayer("two", async (layer) => {
    const first = await layer.version("1", { machine: { install: [] } });
    Object.assign(stage.front, { program: {} });
    const program = { ...stage.front, program: {} };
    const check = (version: string, more = {}) =>
      stage.resource("PackagingDisk").check(program, undefined, { ...layer.inputs(version).disk, ...more });
    expect((await check("2")).failures).toEqual([]);
    expect((await check("3")).failures).toEqual([
      {
        property: "baseVersion",
        reason: '"2" and "3" are both new in layer "two": name what this one is based on (baseVersion or osVersion)',
      },
    ]);
    expect((await check("3", { baseVersion: "1" })).failures).toEqual([]);
    expect((await check("3", { osVersion: "1.0" })).failures).toEqual([]);
    expect((await check("3", { osVersion: "1.0", baseVersion: "1" })).failures).toMatchObject([{ property: "osVersion" }]);
    const second = await layer.disk("2");
    const third = await layer.disk("3", { disk: { osVersion: "1.0" } });
    expect([second.outputs.basedOn, third.outputs.basedOn]).toEqual(["two/1", "win11/1.0"]);
    // Open versions keep the base that was chosen, also when a newer one is sealed.
    const machine = await layer.machine(second);
    const seal = await layer.seal(second, "2");
    expect((await stage.check("PackagingDisk", third.inputs, third.inputs)).inputs.base).toBe("win11/1.0");
    await layer.drop({ disk: third });
    await layer.drop({ disk: second, machine, seal });
    await layer.drop(first);
  }));

it("osVersion rebases, baseVersion starts from an older version, and an unknown one is refused by name", () =>
  withLayer("bases", async (layer) => {
    const one = await layer.version("1", { machine: { install: [step("agent.exe")] } });
    const two = await layer.version("2", { machine: { install: [step("other.exe")] } });
    expect(text(files(two.seal).readFile("Program Files/Agent/agent.txt"))).toBe("1");
    const older = await layer.disk("1.1", { disk: { baseVersion: "1" } });
    expect(older.outputs.basedOn).toBe("bases/1");
    expect(files(older).readFile("Program Files/Other/other.txt")).toBeUndefined();
    const rebased = await layer.disk("3", { disk: { osVersion: "1.0" } });
    expect(rebased.outputs.basedOn).toBe("win11/1.0");
    expect(files(rebased).readFile("Program Files/Agent/agent.txt")).toBeUndefined();
    const refused = await stage.check("PackagingDisk", layer.inputs("4", { disk: { baseVersion: "9" } }).disk);
    expect(refused.failures).toEqual([{ property: "baseVersion", reason: 'layer "bases" has no sealed version "9"; it has 1, 2' }]);
    // Another base of an open version clones its disk anew.
    const moved = await stage.up(rebased, layer.inputs("3", { disk: { baseVersion: "2" } }).disk);
    expect(moved.made.outputs).toMatchObject({ basedOn: "bases/2" });
    expect(moved.made.outputs.vdiUuid).not.toBe(rebased.outputs.vdiUuid);
    for (const disk of [older, moved.made]) await layer.drop({ disk });
    for (const version of [one, two]) await layer.drop(version);
  }));

it("a disk only grows, and its file name is the disk's name", () =>
  withLayer("size", async (layer) => {
    const refused = await stage.check("PackagingDisk", layer.inputs("1", { disk: { sizeGiB: 0.01 } }).disk);
    expect(refused.failures).toEqual([
      { property: "sizeGiB", reason: "0.01 GiB is less than the 0.07 GiB of win11/1.0: a disk can only grow" },
    ]);
    const disk = await layer.disk("1", { disk: { sizeGiB: 1, fileName: "my disk" } });
    const vdi = () => stage.sim.db.all("VDI").find(([, { uuid }]) => uuid === disk.outputs.vdiUuid)?.[1];
    expect(vdi()).toMatchObject({ name_label: "my disk", virtual_size: 2 ** 30 });
    expect(disk.outputs.location).toBe(`Local storage/my disk (${disk.outputs.vdiUuid})`);
    const { made } = await stage.up(disk, layer.inputs("1", { disk: { sizeGiB: 1, fileName: "other name" } }).disk);
    expect(vdi()).toMatchObject({ name_label: "other name" });
    expect(made.outputs.location).toContain("other name");
    const taken = await stage.check("PackagingDisk", layer.inputs("2", { disk: { osVersion: "1.0", fileName: "other name" } }).disk);
    expect(taken.failures).toMatchObject([
      { property: "fileName", reason: expect.stringMatching(/taken by disk .*give another fileName/) },
    ]);
    await layer.drop({ disk: made });
  }));

it("a machine that somebody has started is not written under: it is to be shut down first", () =>
  withLayer("started", async (layer) => {
    const disk = await layer.disk("1");
    const machine = await layer.machine(disk);
    const { xapi } = await layer.record();
    const vm = await xapi.get("VM", String(machine.outputs.vmUuid));
    await xapi.task("VM.start", [vm?.$ref, false, false]);
    await expect(layer.seal(disk, "1")).rejects.toThrow(
      /packaging machine "started 1 packaging .*" is running, and not by an order of xenlayer/,
    );
    await xapi.task("VM.hard_shutdown", [vm?.$ref]);
    await layer.drop({ disk, machine, seal: await layer.seal(disk, "1") });
  }));

it("a disk is copied, not cloned, into another storage repository", async () => {
  await withStage(
    async (other) => {
      const before = other.pool();
      const begun = await Story.begin(other, windowsGuest);
      const layer = await begun.layer("plat");
      const elsewhere = { ...begun.connector, storageRepository: "Second shared NFS" };
      const disk = await layer.disk("1", { disk: { connector: elsewhere } });
      expect(String(disk.outputs.location)).toMatch(/^Second shared NFS\/plat 1 /);
      const copy = other.sim.db.all("VDI").find(([, { uuid }]) => uuid === disk.outputs.vdiUuid)?.[1];
      expect(copy?.sm_config).toEqual({});
      const machine = await layer.machine(disk, { machine: { connector: elsewhere } });
      const seal = await layer.seal(disk, "1", { seal: { connector: elsewhere } });
      // The open version of before moves with its connector.
      const open = await layer.disk("2");
      const moved = await other.up(open, { ...open.inputs, connector: elsewhere });
      expect(String(moved.made.outputs.location)).toMatch(/^Second shared NFS/);
      await layer.drop({ disk: moved.made });
      await layer.drop({ disk, machine, seal });
      await begun.end(layer);
      expect(changes(before, other.pool())).toEqual([]);
    },
    { pool: "ha" },
  );
});
