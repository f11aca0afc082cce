import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Disk, DiskStore } from "./disk.ts";
import { FatError, FatVolume } from "./fat.ts";
import { missingPrograms } from "./testing.ts";

const MiB = 1024 * 1024;
let dir: string;
let store: DiskStore;

beforeAll(() => FatVolume.ready());
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "xapi-fat-"));
  store = new DiskStore(join(dir, "disks"));
});
afterEach(() => {
  store.close();
  rmSync(dir, { recursive: true });
});

function image(disk: Disk): string {
  const path = join(dir, "image.raw");
  writeFileSync(path, disk.read(0, disk.size));
  return path;
}

describe.each([
  ["16 MiB, bare", 16, "none"],
  ["16 MiB, MBR", 16, "mbr"],
  ["64 MiB, MBR", 64, "mbr"],
  ["2 GiB, MBR (FAT32)", 2048, "mbr"],
] as const)("a volume of %s", (_name, size, partitioned) => {
  test("gives back what was written, under long, nested and non-ASCII names", () => {
    const disk = store.create("d", size * MiB);
    const made = FatVolume.format(disk, { label: "CIDATA", partitioned });
    const big = Buffer.alloc(3 * MiB + 17, "abcdefg");
    made.writeFile("/Program Files/Citrix/VDA/version.txt", "2402");
    made.writeFile("deep/er/grün 文.bin", big);
    made.writeFile("empty", new Uint8Array(0));
    made.close();

    const volume = FatVolume.open(store.open("d"));
    expect(volume?.label()).toBe("CIDATA");
    expect(Buffer.from(volume?.readFile("PROGRAM FILES/citrix/vda/VERSION.TXT") ?? []).toString()).toBe("2402");
    expect(big.equals(volume?.readFile("/deep/er/grün 文.bin") ?? Buffer.alloc(0))).toBe(true);
    expect(volume?.readFile("empty")).toEqual(new Uint8Array(0));
    expect(volume?.list("/")).toEqual([
      { name: "Program Files", size: 0, directory: true },
      { name: "deep", size: 0, directory: true },
      { name: "empty", size: 0, directory: false },
    ]);
    expect(volume?.list("deep/er")).toEqual([{ name: "grün 文.bin", size: big.length, directory: false }]);
  });
});

test("a shorter file replaces a longer one, and remove takes folders with all that is in them", () => {
  const volume = FatVolume.format(store.create("d", 16 * MiB), { label: "X", partitioned: "none" });
  volume.writeFile("a/b/c", "a long content");
  volume.writeFile("a/b/c", "short");
  expect(volume.readFile("a/b/c")).toEqual(new TextEncoder().encode("short"));
  volume.remove("a");
  expect([volume.exists("a"), volume.exists("a/b/c"), volume.exists("/")]).toEqual([false, false, true]);
  expect([volume.readFile("a/b/c"), volume.list("a"), volume.readFile("/")]).toEqual([undefined, [], undefined]);
  volume.remove("a");
});

test("a file that does not fit is an error and leaves nothing behind", () => {
  const volume = FatVolume.format(store.create("d", 4 * MiB), { label: "X", partitioned: "none" });
  expect(() => volume.writeFile("big", new Uint8Array(5 * MiB))).toThrow(FatError);
  expect(volume.exists("big")).toBe(false);
  volume.writeFile("fits", new Uint8Array(3 * MiB));
  expect(volume.readFile("fits")?.length).toBe(3 * MiB);
});

test("a name that FAT can't hold and a folder in the way of a file are errors", () => {
  const volume = FatVolume.format(store.create("d", 4 * MiB), { label: "X", partitioned: "none" });
  expect(() => volume.writeFile('what?"', "x")).toThrow("FAT can't hold this name");
  volume.makeFolder("folder");
  expect(() => volume.writeFile("folder", "x")).toThrow(FatError);
  expect(volume.list("/").map(({ name }) => name)).toEqual(["folder"]);
});

test("what another volume object, or a clone, writes is seen at once, and only where it belongs", () => {
  const disk = store.create("d", 16 * MiB);
  const one = FatVolume.format(disk, { label: "X", partitioned: "mbr" });
  const two = FatVolume.open(disk);
  one.writeFile("from-one", "1");
  two?.writeFile("from-two", "2");
  const clone = FatVolume.open(store.clone("d", "e"));
  clone?.writeFile("from-clone", "3");
  expect(one.list("/").map(({ name }) => name)).toEqual(["from-one", "from-two"]);
  expect(clone?.list("/").map(({ name }) => name)).toEqual(["from-one", "from-two", "from-clone"]);
});

