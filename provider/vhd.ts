// The VHD format, as far as uploads and downloads need it (Microsoft's "Virtual Hard Disk Image Format Specification" 1.0, and xen-api
// ocaml/libs/vhd/vhd_format/f.ml for what XAPI reads and writes). Numbers are big endian.
import { randomBytes } from "node:crypto";

export const SECTOR = 512;
export const BLOCK = 2 * 1024 * 1024;
/** XAPI's limit (VHD_MAX_SIZE of SM's vhdutil). */
export const MAX_VHD_SIZE = 2040 * 1024 ** 3;
const HEADER_SIZE = 1024;
const UNALLOCATED = 0xffffffff;
const COOKIE = "conectix";
/** Of the largest disk, with blocks of half the usual size. */
const MAX_ENTRIES = (2 * MAX_VHD_SIZE) / BLOCK;

export const FIXED = 2;
export const DYNAMIC = 3;
export const DIFFERENCING = 4;

export interface Footer {
  type: number;
  /** Of the disk, in bytes. */
  currentSize: number;
  /** Where the header of a dynamic disk is. */
  dataOffset: number;
}

export interface Header {
  tableOffset: number;
  entries: number;
  blockSize: number;
}

export function hasFooterCookie(bytes: Buffer): boolean {
  return bytes.length >= SECTOR && bytes.toString("latin1", 0, 8) === COOKIE;
}

/** The footer, or a sentence that says what is wrong with it. */
export function parseFooter(bytes: Buffer): Footer | string {
  if (!hasFooterCookie(bytes)) return "it has no VHD footer";
  if (bytes.readUInt32BE(64) !== checksum(bytes.subarray(0, SECTOR), 64)) return "its VHD footer is damaged (the checksum does not match)";
  const footer = {
    type: bytes.readUInt32BE(60),
    currentSize: Number(bytes.readBigUInt64BE(48)),
    dataOffset: Number(bytes.readBigUInt64BE(16)),
  };
  if (footer.currentSize % SECTOR !== 0) return `its VHD footer gives a size that is no multiple of 512 (${footer.currentSize})`;
  return footer;
}

export function parseHeader(bytes: Buffer): Header | string {
  if (bytes.length < HEADER_SIZE || bytes.toString("latin1", 0, 8) !== "cxsparse") return "its VHD header is missing";
  if (bytes.readUInt32BE(36) !== checksum(bytes.subarray(0, HEADER_SIZE), 36))
    return "its VHD header is damaged (the checksum does not match)";
  const header = { tableOffset: Number(bytes.readBigUInt64BE(16)), entries: bytes.readUInt32BE(28), blockSize: bytes.readUInt32BE(32) };
  if (header.blockSize < SECTOR || (header.blockSize & (header.blockSize - 1)) !== 0)
    return `its VHD header gives an impossible block size (${header.blockSize})`;
  return header;
}

/** Bytes before a block's data that say which of its sectors are there. */
export function bitmapSize(blockSize: number): number {
  return Math.ceil(blockSize / SECTOR / 8 / SECTOR) * SECTOR;
}

/** Byte offsets of the blocks that a table (or a part of one) holds. */
export function* allocated(table: Buffer): Iterable<number> {
  for (let at = 0; at + 4 <= table.length; at += 4) {
    const sector = table.readUInt32BE(at);
    if (sector !== UNALLOCATED) yield sector * SECTOR;
  }
}

export interface DynamicLayout {
  /** All that comes before the first block: footer copy, header, table. */
  head: Buffer;
  footer: Buffer;
  length: number;
}

/** A dynamic VHD of `size` bytes that holds the given blocks (ascending numbers), in this order, each a bitmap and BLOCK bytes. */
export function dynamicLayout(size: number, blocks: readonly number[]): DynamicLayout {
  const entries = Math.ceil(size / BLOCK);
  const tableOffset = SECTOR + HEADER_SIZE;
  const tableSize = Math.ceil((entries * 4) / SECTOR) * SECTOR;
  const first = tableOffset + tableSize;
  const stride = bitmapSize(BLOCK) + BLOCK;
  const footer = writeFooter(size);
  const table = Buffer.alloc(tableSize, 0xff);
  for (const [index, block] of blocks.entries()) table.writeUInt32BE((first + index * stride) / SECTOR, block * 4);
  return {
    head: Buffer.concat([footer, writeHeader(tableOffset, entries), table]),
    footer,
    length: first + blocks.length * stride + SECTOR,
  };
}

