import { execFileSync } from "node:child_process";
import { createCipheriv, createHash } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dataRanges } from "./holes.ts";
import { inspectImage, uploadBody } from "./image.ts";
import { VhdLength } from "./vhd.ts";

const MiB = 1024 * 1024;
let dir: string;
const at = (name: string) => join(dir, name);
const qemu = (...args: string[]) => execFileSync("qemu-img", args, { encoding: "utf8" });
const never = new AbortController().signal;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "xenlayer-image-"));
});
afterAll(() => {
  rmSync(dir, { recursive: true, force: true });
});

/** A file of `size` bytes with pseudo-random data at the given places. */
async function rawFile(name: string, size: number, places: readonly [offset: number, length: number][]): Promise<string> {
  const file = await open(at(name), "w");
  await file.truncate(size);
  for (const [offset, length] of places) await file.write(noise(offset, length), 0, length, offset);
  await file.close();
  return at(name);
}

function noise(seed: number, length: number): Buffer {
  const key = createHash("sha256").update(String(seed)).digest();
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** What a pool would be sent, as a file. */
async function upload(path: string): Promise<{ file: string; format: string }> {
  const info = await inspectImage(path);
  expect(info.problem).toBeUndefined();
  const body = await uploadBody(path, info);
  const file = `${path}.sent`;
  const out = await open(file, "w");
  let sent = 0;
  for await (const chunk of body.stream(never)) {
    await out.write(chunk);
    sent += chunk.length;
  }
  await out.close();
  expect(sent).toBe(body.length);
  return { file, format: body.format };
}

const sizes: readonly [string, number, readonly [number, number][]][] = [
  [
    "a small disk with data at both ends",
    8 * MiB,
    [
      [0, 4096],
      [8 * MiB - 512, 512],
    ],
  ],
  ["an empty disk", 16 * MiB, []],
  ["a dense disk", 6 * MiB, [[0, 6 * MiB]]],
  [
    "a size that is no multiple of the block size",
    5 * MiB + 512,
    [
      [3 * MiB, MiB],
      [5 * MiB, 512],
    ],
  ],
  [
    "data across the border of two blocks",
    64 * MiB,
    [
      [2 * MiB - 100, 200],
      [33 * MiB, 3],
    ],
  ],
];

describe("a raw file goes as a dynamic VHD that equals it", () => {
  for (const [name, size, places] of sizes) {
    test(name, async () => {
      const path = await rawFile("disk.raw", size, places);
      const { file, format } = await upload(path);
      expect(format).toBe("vhd");
      expect(qemu("compare", "-f", "raw", "-F", "vpc", path, file)).toContain("Images are identical");
    });
  }

  test("a file of odd length is padded to whole sectors", async () => {
    const path = await rawFile("odd.raw", 3 * MiB + 77, [[3 * MiB, 77]]);
    expect((await inspectImage(path)).virtualSize).toBe(3 * MiB + 512);
    const { file } = await upload(path);
    expect(qemu("compare", "-f", "raw", "-F", "vpc", path, file)).toContain("Images are identical");
  });

  test("blocks of zeros are left out, in files with holes and without", async () => {
    const holes = await rawFile("holes.raw", 512 * MiB, [[300 * MiB, MiB]]);
    const dense = at("zeros.raw");
    writeFileSync(dense, Buffer.alloc(16 * MiB));
    expect((await uploadBody(holes, await inspectImage(holes))).length).toBeLessThan(3 * MiB);
    expect((await uploadBody(dense, await inspectImage(dense))).length).toBeLessThan(MiB);
  });
});

test("the holes that the system knows of leave out no data", async () => {
  const path = await rawFile("ranges.raw", 1024 * MiB, [
    [0, 4096],
    [500 * MiB, 5 * MiB],
    [1024 * MiB - 4096, 4096],
  ]);
  const ranges = await dataRanges(path);
  expect(ranges).toBeDefined();
  for (const place of [0, 500 * MiB, 505 * MiB - 1, 1024 * MiB - 1])
    expect(
      ranges?.some(([from, to]) => from <= place && place < to),
      `byte ${place}`,
    ).toBe(true);
  expect(ranges?.reduce((sum, [from, to]) => sum + to - from, 0)).toBeLessThan(16 * MiB);
  const { file } = await upload(path);
  expect(qemu("compare", "-f", "raw", "-F", "vpc", path, file)).toContain("Images are identical");
});

describe("files of qemu-img", () => {
  const made: readonly [string, string, string, string[]][] = [
    ["dynamic VHD", "dyn.vhd", "vpc", ["-o", "subformat=dynamic,force_size=on"]],
    ["fixed VHD", "fixed.vhd", "vpc", ["-o", "subformat=fixed,force_size=on"]],
    ["QCOW2", "disk.qcow2", "qcow2", []],
    ["compressed QCOW2", "small.qcow2", "qcow2", ["-c"]],
    ["QCOW2 of version 2", "old.qcow2", "qcow2", ["-o", "compat=0.10"]],
  ];
  for (const [name, file, format, options] of made) {
    test(`a ${name} is known by its content and arrives as it is`, async () => {
      const path = await rawFile("source.raw", 24 * MiB, [
        [MiB, 3 * MiB],
        [20 * MiB, 17],
      ]);
      qemu("convert", "-f", "raw", "-O", format, ...options, path, at(file));
      copyFileSync(at(file), at("nameless.img"));
      const info = await inspectImage(at("nameless.img"));
      expect(info).toMatchObject({ format: format === "vpc" ? "vhd" : "qcow2", virtualSize: 24 * MiB });
      const sent = await upload(at(file));
      expect(qemu("compare", "-f", "raw", "-F", format, path, sent.file)).toContain("Images are identical");
    });
  }

  test("a fixed VHD is sent sparsely", async () => {
    const path = await rawFile("sparse.raw", 64 * MiB, [[MiB, MiB]]);
    qemu("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size=on", path, at("sparse.vhd"));
    expect((await uploadBody(at("sparse.vhd"), await inspectImage(at("sparse.vhd")))).length).toBeLessThan(3 * MiB);
  });

  test("the length of a dynamic VHD follows from its beginning", async () => {
    const path = await rawFile("length.raw", 24 * MiB, [[MiB, 3 * MiB]]);
    qemu("convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", path, at("length.vhd"));
    const bytes = readFileSync(at("length.vhd"));
    const length = new VhdLength();
    let told: number | string | undefined;
    for (let from = 0; from < bytes.length && told === undefined; from += 700) told = length.push(bytes.subarray(from, from + 700));
    expect(told).toBe(bytes.length);
  });
});

describe("refused, with a sentence", () => {
  const problem = async (path: string) => (await inspectImage(path)).problem;
  const make = async (file: string, format: string, options: string[] = []) => {
    const path = await rawFile("base.raw", 24 * MiB, [[MiB, 3 * MiB]]);
    qemu("convert", "-f", "raw", "-O", format, ...options, path, at(file));
    return at(file);
  };

  test("an empty file", async () => {
    await writeFile(at("empty.img"), "");
    expect(await problem(at("empty.img"))).toBe("it is empty");
  });

  test("a dynamic VHD that is cut off", async () => {
    const path = await make("cut.vhd", "vpc", ["-o", "subformat=dynamic"]);
    truncateSync(path, 2 * MiB);
    expect(await problem(path)).toMatch(/cut off/);
  });

  test("a dynamic VHD with its footer, but blocks missing", async () => {
    const path = await make("lost.vhd", "vpc", ["-o", "subformat=dynamic"]);
    const bytes = readFileSync(path);
    writeFileSync(path, Buffer.concat([bytes.subarray(0, 3 * MiB), bytes.subarray(-512)]));
    expect(await problem(path)).toMatch(/beyond its end/);
  });

  test("a fixed VHD that is cut off", async () => {
    const path = await make("cutfixed.vhd", "vpc", ["-o", "subformat=fixed"]);
    truncateSync(path, 12 * MiB);
    expect(await problem(path)).toMatch(/named as a VHD/);
  });

  test("a fixed VHD whose footer names another size", async () => {
    const path = await make("lie.vhd", "vpc", ["-o", "subformat=fixed,force_size=on"]);
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.subarray(4 * MiB));
    expect(await problem(path)).toMatch(/footer says \d+ bytes, but it holds \d+/);
  });

  test("a VHD whose footer is damaged", async () => {
    const path = await make("bad.vhd", "vpc", ["-o", "subformat=dynamic"]);
    const bytes = readFileSync(path);
    bytes.writeUInt8(1, bytes.length - 512 + 50);
    writeFileSync(path, bytes);
    expect(await problem(path)).toMatch(/footer is damaged/);
  });

  test("a differencing VHD", async () => {
    const path = await make("diff.vhd", "vpc", ["-o", "subformat=dynamic"]);
    const bytes = readFileSync(path);
    for (const footer of [0, bytes.length - 512]) {
      bytes.writeUInt32BE(4, footer + 60);
      bytes.writeUInt32BE((bytes.readUInt32BE(footer + 64) - 1) >>> 0, footer + 64);
    }
    writeFileSync(path, bytes);
    expect(await problem(path)).toMatch(/differencing/);
  });

  test("a QCOW2 image that is cut off", async () => {
    const path = await make("cut.qcow2", "qcow2");
    truncateSync(path, 2 * MiB);
    expect(await problem(path)).toMatch(/beyond its end/);
  });

  test("a QCOW2 image with a backing file", async () => {
    await make("backing.qcow2", "qcow2");
    qemu("create", "-f", "qcow2", "-b", at("backing.qcow2"), "-F", "qcow2", at("overlay.qcow2"));
    expect(await problem(at("overlay.qcow2"))).toMatch(/backing file/);
  });

  test("formats that a pool does not take, and names that lie", async () => {
    expect(await problem(await make("disk.vmdk", "vmdk"))).toMatch(/VMDK/);
    expect(await problem(await make("disk.vhdx", "vhdx"))).toMatch(/VHDX/);
    expect(await problem(await rawFile("really-raw.vhd", MiB, [[0, 512]]))).toMatch(/named as a VHD/);
    expect(await problem(await rawFile("really-raw.qcow2", MiB, [[0, 512]]))).toMatch(/named as a QCOW2/);
  });

  test("a disk that is too large for any SR", async () => {
    expect(await problem(await rawFile("huge.raw", 2041 * 1024 * MiB, []))).toMatch(/at most 2040 GiB/);
  });

  test("what is not there, or no file", async () => {
    await expect(inspectImage(at("missing.vhd"))).rejects.toThrow(/does not exist/);
    await expect(inspectImage(dir)).rejects.toThrow(/is no file/);
  });
});

