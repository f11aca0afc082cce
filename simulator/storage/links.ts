// The links of all disks of a store: which stands on which, who still needs them, and their files.
//   <name>.link   { parent? }, replaced atomically; the blocks are in files of their own (blocks.ts)
// A link goes as soon as nothing stands on it; a hidden parent that is left with a single child is merged with it, which SM does in
// the background (sm libs/sm/cleanup.py, "coalesce").

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BLOCK, BlockFile, OpenFiles } from "./blocks.ts";

export interface Link {
  readonly file: BlockFile;
  parent: Link | undefined;
  /** Disks and links that stand on it. */
  users: number;
}

/** Replaces a small file at once: who reads it sees the old or the new content. */
export function save(dir: string, name: string, content: object): void {
  const path = join(dir, name);
  writeFileSync(`${path}.new`, JSON.stringify(content));
  renameSync(`${path}.new`, path);
}

export function parse<T>(dir: string, name: string): T {
  const path = join(dir, name);
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch (error) {
    throw new Error(`${path} can't be read: the state directory is damaged`, { cause: error });
  }
}

export class Links {
  readonly #dir: string;
  readonly #moved: (from: Link, to: Link) => void;
  readonly #files = new OpenFiles(128);
  readonly #links = new Map<string, Link>();

  /** `moved` is told, before a link goes, which other link now is what it was. */
  constructor(dir: string, moved: (from: Link, to: Link) => void) {
    this.#dir = dir;
    this.#moved = moved;
  }

  /** A new, empty link that nobody stands on yet: the one that disk `id` gets after `made` others. */
  makeFor(id: string, made: number, parent: Link | undefined): Link {
    let name = uuidOf(`${id}/${made}`);
    for (let more = 0; this.#links.has(name); more++) {
      // A merge may have left the link of a destroyed disk of that id in use.
      name = uuidOf(`${id}/${made}/${more}`);
    }
    const link: Link = { file: new BlockFile(this.#dir, name, this.#files), parent, users: 0 };
    this.#links.set(name, link);
    this.#saveLink(link);
    if (parent !== undefined) {
      parent.users++;
    }
    return link;
  }

  /** One user less. */
  release(link: Link): void {
    link.users--;
    if (link.users === 0) {
      this.#remove(link);
      if (link.parent !== undefined) {
        this.release(link.parent);
      }
    } else if (link.users === 1) {
      this.#merge(link);
    }
  }

  /** Opens a saved link and all that it stands on. */
  load(name: string): Link {
    const known = this.#links.get(name);
    if (known !== undefined) {
      return known;
    }
    const { parent: parentName } = parse<{ parent?: string }>(this.#dir, `${name}.link`);
    const parent = parentName === undefined ? undefined : this.load(parentName);
    const link: Link = { file: new BlockFile(this.#dir, name, this.#files), parent, users: 0 };
    if (parent !== undefined) {
      parent.users++;
    }
    this.#links.set(name, link);
    return link;
  }

  /** Removes the files that no disk reaches: what a dead process was about to use, or had not yet removed. */
  sweep(): void {
    for (const name of readdirSync(this.#dir)) {
      const stem = name.replace(/\.(link|data|map)$/, "");
      if (name.endsWith(".new") || (stem !== name && !this.#links.has(stem))) {
        rmSync(join(this.#dir, name), { force: true });
      }
    }
  }

  close(): void {
    this.#files.closeAll();
  }

  /**
   * Parent and only child become one: the smaller moves into the larger. Whoever reads through the child sees the same content at every moment, so a crash in
   * between does no harm.
   */
  #merge(parent: Link): void {
    const child = [...this.#links.values()].find((link) => link.parent === parent);
    if (child === undefined) {
      return; // its one user is a disk
    }
    const [from, into] = parent.file.count < child.file.count ? [parent, child] : [child, parent];
    const buffer = Buffer.allocUnsafe(BLOCK);
    for (const block of from.file.blocks()) {
      if (from === child || !child.file.has(block)) {
        from.file.read(block, 0, buffer);
        into.file.write(block, 0, buffer);
      }
    }
    if (into === child) {
      child.parent = parent.parent;
      this.#saveLink(child);
    } else {
      parent.users = child.users;
      for (const link of this.#links.values()) {
        if (link.parent === child) {
          link.parent = parent;
          this.#saveLink(link);
        }
      }
      this.#moved(child, parent);
    }
    this.#remove(from);
  }

  #saveLink(link: Link): void {
    save(this.#dir, `${link.file.name}.link`, { parent: link.parent?.file.name });
  }

  #remove(link: Link): void {
    rmSync(join(this.#dir, `${link.file.name}.link`), { force: true });
    link.file.remove();
    this.#links.delete(link.file.name);
  }
}

/** A link and all that it stands on, from the top. */
export function* chain(leaf: Link): Generator<Link> {
  for (let link: Link | undefined = leaf; link !== undefined; link = link.parent) {
    yield link;
  }
}

/** The link whose content of a block counts. */
export function holder(leaf: Link | undefined, block: number): Link | undefined {
  for (let link = leaf; link !== undefined; link = link.parent) {
    if (link.file.has(block)) {
      return link;
    }
  }
  return undefined;
}

function uuidOf(text: string): string {
  const hex = createHash("sha256").update(text).digest("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
