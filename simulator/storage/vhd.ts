// VHD as XAPI's raw import and export speak it: dynamic and differencing streams in, and out with the very layout of xen-api
// ocaml/libs/vhd/vhd_format/f.ml, so that the length of an export is known before its first byte. Format: "Virtual Hard Disk Image
// Format Specification" 1.0. A stream can't be sought, so what comes in must have footer, header and table before its blocks.

import { BLOCK, type Disk, type DiskStore } from "./disk.ts";
import { StreamReader } from "./stream.ts";

const SECTOR = 512;
const UNUSED = 0xffffffff;
/** sm libs/sm/vhdutil.py MAX_VHD_SIZE, in blocks of 2 MiB: bounds the table of a stream that lies. */
const MOST_BLOCKS = (2040 * 1024 ** 3) / BLOCK;

/** The stream is not a VHD that XAPI takes. */
export class BadVhd extends Error {
  constructor(message: string) {
    super(`not a VHD stream that can be read: ${message}`);
    this.name = "BadVhd";
  }
}

interface Geometry {
  size: number;
  blockSize: number;
  /** Block numbers with their byte offsets in the stream, in the order of the stream. */
  blocks: { block: number; offset: number }[];
}

/**
 * Writes the allocated sectors of a VHD over what the disk holds: with a differencing stream onto a copy of its base this is an incremental import. The virtual size
 * is not compared up front (vhd-tool does not either): a write that falls outside the disk throws OutsideDisk.
 */
export async function readVhdInto(disk: Disk, body: AsyncIterable<Uint8Array>, onProgress?: (fraction: number) => void): Promise<void> {
  const reader = new StreamReader(body);
  const { size, blockSize, blocks } = await readTable(reader);
  const bitmapSize = Math.ceil(blockSize / SECTOR / 8 / SECTOR) * SECTOR;
  for (const [done, { block, offset }] of blocks.entries()) {
    if (offset < reader.position) {
      throw new BadVhd(`block ${block} overlaps what comes before it`);
    }
    await reader.skip(offset - reader.position);
    const bitmap = await reader.take(bitmapSize);
    const start = block * blockSize;
    const length = Math.min(blockSize, size - start);
    const sectors = Math.ceil(length / SECTOR);
    if (isFull(bitmap, sectors)) {
      await reader.forEach(length, (piece, at) => disk.write(start + at, piece));
    } else {
      const data = await reader.take(length);
      for (const { from, to } of runs(bitmap, sectors)) {
        disk.write(start + from * SECTOR, data.subarray(from * SECTOR, to * SECTOR));
      }
    }
    await reader.skip(blockSize - length);
    onProgress?.((done + 1) / blocks.length);
  }
  // The footer at the end says nothing new and may be missing; but a client that sends one must not find the connection closed under it.
  for (let left = SECTOR; left > 0; ) {
    const piece = await reader.next(left);
    if (piece === undefined) {
      return;
    }
    left -= piece.length;
  }
}

