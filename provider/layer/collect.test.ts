// Clean-up on a pool where runs were killed, things are unreadable, and people have made copies: what is ours and over goes, all else stays.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { main } from "../cli.ts";
import { connectFor } from "../session.ts";
import { inMachine } from "../testing/machines.ts";
import { changes, killedAt, type OpenStage, openStage, Story, type StoryLayer, step } from "../testing.ts";
import type { Xapi } from "../xapi/client.ts";
import { boundMarks, marksFor } from "./marks.ts";
import type { Fate } from "./survey.ts";

interface Told {
  things: {
    what: string;
    fate: Fate;
    why: string;
    connector?: string;
    layer?: string;
    version?: string;
    since?: string;
    lease?: { host: string };
    bytes: number;
    objects: { uuid: string; name_label: string }[];
  }[];
  removed: { what: string }[];
  failed: { problem: string }[];
  space: { before: { thin: boolean }[]; after: unknown[] };
}

let stage: OpenStage;
let story: Story;
let xapi: Xapi;
let mine: string;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage);
  mine = String(story.config.outputs.connectorId);
});
afterAll(() => stage?.close());
// Each test is a program of its own.
beforeEach(() => {
  stage.front.program = {};
});
afterEach(() => vi.unstubAllEnvs());

const cli = (...more: string[]) => cliWith(stage.sim.password, ...more);
async function cliWith(password: string, ...more: string[]): Promise<{ code: number; out: string; err: string }> {
  vi.stubEnv("XENLAYER_USERNAME", stage.sim.username);
  vi.stubEnv("XENLAYER_PASSWORD", password);
  const said: Record<"out" | "err", string[]> = { out: [], err: [] };
  const code = await main(["gc", "--address", stage.sim.url, ...more], {
    out: (text) => said.out.push(text),
    err: (text) => said.err.push(text),
  });
  vi.unstubAllEnvs();
  return { code, out: said.out.join(""), err: said.err.join("") };
}
const told = async (...more: string[]): Promise<Told & { code: number }> => {
  const { code, out } = await cli("--json", ...more);
  return { code, ...(JSON.parse(out) as Told) };
};
const left = ({ things }: Told) =>
  things.filter(({ fate }) => fate === "left behind").map(({ what, layer, version }) => [what, layer, version].filter(Boolean).join(" "));
const collected = () => told("--connector", mine, "--yes");
const pool = async (): Promise<Xapi> => {
  xapi = await connectFor(stage.front, stage.connector() as never);
  return xapi;
};
const otherConfig = (uuid: string, change: (old: Record<string, string>) => Record<string, string>) => {
  const [ref, vdi] = stage.sim.db.all("VDI").find(([, { uuid: other }]) => other === uuid) ?? [];
  if (ref === undefined || vdi === undefined) throw new Error(`no VDI ${uuid}`);
  stage.sim.db.update("VDI", ref, { other_config: change(vdi.other_config) });
};
const refOf = (uuid: string): string => stage.sim.db.all("VDI").find(([, vdi]) => vdi.uuid === uuid)?.[0] ?? "";

