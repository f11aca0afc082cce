// Bad input from the pool itself: marks and documents that are damaged, foreign or newer, names with every character, and very many objects of others. What can't be
// understood is named and left alone.
import { expect, it, vi } from "vitest";
import { getLayer } from "./functions.ts";
import { bearsMeta } from "./layer/recordKeys.ts";
import { sharedStage } from "./testing/sharedStage.ts";
import { changes, type OpenStage, Story, withStage } from "./testing.ts";
import type { Rec } from "./xapi/records.ts";

// Whole lives of versions, on whatever machine.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const quick = { machine: { install: [] } };
const MiB = 2 ** 20;

const { stage, story, xapi, withLayer } = await sharedStage();

async function vdiOf(uuid: unknown): Promise<Rec<"VDI">> {
  const vdi = await xapi.get("VDI", String(uuid));
  if (vdi === undefined) throw new Error(`disk ${uuid} is gone`);
  return vdi;
}

it("marks that are malformed, too long, newer or another product's are named by object and key, and nothing is made beside them or deleted", () =>
  withLayer("marks", async (layer) => {
    const version = await layer.version("1", quick);
    const { $ref, uuid, other_config } = await vdiOf(layer.id);
    const [key = ""] = Object.keys(other_config).filter((name) => name.startsWith("xenlayer:version:1:"));
    const bad: Record<string, string>[] = [
      { ...other_config, [key]: "x".repeat(200_000) },
      { ...other_config, [key]: JSON.stringify({ ...JSON.parse(other_config[key] ?? ""), format: 2 }) },
      { ...other_config, "xenlayer:version:%E0%A4%A:1": other_config[key] ?? "" },
      { ...other_config, "xenlayer:meta:latest": "{}" },
      { ...other_config, "xenlayer:version:2:": JSON.stringify({ product: "another" }) },
      { ...other_config, [`xenlayer:meta:${"9".repeat(5000)}`]: "{}" },
    ];
    for (const marks of bad) {
      await xapi.call("VDI.set_other_config", $ref, marks);
      const before = stage.pool();
      const message = `layer record ${uuid} ("marks (layer record)"): key xenlayer:`;
      for (const made of [layer.made, ...Object.values(version)]) {
        await expect(stage.refresh(made)).rejects.toThrow(message);
        await expect(stage.destroy(made)).rejects.toThrow(message);
      }
      // A lost state finds no second layer of that name.
      const { failures } = await stage.check("PlatformLayer", layer.made.inputs);
      expect(failures[0]?.reason).toContain(message);
      expect(failures[0]?.reason.length).toBeLessThan(1200);
      expect(changes(before, stage.pool())).toEqual([]);
    }
    await xapi.call("VDI.set_other_config", $ref, other_config);
    await layer.drop(version);
  }));

it("one damaged slot of the durable copy is made up for by the other; both, or another layer's content, are said, and nothing is touched", () =>
  withLayer("slots", async (layer) => {
    const other = await story.layer("other");
    const { $ref, uuid, other_config, virtual_size } = await vdiOf(layer.id);
    const disk = stage.sim.disk(uuid);
    const content = Buffer.from(disk.read(0, 4 * MiB));
    await xapi.call("VDI.set_other_config", $ref, {});
    disk.write(40, Buffer.from("#"));
    expect((await stage.refresh(layer.made))?.outputs).toEqual(layer.made.outputs);
    expect(bearsMeta(await vdiOf(layer.id))).toBe(true);
    await xapi.call("VDI.set_other_config", $ref, {});
    disk.write(MiB + 40, Buffer.from("#"));
    const untouched = stage.pool();
    for (const work of [() => stage.refresh(layer.made), () => stage.destroy(layer.made)])
      await expect(work()).rejects.toThrow(
        `VDI ${uuid} ("slots (layer record)") should be the record of layer ${uuid}, but neither its marks nor`,
      );
    disk.write(0, Buffer.from(stage.sim.disk(other.id).read(0, 2 * MiB)));
    for (const work of [() => stage.refresh(layer.made), () => stage.destroy(layer.made)])
      await expect(work()).rejects.toThrow(`but its content is that of layer ${other.id} ("other")`);
    expect(changes(untouched, stage.pool())).toEqual([]);
    // With its marks the content is not needed, and written anew at the next commit point; a record that somebody has grown is read as before.
    await xapi.call("VDI.set_other_config", $ref, other_config);
    disk.write(0, Buffer.alloc(4 * MiB));
    await xapi.task("VDI.resize", [$ref, virtual_size + 2 * MiB]);
    Object.assign(layer.made, (await stage.up(layer.made, { ...layer.made.inputs, description: "x" })).made);
    await xapi.call("VDI.set_other_config", $ref, {});
    expect((await stage.refresh(layer.made))?.outputs).toEqual(layer.made.outputs);
    disk.write(0, content);
    await stage.destroy(other.made);
  }));

