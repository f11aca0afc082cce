import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { ConnectorCredentials } from "../resource.ts";
import { connectFor } from "../session.ts";
import { type OpenStage, openStage } from "../testing.ts";
import type { Xapi } from "../xapi/client.ts";
import { type Document, RECORD_SIZE, readDocument, writeDocument } from "./document.ts";
import type { Entry } from "./entry.ts";
import { marksFor } from "./marks.ts";
import { LayerRecord } from "./record.ts";
import { recordDescription, recordName } from "./recordKeys.ts";
import { recover } from "./restored.ts";
import { survey } from "./survey.ts";

let stage: OpenStage;
let xapi: Xapi;
let layerId: string;
let ref: string;
const said: string[] = [];
beforeAll(async () => {
  stage = await openStage();
  xapi = await reach(connectFor);
});
afterAll(() => stage?.close());

const reach = (connect: typeof connectFor): Promise<Xapi> => connect(stage.front, stage.connector() as unknown as ConnectorCredentials);

beforeEach(async () => {
  said.length = 0;
  stage.sim.clearFaults();
  const [sr] = await xapi.find("SR", { name_label: "Local storage" });
  const record = { SR: sr?.$ref, virtual_size: RECORD_SIZE, type: "user", sharable: false, read_only: false, other_config: {} };
  ref = await xapi.call<string>("VDI.create", { ...record, name_label: recordName("plat"), name_description: "" });
  layerId = (await xapi.record("VDI", ref))?.uuid ?? "";
  await xapi.call("VDI.set_name_description", ref, recordDescription(layerId));
});

const entry = (id: string, more = ""): Entry => ({
  format: 1,
  id,
  build: "b",
  state: "Deployable",
  content: { format: 1, source: more },
  holders: {},
  createdAt: "",
});
const meta = () => ({
  format: 1 as const,
  uuid: layerId,
  connectorId: "c",
  kind: "platform" as const,
  name: "plat",
  description: "",
  holder: "h",
  createdAt: "",
});

/** The content of a record whose SR was forgotten and introduced again. */
async function written(versions: Record<string, Entry>): Promise<Document> {
  const document = { meta: meta(), versions, audit: [{ at: "2026-01-01T00:00:00Z", event: "layer created" }] };
  const vdi = await xapi.record("VDI", ref);
  if (vdi === undefined) throw new Error("no VDI");
  await writeDocument(xapi, vdi, document);
  return document;
}

const opened = (): Promise<LayerRecord | undefined> => LayerRecord.open(xapi, layerId, (line) => said.push(line));
const told = (record: LayerRecord | undefined): unknown =>
  record && { meta: record.meta, versions: Object.fromEntries(record.versions), audit: record.audit };
const keys = (): string[] => Object.keys(stage.sim.db.get("VDI", ref).other_config);

describe("the durable copy", () => {
  const open = async (): Promise<LayerRecord> => {
    const record = await opened();
    if (record === undefined) throw new Error("no record");
    return record;
  };
  beforeEach(async () => {
    const vdi = await xapi.record("VDI", ref);
    if (vdi !== undefined) await LayerRecord.write(xapi, vdi, meta());
  });
  it("knows what others have sealed since its writer has read the record, and while it is written", async () => {
    const [slow, fast] = [await open(), await open()];
    await fast.put("2", entry("before"));
    await fast.addAudit({ at: "2026-01-01T00:00:00Z", event: "version sealed", version: "2" });
    await slow.put("1", entry("own"));
    let during = 0;
    const another = async () => {
      await fast.put("3", entry(`during ${++during}`));
      if (during === 1) await fast.putMeta({ ...fast.meta, name: "renamed" });
    };
    stage.sim.fault({ message: "PUT /import_raw_vdi", times: 2, happens: another });
    await slow.saveDocument();
    const copy = await readDocument(xapi, slow.vdi);
    expect(copy).toEqual(told(await open()));
    expect(Object.keys(copy?.versions ?? {}).sort()).toEqual(["1", "2", "3"]);
    expect(during).toBe(2);
  });

  it("is not taken for newer than marks that another run has written since they were read", async () => {
    const [slow, fast] = [await open(), await open()];
    await fast.put("2", { ...entry("since"), vdi: layerId });
    await fast.saveDocument();
    const warned: string[] = [];
    await recover({ ...stage.front, connect: async () => xapi, warn: (line) => warned.push(line) }, slow, "missed");
    expect(warned).toEqual([]);
    expect(slow.versions.get("2")).toMatchObject({ id: "since" });
    // Two that find marks set back at the same time.
    await xapi.call("VDI.remove_from_other_config", fast.vdi.$ref, "xenlayer:version:2:1");
    stage.sim.fault({
      message: "VDI.add_to_other_config",
      happens: async () => void (await (await open()).put("2", { ...entry("since"), vdi: layerId, build: "theirs" })),
    });
    await recover({ ...stage.front, connect: async () => xapi, warn: (line) => warned.push(line) }, slow, "missed again");
    expect(warned).toEqual([]);
    expect((await open()).versions.get("2")?.build).toBe("theirs");
  });

  it("is written once where nobody else writes, and not for ever where somebody always does", async () => {
    const [record, other] = [await open(), await open()];
    const writes = () => stage.sim.log.filter(({ method }) => method === "PUT /import_raw_vdi").length;
    let before = writes();
    await record.saveDocument();
    expect(writes() - before).toBe(1);
    before = writes();
    stage.sim.fault({
      message: "PUT /import_raw_vdi",
      times: Number.POSITIVE_INFINITY,
      happens: () => other.put("1", entry(String(writes()))),
    });
    await record.saveDocument();
    expect(writes() - before).toBeLessThan(10);
  });
});

