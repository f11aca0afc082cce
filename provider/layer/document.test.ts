import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ConnectorCredentials } from "../resource.ts";
import { connectFor } from "../session.ts";
import { type OpenStage, openStage } from "../testing.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { type Document, RECORD_SIZE, readDocument, writeDocument } from "./document.ts";

const MiB = 2 ** 20;

let stage: OpenStage;
let xapi: Xapi;
let vdi: Rec<"VDI">;
beforeAll(async () => {
  stage = await openStage();
  xapi = await connectFor(stage.front, stage.connector() as unknown as ConnectorCredentials);
  const [sr] = await xapi.find("SR", { name_label: "Local storage" });
  const record = {
    name_label: "r",
    name_description: "",
    SR: sr?.$ref,
    virtual_size: RECORD_SIZE,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: {},
  };
  vdi = (await xapi.record("VDI", await xapi.call<string>("VDI.create", record))) as Rec<"VDI">;
});
afterAll(() => stage?.close());

const document = (name: string, audit = 0): Document => ({
  meta: { format: 1, uuid: vdi.uuid, connectorId: "c", kind: "os", name, description: "ü", holder: "h", createdAt: "" },
  versions: {
    "1": { format: 1, id: "i", build: "b", state: "Deployable", content: { format: 1 }, holders: {}, createdAt: "", later: [1] },
  },
  audit: Array.from({ length: audit }, (_, index) => ({ at: "", event: `event ${index} of ${name}` })),
});
const disk = () => stage.sim.disk(vdi.uuid);
const bytes = (): Buffer => Buffer.from(disk().read(0, RECORD_SIZE));
const iconAt = 2 * MiB;

it("gives back what was written, unknown keys of a later release included", async () => {
  await writeDocument(xapi, vdi, document("one"));
  expect(await readDocument(xapi, vdi)).toEqual(document("one"));
  await writeDocument(xapi, vdi, document("two", 3000));
  expect(await readDocument(xapi, vdi)).toEqual(document("two", 3000));
});

it("leaves the icon where it is, and writes it where it changes", async () => {
  const picture = Buffer.from("a picture");
  await writeDocument(xapi, vdi, document("one"), { icon: picture });
  await writeDocument(xapi, vdi, document("two", 5000));
  const kept = bytes().subarray(iconAt);
  expect(kept.toString("latin1", 0, 200)).toMatch(/^xenlayer-icon 1 9 [0-9a-f]{64}\n/);
  expect(kept.subarray(128, 137)).toEqual(picture);
  await writeDocument(xapi, vdi, document("three"), { icon: Buffer.from("another") });
  expect(bytes().subarray(iconAt).toString("latin1", 128, 135)).toBe("another");
  expect(await readDocument(xapi, vdi)).toEqual(document("three"));
});

it("reads the one before or the new one wherever a write was torn, and never nothing", async () => {
  await writeDocument(xapi, vdi, document("before", 200));
  const before = bytes();
  await writeDocument(xapi, vdi, document("after", 300));
  const after = bytes();
  const used = MiB + 40_000;
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.nat(40_000), fc.integer({ min: MiB - 10, max: used })), async (torn) => {
      disk().write(0, before);
      disk().write(0, after.subarray(0, torn));
      const read = await readDocument(xapi, vdi);
      expect([document("before", 200), document("after", 300)]).toContainEqual(read);
    }),
    { numRuns: 25, examples: [[0], [1], [127], [128], [MiB], [MiB + 1], [used]] },
  );
});

it("takes the other slot when one is damaged, and nothing when both are", async () => {
  await writeDocument(xapi, vdi, document("one"));
  const good = bytes();
  for (const [at, what] of [
    [0, "magic"],
    [40, "checksum"],
    [140, "content"],
  ] as const) {
    disk().write(0, good);
    disk().write(at, Buffer.from("#"));
    expect([what, await readDocument(xapi, vdi)]).toEqual([what, document("one")]);
    disk().write(MiB + at, Buffer.from("#"));
    expect([what, await readDocument(xapi, vdi)]).toEqual([what, undefined]);
  }
  // A length beyond the slot.
  disk().write(0, good);
  disk().write(0, Buffer.from("xenlayer-record 1 999"));
  expect(await readDocument(xapi, vdi)).toEqual(document("one"));
  disk().write(0, Buffer.alloc(RECORD_SIZE));
  expect(await readDocument(xapi, vdi)).toBeUndefined();
});

it("refuses a record that doesn't fit, before anything is written", async () => {
  await writeDocument(xapi, vdi, document("one"));
  await expect(writeDocument(xapi, vdi, document("large", 40_000))).rejects.toThrow("the record of this layer has grown too large");
  await expect(writeDocument(xapi, vdi, document("one"), { icon: Buffer.alloc(MiB) })).rejects.toThrow("the icon is too large");
  expect(await readDocument(xapi, vdi)).toEqual(document("one"));
});
