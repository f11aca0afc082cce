// Where a sparse file has data. Node can't ask the system (lseek SEEK_DATA); GNU tar does, and writes what it learnt at the very beginning of its archive,
// before any data (GNU tar manual, "PAX Format, Version 1.0"). Only a shortcut: without it the whole file is read, at memory speed where it has holes.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";

const SECTOR = 512;
/** Below that, reading is as fast. */
const WORTHWHILE = 256 * 1024 * 1024;
/** An archive whose map is longer than that is of a file that is cut to pieces: reading is better. */
const MAX_MAP = 8 * 1024 * 1024;

/** Ascending ranges outside of which the file is all zeros; undefined = not known. */
export async function dataRanges(path: string): Promise<[from: number, to: number][] | undefined> {
  const { size, blocks } = await stat(path);
  if (process.platform === "win32" || size - blocks * SECTOR < WORTHWHILE) return undefined;
  const options = ["--create", "--file=-", "--sparse", "--hole-detection=seek", "--format=posix", "--sparse-version=1.0"];
  const tar = spawn("tar", [...options, `--directory=${dirname(path)}`, "--", `./${basename(path)}`], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { PATH: process.env.PATH, LC_ALL: "C" },
  });
  try {
    const failed = once(tar, "error").then(() => undefined);
    return await Promise.race([failed, readMap(tar.stdout, size)]);
  } finally {
    tar.stdout.destroy();
    tar.kill();
  }
}

async function readMap(archive: AsyncIterable<Buffer>, size: number): Promise<[number, number][] | undefined> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of archive) {
    bytes = Buffer.concat([bytes, chunk]);
    const map = parseMap(bytes, size);
    if (map !== "more") return map;
    if (bytes.length > MAX_MAP) return undefined;
  }
  return undefined;
}

/** An extended header with GNU.sparse.*, the file's own header, then decimal lines: number of ranges, offset and length of each. */
function parseMap(bytes: Buffer, size: number): [number, number][] | undefined | "more" {
  if (bytes.length < SECTOR) return "more";
  if (bytes.toString("latin1", 156, 157) !== "x") return undefined;
  const length = Number.parseInt(bytes.toString("latin1", 124, 135), 8);
  const end = SECTOR + Math.ceil(length / SECTOR) * SECTOR;
  if (!Number.isFinite(end) || end > MAX_MAP) return undefined;
  if (bytes.length < end) return "more";
  const fields = bytes.toString("utf8", SECTOR, SECTOR + length);
  if (!/^\d+ GNU\.sparse\.major=1$/m.test(fields) || !fields.includes(` GNU.sparse.realsize=${size}\n`)) return undefined;
  const lines = bytes.toString("latin1", end + SECTOR).split("\n");
  const numbers = lines.slice(0, -1).map(Number);
  const [count] = numbers;
  if (count === undefined || numbers.length < 1 + 2 * count) return "more";
  const ranges: [number, number][] = [];
  for (let index = 0; index < count; index++) {
    const from = numbers[1 + 2 * index] ?? Number.NaN;
    const to = from + (numbers[2 + 2 * index] ?? Number.NaN);
    if (!(from >= (ranges.at(-1)?.[1] ?? 0) && to >= from && to <= size)) return undefined;
    ranges.push([from, to]);
  }
  return ranges;
}