it("a layer whose marks are more than XAPI takes in one request is rebuilt", async () => {
  const names = Array.from({ length: 60 }, (_, index) => `1.${index}`);
  const document = await written(Object.fromEntries(names.map((name) => [name, entry(name, "x".repeat(6000))])));
  expect(told(await opened())).toEqual(document);
  expect(said).toEqual([expect.stringContaining("its marks were gone and have been rebuilt from its durable copy")]);
  expect(keys()).toEqual(expect.arrayContaining(Object.keys(marksFor({ connector: "c", role: "layer", layer: layerId }))));
});

it("an open version that was taken away after the durable copy was written is not brought back, one of which something is left is", async () => {
  const open = (id: string, more: Partial<Entry> = {}): Entry => ({ ...entry(id), state: "Editing", ...more });
  const gone = "10715c38-3303-423a-ad51-3578520c27e3";
  const machine = { name: "xenlayer-packaging", begun: true, packaged: false, mode: "automatic" as const, steps: [] };
  const document = await written({
    sealed: { ...entry("1"), vdi: gone },
    "being deleted": { ...entry("2"), state: "Deleting", vdi: gone },
    "with a disk": open("3", { vdi: layerId }),
    "with a machine": open("4", { vdi: gone, machine }),
    "with an earlier build": open("5", { stale: [{ id: "5", build: "a" }] }),
    "without its disk": open("6", { vdi: gone, machine: { ...machine, name: "gone" } }),
    "just begun": open("7"),
    moved: open("8", { vdi: gone }),
  });
  const moved = await xapi.call<string>("VDI.clone", ref);
  await xapi.call("VDI.set_name_description", moved, `xenlayer plat/moved ${layerId}/8`);
  const { "without its disk": _, "just begun": __, ...versions } = document.versions;
  expect(told(await opened())).toEqual({ ...document, versions });
});

it("a rebuild that ends anywhere leaves no record, nothing for gc to remove, and is gone on with by the next", async () => {
  const document = await written({ "1": entry("one"), "2": entry("two") });
  const whole = () => told(LayerRecord.among(xapi, [{ ...vdi(), $ref: ref }])[0]);
  const vdi = () => stage.sim.db.get("VDI", ref) as unknown as NonNullable<Awaited<ReturnType<typeof xapi.record<"VDI">>>>;
  let ends = 0;
  for (let failed = true; failed; ends++) {
    stage.sim.fault({ message: "VDI.add_to_other_config", after: ends, code: "INTERNAL_ERROR" });
    failed = await opened().then(
      () => false,
      () => true,
    );
    stage.sim.clearFaults();
    if (!failed) break;
    expect({ ends, whole: whole() }).toEqual({ ends, whole: undefined });
    const left = (await survey(xapi)).filter(({ remains, vdis }) => remains !== undefined && vdis.some(({ uuid }) => uuid === layerId));
    expect({ ends, left }).toEqual({ ends, left: [] });
    // As a process that has died since.
    for (const key of keys().filter((key) => key.startsWith("xenlayer:rebuild:")))
      stage.sim.db.update("VDI", ref, {
        other_config: {
          ...stage.sim.db.get("VDI", ref).other_config,
          [key]: JSON.stringify({ run: "dead", host: "elsewhere", pid: 1, until: Date.now() - 1 }),
        },
      });
    expect(told(await opened())).toEqual(document);
    expect(keys().filter((key) => key.startsWith("xenlayer:rebuild:"))).toEqual([]);
    stage.sim.db.update("VDI", ref, { other_config: {} });
  }
  expect(ends).toBeGreaterThan(8);
  expect(whole()).toEqual(document);
});

it("of runs that rebuild one record at the same time, none brings back what another has changed since", async () => {
  vi.resetModules();
  const [another, session, client] = await Promise.all([import("./record.ts"), import("../session.ts"), import("../xapi/client.ts")]);
  const theirs = await reach(session.connectFor);
  const document = await written({ "1": entry("one"), "2": entry("two") });
  let came = true;
  for (let at = 0; came; at++) {
    stage.sim.db.update("VDI", ref, { other_config: {} });
    said.length = 0;
    came = false;
    let second: Promise<void> = Promise.resolve();
    const goesOn = async () => {
      const record = await another.LayerRecord.open(theirs, layerId, (line) => said.push(line));
      await record?.put("3", entry("three"));
      await record?.remove("1");
    };
    stage.sim.fault({
      message: /^VDI\.(add_to|set)_other_config$/,
      after: at,
      happens: async () => {
        came = true;
        second = goesOn();
        const waits = vi.waitFor(() => expect(said.join()).toContain("waiting for it"), { timeout: 60_000 });
        await Promise.race([second, waits.catch(() => undefined)]);
      },
    });
    const [first, again] = await Promise.all([opened(), opened()]);
    stage.sim.clearFaults();
    await second;
    if (!came) {
      await goesOn();
      expect(at).toBeGreaterThan(8);
    }
    expect(first?.layerId).toBe(layerId);
    expect(again?.meta).toEqual(document.meta);
    expect({ at, versions: [...((await opened())?.versions.keys() ?? [])].sort() }).toEqual({ at, versions: ["2", "3"] });
  }
  await client.disconnectAll();
});
