import { on } from "node:events";
import { watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { checkout, Program, type Run } from "./testing.ts";

// A resource as small as can be, told by a definition as all others are; it writes down what it was called with.
const tinyProvider = (): string => `
import { appendFileSync } from "node:fs";
import * as z from ${JSON.stringify(join(checkout, "node_modules/zod/index.js"))};
import { dynamicFront } from ${JSON.stringify(join(checkout, "dist/provider/dynamic.js"))};
import { defineResource } from ${JSON.stringify(join(checkout, "dist/provider/resource.js"))};
import { InitFailedError, ConflictError, InputError } from ${JSON.stringify(join(checkout, "dist/provider/errors.js"))};

const told = (method, ctx, values) =>
  appendFileSync("calls.log", JSON.stringify({ method, urn: ctx.urn, config: ctx.config, values }) + "\\n");
const made = (inputs) => ({ token: "token-of-" + inputs.label, deep: { keep: "seen", key: "deep-secret" }, maybe: undefined });

const tiny = defineResource(undefined, {
  type: "Tiny",
  description: "Nothing.",
  inputs: z.object({
    label: z.string().min(1),
    count: z.number().int().default(3),
    password: z.string().optional().meta({ secret: true }),
    connector: z.strictObject({ address: z.string(), password: z.string().meta({ secret: true }).optional() }).optional(),
    steps: z.array(z.strictObject({ name: z.string(), secretEnv: z.record(z.string(), z.string()).optional().meta({ secret: true }) })).default([]),
    fail: z.enum(["no", "init", "conflict", "bug", "wait"]).default("no"),
  }),
  outputs: z.object({
    token: z.string().meta({ secret: true }),
    deep: z.object({ keep: z.string(), key: z.string().meta({ secret: true }) }),
    maybe: z.string().optional(),
  }),
  examine: async (ctx, want, old) => {
    told("examine", ctx, { want, old });
    if (want.label === "bad") throw new InputError([{ property: "steps[0].name", reason: "is bad" }]);
    ctx.report("examined " + want.label);
    return { failures: [] };
  },
  diff: async (ctx, id, old, want) => { told("diff", ctx, { id, old, want }); return {}; },
  create: async (ctx, inputs) => {
    told("create", ctx, { inputs });
    for (const n of [1, 2, 2, 3]) ctx.report("[" + n + "/3] making " + inputs.label);
    ctx.warn("made with care");
    if (inputs.fail === "wait") {
      // Nothing else keeps this process alive or ends it but its engine.
      process.on("exit", () => told("exit", ctx, { pid: process.pid }));
      await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve, { once: true }));
      told("aborted", ctx, { reason: ctx.signal.reason.message });
      throw ctx.signal.reason;
    }
    if (inputs.fail === "conflict") throw new ConflictError("it is somebody else's", { hint: "ask them" });
    if (inputs.fail === "bug") throw new TypeError("nobody thought of this");
    if (inputs.fail === "init") throw new InitFailedError("7", { ...made(inputs), ready: undefined }, new Error("the guest never came up"));
    return { id: "7", outputs: made(inputs) };
  },
  read: async (ctx, id, state) => { told("read", ctx, { id, state }); return made(state); },
  update: async (ctx, id, old, inputs) => { told("update", ctx, { id, old, inputs }); ctx.report("updating " + inputs.label); return made(inputs); },
  delete: async (ctx, id, state) => { told("delete", ctx, { id, state }); ctx.report("deleting " + state.label); },
});
export const dynamicProvider = dynamicFront([tiny]);
`;

const tinySdk = `
import { XenlayerResource } from ${JSON.stringify(join(checkout, "dist/sdk/dynamic.js"))};
const shape = { type: "Tiny", outputs: ["token", "deep", "maybe"], secrets: ["password", "connector.password", "steps.*.secretEnv"] };
export class Tiny extends XenlayerResource {
  constructor(name, args, opts) { super(shape, name, args, opts); }
}
`;

const tinyTypes = `
import * as pulumi from "@pulumi/pulumi";
export declare class Tiny extends pulumi.CustomResource {
  constructor(name: string, args: Record<string, unknown>, opts?: pulumi.CustomResourceOptions);
  readonly label: pulumi.Output<string>;
  readonly token: pulumi.Output<string>;
}
`;

// One program of each kind is type-checked, which costs seconds.
const fast = { PULUMI_NODEJS_TRANSPILE_ONLY: "true" };

const stub = () => ({ "provider.js": tinyProvider(), "index.js": tinySdk, "index.d.ts": tinyTypes });
const tiny = (text: string) => `import * as pulumi from "@pulumi/pulumi";\nimport * as xenlayer from "pulumi-xenlayer";\n${text}\n`;

// Several runs of the engine each, on whatever machine.
vi.setConfig({ testTimeout: 300_000 });

interface Call {
  method: string;
  urn?: string;
  config: Record<string, string>;
  values: Record<string, Record<string, unknown>>;
}
const calls = async (program: Program): Promise<Call[]> =>
  (await readFile(join(program.dir, "calls.log"), "utf8"))
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Call);

