import { describe, expect, it } from "vitest";
import * as z from "zod";
import { connectorInput } from "./connector.ts";
import { ConflictError, InitFailedError, InputError } from "./errors.ts";
import { type Definition, defineResource, type FrontContext, holdsUnknown, propertyPath, type Resource, UNKNOWN } from "./resource.ts";
import type { Xapi } from "./xapi/client.ts";

const inputs = z.object({
  name: z.string().min(2),
  size: z.number().positive().default(20),
  nested: z.strictObject({ level: z.enum(["low", "high"]).default("low"), note: z.string().optional() }).optional(),
  steps: z.array(z.strictObject({ run: z.string().min(1) })).default([]),
  labels: z.record(z.string().regex(/^[a-z]+$/, "small letters"), z.string()).optional(),
});
const outputs = z.object({ made: z.string() });

const front: FrontContext = { report: () => {}, warn: () => {}, signal: new AbortController().signal, config: {} };
const nowhere = () => Promise.reject(new Error("no pool here")) as Promise<Xapi>;

/** A resource that keeps what its definition was asked with. */
function thing(more: Partial<Definition<typeof inputs, typeof outputs>> = {}): { resource: Resource; asked: unknown[] } {
  const asked: unknown[] = [];
  const resource = defineResource(nowhere, {
    type: "Thing",
    description: "",
    inputs,
    outputs,
    examine: async (_ctx, want, old) => {
      asked.push({ want, old });
      return { failures: [] };
    },
    create: async () => ({ id: "1", outputs: { made: "now" } }),
    read: async () => ({ made: "now" }),
    update: async () => ({ made: "again" }),
    delete: async () => {},
    ...more,
  });
  return { resource, asked };
}

const check = (news: Record<string, unknown>, more?: Parameters<typeof thing>[0]) => thing(more).resource.check(front, undefined, news);

describe("check", () => {
  it("fills in defaults, and gives back plain JSON", async () => {
    expect(await check({ name: "ab", nested: { note: undefined }, labels: undefined })).toEqual({
      inputs: { name: "ab", size: 20, nested: { level: "low" }, steps: [] },
      failures: [],
    });
  });

  it("names every fault by its property path, all at once", async () => {
    const { failures } = await check({
      size: -1,
      nested: { level: "middle", extra: 1 },
      steps: [{ run: "a" }, { run: "" }, {}],
      labels: { Ab: "c" },
      other: 1,
    });
    expect(Object.fromEntries(failures.map(({ property, reason }) => [property, reason]))).toEqual({
      name: "is required",
      size: expect.stringContaining(">0"),
      "nested.level": expect.stringContaining('"low"|"high"'),
      nested: expect.stringContaining('"extra"'),
      "steps[1].run": expect.stringContaining(">=1"),
      "steps[2].run": "is required",
      "labels.Ab": "small letters",
      other: "no such property; there are name, size, nested, steps, labels",
    });
  });

  it("takes what is not known yet as it came, and still judges the rest", async () => {
    const { resource, asked } = thing();
    const news = { name: UNKNOWN, nested: { level: UNKNOWN, note: "x" }, steps: [{ run: UNKNOWN }, { run: "" }], size: 0 };
    expect((await resource.check(front, undefined, news)).failures.map(({ property }) => property)).toEqual(["size"]);
    expect(asked).toEqual([]);
    const known = await resource.check(front, undefined, { ...news, size: 5, labels: { a: "b" } });
    expect(known).toEqual({ inputs: { ...news, size: 5, labels: { a: "b" } }, failures: [] });
    // There and undefined: given, and not known yet.
    expect(asked).toEqual([
      { want: { name: undefined, size: 5, nested: { level: undefined, note: "x" }, steps: undefined, labels: { a: "b" } }, old: undefined },
    ]);
    const [{ want }] = asked as [{ want: object }];
    expect("name" in want).toBe(true);
  });

  it("tells a missing value from an unknown one", async () => {
    expect((await check({ name: UNKNOWN })).failures).toEqual([]);
    expect((await check({})).failures).toEqual([{ property: "name", reason: "is required" }]);
    expect((await check({ name: UNKNOWN, other: UNKNOWN })).failures).toMatchObject([{ property: "other" }]);
  });

  it("gives old inputs where there are some, whatever they lack", async () => {
    const { resource, asked } = thing();
    await resource.check(front, { name: "x", gone: 1, size: 3 }, { name: "ab" });
    expect(asked).toMatchObject([{ old: { size: 3 } }]);
  });

  it("adds what the look at the pool resolved, and its failures", async () => {
    const examine = async () => ({ failures: [{ property: "name", reason: "is taken" }], inputs: { size: 7 } });
    expect(await check({ name: "ab" }, { examine })).toEqual({
      inputs: { name: "ab", size: 7, steps: [] },
      failures: [{ property: "name", reason: "is taken" }],
    });
  });

  it("never throws: what the look at the pool throws becomes failures", async () => {
    const refused = await check(
      { name: "ab" },
      { examine: () => Promise.reject(new InputError([{ property: "size", reason: "is too much" }])) },
    );
    expect(refused.failures).toEqual([{ property: "size", reason: "is too much" }]);
    const failed = await check({ name: "ab" }, { examine: () => Promise.reject(new ConflictError("it is in use", { hint: "wait" })) });
    expect(failed.failures).toEqual([{ property: "address", reason: "it is in use. Hint: wait" }]);
  });

  it("places what is said of a connector's property under the connector, unless the resource has one of that name", async () => {
    const shape = z.object({ connector: connectorInput, network: z.string().optional() });
    const said = [
      { property: "storageRepository", reason: "1" },
      { property: "tls.caCertificate", reason: "2" },
      { property: "network", reason: "3" },
      { property: "disk", reason: "4" },
    ];
    const resource = defineResource(nowhere, {
      type: "Linked",
      description: "",
      inputs: shape,
      outputs,
      examine: () => Promise.reject(new InputError(said)),
      create: async () => ({ id: "1", outputs: { made: "" } }),
      read: async () => undefined,
      update: async () => ({ made: "" }),
      delete: async () => {},
    });
    const connector = { address: "a", template: "t", storageRepository: "s", connectorId: "c" };
    const { failures } = await resource.check(front, undefined, { connector });
    expect(failures.map(({ property }) => property)).toEqual([
      "connector.storageRepository",
      "connector.tls.caCertificate",
      "network",
      "disk",
    ]);
  });
});

