// Disk image files: what they are, whether they are whole, and how they go to a pool. Promises: the format is told by content, never by name; a file
// that is cut off, damaged, or lies about its size is refused with a sentence; an upload reads the file with a fixed amount of memory,
// has an exact length, and fails when the file changes meanwhile.
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { basename, extname } from "node:path";
import { ConflictError, InputError } from "./errors.ts";
import { dataRanges } from "./holes.ts";
import { qcow2Problem, qcow2Size } from "./qcow2.ts";
import {
  allocated,
  BLOCK,
  bitmapSize,
  DIFFERENCING,
  DYNAMIC,
  dynamicLayout,
  FIXED,
  type Footer,
  hasFooterCookie,
  MAX_VHD_SIZE,
  parseFooter,
  parseHeader,
  SECTOR,
} from "./vhd.ts";

export interface ImageInfo {
  format: "raw" | "vhd" | "qcow2";
  /** Of the disk that the image becomes, in bytes. */
  virtualSize: number;
  /** Of size and samples of the content: cheap, tells two images apart, is no proof against someone who wants to deceive. */
  fingerprint: string;
  /** Why it can't be used; completes "<file> can't be used: …". */
  problem?: string;
  /** Bytes at the beginning of the file that are the disk as it is (raw files, fixed VHDs). */
  plainBytes?: number;
}

/** What Xapi.put takes. */
export interface UploadBody {
  format: "raw" | "vhd" | "qcow2";
  length: number;
  stream: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
}

const GLANCE = 4096;
const SAMPLES = 64;
const SAMPLE = 64 * 1024;

/** Formats that people have and a pool does not take: where their mark is, and what they are. */
const FOREIGN: readonly [offset: number, mark: string, name: string][] = [
  [0, "vhdxfile", "a VHDX file"],
  [0, "KDMV", "a VMDK file"],
  [0, "# Disk DescriptorFile", "a VMDK descriptor"],
  [0, "<<< ", "a VirtualBox VDI file"],
  [0, "\x1f\x8b", "compressed (gzip)"],
  [0, "BZh", "compressed (bzip2)"],
  [0, "\xfd7zXZ", "compressed (xz)"],
  [0, "\x28\xb5\x2f\xfd", "compressed (zstd)"],
  [0, "PK\x03\x04", "a ZIP archive"],
  [0, "7z\xbc\xaf", "a 7-Zip archive"],
  [257, "ustar", "a TAR archive (or an XVA or OVA file)"],
  [32769, "CD001", "a CD image"],
];

/** Looks at the file; what is wrong with it is in `problem`. Rejects only when it can't be read. */
export async function inspectImage(path: string): Promise<ImageInfo> {
  const file = await openImage(path);
  try {
    const { size } = await file.stat();
    const fingerprint = await sample(file, size);
    return { ...(await inspect(file, size, extname(path).toLowerCase())), fingerprint };
  } finally {
    await file.close();
  }
}

type Inspected = Omit<ImageInfo, "fingerprint">;

async function inspect(file: FileHandle, size: number, extension: string): Promise<Inspected> {
  const head = await read(file, 0, Math.min(size, 64 * 1024));
  const raw: Inspected = { format: "raw", virtualSize: Math.ceil(size / SECTOR) * SECTOR, plainBytes: size };
  if (size === 0) return { ...raw, problem: "it is empty" };
  const qcow2 = qcow2Size(head);
  if (qcow2 !== undefined) {
    const problem = (await qcow2Problem(head, size, (offset, length) => read(file, offset, length))) ?? tooLarge(qcow2);
    return { format: "qcow2", virtualSize: qcow2, ...(problem === undefined ? {} : { problem }) };
  }
  const tail = size < SECTOR ? Buffer.alloc(0) : await read(file, size - SECTOR, SECTOR);
  if (hasFooterCookie(head) || hasFooterCookie(tail)) return inspectVhd(file, size, head, tail);
  const foreign = FOREIGN.find(([offset, mark]) => head.toString("latin1", offset, offset + mark.length) === mark);
  if (foreign !== undefined)
    return { ...raw, problem: `it is ${foreign[2]}: convert it to VHD, QCOW2 or raw first (for instance with qemu-img convert)` };
  if (/^\.(vhd|vpc)$/.test(extension))
    return { ...raw, problem: "it is named as a VHD, but neither begins nor ends as one: it is cut off, or something else" };
  if (/^\.(qcow2?)$/.test(extension)) return { ...raw, problem: "it is named as a QCOW2 image, but does not begin as one" };
  const problem = tooLarge(raw.virtualSize);
  return problem === undefined ? raw : { ...raw, problem };
}

