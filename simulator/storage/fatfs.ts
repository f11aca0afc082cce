// The one FatFs of the process (npm js-fatfs, ChaN's FatFs as WebAssembly). Loading it is asynchronous, using it is not.

import * as FatFs from "js-fatfs";
import type { Disk } from "./disk.ts";
import { type Extent, SECTOR } from "./partitions.ts";

/** A failure of a file operation: disk full, bad name, damaged file system. */
export class FatError extends Error {
  readonly code: number;

  constructor(what: string, code: number, cause?: unknown) {
    super(`${what}: ${reasons[code] ?? `FatFs result ${code}`}`, { cause });
    this.name = "FatError";
    this.code = code;
  }
}

const reasons: Record<number, string> = {
  [FatFs.FR_DISK_ERR]: "the disk can't be read or written there",
  [FatFs.FR_INT_ERR]: "the file system is damaged",
  [FatFs.FR_NO_FILE]: "no such file",
  [FatFs.FR_NO_PATH]: "no such folder",
  [FatFs.FR_INVALID_NAME]: "FAT can't hold this name",
  [FatFs.FR_DENIED]: "no space left, or a file and a folder get in each other's way",
  [FatFs.FR_EXIST]: "there is one already",
  [FatFs.FR_NO_FILESYSTEM]: "no FAT file system",
  [FatFs.FR_MKFS_ABORTED]: "too small for a FAT file system",
};

/** Bytes that go through FatFs at a time. */
export const CHUNK = 256 * 1024;

/** FatFs and its static memory. All calls are synchronous, so volumes take turns: `target` is the one whose turn it is. */
export interface Machine {
  ff: FatFs.FatFs;
  volume: number;
  file: number;
  info: number;
  buffer: number;
  count: number;
}

let machine: Machine | undefined;
let loading: Promise<void> | undefined;
let target: { disk: Disk; extent: Extent } | undefined;
let failure: unknown;

async function load(): Promise<void> {
  const ff = await FatFs.create({ diskio });
  machine = {
    ff,
    volume: ff.malloc(FatFs.sizeof_FATFS),
    file: ff.malloc(FatFs.sizeof_FIL),
    info: ff.malloc(FatFs.sizeof_FILINFO),
    buffer: ff.malloc(CHUNK),
    count: ff.malloc(4),
  };
}

/** Disk callbacks: an exception must not fly through the WebAssembly frames, so it waits in `failure`. */
function guarded(action: (at: { disk: Disk; extent: Extent }) => number): number {
  if (target === undefined) {
    return FatFs.RES_NOTRDY;
  }
  try {
    return action(target);
  } catch (error) {
    failure = error;
    return FatFs.RES_ERROR;
  }
}

const diskio: FatFs.DiskIO = {
  initialize: () => 0,
  status: () => 0,
  read: (ff, _drive, into, sector, count) =>
    guarded(({ disk, extent }) => {
      const at = (sector >>> 0) * SECTOR;
      if (at + count * SECTOR > extent.length) {
        return FatFs.RES_PARERR;
      }
      ff.HEAPU8.set(disk.read(extent.start + at, count * SECTOR), into);
      return FatFs.RES_OK;
    }),
  write: (ff, _drive, from, sector, count) =>
    guarded(({ disk, extent }) => {
      const at = (sector >>> 0) * SECTOR;
      if (at + count * SECTOR > extent.length) {
        return FatFs.RES_PARERR;
      }
      disk.write(extent.start + at, ff.HEAPU8.subarray(from, from + count * SECTOR));
      return FatFs.RES_OK;
    }),
  ioctl: (ff, _drive, command, into) =>
    guarded(({ extent }) => {
      switch (command) {
        case FatFs.CTRL_SYNC:
          return FatFs.RES_OK;
        case FatFs.GET_SECTOR_COUNT:
          ff.setValue(into, Math.floor(extent.length / SECTOR), "i32");
          return FatFs.RES_OK;
        case FatFs.GET_SECTOR_SIZE:
          ff.setValue(into, SECTOR, "i16");
          return FatFs.RES_OK;
        case FatFs.GET_BLOCK_SIZE:
          ff.setValue(into, 1, "i32");
          return FatFs.RES_OK;
        default:
          return FatFs.RES_PARERR;
      }
    }),
};

export function loadFatFs(): Promise<void> {
  loading ??= load();
  return loading;
}

/** Runs FatFs calls against a part of a disk. A result other than FR_OK is a FatError, with what the disk threw as its cause. */
export function withFatFs(what: string, disk: Disk, extent: Extent, action: (machine: Machine) => number): void {
  if (machine === undefined) {
    throw new Error("FatFs is not loaded: await FatVolume.ready() first");
  }
  target = { disk, extent };
  failure = undefined;
  try {
    const result = action(machine);
    if (result !== FatFs.FR_OK) {
      throw new FatError(what, result, failure);
    }
  } finally {
    target = undefined;
  }
}
