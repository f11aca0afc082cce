// What a guest does and leaves undone: pending work is waited for or done before the seal, what can't be made ready is named, and a guest that says nothing is
// an error within minutes.
import { existsSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, it } from "vitest";
import { FatVolume } from "../simulator/storage/fat.ts";
import { getVersionReport } from "./functions.ts";
import { awaitPowerOff } from "./guestRun.ts";
import { failing, sharedStage } from "./testing/sharedStage.ts";
import { changes, halfMade, type Made, type Stage, Story, step, windowsGuest, withStage } from "./testing.ts";

const { stage, story, withLayer } = await sharedStage();

const reportOf = ({ outputs }: Made, of = story) =>
  getVersionReport(of.stage.front, { connector: of.connector, versionId: String(outputs.versionId) });
const starts = (on: Stage = stage): number => on.sim.log.filter(({ method }) => method.endsWith("VM.start")).length;

describe("what is pending when the steps are done", () => {
  it("is seen to before the seal: a driver that waits for a restart, NGen work in the queue, a Windows Installer at work", () =>
    withLayer("pending", async (layer) => {
      const install = [step("compiles.exe"), step("driver.exe"), step("installs.exe")];
      const version = await layer.version("1", { machine: { install } });
      const { report, text } = await reportOf(version.seal);
      expect(report).toMatchObject({ state: "ready", boots: 2 });
      expect((report.fixes as { fix: string }[]).map(({ fix }) => fix)).toEqual(["ngen-64-v4", "reboot"]);
      expect(text).toContain("Layer pending, version 1: finalize report");
      await layer.drop(version);
    }));

  it("what no restart mends blocks the seal by name, keeps the machine, and a policy lets it through", () =>
    withLayer("hopeless", async (layer) => {
      const wish = { machine: { install: [step("hopeless.exe")] }, seal: { timeouts: { rebootMax: 1 } } };
      const disk = await layer.disk("1");
      const machine = await layer.machine(disk, wish);
      const error = await failing(layer.seal(disk, "1", wish));
      expect(String(error)).toMatch(/version 1 is not ready to be finalized: .*reboot/i);
      expect((error as { hint?: string }).hint).toMatch(/machine "hopeless 1 packaging .*" is kept, halted; mend what blocks/);
      expect(await layer.entry("1")).toMatchObject({ state: "Editing", machine: { packaged: true } });
      // Another policy is another order, and the machine is as it was.
      const seal = await layer.seal(disk, "1", { seal: { checks: { pendingReboot: "ignore" } } });
      expect(seal.outputs.report).toMatchObject({ state: "ready", blockFinalize: 1, warned: ["pendingReboot", "platformSays"] });
      // Who has let it through is in the history; what xenlayer only warns of by itself is not.
      const { audit } = await layer.record();
      expect(audit.map(({ event, comment }) => `${event}: ${comment}`).filter((line) => line.startsWith("checks"))).toEqual([
        expect.stringMatching(/^checks let through: pendingReboot \(ignore\): A post-installation reboot is pending/),
      ]);
      await layer.drop({ disk, machine, seal });
    }));

  it("a policy of block does no restart", () =>
    withLayer("blocked", async (layer) => {
      const wish = { machine: { install: [step("driver.exe")] }, seal: { checks: { bootDiskDrivers: "block" } } };
      const disk = await layer.disk("1");
      const machine = await layer.machine(disk, wish);
      const before = stage.sim.db.all("message").filter(([, { name }]) => name === "VM_REBOOTED").length;
      await expect(layer.seal(disk, "1", wish)).rejects.toThrow(/version 1 is not ready to be finalized: .*drivers on the boot disk/);
      expect(stage.sim.db.all("message").filter(([, { name }]) => name === "VM_REBOOTED")).toHaveLength(before);
      await layer.drop({ disk, machine });
    }));

  it("a step that asks for a restart is followed by the next one", () =>
    withLayer("restarts", async (layer) => {
      const install = [step("restarts.exe"), step("agent.exe")];
      const version = await layer.version("1", { machine: { install, cleanup: [step("other.exe")] } });
      expect(version.machine.outputs.steps).toMatchObject([
        { name: "restarts", exitCode: 3010 },
        { name: "agent", exitCode: 0 },
        { name: "other", exitCode: 0 },
      ]);
      await layer.drop(version);
    }));
});

