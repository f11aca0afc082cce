// From "the guest has powered off" to the provider acting on it.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { makeGuestImage } from "../simulator/guests/image.ts";
import { Process } from "./processes.ts";
import { median, type Row, range } from "./table.ts";

const LATENCY_MS = 5;
const ROUNDS = 21;
const GUEST = { guest: "windows" as const, bootstrap: "none" as const, bootSeconds: 1, shutdownSeconds: 2 };

export async function powerOffRows(progress: (line: string) => void): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), "xenlayer-bench-"));
  const simulator = new Process("simulator.js", { seed: 1, clock: "real", speed: 20, latencyMs: LATENCY_MS });
  const provider = new Process("provider.js", await simulator.ask("access"));
  try {
    const path = join(dir, "guest.img");
    await makeGuestImage(path, { descriptor: GUEST });
    const { ref, uuid } = await provider.ask<{ ref: string; uuid: string }>("machine", path);
    const times: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      progress(`power off: round ${round} of ${ROUNDS}`);
      await provider.ask("start", ref);
      const acted = provider.ask<number>("poweredOff", ref);
      const halted = simulator.ask<number>("halted", uuid);
      // At any moment of the provider's polls.
      await delay(200 + Math.random() * 300);
      await simulator.ask("type", uuid, "shutdown /p");
      times.push((await acted) - (await halted));
    }
    return [
      {
        figure: `power off of a guest, to the answer of the provider's next call (${LATENCY_MS} ms latency)`,
        measured: range(times, (value) => `${value.toFixed(0)} ms`),
        aim: "median below 150 ms",
        met: median(times) < 150,
      },
    ];
  } finally {
    await provider.end();
    await simulator.end();
    await rm(dir, { recursive: true, force: true });
  }
}
