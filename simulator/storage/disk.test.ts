import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { isZero, OutsideDisk } from "./access.ts";
import { BLOCK, DiskStore } from "./disk.ts";

const GiB = 1024 ** 3;
let dir: string;
let store: DiskStore;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "xapi-disks-"));
  store = new DiskStore(dir);
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true });
});

const text = (id: string, offset: number, length: number) => Buffer.from(store.open(id).read(offset, length)).toString("latin1");
const bytesOnHost = () => readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
const restart = () => {
  store.close();
  store = new DiskStore(dir);
};

test("a disk of 100 GiB reads as zeros, and takes space only for the blocks that were written", () => {
  const disk = store.create("d", 100 * GiB);
  disk.write(70 * GiB - 3, Buffer.from("across two blocks"));
  expect(disk.size).toBe(100 * GiB);
  expect(text("d", 70 * GiB - 4, 19)).toBe("\0across two blocks\0");
  expect(isZero(disk.read(10 * GiB, 5 * BLOCK + 1))).toBe(true);
  expect(disk.allocated()).toBe(2 * BLOCK);
  expect(bytesOnHost()).toBeLessThan(2 * BLOCK + 4096);
});

test("reads and writes outside the disk throw, and write nothing", () => {
  const disk = store.create("d", 1000);
  expect(() => disk.read(990, 11)).toThrow(OutsideDisk);
  expect(() => disk.read(-1, 1)).toThrow(OutsideDisk);
  expect(() => disk.write(990, new Uint8Array(11).fill(1))).toThrow(OutsideDisk);
  expect(isZero(disk.read(0, 1000))).toBe(true);
  expect(disk.read(1000, 0)).toHaveLength(0);
});

test("after a clone, neither sees what is written to the other, and the clone itself takes no space", () => {
  store.create("a", 10 * BLOCK).write(0, Buffer.from("base"));
  const before = bytesOnHost();
  store.clone("a", "b");
  expect(bytesOnHost() - before).toBeLessThan(1024);
  store.open("a").write(0, Buffer.from("AAAA"));
  store.open("b").write(2, Buffer.from("BB"));
  expect([text("a", 0, 4), text("b", 0, 4)]).toEqual(["AAAA", "baBB"]);
  expect([store.depth("a"), store.depth("b")]).toEqual([2, 2]);
});

test("a clone of an empty leaf adds no link to the chain", () => {
  store.create("a", BLOCK).write(0, Buffer.from("x"));
  store.clone("a", "b");
  store.clone("b", "c");
  store.clone("c", "d");
  expect(["a", "b", "c", "d"].map((id) => store.depth(id))).toEqual([2, 2, 2, 2]);
});

test("hidden parents go with the last disk that needs them, and one left with one child is merged with it", () => {
  const sum = () => store.footprint(store.ids());
  store.create("a", 10 * BLOCK).write(0, Buffer.alloc(3 * BLOCK, 1));
  store.clone("a", "b").write(0, Buffer.alloc(BLOCK, 2));
  store.clone("b", "c").write(5 * BLOCK, Buffer.alloc(BLOCK, 3));
  expect([sum() / BLOCK, store.depth("c")]).toEqual([5, 3]);
  store.destroy("b");
  expect([sum() / BLOCK, store.depth("c"), store.depth("a")]).toEqual([5, 2, 2]);
  expect(store.open("c").read(0, 1)[0]).toBe(2);
  store.destroy("a");
  expect([sum() / BLOCK, store.depth("c")]).toEqual([4, 1]);
  expect([0, 2, 5].map((block) => store.open("c").read(block * BLOCK, 1)[0])).toEqual([2, 1, 3]);
  store.destroy("c");
  expect([sum(), readdirSync(dir)]).toEqual([0, []]);
});

test("a hidden parent that takes over its hidden child serves all that stood on the child, after a restart too", () => {
  store.create("a", 10 * BLOCK).write(0, Buffer.alloc(3 * BLOCK, 1));
  store.clone("a", "b").write(0, Buffer.alloc(BLOCK, 2));
  store.clone("b", "c").write(BLOCK, Buffer.alloc(BLOCK, 3));
  store.clone("b", "d").write(2 * BLOCK, Buffer.alloc(BLOCK, 4));
  store.destroy("a");
  expect(["b", "c", "d"].map((id) => store.depth(id))).toEqual([2, 2, 2]);
  restart();
  store.destroy("b");
  const read = (id: string) => [0, 1, 2].map((block) => store.open(id).read(block * BLOCK, 1)[0]);
  expect([read("c"), read("d")]).toEqual([
    [2, 3, 1],
    [2, 1, 4],
  ]);
  store.destroy("c");
  expect(read("d")).toEqual([2, 1, 4]);
});

test("a handle outlives clone and resize, and fails once its disk is gone", () => {
  const disk = store.create("a", BLOCK);
  store.clone("a", "b");
  store.resize("a", 2 * BLOCK);
  disk.write(BLOCK, Buffer.from("more"));
  expect([disk.size, text("a", BLOCK, 4)]).toEqual([2 * BLOCK, "more"]);
  expect(() => store.resize("a", BLOCK)).toThrow("can't shrink");
  store.destroy("a");
  expect(() => disk.read(0, 1)).toThrow("no disk a");
});

test("copyBlocks makes the target equal, blocks that only the target has included, and says how far it is", () => {
  store.create("from", 4 * BLOCK).write(BLOCK, Buffer.from("content"));
  store.create("to", 8 * BLOCK).write(2 * BLOCK, Buffer.from("old"));
  expect([...store.copyBlocks("from", "to")]).toEqual([0.5, 1]);
  expect(Buffer.from(store.open("to").read(0, 4 * BLOCK)).equals(store.open("from").read(0, 4 * BLOCK))).toBe(true);
});

