import { afterAll, beforeAll, expect, it } from "vitest";
import { getLayerVersions } from "../functions.ts";
import type { ConnectorCredentials } from "../resource.ts";
import { connectFor } from "../session.ts";
import { changes, isTransfer, isWork, killedAt, type Made, type OpenStage, openStage, Story, windowsGuest } from "../testing.ts";
import type { Xapi } from "../xapi/client.ts";
import { NULL_REF } from "../xapi/records.ts";

let stage: OpenStage;
let story: Story;
let xapi: Xapi;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage);
  xapi = await connectFor(stage.front, story.connector as unknown as ConnectorCredentials);
});
afterAll(() => stage?.close());

const versionsOf = async (os: Made) =>
  (await getLayerVersions(stage.front, { connector: story.connector, layer: os.id })).versions.map(
    ({ version, state }) => `${version} ${state}`,
  );
const inputs = (name: string, more: Record<string, unknown> = {}) => ({ ...story.os.inputs, name, ...more });
/** Nothing is left of it afterwards. */
async function leavesNothing(body: () => Promise<unknown>): Promise<void> {
  const before = stage.pool();
  await body();
  expect(changes(before, stage.pool())).toEqual([]);
}
const told = async (work: () => Promise<unknown>): Promise<string> => {
  const from = stage.told.length;
  await work();
  return stage.told.slice(from).join("\n");
};

it("adds a version for each new name; the layer and its older versions stay, and a platform layer keeps its base", () =>
  leavesNothing(async () => {
    const os = await stage.create("OsLayer", inputs("os"));
    const layer = await stage.create("PlatformLayer", { ...story.layerInputs("on it"), osLayer: os.outputs.layerId });
    const disk = await stage.create("PackagingDisk", { connector: story.connector, layer: layer.id, version: "1" });
    const machine = await stage.create("PackagingMachine", { connector: story.connector, disk: disk.id });
    const seal = await stage.create("Finalize", { connector: story.connector, disk: disk.id, machine: machine.id, version: "1" });

    const patched = { file: await stage.image({ ...windowsGuest, bootSeconds: 7 }, 66) };
    expect(await told(() => stage.check("OsLayer", inputs("os", { version: "1.1", source: patched }), os.inputs))).toContain(
      "1.0 stays in the layer",
    );
    const { made, replaces } = await stage.up(os, inputs("os", { version: "1.1", source: patched }));
    expect(replaces).toEqual([]);
    expect(made.outputs).toMatchObject({ layerId: os.outputs.layerId, sizeGiB: 0.064 });
    expect(made.outputs.vdiUuid).not.toBe(os.outputs.vdiUuid);
    expect(await versionsOf(made)).toEqual(["1.0 Deployable", "1.1 Deployable"]);
    // Back to the first: taken, not imported.
    expect(await told(async () => stage.up(made, inputs("os")))).toContain("1.0 exists: taken, not imported");

    const next = { connector: story.connector, layer: layer.id, version: "2" };
    expect(await told(() => stage.check("PackagingDisk", next))).toContain("os 1.1 exists, base stays on it/1");
    expect((await stage.check("PackagingDisk", { ...next, osVersion: "1.1" })).inputs.base).toBe("os/1.1");
    for (const one of [seal, machine, disk, layer]) await stage.destroy(one);
    await stage.destroy((await stage.up(made, inputs("os", { version: "1.1", source: patched }))).made);
  }));

