// A guest in which NGen works is never taken down by xenlayer: not when the time is over, not when the run is stopped, not by a policy. The machine is left running,
// that is said, and the next `up` goes on.
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Made, type OpenStage, openStage, Story, type StoryLayer, step, windowsGuest } from "./testing.ts";

const POWER = /^(Async\.)?VM\.(hard_|clean_)?(shutdown|reboot)$|^(Async\.)?VM\.(pause|suspend|destroy)$/;

let stage: OpenStage;
let story: Story;
let layer: StoryLayer;
beforeAll(async () => {
  stage = await openStage();
  const programs = [...windowsGuest.programs, { match: "forever.exe", seconds: 5, ngenSeconds: 10_000_000 }];
  const ngen = { ...windowsGuest.ngen, queuedSeconds: 10_000_000 };
  story = await Story.begin(stage, { ...windowsGuest, programs, ngen, tools: { version: "9.4.0.146" } });
  layer = await story.layer("plat");
});
afterAll(() => stage?.close());

const vmOf = ({ outputs }: Made) => stage.sim.db.all("VM").find(([, { uuid }]) => uuid === outputs.vmUuid)?.[1];
const powerCalls = (): string[] => stage.sim.log.map(({ method }) => method).filter((method) => POWER.test(method));
const interrupted = (): string[] => stage.sim.guestLog.map(({ line }) => line).filter((line) => line.includes("interrupted"));

const outcome = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

it("the guest itself leaves the machine running, and so does xenlayer when its time is over or it is stopped", async () => {
  const disk = await layer.disk("1");
  // Stopped, as by Ctrl-C, when the steps are done and the guest has given up waiting for NGen, which has work for months.
  const stop = new AbortController();
  const { signal } = stage.front;
  stage.front.signal = stop.signal;
  const building = outcome(layer.machine(disk, { machine: { install: [step("agent.exe")] } }));
  while (!stage.sim.guestLog.some(({ line }) => line.includes("left running: "))) await new Promise((resolve) => setImmediate(resolve));
  stop.abort(new Error("stopped by hand"));
  const stopped = await building;
  expect(String(stopped)).toMatch(/machine "plat 1 packaging \w+" is left running/);
  stage.front.signal = signal;
  const machine = (stopped as { made?: Made }).made as Made;
  expect(vmOf(machine)?.power_state).toBe("Running");

  const late = await outcome(stage.up(machine, { ...machine.inputs, timeouts: { packageMinutes: 0.001 } }));
  expect(String(late)).toMatch(/machine "plat 1 packaging \w+" is left running/);
  expect(vmOf(machine)?.power_state).toBe("Running");
  expect([powerCalls(), interrupted()]).toEqual([[], []]);
  await layer.drop({ disk, machine });
});
