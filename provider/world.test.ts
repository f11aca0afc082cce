// The world changes behind our back: what people, backups and the storage do to our objects is seen by refresh as what it is, repaired where the durable copy and
// what is recorded allow it, never mistaken, and what is somebody else's is never deleted.
import { expect, it, vi } from "vitest";
import { FatVolume } from "../simulator/storage/fat.ts";
import { getLayerVersions, getVersionReport } from "./functions.ts";
import { survey } from "./layer/survey.ts";
import { inMachine } from "./testing/machines.ts";
import { anotherRun } from "./testing/runs.ts";
import { failing, reach, sharedStage } from "./testing/sharedStage.ts";
import { changes, halfMade, type Made, type Stage, Story, step, withStage } from "./testing.ts";
import type { Xapi } from "./xapi/client.ts";
import { NULL_REF, type Rec } from "./xapi/records.ts";

// Whole lives of versions, on whatever machine.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const quick = { machine: { install: [] } };

const { stage, story, xapi, withLayer, told } = await sharedStage();

async function got<C extends "VDI" | "VM">(from: Xapi, cls: C, uuid: unknown): Promise<Rec<C>> {
  const found = await from.get(cls, String(uuid));
  if (found === undefined) throw new Error(`${cls} ${uuid} is gone`);
  return found;
}
const labels = (prefix: string): string[] =>
  [...stage.sim.db.all("VDI"), ...stage.sim.db.all("VM")]
    .map(([, { name_label }]) => name_label)
    .filter((label) => label.startsWith(prefix));
const holds = (vdiUuid: unknown, path: string, on: Stage = stage): boolean =>
  FatVolume.open(on.sim.disk(String(vdiUuid)))?.readFile(path) !== undefined;

it("a record that somebody has renamed is still the layer's: no second layer is made, and the next up names it back", () =>
  withLayer("plat", async (layer) => {
    const version = await layer.version("1", quick);
    const { $ref } = await got(xapi, "VDI", layer.id);
    await xapi.call("VDI.set_name_label", $ref, "old stuff, delete?");
    // --replace and taint: create, then the delete of the former, which must not be the only one.
    const again = await stage.create("PlatformLayer", layer.made.inputs);
    expect(again.id).toBe(layer.id);
    await stage.destroy(layer.made);
    expect((await got(xapi, "VDI", layer.id)).name_label).toBe("plat (layer record)");
    await xapi.call("VDI.set_name_label", $ref, "again");
    const { made } = await stage.up(again, again.inputs);
    expect((await got(xapi, "VDI", layer.id)).name_label).toBe("plat (layer record)");
    // Under a name that another layer wants, it is in the way, and says whose it is.
    await xapi.call("VDI.set_name_label", $ref, "other (layer record)");
    await expect(story.layer("other")).rejects.toThrow('is named "other (layer record)", and is the record of layer "plat"');
    Object.assign(layer.made, (await stage.up(made, made.inputs)).made);
    await layer.drop(version);
  }));

it("a disk that somebody has renamed and tagged shows its name in a refresh, and gets its own back; the tag stays", () =>
  withLayer("renamed", async (layer) => {
    const version = await layer.version("1", quick);
    const { $ref } = await got(xapi, "VDI", version.disk.outputs.vdiUuid);
    await xapi.call("VDI.set_name_label", $ref, "Bob's disk");
    await xapi.call("VDI.add_tags", $ref, "bob");
    await xapi.call("VDI.add_to_other_config", $ref, "bob:note", "mine");
    const seen = await stage.refresh(version.disk);
    expect(seen?.outputs.location).toBe(`Local storage/Bob's disk (${version.disk.outputs.vdiUuid})`);
    const { made, replaces } = await stage.up(version.disk, version.disk.inputs);
    expect(replaces).toEqual([]);
    expect(made.outputs.location).toBe(version.disk.outputs.location);
    expect(await got(xapi, "VDI", version.disk.outputs.vdiUuid)).toMatchObject({
      name_label: "renamed 1",
      tags: ["bob"],
      other_config: { "bob:note": "mine" },
    });
    await layer.drop({ ...version, disk: made });
  }));

it("a packaging machine that somebody has renamed is gone on with, and removed with its version", () =>
  withLayer("machine", async (layer) => {
    const disk = await layer.disk("1");
    const half = halfMade(await failing(layer.machine(disk, { machine: { install: [step("agent.exe"), step("needs.exe")] } })));
    const vm = await got(xapi, "VM", half.outputs.vmUuid);
    await xapi.call("VM.set_name_label", vm.$ref, "do not touch");
    const volume = FatVolume.open(stage.sim.disk(String(disk.outputs.vdiUuid)));
    volume?.writeFile("mended.txt", "");
    volume?.close();
    const { made } = await stage.up(half, half.inputs);
    expect(made.outputs).toMatchObject({ ready: true, vmUuid: half.outputs.vmUuid });
    const seal = await layer.seal(disk, "1");
    expect(labels("do not touch")).toEqual([]);
    await layer.drop({ disk, machine: made, seal });
  }));

