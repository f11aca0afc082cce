// cmd.exe: carries out the generated scripts and the steps' own text, line by line, with the rules of cmd for variables, labels, exit codes and redirections.
// Promises: a command that it does not know is answered as cmd answers it (9009), never passed over; nothing outside the guest's own drives is read or written;
// a script that never waits still lets time pass.

import { matching } from "./fileCommands.ts";
import type { Files, Location } from "./files.ts";
import { internalCommand } from "./internal.ts";
import { loopValues } from "./loops.ts";
import { argumentsOf, type Environment, firstWord, notRecognized, type Process, type Stream, scriptArguments } from "./process.ts";
import { Capture, FileStream } from "./streams.ts";
import { type Command, type Condition, OpenBlock, parseCommands, type Redirection, SyntaxProblem } from "./syntax.ts";
import { replaceDelayed, replaceLoop, replaceVariables, type Substitution } from "./variables.ts";
import type { WallClock } from "./wallClock.ts";

/** What a shell runs on. */
export interface Host {
  readonly files: Files;
  sleep(ms: number): Promise<void>;
  /** 0 to 32767, as %RANDOM%. */
  random(): number;
  readonly wallClock: WallClock;
  /** Runs a program that is no script; undefined: there is none of that name. */
  launch(line: string, name: string, args: readonly string[], process: Process): Promise<number | undefined>;
  /** Runs something without waiting for it. */
  background(work: () => Promise<unknown>): void;
}

/** What a command does to the flow of its script. */
export type Flow = undefined | { kind: "goto"; label: string } | { kind: "return" } | { kind: "quit" };

interface Frame {
  readonly lines: readonly string[];
  readonly script: string;
  args: string[];
  at: number;
  /** Saved by setlocal, given back when the script or subroutine ends. */
  readonly saved: { env: Environment; cwd: string; delayed: boolean }[];
}

/** So that a script that never waits lets time pass, and lets the simulator answer meanwhile. */
const COMMANDS_PER_PAUSE = 25;
const PAUSE_MS = 20;
const DEEPEST = 60;

export class Shell {
  errorlevel = 0;
  delayed = false;
  readonly loop = new Map<string, string>();
  readonly #frames: Frame[] = [];
  #commands = 0;

  constructor(
    readonly host: Host,
    readonly process: Process,
  ) {}

  get frame(): Frame | undefined {
    return this.#frames.at(-1);
  }

  /** Another process that inherits from this one. */
  child(out = this.process.out): Shell {
    return new Shell(this.host, { ...this.process, env: this.process.env.copy(), out });
  }

  /** `cmd /c line`; the exit code. */
  async runLine(line: string): Promise<number> {
    await this.#runText(line);
    return this.errorlevel;
  }

  /** Runs a script to its end, in this very process, as `call` does. */
  async runScript(at: Location, args: readonly string[]): Promise<Flow> {
    const text = this.host.files.readText(at);
    if (text === undefined) return undefined;
    const lines = text.replace(/^\ufeff/, "").split(/\r?\n/);
    return this.#runFrame({ lines, script: this.host.files.full(at), args: [...args], at: 0, saved: [] });
  }

  /** `call :label`. */
  async runLabel(label: string, args: readonly string[]): Promise<Flow> {
    const { frame } = this;
    const at = frame === undefined ? undefined : labelled(frame.lines, label);
    if (frame === undefined || at === undefined) {
      this.process.err.write(`The system cannot find the batch label specified - ${label}\r\n`);
      this.errorlevel = 1;
      return undefined;
    }
    return this.#runFrame({ lines: frame.lines, script: frame.script, args: [...args], at, saved: [] });
  }