async function readTable(reader: StreamReader): Promise<Geometry> {
  const footer = await reader.take(SECTOR);
  if (footer.toString("latin1", 0, 8) !== "conectix" || footer.readUInt32BE(64) !== checksum(footer, 64)) {
    throw new BadVhd("it does not begin with a footer copy (fixed VHDs and raw data do not)");
  }
  const type = footer.readUInt32BE(60);
  if (type !== 3 && type !== 4) {
    throw new BadVhd(`disk type ${type}: only dynamic (3) and differencing (4) can be streamed`);
  }
  const size = Number(footer.readBigUInt64BE(48));
  await skipTo(reader, Number(footer.readBigUInt64BE(16)), "header");
  const header = await reader.take(2 * SECTOR);
  if (header.toString("latin1", 0, 8) !== "cxsparse" || header.readUInt32BE(36) !== checksum(header, 36)) {
    throw new BadVhd("the header is damaged");
  }
  const entries = header.readUInt32BE(28);
  const blockSize = header.readUInt32BE(32);
  if (blockSize < 4096 || blockSize > 16 * BLOCK || (blockSize & (blockSize - 1)) !== 0) {
    throw new BadVhd(`blocks of ${blockSize} bytes`);
  }
  if (entries > (MOST_BLOCKS * BLOCK) / blockSize || entries * blockSize < size) {
    throw new BadVhd(`a table of ${entries} blocks of ${blockSize} bytes for a disk of ${size} bytes`);
  }
  await skipTo(reader, Number(header.readBigUInt64BE(16)), "block table");
  const table = await reader.take(entries * 4);
  const blocks: Geometry["blocks"] = [];
  for (let block = 0; block < Math.ceil(size / blockSize); block++) {
    const sector = table.readUInt32BE(block * 4);
    if (sector !== UNUSED) {
      blocks.push({ block, offset: sector * SECTOR });
    }
  }
  blocks.sort((a, b) => a.offset - b.offset);
  return { size, blockSize, blocks };
}

async function skipTo(reader: StreamReader, offset: number, what: string): Promise<void> {
  // Far beyond where any writer puts it: a wild offset must not swallow the stream.
  if (offset < reader.position || offset > 64 * BLOCK) {
    throw new BadVhd(`the ${what} is at ${offset}`);
  }
  await reader.skip(offset - reader.position);
}

function isFull(bitmap: Buffer, sectors: number): boolean {
  const whole = Math.floor(sectors / 8);
  for (let at = 0; at < whole; at++) {
    if (bitmap[at] !== 0xff) {
      return false;
    }
  }
  const rest = (0xff << (8 - (sectors % 8))) & 0xff;
  return ((bitmap[whole] ?? 0) & rest) === rest || sectors % 8 === 0;
}

/** Runs of sectors whose bit is set, most significant bit first. */
function* runs(bitmap: Buffer, sectors: number): Generator<{ from: number; to: number }> {
  const isSet = (sector: number) => sector < sectors && ((bitmap[sector >> 3] ?? 0) & (0x80 >> (sector & 7))) !== 0;
  for (let from = 0; from < sectors; from++) {
    if (isSet(from)) {
      let to = from + 1;
      while (isSet(to)) {
        to++;
      }
      yield { from, to };
      from = to;
    }
  }
}

export interface VhdExport {
  length: number;
  body: Iterable<Uint8Array>;
}

/**
 * The whole disk as a dynamic VHD, or, with `base`, what sets it apart from that disk as a differencing one: the blocks allocated in any link that only one of the
 * two chains has, with the content of the source. So it goes by allocation, not by content, and also takes back what was changed on the base's own branch.
 */
export function writeVhd(store: DiskStore, id: string, options: { base?: string } = {}): VhdExport {
  const disk = store.open(id);
  const count = Math.ceil(disk.size / BLOCK);
  const blocks = (options.base === undefined ? store.blocks(id) : store.difference(id, options.base)).filter((block) => block < count);
  const tableSize = Math.ceil((count * 4) / SECTOR) * SECTOR;
  const dataStart = 2048 + tableSize;
  const stride = SECTOR + BLOCK;
  const [uid = ""] = store.links(id);
  const footer = makeFooter(disk.size, options.base === undefined ? 3 : 4, uid);

  function* body(): Generator<Uint8Array> {
    const head = Buffer.alloc(dataStart);
    footer.copy(head);
    writeHeader(head, count);
    if (options.base !== undefined) {
      writeParent(head, options.base, store.links(options.base)[0] ?? "");
    }
    head.fill(0xff, 2048);
    for (const [index, block] of blocks.entries()) {
      head.writeUInt32BE((dataStart + index * stride) / SECTOR, 2048 + block * 4);
    }
    yield head;
    for (const block of blocks) {
      const out = Buffer.alloc(stride);
      out.fill(0xff, 0, SECTOR);
      out.set(disk.read(block * BLOCK, Math.min(BLOCK, disk.size - block * BLOCK)), SECTOR);
      yield out;
    }
    yield footer;
  }
  return { length: dataStart + blocks.length * stride + SECTOR, body: body() };
}

