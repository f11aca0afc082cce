import { describe, expect, expectTypeOf, it } from "vitest";
import { CleanupError, explain, InitFailedError, InputError } from "./errors.ts";
import { Plan, type PlanContext, type Step, takenBack } from "./plan.ts";

interface World extends PlanContext {
  /** What stands for XAPI: what exists there. */
  exists: Set<string>;
  did: string[];
  reported: string[];
}

const world = (...exists: string[]): World => {
  const reported: string[] = [];
  return { exists: new Set(exists), did: [], reported, report: (line) => reported.push(line), signal: new AbortController().signal };
};

interface Options {
  fails?: "before" | "after" | "find";
  undo?: "fails" | "none";
}

/** A step that makes one object of its name, and gives its id. */
function making<Name extends string>(name: Name, { fails, undo }: Options = {}): Step<World, object, Record<Name, string>> {
  const out = { [name]: `id of ${name}` } as Record<Name, string>;
  let asked = 0;
  const step: Step<World, object, Record<Name, string>> = {
    title: `making ${name}`,
    find: async ({ exists }) => {
      if (fails === "find" && asked++ === 0) throw new Error(`${name} can't be looked for`);
      return exists.has(name) ? out : undefined;
    },
    run: async ({ exists, did }) => {
      did.push(`made ${name}`);
      if (fails === "before") throw new Error(`${name} failed`);
      exists.add(name);
      if (fails === "after") throw new Error(`the answer for ${name} was lost`);
      return out;
    },
  };
  if (undo === "none") return step;
  step.undo = async ({ exists, did, signal }, state) => {
    did.push(`undid ${name}${signal.aborted ? " with a dead signal" : ""}`);
    expect(state[name]).toBe(`id of ${name}`);
    if (undo === "fails") throw new Error(`${name} can't be undone`);
    exists.delete(name);
  };
  return step;
}

const plan = Plan.of<World, object>();
const failureOf = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => expect.fail("it should have failed"),
    (error: Error) => error,
  );