describe("KMS", () => {
  it("is rearmed as the last act, and never asked for twice", () =>
    withLayer("kms", async (layer) => {
      const version = await layer.version("1", { seal: { kms: "rearm" } });
      const { report } = await reportOf(version.seal);
      expect(report.kms).toMatchObject({ state: "ready", before: 5, message: expect.stringContaining("rearmed once") });
      await layer.drop(version);
    }));

  it("is refused at a remaining count of 0, before anything is done", () =>
    withStage(async (own) => {
      const begun = await Story.begin(own, { ...windowsGuest, kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 0 } });
      const layer = await begun.layer("plat");
      const disk = await layer.disk("1");
      const machine = await layer.machine(disk, { machine: { install: [step("driver.exe")] } });
      await expect(layer.seal(disk, "1", { seal: { kms: "rearm" } })).rejects.toThrow(
        /version 1 is not ready to be finalized: .*rearm.*0/i,
      );
      expect(own.sim.db.all("message").filter(([, { name }]) => name === "VM_REBOOTED")).toEqual([]);
      const seal = await layer.seal(disk, "1");
      expect(seal.outputs.report).toMatchObject({ state: "ready" });
      await layer.drop({ disk, machine, seal });
    }));
});

describe("Office", () => {
  it("is rearmed where that is asked for; report and audit history say how that ended", () =>
    withStage(async (own) => {
      const begun = await Story.begin(own, { ...windowsGuest, office: {} });
      const layer = await begun.layer("office");
      const version = await layer.version("1", { seal: { office: "rearm" } });
      const done = "Office: rearmed once (Office16 (64-bit), exit code 0: Microsoft Office rearm successful.)";
      expect(version.seal.outputs.report).toMatchObject({ office: done });
      const { report, text } = await reportOf(version.seal, begun);
      expect(report.office).toEqual({ state: "ready", message: done });
      expect(text).toContain(`\n${done}\n`);
      expect((await layer.record()).audit).toContainEqual(expect.objectContaining({ event: "Office rearm", version: "1", comment: done }));
      // It is part of what was sealed: left out, it would be another version.
      const without = await own.check("Finalize", layer.inputs("1").seal(version.disk.id));
      expect(without.failures).toMatchObject([{ property: "office", reason: expect.stringContaining("office changed") }]);
      await layer.drop(version);
    }));
});

describe("steps that don't do what they should", () => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      "an exit code that nobody expects",
      step("fails.exe"),
      /step "fails" ended with exit code 1603 \(expected 0, 3010, 1641, 194\); it printed last:\nout of luck/,
    ],
    ["a program that isn't there", step("nothing.exe"), /step "nothing" ended with exit code 9009 .*: cmd knows no such command/s],
    ["one over its time, which is waited for", step("late.exe", { timeoutMinutes: 5 }), /step "late" did not end within 5 minutes/],
  ])("%s: the error names the step and what it printed, the machine is kept", (_what, bad, message) =>
    withLayer("bad step", async (layer) => {
      const disk = await layer.disk("1");
      const error = await failing(layer.machine(disk, { machine: { install: [step("agent.exe"), bad] } }));
      expect(String((error as Error).message)).toMatch(/^version 1 is not packaged: /);
      expect(String((error as Error).message)).toMatch(message);
      expect(String((error as Error).message)).toMatch(
        /Hint: machine "bad step 1 packaging \w+" is kept, halted; mend what it needs and `pulumi up` again \(it resumes at this step\)/,
      );
      await layer.drop({ disk, machine: halfMade(error) });
    }),
  );

  it("one that never ends is told while it runs, nothing is cut off, and when the machine is off the next up goes on at it", () =>
    withLayer("never", async (layer) => {
      const disk = await layer.disk("1");
      const wish = (minutes: number) => ({
        machine: { install: [step("agent.exe"), step("never.exe", { timeoutMinutes: minutes })], timeouts: { bootMinutes: 0.01 } },
      });
      const error = await failing(layer.machine(disk, wish(5)));
      const { message } = error as Error;
      expect(message).toMatch(
        /step "never" did not end within 5 minutes.*; machine "never 1 packaging \w+" is left running, as something is at work/s,
      );
      expect(message).toMatch(/Hint: look at its console .* `pulumi up` again goes on from there/);
      rmSync(dirname(/pictured in (.+?\.(?:png|jpg))\)/.exec(message)?.[1] ?? "/nowhere/x"), { recursive: true, force: true });
      expect(stage.sim.db.all("VDI").filter(([, { is_a_snapshot }]) => is_a_snapshot)).toEqual([]);
      const half = halfMade(error);
      const vm = stage.sim.db.all("VM").find(([, { uuid }]) => uuid === half.outputs.vmUuid);
      expect(vm?.[1].power_state).toBe("Running");
      await stage.sim.console(String(half.outputs.vmUuid)).type("shutdown /s /t 0");
      const again = await failing(stage.up(half, half.inputs));
      expect(String(again)).toMatch(/step "never" did not end/);
      const said = stage.sim.guestLog.filter(({ line }) => /step 0\d running/.test(line)).map(({ line }) => line.replace("xenlayer: ", ""));
      expect(said.slice(-3)).toEqual(["step 01 running", "step 02 running", "step 02 running"]);
      await stage.sim.console(String(half.outputs.vmUuid)).type("shutdown /s /t 0");
      await layer.drop({ disk, machine: halfMade(again) });
    }));

  it("an unexpected code can be expected", () =>
    withLayer("expected", async (layer) => {
      const disk = await layer.disk("1");
      const machine = await layer.machine(disk, { machine: { install: [step("fails.exe", { expectExit: [0, 1603] })] } });
      expect(machine.outputs).toMatchObject({ ready: true, steps: [{ exitCode: 1603 }] });
      await layer.drop({ disk, machine });
    }));
});

