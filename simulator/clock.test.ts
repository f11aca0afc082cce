import { describe, expect, test } from "vitest";
import { realClock, steppedClock, virtualClock } from "./clock.ts";

describe("virtual clock", () => {
  test("an hour passes while nobody works, in the order of waking", async () => {
    const clock = virtualClock({ start: 0 });
    const woken: string[] = [];
    const sleep = async (name: string, ms: number) => {
      await clock.sleep(ms);
      woken.push(`${name} at ${clock.now()}`);
    };
    await Promise.all([sleep("hour", 3_600_000), sleep("second", 1000), sleep("minute", 60_000)]);
    expect(woken).toEqual(["second at 1000", "minute at 60000", "hour at 3600000"]);
  });

  test("time stands still during real work, and until the last of it is done", async () => {
    const clock = virtualClock({ start: 0 });
    const sleeping = clock.sleep(1000);
    const turns = async () => {
      for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      expect(clock.now()).toBe(0);
    };
    await clock.busy(async () => {
      await clock.busy(turns);
      await turns();
    });
    await sleeping;
    expect(clock.now()).toBe(1000);
  });

  test("an aborted sleep rejects with the reason and does not move the time", async () => {
    const clock = virtualClock({ start: 0 });
    const abort = new AbortController();
    const slept = expect(clock.sleep(1000, abort.signal)).rejects.toThrow("enough");
    abort.abort(new Error("enough"));
    await slept;
    expect(clock.now()).toBe(0);
  });
});

describe("stepped clock", () => {
  test("only advancing wakes, and a woken sleeper may sleep again within the same step", async () => {
    const clock = steppedClock({ start: 0 });
    const at: number[] = [];
    const loop = async () => {
      for (let round = 0; round < 3; round += 1) {
        await clock.sleep(10);
        at.push(clock.now());
      }
    };
    const done = loop();
    await clock.advance(25);
    expect(at).toEqual([10, 20]);
    expect(clock.now()).toBe(25);
    await clock.advance(5);
    await done;
    expect(at).toEqual([10, 20, 30]);
  });
});

test("a real clock at speed 1000 sleeps a simulated second in about a millisecond, and an abort ends it", async () => {
  const clock = realClock({ speed: 1000 });
  const before = clock.now();
  await clock.sleep(1000);
  expect(clock.now() - before).toBeGreaterThanOrEqual(900);
  const abort = new AbortController();
  const slept = expect(clock.sleep(3_600_000_000, abort.signal)).rejects.toThrow("enough");
  abort.abort(new Error("enough"));
  await slept;
});