describe("the lifecycle", () => {
  it("refuses to create or update with what check would have refused", async () => {
    const { resource } = thing();
    for (const work of [resource.create(front, { name: "a" }), resource.update(front, "1", {}, { name: "a" })])
      await expect(work).rejects.toMatchObject({ kind: "input", failures: [{ property: "name" }], hint: "these are inputs of Thing" });
  });

  it("gives inputs and outputs together as state", async () => {
    const { resource } = thing();
    expect(await resource.create(front, { name: "ab" })).toEqual({ id: "1", outputs: { name: "ab", size: 20, steps: [], made: "now" } });
    expect(await resource.update(front, "1", { name: "ab", old: true }, { name: "cd" })).toEqual({
      outputs: { name: "cd", size: 20, steps: [], made: "again" },
    });
    // Read keeps what only the state knows.
    expect(await resource.read(front, "1", { name: "ab", later: 1 })).toEqual({ id: "1", outputs: { name: "ab", later: 1, made: "now" } });
  });

  it("says gone only when the definition does", async () => {
    expect(await thing({ read: async () => undefined }).resource.read(front, "1", {})).toBeUndefined();
    await expect(thing({ read: () => Promise.reject(new Error("can't look")) }).resource.read(front, "1", {})).rejects.toThrow(
      "can't look",
    );
  });

  it("keeps a half-made object with its inputs, the reason and its cause", async () => {
    const cause = new ConflictError("the guest said no");
    const half = () => Promise.reject(new InitFailedError("7", { made: "half", lost: undefined }, cause));
    const { resource } = thing({ create: half, update: half });
    for (const work of [resource.create(front, { name: "ab" }), resource.update(front, "7", {}, { name: "ab" })]) {
      const error = await work.catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(InitFailedError);
      expect(error).toMatchObject({ id: "7", reasons: ["the guest said no"], cause });
      expect((error as InitFailedError).outputs).toStrictEqual({ name: "ab", size: 20, steps: [], made: "half" });
    }
  });

  it("has no diff of its own unless the definition has one, and gives that the known inputs", async () => {
    expect(await thing().resource.diff(front, "1", {}, { name: "ab" })).toEqual({});
    const { resource } = thing({ diff: async (_ctx, _id, _old, want) => ({ changes: want.name === undefined && "name" in want }) });
    expect(await resource.diff(front, "1", {}, { name: UNKNOWN })).toEqual({ changes: true });
  });
});

it("finds what is unknown at any depth", () => {
  expect([UNKNOWN, [1, [UNKNOWN]], { a: { b: [{ c: UNKNOWN }] } }].map(holdsUnknown)).toEqual([true, true, true]);
  expect([undefined, null, "x", [], { a: [1, { b: null }] }].map(holdsUnknown)).toEqual([false, false, false, false, false]);
});

it("writes paths as Pulumi does", () => {
  expect(propertyPath(["install", 2, "run"])).toBe("install[2].run");
  expect(propertyPath(["a"])).toBe("a");
  expect(propertyPath([])).toBe("");
});
