// Runs an example with the real Pulumi engine: on a copy of its folder, with a stack and a state of its own, against any pool. For the examples' tests and the demo.
// Promises: nothing is written outside the folder that is given; the user's own Pulumi is neither read nor changed (.ci/env sees to it).
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { constants } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Found from the sources and from dist/ alike. */
export const checkout = ((): string => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return folder;
})();

export interface StackOptions {
  /** Name of a folder in examples/. */
  example: string;
  /** Where the copy and the state of the stack go: below .cache/ of the checkout, so that the program finds the checkout's packages. */
  folder: string;
  /** Stack configuration; a name without namespace is the program's own. */
  config: Readonly<Record<string, string>>;
  /** The same, stored encrypted. */
  secrets?: Readonly<Record<string, string>>;
  env?: Readonly<Record<string, string>>;
}

export interface Run {
  code: number;
  /** What the engine said. */
  output: string;
  events: readonly EngineEvent[];
  /** Resources by what was, or would be, done to them: `{ create: 6 }`. */
  changes: Readonly<Record<string, number>>;
}

/** As `--event-log` writes them, as far as anybody here looks. */
export interface EngineEvent {
  diagnosticEvent?: { urn?: string; message: string; severity: string; ephemeral?: boolean };
  resourcePreEvent?: { metadata: { op: string; urn: string; type: string; diffs?: string[] | null; keys?: string[] | null } };
  summaryEvent?: { resourceChanges?: Record<string, number> };
}

type Operation = "preview" | "up" | "refresh" | "destroy";

export class Stack implements AsyncDisposable {
  /** The copy of the example. */
  readonly dir: string;
  readonly #folder: string;
  readonly #env: Readonly<Record<string, string>>;
  #typesChecked = false;

  private constructor({ example, folder, env = {} }: StackOptions) {
    this.#folder = folder;
    this.#env = env;
    this.dir = join(folder, example);
  }

  static async make(options: StackOptions): Promise<Stack> {
    const stack = new Stack(options);
    await mkdir(join(options.folder, "state"), { recursive: true });
    await cp(join(checkout, "examples", options.example), stack.dir, {
      recursive: true,
      filter: (source) => basename(source) !== "node_modules" && !/^Pulumi\..+\.yaml$|\.raw$/.test(basename(source)),
    });
    // All else the programs import is found in the checkout's own node_modules, on the way up.
    await mkdir(join(options.folder, "node_modules"), { recursive: true });
    await symlink(checkout, join(options.folder, "node_modules", "pulumi-xenlayer"));
    await stack.expect(["stack", "init", "dev"]);
    await stack.configure(options.config, options.secrets);
    return stack;
  }

  async configure(config: Readonly<Record<string, string>>, secrets: Readonly<Record<string, string>> = {}): Promise<void> {
    const pairs = (values: Readonly<Record<string, string>>, flag: string) =>
      Object.entries(values).flatMap(([name, value]) => [flag, `${name}=${value}`]);
    await this.expect(["config", "set-all", ...pairs(config, "--plaintext"), ...pairs(secrets, "--secret")]);
  }

  /** The example's script that makes its disk image. */
  async makeImage(name?: string): Promise<string> {
    const { code, output } = await this.#execute(process.execPath, ["make-image.mjs", ...(name === undefined ? [] : [name])]);
    if (code !== 0) throw new Error(`make-image.mjs ended with ${code}:\n${output}`);
    return output;
  }

  /** `pulumi <args>`, whatever comes of it. `show` gets the output as it comes, `started` the process: the engine's own. */
  async pulumi(args: readonly string[], show?: (text: string) => void, started?: (engine: ChildProcess) => void): Promise<Run> {
    const operation = (["preview", "up", "refresh", "destroy"] as const).find((name): name is Operation => name === args[0]);
    const log = join(this.#folder, "events.json");
    await rm(log, { force: true });
    const flags = operation === undefined ? [] : ["--event-log", log, ...(operation === "preview" ? [] : ["--yes"])];
    const ended = await this.#execute("pulumi", [...args, ...flags, "--non-interactive", "--color", "never"], show, started);
    const text = operation === undefined ? "" : await readFile(log, "utf8").catch(() => "");
    // A killed engine may leave half a line.
    const events = text
      .slice(0, text.lastIndexOf("\n") + 1)
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as EngineEvent);
    // The program's types have been checked: once is enough.
    if (ended.code === 0 && (operation === "preview" || operation === "up")) this.#typesChecked = true;
    const changes = events.findLast(({ summaryEvent }) => summaryEvent !== undefined)?.summaryEvent?.resourceChanges ?? {};
    return { ...ended, events, changes };
  }

