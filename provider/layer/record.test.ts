import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ConnectorCredentials } from "../resource.ts";
import { connectFor } from "../session.ts";
import { type OpenStage, openStage } from "../testing.ts";
import type { Xapi } from "../xapi/client.ts";
import { NULL_REF } from "../xapi/records.ts";
import { RECORD_SIZE } from "./document.ts";
import type { Entry, Meta } from "./entry.ts";
import { marksFor } from "./marks.ts";
import { LayerRecord, splitVersionId, versionId } from "./record.ts";
import { RecordError, recordDescription } from "./recordKeys.ts";

let stage: OpenStage;
let xapi: Xapi;
let layerId: string;
beforeAll(async () => {
  stage = await openStage();
  xapi = await connectFor(stage.front, stage.connector() as unknown as ConnectorCredentials);
});
afterAll(() => stage?.close());

const meta = (uuid: string): Meta => ({
  format: 1,
  uuid,
  connectorId: "c",
  kind: "platform",
  name: "plat",
  description: "",
  holder: "h",
  createdAt: "2026-01-01T00:00:00Z",
});
const entry = (note: string): Entry => ({
  format: 1,
  id: "i",
  build: note,
  state: "Editing",
  content: { format: 1 },
  holders: {},
  createdAt: "",
});

beforeEach(async () => {
  stage.sim.clearFaults();
  const [sr] = await xapi.find("SR", { name_label: "Local storage" });
  const other_config = marksFor({ connector: "c", role: "layer" });
  const vdi = {
    name_label: "r",
    name_description: "",
    SR: sr?.$ref,
    virtual_size: RECORD_SIZE,
    type: "user",
    sharable: false,
    read_only: false,
    other_config,
  };
  const made = await xapi.record("VDI", await xapi.call<string>("VDI.create", vdi));
  if (made === undefined) throw new Error("no VDI");
  layerId = made.uuid;
  await xapi.call("VDI.set_name_description", made.$ref, recordDescription(layerId));
  await LayerRecord.write(xapi, made, meta(layerId));
});

const open = async (): Promise<LayerRecord> => {
  const record = await LayerRecord.open(xapi, layerId);
  if (record === undefined) throw new Error("no record");
  return record;
};
const keys = async (prefix = "xenlayer:version:"): Promise<string[]> =>
  Object.keys((await open()).vdi.other_config)
    .filter((key) => key.startsWith(prefix))
    .map((key) => key.slice(prefix.length))
    .sort();
const builds = async (): Promise<Record<string, string>> =>
  Object.fromEntries([...(await open()).versions].map(([name, { build }]) => [name, build]));

