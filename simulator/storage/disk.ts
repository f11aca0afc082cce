// The disks of an SR: sparse, cloned in constant time, kept in one directory, alive again after a restart of the process.
// As on a VHD SR, a disk is a chain of links (links.ts): the leaf takes the writes, hidden parents are shared and never change.
// A clone turns the leaf into a hidden parent with two new leaves. Beside the links' files the directory holds, replaced atomically,
//   <id>.disk   { size, link, made, place }   `made` counts the links that this disk has had: their names come from it, so that runs repeat
// The directory belongs to one process at a time.

import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { assertInside, assertSize, isZero } from "./access.ts";
import { BLOCK } from "./blocks.ts";
import { chain, holder, type Link, Links, parse, save } from "./links.ts";

export { BLOCK } from "./blocks.ts";

export interface Disk {
  readonly id: string;
  readonly size: number;
  read(offset: number, length: number): Uint8Array;
  write(offset: number, data: Uint8Array): void;
  /** Bytes of its own blocks, not of its parents': what an SR calls the physical_utilisation of a VDI. */
  allocated(): number;
}

/** Where a disk lies: in which SR (its uuid), and what that SR keeps of it beside the data. It stays when the pool's database forgets the disk. */
export interface Place {
  readonly sr: string;
  readonly notes?: Readonly<Record<string, string | boolean>>;
}

interface Leaf {
  size: number;
  link: Link;
  made: number;
  place?: Place | undefined;
}

