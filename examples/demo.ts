// `make demo`: the story of a platform layer, told by the real Pulumi engine on a simulated pool, in less than two minutes.
// Promises: everything it makes lies below .cache/demo of the checkout; a step that goes wrong ends it with the engine's own words and exit code 1.
import { type ChildProcess, spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { getLayerVersions, getVersionReport } from "../sdk/index.ts";
import { checkout, type PoolState, poolDifferences, Stack } from "./engine.ts";

const FOLDER = join(checkout, ".cache", "demo");
/** A simulated hour takes a minute. */
const SPEED = 60;

const say = (text = ""): void => void process.stdout.write(`${text}\n`);

let chapter = 0;
function heading(text: string, more = ""): void {
  chapter += 1;
  say(`\n== ${chapter}. ${text}`);
  if (more !== "") say(more);
  say();
}

interface Pool {
  url: string;
  username: string;
  password: string;
  process: ChildProcess;
}

async function startPool(): Promise<Pool> {
  const command = join(checkout, "dist", "simulator", "cli.js");
  const child = spawn(process.execPath, [command, "--json", "--speed", String(SPEED), "--state", join(FOLDER, "pool")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = await new Promise<[string]>((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", (text) => resolve([text]));
    child.once("exit", (code) => reject(new Error(`the simulator ended with ${code}`)));
  });
  return { ...(JSON.parse(line) as Omit<Pool, "process">), process: child };
}

const stop = ({ process: child }: Pool): Promise<void> =>
  new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGTERM");
  });

const stateOf = async ({ url }: Pool): Promise<PoolState> => (await (await fetch(`${url}/simulator/state`)).json()) as PoolState;

/** The engine's lines as they come, without what only says that time goes by, or again what is different. */
async function pulumi(stack: Stack, ...args: string[]): Promise<void> {
  say(`$ pulumi ${args.join(" ")}${args[0] === "preview" ? "" : " --yes"}`);
  let rest = "";
  let last = "";
  await stack.expect(args, (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const short = line
        .replace("pulumi-nodejs:dynamic/xenlayer:", "")
        .replace(/\[diff: [^\]]*\](; )?/, "")
        .trimEnd();
      if (short === last || short === "" || /^@ |^ *\[urn=|^The resources in the stack|^If you want to remove/.test(short)) continue;
      last = short;
      say(`  ${short}`);
    }
  });
}

/** Objects of the kinds that building a layer makes. */
const count = (state: PoolState): string =>
  ["VM", "VDI", "VBD", "VIF"].map((cls) => `${Object.keys(state[cls] ?? {}).length} ${cls}s`).join(", ");

async function main(): Promise<void> {
  const started = performance.now();
  await rm(FOLDER, { recursive: true, force: true });

  heading("A XenServer pool", `Simulated, on a real port: whatever talks to XAPI can't tell. Time passes ${SPEED} times as fast on it.`);
  const pool = await startPool();
  try {
    const before = await stateOf(pool);
    say(`${pool.url}: ${count(before)}`);

    heading("A disk image to start from", "A real disk image file with a partition table and a file system. On a real pool: your Windows.");
    const stack = await Stack.make({
      example: "quickstart",
      folder: FOLDER,
      config: {
        "xenlayer:address": pool.url,
        "xenlayer:username": pool.username,
        "xenlayer:template": "xenlayer-packaging",
        "xenlayer:storageRepository": "Local storage",
      },
      secrets: { "xenlayer:password": pool.password },
    });
    say(`$ npm run make-image\n  ${(await stack.makeImage()).trim()}`);

    heading(
      "A platform layer version, built by pulumi up",
      "The program is examples/quickstart/index.ts. A packaging machine is cloned, three installers and a clean-up run in it (one asks for a restart,\none leaves NGen at work); then the guest is checked, KMS is rearmed, and the disk is sealed as version 1.0.",
    );
    await pulumi(stack, "up", "--skip-preview");

    heading("What was sealed, and why it was found ready");
    const first = await stack.outputs();
    const connector = {
      address: pool.url,
      username: pool.username,
      password: pool.password,
      template: "xenlayer-packaging",
      storageRepository: "Local storage",
      connectorId: String(first.connectorId),
    };
    say((await getVersionReport({ connector, versionId: String(first.versionId) })).text);

    heading("A new version: one line of configuration, reviewed before anything happens");
    say("$ pulumi config set version 1.1; pulumi config set agent 2407");
    await stack.configure({ version: "1.1", agent: "2407" });
    await pulumi(stack, "preview", "--diff");
    say();
    await pulumi(stack, "up", "--skip-preview");

    heading("Both versions are there");
    const { versions } = await getLayerVersions({ connector, layer: String(first.layerId) });
    for (const { version, state, basedOn, sealedAt } of versions) say(`  ${version}  ${state}, on ${basedOn}, sealed ${sealedAt}`);

    heading("Everything is taken away again");
    await pulumi(stack, "destroy", "--skip-preview");
    const after = await stateOf(pool);
    const differences = poolDifferences(before, after);
    const objects = Object.values(before).reduce((sum, all) => sum + Object.keys(all).length, 0);
    say(`\nbefore: ${count(before)}\nafter:  ${count(after)}`);
    if (differences.length > 0) throw new Error(`the pool is not as it was:\n${differences.join("\n")}`);
    say(`${objects} objects compared, field by field: the pool is as it was.`);
    say(`\nDone in ${Math.round((performance.now() - started) / 1000)} s. What to read next: README.md, examples/quickstart/index.ts.`);
  } finally {
    await stop(pool);
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