it("a secret reaches its step and nothing else: not the evidence, not the record, not the outputs", () =>
  withLayer("secret", async (layer) => {
    const secret = "s3cret-0f-the-layer";
    const disk = await layer.disk("1");
    const install = [step("agent.exe %TOKEN%", { name: "agent", secretEnv: { TOKEN: secret } })];
    const machine = await layer.machine(disk, { machine: { install } });
    const payload = () => stage.sim.db.all("VDI").find(([, { name_label }]) => name_label === "secret 1 evidence")?.[1].uuid ?? "";
    const holds = (uuid: string): boolean => {
      const data = stage.sim.disk(uuid);
      return Buffer.from(data.read(0, data.size)).includes(secret);
    };
    const seal = await layer.seal(disk, "1");
    expect(holds(payload())).toBe(false);
    expect(JSON.stringify([machine.outputs.steps, seal.outputs, await layer.entry("1"), await reportOf(seal)])).not.toContain(secret);
    expect(JSON.stringify(stage.pool())).not.toContain(secret);
    expect(stage.told.join("\n")).not.toContain(secret);
    // A rotated secret is no changed layer.
    const rotated = { install: [step("agent.exe %TOKEN%", { name: "agent", secretEnv: { TOKEN: "another" } })] };
    expect((await stage.check("PackagingMachine", layer.inputs("1", { machine: rotated }).machine(disk.id))).failures).toEqual([]);
    await layer.drop({ disk, machine, seal });
  }));

it("files reach the guest, and belong to the content", () =>
  withLayer("files", async (layer) => {
    const path = await stage.image({ guest: "windows", bootstrap: "none" }, 8);
    const disk = await layer.disk("1");
    const wish = {
      machine: { install: [{ name: "copy", run: 'copy "%XENLAYER_FILES%\\a.bin" C:\\a.bin', shell: "cmd" }], files: { "a.bin": path } },
    };
    const version = { disk, machine: await layer.machine(disk, wish), seal: await layer.seal(disk, "1", wish) };
    const volume = FatVolume.open(stage.sim.disk(String(version.seal.outputs.vdiUuid)));
    expect(Buffer.from(volume?.readFile("a.bin") ?? []).equals(readFileSync(path))).toBe(true);
    const other = { machine: { ...wish.machine, files: { "a.bin": "/etc/hostname" } } };
    expect((await stage.check("PackagingMachine", layer.inputs("1", other).machine(disk.id))).failures).toMatchObject([
      { reason: expect.stringContaining('and file "a.bin" changed: give a new version') },
    ]);
    await layer.drop(version);
  }));

