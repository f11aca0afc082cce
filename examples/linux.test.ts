// A CommonJS program and a Linux guest, whose steps are carried out by a real shell in a sandbox.
import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sandboxProblem } from "../simulator/guests/sandbox.ts";
import { missingPrograms } from "../simulator/storage/testing.ts";
import { download, ENGINE, type Example, fileIn, startExample } from "./testing.ts";

const problem = sandboxProblem();
if (problem !== undefined && process.env.CI === "true") throw new Error(`the linux example can't be tested: ${problem}`);
const missing = missingPrograms(["mtype"]);

const TOKEN = `it's "$HOME" & 100% secret`;

describe.skipIf(problem !== undefined || missing.length > 0).sequential("the linux example", { timeout: ENGINE }, () => {
  let example: Example;
  beforeAll(async () => {
    example = await startExample({ example: "linux", config: { server: "agents.corp.example" }, secrets: { token: TOKEN } });
  }, ENGINE);
  afterAll(() => example?.[Symbol.asyncDispose](), ENGINE);

  it("previews what it will make, and the pool stays as it is", async () => {
    expect((await example.stack.expect(["preview"])).changes).toEqual({ create: 8 });
    expect(example.changed()).toEqual([]);
  });

  it("carries out its steps for real: their files, their restart and their secret", async () => {
    const up = await example.stack.expect(["up", "--skip-preview"]);
    expect(up.changes).toEqual({ create: 8 });
    const image = join(example.dir, "version.img");
    await download(example, String((await example.stack.outputs()).disk), "raw", image);
    expect(await fileIn(image, "etc/agent/agent.conf")).toContain("server=agents.corp.example");
    expect(await fileIn(image, "opt/agent/agent")).toContain("Stands for the software");
    expect(await fileIn(image, "var/lib/agent/identity")).toBe(`${createHash("sha256").update(TOKEN).digest("hex")}\n`);
    expect(await fileIn(image, "var/log/agent/agent.log")).toBeUndefined();
    expect(await fileIn(image, "etc/issue")).toBe("Debian GNU/Linux 12\n");
  });

  it("shows and stores its secret nowhere", async () => {
    const preview = await example.stack.expect(["preview", "--diff"]);
    const state = await example.stack.storedState();
    for (const text of [preview.output, state, JSON.stringify(example.simulator.state()), JSON.stringify(example.simulator.log)])
      expect(text).not.toContain("100% secret");
    for (const id of example.simulator.storage.ids()) {
      const disk = example.simulator.disk(id);
      for (const block of example.simulator.storage.blocks(id))
        expect(Buffer.from(disk.read(block * 2 ** 21, Math.min(2 ** 21, disk.size - block * 2 ** 21))).includes("100% secret")).toBe(false);
    }
  });

  it("has nothing to do after a refresh", async () => {
    expect((await example.stack.expect(["refresh", "--skip-preview"])).changes).toEqual({ same: 8 });
    expect((await example.stack.expect(["up", "--skip-preview"])).changes).toEqual({ same: 8 });
  });

  it("destroys all it made: the pool is as before the first up", async () => {
    expect((await example.stack.expect(["destroy", "--skip-preview"])).changes).toEqual({ delete: 8 });
    expect(example.changed()).toEqual([]);
  });
});
