/**
 * PUT /import_raw_vdi and GET /export_raw_vdi (xen-api ocaml/xapi/import_raw_vdi.ml, export_raw_vdi.ml, vhd_tool_wrapper.ml), with their ways: an import is answered
 * before its body is read, an export has no length and ends with the connection, what fails late shows in the task and as a second reply within the body.
 * Credentials, role and task are the server's (server.ts).
 */
import { VDI } from "./classes/VDI.ts";
import { type Context, FORWARDED } from "./context.ts";
import { accountSpace, attachToDom0, NoSpace } from "./dom0.ts";
import { fail, XapiError } from "./errors.ts";
import type { HttpRequest } from "./http.ts";
import type { HttpReply } from "./httpReply.ts";
import type { Action } from "./server.ts";
import { isZero, OutsideDisk } from "./storage/access.ts";
import { BLOCK, type Disk } from "./storage/disk.ts";
import { EndOfStream, StreamReader } from "./storage/stream.ts";
import { BadVhd, readVhdInto, writeVhd } from "./storage/vhd.ts";

/** sm libs/sm/vhdutil.py: what a VHD can hold. */
const MAX_VHD = 2040 * 1024 ** 3;

const CONTENT_TYPES = {
  raw: "application/octet-stream",
  vhd: "application/vhd",
  tar: "application/x-tar",
  qcow2: "application/x-qemu-disk",
} as const;
type Format = keyof typeof CONTENT_TYPES;

export const transfers: Readonly<Record<string, Action>> = {
  "PUT /import_raw_vdi": { label: "Importing raw VDI", handle: importRawVdi },
  "GET /export_raw_vdi": { label: "Exporting raw VDI", handle: exportRawVdi },
};

async function importRawVdi(request: HttpRequest, reply: HttpReply, ctx: Context): Promise<string | typeof FORWARDED | undefined> {
  const given = parameter(request, "vdi");
  const sr = parameter(request, "sr_id") ?? parameter(request, "sr_uuid");
  if (given === undefined && sr === undefined) {
    return refuse(reply, 400, "VDI_MISSING");
  }
  const format = (parameter(request, "format") ?? "raw").toLowerCase();
  if (given === undefined && (format !== "raw" || request.length === undefined)) {
    return refuse(reply, 400, "INTERNAL_ERROR", `Cannot import ${format} without Content-Length straight into an SR`);
  }
  const vdi = given === undefined ? undefined : ctx.db.resolve("VDI", given);
  const reachable = vdi === undefined ? ctx.db.resolve("SR", sr ?? "") : ctx.db.get("VDI", vdi).SR;
  if (redirected(request, reply, ctx, reachable)) {
    return FORWARDED;
  }
  assertFormat(format, reply);
  const chunked = parameter(request, "chunked") !== undefined;
  if (chunked && format !== "raw") {
    return refuse(reply, 404, "INTERNAL_ERROR", "Cannot handle chunked VHD");
  }
  const encoding = request.headers["transfer-encoding"];
  if (encoding !== undefined) {
    return refuse(reply, 404, "INTERNAL_ERROR", `Cannot handle encoding: ${encoding}`);
  }
  if (format !== "raw" && format !== "vhd") {
    return fail("NOT_IMPLEMENTED", `PUT /import_raw_vdi with format=${format}`);
  }
  const target = vdi ?? (await VDI.create(ctx, { SR: reachable, name_label: "Imported VDI", virtual_size: request.length ?? 0 }));
  const { disk, detach } = attachToDom0(ctx, target, "RW");
  try {
    reply.head(200, { connection: "close", "cache-control": "no-cache, no-store", "content-type": CONTENT_TYPES.raw, "task-id": ctx.task });
    await transfer(request, reply, ctx, async (progress) => {
      if (chunked) {
        await readChunked(ctx, disk, request.body(), progress);
      } else if (format === "vhd") {
        await readVhdInto(disk, request.body(), progress);
      } else {
        const length = request.length ?? disk.size;
        await readRaw(ctx, disk, request.body(length), length, progress);
      }
    });
  } finally {
    accountSpace(ctx, target);
    void detach();
  }
  return target;
}