  /** The same, and it must go well. */
  async expect(args: readonly string[], show?: (text: string) => void): Promise<Run> {
    const run = await this.pulumi(args, show);
    if (run.code !== 0) throw new Error(`pulumi ${args.join(" ")} ended with ${run.code}:\n${run.output}`);
    return run;
  }

  async outputs(): Promise<Record<string, unknown>> {
    return JSON.parse((await this.expect(["stack", "output", "--json"])).output) as Record<string, unknown>;
  }

  /** The state as it is stored, secrets encrypted. */
  async storedState(): Promise<string> {
    const stacks = join(this.#folder, "state", ".pulumi", "stacks");
    const files = await readdir(stacks, { recursive: true });
    return await readFile(join(stacks, files.find((file) => basename(file) === "dev.json") ?? "dev.json"), "utf8");
  }

  /** Where the engine keeps what it knows. */
  get state(): string {
    return join(this.#folder, "state");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  #execute(
    command: string,
    args: readonly string[],
    show?: (text: string) => void,
    started?: (child: ChildProcess) => void,
  ): Promise<{ code: number; output: string }> {
    // .ci/env sets Pulumi's variables, so these come after it.
    const state = [`PULUMI_BACKEND_URL=file://${join(this.#folder, "state")}`, "PULUMI_DEBUG_COMMANDS=true"];
    if (this.#typesChecked) state.push("PULUMI_NODEJS_TRANSPILE_ONLY=true");
    const own = Object.entries(this.#env).map(([name, value]) => `${name}=${value}`);
    const { XENLAYER_USERNAME: _, XENLAYER_PASSWORD: __, ...env } = process.env;
    const child = spawn(join(checkout, ".ci", "env"), ["env", ...state, ...own, command, ...args], {
      cwd: this.dir,
      env,
      stdio: ["ignore", "pipe", "pipe"],
    });
    started?.(child);
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        show?.(text);
      });
    return new Promise((resolve, reject) => {
      child.on("error", reject);
      // What a killed engine leaves behind holds its output open.
      child.on("exit", (_, signal) => signal !== null && resolve({ code: 128 + constants.signals[signal], output }));
      child.on("close", (code) => resolve({ code: code ?? 1, output }));
    });
  }
}

/** A fresh folder for one stack. */
export async function stackFolder(name: string): Promise<string> {
  const parent = join(checkout, ".cache", "examples");
  await mkdir(parent, { recursive: true });
  return await mkdtemp(join(parent, `${name}-`));
}

/** All objects of a pool, by class and reference. */
export type PoolState = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, unknown>>>>>>;

/**
 * What two looks at a pool tell apart: objects that came or went, and fields that changed. Left out are clocks that tick by themselves and messages: the pool's
 * own log of machines that started and stopped, which XAPI keeps.
 */
export function poolDifferences(before: PoolState, after: PoolState): string[] {
  const lines: string[] = [];
  for (const cls of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (cls === "message") continue;
    const [old, now] = [before[cls] ?? {}, after[cls] ?? {}];
    const name = (record: Readonly<Record<string, unknown>> | undefined) => `"${String(record?.name_label ?? record?.uuid ?? "")}"`;
    for (const ref of Object.keys(now)) if (old[ref] === undefined) lines.push(`${cls} ${name(now[ref])} is new`);
    for (const [ref, record] of Object.entries(old)) {
      const other = now[ref];
      if (other === undefined) lines.push(`${cls} ${name(record)} is gone`);
      else
        for (const [field, value] of Object.entries(record))
          if (!TICKING.has(field) && JSON.stringify(value) !== JSON.stringify(other[field]))
            lines.push(`${cls} ${name(record)}: ${field} was ${JSON.stringify(value)}, is ${JSON.stringify(other[field])}`);
    }
  }
  return lines;
}

const TICKING = new Set(["last_updated"]);
