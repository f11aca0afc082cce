// The simulator's end of the relay (relay.ts): takes what programs of the guest ask, and puts the answer in the question's place.
// Promises: the folder is the guest's to write, so nothing in it is trusted: links are never followed, sizes are bounded, a half-written question waits.
import {
  closeSync,
  constants,
  type FSWatcher,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  watch,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Answer } from "../windows/process.ts";
import { ANSWER, ANSWER_HEADER, CALLS_FOLDER, MOST_ANSWER, REQUEST } from "./relay.ts";

export interface Call {
  readonly id: string;
  /** Full path of the program that asks, `C:\windows\system32\tasklist.exe`. */
  readonly program: string;
  readonly line: string;
  readonly cwd: string;
}

const MOST_BYTES = 64 * 1024;

export class Calls {
  readonly #folder: string;
  readonly #handle: (call: Call) => void;
  readonly #taken = new Set<string>();
  #watcher: FSWatcher | undefined;

  constructor(folder: string, handle: (call: Call) => void) {
    this.#folder = folder;
    this.#handle = handle;
  }

  get mount(): { host: string; guest: string } {
    return { host: this.#folder, guest: CALLS_FOLDER };
  }

  /** Anew for a boot. */
  open(): void {
    rmSync(this.#folder, { recursive: true, force: true });
    mkdirSync(this.#folder, { recursive: true });
    this.#taken.clear();
    this.#watcher = watch(this.#folder, () => this.serve());
  }

  close(): void {
    this.#watcher?.close();
  }

  /** Takes the questions that are whole. */
  serve(): void {
    for (const id of readdirSync(this.#folder)) {
      if (!/^c[0-9a-z]+\.tmp$/i.test(id) || this.#taken.has(id)) continue;
      const text = readBounded(join(this.#folder, id), MOST_BYTES)?.toString("utf8");
      if (text === undefined || !text.startsWith(REQUEST.begin) || !text.endsWith(REQUEST.end)) continue;
      const [program = "", line = "", cwd = ""] = text.slice(REQUEST.begin.length, -REQUEST.end.length).split("\n");
      this.#taken.add(id);
      this.#handle({ id, program, line: line.trim(), cwd });
    }
  }

  answer(id: string, { out, err, rc }: Answer): void {
    const said = Buffer.from(out).subarray(0, MOST_ANSWER / 2);
    const complained = Buffer.from(err).subarray(0, MOST_ANSWER / 2);
    this.#put(id, ANSWER.said, rc, said, complained);
  }

  /** Has the relay run a command line under Wine, and hand on what comes of it. */
  run(id: string, line: string): void {
    this.#put(id, ANSWER.run, 0, Buffer.from(`${line}\0`), Buffer.alloc(0));
  }

  /** A call that nobody waits for. */
  forget(id: string): void {
    rmSync(join(this.#folder, id), { force: true });
    this.#taken.delete(id);
  }

  #put(id: string, kind: string, rc: number, first: Buffer, second: Buffer): void {
    const header = Buffer.alloc(ANSWER_HEADER);
    header.write(kind, "latin1");
    for (const [index, number] of [rc | 0, first.length, second.length].entries()) header.writeInt32LE(number, 4 + 4 * index);
    const file = join(this.#folder, `${id}.answer`);
    rmSync(file, { recursive: true, force: true });
    const descriptor = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o644);
    try {
      writeSync(descriptor, Buffer.concat([header, first, second]));
    } finally {
      closeSync(descriptor);
    }
    renameSync(file, join(this.#folder, id));
    // The name is used again, by a later process.
    this.#taken.delete(id);
  }
}

/** A file of the guest's; undefined where there is none, a link, or one that is larger. */
export function readBounded(path: string, most: number): Buffer | undefined {
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch {
    return undefined;
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile() || stat.size > most) return undefined;
    const data = Buffer.alloc(stat.size);
    return data.subarray(0, readSync(descriptor, data, 0, data.length, 0));
  } finally {
    closeSync(descriptor);
  }
}