function tooLarge(virtualSize: number): string | undefined {
  return virtualSize > MAX_VHD_SIZE
    ? `its disk has ${gib(virtualSize)} GiB, and disks of a pool have at most ${gib(MAX_VHD_SIZE)} GiB`
    : undefined;
}

async function inspectVhd(file: FileHandle, size: number, head: Buffer, tail: Buffer): Promise<Inspected> {
  const footer = parseFooter(hasFooterCookie(tail) ? tail : head);
  if (typeof footer === "string") return { format: "vhd", virtualSize: 0, problem: footer };
  const found: Inspected = { format: "vhd", virtualSize: footer.currentSize };
  const problem = hasFooterCookie(tail)
    ? await vhdProblem(file, size, footer)
    : "it begins as a VHD, but its end is missing: it is cut off";
  if (problem !== undefined) return { ...found, problem };
  return footer.type === FIXED ? { ...found, plainBytes: footer.currentSize } : found;
}

async function vhdProblem(file: FileHandle, size: number, footer: Footer): Promise<string | undefined> {
  const { type, currentSize, dataOffset } = footer;
  if (type === DIFFERENCING) return "it is a differencing VHD: it holds only what differs from a parent that is not here; merge them first";
  if (currentSize === 0) return "its disk has no size";
  if (type === FIXED)
    return currentSize === size - SECTOR ? tooLarge(currentSize) : `its footer says ${currentSize} bytes, but it holds ${size - SECTOR}`;
  if (type !== DYNAMIC) return `its VHD type (${type}) is not known`;
  if (dataOffset + 1024 > size) return "it is cut off before its header ends";
  const header = parseHeader(await read(file, dataOffset, 1024));
  if (typeof header === "string") return header;
  const { tableOffset, entries, blockSize } = header;
  if (entries * blockSize < currentSize) return `its footer says ${currentSize} bytes, but its table has room for ${entries * blockSize}`;
  if (tableOffset + entries * 4 > size - SECTOR) return "it is cut off before its table ends";
  const used = new Set<number>();
  for (const offset of allocated(await read(file, tableOffset, entries * 4))) {
    if (offset + bitmapSize(blockSize) + blockSize > size - SECTOR)
      return "a block of its table lies beyond its end: it is cut off or damaged";
    if (used.has(offset)) return "two entries of its table name the same block: it is damaged";
    used.add(offset);
  }
  return tooLarge(currentSize);
}

/** Prepares the upload: raw files and fixed VHDs go as a dynamic VHD that leaves out blocks of zeros, everything else as it is. */
export async function uploadBody(path: string, info: ImageInfo): Promise<UploadBody> {
  if (info.problem !== undefined) throw new InputError([{ property: "", reason: `${basename(path)} can't be used: ${info.problem}` }]);
  const file = await openImage(path);
  try {
    const id = await identity(file);
    const { size } = await file.stat();
    if ((await sample(file, size)) !== info.fingerprint) throw changed(path);
    if (info.plainBytes === undefined)
      return { format: info.format, length: size, stream: (signal) => pump(path, id, asItIs(size), signal) };
    const end = info.plainBytes;
    const blocks = await usedBlocks(file, path, end);
    if ((await identity(file)) !== id) throw changed(path);
    const { head, footer, length } = dynamicLayout(info.virtualSize, blocks);
    return { format: "vhd", length, stream: (signal) => pump(path, id, asVhd(head, blocks, end, footer), signal) };
  } finally {
    await file.close();
  }
}

/** Numbers of the 2 MiB blocks that are not all zero. */
async function usedBlocks(file: FileHandle, path: string, end: number): Promise<number[]> {
  const zeros = Buffer.alloc(BLOCK);
  const buffer = Buffer.alloc(BLOCK);
  const used: number[] = [];
  let next = 0;
  for (const [from, to] of (await dataRanges(path)) ?? [[0, end]]) {
    for (next = Math.max(next, Math.floor(from / BLOCK)); next * BLOCK < Math.min(to, end); next++) {
      // A block of data mostly shows in its first bytes; only one that begins with zeros is read whole.
      const whole = Math.min(BLOCK, end - next * BLOCK);
      let zero = true;
      for (const length of [Math.min(GLANCE, whole), whole]) {
        const bytes = buffer.subarray(0, length);
        if (zero) zero = (await fill(file, bytes, next * BLOCK)).equals(zeros.subarray(0, length));
      }
      if (!zero) used.push(next);
    }
  }
  return used;
}

