// Where a FAT file system lies on a disk, and the few bytes of it that FatFs can't read or write: partition tables (it knows no GPT), the volume label, the number of hidden sectors.

import { createHash } from "node:crypto";
import type { Disk } from "./disk.ts";

export const SECTOR = 512;

/** A part of a disk, in bytes. */
export interface Extent {
  start: number;
  length: number;
}

export interface FatHeader {
  fat32: boolean;
  label(): string | undefined;
}

/** The first FAT volume of the disk: bare, or in a partition of an MBR or GPT, in the order of the table. */
export function findFat(disk: Disk): Extent | undefined {
  if (disk.size < SECTOR) {
    return undefined;
  }
  const whole = { start: 0, length: disk.size };
  if (fatAt(disk, whole) !== undefined) {
    return whole;
  }
  for (const extent of partitions(disk)) {
    if (fatAt(disk, extent) !== undefined) {
      return extent;
    }
  }
  return undefined;
}

function partitions(disk: Disk): Extent[] {
  const mbr = view(disk.read(0, SECTOR));
  if (mbr.getUint16(510, true) !== 0xaa55) {
    return [];
  }
  const found: Extent[] = [];
  for (let entry = 446; entry < 510; entry += 16) {
    const type = mbr.getUint8(entry + 4);
    if (type === 0xee) {
      return gptPartitions(disk);
    }
    if (type !== 0) {
      found.push({ start: mbr.getUint32(entry + 8, true) * SECTOR, length: mbr.getUint32(entry + 12, true) * SECTOR });
    }
  }
  return found.filter((extent) => isInside(disk, extent));
}

/** UEFI specification 2.10, 5.3: header in sector 1, entries where it says. */
function gptPartitions(disk: Disk): Extent[] {
  if (disk.size < 2 * SECTOR) {
    return [];
  }
  const header = view(disk.read(SECTOR, SECTOR));
  if (ascii(header, 0, 8) !== "EFI PART") {
    return [];
  }
  const start = Number(header.getBigUint64(72, true)) * SECTOR;
  const count = Math.min(header.getUint32(80, true), 256);
  const size = header.getUint32(84, true);
  if (size < 128 || size > 4096 || !isInside(disk, { start, length: count * size })) {
    return [];
  }
  const entries = view(disk.read(start, count * size));
  const found: Extent[] = [];
  for (let at = 0; at < count * size; at += size) {
    const isUsed = entries.getBigUint64(at, true) !== 0n || entries.getBigUint64(at + 8, true) !== 0n;
    const first = Number(entries.getBigUint64(at + 32, true));
    const last = Number(entries.getBigUint64(at + 40, true));
    if (isUsed) {
      found.push({ start: first * SECTOR, length: (last - first + 1) * SECTOR });
    }
  }
  return found.filter((extent) => isInside(disk, extent));
}

/** The FAT boot sector at the start of `extent`, if there is a believable one (the checks of FatFs check_fs, and the size). */
export function fatAt(disk: Disk, extent: Extent): FatHeader | undefined {
  const boot = view(disk.read(extent.start, SECTOR));
  const perCluster = boot.getUint8(13);
  const reserved = boot.getUint16(14, true);
  const fats = boot.getUint8(16);
  const rootEntries = boot.getUint16(17, true);
  const sectors = boot.getUint16(19, true) || boot.getUint32(32, true);
  const isFat =
    boot.getUint16(510, true) === 0xaa55 &&
    [0xeb, 0xe9, 0xe8].includes(boot.getUint8(0)) &&
    boot.getUint16(11, true) === SECTOR &&
    perCluster !== 0 &&
    (perCluster & (perCluster - 1)) === 0 &&
    reserved !== 0 &&
    (fats === 1 || fats === 2) &&
    sectors * SECTOR <= extent.length;
  if (!isFat) {
    return undefined;
  }
  const fat32 = boot.getUint16(22, true) === 0;
  const fatSectors = fat32 ? boot.getUint32(36, true) : boot.getUint16(22, true);
  // The root folder, of FAT32 its first cluster: there the label stands before all else.
  const afterFats = extent.start + (reserved + fats * fatSectors) * SECTOR;
  const root: Extent = fat32
    ? { start: afterFats + (boot.getUint32(44, true) - 2) * perCluster * SECTOR, length: perCluster * SECTOR }
    : { start: afterFats, length: rootEntries * 32 };
  return { fat32, label: () => rootLabel(disk, root) ?? named(ascii(boot, fat32 ? 71 : 43, 11)) };
}