describe("a file that changes", () => {
  test("between inspection and upload is noticed", async () => {
    const path = await rawFile("swap.raw", 8 * MiB, [[0, MiB]]);
    const info = await inspectImage(path);
    await rawFile("swap.raw", 8 * MiB, [[4096, MiB]]);
    await expect(uploadBody(path, info)).rejects.toThrow(/changed while/);
  });

  test("during the upload never becomes a whole disk", async () => {
    const path = await rawFile("live.raw", 32 * MiB, [[0, 32 * MiB]]);
    const body = await uploadBody(path, await inspectImage(path));
    let sent = 0;
    const run = async () => {
      for await (const chunk of body.stream(never)) {
        if (sent === 0) {
          const file = await open(path, "r+");
          await file.write(Buffer.from("changed"), 0, 7, 20 * MiB);
          await file.close();
        }
        sent += chunk.length;
      }
    };
    await expect(run()).rejects.toThrow(/changed while/);
    expect(sent).toBeLessThan(body.length);
  });

  test("to a shorter one is noticed", async () => {
    const path = await rawFile("short.raw", 32 * MiB, [[0, 32 * MiB]]);
    const body = await uploadBody(path, await inspectImage(path));
    const run = async () => {
      for await (const chunk of body.stream(never)) if (chunk.length > 0) truncateSync(path, MiB);
    };
    await expect(run()).rejects.toThrow(/shorter|changed/);
  });
});

test("two images of one size have different fingerprints, and a copy has the same", async () => {
  const one = await rawFile("one.raw", 8 * MiB, [[0, MiB]]);
  const other = await rawFile("other.raw", 8 * MiB, [[4096, MiB]]);
  copyFileSync(one, at("copy.raw"));
  const print = async (path: string) => (await inspectImage(path)).fingerprint;
  expect(await print(one)).not.toBe(await print(other));
  expect(await print(one)).toBe(await print(at("copy.raw")));
});
