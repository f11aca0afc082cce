// An OS layer that has nothing to run orders with: the machine says so and stays, somebody installs what the payload disk carries at its console, and the next up goes on.
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { expect, it } from "vitest";
import { FatVolume } from "../simulator/storage/fat.ts";
import { changes, halfMade, Story, step, windowsGuest, withStage } from "./testing.ts";

it("a machine that was never heard goes on once its bootstrap is installed by hand, and the sealed layer holds nothing of it", () =>
  withStage(async (own) => {
    const before = own.pool();
    const story = await Story.begin(own, { ...windowsGuest, bootstrap: "none" });
    const layer = await story.layer("unready");
    const disk = await layer.disk("1");
    const wish = { machine: { install: [step("restarts.exe"), step("agent.exe")], timeouts: { bootMinutes: 0.002 } } };
    const error = await layer.machine(disk, wish).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    const { message } = error as Error;
    expect(message).toContain("run xenlayer\\bootstrap\\install.cmd (install.sh) of that disk there as administrator (root)");
    rmSync(dirname(/pictured in (.+?\.(?:png|jpg))\)/.exec(message)?.[1] ?? "/nowhere/x"), { recursive: true, force: true });

    const half = halfMade(error);
    const said = await own.sim.console(String(half.outputs.vmUuid)).type("E:\\xenlayer\\bootstrap\\install.cmd");
    expect(said.output).toContain('SUCCESS: Attempted to run the scheduled task "xenlayer".');
    const { made: machine } = await own.up(half, { ...half.inputs, timeouts: {} });
    expect(machine.outputs).toMatchObject({ ready: true, steps: [{ exitCode: 3010 }, { exitCode: 0 }] });

    const seal = await layer.seal(disk, "1", wish);
    const volume = FatVolume.open(own.sim.disk(String(seal.outputs.vdiUuid)));
    expect(volume?.exists("Program Files/Agent/agent.txt")).toBe(true);
    expect(volume?.exists("Windows/xenlayer")).toBe(false);
    expect(JSON.parse(new TextDecoder().decode(volume?.readFile("XAPISIM/STATE.JSON")))).toMatchObject({ tasks: {} });
    await layer.drop({ disk, machine, seal });
    await story.end(layer);
    expect(changes(before, own.pool())).toEqual([]);
  }));

it("a Windows that keeps new disks offline takes the payload disk, told by its serial number, into use and no other", () =>
  withStage(async (own) => {
    const guest = { ...windowsGuest, bootstrap: "cloud-init" as const, newDisks: "offline" as const, tools: { version: "9.4.0" } };
    const story = await Story.begin(own, guest);
    const layer = await story.layer("offline");
    const version = await layer.version("1");
    expect(version.seal.outputs.report).toMatchObject({ state: "ready" });
    const online = own.sim.guestLog.map(({ line }) => line).filter((line) => line.includes("brought online"));
    expect(new Set(online)).toEqual(new Set(["disk 1 is brought online"]));
    await layer.drop(version);
    await story.end(layer);
  }));