function rootLabel(disk: Disk, root: Extent): string | undefined {
  if (!isInside(disk, root)) {
    return undefined;
  }
  const entries = view(disk.read(root.start, root.length));
  for (let at = 0; at < root.length && entries.getUint8(at) !== 0; at += 32) {
    // 0x08 alone is a label; 0x0f is a part of a long name; 0xe5 is a removed entry.
    if ((entries.getUint8(at + 11) & 0x3f) === 0x08 && entries.getUint8(at) !== 0xe5) {
      return named(ascii(entries, at, 11));
    }
  }
  return undefined;
}

/** An MBR with one partition from 1 MiB to the end. Its type is right only after writeLabel, which knows the kind of FAT. */
export function formatPartition(disk: Disk): Extent {
  const start = 1024 * 1024;
  const length = Math.floor((disk.size - start) / SECTOR) * SECTOR;
  if (length <= 0) {
    throw new RangeError(`disk ${disk.id} of ${disk.size} bytes is too small for a partition at 1 MiB`);
  }
  const mbr = view(new Uint8Array(SECTOR));
  mbr.setUint32(440, seed(disk.id), true);
  mbr.setUint8(446, 0x80);
  // CHS "beyond what can be said": readers take the LBA fields.
  for (const at of [447, 451]) {
    mbr.setUint8(at, 0xfe);
    mbr.setUint16(at + 1, 0xffff, true);
  }
  mbr.setUint8(450, 0x0c);
  mbr.setUint32(454, start / SECTOR, true);
  mbr.setUint32(458, Math.min(length / SECTOR, 0xffffffff), true);
  mbr.setUint16(510, 0xaa55, true);
  disk.write(0, bytes(mbr));
  return { start, length };
}

/** Completes a volume just made: label in the boot sector and as first entry of the root, serial number, hidden sectors, partition type. */
export function writeLabel(disk: Disk, extent: Extent, label: string): void {
  const header = fatAt(disk, extent);
  if (header === undefined || !/^[\x20-\x7e]{1,11}$/.test(label)) {
    throw new RangeError(`"${label}" is no label for disk ${disk.id}: 1 to 11 characters of ASCII on a FAT volume`);
  }
  const text = Buffer.from(label.toUpperCase().padEnd(11), "latin1");
  const labelAt = header.fat32 ? 71 : 43;
  for (const sector of header.fat32 ? [0, 6] : [0]) {
    const boot = view(disk.read(extent.start + sector * SECTOR, SECTOR));
    boot.setUint32(28, extent.start / SECTOR, true);
    boot.setUint32(labelAt - 4, seed(`${disk.id}/${label}`), true);
    bytes(boot).set(text, labelAt);
    disk.write(extent.start + sector * SECTOR, bytes(boot));
  }
  const boot = view(disk.read(extent.start, SECTOR));
  const fatSectors = header.fat32 ? boot.getUint32(36, true) : boot.getUint16(22, true);
  const root = extent.start + (boot.getUint16(14, true) + boot.getUint8(16) * fatSectors) * SECTOR;
  const entry = view(new Uint8Array(32));
  bytes(entry).set(text);
  entry.setUint8(11, 0x08);
  disk.write(root, bytes(entry));
  if (extent.start > 0) {
    disk.write(450, Uint8Array.of(header.fat32 ? 0x0c : 0x0e));
  }
}

function isInside(disk: Disk, extent: Extent): boolean {
  return extent.start >= 0 && extent.length >= SECTOR && extent.start + extent.length <= disk.size;
}

function named(label: string): string | undefined {
  const text = label.trimEnd();
  return text === "" || text === "NO NAME" ? undefined : text;
}

/** Serial numbers come from names, so that the same run makes the same bytes. */
function seed(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE(0);
}

function view(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

function bytes(data: DataView): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function ascii(data: DataView, at: number, length: number): string {
  return Buffer.from(data.buffer, data.byteOffset + at, length).toString("latin1");
}