async function exportRawVdi(request: HttpRequest, reply: HttpReply, ctx: Context): Promise<string | typeof FORWARDED | undefined> {
  const vdi = ctx.db.resolve("VDI", parameter(request, "vdi") ?? fail("VDI_MISSING"));
  const { SR, uuid, virtual_size } = ctx.db.get("VDI", vdi);
  if (redirected(request, reply, ctx, SR)) {
    return FORWARDED;
  }
  const format = (parameter(request, "format") ?? "raw").toLowerCase();
  assertFormat(format, reply);
  if (format !== "raw" && format !== "vhd") {
    return fail("NOT_IMPLEMENTED", `GET /export_raw_vdi with format=${format}`);
  }
  if (format === "vhd" && virtual_size > MAX_VHD) {
    fail("VDI_TOO_LARGE", vdi, String(MAX_VHD));
  }
  assertNotWritten(ctx, vdi);
  const baseGiven = parameter(request, "base");
  const base = baseGiven === undefined ? undefined : ctx.db.resolve("VDI", baseGiven);
  const { disk, detach } = attachToDom0(ctx, vdi, "RO");
  const withBase = base === undefined ? undefined : attachToDom0(ctx, base, "RO");
  try {
    const baseId = withBase?.disk.id;
    reply.head(200, {
      connection: "close",
      "cache-control": "no-cache, no-store",
      "content-type": CONTENT_TYPES[format],
      "content-disposition": `attachment; filename="${uuid}.${format}"`,
      "task-id": ctx.task,
    });
    const { length, body } =
      format === "vhd" ? writeVhd(ctx.storage, disk.id, baseId === undefined ? {} : { base: baseId }) : rawExport(ctx, disk, baseId);
    await transfer(request, reply, ctx, async (progress) => {
      let done = 0;
      for (const piece of body) {
        assertGoesOn(ctx);
        await reply.write(piece);
        done += piece.length;
        progress(done / length);
      }
    });
  } finally {
    void detach();
    void withBase?.detach();
  }
  return undefined;
}

/** From the query, else from the cookies. */
function parameter(request: HttpRequest, name: string): string | undefined {
  return request.query[name] ?? request.cookies[name];
}

function assertFormat(format: string, reply: HttpReply): asserts format is Format {
  if (!Object.hasOwn(CONTENT_TYPES, format)) {
    refuse(reply, 404, "INTERNAL_ERROR", `Unknown format ${format}`);
  }
}

/** A bare status, and the reason in the task alone. */
function refuse(reply: HttpReply, status: number, code: string, ...params: string[]): never {
  reply.head(status, { connection: "close", "cache-control": "no-cache, no-store" });
  return fail(code, ...params);
}

/**
 * Whether another host has to do it, and then the client is told which: one that has the SR plugged. XAPI names the address without a port; here the port is part of
 * the address, since the hosts of a simulated pool share one. The task stays pending: it is for the host that does the work.
 */
function redirected(request: HttpRequest, reply: HttpReply, ctx: Context, sr: string): boolean {
  const hosts = ctx.db.get("SR", sr).PBDs.flatMap((ref) => {
    const pbd = ctx.db.find("PBD", ref);
    return pbd?.currently_attached === true ? [pbd.host] : [];
  });
  if (hosts.includes(ctx.host)) {
    return false;
  }
  const [host] = hosts;
  if (host === undefined) {
    return fail("SR_HAS_NO_PBDS", sr);
  }
  const { authority, tls } = ctx.endpoint(host);
  const location = `${tls ? "https" : "http"}://${authority}${request.path}${request.search === "" ? "" : `?${request.search}`}`;
  reply.head(302, { connection: "close", "cache-control": "no-cache, no-store", location });
  return true;
}

/** A disk that a running VM writes to can't be read in a consistent state; dom0's own attachments don't count. */
function assertNotWritten({ db }: Context, vdi: string): void {
  for (const ref of db.get("VDI", vdi).VBDs) {
    const vbd = db.find("VBD", ref);
    if (vbd?.currently_attached === true && vbd.mode === "RW" && db.find("VM", vbd.VM)?.is_control_domain === false) {
      fail("VDI_IN_USE", vdi, "copy");
    }
  }
}

/**
 * The part after the header. Simulated time stands still meanwhile. A failure becomes VDI_IO_ERROR, as whatever stops vhd-tool does, and is written into the stream as a
 * second reply before the connection closes under a client that may still be sending.
 */