describe("a write", () => {
  it("is seen by who opens the record next, and leaves one key", async () => {
    const record = await open();
    for (const note of ["a", "b", "c"]) await record.put("1", entry(note));
    expect(await builds()).toEqual({ "1": "c" });
    expect(await keys()).toEqual(["1:3"]);
    await record.putMeta({ ...record.meta, name: "other" });
    expect((await open()).meta.name).toBe("other");
    expect(await keys("xenlayer:meta:")).toEqual(["2"]);
  });

  it("of two who read the same, the second is refused and told so; its entry is nowhere", async () => {
    const [first, second] = [await open(), await open()];
    await first.put("1", entry("first"));
    await expect(second.put("1", entry("second"))).rejects.toThrow('version 1 of layer "plat" was changed by another run at the same time');
    expect(await builds()).toEqual({ "1": "first" });
    await second.refresh();
    await second.put("1", entry("second"));
    expect(await builds()).toEqual({ "1": "second" });
    await expect(first.putMeta({ ...first.meta, name: "x" })).resolves.toBeUndefined();
    await expect(second.putMeta({ ...second.meta, name: "y" })).rejects.toThrow('layer "plat" was changed by another run');
  });

  it("of one who fell several generations behind is refused too, though its key is free again", async () => {
    const [slow, fast] = [await open(), await open()];
    await slow.put("1", entry("slow"));
    await fast.refresh();
    for (const note of ["a", "b", "c"]) await fast.put("1", entry(note));
    await expect(slow.put("1", entry("late"))).rejects.toThrow("was changed by another run");
    expect(await keys()).toEqual(["1:4"]);
    // Also where what it knew was taken away and made again meanwhile.
    await fast.remove("1");
    await fast.put("1", entry("anew"));
    await expect(slow.put("1", entry("later still"))).rejects.toThrow("was changed by another run");
    expect(await builds()).toEqual({ "1": "anew" });
    expect(await keys()).toEqual(["1:1"]);
  });

  it("whose answer was lost counts when it was done, and not when it was not", async () => {
    const record = await open();
    stage.sim.fault({ message: "VDI.add_to_other_config", cut: true, when: "after" });
    await record.put("1", entry("done"));
    expect(await builds()).toEqual({ "1": "done" });
    stage.sim.fault({ message: "VDI.add_to_other_config", cut: true, when: "before" });
    await expect(record.put("1", entry("not done"))).rejects.toThrow("OUTCOME_UNKNOWN");
    expect(await builds()).toEqual({ "1": "done" });
    await record.put("1", entry("again"));
    expect(await builds()).toEqual({ "1": "again" });
  });

  it("is done once its key is there, whatever becomes of the tidying; what is left over goes with the next, the oldest first", async () => {
    const record = await open();
    await record.put("1", entry("a"));
    for (const note of ["b", "c"]) {
      stage.sim.fault({ message: "VDI.remove_from_other_config", code: "INTERNAL_ERROR" });
      await record.put("1", entry(note));
    }
    expect(record.versions.get("1")?.build).toBe("c");
    // As after a kill between the two calls: the newest one is read.
    expect(await builds()).toEqual({ "1": "c" });
    expect(await keys()).toEqual(["1:1", "1:2", "1:3"]);
    expect((await open()).hasFormer("1")).toBe(true);
    await record.put("1", entry("d"));
    expect(await keys()).toEqual(["1:4"]);
  });

  it("takes away a version with all its generations, the newest last", async () => {
    const record = await open();
    await record.put("1", entry("a"));
    stage.sim.fault({ message: "VDI.remove_from_other_config", code: "INTERNAL_ERROR" });
    await record.put("1", entry("b"));
    const killed = await open();
    stage.sim.fault({ message: "VDI.remove_from_other_config", code: "INTERNAL_ERROR", after: 1 });
    await expect(killed.remove("1")).rejects.toThrow();
    expect(await builds()).toEqual({ "1": "b" });
    await (await open()).remove("1");
    expect(await keys()).toEqual([]);
    await (await open()).remove("1");
  });

  it("tells versions apart whose names are part of one another, or hold what keys are made of", async () => {
    const record = await open();
    const names = ["1", "1:2", "1.0", "10", "a/b", "ü 1", "%3A", "1:"];
    for (const name of names) await record.put(name, entry(name));
    for (const name of names) await record.put(name, entry(`${name} again`));
    expect(await builds()).toEqual(Object.fromEntries(names.map((name) => [name, `${name} again`])));
    await record.remove("1");
    expect(Object.keys(await builds()).sort()).toEqual(names.filter((name) => name !== "1").sort());
  });

  it("is linear: with any writers in any order, each success follows the one before it", async () => {
    const step = fc.record({ who: fc.nat(2), what: fc.constantFrom("put" as const, "refresh" as const, "remove" as const) });
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
        const version = `v${round++}`;
        const writers = [await open(), await open(), await open()];
        let truth: string | undefined;
        for (const [index, { who, what }] of steps.entries()) {
          const writer = writers[who];
          if (writer === undefined) continue;
          const knew = writer.versions.get(version)?.build;
          if (what === "refresh") await writer.refresh();
          // Whoever removes holds the lease: it has just looked.
          else if (what === "remove") {
            await writer.refresh();
            await writer.remove(version);
            truth = undefined;
          } else {
            const done = await writer.put(version, entry(String(index))).then(
              () => true,
              () => false,
            );
            expect(done).toBe(knew === truth);
            if (done) truth = String(index);
          }
          expect((await open()).versions.get(version)?.build).toBe(truth);
        }
      }),
      { numRuns: 25, seed: 7 },
    );
  });
});