describe("a plan", () => {
  it("runs its steps in order, adds their outputs, and says which of how many is at work", async () => {
    const ctx = world();
    const state = await plan.step(making("vm")).step(making("disk")).run(ctx, { given: 1 });
    expect(state).toEqual({ given: 1, vm: "id of vm", disk: "id of disk" });
    expect(ctx.did).toEqual(["made vm", "made disk"]);
    expect(ctx.reported).toEqual(["[1/2] making vm", "[2/2] making disk"]);
  });

  it("changes nothing when it is run again: a step that finds its result does not run, and is not talked about", async () => {
    const ctx = world("vm", "disk");
    expect(await plan.step(making("vm")).step(making("disk")).run(ctx, {})).toEqual({ vm: "id of vm", disk: "id of disk" });
    expect(ctx.did).toEqual([]);
    expect(ctx.reported).toEqual([]);
  });

  it("goes on where a killed run has stopped", async () => {
    const ctx = world("vm");
    await plan.step(making("vm")).step(making("disk")).run(ctx, {});
    expect(ctx.did).toEqual(["made disk"]);
  });

  it("undoes, newest first, only what this run has made", async () => {
    const ctx = world("found");
    const failing = plan
      .step(making("found"))
      .step(making("one"))
      .step(making("two"))
      .step(making("three", { fails: "before" }));
    expect((await failureOf(failing.run(ctx, {}))).message).toBe("three failed");
    expect(ctx.did).toEqual(["made one", "made two", "made three", "undid two", "undid one"]);
    expect([...ctx.exists]).toEqual(["found"]);
  });

  it("looks for the failed step once more before undoing: its answer may have been lost", async () => {
    const ctx = world();
    const failing = plan.step(making("one")).step(making("two", { fails: "after" }));
    expect((await failureOf(failing.run(ctx, {}))).message).toBe("the answer for two was lost");
    expect(ctx.did).toEqual(["made one", "made two", "undid two", "undid one"]);
    expect([...ctx.exists]).toEqual([]);
  });

  it("leaves alone what an earlier run made when only the look for it failed", async () => {
    const ctx = world("two");
    const failing = plan.step(making("one")).step(making("two", { fails: "find" }));
    expect((await failureOf(failing.run(ctx, {}))).message).toBe("two can't be looked for");
    expect(ctx.did).toEqual(["made one", "undid one"]);
    expect([...ctx.exists]).toEqual(["two"]);
  });

  it("adds what can't be undone to the error, never puts it in its place, and undoes the rest", async () => {
    const ctx = world();
    const failing = plan
      .step(making("one"))
      .step(making("two", { undo: "fails" }))
      .step(making("none", { undo: "none" }))
      .step(making("three", { fails: "before" }));
    const error = await failureOf(failing.run(ctx, {}));
    expect(error).toBeInstanceOf(CleanupError);
    expect(error.cause).toMatchObject({ message: "three failed" });
    expect(error.message).toBe("three failed; taking back what was begun failed, too: two can't be undone");
    expect([...ctx.exists]).toEqual(["two", "none"]);
  });

  it("cleans up with a signal of its own when it is cancelled, and begins no further step", async () => {
    const ctx = world();
    const cancel = new AbortController();
    ctx.signal = cancel.signal;
    const stopping: Step<World, object, object> = {
      title: "stopping",
      find: async () => undefined,
      run: async () => {
        cancel.abort(new Error("Ctrl-C"));
        return {};
      },
    };
    const cancelled = plan.step(making("one")).step(stopping).step(making("two"));
    expect((await failureOf(cancelled.run(ctx, {}))).message).toBe("Ctrl-C");
    expect(ctx.did).toEqual(["made one", "undid one"]);
  });

  it("keeps everything once it is committed, and says what there is", async () => {
    const ctx = world();
    const committed = plan
      .step(making("disk"))
      .commit(making("vm"), ({ vm, disk }) => ({ id: vm, outputs: { disk } }))
      .step(making("guest", { fails: "before" }));
    const error = await failureOf(committed.run(ctx, {}));
    expect(error).toBeInstanceOf(InitFailedError);
    expect(error).toMatchObject({ id: "id of vm", outputs: { disk: "id of disk" }, reasons: ["guest failed"] });
    expect([...ctx.exists]).toEqual(["disk", "vm"]);
    expect(ctx.did).not.toContain("undid vm");
  });

  it("undoes when the commit itself fails", async () => {
    const ctx = world();
    const failing = plan.step(making("disk")).commit(making("vm", { fails: "before" }), ({ vm }) => ({ id: vm, outputs: {} }));
    expect((await failureOf(failing.run(ctx, {}))).message).toBe("vm failed");
    expect([...ctx.exists]).toEqual([]);
  });

  it("does not compile with a step that needs what no step before it gives", () => {
    const needsVm: Step<World, { vm: string }, object> = { title: "needs vm", find: async () => undefined, run: async () => ({}) };
    // @ts-expect-error nobody gives a vm
    expect(plan.step(needsVm)).toBeDefined();
    const whole = plan.step(making("vm")).step(needsVm);
    expectTypeOf(whole.run).returns.resolves.toHaveProperty("vm");
  });
});

describe("taking back", () => {
  it("gives the error as it was when all could be taken back", async () => {
    const error = new Error("first");
    expect(await takenBack(error, async (signal) => expect(signal.aborted).toBe(false))).toBe(error);
  });

  it("keeps the kind and the hint of the error that it adds to", async () => {
    const error = new InputError([{ property: "name", reason: "is taken" }], { hint: "choose another" });
    const told = await takenBack(error, async () => {
      throw new Error("the disk is in use");
    });
    expect(told).toMatchObject({ kind: "input", hint: "choose another" });
    expect(explain(told)).toBe("name: is taken; taking back what was begun failed, too: the disk is in use. Hint: choose another");
  });
});
