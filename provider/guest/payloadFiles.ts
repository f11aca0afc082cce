// The files of a payload disk as a guest has left them, read with bounds. Any bytes are taken for any file, and for text; what could not be read is
// listed among the problems and is otherwise as if it were not there. What the files say is told in evidence.ts.
import type { FatVolume } from "./fat.ts";

const LIMIT = { line: 4096, entries: 1000, problems: 50 } as const;

export class Reader {
  readonly #volume: FatVolume;
  readonly #problems: string[];
  // Files of a damaged or hostile volume may share their clusters: their sum is bounded, not only each.
  #budget = 64 * 1024 * 1024;

  constructor(volume: FatVolume, problems: string[]) {
    this.#volume = volume;
    this.#problems = problems;
  }

  text(path: string, limit: number): string | undefined {
    const data = this.bytes(path, limit);
    return data && decode(data);
  }

  bytes(path: string, limit: number): Uint8Array | undefined {
    const found = this.#read(path, limit, false);
    if (found === undefined) return undefined;
    if (found.size > limit) {
      this.problem(`${path} is longer than ${limit} bytes (${found.size}) and was not read`);
      return undefined;
    }
    if (found.data.length !== found.size) {
      this.problem(`${path} ends after ${found.data.length} of ${found.size} bytes`);
      return undefined;
    }
    return found.data;
  }

  tail(path: string, limit: number): { text: string; size: number } | undefined {
    const found = this.#read(path, limit, true);
    return found && { text: decode(found.data), size: found.size };
  }

  #read(path: string, limit: number, tail: boolean): { data: Uint8Array; size: number } | undefined {
    if (this.#budget <= 0) {
      this.problem("the payload disk holds more than xenlayer reads");
      return undefined;
    }
    const found = this.attempt(path, () => this.#volume.read(`xenlayer/${path}`, limit, tail));
    this.#budget -= 512 + (found?.data.length ?? 0);
    return found;
  }

  line(path: string): string | undefined {
    return this.text(path, LIMIT.line)?.trim().split(/\r?\n/)[0]?.trim();
  }

  has(path: string): boolean {
    return this.attempt(path, () => this.#volume.read(`xenlayer/${path}`, 0)) !== undefined;
  }

  folders(path: string): string[] {
    const entries = this.attempt(path, () => this.#volume.list(`xenlayer/${path}`, LIMIT.entries)) ?? [];
    return entries.filter((entry) => entry.directory).map((entry) => entry.name.toLowerCase());
  }

  files(path: string): string[] {
    const entries = this.attempt(path, () => this.#volume.list(`xenlayer/${path}`, LIMIT.entries)) ?? [];
    return entries.filter((entry) => !entry.directory).map((entry) => entry.name.toLowerCase());
  }

  problem(text: string): void {
    if (this.#problems.length < LIMIT.problems) this.#problems.push(text);
  }

  attempt<T>(what: string, run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      this.problem(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }
}

/** UTF-16 by its mark or its zeros (reg export, wmic), else UTF-8, else some code page: its ASCII part is all that a parser looks at. */
export function decode(data: Uint8Array): string {
  if (data[0] === 0xff && data[1] === 0xfe) return clean(new TextDecoder("utf-16le").decode(data));
  if (data[0] === 0xfe && data[1] === 0xff) return clean(new TextDecoder("utf-16be").decode(data));
  const head = data.subarray(0, 512);
  const zeros = head.filter((byte, index) => index % 2 === 1 && byte === 0).length;
  if (head.length >= 4 && zeros > head.length / 4) return clean(new TextDecoder("utf-16le").decode(data));
  try {
    return clean(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch {
    return clean(new TextDecoder("windows-1252").decode(data));
  }
}

// A zero or an escape sequence is never part of an answer and may do harm where a report is shown.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
const clean = (text: string): string => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "");
