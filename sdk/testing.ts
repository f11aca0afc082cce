// Pulumi programs in folders of their own, run by the real engine with a state of their own: for tests.
// What the program imports as `pulumi-xenlayer` is this checkout's compiled package, or a stand-in that a test gives.
import { type ChildProcess, type ExecFileException, execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const checkout = dirname(dirname(fileURLToPath(import.meta.url)));

export interface ProgramOptions {
  module: "esm" | "commonjs";
  /** The text of index.ts. */
  program: string;
  /** A stand-in for the package: its files by name. */
  stub?: Record<string, string>;
  /** Stack configuration; values that start with `secret:` are stored encrypted. */
  config?: Record<string, string>;
  env?: Record<string, string>;
}

export interface Run {
  code: number;
  output: string;
  events: EngineEvent[];
}

/** As `--event-log` writes them, as far as tests look. */
export interface EngineEvent {
  diagnosticEvent?: { urn?: string; message: string; severity: string; ephemeral?: boolean };
  resourcePreEvent?: { metadata: { op: string; urn: string; diffs?: string[]; detailedDiff?: Record<string, unknown> | null } };
  summaryEvent?: { resourceChanges: Record<string, number> };
}

export interface StateResource {
  urn: string;
  type: string;
  id?: string;
  inputs: Record<string, unknown>;
  outputs: Record<string, unknown>;
  initErrors?: string[];
}

export class Program implements AsyncDisposable {
  readonly dir: string;
  readonly #options: ProgramOptions;
  #typesChecked = false;

  private constructor(dir: string, options: ProgramOptions) {
    this.dir = dir;
    this.#options = options;
  }

  static async make(options: ProgramOptions): Promise<Program> {
    const dir = await mkdtemp(join(tmpdir(), "xenlayer-program-"));
    const esm = options.module === "esm";
    const modules = join(dir, "node_modules");
    await mkdir(join(dir, "state"));
    for (const scope of ["@pulumi", "@types"]) await mkdir(join(modules, scope), { recursive: true });
    for (const name of ["@pulumi/pulumi", "@types/node", "typescript", "ts-node"])
      await symlink(join(checkout, "node_modules", name), join(modules, name));
    if (options.stub === undefined) await symlink(checkout, join(modules, "pulumi-xenlayer"));
    else {
      const stub = join(modules, "pulumi-xenlayer");
      await mkdir(stub);
      const exported = { ".": { types: "./index.d.ts", default: "./index.js" }, "./provider": { default: "./provider.js" } };
      const manifest = { name: "pulumi-xenlayer", type: "module", main: "./index.js", types: "./index.d.ts", exports: exported };
      await writeFile(join(stub, "package.json"), JSON.stringify(manifest));
      for (const [name, text] of Object.entries(options.stub)) await writeFile(join(stub, name), text);
    }
    await writeFile(join(dir, "package.json"), JSON.stringify({ name: "program", private: true, ...(esm ? { type: "module" } : {}) }));
    await writeFile(
      join(dir, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: {
          target: "es2022",
          strict: true,
          exactOptionalPropertyTypes: true,
          types: ["node"],
          ...(esm ? { module: "nodenext" } : { module: "commonjs", moduleResolution: "node10", esModuleInterop: true }),
        },
      }),
    );
    await writeFile(join(dir, "Pulumi.yaml"), "name: program\nruntime: nodejs\n");
    await writeFile(join(dir, "index.ts"), options.program);
    const program = new Program(dir, options);
    await program.expect(["stack", "init", "test"]);
    const pairs = Object.entries(options.config ?? {}).flatMap(([key, value]) =>
      value.startsWith("secret:") ? ["--secret", `${key}=${value.slice("secret:".length)}`] : ["--plaintext", `${key}=${value}`],
    );
    if (pairs.length > 0) await program.expect(["config", "set-all", ...pairs]);
    return program;
  }

  /** Writes the program anew. */
  async edit(program: string): Promise<void> {
    this.#typesChecked = false;
    await writeFile(join(this.dir, "index.ts"), program);
  }

  /** `pulumi <args>`; for operations of the engine with its events. */
  async pulumi(args: readonly string[]): Promise<Run> {
    const operation = ["preview", "up", "refresh", "destroy"].includes(args[0] ?? "");
    const log = join(this.dir, "events.log");
    await rm(log, { force: true });
    const flags = operation ? ["--event-log", log, ...(args[0] === "preview" ? [] : ["--yes"])] : [];
    const { code, output } = await this.#execute([...args, ...flags, "--non-interactive", "--color", "never"]);
    // What has been checked once need not be checked by every command.
    if (code === 0 && (args[0] === "preview" || args[0] === "up")) this.#typesChecked = true;
    const lines = operation ? await readFile(log, "utf8").catch(() => "") : "";
    const events = lines
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as EngineEvent);
    return { code, output, events };
  }

  /** The same, and it must go well. */
  async expect(args: readonly string[]): Promise<Run> {
    const run = await this.pulumi(args);
    if (run.code !== 0) throw new Error(`pulumi ${args.join(" ")} ended with ${run.code}:\n${run.output}`);
    return run;
  }

  /** The state as it is stored: secrets are encrypted in it. */
  async storedState(): Promise<string> {
    return await readFile(join(this.dir, "state", ".pulumi", "stacks", "program", "test.json"), "utf8");
  }

  /** The resources of this package in the state, with their secrets in clear. */
  async resources(): Promise<StateResource[]> {
    const { output } = await this.expect(["stack", "export", "--show-secrets"]);
    const state = JSON.parse(output) as { deployment: { resources?: StateResource[] } };
    return (state.deployment.resources ?? []).filter(({ type }) => type.startsWith("pulumi-nodejs:dynamic"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }

  /** `pulumi up`, left to itself. */
  start(): ChildProcess {
    const [command, ...args] = this.#command(["up", "--skip-preview", "--yes", "--non-interactive"]);
    return spawn(command, args, { cwd: this.dir, env: this.#env, stdio: "ignore" });
  }

  // .ci/env decides about Pulumi's variables, so these come after it.
  #command(args: readonly string[]): [string, ...string[]] {
    const variables = [`PULUMI_BACKEND_URL=file://${join(this.dir, "state")}`, "PULUMI_DEBUG_COMMANDS=true"];
    if (this.#typesChecked) variables.push("PULUMI_NODEJS_TRANSPILE_ONLY=true");
    return [join(checkout, ".ci", "env"), "env", ...variables, "pulumi", ...args];
  }

  get #env(): NodeJS.ProcessEnv {
    return { ...process.env, ...this.#options.env };
  }

  #execute(args: readonly string[]): Promise<{ code: number; output: string }> {
    const [command, ...rest] = this.#command(args);
    return new Promise((resolve) => {
      execFile(
        command,
        rest,
        { cwd: this.dir, env: this.#env, maxBuffer: 64 * 2 ** 20 },
        (error: ExecFileException | null, stdout, stderr) =>
          resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : 1, output: stdout + stderr }),
      );
    });
  }
}
