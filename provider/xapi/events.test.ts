import { afterEach, describe, expect, test } from "vitest";
import { CancelledError, XapiError } from "../errors.ts";
import { until, type Wait } from "../wait.ts";
import { type ConnectOptions, connect, disconnectAll, type Xapi } from "./client.ts";
import { type Answer, Instead, type ScriptedHost, ScriptedObjects, scriptedHost, XapiFault } from "./testing.ts";

let host: ScriptedHost;
let objects: ScriptedObjects;

afterEach(async () => {
  await disconnectAll();
  await host.close();
});

const NEVER = 10 * 60_000;
async function open(answers: Record<string, Answer> = {}, options: ConnectOptions = {}): Promise<Xapi> {
  objects = new ScriptedObjects();
  host = await scriptedHost({ answers: { ...objects.answers, ...answers } });
  return connect(
    { address: host.url, username: "root", password: "secret" },
    { sleep: async () => {}, times: { lookMs: NEVER, cancelMs: 2_000 }, ...options },
  );
}

/** Counts, and lets a test wait for the next. */
function counter() {
  let count = 0;
  let told = () => {};
  return {
    wake: () => {
      count++;
      told();
    },
    get count() {
      return count;
    },
    next: () =>
      new Promise<void>((resolve) => {
        told = resolve;
      }),
  };
}

describe("a watch", () => {
  test("tells what changes after it is ready, and nothing about other objects", async () => {
    const xapi = await open();
    objects.set("VM", "OpaqueRef:a", {});
    objects.set("VM", "OpaqueRef:b", {});
    const seen = counter();
    const watch = xapi.watch(["VM/OpaqueRef:a"], seen.wake);
    await watch.ready;
    const before = seen.count;
    const other = counter();
    const second = xapi.watch(["VM/OpaqueRef:b"], other.wake);
    await second.ready;
    objects.set("VM", "OpaqueRef:b", { n: 1 });
    await other.next();
    expect(seen.count).toBe(before);
    const told = seen.next();
    objects.set("VM", "OpaqueRef:a", { n: 1 });
    await told;
    watch.close();
    second.close();
  });

  test("tells at once that an object has gone, whose event has no snapshot, and goes on behind it", async () => {
    const xapi = await open();
    objects.set("VM", "OpaqueRef:a", {});
    const seen = counter();
    const watch = xapi.watch(["VM/OpaqueRef:a"], seen.wake);
    await watch.ready;
    const told = seen.next();
    const waiting = new Promise<void>((resolve) => {
      objects.onWait = resolve;
    });
    objects.remove("OpaqueRef:a");
    await told;
    await waiting;
    const tokens = objects.polls.map(({ token }) => token);
    expect(new Set(tokens).size).toBe(tokens.length);
    watch.close();
  });

  test("of a class does not fetch all objects of it", async () => {
    const xapi = await open();
    objects.set("VM", "OpaqueRef:a", {});
    const seen = counter();
    const watch = xapi.watch(["VM"], seen.wake);
    await watch.ready;
    expect(host.asked).toContain("event.inject");
    const told = seen.next();
    objects.set("VM", "OpaqueRef:new", {});
    await told;
    expect(objects.polls.every(({ token }) => token !== "")).toBe(true);
    watch.close();
  });

  test("goes on with the token after the connection was cut, and misses nothing", async () => {
    const xapi = await open();
    objects.set("VM", "OpaqueRef:a", {});
    const seen = counter();
    const waiting = new Promise<void>((resolve) => {
      objects.onWait = resolve;
    });
    const watch = xapi.watch(["VM/OpaqueRef:a"], seen.wake);
    await watch.ready;
    await waiting;
    const before = objects.polls.at(-1)?.token;
    const told = seen.next();
    objects.interruptions.push(new Instead("cut"));
    objects.set("VM", "OpaqueRef:a", { n: 1 });
    await told;
    expect(objects.polls.filter(({ token }) => token === before)).toHaveLength(2);
    watch.close();
  });

  test("is told to look again after the session was lost, for what it can have missed", async () => {
    const xapi = await open();
    objects.set("VM", "OpaqueRef:a", {});
    const seen = counter();
    const waiting = new Promise<void>((resolve) => {
      objects.onWait = resolve;
    });
    const watch = xapi.watch(["VM/OpaqueRef:a"], seen.wake);
    await watch.ready;
    await waiting;
    const told = seen.next();
    objects.interruptions.push(new XapiFault("SESSION_INVALID", "OpaqueRef:session"));
    objects.wake();
    await told;
    expect(host.asked.filter((method) => method === "session.login_with_password")).toHaveLength(2);
    watch.close();
  });

  test("that nobody needs any more ends the asking", async () => {
    const xapi = await open({}, { idleMs: 1 });
    objects.set("VM", "OpaqueRef:a", {});
    const watch = xapi.watch(["VM/OpaqueRef:a"], () => {});
    await watch.ready;
    watch.close();
    // The session is released only when the asking has ended.
    await expect.poll(() => host.asked.at(-1)).toBe("session.logout");
  });

  test("is no condition of a wait: a proxy that answers no event.from leaves that to its looks", async () => {
    const xapi = await open({
      "event.from": () => {
        throw new Instead(503);
      },
    });
    objects.set("VM", "OpaqueRef:a", {});
    let looks = 0;
    const wait: Wait<number, number> = {
      for: "three looks",
      look: async () => ++looks,
      judge: (value) => (value === 3 ? { state: "ready", value } : { state: "pending", message: "not yet" }),
      subscribe: (wake) => xapi.watch(["VM/OpaqueRef:a"], () => wake()),
      relookMs: 1,
      timeoutMs: 60_000,
    };
    expect(await until(wait)).toBe(3);
  });

  test("on a pool that refuses says so", async () => {
    const xapi = await open({
      "event.from": () => {
        throw new XapiFault("RBAC_PERMISSION_DENIED", "event.from", "no");
      },
    });
    const watch = xapi.watch(["VM/OpaqueRef:a"], () => {});
    await expect(watch.ready).rejects.toThrow("event.from failed: RBAC_PERMISSION_DENIED");
    watch.close();
  });
});

