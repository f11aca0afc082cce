// What a resource's row says while a guest is at work: which step or check is under way, and why it waits. A row shows what is there when it looks, and simulated
// time runs as fast as it can: so the lines are those that the guest has said, and the row's are some of these.
import { expect, it } from "vitest";
import { buildOrder } from "./guest/order.ts";
import { shownProgress } from "./guest/progress.ts";
import { Story, step, windowsGuest, withStage } from "./testing.ts";

function expectInOrder(lines: readonly string[], wanted: readonly (string | RegExp)[]): void {
  let at = 0;
  for (const line of wanted) {
    const found = lines.findIndex((text, index) => index >= at && (typeof line === "string" ? text === line : line.test(text)));
    expect(found, `"${line}" after line ${at} of:\n${lines.join("\n")}`).toBeGreaterThanOrEqual(0);
    at = found + 1;
  }
}

it("names the step, the check and the reason at each moment of a run with a restart pending, and with NGen and Windows Installer at work", () =>
  withStage(async (stage) => {
    const story = await Story.begin(stage, { ...windowsGuest, tools: { version: "9.4.0" } });
    const layer = await story.layer("rows");
    const programs = ["restarts.exe", "driver.exe", "compiles.exe", "installs.exe"];
    const version = await layer.version("1", { machine: { install: programs.map((program) => step(program)) }, seal: { kms: "rearm" } });

    const { facts } = buildOrder({ order: "finalize", os: "windows", layer: "rows", version: "1" });
    const steps = programs.map((program, index) => ({ id: `0${index + 1}`, name: program.replace(".exe", "") }));
    const said = stage.sim.guestLog.flatMap(({ line }) => (line.startsWith("xenlayer: ") ? [line.slice("xenlayer: ".length)] : []));
    const shown = said.map((line) => shownProgress(line, { steps, facts }).message);
    expectInOrder(shown, [
      "[1/4] restarts: running",
      "[1/4] restarts: restarting the guest",
      "[2/4] driver: running",
      "[3/4] compiles: running",
      "[4/4] installs: running",
      /^waiting, not ready yet: Installation in progress \(.*\); Microsoft NGen \(ngen-workers\)$/,
      "powering off",
      /^\[\d+\/\d+\] Restart after an installation: first sample$/,
      /^restarting the guest because of Drivers of the boot disk \(xenbus-requests\)$/,
      /^\[\d+\/\d+\] Microsoft NGen: second sample$/,
      "rearming KMS, the last act before the power-off",
      /^\[\d+\/\d+\] Microsoft NGen: last sample$/,
      "powering off",
    ]);

    const own = /^(starting the packaging machine|booting; nothing heard|all 4 steps are done)/;
    const rows = stage.told.slice(stage.told.indexOf("starting the packaging machine")).filter((line) => !own.test(line));
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.filter((line) => !shown.includes(line))).toEqual([]);
    await layer.drop(version);
    await story.end(layer);
  }));