describe("what is left behind", () => {
  let layer: StoryLayer;
  beforeAll(async () => {
    layer = await story.layer("collected");
  });

  it("is nothing where all is well; versions, evidence and records are told, and none is touched", async () => {
    await layer.version("1.0");
    const before = stage.pool();
    const { code, things } = await told("--connector", mine);
    expect(things.map(({ what, fate, layer, version }) => [fate, what, layer, version ?? ""].join(" ").trimEnd()).sort()).toEqual([
      "kept layer collected",
      "kept layer win11",
      "kept version collected 1.0",
      "kept version win11 1.0",
    ]);
    expect(things.find(({ version, layer }) => layer === "collected" && version === "1.0")).toMatchObject({
      connector: mine,
      why: "sealed",
      objects: [{}, {}],
    });
    expect(code).toBe(0);
    expect((await collected()).removed).toEqual([]);
    expect(changes(before, stage.pool())).toEqual([]);
  });

  it("is a copy of a run that was killed while it cloned, shown before it goes, and the version stays open", async () => {
    expect(await killedAt(stage, { message: /VDI.clone$/, after: true }, () => layer.disk("1.1"))).toBe(true);
    const pending = await told();
    expect(left(pending)).toEqual(["unfinished copy collected 1.1"]);
    expect(pending.code).toBe(3);
    const open = pending.things.find(({ version }) => version === "1.1");
    expect(open?.since ?? "").toMatch(/^\d{4}-/);
    const before = stage.sim.db.all("VDI").length;
    const { code, removed, failed } = await collected();
    expect({ code, failed, removed: removed.map(({ what }) => what) }).toEqual({ code: 0, failed: [], removed: ["unfinished copy"] });
    expect(stage.sim.db.all("VDI").length).toBe(before - 1);
    expect(left(await told())).toEqual([]);
    // The next run goes on as if nothing had been.
    const disk = await layer.disk("1.1");
    await stage.destroy(disk);
  });

  it("is not what somebody else copied while the key was on its source, once the copying has ended", async () => {
    const base = (await layer.entry("1.0")).vdi ?? "";
    const clones: string[] = [];
    const theirs = async () => {
      const [ref] = stage.sim.db.all("VDI").find(([, vdi]) => vdi.uuid === base) ?? [""];
      clones.push(await (await pool()).call<string>("VDI.clone", ref));
    };
    otherConfig(base, (old) => ({ ...old, "xenlayer:copying:0123456789abcdef0123456789abcdef": "2026-01-01T00:00:00Z" }));
    await theirs();
    otherConfig(base, ({ "xenlayer:copying:0123456789abcdef0123456789abcdef": _, ...old }) => old);
    const seen = await told();
    expect(left(seen)).toEqual([]);
    expect(seen.things.filter(({ fate }) => fate === "in doubt").map(({ why }) => why)).toEqual(["a copy that somebody made"]);
    const { code } = await collected();
    expect(code).toBe(0);
    for (const clone of clones) {
      expect(await xapi.record("VDI", clone)).toBeDefined();
      await xapi.destroy("VDI", clone);
    }
  });

  it("is an in-flight key that nobody knows any more", async () => {
    const base = (await layer.entry("1.0")).vdi ?? "";
    const before = stage.pool();
    otherConfig(base, (old) => ({ ...old, "xenlayer:copying:ffff": "2026-01-01T00:00:00Z" }));
    const seen = await told();
    expect(seen.things.find(({ what }) => what === "in-flight key")).toMatchObject({
      fate: "left behind",
      since: "2026-01-01T00:00:00Z",
      connector: mine,
    });
    expect((await collected()).code).toBe(0);
    expect(changes(before, stage.pool())).toEqual([]);
  });

  it("is the build that was made anew, its machine with it, but not while the machine runs", async () => {
    const disk = await layer.disk("1.2");
    await layer.machine(disk);
    // A run that was killed right after it had said that the build is made anew.
    const inputs = layer.inputs("1.2", { machine: { install: [step("other.exe")] } }).machine(disk.id);
    expect(await killedAt(stage, { message: /^(Async\.)?VM\.destroy$/ }, () => stage.create("PackagingMachine", inputs))).toBe(true);
    const [vm = ""] = stage.sim.db.all("VM").find(([, { name_label }]) => name_label.startsWith("collected 1.2 packaging")) ?? [];
    expect(left(await told())).toContain("stale build collected 1.2");
    await (await pool()).call("VM.start", vm, false, false);
    const running = await told("--connector", mine, "--yes");
    expect(running.things.find(({ what }) => what === "stale build")).toMatchObject({
      fate: "in doubt",
      why: expect.stringContaining("shut it down first"),
    });
    await xapi.call("VM.hard_shutdown", vm);
    const { code, removed } = await collected();
    expect({ code, removed: removed.map(({ what }) => what) }).toEqual({ code: 0, removed: ["stale build"] });
    expect(stage.sim.db.all("VM").some(([ref]) => ref === vm)).toBe(false);
    expect((await layer.entry("1.0")).state).toBe("Deployable");
    await stage.destroy(disk);
    expect(left(await told())).toEqual([]);
  });

  it("is the machine of a version whose run was killed between the seal and its removal", async () => {
    const disk = await layer.disk("1.3");
    await layer.machine(disk);
    expect(await killedAt(stage, { message: /^(Async\.)?VM\.destroy$/ }, () => layer.seal(disk, "1.3"))).toBe(true);
    expect(left(await told())).toEqual(["packaging machine collected 1.3"]);
    expect((await collected()).code).toBe(0);
    expect((await layer.entry("1.3")).state).toBe("Deployable");
    const seal = await layer.seal(disk, "1.3");
    await stage.destroy(seal);
  });

  it("is a removal that a killed run has begun", async () => {
    const retained = await story.layer("retained", { retention: { keep: 0 } });
    const { seal } = await retained.version("1.0");
    expect(await killedAt(stage, { message: /^(Async\.)?VDI\.destroy$/ }, () => stage.destroy(seal))).toBe(true);
    expect(left(await told())).toEqual(["version retained 1.0"]);
    expect((await collected()).code).toBe(0);
    expect((await retained.record()).versions.size).toBe(0);
    await stage.destroy(retained.made);
  });

  it("is not an image's disk that was cloned from the version and migrated since, whenever the removal was killed", async () => {
    const imaged = await story.layer("imaged");
    await imaged.version("1.0", { machine: { install: [] } });
    const { $ref, SR } = (await (await pool()).get("VDI", (await imaged.entry("1.0")).vdi ?? "")) ?? { $ref: "", SR: "" };
    // What a storage migration leaves of a clone: the description, and no marks.
    const image = await xapi.task<string>("VDI.copy", [$ref, SR, "OpaqueRef:NULL", "OpaqueRef:NULL"]);
    await xapi.call("VDI.set_other_config", image, {});
    const remove = await inMachine(xapi, image);
    const { holders: _, ...entry } = await imaged.entry("1.0");
    await (await imaged.record()).put("1.0", { ...entry, holders: {} });
    // Disk and evidence have gone, the entry has not.
    expect(await killedAt(stage, { message: /VDI\.destroy$/, skip: 1, after: true }, () => stage.destroy(imaged.made))).toBe(true);
    expect(refOf(entry.vdi ?? "")).toBe("");
    expect(left(await told())).toEqual(["version imaged 1.0"]);
    expect((await collected()).code).toBe(0);
    expect((await (await pool()).record("VDI", image))?.VBDs).toHaveLength(1);
    await stage.destroy(imaged.made);
    expect((await xapi.record("VDI", image))?.VBDs).toHaveLength(1);
    await remove();
    await xapi.destroy("VDI", image);
  });

  it("is a record that was never finished, once nobody is making it", async () => {
    expect(await killedAt(stage, { message: /VDI.set_name_description$/ }, () => story.layer("halfway"))).toBe(true);
    const [, record] = stage.sim.db.all("VDI").find(([, { name_label }]) => name_label.startsWith("halfway")) ?? [];
    // Another run's claim, alive as far as anybody can tell.
    const claim = { run: "other", host: "elsewhere", pid: 1, until: Date.now() + 60_000 };
    otherConfig(record?.uuid ?? "", (old) => ({ ...old, "xenlayer:claim": JSON.stringify(claim) }));
    expect((await told()).things.find(({ what }) => what === "half-made record")).toMatchObject({ fate: "busy" });
    expect((await collected()).removed).toEqual([]);
    otherConfig(record?.uuid ?? "", (old) => ({ ...old, "xenlayer:claim": JSON.stringify({ ...claim, until: Date.now() - 1 }) }));
    expect((await collected()).removed.map(({ what }) => what)).toEqual(["half-made record"]);
    expect(refOf(record?.uuid ?? "")).toBe("");
  });

  it("is a disk that no version knows and that was never sealed; one that was sealed is in doubt", async () => {
    const sealed = (await layer.entry("1.0")).vdi ?? "";
    const { $ref } = (await (await pool()).get("VDI", sealed)) ?? { $ref: "" };
    const lost = async (more: Record<string, string>): Promise<string> => {
      const ref = await xapi.call<string>("VDI.clone", $ref);
      const uuid = (await xapi.record("VDI", ref))?.uuid ?? "";
      const build = `${uuid.replaceAll("-", "")}`;
      const marks = { connector: mine, role: "disk", layer: layer.id, version: build, build } as const;
      await xapi.call("VDI.set_other_config", ref, { ...boundMarks(marks, uuid), ...more });
      return uuid;
    };
    const [open, once] = [await lost({ "xenlayer:open": "2026-01-01T00:00:00Z" }), await lost({})];
    const seen = await told();
    const fateOf = (uuid: string) => seen.things.find(({ objects }) => objects.some((object) => object.uuid === uuid))?.fate;
    expect([fateOf(open), fateOf(once)]).toEqual(["left behind", "in doubt"]);
    expect((await collected()).code).toBe(0);
    expect([refOf(open), refOf(once) !== ""]).toEqual(["", true]);
    await xapi.destroy("VDI", refOf(once));
  });
});

