// Versions that an engineer installs by hand: nobody restarts the machine but the engineer, and Shutdown For Finalize is the finalize.
import { expect, it } from "vitest";
import { FatVolume } from "../simulator/storage/fat.ts";
import { explain } from "./errors.ts";
import { failing, scannedGuest, sharedStage } from "./testing/sharedStage.ts";
import { halfMade, type Made } from "./testing.ts";

const { stage, withLayer } = await sharedStage(scannedGuest);

const manual = { mode: "manual", install: [] };
const starts = (): number => stage.sim.log.filter(({ method }) => method.endsWith("VM.start")).length;
const evidenceOf = (name: string) => stage.sim.db.all("VDI").filter(([, { name_label }]) => name_label === `${name} 1 evidence`);

/** What the engineer types at the machine of this layer while `work` waits; each line's exit code. */
async function byHand<T>(name: string, work: () => Promise<T>, ...lines: string[]): Promise<{ result: T; codes: number[] }> {
  const prepared = (): number => stage.sim.guestLog.filter(({ line }) => line.includes("this machine is prepared by hand")).length;
  const before = prepared();
  const working = work();
  while (prepared() === before) await new Promise((resolve) => setImmediate(resolve));
  const vm = stage.sim.db.all("VM").find(([, { name_label }]) => name_label.startsWith(`${name} 1 packaging`))?.[1].uuid ?? "";
  const codes: number[] = [];
  for (const line of lines) codes.push((await stage.sim.console(vm).type(line)).rc);
  return { result: await working, codes };
}

const FINALIZE = "E:\\xenlayer\\finalize.cmd";

it("the machine waits for the engineer, whose verdict is the finalize's", () =>
  withLayer("by hand", async (layer) => {
    const disk = await layer.disk("1");
    const { result: machine } = await byHand("by hand", () => layer.machine(disk, { machine: manual }), "agent.exe", FINALIZE);
    expect(machine.outputs).toMatchObject({ ready: true });
    expect(stage.told.some((line) => /install by hand on "by hand 1 packaging/.test(line))).toBe(true);
    const before = starts();
    const seal = await layer.seal(disk, "1");
    expect(starts()).toBe(before);
    expect(seal.outputs).toMatchObject({ report: { state: "ready" } });
    const volume = FatVolume.open(stage.sim.disk(String(seal.outputs.vdiUuid)));
    expect(volume?.exists("Program Files/Agent/agent.txt")).toBe(true);
    await layer.drop({ disk, machine, seal });
  }));

it("Shutdown For Finalize goes by the program's policies", () =>
  withLayer("policies", async (layer) => {
    const checks = { pendingReboot: "ignore" };
    const disk = await layer.disk("1");
    const wish = { machine: { ...manual, checks }, seal: { checks } };
    const { result: machine } = await byHand("policies", () => layer.machine(disk, wish), "hopeless.exe", FINALIZE);
    const seal = await layer.seal(disk, "1", wish);
    expect(seal.outputs.report).toMatchObject({ state: "ready", blockFinalize: 1 });
    await layer.drop({ disk, machine, seal });
  }));

it("what it calls noisy and the full rules harmless is accepted the next time", () =>
  withLayer("noisy", async (layer) => {
    const disk = await layer.disk("1");
    const working = () => failing(layer.machine(disk, { machine: manual }));
    const { result: error, codes } = await byHand("noisy", working, "scanner.exe", FINALIZE, "shutdown /s /t 0");
    expect(codes[1]).toBe(1);
    expect(explain(error)).toMatch(/^version 1 is not packaged: .*judges it harmless, so finalizing once more accepts it/);
    const half = halfMade(error);
    const { result } = await byHand("noisy", () => stage.up(half, half.inputs), FINALIZE);
    const seal = await layer.seal(disk, "1");
    expect(seal.outputs.report).toMatchObject({ state: "ready", blockFinalize: 0 });
    await layer.drop({ disk, machine: result.made, seal });
  }));

it("what the engineer's verdict was on is gone before the seal: the next up waits for the engineer once more", () =>
  withLayer("bereft", async (layer) => {
    const disk = await layer.disk("1");
    const { result: machine } = await byHand("bereft", () => layer.machine(disk, { machine: manual }), "agent.exe", FINALIZE);
    const { xapi } = await layer.record();
    const [ref = "", payload] = evidenceOf("bereft")[0] ?? [];
    for (const vbd of payload?.VBDs ?? []) await xapi.destroy("VBD", vbd);
    await xapi.destroy("VDI", ref);
    const error = explain(await failing(layer.seal(disk, "1")));
    expect(error).toMatch(/^version 1 is not ready to be finalized: the check never ran/);
    expect(error).toMatch(/`pulumi up` starts it again: .* run Shutdown For Finalize$/);
    const { result } = await byHand("bereft", () => stage.up(machine, machine.inputs), FINALIZE);
    expect(result.changes).toBe(true);
    const seal = await layer.seal(disk, "1");
    expect(evidenceOf("bereft")).toHaveLength(1);
    await layer.drop({ disk, machine: result.made as Made, seal });
  }));