it("names hold every character that XAPI allows, and no other", async () => {
  const name = `a/b\\c"d'e\`f$(g)%PATH%&<h>|i;j*k?l:m=n#o@p\nq\tr é ü ß 日本 🦊 ${"x".repeat(20)} ()[]{}~^`;
  const version = `1.0 "β"/\\:%3A\n2 🦊`;
  await withLayer(name, async (layer) => {
    const made = await layer.version(version);
    expect(made.seal.outputs).toMatchObject({ report: { state: "ready" } });
    for (const resource of [layer.made, ...Object.values(made)]) {
      expect((await stage.refresh(resource))?.outputs).toEqual(resource.outputs);
      expect(await stage.up(resource, resource.inputs)).toMatchObject({ changes: false });
    }
    expect(await getLayer(stage.front, { connector: story.connector, name })).toMatchObject({ layerId: layer.id, versions: [version] });
    const { made: renamed } = await stage.up(layer.made, story.layerInputs(`${name} "2"`));
    Object.assign(layer.made, renamed);
    await layer.drop(made);
  });
  for (const bad of ["a\u0000b", "a\u0007b", "a\ud800b", "a\ufffeb"])
    expect((await stage.check("PlatformLayer", story.layerInputs(bad))).failures).toMatchObject([
      { property: "name", reason: expect.stringContaining("holds a character that XAPI refuses") },
    ]);
});

it("5,000 objects of others cost no call, and stay", async () => {
  const run = async (own: OpenStage, foreign: number): Promise<number> => {
    const [sr] = own.sim.db.all("SR").find(([, { name_label }]) => name_label === "Local storage") ?? [];
    const like = { SR: sr ?? "", virtual_size: 2 * MiB, managed: true, type: "user" as const };
    for (let index = 0; index < foreign / 2; index++) {
      own.sim.db.create("VDI", {
        ...like,
        name_label: index % 2 === 0 ? `disk ${index}` : "plat 1",
        other_config: { "xenlayer:hint": "none of yours" },
      });
      own.sim.db.create("VM", { name_label: `plat 1 packaging ${index}`, power_state: "Halted" });
    }
    const from = own.sim.log.at(-1)?.n ?? 0;
    const begun = await Story.begin(own);
    const layer = await begun.layer("plat");
    const version = await layer.version("1", quick);
    for (const made of Object.values(version)) await own.refresh(made);
    await layer.drop(version);
    await begun.end(layer);
    return own.sim.log.filter(({ n, method }) => n > from && !method.startsWith("event.") && !method.startsWith("session.")).length;
  };
  await withStage(async (few) => {
    await withStage(async (many) => {
      const count = () => many.sim.db.all("VDI").length + many.sim.db.all("VM").length;
      const before = count();
      const without = await run(few as OpenStage, 0);
      expect(Math.abs((await run(many as OpenStage, 5000)) - without)).toBeLessThan(6);
      expect(count()).toBe(before + 5000);
    });
  });
});