async function transfer(
  request: HttpRequest,
  reply: HttpReply,
  ctx: Context,
  work: (progress: (fraction: number) => void) => Promise<void>,
): Promise<void> {
  let percent = 0;
  const progress = (fraction: number) => {
    assertGoesOn(ctx);
    if (Math.floor(fraction * 100) > percent) {
      percent = Math.floor(fraction * 100);
      ctx.progress(fraction);
    }
  };
  // A read that waits for a client has no other way to learn of a cancelled task.
  const stop = () => request.socket.destroy();
  ctx.signal.addEventListener("abort", stop, { once: true });
  // xapi closes both directions: a client that still sends must not be left waiting.
  request.socket.once("finish", stop);
  try {
    await ctx.clock.busy(() => work(progress));
  } catch (error) {
    const failure = asTransferError(ctx.signal.aborted ? ctx.signal.reason : error);
    const page = `<html><body><h1>HTTP 500 internal server error</h1>${failure.code}</body></html>`;
    const second = `HTTP/1.1 500 Internal Error\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: ${page.length}\r\n\r\n${page}`;
    await reply.write(second).catch(() => {}); // the client may be the reason
    throw failure;
  } finally {
    ctx.signal.removeEventListener("abort", stop);
  }
}

function assertGoesOn({ signal }: Context): void {
  signal.throwIfAborted();
}

function asTransferError(error: unknown): XapiError {
  if (error instanceof XapiError) {
    return error;
  }
  if ([OutsideDisk, EndOfStream, BadVhd, NoSpace].some((known) => error instanceof known)) {
    const failure = new XapiError("VDI_IO_ERROR", ["Device I/O errors"]);
    failure.cause = error;
    return failure;
  }
  const failure = new XapiError("INTERNAL_ERROR", [`Caught exception: ${error instanceof Error ? error.message : String(error)}`]);
  failure.cause = error;
  return failure;
}

/** Exactly `length` bytes from the start of the disk. Fewer are an error, and so is what does not fit. */
async function readRaw(
  ctx: Context,
  disk: Disk,
  body: AsyncIterable<Uint8Array>,
  length: number,
  progress: (fraction: number) => void,
): Promise<void> {
  await new StreamReader(body).forEach(length, (piece, offset) => {
    writeUnlessVoid(ctx, disk, offset, piece);
    progress((offset + piece.length) / length);
  });
}

/** xapi's own framing (ocaml/vhd-tool/src/chunked.ml): u64 offset, u32 length, both little endian, data; ended by a length of zero. */
async function readChunked(ctx: Context, disk: Disk, body: AsyncIterable<Uint8Array>, progress: (fraction: number) => void): Promise<void> {
  const reader = new StreamReader(body);
  for (;;) {
    const head = await reader.take(12);
    const start = Number(head.readBigUInt64LE(0));
    const length = head.readUInt32LE(8);
    if (length === 0) {
      return;
    }
    await reader.forEach(length, (piece, offset) => writeUnlessVoid(ctx, disk, start + offset, piece));
    progress((start + length) / disk.size);
  }
}

/** Zeros onto blocks that have never been written stay unwritten, or a sparse image would fill the machine that the simulator runs on. */
function writeUnlessVoid({ storage }: Context, disk: Disk, offset: number, piece: Uint8Array): void {
  for (let done = 0; done < piece.length; ) {
    const at = offset + done;
    const part = piece.subarray(done, done + BLOCK - (at % BLOCK));
    const isVoid = at + part.length <= disk.size && !storage.isAllocated(disk.id, Math.floor(at / BLOCK)) && isZero(part);
    if (!isVoid) {
      disk.write(at, part);
    }
    done += part.length;
  }
}

/** The whole length; with a base, what is not allocated on one side only is sent as zeros. */
function rawExport({ storage }: Context, disk: Disk, base: string | undefined): { length: number; body: Iterable<Uint8Array> } {
  const present = new Set(base === undefined ? storage.blocks(disk.id) : storage.difference(disk.id, base));
  const zeros = Buffer.alloc(BLOCK);
  function* body(): Generator<Uint8Array> {
    for (let block = 0; block * BLOCK < disk.size; block++) {
      const length = Math.min(BLOCK, disk.size - block * BLOCK);
      yield present.has(block) ? disk.read(block * BLOCK, length) : zeros.subarray(0, length);
    }
  }
  return { length: disk.size, body: body() };
}
