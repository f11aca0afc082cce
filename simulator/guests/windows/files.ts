// Drives of a modelled Windows: C: is the system disk's FAT file system, further letters other volumes. Paths are Windows' own, case does not count.
// Promise: what is written here is in the file system of the disk when the call returns, so that a snapshot of a running guest holds it.
import { FatError, type FatVolume } from "../../storage/fat.ts";

export interface Location {
  readonly drive: string;
  /** Below the drive's root, with slashes; "" is the root. */
  readonly path: string;
}

const decoder = new TextDecoder();

export class Files {
  readonly #volumes = new Map<string, FatVolume>();
  /** Programs that every Windows has and that no disk here holds: lower-case full paths. */
  readonly #builtIn = new Set<string>();
  /** What is known to be there: true for a folder. Only this guest writes to its disks while it runs. */
  readonly #known = new Map<string, boolean>();

  mount(drive: string, volume: FatVolume): void {
    this.#volumes.set(drive.toUpperCase(), volume);
    this.#known.clear();
  }

  addBuiltIn(path: string): void {
    this.#builtIn.add(path.toLowerCase());
  }

  label(drive: string): string | undefined {
    return this.#volumes.get(drive.toUpperCase())?.label()?.trim();
  }

  hasDrive(drive: string): boolean {
    return this.#volumes.has(drive.toUpperCase());
  }

  /** Where a path leads from a directory. */
  locate(path: string, cwd = "C:\\"): Location {
    const clean = path.replaceAll('"', "").replaceAll("/", "\\").trim();
    const [, given, rest = ""] = /^(?:([A-Za-z]):)?(.*)$/s.exec(clean) ?? [];
    const drive = (given ?? cwd[0] ?? "C").toUpperCase();
    const base = rest.startsWith("\\") || drive !== cwd[0]?.toUpperCase() ? "" : cwd.slice(2);
    const parts: string[] = [];
    for (const part of `${base}\\${rest}`.split("\\")) {
      if (part === "..") parts.pop();
      // Windows drops dots and blanks at the end of a name.
      else if (part !== "" && part !== ".") parts.push(part.replace(/[. ]+$/, "") || part);
    }
    return { drive, path: parts.join("/") };
  }

  full({ drive, path }: Location): string {
    return `${drive}:\\${path.replaceAll("/", "\\")}`;
  }

  isFolder(at: Location): boolean {
    return this.#directory(at) === true;
  }

  isFile(at: Location): boolean {
    return this.#builtIn.has(this.full(at).toLowerCase()) || this.#directory(at) === false;
  }

  exists(at: Location): boolean {
    return this.#builtIn.has(this.full(at).toLowerCase()) || this.#directory(at) !== undefined;
  }

  read(at: Location): Uint8Array | undefined {
    return this.#try(() => this.#volumes.get(at.drive)?.readFile(at.path), undefined);
  }

  readText(at: Location): string | undefined {
    const data = this.read(at);
    return data === undefined ? undefined : decoder.decode(data);
  }

  /** False: no such folder or drive, no room, or a name that FAT can't hold. */
  write(at: Location, data: string | Uint8Array): boolean {
    const volume = this.#volumes.get(at.drive);
    if (volume === undefined || at.path === "" || !this.isFolder(parent(at)) || this.isFolder(at)) return false;
    const written = this.#try(() => {
      volume.writeFile(at.path, data);
      return true;
    }, false);
    if (written) this.#known.set(keyOf(at), false);
    else this.#known.clear();
    return written;
  }

  /** With the folders on its way. */
  makeFolder(at: Location): boolean {
    const volume = this.#volumes.get(at.drive);
    const parts = at.path.split("/");
    return this.#try(() => {
      for (let length = 1; length <= parts.length; length++) volume?.makeFolder(parts.slice(0, length).join("/"));
      return volume !== undefined;
    }, false);
  }

  list(at: Location): { name: string; size: number; directory: boolean }[] {
    return this.#try(() => this.#volumes.get(at.drive)?.list(at.path) ?? [], []);
  }

  /** A file, or a folder with all that it holds. */
  remove(at: Location): void {
    this.#known.clear();
    if (at.path !== "") this.#try(() => this.#volumes.get(at.drive)?.remove(at.path), undefined);
  }

  /** A file or a folder under a new name, on any drive; false when it can't be written there. */
  move(from: Location, to: Location): boolean {
    if (this.isFolder(from)) {
      if (!this.makeFolder(to)) return false;
      for (const { name } of this.list(from)) if (!this.move(below(from, name), below(to, name))) return false;
    } else {
      const data = this.read(from);
      if (data === undefined || !this.write(to, data)) return false;
    }
    this.remove(from);
    return true;
  }

  #directory(at: Location): boolean | undefined {
    const volume = this.#volumes.get(at.drive);
    if (volume === undefined) return undefined;
    if (at.path === "") return true;
    const known = this.#known.get(keyOf(at));
    if (known !== undefined) return known;
    const found = this.#try(() => {
      if (!volume.exists(at.path)) return undefined;
      const name = at.path.slice(at.path.lastIndexOf("/") + 1).toLowerCase();
      const entry = volume.list(parent(at).path).find((each) => each.name.toLowerCase() === name);
      // Known by its short name only: tell it by what it can do.
      return entry?.directory ?? volume.readFile(at.path) === undefined;
    }, undefined);
    if (found !== undefined) this.#known.set(keyOf(at), found);
    return found;
  }

  // What a file system refuses is an error of the guest's program, not of the simulator.
  #try<T>(work: () => T, otherwise: T): T {
    try {
      return work();
    } catch (error) {
      if (error instanceof FatError) return otherwise;
      throw error;
    }
  }
}

export const parent = ({ drive, path }: Location): Location => ({
  drive,
  path: path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "",
});

export const below = ({ drive, path }: Location, name: string): Location => ({ drive, path: path === "" ? name : `${path}/${name}` });

const keyOf = ({ drive, path }: Location): string => `${drive}:${path}`.toLowerCase();