it("takes the first disk of a halted VM, of a template, or a disk by itself", () =>
  leavesNothing(async () => {
    const source = await xapi.get("VDI", String(story.os.outputs.vdiUuid));
    const golden = await xapi.task<string>("VDI.copy", [source?.$ref, source?.SR, NULL_REF, NULL_REF]);
    await xapi.call("VDI.set_name_label", golden, "golden disk");
    await xapi.call("VDI.set_other_config", golden, {});
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    const vm = await xapi.call<string>("VM.clone", template?.$ref, "golden");
    await xapi.call("VM.set_is_a_template", vm, false);
    await xapi.call("VM.set_VCPUs_max", vm, 4);
    const drive = { VM: vm, VDI: golden, userdevice: "0", bootable: true, mode: "RW", type: "Disk", unpluggable: false, empty: false };
    await xapi.call("VBD.create", { ...drive, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} });
    const ofVm = await stage.create("OsLayer", inputs("from vm", { source: { vm: "golden" } }));
    // Hardware facts are those of the VM that the OS was made in.
    expect(ofVm.outputs.hardware).toMatchObject({ vcpus: "4", firmware: "uefi" });
    const ofDisk = await stage.create("OsLayer", inputs("from disk", { source: { vdi: "golden disk" } }));
    await xapi.call("VM.set_is_a_template", vm, true);
    const ofTemplate = await stage.create("OsLayer", inputs("from template", { source: { template: "golden" } }));
    const [expected] = stage.sim.db.all("VDI").filter(([ref]) => ref === golden);
    for (const { outputs } of [ofVm, ofDisk, ofTemplate]) {
      expect(outputs.sizeGiB).toBe(story.os.outputs.sizeGiB);
      const [copy, original] = [stage.sim.disk(String(outputs.vdiUuid)), stage.sim.disk(expected?.[1].uuid ?? "")];
      expect(Buffer.from(copy.read(0, copy.size)).equals(Buffer.from(original.read(0, original.size)))).toBe(true);
    }
    const other = await stage.check("OsLayer", inputs("from disk", { source: { vm: "golden" } }));
    expect(other.failures).toMatchObject([
      { property: "version", reason: expect.stringContaining("the source changed: give a new version") },
    ]);
    for (const os of [ofVm, ofDisk, ofTemplate]) await stage.destroy(os);
    await xapi.destroy("VM", vm);
    await xapi.destroy("VDI", golden);
  }));

it("imports again what was deleted by hand, and is renamed in place", () =>
  leavesNothing(async () => {
    const os = await stage.create("OsLayer", inputs("os"));
    await xapi.destroy("VDI", (await xapi.get("VDI", String(os.outputs.vdiUuid)))?.$ref ?? "");
    expect(await versionsOf(os)).toEqual(["1.0 Broken"]);
    const again = await stage.up(os, os.inputs);
    expect(again).toMatchObject({ changes: true, replaces: [] });
    expect(await versionsOf(os)).toEqual(["1.0 Deployable"]);
    const renamed = await stage.up(again.made, inputs("renamed", { description: "new" }));
    expect(renamed.made.outputs.vdiUuid).toBe(again.made.outputs.vdiUuid);
    expect(stage.sim.db.all("VDI").map(([, { name_label }]) => name_label)).toContain("renamed (layer record)");
    await stage.destroy(renamed.made);
  }));

it("leaves nothing of a layer whose first image fails, and the older versions when a later one does", () =>
  leavesNothing(async () => {
    const before = stage.pool();
    stage.sim.fault({ message: "PUT /import_raw_vdi", code: "INTERNAL_ERROR", after: 1 });
    await expect(stage.create("OsLayer", inputs("os"))).rejects.toThrow("PUT /import_raw_vdi failed: INTERNAL_ERROR");
    expect(changes(before, stage.pool())).toEqual([]);
    const os = await stage.create("OsLayer", inputs("os"));
    const entries = await versionsOf(os);
    stage.sim.fault({ message: "PUT /import_raw_vdi", code: "INTERNAL_ERROR" });
    const next = inputs("os", { version: "2.0", source: { file: await stage.image(windowsGuest, 66) } });
    await expect(stage.up(os, next)).rejects.toThrow("INTERNAL_ERROR");
    expect(await versionsOf(os)).toEqual(entries);
    // It still is this resource's.
    expect(await stage.up(os, os.inputs)).toMatchObject({ changes: false });
    await stage.destroy(os);
  }));

it("goes on after a kill at any of its calls", { timeout: 120_000 }, async () => {
  const create = () => stage.create("OsLayer", inputs("killed"));
  const from = stage.sim.log.at(-1)?.n ?? 0;
  await leavesNothing(async () => stage.destroy(await create()));
  const count = stage.sim.log.filter(({ n, method }) => n > from && isWork(method) && !isTransfer(method)).length;
  const step = process.env.XENLAYER_KILLS === "all" ? 1 : 7;
  for (let skip = 1; skip < count; skip += step)
    for (const after of [false, true])
      await leavesNothing(async () => {
        await killedAt(stage, { skip, after }, create);
        const os = await create();
        expect(await versionsOf(os)).toEqual(["1.0 Deployable"]);
        await stage.destroy(os);
      });
});
