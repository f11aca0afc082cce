// What an earlier release has left, in the state file and on the pool, is read by this one: refresh finds it, up has nothing to do, destroy takes it all away.
// XENLAYER_WRITE_OLD_STATE=NAME makes the fixture of that name anew, with the quickstart as it is now.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startSimulator } from "../simulator/index.ts";
import { checkout, Stack, stackFolder } from "./engine.ts";
import { disksOf, ENGINE, run } from "./testing.ts";

const fixtures = join(checkout, "examples", "old-state");
const ADDRESS = "http://pool.example.test";
const writes = process.env.XENLAYER_WRITE_OLD_STATE;

const config = (address: string) => ({
  "xenlayer:address": address,
  "xenlayer:username": "root",
  "xenlayer:template": "xenlayer-packaging",
  "xenlayer:storageRepository": "Local storage",
});

async function withPool(body: (pool: string) => Promise<void>): Promise<void> {
  const pool = await mkdtemp(join(tmpdir(), "xenlayer-old-state-"));
  try {
    await body(pool);
  } finally {
    await rm(pool, { recursive: true });
  }
}

/** A stack of the quickstart against the pool that is kept in this folder. */
async function withStack(
  pool: string,
  body: (stack: Stack, address: string, simulator: Awaited<ReturnType<typeof startSimulator>>) => Promise<void>,
) {
  const simulator = await startSimulator({ clock: "virtual", stateDir: pool });
  try {
    const secrets = { "xenlayer:password": simulator.password };
    await using stack = await Stack.make({
      example: "quickstart",
      folder: await stackFolder("old-state"),
      config: config(simulator.url),
      secrets,
    });
    await stack.makeImage();
    await body(stack, simulator.url, simulator);
  } finally {
    await simulator.close();
  }
}

describe.runIf(writes !== undefined)("the fixture", { timeout: ENGINE }, () => {
  it("is written", () =>
    withPool(async (pool) => {
      const folder = join(fixtures, writes ?? "");
      await mkdir(folder, { recursive: true });
      await withStack(pool, async (stack, address) => {
        await stack.expect(["up", "--skip-preview"]);
        const { output } = await stack.expect(["stack", "export"]);
        await writeFile(
          join(folder, "stack.json"),
          output.replaceAll(address, ADDRESS).replace(/project:\/\/\/[^"#]*/g, "project:///program"),
        );
      });
      await run("tar", ["--sparse", "-czf", join(folder, "pool.tar.gz"), "-C", pool, "."]);
    }));
});

describe.each(existsSync(fixtures) ? await readdir(fixtures) : [])("what release %s left", { timeout: ENGINE }, (release) => {
  it("is found by refresh, is what up wants, and goes with destroy", () =>
    withPool(async (pool) => {
      await run("tar", ["-xzf", join(fixtures, release, "pool.tar.gz"), "-C", pool]);
      await withStack(pool, async (stack, address, simulator) => {
        const file = join(stack.dir, "exported.json");
        await writeFile(file, (await readFile(join(fixtures, release, "stack.json"), "utf8")).replaceAll(ADDRESS, address));
        await stack.expect(["stack", "import", "--file", file]);
        expect((await stack.expect(["refresh", "--skip-preview"])).changes).toEqual({ same: 8 });
        expect((await stack.expect(["up", "--skip-preview"])).changes).toEqual({ same: 8 });
        expect((await stack.expect(["destroy", "--skip-preview"])).changes).toEqual({ delete: 8 });
        expect(disksOf({ simulator })).toEqual([]);
        expect(simulator.db.all("VM").filter(([, vm]) => vm.name_label.includes("packaging ") || vm.tags.includes("xenlayer"))).toEqual([]);
      });
    }));
});
