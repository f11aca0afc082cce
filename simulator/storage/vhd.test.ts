import { execFileSync } from "node:child_process";
import { closeSync, createReadStream, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OutsideDisk } from "./access.ts";
import { BLOCK, DiskStore } from "./disk.ts";
import { EndOfStream } from "./stream.ts";
import { missingPrograms } from "./testing.ts";
import { BadVhd, readVhdInto, writeVhd } from "./vhd.ts";

let dir: string;
let store: DiskStore;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "xapi-vhd-"));
  store = new DiskStore(join(dir, "disks"));
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true });
});

function exported(id: string, base?: string): Buffer {
  const { length, body } = writeVhd(store, id, base === undefined ? {} : { base });
  const whole = Buffer.concat([...body]);
  expect(whole.length).toBe(length);
  return whole;
}

/** The bytes in pieces of awkward sizes, as a socket gives them. */
async function* pieces(data: Uint8Array, size = 65_521): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < data.length; at += size) {
    yield data.subarray(at, at + size);
  }
}

const content = (id: string) => Buffer.from(store.open(id).read(0, store.open(id).size));

function sample(id: string, size = 9 * BLOCK + 4096): void {
  const disk = store.create(id, size);
  disk.write(100, Buffer.from("at the start"));
  disk.write(4 * BLOCK - 5, Buffer.from("across a border"));
  disk.write(size - 7, Buffer.from("the end"));
}

test("an export has the layout that XAPI writes: footer, header, table, blocks ascending with full bitmaps, footer", () => {
  sample("a");
  const vhd = exported("a");
  const at = (offset: number, length: number) => vhd.toString("latin1", offset, offset + length);
  expect([at(0, 8), at(512, 8), at(vhd.length - 512, 8)]).toEqual(["conectix", "cxsparse", "conectix"]);
  const table = Array.from({ length: 10 }, (_, block) => vhd.readUInt32BE(2048 + block * 4));
  const none = 0xffffffff;
  const first = (2048 + 512) / 512;
  expect(table).toEqual([first, none, none, first + 4097, first + 2 * 4097, none, none, none, none, first + 3 * 4097]);
  expect(vhd.length).toBe(2048 + 512 + 4 * (512 + BLOCK) + 512);
  expect(vhd.subarray(2560, 2560 + 512).every((byte) => byte === 0xff)).toBe(true);
  expect(vhd.readUInt32BE(60)).toBe(3);
});

test("what was exported is imported as the same content and the same allocation, whatever the pieces", async () => {
  sample("a");
  const vhd = exported("a");
  for (const size of [511, 65_536, 5 * BLOCK]) {
    const id = `b${size}`;
    const seen: number[] = [];
    await readVhdInto(store.create(id, store.open("a").size), pieces(vhd, size), (fraction) => seen.push(fraction));
    expect(content(id).equals(content("a"))).toBe(true);
    expect(store.blocks(id)).toEqual(store.blocks("a"));
    expect(seen).toEqual([0.25, 0.5, 0.75, 1]);
  }
});

test("a differencing export holds what either branch changed, and puts a copy of the base right", async () => {
  sample("base");
  store.clone("base", "snap");
  store.open("base").write(BLOCK, Buffer.from("source only"));
  store.open("snap").write(6 * BLOCK, Buffer.from("base branch only"));
  const delta = exported("base", "snap");
  expect(delta.readUInt32BE(60)).toBe(4);
  expect(delta.toString("hex", 512 + 40, 512 + 56)).toBe(store.links("snap")[0]?.replaceAll("-", ""));
  expect(delta.toString("latin1", 1536, 1536 + 17)).toBe("file://./snap.vhd");
  expect(delta.length).toBe(2048 + 512 + 2 * (512 + BLOCK) + 512);
  store.copy("snap", "copy");
  await readVhdInto(store.open("copy"), pieces(delta));
  expect(content("copy").equals(content("base"))).toBe(true);
});

test("only sectors whose bit is set are written", async () => {
  store.create("a", 2 * BLOCK).write(0, Buffer.from("x"));
  const vhd = exported("a");
  vhd.fill(0, 2560, 3072);
  vhd.writeUInt8(0x40, 2560);
  vhd.fill(0x77, 3072, 3072 + 1536);
  const disk = store.create("b", 2 * BLOCK);
  disk.write(0, Buffer.alloc(BLOCK, 0x11));
  await readVhdInto(disk, pieces(vhd));
  expect([511, 512, 1023, 1024].map((at) => disk.read(at, 1)[0])).toEqual([0x11, 0x77, 0x77, 0x11]);
});

