// One boot of Wine in its sandbox, from the start of its server to its orderly end, and the commands that are run meanwhile.
// Wine's restart is the end of its server and `wineboot -i`: it performs pending renames, starts services, drains HKLM RunOnce, and volatile keys are gone.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Sandbox, Started } from "../sandbox.ts";
import { readBounded } from "./calls.ts";
import { exported, PREFIX_MOUNT } from "./prefix.ts";
import { CALLS_FOLDER, REQUEST } from "./relay.ts";

/** Where commands lie: a folder of the sandbox, and the drive that it is in the guest. */
export const JOBS_FOLDER = "/run/xapisim/jobs";
export const JOBS_DRIVE = "x:";
/** What `program` of a call is when a command has ended; its line is the command's number. */
export const JOB_ENDED = "job";
const FIRST_REGISTRY = "first.reg";
const MOST_OUTPUT = 4 * 1024 * 1024;

// A server that nobody uses for two seconds ends by itself, and the next command would be another boot: -p keeps it.
// What outlives a command (services, programs started by `start`) must not keep its output open.
const INIT = `${exported()}
cd ${PREFIX_MOUNT}/drive_c
tell() {
  printf '${escaped(REQUEST.begin)}${JOB_ENDED}\\n%s\\n${escaped(REQUEST.end)}' "$1" >"${CALLS_FOLDER}/job$1" && mv "${CALLS_FOLDER}/job$1" "${CALLS_FOLDER}/cjob$1.tmp"
}
wineserver -p
wineboot -i >/dev/null 2>&1 </dev/null
[ ! -e ${JOBS_FOLDER}/${FIRST_REGISTRY} ] || wine reg import '${JOBS_DRIVE}\\${FIRST_REGISTRY}' >/dev/null 2>&1 </dev/null
# Once in some thousand commands Wine's cmd does not find a program that is there; the first one after a boot had better not be it.
tries=0
until wine cmd /d /c "cmd /d /c exit 7" >/dev/null 2>&1 </dev/null; [ $? = 7 ]; do
  tries=$((tries + 1))
  echo "Wine is not up yet: a program did not find another"
  [ $tries -lt 20 ] || exit 1
done
tell 0
while read -r job && [ "$job" != off ]; do
  { wine cmd /d /c "${JOBS_DRIVE}\\\\$job.cmd" </dev/null 2>&1; tell "$job"; } &
done
wineserver -k
wineserver -w
`;

export class WineSession {
  readonly #folder: string;
  readonly #waiting = new Map<string, () => void>();
  #started: Started | undefined;
  #jobs = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get mount(): { host: string; guest: string } {
    return { host: this.#folder, guest: JOBS_FOLDER };
  }

  get process(): number | undefined {
    return this.#started?.process;
  }

  /** Boots; a registry file is taken in before anything else runs. */
  async start(sandbox: Sandbox, registry: Uint8Array | undefined, output: (text: string) => void): Promise<void> {
    rmSync(this.#folder, { recursive: true, force: true });
    mkdirSync(this.#folder, { recursive: true });
    if (registry !== undefined) writeFileSync(join(this.#folder, FIRST_REGISTRY), registry);
    const booted = this.#ended("0");
    const started = sandbox.start(["sh", "-c", INIT], "/", output);
    this.#started = started;
    await Promise.race([
      booted,
      started.ended.then(({ rc }) => Promise.reject(new Error(`Wine did not start: its boot ended with ${rc}`))),
    ]);
  }

  /** Runs a line of cmd's language; what it prints goes to the output of the boot. */
  async run(line: string): Promise<number> {
    const id = await this.#job((name) => `cmd /d /c "${JOBS_DRIVE}\\${name}"`, line);
    return this.#code(id);
  }

  /** The same, for one whose output is wanted by itself. */
  async capture(line: string): Promise<{ rc: number; output: string }> {
    const id = await this.#job((name, number) => `cmd /d /c "${JOBS_DRIVE}\\${name}" >${JOBS_DRIVE}\\${number}.out 2>&1 <nul`, line);
    return { rc: this.#code(id), output: this.#read(`${id}.out`) };
  }

  /** A command says that it has ended. */
  ended(id: string): void {
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
  }

  /** Shuts Wine's server down, which writes the registry; true when it did so in time. */
  async stop(limitMs: number): Promise<boolean> {
    const started = this.#started;
    if (started === undefined) return true;
    started.input.end("off\n");
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), limitMs);
    });
    const stopped = await Promise.race([started.ended.then(() => true), late]);
    clearTimeout(timer);
    return stopped;
  }

  // Exit codes come from a file: what Wine hands to the host is the code modulo 256. `call` would make every code but 0 a 1.
  async #job(command: (name: string, number: number) => string, line: string): Promise<string> {
    const number = ++this.#jobs;
    const name = `${number}-line.cmd`;
    writeFileSync(join(this.#folder, name), `@echo off\r\n${line}\r\n`);
    writeFileSync(
      join(this.#folder, `${number}.cmd`),
      `@echo off\r\ncd /d C:\\windows\\system32\r\n${command(name, number)}\r\n>${JOBS_DRIVE}\\${number}.rc echo %errorlevel%\r\n`,
    );
    const ended = this.#ended(String(number));
    this.#started?.input.write(`${number}\n`);
    await ended;
    return String(number);
  }

  async #ended(id: string): Promise<void> {
    await new Promise<void>((resolve) => this.#waiting.set(id, resolve));
  }

  #code(id: string): number {
    const text = this.#read(`${id}.rc`).trim();
    return /^-?\d+$/.test(text) ? Number(text) : -1;
  }

  #read(name: string): string {
    return readBounded(join(this.#folder, name), MOST_OUTPUT)?.toString("utf8") ?? "";
  }
}

function escaped(text: string): string {
  return text.replaceAll("\n", "\\n");
}
