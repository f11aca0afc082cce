// .NET's native image compiler: a queue for each framework that survives restarts, workers that take it up by themselves, and what ngen.exe prints about it.
// Texts: ngen.exe's string table (guest.md 2.7), which Windows does not translate.
import { z } from "zod";
import type { Clock } from "../../clock.ts";
import { type Answer, said } from "./process.ts";

export const ngenState = z.object({
  /** Seconds of work left, by framework directory. */
  queued: z.record(z.string(), z.number().nonnegative()),
  /** Frameworks whose workers were killed at work. */
  interrupted: z.array(z.string()),
});

/** How long a question about the queue keeps the workers from working: it is foreground activity. */
const PAUSE_MS = 10_000;
const STATUS = "The .NET Runtime Optimization Service is";

export class Ngen {
  readonly #clock: Clock;
  readonly #frameworks: readonly string[];
  readonly #queued: Map<string, number>;
  readonly #interrupted: Set<string>;
  readonly #foreground = new Set<string>();
  #seen: number;
  #pausedUntil = 0;

  constructor(clock: Clock, frameworks: readonly string[], kept: z.output<typeof ngenState>) {
    this.#clock = clock;
    this.#frameworks = frameworks;
    this.#queued = new Map(frameworks.map((name) => [name, kept.queued[name] ?? 0]));
    this.#interrupted = new Set(kept.interrupted);
    this.#seen = clock.now();
  }

  toJSON(): z.output<typeof ngenState> {
    this.#work();
    return { queued: Object.fromEntries(this.#queued), interrupted: [...this.#interrupted].sort() };
  }

  /** Work for every framework, as an installer of .NET programs leaves it. */
  queue(seconds: number): void {
    this.#work();
    if (seconds > 0) for (const [name, left] of this.#queued) this.#queued.set(name, left + seconds);
  }

  /** Frameworks with a worker process at this moment; it exists while it is paused too. */
  workers(): string[] {
    this.#work();
    return this.#frameworks.filter((name) => (this.#queued.get(name) ?? 0) > 0);
  }

  /** The machine goes down now; the frameworks that are harmed by it. */
  interrupt(): string[] {
    const harmed = this.workers();
    for (const name of harmed) this.#interrupted.add(name);
    return harmed;
  }

  /** ngen.exe of a framework directory; undefined: it has none. */
  async run(framework: string, args: readonly string[], sleep: (ms: number) => Promise<void>): Promise<Answer | undefined> {
    const name = this.#frameworks.find((each) => each.toLowerCase() === framework.toLowerCase());
    if (name === undefined) return undefined;
    const [verb = "", ...rest] = args.map((argument) => argument.toLowerCase());
    const banner = `Microsoft (R) CLR Native Image Generator - Version ${name.endsWith("v2.0.50727") ? "2.0.50727.9157" : "4.8.9232.0"}\r\nCopyright (c) Microsoft Corporation.  All rights reserved.\r\n`;
    const answer = (text: string, rc = 0): Answer => said(`${banner}${text}`, rc);
    if (verb === "queue" && rest[0] === "status") return answer(`${this.#status(name)}\r\n`);
    if (verb === "queue" && (rest[0] === "pause" || rest[0] === "continue")) {
      this.#work();
      this.#pausedUntil = rest[0] === "pause" ? Number.POSITIVE_INFINITY : 0;
      return answer("");
    }
    if (verb === "executequeueditems" || verb === "eqi") return answer(await this.#execute(name, sleep));
    if (verb === "update") {
      const queued = await this.#execute(name, sleep);
      if (!rest.includes("/force")) return answer(queued === "" ? "All compilation targets are up to date.\r\n" : queued);
      await sleep(60_000);
      this.#interrupted.delete(name);
      return answer(`${queued}${compiled(name)}`);
    }
    if (verb === "display") return answer(this.#display(name));
    return answer("Error: The specified command is not valid.\r\n", -1);
  }

  /** What the workers have done by themselves since somebody last looked. */
  #work(): void {
    const now = this.#clock.now();
    const from = Math.max(this.#seen, Math.min(this.#pausedUntil, now));
    for (const [name, left] of this.#queued) {
      if (!this.#foreground.has(name)) this.#queued.set(name, Math.max(0, left - (now - from) / 1000));
    }
    this.#seen = now;
  }

  #status(name: string): string {
    this.#work();
    if ((this.#queued.get(name) ?? 0) === 0) return `${STATUS} stopped`;
    const paused = this.#clock.now() < this.#pausedUntil;
    this.#pausedUntil = Math.max(this.#pausedUntil, this.#clock.now() + PAUSE_MS);
    return `${STATUS} ${paused ? "started and paused" : "running"}`;
  }

  async #execute(name: string, sleep: (ms: number) => Promise<void>): Promise<string> {
    this.#work();
    const left = this.#queued.get(name) ?? 0;
    if (left === 0) return "";
    this.#foreground.add(name);
    try {
      await sleep(left * 1000);
      this.#queued.set(name, 0);
    } finally {
      this.#foreground.delete(name);
    }
    return compiled(name);
  }

  #display(name: string): string {
    const pending = this.workers().includes(name)
      ? "Broker, Version=7.0.0.0, Culture=Neutral, PublicKeyToken=1a2b3c4d5e6f7a8b (StatusPending)\r\n"
      : "";
    const damaged = this.#interrupted.has(name)
      ? "Broker.Core, Version=7.0.0.0, Culture=Neutral, PublicKeyToken=1a2b3c4d5e6f7a8b (StatusError)\r\n"
      : "";
    return `NGEN Roots:\r\n\r\nNative Images:\r\n\r\nmscorlib, Version=4.0.0.0, Culture=Neutral, PublicKeyToken=b77a5c561934e089\r\n${pending}${damaged}`;
  }
}

// "It's okay if you see several compilation failed messages" (App Layering's documentation): so one is here.
const compiled = (framework: string): string =>
  `Executing command from offline queue: install "Broker.dll" /queue:1\r\n1>    Compiling assembly C:\\Windows\\Microsoft.NET\\${framework.replace("/", "\\")}\\Broker.dll (CLR v4.0.30319) ...\r\n` +
  "1>    Compiling assembly Broker.Plugins, Version=7.0.0.0 (CLR v4.0.30319) ...\r\n1>    Failed to load dependency Broker.Optional because of the following error : The system cannot find the file specified. (Exception from HRESULT: 0x80070002)\r\n";