it("a copy of a packaging machine under its own name, as a restored backup has it, is neither taken nor removed, whatever becomes of ours", () =>
  withLayer("copied", async (layer) => {
    const disk = await layer.disk("1");
    const machine = await layer.machine(disk);
    const ours = await got(xapi, "VM", machine.outputs.vmUuid);
    await xapi.call("VM.set_blocked_operations", ours.$ref, {});
    const ref = await xapi.call<string>("VM.clone", ours.$ref, ours.name_label);
    const theirs = async () => {
      const { VBDs, name_label, power_state } = (await xapi.record("VM", ref)) ?? { VBDs: [] };
      return { drives: VBDs.length, name_label, power_state };
    };
    const before = await theirs();
    expect(before.drives).toBeGreaterThan(1);
    // Ours is deleted by somebody: another is made, not theirs taken.
    await xapi.destroy("VM", ours.$ref);
    const { made } = await stage.up(machine, machine.inputs);
    expect(made.outputs.vmUuid).not.toBe((await xapi.record("VM", ref))?.uuid);
    expect(await theirs()).toEqual(before);
    const seal = await layer.seal(disk, "1");
    expect(await theirs()).toEqual(before);
    await layer.drop({ disk, machine: made, seal });
    await stage.destroy(layer.made);
    expect(await theirs()).toEqual(before);
    const told = (await survey(xapi)).filter(({ vms }) => vms.length > 0);
    expect(told).toMatchObject([{ fate: "in doubt", why: "a copy or snapshot that somebody made", vms: [{ $ref: ref }] }]);
    const { VBDs = [] } = (await xapi.record("VM", ref)) ?? {};
    const drives = await Promise.all(VBDs.map((vbd) => xapi.record("VBD", vbd)));
    await xapi.destroy("VM", ref);
    for (const drive of drives) if (drive?.type === "Disk") await xapi.destroy("VDI", drive.VDI);
  }));

it("a packaging machine whose clone came late, after another was made in its place, goes with that", () =>
  withLayer("late machine", async (layer) => {
    const disk = await layer.disk("1");
    const half = halfMade(await failing(layer.machine(disk, { machine: { install: [step("fails.exe")] } })));
    const { name_label } = await got(xapi, "VM", half.outputs.vmUuid);
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    await xapi.call("VM.clone", template?.$ref, name_label);
    await layer.drop({ disk, machine: half });
    expect(labels(name_label)).toEqual([]);
  }));

it("a payload disk that somebody has deleted is made anew, and the steps are ordered again", () =>
  withLayer("payload", async (layer) => {
    const disk = await layer.disk("1");
    const install = [step("agent.exe"), step("fails.exe")];
    const half = halfMade(await failing(layer.machine(disk, { machine: { install } })));
    await xapi.destroy("VDI", (await got(xapi, "VDI", (await layer.entry("1")).machine?.payload)).$ref);
    const { made } = await stage.up(half, layer.inputs("1").machine(disk.id));
    expect(made.outputs).toMatchObject({ ready: true, steps: [{ name: "agent", exitCode: 0 }] });
    await layer.drop({ disk, machine: made, seal: await layer.seal(disk, "1") });
  }));

it("evidence that somebody has deleted is missed where it is asked for; the version is what it was", () =>
  withLayer("bare", async (layer) => {
    const version = await layer.version("1", quick);
    await xapi.destroy("VDI", (await got(xapi, "VDI", (await layer.entry("1")).sealed?.evidence)).$ref);
    const asked = { connector: story.connector, versionId: String(version.seal.outputs.versionId) };
    await expect(getVersionReport(stage.front, asked)).rejects.toThrow('version 1 of layer "bare" has no evidence: its disk is gone');
    for (const made of Object.values(version)) {
      expect((await stage.refresh(made))?.outputs).toEqual(made.outputs);
      expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false });
    }
    await layer.drop(version);
  }));

