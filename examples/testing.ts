// For the examples' tests: an example with its disk image, its stack and a simulated pool that the real engine works on.
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { GetLayerVersionsArgs } from "../sdk/args.ts";
import { type Simulator, type SimulatorOptions, startSimulator } from "../simulator/index.ts";
import { type PoolState, poolDifferences, Stack, type StackOptions, stackFolder } from "./engine.ts";

/** Most milliseconds that a test with some runs of the engine takes on a slow machine that has other work, too. */
export const ENGINE = 300_000;

export const run = promisify(execFile);

export interface Example extends AsyncDisposable {
  simulator: Simulator;
  stack: Stack;
  /** Folder of the example's copy. */
  dir: string;
  /** What functions take as `connector`. */
  connector(): Promise<GetLayerVersionsArgs["connector"]>;
  /** What is different in the pool since before the first `up`. */
  changed(): string[];
  /** What is different since the last call. */
  changedSince(): string[];
}

export interface ExampleOptions extends Partial<StackOptions> {
  example: string;
  pool?: SimulatorOptions["pool"];
  storageRepository?: string;
  /** Another program than the example's. */
  program?: string;
  /** The disk image is made by the test. */
  ownImage?: boolean;
}

export async function startExample({
  config,
  secrets,
  pool,
  storageRepository,
  program,
  ownImage,
  ...options
}: ExampleOptions): Promise<Example> {
  const simulator = await startSimulator({ clock: "virtual", ...(pool === undefined ? {} : { pool }) });
  const before = look(simulator);
  const stack = await Stack.make({
    folder: await stackFolder(options.example),
    config: {
      "xenlayer:address": simulator.url,
      "xenlayer:username": simulator.username,
      "xenlayer:template": "xenlayer-packaging",
      "xenlayer:storageRepository": storageRepository ?? "Local storage",
      ...config,
    },
    secrets: { "xenlayer:password": simulator.password, ...secrets },
    ...options,
  });
  if (program !== undefined) await writeFile(join(stack.dir, "index.ts"), program);
  if (ownImage !== true) await stack.makeImage();
  let last = before;
  return {
    simulator,
    stack,
    dir: stack.dir,
    connector: async () => ({
      address: simulator.url,
      username: simulator.username,
      password: simulator.password,
      template: "xenlayer-packaging",
      storageRepository: storageRepository ?? "Local storage",
      connectorId: String((await stack.outputs()).connectorId),
    }),
    changed: () => poolDifferences(before, look(simulator)),
    changedSince: () => {
      const [earlier, now] = [last, look(simulator)];
      last = now;
      return poolDifferences(earlier, now);
    },
    async [Symbol.asyncDispose]() {
      await simulator.close();
      await stack[Symbol.asyncDispose]();
    },
  };
}

const look = (simulator: Simulator): PoolState => structuredClone(simulator.state()) as PoolState;

/** Downloads a disk over the pool's file API, as any tool would. */
export async function download({ simulator }: Pick<Example, "simulator">, vdi: string, format: "raw" | "vhd", path: string): Promise<void> {
  const credentials = Buffer.from(`${simulator.username}:${simulator.password}`).toString("base64");
  const reply = await fetch(`${simulator.url}/export_raw_vdi?vdi=${vdi}&format=${format}`, {
    headers: { authorization: `Basic ${credentials}` },
  });
  if (!reply.ok || reply.body === null) throw new Error(`export of ${vdi}: HTTP ${reply.status}`);
  await writeFile(path, reply.body);
}

/** A file of the FAT file system in the first partition of a raw image, read by mtools; undefined: there is none. */
export async function fileIn(image: string, path: string): Promise<string | undefined> {
  const sector = (await readFile(image)).readUInt32LE(0x1be + 8);
  const { stdout } = await run("mtype", ["-i", `${image}@@${sector * 512}`, `::/${path}`], { encoding: "utf8" }).catch(
    (error: { stderr?: string }) => {
      if (/not found|No such file/i.test(error.stderr ?? "")) return { stdout: undefined };
      throw error;
    },
  );
  return stdout;
}

/** The disks of a pool's storage, by name. */
export const disksOf = ({ simulator }: Pick<Example, "simulator">): string[] =>
  simulator.db
    .all("VDI")
    .map(([, vdi]) => vdi.name_label)
    .filter((name) => !name.endsWith(".iso"))
    .sort();
