// One link of a copy-on-write chain: what a VHD file is to a real SR. It holds the 2 MiB blocks that were written while it was
// the leaf, and knows its parent by name. Two files do it:
//   <name>.data   the blocks, in the order in which they were first written (never a hole, so plain `cp` of a state directory stays small)
//   <name>.map    the block number of each slot of .data, as u32 little endian
// A slot is named in the map only after its data has been written, so a process that dies leaves at worst one slot that nobody names.

import { closeSync, ftruncateSync, openSync, readFileSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";

/** The block size of VHD, and so the unit of allocation on every VHD SR. */
export const BLOCK = 2 * 1024 * 1024;

/** The file descriptors of a store, oldest first: a chain of hundreds of links must not exhaust the process's limit. */
export class OpenFiles {
  readonly #open = new Map<string, number>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  get(path: string): number {
    const known = this.#open.get(path);
    if (known !== undefined) {
      return known;
    }
    if (this.#open.size >= this.#most) {
      for (const oldest of this.#open.keys()) {
        this.close(oldest);
        break;
      }
    }
    const fd = openSync(path, "r+");
    this.#open.set(path, fd);
    return fd;
  }

  close(path: string): void {
    const fd = this.#open.get(path);
    if (fd !== undefined) {
      this.#open.delete(path);
      closeSync(fd);
    }
  }

  closeAll(): void {
    for (const path of [...this.#open.keys()]) {
      this.close(path);
    }
  }
}

/** File systems read the same few sectors over and over: pages of this size are kept, so many for a link. */
const PAGE = 16 * 1024;
const MOST_PAGES = 64;

export class BlockFile {
  readonly name: string;
  readonly #data: string;
  readonly #map: string;
  readonly #files: OpenFiles;
  readonly #slots = new Map<number, number>();
  /** By number within .data, in order of last use. Writes go to the file first and to the kept page then. */
  readonly #pages = new Map<number, Buffer>();

  /** Opens the link `name` below `dir`, making an empty one where there is none. */
  constructor(dir: string, name: string, files: OpenFiles) {
    this.name = name;
    this.#data = join(dir, `${name}.data`);
    this.#map = join(dir, `${name}.map`);
    this.#files = files;
    closeSync(openSync(this.#data, "a"));
    closeSync(openSync(this.#map, "a"));
    const map = readFileSync(this.#map);
    const slots = Math.min(Math.floor(map.length / 4), Math.ceil(statSync(this.#data).size / BLOCK));
    for (let slot = 0; slot < slots; slot++) {
      this.#slots.set(map.readUInt32LE(slot * 4), slot);
    }
    // What a dead process left half written goes: a new slot has to begin as zeros.
    if (map.length !== slots * 4) {
      ftruncateSync(files.get(this.#map), slots * 4);
    }
    if (statSync(this.#data).size !== slots * BLOCK) {
      ftruncateSync(files.get(this.#data), slots * BLOCK);
    }
  }

  get count(): number {
    return this.#slots.size;
  }

  has(block: number): boolean {
    return this.#slots.has(block);
  }

  /** The numbers of its own blocks, in no order. */
  blocks(): Iterable<number> {
    return this.#slots.keys();
  }

  /** Fills `into` from `offset` within an own block. */
  read(block: number, offset: number, into: Uint8Array): void {
    const slot = this.#slots.get(block);
    if (slot === undefined) {
      throw new Error(`block ${block} is not in ${this.name}`);
    }
    const start = slot * BLOCK + offset;
    const page = Math.floor(start / PAGE);
    if (start + into.length <= (page + 1) * PAGE) {
      into.set(this.#page(page).subarray(start - page * PAGE, start - page * PAGE + into.length));
    } else {
      this.#readFile(start, into);
    }
  }

  /** Writes into an own block; a block that is not there yet is made, of zeros otherwise. */
  write(block: number, offset: number, data: Uint8Array): void {
    const known = this.#slots.get(block);
    const slot = known ?? this.#slots.size;
    const fd = this.#files.get(this.#data);
    if (known === undefined) {
      ftruncateSync(fd, (slot + 1) * BLOCK);
    }
    const start = slot * BLOCK + offset;
    try {
      for (let done = 0; done < data.length; ) {
        done += writeSync(fd, data, done, data.length - done, start + done);
      }
    } catch (error) {
      this.#pages.clear(); // part of it may be in the file
      throw error;
    }
    for (let page = Math.floor(start / PAGE); page * PAGE < start + data.length; page++) {
      const from = Math.max(start, page * PAGE);
      this.#pages.get(page)?.set(data.subarray(from - start, (page + 1) * PAGE - start), from - page * PAGE);
    }
    if (known === undefined) {
      const entry = Buffer.alloc(4);
      entry.writeUInt32LE(block);
      writeSync(this.#files.get(this.#map), entry, 0, 4, slot * 4);
      this.#slots.set(block, slot);
    }
  }

  remove(): void {
    for (const path of [this.#data, this.#map]) {
      this.#files.close(path);
      rmSync(path, { force: true });
    }
    this.#slots.clear();
    this.#pages.clear();
  }

  #page(page: number): Buffer {
    let data = this.#pages.get(page);
    if (data === undefined) {
      const [oldest] = this.#pages.size < MOST_PAGES ? [] : this.#pages;
      if (oldest !== undefined) {
        this.#pages.delete(oldest[0]);
      }
      data = oldest?.[1] ?? Buffer.allocUnsafeSlow(PAGE);
      this.#readFile(page * PAGE, data);
    } else {
      this.#pages.delete(page);
    }
    this.#pages.set(page, data);
    return data;
  }

  #readFile(start: number, into: Uint8Array): void {
    const fd = this.#files.get(this.#data);
    for (let done = 0; done < into.length; ) {
      const read = readSync(fd, into, done, into.length - done, start + done);
      if (read === 0) {
        throw new Error(`${this.#data} ends at ${start + done}, within a block: the state directory is damaged`);
      }
      done += read;
    }
  }
}