// PW stands in every secret, so that one search finds any of them.
const secretive = tiny(`
new xenlayer.Tiny("one", {
  label: "a", password: "PW-top", connector: { address: "x", password: "PW-nested" },
  steps: [{ name: "s", secretEnv: { KEY: pulumi.secret("PW-step") } }],
});
`);
const plainOne = (properties: string) => tiny(`new xenlayer.Tiny("one", { ${properties} });`);
const URN = "urn:pulumi:test::program::pulumi-nodejs:dynamic/xenlayer:Tiny::one";
const statuses = (run: Run, urn = URN) =>
  run.events
    .filter(({ diagnosticEvent }) => diagnosticEvent?.ephemeral === true && diagnosticEvent.urn === urn)
    .map(({ diagnosticEvent }) => diagnosticEvent?.message.trim());
const only = <T>(list: T[]): T => {
  const [first] = list;
  if (first === undefined || list.length !== 1) throw new Error(`expected one, got ${list.length}`);
  return first;
};

describe.each(["esm", "commonjs"] as const)("a %s program", (module) => {
  it("makes, keeps, refreshes, changes and deletes a resource, type-checked", async () => {
    const config = { "xenlayer:username": "root", "xenlayer:password": "secret:PW-config" };
    await using program = await Program.make({ module, stub: stub(), program: secretive, config });
    await program.expect(["up", "--skip-preview"]);
    await program.expect(["refresh", "--skip-preview"]);
    const again = await program.expect(["preview", "--expect-no-changes"]);
    await program.edit(secretive.replace('"a"', '"b"'));
    await program.expect(["up", "--skip-preview"]);
    await program.expect(["destroy", "--skip-preview"]);

    expect(again.output).toContain("2 unchanged");
    const made = await calls(program);
    expect(made.map(({ method }) => method).filter((method) => !["examine", "diff"].includes(method))).toEqual([
      "create",
      "read",
      "update",
      "delete",
    ]);
    for (const call of made) {
      expect(call.urn).toBe(URN);
      expect(call.config).toEqual({ username: "root", password: "PW-config" });
      expect(
        Object.values(call.values)
          .flatMap((value) => Object.keys(Object(value)))
          .filter((key) => key.startsWith("__")),
      ).toEqual([]);
    }
    const created = made.find(({ method }) => method === "create");
    expect(created?.values.inputs).toMatchObject({ password: "PW-top", steps: [{ secretEnv: { KEY: "PW-step" } }] });
  });
});

describe("the serialised provider", () => {
  it("is one small text without secrets, the same for every resource of a type, kept in inputs and outputs", async () => {
    const two = secretive + tiny('new xenlayer.Tiny("two", { label: "other" });').split("\n").slice(2).join("\n");
    await using program = await Program.make({ module: "esm", stub: stub(), program: two, env: fast });
    await program.expect(["up", "--skip-preview"]);
    const resources = await program.resources();
    expect(resources.length).toBe(2);
    const texts = new Set(resources.flatMap(({ inputs, outputs }) => [inputs.__provider, outputs.__provider]));
    const text = only([...texts]);
    expect(text).not.toContain("PW");
    expect(Buffer.byteLength(String(text))).toBeLessThan(1000);
    expect(String(text)).toMatchInlineSnapshot(`
      "exports.handler = __f0;

      var __provider = {configure: __f1};

      function __f1(__0) {
        return (function() {
          with({ type: "Tiny", this: undefined, arguments: undefined }) {

      return function /*configure*/(request) {
                  const load = () => new Function("name", "return import(name)")("pulumi-xenlayer/provider");
                  for (const method of ["check", "diff", "create", "read", "update", "delete"])
                      this[method] = async (...values) => (await load()).dynamicProvider(type, request.config)[method](...values);
                  return Promise.resolve();
              };

          }
        }).apply(undefined, undefined).apply(this, arguments);
      }

      function __f0() {
        return (function() {
          with({ provider: __provider, this: undefined, arguments: undefined }) {

      return () => provider;

          }
        }).apply(undefined, undefined).apply(this, arguments);
      }
      "
    `);
  });

  it("is configured before it works, however many calls come first at once", async () => {
    const many = tiny('for (const n of "abcdefgh") new xenlayer.Tiny(n, { label: n });');
    await using program = await Program.make({
      module: "esm",
      stub: stub(),
      program: many,
      config: { "xenlayer:username": "root" },
      env: { ...fast, PULUMI_PARALLEL_DIFF: "true" },
    });
    await program.expect(["up", "--skip-preview"]);
    await program.expect(["refresh", "--skip-preview"]);
    await program.expect(["destroy", "--skip-preview"]);
    const made = await calls(program);
    expect(made.filter(({ method }) => method === "read").length).toBe(8);
    expect(made.filter(({ method }) => method === "delete").length).toBe(8);
    expect(made.filter(({ config }) => config.username !== "root")).toEqual([]);
  });
});

