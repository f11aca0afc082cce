import { spawnSync } from "node:child_process";
import { hostname } from "node:os";
import { afterAll, beforeAll, beforeEach, expect, it, vi } from "vitest";
import type { Context } from "../resource.ts";
import { connectFor } from "../session.ts";
import { type OpenStage, openStage, Story, type StoryLayer } from "../testing.ts";
import type { Entry, Lease } from "./entry.ts";
import { abandon, demandFree, freeToTake, type Held, withLease } from "./lease.ts";
import type { LayerRecord } from "./record.ts";

let stage: OpenStage;
let layer: StoryLayer;
let record: LayerRecord;
let cancel: AbortController;
let ctx: Context;
const said: string[] = [];
beforeAll(async () => {
  stage = await openStage();
  layer = await (await Story.begin(stage)).layer("plat");
});
afterAll(() => stage?.close());
beforeEach(async () => {
  record = await layer.record();
  await record.remove("1");
  said.length = 0;
  cancel = new AbortController();
  ctx = {
    ...stage.front,
    report: (line) => said.push(line),
    signal: cancel.signal,
    connect: (connector) => connectFor(stage.front, connector),
  };
});

const entry = (note: string, lease?: Lease): Entry => ({
  format: 1,
  id: "i",
  build: note,
  state: "Editing",
  content: { format: 1 },
  holders: {},
  createdAt: "",
  ...(lease === undefined ? {} : { lease }),
});
const lease = (more: Partial<Lease> = {}): Lease => ({ run: "another", host: "elsewhere", pid: 4711, until: Date.now() + 60_000, ...more });
const now = async (): Promise<Entry | undefined> => (await layer.record()).versions.get("1");
const turn = () => new Promise((resolve) => setImmediate(resolve));

it("holds the version while the work goes on, and gives it back with the last write", async () => {
  const result = await withLease(
    ctx,
    record,
    "1",
    () => entry("begun"),
    async (held) => {
      expect((await now())?.lease).toMatchObject({ host: hostname(), pid: process.pid });
      await held.update((current) => ({ ...current, build: `${current.build}, updated` }));
      expect(held.entry.build).toBe("begun, updated");
      expect(await now()).toMatchObject({ build: "begun, updated", lease: { pid: process.pid } });
      return { result: "made", finish: (current) => ({ ...current, build: `${current.build}, finished` }) };
    },
  );
  expect(result).toBe("made");
  expect(await now()).toEqual(entry("begun, updated, finished"));
});

it("gives it back as it is when the work fails, and passes the error on", async () => {
  const failing = withLease(
    ctx,
    record,
    "1",
    () => entry("begun"),
    async (held) => {
      await held.update((current) => ({ ...current, build: "half" }));
      throw new Error("no luck");
    },
  );
  await expect(failing).rejects.toThrow("no luck");
  expect(await now()).toEqual(entry("half"));
});

it("does not take back what was written last where only the former entry could not be taken away", async () => {
  const sealed: Entry = { ...entry("made"), state: "Deployable" };
  const result = await withLease(
    ctx,
    record,
    "1",
    () => entry("begun"),
    async () => {
      stage.sim.fault({ message: "VDI.remove_from_other_config", code: "INTERNAL_ERROR", times: 2 });
      return { result: "made", finish: () => sealed };
    },
  );
  stage.sim.clearFaults();
  expect(result).toBe("made");
  expect(await now()).toEqual(sealed);
});

it("leaves a last write that could not be confirmed, and does not say that another run wrote it", async () => {
  const sealed: Entry = { ...entry("made"), state: "Deployable" };
  const work = withLease(
    ctx,
    record,
    "1",
    () => entry("begun"),
    async () => {
      stage.sim.fault({ message: "VDI.get_record", code: "INTERNAL_ERROR" });
      return { result: "made", finish: () => sealed };
    },
  );
  await expect(work).rejects.toThrow("VDI.get_record failed: INTERNAL_ERROR");
  expect(await now()).toEqual(sealed);
});

it("waits for a live run, says for whom, and goes on as soon as that one is done", async () => {
  const theirs = await layer.record();
  await theirs.put("1", entry("theirs", lease()));
  await record.refresh();
  const waiting = withLease(
    ctx,
    record,
    "1",
    (before) => ({ ...(before as Entry), build: `${before?.build}, then ours` }),
    async (held) => ({ result: held.entry.build }),
  );
  await vi.waitFor(() => expect(said).toEqual(["version 1 is held by a run on elsewhere (process 4711); waiting for it"]));
  await theirs.put("1", entry("theirs, working", lease()));
  await turn();
  await theirs.put("1", entry("theirs, done"));
  expect(await waiting).toBe("theirs, done, then ours");
});

