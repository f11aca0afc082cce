// Chains of copy-on-write disks against a storage manager that refuses the thirty-first link, as SM does (SR_BACKEND_FAILURE_109).
import { expect, it } from "vitest";
import type { Context } from "../resource.ts";
import { connectFor } from "../session.ts";
import { Story, withStage } from "../testing.ts";
import { ensureDisk } from "./build.ts";
import type { Entry } from "./entry.ts";
import { baseOf } from "./open.ts";
import { LayerRecord, randomId } from "./record.ts";

const BLOCK = 2 ** 16;

it("successive versions go on for ever: a chain is flattened by a copy before the storage refuses, with room left for images and snapshots", async () => {
  await withStage(async (stage) => {
    const story = await Story.begin(stage);
    const layer = await story.layer("chained");
    const ctx: Context = { ...stage.front, connect: () => connectFor(stage.front, stage.connector() as never) };
    const xapi = await ctx.connect(stage.connector() as never);
    const record = await layer.record();
    const os = await LayerRecord.open(xapi, String(story.os.outputs.layerId));
    const [first] = os?.versions ?? [];
    const sr = await xapi.record("SR", record.vdi.SR);
    if (os === undefined || first === undefined || sr === undefined) throw new Error("no OS layer");
    let base = baseOf(os, ...first);
    const bytes = (uuid: string) => Buffer.from(stage.sim.disk(uuid).read(0, 4096));
    const written = bytes(base.vdi);
    const depths: number[] = [];
    for (let n = 1; n <= 45; n++) {
      const build = { format: 1 as const, id: randomId(), build: randomId(), content: { format: 1 as const }, holders: {}, createdAt: "" };
      const entry: Entry = { ...build, state: "Editing", base };
      const { vdi, depth } = await ensureDisk(ctx, xapi, { sr, record, version: `${n}`, entry, base, fileName: `chained ${n}` });
      depths.push(depth);
      // A clone of a disk that nobody has written to since it was cloned makes no link.
      stage.sim.disk(vdi.uuid).write(n * BLOCK, Buffer.from([n]));
      base = { ...baseOf(record, `${n}`, { ...entry, vdi: vdi.uuid, depth }) };
    }
    expect(Math.max(...depths)).toBe(20);
    expect(depths.filter((depth) => depth === 0)).toHaveLength(2);
    expect(stage.told).toContain('copying chained/20 to "Local storage"');
    expect(bytes(base.vdi).equals(written)).toBe(true);
    for (let n = 1; n <= 45; n++) expect(stage.sim.disk(base.vdi).read(n * BLOCK, 1)[0]).toBe(n);
    // Some more fit above the longest chain, as images and their snapshots need them; then the storage refuses.
    let [top = ""] = stage.sim.db.all("VDI").find(([, vdi]) => vdi.name_label === "chained 20") ?? [];
    const clone = async () => {
      top = await xapi.call<string>("VDI.clone", top);
      stage.sim.disk((await xapi.record("VDI", top))?.uuid ?? "").write(0, Buffer.from("image"));
    };
    for (let n = 0; n < 8; n++) await clone();
    const refused = async () => {
      for (let n = 0; n < 8; n++) await clone();
    };
    await expect(refused()).rejects.toThrow("SR_BACKEND_FAILURE_109");
  });
});