describe("secrets", () => {
  it("are encrypted in the state, however it came about, and hide no more than themselves from a reviewer", async () => {
    await using program = await Program.make({ module: "esm", stub: stub(), program: secretive, env: fast });
    const clear = async () => (await program.storedState()).match(/PW-\w+|token-of-\w+|deep-secret/g) ?? [];
    const preview = await program.expect(["preview", "--diff"]);
    expect(preview.output).not.toContain("PW");
    expect(preview.output).toMatch(/name +: "s"\s+secretEnv: \[secret\]/);
    expect(preview.output).toMatch(/address : "x"\s+password: \[secret\]/);

    await program.expect(["up", "--skip-preview"]);
    expect(await clear()).toEqual([]);
    await program.edit(secretive.replace('name: "s"', 'name: "t"'));
    const change = await program.expect(["up", "--skip-preview", "--diff"]);
    expect(change.output).toContain('~ name: "s" => "t"');
    expect(change.output).not.toContain("PW");
    expect(await clear()).toEqual([]);
    await program.expect(["refresh", "--skip-preview"]);
    expect(await clear()).toEqual([]);
    await program.edit(secretive.replace('"a"', '"c", fail: "init"').replace('"one"', '"half"'));
    expect((await program.pulumi(["up", "--skip-preview"])).code).not.toBe(0);
    expect(await clear()).toEqual([]);
    const stored = JSON.stringify(await program.resources());
    for (const secret of ["PW-top", "PW-nested", "PW-step", "token-of-c", "deep-secret"]) expect(stored).toContain(secret);
  });

  it("that preview can't know yet are neither refused nor shown", async () => {
    const chained = tiny(`
const first = new xenlayer.Tiny("one", { label: "a" });
new xenlayer.Tiny("two", { label: "b", steps: [{ name: "s", secretEnv: { KEY: "PW-known", TOKEN: first.token } }] });
`);
    await using program = await Program.make({ module: "esm", stub: stub(), program: chained, env: fast });
    const preview = await program.expect(["preview", "--diff"]);
    expect(preview.output).not.toContain("PW");
    await program.expect(["up", "--skip-preview"]);
    expect((await calls(program)).findLast(({ method }) => method === "create")?.values.inputs).toMatchObject({
      steps: [{ secretEnv: { KEY: "PW-known", TOKEN: "token-of-a" } }],
    });
    expect(await program.storedState()).not.toMatch(/PW-known|token-of-a/);
  });
});

describe("status lines", () => {
  it("reach the engine on the resource's row, in their order and once each", async () => {
    await using program = await Program.make({ module: "esm", stub: stub(), program: plainOne('label: "a"'), env: fast });
    const up = await program.expect(["up", "--skip-preview"]);
    expect(statuses(up)).toEqual(["examined a", "[1/3] making a", "[2/3] making a", "[3/3] making a"]);
    const warnings = up.events.filter(({ diagnosticEvent }) => diagnosticEvent?.severity === "warning");
    expect(only(warnings).diagnosticEvent).toMatchObject({ urn: URN, message: "made with care\n" });
    const destroy = await program.expect(["destroy", "--skip-preview"]);
    expect(statuses(destroy)).toEqual(["deleting a"]);
  });

  it("carry the URN of a resource inside a component", async () => {
    const nested = tiny(`
class Group extends pulumi.ComponentResource {
  constructor(name: string) {
    super("test:index:Group", name);
    new xenlayer.Tiny("one", { label: "a" }, { parent: this });
    this.registerOutputs({});
  }
}
new Group("group");
`);
    await using program = await Program.make({ module: "esm", stub: stub(), program: nested, env: fast });
    const preview = await program.expect(["preview"]);
    expect(statuses(preview, URN.replace("pulumi-nodejs", "test:index:Group$pulumi-nodejs"))).toEqual(["examined a"]);
  });
});