test("disks without a FAT volume, empty, random or tiny, open as undefined", () => {
  expect(FatVolume.open(store.create("empty", 16 * MiB))).toBeUndefined();
  expect(FatVolume.open(store.create("tiny", 100))).toBeUndefined();
  const noise = store.create("noise", 4 * MiB);
  noise.write(0, Buffer.alloc(4 * MiB, "noise \u0001\u0002"));
  expect(FatVolume.open(noise)).toBeUndefined();
  const lies = store.create("lies", 4 * MiB);
  const table = Buffer.alloc(512, 0xff);
  table.writeUInt16LE(0xaa55, 510);
  lies.write(0, table);
  expect(FatVolume.open(lies)).toBeUndefined();
});

test("a damaged file system is an error that says so, not a crash", () => {
  const disk = store.create("d", 16 * MiB);
  const volume = FatVolume.format(disk, { label: "X", partitioned: "none" });
  volume.writeFile("folder/file", new Uint8Array(MiB));
  disk.write(512, Buffer.alloc(64 * 1024, 0xff));
  expect(() => volume.writeFile("another", new Uint8Array(MiB))).toThrow(FatError);
});

const missing = missingPrograms(["mformat", "mcopy", "mtype", "mdir", "fsck.vfat", "mkfs.vfat"]);
describe.skipIf(missing.length > 0)("other programs", () => {
  test.each([
    [16, "none"],
    [16, "mbr"],
    [2048, "mbr"],
  ] as const)("fsck.vfat and mtools find %i MiB (%s) in order", (size, partitioned) => {
    const disk = store.create("d", size * MiB);
    const volume = FatVolume.format(disk, { label: "Layer", partitioned });
    volume.writeFile("a folder/with/a file.txt", "content");
    volume.writeFile("gone", new Uint8Array(MiB));
    volume.remove("gone");
    const { start, length } = volume.extent;
    const path = join(dir, "volume.raw");
    writeFileSync(path, disk.read(start, Math.min(length, 64 * MiB)));
    execFileSync("truncate", ["-s", String(length), path]);
    expect(execFileSync("fsck.vfat", ["-n", path], { encoding: "utf8" })).not.toMatch(/differ|wrong|lost|dirty/i);
    expect(execFileSync("mtype", ["-i", path, "::a folder/with/a file.txt"], { encoding: "utf8" })).toBe("content");
    expect(execFileSync("mdir", ["-i", path, "::"], { encoding: "utf8" })).toContain("LAYER");
  });

  test("what mkfs.vfat and mcopy made is read and changed, in an MBR and in a GPT partition", () => {
    const file = join(dir, "fs.raw");
    writeFileSync(file, new Uint8Array(0));
    execFileSync("truncate", ["-s", String(40 * MiB), file]);
    execFileSync("mkfs.vfat", ["-F", "32", "-n", "SYSTEM", file], { stdio: "ignore" });
    writeFileSync(join(dir, "hello.txt"), "from mtools");
    execFileSync("mcopy", ["-i", file, join(dir, "hello.txt"), "::HELLO.TXT"]);
    const content = execFileSync("cat", [file], { maxBuffer: 64 * MiB });
    for (const table of ["mbr", "gpt"] as const) {
      const disk = store.create(table, 48 * MiB);
      disk.write(2 * MiB, content);
      disk.write(0, table === "mbr" ? mbr(2 * MiB, 40 * MiB) : gpt(2 * MiB, 40 * MiB));
      const volume = FatVolume.open(disk);
      expect(volume?.label()).toBe("SYSTEM");
      expect(Buffer.from(volume?.readFile("hello.txt") ?? []).toString()).toBe("from mtools");
      volume?.writeFile("XAPISIM/GUEST.JSON", "{}");
      const path = image(disk);
      expect(execFileSync("mtype", ["-i", `${path}@@2M`, "::XAPISIM/GUEST.JSON"], { encoding: "utf8" })).toBe("{}");
    }
  });
});

function mbr(start: number, length: number, type = 0x0c): Buffer {
  const sector = Buffer.alloc(512);
  sector.writeUInt8(type, 450);
  sector.writeUInt32LE(start / 512, 454);
  sector.writeUInt32LE(length / 512, 458);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

function gpt(start: number, length: number): Buffer {
  const sectors = Buffer.alloc(34 * 512);
  mbr(512, length, 0xee).copy(sectors);
  sectors.write("EFI PART", 512, "latin1");
  sectors.writeBigUInt64LE(2n, 512 + 72);
  sectors.writeUInt32LE(128, 512 + 80);
  sectors.writeUInt32LE(128, 512 + 84);
  // The second entry: the first is unused.
  sectors.fill(0x11, 1024 + 128, 1024 + 128 + 16);
  sectors.writeBigUInt64LE(BigInt(start / 512), 1024 + 128 + 32);
  sectors.writeBigUInt64LE(BigInt((start + length) / 512 - 1), 1024 + 128 + 40);
  return sectors;
}
