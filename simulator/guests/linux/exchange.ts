// How a linux guest's own commands (commands.ts) talk to the simulator: requests as files in a spool folder, xenstore as a folder tree.
// Promises: both folders are the guest's to write, so nothing in them is trusted: links are never followed, sizes are bounded, only FIFOs are written to.
import {
  closeSync,
  constants,
  type FSWatcher,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  watch,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { GUEST_FOLDER } from "./commands.ts";

export interface Request {
  readonly kind: "sleep" | "sync" | "power" | "xenstore";
  readonly text: string;
  /** Whom to answer. */
  readonly id: string;
}

const VALUE = ".value";
const MOST_BYTES = 2048;
const DEEPEST = 8;

export class Exchange {
  readonly #spool: string;
  readonly #xenstore: string;
  readonly #handle: (request: Request) => void;
  readonly #known = new Map<string, string>();
  #watcher: FSWatcher | undefined;

  constructor(spool: string, xenstore: string, handle: (request: Request) => void) {
    this.#spool = spool;
    this.#xenstore = xenstore;
    this.#handle = handle;
  }

  /** As mounts the folders themselves can't be replaced by links. */
  get mounts(): { host: string; guest: string }[] {
    return [
      { host: this.#spool, guest: `${GUEST_FOLDER}/spool` },
      { host: this.#xenstore, guest: `${GUEST_FOLDER}/xenstore` },
    ];
  }

  /** Anew for a boot, with what xenstore holds at its start. */
  open(values: ReadonlyMap<string, string>): void {
    for (const folder of [this.#spool, this.#xenstore]) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
    }
    for (const [path, value] of values) {
      if (!isPath(path)) continue;
      mkdirSync(join(this.#xenstore, path), { recursive: true });
      writeFileSync(join(this.#xenstore, path, VALUE), value);
      this.#known.set(path, value);
    }
    this.#watcher = watch(this.#spool, () => this.serve());
  }

  close(): void {
    this.#watcher?.close();
  }

  /** Takes the requests that are there. */
  serve(): void {
    for (const name of entries(this.#spool)) {
      const [, id = "", kind] = /^(.+)\.(sleep|sync|power|xenstore)$/.exec(name) ?? [];
      if (kind === undefined) continue;
      const file = join(this.#spool, name);
      const text = readSmall(file).trim();
      rmSync(file, { force: true, recursive: true });
      this.#handle({ kind: kind as Request["kind"], text, id });
    }
  }

  /** The reader may not have opened its end yet, or may have been killed. */
  answer(id: string, tries = 200): void {
    try {
      const fifo = openSync(join(this.#spool, `${id}.wake`), constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
      if (fstatSync(fifo).isFIFO()) writeSync(fifo, "\n");
      closeSync(fifo);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENXIO" && tries > 0) setTimeout(() => this.answer(id, tries - 1), 5);
    }
  }

  /** What the guest has written to xenstore since the last time. */
  written(): [string, string][] {
    const found: [string, string][] = [];
    const look = (folder: string, path: string, depth: number): void => {
      for (const name of depth > DEEPEST ? [] : entries(folder)) {
        if (name !== VALUE) look(join(folder, name), path === "" ? name : `${path}/${name}`, depth + 1);
        else if (isPath(path)) {
          const value = readSmall(join(folder, name));
          if (this.#known.get(path) !== value) found.push([path, value]);
          this.#known.set(path, value);
        }
      }
    };
    look(this.#xenstore, "", 0);
    return found;
  }
}

/** What xenopsd lets a guest write. */
const isPath = (path: string): boolean => /^(vm-data|data|attr|control|drivers|feature)(\/[A-Za-z0-9_@-]+)+$/.test(path);

/** Nothing where there is no such folder, or a link in its place. */
function entries(folder: string): string[] {
  try {
    const descriptor = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      return readdirSync(`/proc/self/fd/${descriptor}`).sort();
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return [];
  }
}

/** At most what a value of xenstore may hold; nothing where there is no such file, or a link. */
export function readSmall(file: string): string {
  try {
    const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    const data = Buffer.alloc(MOST_BYTES);
    try {
      return fstatSync(descriptor).isFile() ? data.toString("latin1", 0, readSync(descriptor, data, 0, data.length, 0)) : "";
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return "";
  }
}
