import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { loadIcon } from "./icon.ts";

const dir = mkdtempSync(join(tmpdir(), "xenlayer-icon-"));
afterAll(() => rmSync(dir, { recursive: true }));

const file = (bytes: Uint8Array, name = "icon"): string => {
  writeFileSync(join(dir, name), bytes);
  return join(dir, name);
};
const png = (width: number, height: number): Buffer => {
  const bytes = Buffer.alloc(45);
  Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13]).copy(bytes);
  bytes.write("IHDR", 12, "latin1");
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes;
};
/** Segments before the frame as cameras and editors write them, fill bytes included. */
const jpg = (width: number, height: number, frame = 0xc0): Buffer => {
  const size = Buffer.alloc(4);
  size.writeUInt16BE(height, 0);
  size.writeUInt16BE(width, 2);
  return Buffer.concat([
    Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16]),
    Buffer.alloc(14),
    Buffer.from([0xff, 0xc4, 0, 5, 1, 2, 3, 0xff, 0xff, frame, 0, 17, 8]),
    size,
    Buffer.alloc(10),
  ]);
};

it.each([
  ["a PNG", png(64, 48)],
  ["the largest PNG", png(1024, 1024)],
  ["a baseline JPG", jpg(64, 48)],
  ["a progressive JPG", jpg(64, 48, 0xc2)],
])("takes %s, byte by byte", async (_what, bytes) => {
  expect(await loadIcon(file(bytes))).toEqual({ bytes: Buffer.from(bytes) });
});

it.each<[string, Buffer, RegExp]>([
  ["a PNG that is too wide", png(1025, 1), /has 1025 x 1 pixels; at most 1024 x 1024 are allowed/],
  ["a PNG without height", png(10, 0), /has 10 x 0 pixels/],
  ["a JPG that is too high", jpg(5, 2000), /has 5 x 2000 pixels/],
  ["half a PNG", png(10, 10).subarray(0, 20), /is neither a PNG nor a JPG image/],
  ["a JPG without a frame", jpg(5, 5).subarray(0, 30), /is neither a PNG nor a JPG image/],
  ["nothing", Buffer.alloc(0), /is neither a PNG nor a JPG image/],
  ["too many bytes", Buffer.concat([png(1, 1), Buffer.alloc(512 * 1024)]), /has 513 KiB; at most 512 are allowed/],
])("refuses %s", async (_what, bytes, problem) => {
  const icon = await loadIcon(file(bytes, "icon.png"));
  expect(icon).not.toHaveProperty("bytes");
  expect(icon.problem).toMatch(problem);
});

it("takes built-ins by name, and leaves other layers' icons to who can look", async () => {
  expect(await loadIcon("builtin:windows")).toEqual({});
  expect(await loadIcon("layer:anything")).toEqual({});
  expect((await loadIcon("builtin:beos")).problem).toMatch(/there are builtin:layer, builtin:windows, builtin:linux/);
});

it("looks into any bytes without harm", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (bytes, asJpg) => {
      const icon = await loadIcon(file(asJpg ? Buffer.concat([Buffer.from([0xff, 0xd8]), bytes]) : bytes));
      expect(icon.problem === undefined ? Object.keys(icon) : ["problem"]).toHaveLength(1);
    }),
    { numRuns: 200 },
  );
});