it("an open version's disk that another machine uses is named, and nothing of that machine is touched", () =>
  withLayer("attached", async (layer) => {
    const disk = await layer.disk("1");
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    const vm = await xapi.call<string>("VM.clone", template?.$ref, "somebody's machine");
    await xapi.call("VM.set_is_a_template", vm, false);
    const { $ref: VDI } = await got(xapi, "VDI", disk.outputs.vdiUuid);
    const drive = { VM: vm, VDI, userdevice: "0", bootable: true, mode: "RW", type: "Disk", unpluggable: false, empty: false };
    await xapi.call("VBD.create", { ...drive, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} });
    await xapi.task("VM.start", [vm, true, false]);
    const error = await failing(layer.machine(disk));
    expect(String(error)).toMatch(new RegExp(`VM\\.start failed: VDI_IN_USE \\(VDI "attached 1" \\(${disk.outputs.vdiUuid}\\)`));
    expect((await xapi.record("VM", vm))?.power_state).toBe("Paused");
    await xapi.task("VM.hard_shutdown", [vm]);
    await xapi.destroy("VM", vm);
    const machine = await stage.create("PackagingMachine", layer.inputs("1").machine(disk.id));
    await layer.drop({ disk, machine, seal: await layer.seal(disk, "1") });
  }));

it("an open version whose disk has lost its marks keeps what was installed, whatever else is changed", () =>
  withLayer("unmarked", async (layer) => {
    const disk = await layer.disk("1");
    const machine = await layer.machine(disk);
    const vdi = await got(xapi, "VDI", disk.outputs.vdiUuid);
    await xapi.call("VDI.set_other_config", vdi.$ref, {});
    const { made } = await stage.up(disk, { ...disk.inputs, comment: "another word", fileName: "another name" });
    expect(made.outputs.vdiUuid).toBe(vdi.uuid);
    expect((await got(xapi, "VDI", vdi.uuid)).other_config).toMatchObject({ "xenlayer:uuid": vdi.uuid });
    const seal = await layer.seal(made, "1");
    expect(holds(seal.outputs.vdiUuid, "Program Files/Agent/agent.txt")).toBe(true);
    await layer.drop({ disk: made, machine, seal });
  }));

it("disks that were migrated to other storage are followed: the OS, a base, an open version and its evidence", async () => {
  await withStage(
    async (own) => {
      const before = own.pool();
      const begun = await Story.begin(own);
      const pool = await reach(own, begun);
      const [second] = await pool.find("SR", { name_label: "Second shared NFS" });
      const [template] = await pool.find("VM", { name_label: "xenlayer-packaging" });
      /** As XenCenter's "Move Virtual Disk" does it: for disks of machines. */
      const migrate = async (uuid: unknown): Promise<string> => {
        const { $ref: VDI, VBDs } = await got(pool, "VDI", uuid);
        const vm = VBDs.length > 0 ? undefined : await pool.call<string>("VM.clone", template?.$ref, "mover");
        if (vm !== undefined) {
          await pool.call("VM.set_is_a_template", vm, false);
          const drive = { VM: vm, VDI, userdevice: "0", bootable: true, mode: "RW", type: "Disk", unpluggable: false, empty: false };
          await pool.call("VBD.create", { ...drive, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} });
        }
        const moved = await pool.record("VDI", await pool.task<string>("VDI.pool_migrate", [VDI, second?.$ref, {}]));
        if (vm !== undefined) await pool.destroy("VM", vm);
        return moved?.uuid ?? "";
      };
      const os = await migrate(begun.os.outputs.vdiUuid);
      expect((await own.refresh(begun.os))?.outputs.vdiUuid).toBe(os);
      const layer = await begun.layer("plat");
      // Before any up has mended it.
      const disk = await layer.disk("1");
      const mended = await own.up(begun.os, begun.os.inputs);
      expect(mended).toMatchObject({ changes: true, replaces: [], made: { outputs: { vdiUuid: os } } });
      const machine = await layer.machine(disk);
      const open = await migrate(disk.outputs.vdiUuid);
      const seen = await own.refresh(disk);
      expect(seen?.outputs).toMatchObject({ vdiUuid: open, location: `Second shared NFS/plat 1 (${open})` });
      const { made, replaces } = await own.up(seen as Made, disk.inputs);
      expect(replaces).toEqual([]);
      expect(made.outputs.vdiUuid).toBe(open);
      const seal = await layer.seal(made, "1");
      expect(holds(seal.outputs.vdiUuid, "Program Files/Agent/agent.txt", own)).toBe(true);
      const sealed = await migrate(seal.outputs.vdiUuid);
      const report = () => getVersionReport(own.front, { connector: begun.connector, versionId: String(seal.outputs.versionId) });
      const { text } = await report();
      const evidence = await migrate((await layer.entry("1")).sealed?.evidence);
      expect((await report()).report).toMatchObject({ state: "ready", sealed: { asSealed: true } });
      expect((await got(pool, "VDI", evidence)).other_config).toEqual({});
      expect((await report()).text).toBe(text);
      const next = await layer.disk("2");
      expect(next.outputs.basedOn).toBe("plat/1");
      expect(await own.up(seal, seal.inputs)).toMatchObject({ replaces: [], made: { outputs: { vdiUuid: sealed } } });
      await layer.drop({ disk: next });
      await layer.drop({ disk: made, machine, seal });
      Object.assign(begun.os, mended.made);
      await begun.end(layer);
      expect(changes(before, own.pool())).toEqual([]);
    },
    { pool: "ha" },
  );
});