it("a guest whose bootstrap is never heard is an error within bootMinutes, with a picture of its console, and the next up goes on", async () => {
  await withStage(async (own) => {
    const before = own.pool();
    const begun = await Story.begin(own, { guest: "windows", bootstrap: "none" });
    const layer = await begun.layer("silent");
    const disk = await layer.disk("1");
    const wish = { machine: { timeouts: { bootMinutes: 0.002 } } };
    const error = await failing(layer.machine(disk, wish));
    const { message } = error as Error;
    expect(message).toMatch(/nothing was heard from the bootstrap in packaging machine "silent 1 packaging \w+" within 0 s of its start/);
    expect(message).toMatch(/Hint: the OS layer must run xenlayer\/run\.cmd or run\.sh of the disk labelled CIDATA at every boot/);
    const picture = /its console is pictured in (.+?\.(?:png|jpg))\)/.exec(message)?.[1] ?? "";
    expect(existsSync(picture)).toBe(true);
    rmSync(dirname(picture), { recursive: true });
    // It may be at work after all: it is left running, and waited for again.
    const half = halfMade(error);
    const vm = () => own.sim.db.all("VM").find(([, { uuid }]) => uuid === half.outputs.vmUuid)?.[1];
    expect(vm()?.power_state).toBe("Running");
    const again = await failing(own.up(half, half.inputs));
    expect(String(again)).toMatch(/nothing was heard/);
    expect(starts(own)).toBe(1);
    for (const line of [String(again)])
      rmSync(dirname(/pictured in (.+?\.(?:png|jpg))\)/.exec(line)?.[1] ?? "/nowhere/x"), { recursive: true, force: true });
    // Snapshots that were taken to look are gone.
    expect(own.sim.db.all("VDI").filter(([, { is_a_snapshot }]) => is_a_snapshot)).toEqual([]);
    await layer.drop({ disk, machine: halfMade(again) });
    await begun.end(layer);
    expect(changes(before, own.pool())).toEqual([]);
  });
});

it("a guest without tools is heard by what it wrote to the payload disk", () =>
  withLayer("quiet", async (layer) => {
    const disk = await layer.disk("1");
    // At its console nobody works: it runs until it is told to stop.
    const building = layer.machine(disk, { machine: { mode: "manual", install: [] } });
    const entry = async () => (await layer.record()).versions.get("1");
    const prepared = () => stage.sim.guestLog.some(({ line }) => line.includes("this machine is prepared by hand"));
    while (!prepared()) await new Promise((resolve) => setImmediate(resolve));
    const { machine, build = "" } = (await entry()) ?? {};
    // What nobody at this machine would do is refused, not left out silently.
    expect(
      (await stage.check("Finalize", layer.inputs("1", { seal: { kms: "rearm", office: "rearm" } }).seal(disk.id))).failures,
    ).toMatchObject([
      { property: "kms", reason: expect.stringContaining("prepared by hand: run `slmgr /rearm` there") },
      { property: "office", reason: expect.stringContaining("prepared by hand: run `OSPPREARM.EXE` there") },
    ]);
    const { xapi } = await layer.record();
    const vm = await xapi.get("VM", machine?.vm ?? "");
    const payload = await xapi.get("VDI", machine?.payload ?? "");
    const lines: string[] = [];
    const enough = new AbortController();
    const front = { ...stage.front, signal: enough.signal, connect: async () => xapi };
    const report = (line: string) => {
      lines.push(line);
      if (line.includes("at work")) enough.abort();
    };
    const run = {
      xapi,
      vm: vm?.$ref ?? "",
      vmName: "quiet",
      payload: payload?.$ref ?? "",
      build,
      nonce: machine?.nonce ?? "",
      doing: "it",
    };
    await expect(awaitPowerOff({ ...front, report }, { ...run, bootMinutes: 0.002, totalMinutes: 1 })).rejects.toThrow(/is left running/);
    expect(lines).toEqual(["booting; nothing heard from its bootstrap yet", "the guest is at work (it has no tools to say more)"]);
    // An order of before doesn't count.
    const stale = awaitPowerOff(
      { ...stage.front, connect: front.connect },
      { ...run, nonce: "0".repeat(32), bootMinutes: 0.002, totalMinutes: 1 },
    );
    await expect(stale).rejects.toThrow(/nothing was heard from the bootstrap/);
    await stage.sim.console(vm?.uuid ?? "").type("E:\\xenlayer\\finalize.cmd");
    await layer.drop({ disk, machine: await building });
  }));