describe("diff", () => {
  it("names the property that changed and nothing else, not even what a new name with an alias changes", async () => {
    await using program = await Program.make({ module: "esm", stub: stub(), program: plainOne('label: "a"'), env: fast });
    await program.expect(["up", "--skip-preview"]);
    const renamed = (properties: string) => tiny(`new xenlayer.Tiny("uno", { ${properties} }, { aliases: [{ name: "one" }] });`);
    await program.edit(renamed('label: "a"'));
    await program.expect(["preview", "--expect-no-changes"]);
    await program.edit(renamed('label: "a", count: 4'));
    const preview = await program.expect(["preview"]);
    const steps = preview.events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? []);
    const step = steps.find(({ urn }) => urn.endsWith("Tiny::uno"));
    expect(step?.op).toBe("update");
    // What starts with two underscores is never shown.
    expect(step?.diffs?.filter((name) => !name.startsWith("__"))).toEqual(["count"]);
  });
});

describe("what goes wrong", () => {
  it("in check is one line by its property", async () => {
    await using program = await Program.make({ module: "esm", stub: stub(), program: plainOne('label: "bad"'), env: fast });
    const preview = await program.pulumi(["preview"]);
    expect(preview.code).not.toBe(0);
    expect(preview.output).toContain("resource 'one': property steps[0].name value {<nil>} has a problem: is bad");
    expect(preview.output).not.toMatch(/^ +at /m);
  });

  it("in create says what to do next, a bug where it happened, and nothing is left in the state", async () => {
    const both = 'new xenlayer.Tiny("one", { label: "a", fail: "conflict" }); new xenlayer.Tiny("two", { label: "b", fail: "bug" });';
    await using program = await Program.make({ module: "esm", stub: stub(), program: tiny(both), env: fast });
    const up = await program.pulumi(["up", "--skip-preview"]);
    expect(up.code).not.toBe(0);
    expect(up.output).toContain("error: it is somebody else's. Hint: ask them\n");
    expect(up.output).toMatch(/nobody thought of this \(an error in xenlayer itself, please report it\)\n +at .*provider\.js/);
    expect(await program.resources()).toEqual([]);
  });

  it("after the object exists keeps it with its reason; the next up goes on, and it can be deleted", async () => {
    await using program = await Program.make({ module: "esm", stub: stub(), program: plainOne('label: "a", fail: "init"'), env: fast });
    const failed = await program.pulumi(["up", "--skip-preview"]);
    expect(failed.output).toContain("the guest never came up");
    expect(only(await program.resources())).toMatchObject({ id: "7", initErrors: ["the guest never came up"] });
    await program.edit(plainOne('label: "a"'));
    await program.expect(["up", "--skip-preview"]);
    expect(only(await program.resources()).initErrors).toBeUndefined();
    await program.expect(["destroy", "--skip-preview"]);
    expect((await calls(program)).map(({ method }) => method).filter((method) => method !== "examine")).toEqual([
      "create",
      "diff",
      "update",
      "delete",
    ]);
  });
});

describe("a provider whose engine was killed", () => {
  it("notices, stops its work and ends", async () => {
    await using program = await Program.make({ module: "esm", stub: stub(), program: plainOne('label: "a", fail: "wait"'), env: fast });
    const heard = async (method: string) => {
      for await (const _ of changes(program.dir)) {
        const call = (await calls(program).catch(() => [])).find((candidate) => candidate.method === method);
        if (call !== undefined) return call;
      }
      throw new Error("unreachable: a folder is watched until the test ends");
    };
    const pulumi = program.start();
    await heard("create");
    pulumi.kill("SIGKILL");
    expect((await heard("aborted")).values.reason).toBe("cancelled while working for Pulumi: its engine is gone");
    await heard("exit");
  });
});

/** Once at the start, then at every change in the folder. */
async function* changes(dir: string): AsyncGenerator<void> {
  const watcher = watch(dir);
  try {
    const seen = on(watcher, "change");
    yield;
    for await (const _ of seen) yield;
  } finally {
    watcher.close();
  }
}
