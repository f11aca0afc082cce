import { describe, expect, it } from "vitest";
import { CancelledError, TimeoutError } from "./errors.ts";
import { until, type Verdict, type Wait } from "./wait.ts";

/** What is waited for: a number that changes when the test says so. */
class Thing {
  value = 0;
  looks = 0;
  stopped = 0;
  readonly said: string[] = [];
  wake: () => void = () => {};

  wait(more: Partial<Wait<number, string>> = {}): Wait<number, string> {
    return {
      for: "the thing",
      look: async () => {
        this.looks++;
        return this.value;
      },
      judge: (value): Verdict<string> =>
        value >= 100 ? { state: "ready", value: `done at ${value}` } : { state: "pending", message: "at work", percent: value },
      subscribe: (wake) => {
        this.wake = wake;
        return {
          ready: Promise.resolve(),
          close: () => {
            this.stopped++;
          },
        };
      },
      timeoutMs: 60_000,
      report: (line) => this.said.push(line),
      ...more,
    };
  }

  become(value: number): void {
    this.value = value;
    this.wake();
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("a wait", () => {
  it("is over at the first look when there is nothing to wait for, and stops listening", async () => {
    const thing = new Thing();
    thing.value = 100;
    expect(await until(thing.wait())).toBe("done at 100");
    expect([thing.looks, thing.stopped]).toEqual([1, 1]);
    expect(thing.said).toEqual([]);
  });

  it("subscribes before it looks: what happens between the two is not lost", async () => {
    const thing = new Thing();
    const order: string[] = [];
    const waiting = until(
      thing.wait({
        subscribe: (wake) => {
          const ready = turn().then(() => void order.push("subscribed"));
          thing.wake = wake;
          return { ready, close: () => {} };
        },
        look: async () => {
          order.push("looked");
          const seen = thing.value;
          // The event comes while the answer is on its way.
          if (order.length === 2) thing.become(100);
          return seen;
        },
      }),
    );
    expect(await waiting).toBe("done at 100");
    expect(order).toEqual(["subscribed", "looked", "looked"]);
  });

  it("is woken by events, and judges what it looks at, not what they say", async () => {
    const thing = new Thing();
    const waiting = until(thing.wait());
    for (const value of [10, 10, 20]) {
      await turn();
      thing.become(value);
    }
    await turn();
    thing.wake();
    await turn();
    thing.become(100);
    expect(await waiting).toBe("done at 100");
    // Once per change.
    expect(thing.said).toEqual(["at work (0 %)", "at work (10 %)", "at work (20 %)"]);
  });

  it("looks again after a while, so that a lost event costs no more than that", async () => {
    const thing = new Thing();
    const waiting = until(
      thing.wait({
        relookMs: 1,
        look: async () => {
          thing.looks++;
          return thing.looks === 5 ? 100 : 0;
        },
      }),
    );
    expect(await waiting).toBe("done at 100");
    expect(thing.looks).toBe(5);
  });

  it("stops as soon as waiting has become useless", async () => {
    const thing = new Thing();
    const waiting = until(
      thing.wait({
        judge: (value) => (value === 0 ? { state: "pending", message: "alive" } : { state: "failed", error: new Error("it is gone") }),
      }),
    );
    await turn();
    thing.become(1);
    await expect(waiting).rejects.toThrow("it is gone");
    expect(thing.stopped).toBe(1);
  });

  it("gives up in time, says what was last seen, and what more could be found out", async () => {
    const thing = new Thing();
    thing.value = 33.4;
    const error = await until(thing.wait({ timeoutMs: 5, onTimeout: async (seen) => `a picture of "${seen}"` })).catch(
      (caught: unknown) => caught,
    );
    expect(error).toBeInstanceOf(TimeoutError);
    expect(error).toMatchObject({
      lastSeen: 'at work (33 %) (a picture of "at work (33 %)")',
      message: 'gave up waiting for the thing after 0 s; last seen: at work (33 %) (a picture of "at work (33 %)")',
    });
    expect(thing.stopped).toBe(1);
    const second = until(thing.wait({ timeoutMs: 5, onTimeout: () => Promise.reject(new Error("no picture")) }));
    await expect(second).rejects.toThrow(/last seen: at work \(33 %\)$/);
  });

  it("looks a last time when the time is over: what is ready then is ready", async () => {
    const thing = new Thing();
    const waiting = until(
      thing.wait({
        timeoutMs: 5,
        relookMs: 60_000,
        look: async () => (thing.looks++ === 0 ? 0 : 100),
      }),
    );
    expect(await waiting).toBe("done at 100");
  });

  it("is cancelled in the middle, says what was last seen, and stops listening", async () => {
    const thing = new Thing();
    const cancel = new AbortController();
    const waiting = until(thing.wait({ signal: cancel.signal }));
    await turn();
    cancel.abort(new Error("Ctrl-C"));
    const error = await waiting.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CancelledError);
    expect(error).toMatchObject({
      message: "cancelled while waiting for the thing; last seen: at work (0 %)",
      cause: { message: "Ctrl-C" },
    });
    expect(thing.stopped).toBe(1);
    const before = thing.looks;
    await expect(until(thing.wait({ signal: cancel.signal }))).rejects.toThrow(
      "cancelled while waiting for the thing; last seen: nothing yet",
    );
    expect(thing.looks).toBe(before);
  });

  it("fails when it can't look or listen", async () => {
    const thing = new Thing();
    await expect(until(thing.wait({ look: () => Promise.reject(new Error("XAPI is down")) }))).rejects.toThrow("XAPI is down");
    expect(thing.stopped).toBe(1);
    const refused = { ready: Promise.reject(new Error("no events")), close: () => void thing.stopped++ };
    await expect(until(thing.wait({ subscribe: () => refused }))).rejects.toThrow("no events");
    expect(thing.stopped).toBe(2);
  });

  describe("for events that don't come", () => {
    const deaf = (thing: Thing) => ({ subscribe: () => ({ ready: new Promise<void>(() => {}), close: () => void thing.stopped++ }) });

    it("looks by itself", async () => {
      const thing = new Thing();
      const look = async () => (thing.looks++ < 3 ? 0 : 100);
      expect(await until(thing.wait({ ...deaf(thing), relookMs: 1, look }))).toBe("done at 100");
      expect(thing.stopped).toBe(1);
    });

    it("gives up in time, and when it is cancelled", async () => {
      const thing = new Thing();
      await expect(until(thing.wait({ ...deaf(thing), timeoutMs: 5 }))).rejects.toThrow("last seen: at work (0 %)");
      const { looks } = thing;
      const cancel = new AbortController();
      const waiting = until(thing.wait({ ...deaf(thing), signal: cancel.signal }));
      cancel.abort(new Error("Ctrl-C"));
      await expect(waiting).rejects.toThrow("cancelled while waiting for the thing; last seen: nothing yet");
      expect([thing.looks, thing.stopped]).toEqual([looks, 2]);
    });
  });
});