test("ids that would leave the directory are refused", () => {
  for (const id of ["../x", "", "a/b", ".hidden", "a\0"]) {
    expect(() => store.create(id, 1)).toThrow("can't name a disk");
  }
});

test("a disk lies in an SR, where clones of it lie too, and keeps that over writes, resizes and restarts", () => {
  store.create("a", BLOCK).write(0, Buffer.from("x"));
  store.create("elsewhere", BLOCK);
  expect([store.place("a"), store.inSr("sr")]).toEqual([undefined, []]);
  store.setPlace("a", { sr: "sr", notes: { name_label: "disk", is_a_snapshot: false } });
  store.clone("a", "b");
  store.resize("a", 2 * BLOCK);
  restart();
  expect(store.place("a")).toEqual({ sr: "sr", notes: { name_label: "disk", is_a_snapshot: false } });
  expect([store.place("b"), store.inSr("sr").sort()]).toEqual([{ sr: "sr" }, ["a", "b"]]);
  store.destroy("a");
  expect(store.inSr("sr")).toEqual(["b"]);
});

describe("after a restart", () => {
  test("disks, sizes, content, chains and sharing are as they were", () => {
    store.create("a", 10 * GiB).write(5 * GiB, Buffer.from("deep"));
    store.clone("a", "b").write(5 * GiB + 4, Buffer.from("er"));
    restart();
    expect([text("a", 5 * GiB, 6), text("b", 5 * GiB, 6)]).toEqual(["deep\0\0", "deeper"]);
    expect([store.open("b").size, store.depth("b"), store.footprint(store.ids()) / BLOCK]).toEqual([10 * GiB, 2, 2]);
    store.destroy("a");
    expect(text("b", 5 * GiB, 6)).toBe("deeper");
  });

  test("what a killed process left half done is cleared away and harms nothing", () => {
    store.create("a", 4 * BLOCK).write(0, Buffer.from("kept"));
    const [link = ""] = store.links("a");
    appendFileSync(join(dir, `${link}.map`), Buffer.from([1, 0]));
    appendFileSync(join(dir, `${link}.data`), Buffer.alloc(1000, 0xee));
    writeFileSync(join(dir, "b.disk.new"), '{"si');
    for (const end of ["link", "map", "data"]) {
      writeFileSync(join(dir, `11111111-0000-4000-8000-000000000000.${end}`), "{}");
    }
    restart();
    expect(store.ids()).toEqual(["a"]);
    expect(readdirSync(dir).length).toBe(4);
    store.open("a").write(BLOCK + 5, Buffer.from("new"));
    expect([text("a", 0, 4), text("a", BLOCK, 9)]).toEqual(["kept", "\0\0\0\0\0new\0"]);
  });

  test("a missing link is named", () => {
    store.create("a", BLOCK);
    const [link = ""] = store.links("a");
    rmSync(join(dir, `${link}.link`));
    expect(restart).toThrow(`${link}.link can't be read`);
  });
});

test("under any sequence of create, write, clone, copy, resize, destroy and restart, each disk reads as a plain buffer would", () => {
  const size = 3 * BLOCK + 1000;
  const n = fc.nat(1000);
  const command = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant("write"), n, fc.nat(size - 1), fc.integer({ min: 1, max: BLOCK + 5000 })) },
    { weight: 4, arbitrary: fc.tuple(fc.constant("clone"), n) },
    { weight: 4, arbitrary: fc.tuple(fc.constant("destroy"), n) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom("create", "copy", "resize", "restart"), n) },
  );
  fc.assert(
    fc.property(fc.array(command, { minLength: 5, maxLength: 40 }), (commands) => {
      const model = new Map<string, Buffer>();
      for (const [step, [action, which, at = 0, length = 0]] of [
        ["create", 0] as [string, number, number?, number?],
        ...commands,
      ].entries()) {
        // Numbers choose among the disks that there are, so that nearly every command does something.
        const existing = [...model.keys()];
        const id = existing[which % Math.max(1, existing.length)];
        const made = `disk${step}`;
        if (action === "restart") {
          restart();
        } else if (action === "create") {
          store.create(made, size);
          model.set(made, Buffer.alloc(size));
        } else if (id === undefined) {
        } else if (action === "write") {
          const data = Buffer.alloc(Math.min(length, size - at), (step % 255) + 1);
          store.open(id).write(at, data);
          model.get(id)?.set(data, at);
        } else if (action === "resize") {
          const old = model.get(id) ?? Buffer.alloc(0);
          store.resize(id, old.length + 777);
          model.set(id, Buffer.concat([old, Buffer.alloc(777)]));
        } else if (action === "destroy") {
          store.destroy(id);
          model.delete(id);
        } else {
          store[action === "clone" ? "clone" : "copy"](id, made);
          model.set(made, Buffer.from(model.get(id) ?? []));
        }
      }
      const wrong = [...model].filter(([disk, expected]) => !expected.equals(store.open(disk).read(0, expected.length)));
      expect(wrong.map(([disk]) => disk)).toEqual([]);
      expect(store.ids().sort()).toEqual([...model.keys()].sort());
      for (const disk of model.keys()) {
        store.destroy(disk);
      }
      expect(readdirSync(dir)).toEqual([]);
    }),
    { numRuns: 50 },
  );
});