it("a migrated disk that a VM has is not taken for a version whose own was deleted; what is taken by its description alone is told for good", () =>
  withLayer("imaged", async (layer) => {
    const { disk, machine, seal } = await layer.version("1", quick);
    const { $ref, SR, uuid } = await got(xapi, "VDI", disk.outputs.vdiUuid);
    const image = await xapi.task<string>("VDI.copy", [$ref, SR, NULL_REF, NULL_REF]);
    await xapi.call("VDI.set_other_config", image, {});
    await xapi.call("VDI.set_name_label", image, "golden image");
    const remove = await inMachine(xapi, image);
    await xapi.destroy("VDI", $ref);
    const theirs = await xapi.record("VDI", image);
    const refusal = `the disk of version 1 of layer "imaged" (${uuid}) is gone, and another that says that it is it, "golden image" (${theirs?.uuid}), is used by VM "an image"`;
    const asked = [
      () => stage.refresh(disk),
      () => stage.create("PackagingDisk", disk.inputs),
      () => layer.disk("2"),
      () => stage.destroy(layer.made),
    ];
    for (const ask of asked) await expect(ask()).rejects.toThrow(refusal);
    expect(await xapi.record("VDI", image)).toEqual(theirs);
    await remove();
    stage.front.program = {};
    expect(await told(async () => Object.assign(disk, (await stage.up(disk, disk.inputs)).made))).toContain(
      `version 1 of layer "imaged" was moved: its disk ${uuid} is gone, and disk ${theirs?.uuid}, described as its own, is taken for it`,
    );
    expect(disk.outputs.vdiUuid).toBe(theirs?.uuid);
    await layer.drop({ disk, machine, seal });
  }));

it("an SR that was forgotten and introduced again has its layers back; an open version, which no durable copy holds, is built again", async () => {
  await withStage(async (own) => {
    const begun = await Story.begin(own);
    const layer = await begun.layer("plat");
    const version = await layer.version("1", quick);
    const disk = await layer.disk("2");
    const machine = await layer.machine(disk);
    const pool = await reach(own, begun);
    const [sr] = await pool.find("SR", { name_label: "Local storage" });
    const [pbd] = await pool.find("PBD", { SR: sr?.$ref ?? "" });
    // A machine has its disks from an SR that goes: its drives dangle and are collected.
    await pool.destroy("VM", (await got(pool, "VM", machine.outputs.vmUuid)).$ref);
    await pool.call("PBD.unplug", pbd?.$ref);
    await pool.call("SR.forget", sr?.$ref);
    for (const made of [begun.os, layer.made, version.disk])
      await expect(own.refresh(made)).rejects.toThrow('there is no storage repository "Local storage"');
    const { uuid, name_label, name_description, type, content_type, shared } = sr as Rec<"SR">;
    const ref = await pool.call<string>("SR.introduce", uuid, name_label, name_description, type, content_type, shared, {});
    const plug = { host: pbd?.host, SR: ref, device_config: pbd?.device_config, other_config: {} };
    await pool.call("PBD.plug", await pool.call<string>("PBD.create", plug));
    await pool.call("SR.scan", ref);
    const run = await anotherRun(own);
    for (const made of [begun.os, layer.made, ...Object.values(version)]) {
      const up = await run.up(made);
      expect([made.type, up.replaces]).toEqual([made.type, []]);
      Object.assign(made, up.made);
    }
    expect((await run.up(disk)).replaces).toEqual(["version"]);
    const again = await run.create("PackagingDisk", disk.inputs);
    expect(again.outputs.vdiUuid).not.toBe(disk.outputs.vdiUuid);
    await run.close();
    await layer.drop({ disk: again });
    await layer.drop(version);
    await begun.end(layer);
    // What nobody can tell whose it is stays: the open version's disk, and its payload.
    const left = own.sim.db.all("VDI").flatMap(([, { SR, uuid: disk }]) => (SR === ref ? [disk] : []));
    expect(left).toHaveLength(2);
    expect(left).toContain(disk.outputs.vdiUuid);
  });
});