describe("a stream that is not what it should be", () => {
  const damaged = (change: (vhd: Buffer) => void, size = 9 * BLOCK + 4096) => {
    sample("a", size);
    const vhd = exported("a");
    change(vhd);
    return readVhdInto(store.create("b", size), pieces(vhd));
  };
  const resum = (vhd: Buffer, from: number, length: number, field: number) => {
    vhd.writeUInt32BE(0, from + field);
    const sum = vhd.subarray(from, from + length).reduce((total, byte) => total + byte, 0);
    vhd.writeUInt32BE(~sum >>> 0, from + field);
  };

  test("raw data", async () => {
    await expect(readVhdInto(store.create("b", BLOCK), pieces(Buffer.alloc(BLOCK, 1)))).rejects.toThrow("does not begin with a footer");
  });

  test.each([
    ["nothing", 0],
    ["half a footer", 256],
    ["half a header", 1000],
    ["half a table", 2060],
    ["half a block", BLOCK],
  ])("%s and then the end", async (_name, length) => {
    sample("a");
    await expect(readVhdInto(store.create("b", store.open("a").size), pieces(exported("a").subarray(0, length)))).rejects.toThrow(
      EndOfStream,
    );
  });

  test("a changed byte in footer or header", async () => {
    await expect(damaged((vhd) => vhd.writeUInt8(1, 40))).rejects.toThrow(BadVhd);
  });

  test("a fixed disk with a footer in front", async () => {
    const change = (vhd: Buffer) => {
      vhd.writeUInt32BE(2, 60);
      resum(vhd, 0, 512, 64);
    };
    await expect(damaged(change)).rejects.toThrow("disk type 2");
  });

  test("a table of four billion blocks", async () => {
    const change = (vhd: Buffer) => {
      vhd.writeUInt32BE(0xfffffff0, 512 + 28);
      resum(vhd, 512, 1024, 36);
    };
    await expect(damaged(change)).rejects.toThrow("a table of 4294967280 blocks");
  });

  test("a table far away", async () => {
    const change = (vhd: Buffer) => {
      vhd.writeBigUInt64BE(1n << 60n, 512 + 16);
      resum(vhd, 512, 1024, 36);
    };
    await expect(damaged(change)).rejects.toThrow("the block table is at");
  });

  test("two blocks in one place", async () => {
    await expect(damaged((vhd) => vhd.writeUInt32BE(vhd.readUInt32BE(2048), 2052))).rejects.toThrow("overlaps");
  });

  test("a disk larger than the target: what fits is written, then the write outside throws", async () => {
    sample("a");
    const small = store.create("b", 2 * BLOCK);
    await expect(readVhdInto(small, pieces(exported("a")))).rejects.toThrow(OutsideDisk);
    expect(Buffer.from(small.read(100, 12)).toString()).toBe("at the start");
  });
});

const missing = missingPrograms(["qemu-img"]);
describe.skipIf(missing.length > 0)("qemu-img", () => {
  const qemu = (...args: string[]) => execFileSync("qemu-img", args, { encoding: "utf8", cwd: dir });

  test.each([9 * BLOCK + 4096, 137 * BLOCK, 512, 3 * 1024 * BLOCK])("finds an export of %i bytes equal to the raw disk", (size) => {
    const disk = store.create("a", size);
    disk.write(Math.floor(size / 2 / 512) * 512 - (size > 512 ? 512 : 0), Buffer.from("in the middle"));
    disk.write(size - 7, Buffer.from("the end"));
    writeFileSync(join(dir, "a.vhd"), exported("a"));
    const raw = openSync(join(dir, "a.raw"), "w");
    ftruncateSync(raw, size);
    for (const block of store.blocks("a")) {
      writeSync(raw, disk.read(block * BLOCK, Math.min(BLOCK, size - block * BLOCK)), 0, undefined, block * BLOCK);
    }
    closeSync(raw);
    expect(qemu("compare", "-f", "raw", "-F", "vpc", "a.raw", "a.vhd")).toContain("identical");
  });

  test("makes dynamic VHDs that are imported with the same content", async () => {
    const size = 40 * BLOCK;
    const raw = Buffer.alloc(size);
    raw.write("first", 0);
    raw.fill("abc", 7 * BLOCK + 512, 9 * BLOCK + 1024);
    raw.write("last", size - 4);
    writeFileSync(join(dir, "in.raw"), raw);
    qemu("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", "in.raw", "in.vhd");
    await readVhdInto(store.create("a", size), createReadStream(join(dir, "in.vhd")));
    expect(content("a").equals(raw)).toBe(true);
    expect(store.open("a").allocated()).toBeLessThan(6 * BLOCK);
  });

  test("makes fixed VHDs, which are refused as XAPI refuses them", async () => {
    qemu("create", "-f", "vpc", "-o", "subformat=fixed,force_size=on", "fixed.vhd", "8M");
    await expect(readVhdInto(store.create("a", 8 * 1024 ** 2), pieces(readFileSync(join(dir, "fixed.vhd"))))).rejects.toThrow(BadVhd);
  });
});