describe("reading", () => {
  it("is an error that names object and key when something is malformed or newer", async () => {
    const { vdi } = await open();
    const put = (key: string, text: string) => xapi.call("VDI.set_other_config", vdi.$ref, { ...vdi.other_config, [key]: text });
    for (const [key, text] of [
      ["xenlayer:meta:1", "{"],
      ["xenlayer:meta:1", JSON.stringify({ ...meta(layerId), format: 2 })],
      ["xenlayer:version:1:1", JSON.stringify({ ...entry("x"), state: "Melting" })],
      ["xenlayer:audit:2026-01-01", "[]"],
    ] as const) {
      await put(key, text);
      await expect(open()).rejects.toThrow(RecordError);
      await expect(open()).rejects.toThrow(`layer record ${layerId} ("r"): key ${key} can't be read`);
      // Among others it is left out, as nobody asked for it.
      const all = await xapi.find("VDI", { uuid: layerId });
      expect(LayerRecord.among(xapi, all)).toEqual([]);
    }
    await xapi.call("VDI.set_other_config", vdi.$ref, { ...vdi.other_config, "someone:else": "x" });
    expect((await open()).meta).toEqual(meta(layerId));
  });

  it("takes neither copies nor snapshots of a record for one", async () => {
    const { vdi } = await open();
    const copy = await xapi.task<string>("VDI.copy", [vdi.$ref, vdi.SR, NULL_REF, NULL_REF]);
    const snapshot = await xapi.call<string>("VDI.snapshot", vdi.$ref);
    const all = [copy, snapshot, vdi.$ref].map((ref) => xapi.record("VDI", ref));
    const found = LayerRecord.among(
      xapi,
      (await Promise.all(all)).flatMap((one) => one ?? []),
    );
    expect(found.map((record) => record.vdi.uuid)).toEqual([layerId]);
    // Not even when the record itself is gone: a backup is its owner's to bring back.
    await xapi.destroy("VDI", vdi.$ref);
    expect(await LayerRecord.open(xapi, layerId)).toBeUndefined();
  });

  it("says that neither marks nor content can be read, and changes nothing", async () => {
    const { vdi } = await open();
    await xapi.call("VDI.set_other_config", vdi.$ref, {});
    await expect(open()).rejects.toThrow(`should be the record of layer ${layerId}, but neither its marks nor its content can be read`);
    expect((await xapi.record("VDI", vdi.$ref))?.other_config).toEqual({});
  });
});

describe("the audit history", () => {
  it("is in order of time, and takes a repeated comment once", async () => {
    const record = await open();
    await record.addAudit({ at: "2026-01-02T00:00:00Z", event: "version sealed", version: "1", comment: "b" });
    await record.addAudit({ at: "2026-01-01T00:00:00Z", event: "layer created" });
    await record.noteComment("version sealed", "1", "b");
    await record.noteComment("version sealed", "1", "c");
    await record.noteComment("version sealed", "2", "b");
    await record.noteComment("version changed", "1", "b");
    await record.noteComment("layer changed", undefined, undefined);
    expect((await open()).audit.map(({ event, version, comment }) => [event, version, comment])).toEqual([
      ["layer created", undefined, undefined],
      ["version sealed", "1", "b"],
      ["version sealed", "1", "c"],
      ["version sealed", "2", "b"],
      ["version changed", "1", "b"],
    ]);
  });
});

it("takes ids of versions apart as it puts them together, and nothing else for one", () => {
  const [layer, id] = ["10715c38-3303-423a-ad51-3578520c27e3", "0123456789abcdef0123456789abcdef"];
  expect(splitVersionId(versionId(layer, id))).toEqual({ layerId: layer, entryId: id });
  for (const text of ["", layer, `${layer}/`, `${layer}/${id}0`, `${layer}/${id}/x`, `x/${id}`])
    expect(splitVersionId(text)).toBeUndefined();
});