it("does nothing where the run that was waited for has done it", async () => {
  const theirs = await layer.record();
  await theirs.put("1", entry("theirs", lease()));
  await record.refresh();
  const waiting = withLease(
    ctx,
    record,
    "1",
    (before) => (before?.state === "Deployable" ? undefined : before),
    async () => expect.fail("there is nothing to do"),
  );
  await theirs.put("1", { ...entry("theirs"), state: "Deployable" });
  expect(await waiting).toBeUndefined();
  expect(await now()).toEqual({ ...entry("theirs"), state: "Deployable" });
});

/** What a lease of this process says of its machine. */
async function thisMachine(): Promise<string> {
  const own = await withLease<Lease | undefined>(
    ctx,
    record,
    "1",
    () => entry("ours"),
    async (held) => ({ result: held.entry.lease }),
  );
  if (own?.machine === undefined) throw new Error("this machine can't be told from others");
  return own.machine;
}

it("overtakes a run that is dead, wherever it can be told", async () => {
  const ended = spawnSync("true").pid ?? 0;
  const machine = await thisMachine();
  for (const dead of [
    lease({ until: Date.now() - 1 }),
    lease({ machine, pid: ended }),
    // Its process id was given to another process since.
    lease({ machine, pid: process.pid, started: "1" }),
  ]) {
    await record.refresh();
    await record.put("1", entry("dead", dead));
    await withLease(
      ctx,
      record,
      "1",
      () => entry("ours"),
      async () => ({ result: true }),
    );
    expect(await now()).toEqual(entry("ours"));
  }
  expect(said).toEqual([]);
});

it("overtakes neither a live process of this machine, nor any of a machine or container that has only the same name", async () => {
  const machine = await thisMachine();
  const ended = spawnSync("true").pid ?? 0;
  for (const theirs of [
    lease({ host: hostname(), pid: ended }),
    lease({ host: hostname(), machine: `${machine}0`, pid: ended }),
    lease({ host: hostname(), machine, pid: process.pid }),
  ]) {
    await record.put("1", entry("theirs", theirs));
    expect(() => demandFree(record, "1")).toThrow(/is being worked on by a run on/);
  }
  const waiting = freeToTake(ctx, record, "1");
  await vi.waitFor(() => expect(said).toHaveLength(1));
  cancel.abort();
  await expect(waiting).rejects.toThrow(
    'cancelled while waiting for version 1 of layer "plat" to be free; last seen: version 1 is held by a run on',
  );
});

it("refuses a lease that is longer than any: somebody's clock is ahead", async () => {
  await record.put("1", entry("theirs", lease({ until: Date.now() + 3_600_000 })));
  await expect(freeToTake(ctx, record, "1")).rejects.toMatchObject({
    message: expect.stringMatching(
      /version 1 of layer "plat" is being worked on by a run on elsewhere \(process 4711\), which holds it until 20/,
    ),
    hint: "check the clocks of both machines",
  });
});

it("refuses at once where waiting is not what is wanted", async () => {
  await record.put("1", entry("theirs", lease()));
  expect(() => demandFree(record, "1")).toThrow(/is being worked on by a run on elsewhere/);
  await record.put("1", entry("free"));
  demandFree(record, "1");
});

it("stops a holder that was overtaken before its next change, and leaves the other's work alone", async () => {
  let held: Held | undefined;
  const work = withLease(
    ctx,
    record,
    "1",
    () => entry("slow"),
    async (given) => {
      held = given;
      // Another run thinks that this one is dead, works, and is done: our generation's key is free again.
      const theirs = await layer.record();
      for (const note of ["fast 1", "fast 2", "fast 3"]) await theirs.put("1", entry(note, lease()));
      vi.spyOn(performance, "now").mockReturnValue(performance.now() + 60_000);
      await given.update((current) => ({ ...current, build: "too late" }));
      return { result: true };
    },
  );
  await expect(work).rejects.toThrow("lost the lease of version 1: another run has taken it over");
  vi.restoreAllMocks();
  expect(held?.lost).toBe(true);
  expect(held?.signal.aborted).toBe(true);
  expect(await now()).toMatchObject({ build: "fast 3", lease: { run: "another" } });
  // Its clean-up takes nothing away either.
  if (held !== undefined) await abandon(ctx, record, "1", held);
  expect(await now()).toMatchObject({ build: "fast 3" });
});

it("of two that find it free at the same time, the second waits its turn", async () => {
  const other = await layer.record();
  const order: string[] = [];
  const run = (on: LayerRecord, name: string) =>
    withLease(
      ctx,
      on,
      "1",
      (before) => entry(before === undefined ? name : `${before.build}, ${name}`),
      async (held) => {
        order.push(`${name} begins`);
        await turn();
        order.push(`${name} ends`);
        return { result: held.entry.build };
      },
    );
  // In one process, one run follows the other by itself; the record decides nevertheless who is first.
  const results = await Promise.all([run(record, "a"), run(other, "b")]);
  expect(new Set(results).size).toBe(2);
  expect((await now())?.build).toMatch(/^(a, b|b, a)$/);
});