  async #runFrame(frame: Frame): Promise<Flow> {
    if (this.#frames.length >= DEEPEST) {
      this.process.err.write("Batch recursion exceeds stack limits.\r\n");
      return { kind: "quit" };
    }
    this.#frames.push(frame);
    try {
      while (frame.at < frame.lines.length) {
        const flow = await this.#runText(this.#nextStatement(frame));
        if (flow?.kind === "goto") {
          const at = flow.label.toLowerCase() === "eof" ? frame.lines.length : labelled(frame.lines, flow.label);
          if (at === undefined) {
            this.process.err.write(`The system cannot find the batch label specified - ${flow.label}\r\n`);
            this.errorlevel = 1;
            return { kind: "return" };
          }
          frame.at = at;
        } else if (flow?.kind === "return") return undefined;
        else if (flow !== undefined) return flow;
      }
      return undefined;
    } finally {
      this.#frames.pop();
      const first = frame.saved[0];
      if (first !== undefined) this.restore(first);
    }
  }

  restore(saved: { env: Environment; cwd: string; delayed: boolean }): void {
    this.process.env = saved.env;
    this.process.cwd = saved.cwd;
    this.delayed = saved.delayed;
  }

  /** One line, or as many as its blocks need; variables are replaced in all of it before any of it runs. */
  #nextStatement(frame: Frame): string {
    const raw = frame.lines[frame.at++] ?? "";
    if (/^\s*(:|@?rem\b)/i.test(raw)) return "";
    let text = replaceVariables(raw, this.substitution(frame));
    while (frame.at < frame.lines.length) {
      try {
        parseCommands(text);
        return text;
      } catch (error) {
        if (!(error instanceof OpenBlock)) return text;
        text += `\n${replaceVariables(frame.lines[frame.at++] ?? "", this.substitution(frame))}`;
      }
    }
    return text;
  }

  async #runText(text: string): Promise<Flow> {
    let commands: Command[];
    try {
      commands = parseCommands(this.frame === undefined ? replaceVariables(text, this.substitution(undefined)) : text);
    } catch (error) {
      if (!(error instanceof SyntaxProblem)) throw error;
      // cmd gives up the whole script here.
      this.process.err.write(`${error.message}\r\n`);
      this.errorlevel = 255;
      return { kind: "quit" };
    }
    for (const command of commands) {
      const flow = await this.run(command);
      if (flow !== undefined) return flow;
    }
    return undefined;
  }

  substitution(frame: Frame | undefined): Substitution {
    return {
      env: this.process.env,
      args: frame?.args,
      script: frame?.script ?? "",
      dynamic: (name) => {
        if (name === "ERRORLEVEL") return String(this.errorlevel);
        if (name === "CD") return this.process.cwd;
        if (name === "RANDOM") return String(this.host.random());
        if (name === "DATE") return this.host.wallClock.date();
        return name === "TIME" ? this.host.wallClock.time() : undefined;
      },
    };
  }

  /** Loop variables and !variables! in what a command is about to use. */
  text(raw: string): string {
    const looped = replaceLoop(raw, this.loop);
    return this.delayed ? replaceDelayed(looped, this.substitution(this.frame)) : looped;
  }

  async run(command: Command): Promise<Flow> {
    if (++this.#commands % COMMANDS_PER_PAUSE === 0) await this.host.sleep(PAUSE_MS);
    switch (command.kind) {
      case "simple":
        return this.#redirected(command.redirections, () => this.#simple(this.text(command.text)));
      case "block":
        return this.#redirected(command.redirections, async () => {
          for (const each of command.body) {
            const flow = await this.run(each);
            if (flow !== undefined) return flow;
          }
          return undefined;
        });
      case "if":
        if (this.#holds(command.condition, command.ignoreCase) !== command.not) return this.run(command.then);
        return command.otherwise === undefined ? undefined : this.run(command.otherwise);
      case "chain":
        return this.#chain(command);
      case "for":
        return this.#for(command);
    }
  }

  async #chain({ operator, left, right }: Command & { kind: "chain" }): Promise<Flow> {
    if (operator === "|") {
      const between = new Capture();
      const { out, input } = this.process;
      this.process.out = between;
      await this.run(left).finally(() => {
        this.process.out = out;
      });
      this.process.input = between.text;
      await this.run(right).finally(() => {
        this.process.input = input;
      });
      return undefined;
    }
    const before = this.errorlevel;
    if (operator !== "&") this.errorlevel = 0;
    const flow = await this.run(left);
    if (flow !== undefined) return flow;
    if (operator === "&") return this.run(right);
    const failed = this.errorlevel !== 0;
    // Internal commands that succeed leave the level that was there before.
    if (!failed && left.kind === "simple" && isSilent(left.text)) this.errorlevel = before;
    return failed === (operator === "||") ? this.run(right) : undefined;
  }

  async #for(command: Command & { kind: "for" }): Promise<Flow> {
    const before = new Map(this.loop);
    try {
      for (const values of await loopValues(this, command)) {
        for (const [letter, value] of values) this.loop.set(letter, value);
        const flow = await this.run(command.body);
        if (flow !== undefined) return flow;
      }
      return undefined;
    } finally {
      this.loop.clear();
      for (const [letter, value] of before) this.loop.set(letter, value);
    }
  }

  async #redirected(redirections: readonly Redirection[], work: () => Promise<Flow>): Promise<Flow> {
    if (redirections.length === 0) return work();
    const { out, err, input } = this.process;
    const opened: FileStream[] = [];
    try {
      for (const { handle, target, append } of redirections) {
        const stream = this.#open(this.text(target), append, handle, opened);
        if (stream === undefined) {
          err.write(`The system cannot find the ${handle === 0 ? "file" : "path"} specified.\r\n`);
          this.errorlevel = 1;
          return undefined;
        }
        if (handle === 0) this.process.input = typeof stream === "string" ? stream : "";
        else if (typeof stream !== "string") this.process[handle === 1 ? "out" : "err"] = stream;
      }
      return await work();
    } finally {
      Object.assign(this.process, { out, err, input });
      for (const stream of opened) if (!stream.close()) this.fail("There is not enough space on the disk.");
    }
  }

  #open(target: string, append: boolean, handle: number, opened: FileStream[]): Stream | string | undefined {
    if (target === "&1") return this.process.out;
    if (target === "&2") return this.process.err;
    const { files } = this.host;
    if (/^"?nul"?$/i.test(target)) return handle === 0 ? "" : { write: () => {} };
    const at = files.locate(target, this.process.cwd);
    if (handle === 0) return files.readText(at);
    const stream = FileStream.open(files, at, append);
    if (stream !== undefined) opened.push(stream);
    return stream;
  }

  #holds(condition: Condition, ignoreCase: boolean): boolean {
    if (condition.kind === "compare") {
      const [left, right] = [condition.left, condition.right].map((side) => this.text(side)) as [string, string];
      return compare(left, condition.operator, right, ignoreCase);
    }
    const operand = this.text(condition.operand);
    if (condition.kind === "defined")
      return this.process.env.get(operand) !== undefined || this.substitution(this.frame).dynamic(operand.toUpperCase()) !== undefined;
    if (condition.kind === "errorlevel") return this.errorlevel >= Number(operand);
    const { files } = this.host;
    const at = files.locate(operand.replace(/\\(?:nul|\*)?"?$/i, ""), this.process.cwd);
    if (/[*?]/.test(operand)) return matching(this, operand.replaceAll('"', "")).length > 0;
    return /\\"?$/.test(operand) && !files.exists(at) ? files.isFolder(at) : files.exists(at);
  }

  async #simple(text: string): Promise<Flow> {
    const line = text.trim();
    if (line === "") return undefined;
    const word = /^[a-z]+(?=$|[\s.:;,=(/\\"[\]+])/i.exec(line)?.[0]?.toLowerCase();
    const internal = word === undefined ? undefined : internalCommand(word);
    if (word !== undefined && internal !== undefined) return internal(this, text.trimStart().slice(word.length), word);
    if (/^[A-Za-z]:$/.test(line)) {
      if (this.host.files.hasDrive(line[0] ?? "")) this.process.cwd = `${line.toUpperCase()}\\`;
      else this.fail("The system cannot find the drive specified.");
      return undefined;
    }
    const script = this.script(line);
    if (script === undefined) {
      await this.external(line);
      return undefined;
    }
    // Without `call` a script does not come back to the one that started it.
    const flow = await this.runScript(script.at, script.args);
    return flow ?? (this.frame === undefined ? undefined : { kind: "return" });
  }

  /** The script that a command line starts, if it starts one. */
  script(line: string): { at: Location; args: string[] } | undefined {
    const [name, rest] = firstWord(line);
    const { files } = this.host;
    const plain = name.replaceAll('"', "");
    const folders = /[\\:]/.test(plain) ? [this.process.cwd] : [this.process.cwd, ...(this.process.env.get("PATH") ?? "").split(";")];
    for (const folder of folders) {
      for (const extension of ["", ".bat", ".cmd"]) {
        const file = `${plain}${extension}`;
        if (!/\.(cmd|bat)$/i.test(file)) continue;
        const at = files.locate(file, folder === "" ? this.process.cwd : folder.replace(/"/g, ""));
        if (files.isFile(at)) return { at, args: [name, ...scriptArguments(rest)] };
      }
    }
    return undefined;
  }

  async external(line: string): Promise<void> {
    const [name, rest] = firstWord(line);
    const plain = name.replaceAll('"', "");
    const rc = await this.host.launch(line, plain, rest.trim() === "" ? [] : argumentsOf(rest), this.process);
    if (rc !== undefined) {
      this.errorlevel = rc;
      return;
    }
    const answer = notRecognized(plain);
    this.process.err.write(answer.err);
    this.errorlevel = answer.rc;
  }

  fail(message: string, rc = 1): void {
    this.process.err.write(`${message}\r\n`);
    this.errorlevel = rc;
  }
}

function labelled(lines: readonly string[], label: string): number | undefined {
  const wanted = label.replace(/^:/, "").trim().toLowerCase();
  const at = lines.findIndex((line) => /^\s*:\s*([^\s:&|<>+=,;]+)/.exec(line)?.[1]?.toLowerCase() === wanted);
  return at < 0 ? undefined : at + 1;
}

function compare(left: string, operator: string, right: string, ignoreCase: boolean): boolean {
  const [a, b] = ignoreCase ? [left.toLowerCase(), right.toLowerCase()] : [left, right];
  if (operator === "==") return a === b;
  const numbers = [a, b].every((side) => /^-?\d+$/.test(side)) ? ([Number(a), Number(b)] as const) : undefined;
  const order = numbers === undefined ? (a < b ? -1 : a > b ? 1 : 0) : Math.sign(numbers[0] - numbers[1]);
  const holds: Readonly<Record<string, boolean>> = {
    equ: order === 0,
    neq: order !== 0,
    lss: order < 0,
    leq: order <= 0,
    gtr: order > 0,
    geq: order >= 0,
  };
  return holds[operator] ?? false;
}

const isSilent = (text: string): boolean => /^\s*(echo|set|if|rem)\b/i.test(text);