/** Makes one chunk of the stream, in the buffer that it is given or elsewhere. */
type Chunk = (file: FileHandle, buffer: Buffer) => Promise<Buffer>;

function* asItIs(size: number): Iterable<Chunk> {
  for (let from = 0; from < size; from += BLOCK) yield (file, buffer) => fill(file, buffer.subarray(0, Math.min(BLOCK, size - from)), from);
}

function* asVhd(head: Buffer, blocks: readonly number[], end: number, footer: Buffer): Iterable<Chunk> {
  yield async () => head;
  for (const block of blocks) {
    yield async (file, buffer) => {
      const data = BITMAP + Math.min(BLOCK, end - block * BLOCK);
      buffer.fill(0xff, 0, BITMAP);
      await fill(file, buffer.subarray(BITMAP, data), block * BLOCK);
      return buffer.fill(0, data);
    };
  }
  yield async () => footer;
}

const BITMAP = bitmapSize(BLOCK);

/** Reads one chunk ahead. Three buffers take turns: a chunk is gone when the next but one is asked for. */
async function* pump(path: string, id: string, chunks: Iterable<Chunk>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const file = await openImage(path);
  let pending: Promise<Buffer> | undefined;
  try {
    const make = () => Buffer.alloc(BITMAP + BLOCK);
    let [mine, behind, readers] = [make(), make(), make()];
    const steps = chunks[Symbol.iterator]();
    const begin = () => {
      const step = steps.next();
      [mine, behind, readers] = [readers, mine, behind];
      pending = step.done ? undefined : step.value(file, mine);
      // Awaited one chunk later, or never, when the reader leaves.
      pending?.catch(() => undefined);
    };
    begin();
    while (pending !== undefined) {
      const chunk: Buffer = await pending;
      signal.throwIfAborted();
      begin();
      // Without its last chunk an upload fails: a file that was written to meanwhile never becomes a disk.
      if (pending === undefined && (await identity(file)) !== id) throw changed(path);
      yield chunk;
    }
  } finally {
    await (pending as Promise<Buffer> | undefined)?.catch(() => undefined);
    await file.close();
  }
}

async function openImage(path: string): Promise<FileHandle> {
  const refuse = (reason: string): never => {
    throw new InputError([{ property: "", reason: `${path} ${reason}` }]);
  };
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return refuse("does not exist");
    if (code === "EACCES" || code === "EPERM") return refuse("may not be read by this user");
    throw error;
  }
  const stat = await file.stat();
  if (stat.isFile() || stat.isBlockDevice()) return file;
  await file.close();
  return refuse("is no file");
}

/** Changes when somebody writes to the file or puts another one in its place. */
async function identity(file: FileHandle): Promise<string> {
  const { dev, ino, size, mtimeNs } = await file.stat({ bigint: true });
  return [dev, ino, size, mtimeNs].join(":");
}

function changed(path: string): ConflictError {
  return new ConflictError(`${path} changed while it was being read`, { hint: "let whatever writes it end, then run again" });
}

async function fill(file: FileHandle, buffer: Buffer, from: number): Promise<Buffer> {
  for (let got = 0; got < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, got, buffer.length - got, from + got);
    if (bytesRead === 0) throw new ConflictError("the image file became shorter while it was being read");
    got += bytesRead;
  }
  return buffer;
}

async function read(file: FileHandle, from: number, length: number): Promise<Buffer> {
  return fill(file, Buffer.alloc(length), from);
}

async function sample(file: FileHandle, size: number): Promise<string> {
  const hash = createHash("sha256").update(`${size}`);
  const length = Math.min(SAMPLE, size);
  const step = (size - length) / (SAMPLES - 1);
  const buffer = Buffer.alloc(length);
  for (let index = 0; index < SAMPLES; index++) hash.update(await fill(file, buffer, Math.floor(index * step)));
  return hash.digest("hex");
}

function gib(bytes: number): string {
  return (bytes / 1024 ** 3).toFixed(bytes % 1024 ** 3 === 0 ? 0 : 1);
}
