// Manual mode: the engine waits while an engineer works at the machine's console. The test plays the engineer, through the simulator's console.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { ENGINE, type Example, startExample } from "./testing.ts";

describe.sequential("a version made step by step, with an engineer at the machine", { timeout: ENGINE }, () => {
  let example: Example;
  beforeAll(async () => {
    example = await startExample({ example: "step-by-step" });
  }, ENGINE);
  afterAll(() => example?.[Symbol.asyncDispose](), ENGINE);

  const heard = (text: string, times = 1) =>
    vi.waitFor(() => expect(example.simulator.guestLog.filter(({ line }) => line.includes(text)).length).toBeGreaterThanOrEqual(times), {
      timeout: ENGINE,
      interval: 20,
    });

  /** What the engineer types at the console, in a process of its own: over HTTP. */
  async function type(command: string): Promise<{ rc: number; output: string }> {
    const { simulator } = example;
    const vm = simulator.db
      .all("VM")
      .find(([, { power_state, is_control_domain }]) => power_state === "Running" && !is_control_domain)?.[1].uuid;
    const reply = await fetch(`${simulator.url}/simulator/console`, { method: "POST", body: JSON.stringify({ vm, command }) });
    const answer = (await reply.json()) as { rc: number; output: string; error?: string };
    if (!reply.ok) throw new Error(`${command}: ${answer.error}`);
    return answer;
  }

  it("previews what it will make, and the pool stays as it is", async () => {
    expect((await example.stack.expect(["preview"])).changes).toEqual({ create: 7 });
    expect(example.changed()).toEqual([]);
  });

  it("waits for the engineer, who is told what blocks, and seals what was installed", async () => {
    let shown = "";
    const up = example.stack.expect(["up", "--skip-preview"], (text) => {
      shown += text;
    });
    const early = up.then(() => Promise.reject(new Error("pulumi up has not waited for the engineer")));
    await Promise.race([early, heard("this machine is prepared by hand")]);
    await Promise.race([early, vi.waitFor(() => expect(shown).toMatch(/Administrator/), { timeout: ENGINE, interval: 20 })]);
    expect((await type("D:\\setup.exe")).rc).toBe(9009);
    expect((await type("msiexec /i D:\\managementagent-x64.msi /quiet /norestart")).rc).toBe(3010);

    const blocked = await type("E:\\xenlayer\\finalize.cmd");
    expect(blocked.output).toContain("A reboot is pending to update drivers on the boot disk");
    // Nobody restarts the machine but the engineer.
    await type("shutdown /r /t 0");
    await Promise.race([early, heard("this machine is prepared by hand", 2)]);
    await type("E:\\xenlayer\\finalize.cmd");

    expect((await up).changes).toEqual({ create: 7 });
    expect(await example.stack.outputs()).toMatchObject({ layerVersion: "1.0", report: { state: "ready" } });
    expect(shown).toContain("the engineer is done");
  });

  it("has nothing to do after a refresh", async () => {
    expect((await example.stack.expect(["refresh", "--skip-preview"])).changes).toEqual({ same: 7 });
    expect((await example.stack.expect(["up", "--skip-preview"])).changes).toEqual({ same: 7 });
  });

  it("destroys all it made: the pool is as before the first up", async () => {
    expect((await example.stack.expect(["destroy", "--skip-preview"])).changes).toEqual({ delete: 7 });
    expect(example.changed()).toEqual([]);
  });
});