it("a pool database of before the seal makes no open version of a sealed one: it is written back, and its disk stays as it is", () =>
  withLayer("restored", async (layer) => {
    const { $ref } = await got(xapi, "VDI", layer.id);
    const otherConfig = async () => (await got(xapi, "VDI", layer.id)).other_config;
    const none = await otherConfig();
    const disk = await layer.disk("1");
    const begun = await otherConfig();
    const machine = await layer.machine(disk);
    const packaged = await otherConfig();
    const seal = await layer.seal(disk, "1");
    const sealed = { entry: await layer.entry("1"), vdi: await got(xapi, "VDI", disk.outputs.vdiUuid) };
    for (const [what, marks] of Object.entries({ none, begun, packaged })) {
      await xapi.call("VDI.set_other_config", $ref, marks);
      const run = await anotherRun(stage);
      const said = await told(async () => {
        for (const made of [disk, machine, seal])
          expect([what, await run.up(made)]).toMatchObject([what, { replaces: [], changes: false }]);
      });
      expect(said).toContain('version 1 of layer "restored" was sealed, and its marks say otherwise: they are older');
      expect(await run.refresh(seal)).toBeDefined();
      await run.close();
      expect(await layer.entry("1")).toEqual(sealed.entry);
    }
    // A lost state on top of it.
    await xapi.call("VDI.set_other_config", $ref, packaged);
    const run = await anotherRun(stage);
    const taken = await run.create("PackagingDisk", disk.inputs);
    expect((await run.create("Finalize", seal.inputs)).outputs.sealedAt).toBe(seal.outputs.sealedAt);
    await run.close();
    expect((await got(xapi, "VDI", taken.outputs.vdiUuid)).physical_utilisation).toBe(sealed.vdi.physical_utilisation);
  }));

it("older keys that come back beside newer ones change nothing, and of a removed version they show what is not there", () =>
  withLayer("reappear", async (layer) => {
    const version = await layer.version("1", quick);
    const { $ref } = await got(xapi, "VDI", layer.id);
    const entry = await layer.entry("1");
    const older = JSON.stringify({ ...entry, state: "Editing", sealed: undefined });
    await xapi.call("VDI.add_to_other_config", $ref, "xenlayer:version:1:1", older);
    await xapi.call("VDI.add_to_other_config", $ref, "xenlayer:version:gone:1", JSON.stringify({ ...entry, id: "f".repeat(32), vdi: "0" }));
    for (const made of Object.values(version)) expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false });
    const { versions } = await getLayerVersions(stage.front, { connector: story.connector, layer: layer.id });
    expect(versions).toMatchObject([
      { version: "1", state: "Deployable" },
      { version: "gone", state: "Broken" },
    ]);
    await layer.drop(version);
  }));

it("without its template the connector says so, and what was made is refreshed and destroyed all the same", async () => {
  await withStage(async (own) => {
    const begun = await Story.begin(own);
    const layer = await begun.layer("plat");
    const version = await layer.version("1", quick);
    const disk = await layer.disk("2");
    const pool = await reach(own, begun);
    const [template] = await pool.find("VM", { name_label: "xenlayer-packaging" });
    await pool.destroy("VM", template?.$ref ?? "");
    expect((await own.check("ConnectorConfig", begun.config.inputs)).failures).toMatchObject([
      { property: "template", reason: expect.stringContaining('there is no template "xenlayer-packaging"') },
    ]);
    const run = await anotherRun(own);
    await expect(run.create("PackagingMachine", layer.inputs("2").machine(disk.id))).rejects.toThrow(
      'template: there is no template "xenlayer-packaging"',
    );
    for (const made of [begun.os, layer.made, ...Object.values(version)]) expect((await run.refresh(made))?.outputs).toEqual(made.outputs);
    await run.close();
    await layer.drop({ disk });
    await layer.drop(version);
    await begun.end(layer);
  });
});

it("an OS disk that somebody has grown is told by refresh", () =>
  withLayer("told", async (layer) => {
    const version = await layer.version("1", quick);
    const os = await got(xapi, "VDI", story.os.outputs.vdiUuid);
    await xapi.task("VDI.resize", [os.$ref, os.virtual_size + 2 ** 21]);
    expect(await told(() => stage.refresh(story.os))).toMatch(
      /warning: version 1\.0 of layer "win11" is not what was imported any more: its disk/,
    );
    stage.sim.db.update("VDI", os.$ref, { virtual_size: os.virtual_size });
    await layer.drop(version);
  }));