describe("a task", () => {
  /** Answers Async.VM.start with a task that `begin` then plays. */
  const start = (begin: (task: string) => void, more: Record<string, Answer> = {}, options: ConnectOptions = {}) => {
    let n = 0;
    return open(
      {
        "Async.VM.start": () => {
          const task = `OpaqueRef:task-${++n}`;
          objects.task(task, "pending");
          begin(task);
          return task;
        },
        ...more,
      },
      options,
    );
  };
  const run = (xapi: Xapi, signal?: AbortSignal, onProgress?: (fraction: number) => void) =>
    xapi.task("VM.start", ["OpaqueRef:vm", false, false], { signal, onProgress });

  test("that has ended before anybody could watch it is seen at once", async () => {
    const xapi = await start((task) => objects.task(task, "success", { result: "<value>OpaqueRef:new</value>" }));
    expect(await run(xapi)).toBe("OpaqueRef:new");
    expect(host.asked.slice(-2)).toEqual(["event.from", "task.destroy"]);
  });

  test("that ends while another watch moves the events on is not missed", async () => {
    const xapi = await start((task) => {
      objects.task(task, "success", { result: "<value></value>" });
      objects.set("VM", "OpaqueRef:a", { n: 2 });
    });
    objects.set("VM", "OpaqueRef:a", { n: 1 });
    const watch = xapi.watch(["VM/OpaqueRef:a"], () => {});
    await watch.ready;
    await run(xapi);
    watch.close();
  });

  test("tells its progress, its result and nothing of it is left", async () => {
    const xapi = await start((task) => objects.task(task, "pending", { progress: 0.5 }));
    const seen: number[] = [];
    const done = run(xapi, undefined, (fraction) => {
      seen.push(fraction);
      objects.task("OpaqueRef:task-1", "success", {
        result:
          "<value><array><data><value>a &amp; b</value><value><struct><member><name>n</name><value><boolean>1</boolean></value></member></struct></value></data></array></value>",
      });
    });
    expect(await done).toEqual(["a & b", { n: true }]);
    expect(seen).toEqual([0.5, 1]);
    expect(host.asked.at(-1)).toBe("task.destroy");
  });

  test("that fails is an error with XAPI's code", async () => {
    const xapi = await start((task) =>
      objects.task(task, "failure", { error_info: ["VM_BAD_POWER_STATE", "OpaqueRef:vm", "halted", "running"] }),
    );
    const error = await run(xapi).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(XapiError);
    expect(error).toMatchObject({ method: "VM.start", code: "VM_BAD_POWER_STATE", params: ["OpaqueRef:vm", "halted", "running"] });
  });

  test("that fails because the pool is busy is run again", async () => {
    const xapi = await start((task) =>
      task.endsWith("1") ? objects.task(task, "failure", { error_info: ["TOO_MANY_PENDING_TASKS"] }) : objects.task(task, "success"),
    );
    await run(xapi);
    expect(host.asked.filter((method) => method === "Async.VM.start")).toHaveLength(2);
  });

  test("is cancelled on abort, waited for, and not left behind", async () => {
    const abort = new AbortController();
    const xapi = await start(() => {}, {
      "task.cancel": ([, task]) => objects.task(String(task), "cancelled", { error_info: ["TASK_CANCELLED", String(task)] }),
    });
    objects.onWait = () => abort.abort(new Error("Ctrl-C"));
    await expect(run(xapi, abort.signal)).rejects.toBeInstanceOf(CancelledError);
    expect(host.asked.filter((method) => method.startsWith("task."))).toEqual(["task.cancel", "task.destroy"]);
  });

  test("that somebody else cancelled is an error", async () => {
    const xapi = await start((task) => objects.task(task, "cancelled", { error_info: ["TASK_CANCELLED", task] }));
    await expect(run(xapi)).rejects.toMatchObject({ code: "TASK_CANCELLED" });
  });

  test("whose event is lost is found by looking", async () => {
    const xapi = await start(
      (task) => objects.task(task, "success", { result: "<value>found</value>" }),
      {
        "event.from": ([, , token]) => ({
          token: token === "" ? "00000000000000000001,00000000000000000000" : token,
          events: [],
          valid_ref_counts: {},
        }),
      },
      { times: { lookMs: 20 } },
    );
    expect(await run(xapi)).toBe("found");
  });

  test("that is gone when XAPI was restarted has an unknown outcome", async () => {
    const xapi = await start(() => {}, {}, { times: { lookMs: 20 } });
    objects.onWait = () => objects.remove("OpaqueRef:task-1");
    const error = await run(xapi).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "TASK_VANISHED" });
    expect((error as XapiError).hint).toMatch(/may have been done or not: run again/);
  });

  test("of a disk's destruction that meets the host still detaching it is run again; a disk that is gone is destroyed", async () => {
    let n = 0;
    const xapi = await open({
      "Async.VDI.destroy": () => {
        const task = `OpaqueRef:destroy-${++n}`;
        objects.task(task, "failure", {
          error_info: n < 3 ? ["VDI_IN_USE", "OpaqueRef:vdi", "destroy"] : ["HANDLE_INVALID", "VDI", "OpaqueRef:vdi"],
        });
        return task;
      },
    });
    await xapi.destroy("VDI", "OpaqueRef:vdi");
    expect(n).toBe(3);
  });
});