function writeFooter(size: number): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  bytes.write(COOKIE, 0, "latin1");
  bytes.writeUInt32BE(2, 8);
  bytes.writeUInt32BE(0x00010000, 12);
  bytes.writeBigUInt64BE(BigInt(SECTOR), 16);
  bytes.writeUInt32BE(Math.max(0, Math.floor((Date.now() - Date.UTC(2000, 0, 1)) / 1000)), 24);
  // As blktap writes it: readers then take the size from the size field, and not from the geometry, which can't give most sizes.
  bytes.write("tap\0", 28, "latin1");
  bytes.writeUInt32BE(0x00010003, 32);
  bytes.writeBigUInt64BE(BigInt(size), 40);
  bytes.writeBigUInt64BE(BigInt(size), 48);
  bytes.writeUInt32BE(geometry(size), 56);
  bytes.writeUInt32BE(DYNAMIC, 60);
  randomBytes(16).copy(bytes, 68);
  bytes.writeUInt32BE(checksum(bytes, 64), 64);
  return bytes;
}

function writeHeader(tableOffset: number, entries: number): Buffer {
  const bytes = Buffer.alloc(HEADER_SIZE);
  bytes.write("cxsparse", 0, "latin1");
  bytes.fill(0xff, 8, 16);
  bytes.writeBigUInt64BE(BigInt(tableOffset), 16);
  bytes.writeUInt32BE(0x00010000, 24);
  bytes.writeUInt32BE(entries, 28);
  bytes.writeUInt32BE(BLOCK, 32);
  bytes.writeUInt32BE(checksum(bytes, 36), 36);
  return bytes;
}

/** One's complement of the sum of all bytes but the checksum's own four. */
function checksum(bytes: Buffer, at: number): number {
  let sum = 0;
  for (const [index, byte] of bytes.entries()) if (index < at || index >= at + 4) sum += byte;
  return ~sum >>> 0;
}

/** Cylinders, heads and sectors, by the algorithm of the specification's appendix. */
function geometry(size: number): number {
  const total = Math.min(Math.floor(size / SECTOR), 65535 * 16 * 255);
  let sectors = 17;
  let heads: number;
  let cylinderHeads: number;
  if (total >= 65535 * 16 * 63) {
    sectors = 255;
    heads = 16;
    cylinderHeads = Math.floor(total / sectors);
  } else {
    cylinderHeads = Math.floor(total / sectors);
    heads = Math.max(4, Math.floor((cylinderHeads + 1023) / 1024));
    if (cylinderHeads >= heads * 1024 || heads > 16) {
      sectors = 31;
      heads = 16;
      cylinderHeads = Math.floor(total / sectors);
    }
    if (cylinderHeads >= heads * 1024) {
      sectors = 63;
      heads = 16;
      cylinderHeads = Math.floor(total / sectors);
    }
  }
  return ((Math.floor(cylinderHeads / heads) << 16) | (heads << 8) | sectors) >>> 0;
}

/** Tells, from the beginning of a dynamic or differencing VHD, how long the whole is: a download ends where the connection does, so that a cut looks like an end. */
export class VhdLength {
  #seen = Buffer.alloc(0);
  #length: number | undefined;
  #header: Header | undefined;

  /** Give every chunk until it answers with the length; a string says why this is no such VHD. */
  push(chunk: Uint8Array): number | string | undefined {
    if (this.#length !== undefined) return this.#length;
    this.#seen = Buffer.concat([this.#seen, chunk]);
    if (this.#header === undefined) {
      if (this.#seen.length < SECTOR) return undefined;
      const footer = parseFooter(this.#seen);
      if (typeof footer === "string") return footer;
      if (this.#seen.length < footer.dataOffset + HEADER_SIZE) return undefined;
      const header = parseHeader(this.#seen.subarray(footer.dataOffset));
      if (typeof header === "string") return header;
      if (header.entries > MAX_ENTRIES) return `its VHD header gives an impossible number of blocks (${header.entries})`;
      this.#header = header;
    }
    const { tableOffset, entries, blockSize } = this.#header;
    const tableEnd = tableOffset + Math.ceil((entries * 4) / SECTOR) * SECTOR;
    if (this.#seen.length < tableOffset + entries * 4) return undefined;
    let end = tableEnd;
    for (const offset of allocated(this.#seen.subarray(tableOffset, tableOffset + entries * 4)))
      end = Math.max(end, offset + bitmapSize(blockSize) + blockSize);
    this.#seen = Buffer.alloc(0);
    this.#length = end + SECTOR;
    return this.#length;
  }
}
