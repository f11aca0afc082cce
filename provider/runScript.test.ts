// run-script of a guest's agent, over the wire, against a guest that runs what it is handed.
import { describe, expect, it } from "vitest";
import { FatVolume } from "../simulator/storage/fat.ts";
import { installBatch } from "./guest/bootstrap.ts";
import { type Stage, Story, step, windowsGuest, withStage } from "./testing.ts";

const ALLOWED = "allow_guest_agent_run_script";
const tools = (runScript: boolean) => ({ version: "9.4.0", vendor: "XenServer", runScript });
const silent = { ...windowsGuest, bootstrap: "none" as const };

function allow(own: Stage, allowed = true): void {
  const [ref = "", pool] = own.sim.db.all("pool")[0] ?? [];
  own.sim.db.update("pool", ref, { other_config: { ...pool?.other_config, [ALLOWED]: String(allowed) } });
}

it("the one line that is handed over is within what run-script carries", () => {
  expect(installBatch.length).toBeLessThan(1024);
  expect(installBatch).not.toMatch(/[\r\n]/);
});

describe("by run-script", () => {
  it("a guest without a bootstrap gets one, for this version alone, and runs its order", () =>
    withStage(async (own) => {
      allow(own);
      const story = await Story.begin(own, { ...silent, tools: tools(true) });
      const layer = await story.layer("handed");
      const disk = await layer.disk("1");
      const machine = await layer.machine(disk, { machine: { install: [step("restarts.exe"), step("agent.exe")], runScript: true } });
      expect(machine.outputs).toMatchObject({ ready: true, steps: [{ exitCode: 3010 }, { exitCode: 0 }] });
      // What it is told next may be the guest's own word already.
      expect(own.told).toContainEqual(expect.stringMatching(/^booting; .* by run-script/));
      expect(own.sim.log.filter(({ method }) => method.endsWith("VM.call_plugin"))).toHaveLength(1);
      const seal = await layer.seal(disk, "1");
      const sealed = FatVolume.open(own.sim.disk(String(seal.outputs.vdiUuid)));
      expect(sealed?.exists("Windows/xenlayer")).toBe(false);
      await layer.drop({ disk, machine, seal });
      await story.end(layer);
    }));

  it("a guest whose own check has ended, and taken it away, gets it once more where the finalize was judged otherwise", () =>
    withStage(async (own) => {
      allow(own);
      const story = await Story.begin(own, { ...silent, tools: tools(true) });
      const layer = await story.layer("again");
      const disk = await layer.disk("1");
      const machine = await layer.machine(disk, { machine: { runScript: true } });
      // Its evidence, the second that is read (the first tells what the steps have printed), proves nothing.
      const scribble = () => {
        const payload = own.sim.db.all("VDI").find(([, { name_label }]) => name_label === "again 1 evidence")?.[1].uuid ?? "";
        own.sim.disk(payload).write(0, new Uint8Array(1 << 20).fill(0xa5));
      };
      own.sim.fault({ message: /^GET .*export_raw_vdi/, after: 1, happens: scribble });
      const wish = { seal: { runScript: true, timeouts: { finalizeMinutes: 1 } } };
      await expect(layer.seal(disk, "1", wish)).rejects.toThrow(/the check never ran/);
      own.sim.clearFaults();
      expect(own.sim.log.filter(({ method }) => method.endsWith("VM.call_plugin"))).toHaveLength(1);
      const seal = await layer.seal(disk, "1", wish);
      expect(seal.outputs.report).toMatchObject({ state: "ready" });
      expect(own.sim.log.filter(({ method }) => method.endsWith("VM.call_plugin"))).toHaveLength(2);
      expect(FatVolume.open(own.sim.disk(String(seal.outputs.vdiUuid)))?.exists("Windows/xenlayer")).toBe(false);
      await layer.drop({ disk, machine, seal });
      await story.end(layer);
    }));

  it("a guest whose agent does not offer it is never asked, and the error says what it waited for", () =>
    withStage(async (own) => {
      allow(own);
      const story = await Story.begin(own, { ...silent, tools: tools(false) });
      const layer = await story.layer("unoffered");
      const disk = await layer.disk("1");
      await expect(layer.machine(disk, { machine: { runScript: true, timeouts: { bootMinutes: 0.01 } } })).rejects.toThrow(
        /nothing was heard .* \(waiting for its agent to offer run-script \(XenServer's VM tools\) to reach it by run-script\)/,
      );
      expect(own.sim.log.filter(({ method }) => method.endsWith("VM.call_plugin"))).toEqual([]);
    }));

  it("that is refused after all ends the wait, with the machine left as it is", () =>
    withStage(async (own) => {
      allow(own);
      const story = await Story.begin(own, { ...silent, tools: tools(true) });
      const layer = await story.layer("refused");
      const disk = await layer.disk("1");
      own.sim.fault({ message: /VM\.call_plugin$/, code: "FEATURE_RESTRICTED" });
      await expect(layer.machine(disk, { machine: { runScript: true } })).rejects.toThrow(
        /run-script is refused: the pool does not allow it any more; machine "refused 1 packaging \w+" is left running/,
      );
    }));
});

it("what is done asks for no leave any more: where the pool takes it back, nothing fails or changes; other steps need it again", () =>
  withStage(async (own) => {
    allow(own);
    const wish = { machine: { runScript: true } };
    const story = await Story.begin(own, windowsGuest);
    const layer = await story.layer("done");
    const disk = await layer.disk("1", wish);
    const machine = await layer.machine(disk, wish);
    allow(own, false);
    expect(await own.up(machine, machine.inputs)).toMatchObject({ changes: false });
    const other = { ...machine.inputs, install: [step("restarts.exe")] };
    expect((await own.check("PackagingMachine", other)).failures).toMatchObject([{ property: "runScript" }]);
    const seal = await layer.seal(disk, "1", wish);
    expect(await own.up(machine, machine.inputs)).toMatchObject({ changes: false });
    await layer.drop({ disk, machine, seal });
    await story.end(layer);
  }));

it("what a pool, an account or a guest does not allow is refused in the preview, by its property", () =>
  withStage(async (own) => {
    const story = await Story.begin(own, silent);
    const layer = await story.layer("asked");
    const disk = await layer.disk("1");
    const reasons = async (wish: Record<string, unknown>, connector = story.connector) => {
      const inputs = { ...layer.inputs("1").machine(disk.id), connector, runScript: true, ...wish };
      return (await own.check("PackagingMachine", inputs)).failures.map(({ property, reason }) => `${property}: ${reason}`);
    };
    expect(await reasons({})).toEqual([
      expect.stringMatching(/^runScript: the pool does not allow run-script: .*other-config:allow_guest_agent_run_script=true/),
    ]);
    allow(own);
    expect(await reasons({})).toEqual([]);
    expect(await reasons({}, { ...story.connector, username: "vm-admin" })).toEqual([
      "runScript: the account's role lacks vm.checkpoint: vm-power-admin has it; or use ssh",
    ]);
    expect(await reasons({}, { ...story.connector, username: "vm-power-admin" })).toEqual([]);
    const ssh = { username: "a", password: "b", hostKeyFingerprint: `SHA256:${"A".repeat(43)}` };
    expect(await reasons({ ssh })).toEqual(["runScript: ssh is given, too: one of them is enough"]);
    await layer.drop({ disk });
    await story.end(layer);
  }));
