// The time that a finalize may take: one budget for all its boots, and whatever it ends in, the next up goes on from there.
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { scannedGuest, sharedStage } from "./testing/sharedStage.ts";
import { step } from "./testing.ts";

const { stage, story } = await sharedStage(scannedGuest);
afterEach(() => {
  vi.restoreAllMocks();
  stage.sim.clearFaults();
});

const starts = (): number => stage.sim.log.filter(({ method }) => method.endsWith("VM.start")).length;
const failing = (work: Promise<unknown>): Promise<Error & { hint?: string }> =>
  work.then(
    () => {
      throw new Error("it should have failed");
    },
    (error: Error & { hint?: string }) => error,
  );

describe("what the guest calls noisy and the full rules harmless", () => {
  const wish = { machine: { install: [step("scanner.exe")] }, seal: { timeouts: { rebootMax: 1, finalizeMinutes: 0.5 } } };

  it("is accepted by one more boot, and said in the report", async () => {
    const layer = await story.layer("noisy");
    const disk = await layer.disk("1");
    const machine = await layer.machine(disk, wish);
    const before = starts();
    const seal = await layer.seal(disk, "1", wish);
    expect(starts() - before).toBe(2);
    expect(seal.outputs.report).toMatchObject({ state: "ready", blockFinalize: 0 });
    await layer.drop({ disk, machine, seal });
    await stage.destroy(layer.made);
  });

  it("costs no boot more when the time is over: the next up goes on with what was found", async () => {
    const layer = await story.layer("late");
    const disk = await layer.disk("1");
    const machine = await layer.machine(disk, wish);
    const before = starts();
    // When the evidence of the first boot is read, the half minute is over.
    const now = performance.now.bind(performance);
    let passed = 0;
    vi.spyOn(performance, "now").mockImplementation(() => now() + passed);
    const over = () => {
      if (starts() > before) passed = 31_000;
    };
    stage.sim.fault({ message: /^GET .*export_raw_vdi/, happens: over, times: 9 });
    const error = await failing(layer.seal(disk, "1", wish));
    expect(error.message).toMatch(/^version 1 is not ready to be finalized after 30 s \(timeouts\.finalizeMinutes\): .*judges it harmless/);
    expect(error.hint).toMatch(/is kept, halted; `pulumi up` again goes on from there/);
    expect(starts() - before).toBe(1);

    vi.restoreAllMocks();
    stage.sim.clearFaults();
    const seal = await layer.seal(disk, "1", wish);
    expect(starts() - before).toBe(2);
    await layer.drop({ disk, machine, seal });
    await stage.destroy(layer.made);
  });
});

describe("a guest that is still at work when the time is over", () => {
  it("is left running, and waited for by the next up, not started again", async () => {
    const layer = await story.layer("slow");
    const disk = await layer.disk("1");
    const machine = await layer.machine(disk, { machine: { install: [step("compiles.exe")] } });
    const before = starts();
    const error = await failing(layer.seal(disk, "1", { seal: { timeouts: { finalizeMinutes: 0.000_01 } } }));
    expect(error.message).toMatch(/machine "slow 1 packaging \w+" is left running/);
    rmSync(dirname(/pictured in (.+?\.(?:png|jpg))\)/.exec(error.message)?.[1] ?? "/nowhere/x"), { recursive: true, force: true });
    expect((await layer.entry("1")).state).toBe("Editing");

    const seal = await layer.seal(disk, "1");
    expect(starts() - before).toBe(1);
    expect(seal.outputs.report).toMatchObject({ state: "ready", boots: 1 });
    await layer.drop({ disk, machine, seal });
    await stage.destroy(layer.made);
  });
});
