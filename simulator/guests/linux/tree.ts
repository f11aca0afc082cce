// A FAT file system and a directory of the host that a guest works in: unpacked before the boot, and written back, change by change.
// Promises: links, devices and names that FAT can't hold never reach the disk and are told once. The guest may change the directory at any moment, so each
// folder is opened without following links and its entries are reached through that descriptor: nothing leads out of the directory.
import {
  closeSync,
  constants,
  type Dirent,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { FatError, type FatVolume } from "../../storage/fat.ts";

export interface TreeOptions {
  /** Paths from the root, without a leading slash, that stay on the host's side: mount points and what the guest gets anew at each boot. */
  readonly leaveOut: ReadonlySet<string>;
  readonly log: (line: string) => void;
  /**
   * The directory holds a system already (Wine's). The volume goes over it, whatever the case of names; what is the system's own never reaches the volume,
   * and of what it links to nothing is said.
   */
  readonly over?: true;
}

export class Tree {
  readonly #volume: FatVolume;
  readonly #root: string;
  readonly #options: TreeOptions;
  /** What is on the disk, by path: size and time of the host's file, or "folder". */
  readonly #known = new Map<string, string>();
  readonly #told = new Set<string>();

  constructor(volume: FatVolume, root: string, options: TreeOptions) {
    this.#volume = volume;
    this.#root = root;
    this.#options = options;
  }

  unpack(): void {
    mkdirSync(this.#root, { recursive: true });
    this.#unpack("", "");
    if (this.#options.over) this.#adopt("");
  }

  /** Brings the file system up to date; whether anything had changed. Every problem of one file is that file's. */
  writeBack(): boolean {
    const seen = new Set<string>();
    let changed = this.#folder(this.#root, "", seen, new Set());
    for (const path of [...this.#known.keys()].sort().reverse()) {
      if (seen.has(path)) continue;
      changed = true;
      this.#known.delete(path);
      this.#try(path, () => this.#volume.remove(path));
    }
    return changed;
  }

  /** A folder of the volume, and where it is below the root: the names differ in case at most. */
  #unpack(folder: string, into: string): void {
    const there = this.#options.over ? new Map(readdirSync(join(this.#root, into)).map((name) => [name.toLowerCase(), name])) : undefined;
    for (const { name, directory } of this.#volume.list(folder)) {
      const path = below(folder, name);
      if (this.#options.leaveOut.has(path)) continue;
      const place = below(into, there?.get(name.toLowerCase()) ?? name);
      const host = join(this.#root, place);
      // A file of the system's may be a link out of it: never written through.
      if (there !== undefined && !(directory && lstatSync(host, { throwIfNoEntry: false })?.isDirectory()))
        rmSync(host, { recursive: true, force: true });
      if (directory) {
        mkdirSync(host, { recursive: true });
        this.#known.set(place, "folder");
        this.#unpack(path, place);
      } else {
        // FAT knows no rights: every file may be run.
        writeFileSync(host, this.#volume.readFile(path) ?? new Uint8Array(), { mode: 0o755 });
        this.#known.set(place, stampOf(host));
      }
    }
  }

  #adopt(folder: string): void {
    for (const entry of readdirSync(join(this.#root, folder), { withFileTypes: true })) {
      const path = below(folder, entry.name);
      if (entry.isDirectory()) this.#adopt(path);
      if (this.#known.has(path)) continue;
      if (entry.isDirectory()) this.#known.set(path, "folder");
      else if (entry.isFile()) this.#known.set(path, stampOf(join(this.#root, path)));
    }
  }

  #folder(host: string, folder: string, seen: Set<string>, folded: Set<string>): boolean {
    let changed = false;
    this.#opened(host, constants.O_DIRECTORY, (descriptor) => {
      const here = `/proc/self/fd/${descriptor}`;
      for (const entry of readdirSync(here, { withFileTypes: true })) {
        const path = below(folder, entry.name);
        if (this.#options.leaveOut.has(path) || (this.#options.over && entry.isSymbolicLink())) continue;
        const problem = problemOf(entry, folded.has(path.toLowerCase()));
        if (problem !== undefined) {
          this.#tell(path, problem);
          continue;
        }
        folded.add(path.toLowerCase());
        seen.add(path);
        if (entry.isDirectory()) {
          if (this.#known.get(path) !== "folder" && this.#try(path, () => this.#makeFolder(path))) {
            this.#known.set(path, "folder");
            changed = true;
          }
          if (this.#folder(`${here}/${entry.name}`, path, seen, folded)) changed = true;
        } else if (this.#file(`${here}/${entry.name}`, path)) changed = true;
      }
    });
    return changed;
  }

  /** With those on its way, which may be the system's own. */
  #makeFolder(path: string): void {
    const parts = path.split("/");
    for (let depth = 1; depth <= parts.length; depth++) this.#volume.makeFolder(parts.slice(0, depth).join("/"));
  }

  #file(host: string, path: string): boolean {
    const stamp = this.#stamp(host);
    if (stamp === undefined || this.#known.get(path) === stamp) return false;
    let written = false;
    this.#opened(host, constants.O_NONBLOCK, (descriptor) => {
      const { size } = fstatSync(descriptor);
      if (size > this.#volume.extent.length) {
        this.#tell(path, `its ${size} bytes are more than the disk holds`);
        return;
      }
      const data = readFileSync(descriptor);
      written = this.#try(path, () => this.#volume.writeFile(path, data));
      // What was refused is not tried again until it changes.
      this.#known.set(path, stamp);
    });
    return written;
  }

  #stamp(host: string): string | undefined {
    try {
      return stampOf(host);
    } catch {
      return undefined;
    }
  }

  /** What is gone, or has become a link, since its folder was listed is passed over: a guest is at work here. */
  #opened(host: string, flags: number, work: (descriptor: number) => void): void {
    let descriptor: number;
    try {
      descriptor = openSync(host, constants.O_RDONLY | constants.O_NOFOLLOW | flags);
    } catch {
      return;
    }
    try {
      work(descriptor);
    } finally {
      closeSync(descriptor);
    }
  }

  #try(path: string, work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      if (!(error instanceof FatError)) throw error;
      this.#tell(path, error.message);
      return false;
    }
  }

  #tell(path: string, problem: string): void {
    if (this.#told.has(path)) return;
    this.#told.add(path);
    this.#options.log(`/${path} does not reach the disk: ${problem}`);
  }
}

const below = (folder: string, name: string): string => (folder === "" ? name : `${folder}/${name}`);

const FORBIDDEN = new Set('"*:<>?\\|');

function problemOf(entry: Dirent, taken: boolean): string | undefined {
  if (!entry.isDirectory() && !entry.isFile()) return "it is neither a file nor a folder";
  const bad = [...entry.name].some((character) => character < " " || FORBIDDEN.has(character)) || /[. ]$/.test(entry.name);
  if (bad) return "FAT can't hold this name";
  return taken ? "FAT does not tell upper from lower case, and there is one already" : undefined;
}

function stampOf(path: string): string {
  const { size, mtimeMs, ino } = lstatSync(path);
  return `${size} ${mtimeMs} ${ino}`;
}