describe("what is left alone", () => {
  let layer: StoryLayer;
  beforeAll(async () => {
    layer = await story.layer("alone");
    await layer.version("1.0");
  });

  it("is what a live run is at work on: its lease is told", async () => {
    expect(await killedAt(stage, { message: /VDI.clone$/, after: true }, () => layer.disk("2.0"))).toBe(true);
    const record = await layer.record();
    const entry = await layer.entry("2.0");
    const lease = { run: "other", host: "elsewhere", pid: 4711, until: Date.now() + 60_000 };
    await record.put("2.0", { ...entry, lease });
    const before = stage.pool();
    const { out, code } = await cli("--connector", mine, "--yes");
    expect(out).toMatch(/^busy +unfinished copy +alone\/2\.0.*elsewhere 4711 until \d{4}-/m);
    expect(code).toBe(0);
    expect(changes(before, stage.pool())).toEqual([]);
    await record.put("2.0", entry);
    expect((await collected()).removed.map(({ what }) => what)).toEqual(["unfinished copy"]);
    const disk = await layer.disk("2.0");
    await stage.destroy(disk);
  });

  it("is another connector's, unless that is named", async () => {
    const other = { ...marksFor({ connector: "f".repeat(32), role: "probe" }), "xenlayer:made": "2026-01-01T00:00:00Z" };
    const sr = (await (await pool()).get("VDI", (await layer.entry("1.0")).vdi ?? ""))?.SR;
    const fields = { name_description: "", SR: sr, virtual_size: 2 ** 21, type: "user", sharable: false, read_only: false };
    const ref = await xapi.call<string>("VDI.create", { ...fields, name_label: "probe of another", other_config: other });
    expect(left(await told("--connector", mine))).toEqual([]);
    expect(left(await told())).toEqual(["probe disk"]);
    expect((await collected()).removed).toEqual([]);
    expect(await xapi.record("VDI", ref)).toBeDefined();
    const refused = await cli("--yes");
    expect(refused.code).toBe(2);
    expect(refused.err).toContain("--yes needs --connector");
    expect((await told("--connector", "f".repeat(32), "--yes")).removed.map(({ what }) => what)).toEqual(["probe disk"]);
    expect(await xapi.record("VDI", ref)).toBeUndefined();
  });

  it("is what people have copied, backed up and cloned: named, and there afterwards", async () => {
    const entry = await layer.entry("1.0");
    const disk = await (await pool()).get("VDI", entry.vdi ?? "");
    const evidence = await xapi.get("VDI", entry.sealed?.evidence ?? "");
    const record = await xapi.get("VDI", layer.id);
    const theirs: string[] = [];
    for (const vdi of [disk, evidence, record]) {
      theirs.push(await xapi.call<string>("VDI.clone", vdi?.$ref), await xapi.call<string>("VDI.snapshot", vdi?.$ref));
      theirs.push(await xapi.task<string>("VDI.copy", [vdi?.$ref, vdi?.SR, "OpaqueRef:NULL", "OpaqueRef:NULL"]));
    }
    const seen = await collected();
    expect(seen.removed).toEqual([]);
    expect(seen.things.filter(({ fate }) => fate === "in doubt").length).toBeGreaterThanOrEqual(7);
    for (const ref of theirs) {
      expect(await xapi.record("VDI", ref)).toBeDefined();
      await xapi.destroy("VDI", ref);
    }
  });

  it.each([
    ["from a newer release", { "xenlayer:format": "2" }],
    ["that are no JSON", { "xenlayer:version:9.9:1": "{" }],
    ["with a name that can't be decoded", { "xenlayer:version:%E0%A4%A:1": "{}" }],
    ["without a generation", { "xenlayer:meta:x": "{}" }],
  ])("is what bears marks %s: its layer's disks are named and stay", async (_what, more) => {
    const before = stage.pool();
    otherConfig(layer.id, (old) => ({ ...old, ...more }));
    const seen = await collected();
    expect(seen.removed).toEqual([]);
    if (!("xenlayer:format" in more))
      expect(seen.things.filter(({ fate }) => fate === "in doubt").map(({ what }) => what)).toEqual(["layer record", "lost build"]);
    otherConfig(layer.id, (old) =>
      Object.fromEntries(
        Object.entries(old).flatMap(([key, value]) => (key === "xenlayer:format" ? [[key, "1"]] : key in more ? [] : [[key, value]])),
      ),
    );
    expect(changes(before, stage.pool())).toEqual([]);
  });

  it("is shown as a table, with what the storage says", async () => {
    const { out } = await cli();
    const [head = "", ...rows] = out.split("\n");
    expect(head).toMatch(/^FATE +WHAT +LAYER\/VERSION +CONNECTOR +SINCE +SPACE +WHY$/);
    const row = rows.find((line) => line.includes("alone/1.0")) ?? "";
    expect(row).toMatch(new RegExp(`^kept +version +alone/1\\.0 +${mine} +\\d{4}-\\d\\d-\\d\\dT\\S+ +[\\d.]+ GiB +sealed$`));
    expect(out).toMatch(/^"Local storage": [\d.]+ GiB of [\d.]+ GiB used$/m);
    expect(out).toContain("Left behind: 0 things.");
  });

  it("is all of it where the account is refused", async () => {
    const { code, out, err } = await cliWith("wrong-password");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain("SESSION_AUTHENTICATION_FAILED");
    expect(err).not.toContain("wrong-password");
  });
});