export class DiskStore {
  readonly #dir: string;
  readonly #disks = new Map<string, Leaf>();
  readonly #links: Links;

  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
    this.#links = new Links(dir, (from, to) => this.#moved(from, to));
    this.#load();
  }

  create(id: string, size: number): Disk {
    this.#assertNew(id);
    assertSize(size);
    this.#put(id, { size, link: this.#links.makeFor(id, 0, undefined), made: 1 });
    return this.open(id);
  }

  has(id: string): boolean {
    return this.#disks.has(id);
  }

  ids(): string[] {
    return [...this.#disks.keys()];
  }

  /** Says where a disk lies; a clone lies where its source does, anything else nowhere until this is said. */
  setPlace(id: string, place: Place): void {
    this.#put(id, { ...this.#leaf(id), place });
  }

  place(id: string): Place | undefined {
    return this.#leaf(id).place;
  }

  /** The disks that lie in an SR, whether the pool knows them or not. */
  inSr(sr: string): string[] {
    return [...this.#disks].flatMap(([id, leaf]) => (leaf.place?.sr === sr ? [id] : []));
  }

  /** A handle that stays good over clone and resize, and fails once the disk is destroyed. */
  open(id: string): Disk {
    this.#leaf(id);
    const leaf = () => this.#leaf(id);
    return {
      id,
      get size() {
        return leaf().size;
      },
      read: (offset, length) => this.#read(id, offset, length),
      write: (offset, data) => this.#write(id, offset, data),
      allocated: () => leaf().link.file.count * BLOCK,
    };
  }

  /** Copy on write both ways: later writes to either do not show in the other. */
  clone(from: string, to: string): Disk {
    this.#assertNew(to);
    const source = this.#leaf(from);
    // An empty leaf need not become a parent: both stand on what it stood on (blktap vhd_snapshot skips empty parents too).
    const shared = source.link.file.count === 0 ? source.link.parent : source.link;
    const child = this.#links.makeFor(to, 0, shared);
    if (shared === source.link) {
      // The source moves first: a crash between the two leaves a link without a disk, and never a leaf that is also a parent.
      this.#put(from, { ...source, link: this.#links.makeFor(from, source.made, shared), made: source.made + 1 });
    }
    this.#put(to, { size: source.size, link: child, made: 1, place: source.place && { sr: source.place.sr } });
    return this.open(to);
  }

  /** A disk of its own with the same content: nothing shared, zeros left out. */
  copy(from: string, to: string, size = this.#leaf(from).size): Disk {
    const source = this.#leaf(from);
    if (size < source.size) {
      throw new RangeError(`disk ${from} of ${source.size} bytes does not fit into a copy of ${size} bytes`);
    }
    const copy = this.create(to, size);
    for (const _ of this.copyBlocks(from, to)) {
      // To the end at once; who wants progress or a pause takes copyBlocks.
    }
    return copy;
  }

  /** Writes what `from` holds into `to`, a block at a time, yielding the fraction done after each: the caller sets the pace. Zeros are left out where the target has none to undo. */
  *copyBlocks(from: string, to: string): Generator<number> {
    const source = this.open(from);
    const target = this.open(to);
    const blocks = [...this.blocks(from)];
    const present = new Set(blocks);
    // What only the target has must become zero, as on a real copy into an existing disk.
    blocks.push(...[...this.blocks(to)].filter((block) => !present.has(block) && block * BLOCK < source.size));
    for (const [done, block] of blocks.entries()) {
      const length = Math.min(BLOCK, source.size - block * BLOCK);
      const data = source.read(block * BLOCK, length);
      if (!(isZero(data) && !this.isAllocated(to, block))) {
        target.write(block * BLOCK, data);
      }
      yield (done + 1) / blocks.length;
    }
  }

  /** Only up: SM refuses to shrink. */
  resize(id: string, size: number): Disk {
    const leaf = this.#leaf(id);
    assertSize(size);
    if (size < leaf.size) {
      throw new RangeError(`disk ${id} of ${leaf.size} bytes can't shrink to ${size} bytes`);
    }
    this.#put(id, { ...leaf, size });
    return this.open(id);
  }

  destroy(id: string): void {
    const { link } = this.#leaf(id);
    rmSync(join(this.#dir, `${id}.disk`), { force: true });
    this.#disks.delete(id);
    this.#links.release(link);
  }

  /** The number of links of its chain; SM refuses snapshots of chains longer than 30. */
  depth(id: string): number {
    return this.links(id).length;
  }

  /** The names of the links of its chain, leaf first. A link's name is a uuid, and is the unique id of the VHD it stands for. */
  links(id: string): string[] {
    return [...chain(this.#leaf(id).link)].map((link) => link.file.name);
  }

  /** Whether the 2 MiB block is allocated in any link of the chain, or, with `within`, in one of those links. */
  isAllocated(id: string, block: number, within?: ReadonlySet<string>): boolean {
    for (const link of chain(this.#leaf(id).link)) {
      if (link.file.has(block) && (within === undefined || within.has(link.file.name))) {
        return true;
      }
    }
    return false;
  }

  /** The blocks allocated in any link of the chain, or in those named by `within`, ascending. */
  blocks(id: string, within?: ReadonlySet<string>): number[] {
    const found = new Set<number>();
    for (const link of chain(this.#leaf(id).link)) {
      if (within === undefined || within.has(link.file.name)) {
        for (const block of link.file.blocks()) {
          found.add(block);
        }
      }
    }
    return [...found].sort((a, b) => a - b);
  }

  /** The blocks allocated in any link that only one of the two chains has, ascending: what may set the disks apart, by allocation and not by content. */
  difference(id: string, other: string): number[] {
    const ours = this.links(id);
    const theirs = this.links(other);
    const apart = new Set([...ours.filter((link) => !theirs.includes(link)), ...theirs.filter((link) => !ours.includes(link))]);
    return [...new Set([...this.blocks(id, apart), ...this.blocks(other, apart)])].sort((a, b) => a - b);
  }

  /** The bytes that these disks take together, hidden parents counted once: the physical_utilisation of an SR. */
  footprint(ids: Iterable<string>): number {
    const links = new Set<Link>();
    for (const id of ids) {
      for (const link of chain(this.#leaf(id).link)) {
        links.add(link);
      }
    }
    let blocks = 0;
    for (const link of links) {
      blocks += link.file.count;
    }
    return blocks * BLOCK;
  }

  /** Gives back the file descriptors; the store opens them again when it is used. */
  close(): void {
    this.#links.close();
  }

  #read(id: string, offset: number, length: number): Uint8Array {
    const { link, size } = this.#leaf(id);
    assertInside("a read", id, offset, length, size);
    // Small reads come by the thousand and share a pool; of a large one, memory is only touched where there are blocks.
    const pooled = length < 4096;
    const out = pooled ? Buffer.allocUnsafe(length) : Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const block = Math.floor((offset + done) / BLOCK);
      const within = (offset + done) % BLOCK;
      const part = out.subarray(done, done + BLOCK - within);
      const at = holder(link, block);
      if (at !== undefined) {
        at.file.read(block, within, part);
      } else if (pooled) {
        part.fill(0);
      }
      done += part.length;
    }
    return out;
  }

  #write(id: string, offset: number, data: Uint8Array): void {
    const { link, size } = this.#leaf(id);
    assertInside("a write", id, offset, data.length, size);
    for (let done = 0; done < data.length; ) {
      const block = Math.floor((offset + done) / BLOCK);
      const within = (offset + done) % BLOCK;
      const part = data.subarray(done, done + BLOCK - within);
      const below = link.file.has(block) || part.length === BLOCK ? undefined : holder(link.parent, block);
      if (below === undefined) {
        link.file.write(block, within, part);
      } else {
        const whole = Buffer.allocUnsafe(BLOCK);
        below.file.read(block, 0, whole);
        whole.set(part, within);
        link.file.write(block, 0, whole);
      }
      done += part.length;
    }
  }

  #leaf(id: string): Leaf {
    const leaf = this.#disks.get(id);
    if (leaf === undefined) {
      throw new Error(`no disk ${id} in ${this.#dir}`);
    }
    return leaf;
  }

  #assertNew(id: string): void {
    if (!/^\w[\w.-]{0,127}$/.test(id)) {
      throw new RangeError(`"${id}" can't name a disk: letters, digits, ".", "-" and "_" only`);
    }
    if (this.#disks.has(id)) {
      throw new Error(`disk ${id} exists already in ${this.#dir}`);
    }
  }

  #put(id: string, leaf: Leaf): void {
    const before = this.#disks.get(id)?.link;
    this.#save(id, leaf, leaf.link);
    this.#disks.set(id, leaf);
    if (before !== leaf.link) {
      leaf.link.users++;
      if (before !== undefined) {
        before.users--;
      }
    }
  }

  /** A merge made another link of one that disks may have had as their leaf; users are counted there already. */
  #moved(from: Link, to: Link): void {
    for (const [id, leaf] of this.#disks) {
      if (leaf.link === from) {
        this.#save(id, leaf, to);
        this.#disks.set(id, { ...leaf, link: to });
      }
    }
  }

  #save(id: string, leaf: Leaf, link: Link): void {
    save(this.#dir, `${id}.disk`, { size: leaf.size, link: link.file.name, made: leaf.made, place: leaf.place });
  }

  #load(): void {
    for (const name of readdirSync(this.#dir).filter((each) => each.endsWith(".disk"))) {
      const saved = parse<{ size: number; link: string; made: number; place?: Place }>(this.#dir, name);
      const leaf: Leaf = { ...saved, link: this.#links.load(saved.link) };
      leaf.link.users++;
      this.#disks.set(name.slice(0, -5), leaf);
    }
    this.#links.sweep();
  }
}