function makeFooter(size: number, type: 3 | 4, uid: string): Buffer {
  const footer = Buffer.alloc(SECTOR);
  footer.write("conectix", 0, "latin1");
  footer.writeUInt32BE(2, 8);
  footer.writeUInt32BE(0x00010000, 12);
  footer.writeBigUInt64BE(512n, 16);
  // blktap's creator: with others, qemu takes the size from the geometry, which can't say every size.
  footer.write("tap\0", 28, "latin1");
  footer.writeUInt32BE(0x00010003, 32);
  footer.writeBigUInt64BE(BigInt(size), 40);
  footer.writeBigUInt64BE(BigInt(size), 48);
  writeChs(footer, size);
  footer.writeUInt32BE(type, 60);
  writeUuid(footer, 68, uid);
  footer.writeUInt32BE(checksum(footer, 64), 64);
  return footer;
}

function writeHeader(head: Buffer, entries: number): void {
  const header = head.subarray(512, 1536);
  header.write("cxsparse", 0, "latin1");
  header.fill(0xff, 8, 16);
  header.writeBigUInt64BE(2048n, 16);
  header.writeUInt32BE(0x00010000, 24);
  header.writeUInt32BE(entries, 28);
  header.writeUInt32BE(BLOCK, 32);
  header.writeUInt32BE(checksum(header, 36), 36);
}

/** Parent name and locator: the file that the base is on a file-based SR. The locator's text takes the sector between header and table. */
function writeParent(head: Buffer, base: string, uid: string): void {
  const header = head.subarray(512, 1536);
  const file = `${base}.vhd`;
  const location = `file://./${file}`;
  writeUuid(header, 40, uid);
  Buffer.from(file.slice(0, 255), "utf16le").swap16().copy(header, 64);
  header.write("MacX", 576, "latin1");
  header.writeUInt32BE(SECTOR, 580);
  header.writeUInt32BE(location.length, 584);
  header.writeBigUInt64BE(1536n, 592);
  header.writeUInt32BE(checksum(header, 36), 36);
  head.write(location, 1536, 512, "latin1");
}

/** Cylinders, heads and sectors as the specification's appendix computes them. */
function writeChs(footer: Buffer, size: number): void {
  const total = Math.min(Math.floor(size / SECTOR), 65535 * 16 * 255);
  let sectors = 17;
  let heads: number;
  let cylindersTimesHeads = Math.floor(total / 17);
  if (total >= 65535 * 16 * 63) {
    sectors = 255;
    heads = 16;
    cylindersTimesHeads = Math.floor(total / sectors);
  } else {
    heads = Math.max(4, Math.floor((cylindersTimesHeads + 1023) / 1024));
    if (cylindersTimesHeads >= heads * 1024 || heads > 16) {
      sectors = 31;
      heads = 16;
      cylindersTimesHeads = Math.floor(total / sectors);
    }
    if (cylindersTimesHeads >= heads * 1024) {
      sectors = 63;
      heads = 16;
      cylindersTimesHeads = Math.floor(total / sectors);
    }
  }
  footer.writeUInt16BE(Math.floor(cylindersTimesHeads / heads), 56);
  footer.writeUInt8(heads, 58);
  footer.writeUInt8(sectors, 59);
}

function writeUuid(into: Buffer, at: number, uuid: string): void {
  into.write(uuid.replaceAll("-", ""), at, 16, "hex");
}

/** One's complement of the sum of all bytes but the checksum's own. */
function checksum(data: Buffer, field: number): number {
  let sum = 0;
  for (const [at, byte] of data.entries()) {
    sum += at >= field && at < field + 4 ? 0 : byte;
  }
  return ~sum >>> 0;
}
