// Disks in and out by HTTP, as xen-api's import_raw_vdi.ml and export_raw_vdi.ml have it: the reply comes before the body, success is only in the task, and a
// download ends where the connection does. Promises: exact length, back-pressure, success only when XAPI's task says so, nothing left behind on
// failure or abort.
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { CancelledError } from "../errors.ts";
import { VhdLength } from "../vhd.ts";
import { meaning, TRANSFER_FAILED, TRANSFER_INCOMPLETE } from "./codes.ts";
import type { Events } from "./events.ts";
import { discard, exchange, type Guard, type Reply, type Route, refusedWith } from "./exchange.ts";
import type { Login, Session } from "./session.ts";
import { type TaskTimes, taskResult } from "./tasks.ts";
import { Failure, networkFailure } from "./transport.ts";

/** What is written to a disk. `stream` can be asked for again (after a redirect, or when the connection broke); a chunk is read before the next but one is asked for. */
export interface Body {
  format: "raw" | "vhd" | "qcow2";
  length: number;
  stream: (signal: AbortSignal) => AsyncIterable<Uint8Array>;
}

export interface DiskRead {
  format: "raw" | "vhd";
  /** virtual_size, where the caller has just read it: saves asking (raw). */
  size?: number | undefined;
  /** Only blocks that differ from this disk (vhd). */
  base?: string | undefined;
  /** More than that is refused. */
  maxBytes?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((fraction: number) => void) | undefined;
}

export interface TransferTimes {
  /** After the transfer has ended or broken, how long the task may take to say how it went. */
  settleMs: number;
  /** A connection on which nothing moves for so long is dead. */
  silenceMs: number;
}

export interface Transfers extends Route {
  readonly session: Session;
  readonly events: Events;
  readonly times: TaskTimes & TransferTimes;
}

interface Options {
  signal?: AbortSignal | undefined;
  onProgress?: ((fraction: number) => void) | undefined;
}

const MAX_SCREENSHOT = 16 * 1024 * 1024;

export async function putDisk(transfers: Transfers, vdi: string, body: Body, { signal, onProgress }: Options): Promise<void> {
  // Writing the same content once more is as good as once: the disk is ours, and what an image does not allocate is not written at all.
  await transfers.session.attempt("PUT /import_raw_vdi", true, signal, async (login) => {
    const task = await openTask(transfers, login, `xenlayer: import of ${body.format}`, signal);
    try {
      const path = `/import_raw_vdi?${new URLSearchParams({ vdi, format: body.format, task_id: task.ref })}`;
      // A task that fails stops the sending.
      const broken = await send(transfers, login, path, body, task, onProgress).then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
      await task.settled(broken);
    } finally {
      await task.close();
    }
  });
}

export async function getDisk(transfers: Transfers, vdi: string, options: DiskRead): Promise<AsyncIterable<Uint8Array>> {
  const { session } = transfers;
  const { signal, format, base } = options;
  return session.attempt("GET /export_raw_vdi", true, signal, async (login) => {
    const exact = format === "raw" ? (options.size ?? Number(await login.rpc("VDI.get_virtual_size", [login.sessionId, vdi]))) : undefined;
    const task = await openTask(transfers, login, `xenlayer: export of ${format}`, signal);
    try {
      const path = `/export_raw_vdi?${new URLSearchParams({ vdi, format, ...(base === undefined ? {} : { base }), task_id: task.ref })}`;
      const reply = await exchange(transfers, login, "GET", path, undefined, task);
      if (reply.response.statusCode !== 200) {
        const error = refusedWith(reply);
        await task.settled({ error });
        throw error;
      }
      return receive(transfers, reply, task, exact, options, session.hold());
    } catch (error) {
      await task.close();
      throw error;
    }
  });
}

export async function screenshot(transfers: Transfers, vm: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  return transfers.session.attempt("GET /vncsnapshot", true, signal, async (login) => {
    const reply = await exchange(transfers, login, "GET", `/vncsnapshot?${new URLSearchParams({ ref: vm })}`, undefined, {
      stopped: signal ?? new AbortController().signal,
    });
    if (reply.response.statusCode !== 200) throw refusedWith(reply);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of reply.response as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > MAX_SCREENSHOT) throw new Failure(TRANSFER_FAILED, ["the picture is too large"]);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  });
}

interface TransferTask extends Guard {
  readonly ref: string;
  /** Settles when the task has ended. */
  readonly result: Promise<unknown>;
  /** Waits for the task's success. `broken` is what the connection said: it counts only when the task has nothing to say, or it is no failure of the connection. */
  settled(broken: { error: unknown } | undefined): Promise<void>;
  /** Cancels the task when it is still at work; leaves nothing of it. */
  close(): Promise<void>;
}

/** A task of ours: the one that the handler makes by itself is destroyed the moment it ends (xen-api server_helpers.ml exec_with_new_task), its error with it. */
async function openTask(transfers: Transfers, login: Login, name: string, signal: AbortSignal | undefined): Promise<TransferTask> {
  const { session, events, times } = transfers;
  const since = events.position;
  const ref = String(await login.rpc("task.create", [login.sessionId, name, ""]));
  const given = new AbortController();
  const giveUp = () => given.abort(signal?.reason);
  signal?.addEventListener("abort", giveUp);
  if (signal?.aborted) giveUp();
  const stopped = new AbortController();
  const stop = (reason: unknown) => stopped.abort(reason);
  let ended = false;
  const result = taskResult(session, events, ref, { method: name, since, signal: given.signal, times }).finally(() => {
    ended = true;
  });
  result.catch(stop);
  given.signal.addEventListener("abort", () => stop(given.signal.reason));
  if (given.signal.aborted) stop(given.signal.reason);
  const task: TransferTask = {
    ref,
    result,
    stopped: stopped.signal,
    settled: async (broken) => {
      if (broken === undefined) return void (await result);
      if (signal?.aborted) throw new CancelledError(name, { cause: signal.reason });
      const { error } = broken;
      if (!(error instanceof Failure)) throw error;
      // A host that has not begun says nothing through the task; one that has refused for lack of rights does.
      const code = meaning(error.code);
      if (!ended && (code?.unsent || code?.relogin)) throw error;
      await Promise.race([result, delay(times.settleMs, undefined, { ref: false })]);
      if (!ended) throw error;
    },
    close: async () => {
      signal?.removeEventListener("abort", giveUp);
      // One that no handler has taken up would stay pending for a day: only its owner can end it.
      if (!ended && !task.taken) await session.call("task.set_status", [ref, "cancelled"]).catch(() => undefined);
      given.abort(new CancelledError(name));
      await result.catch(() => undefined);
      await session.call("task.destroy", [ref]).catch(() => undefined);
    },
  };
  return task;
}

async function send(
  transfers: Transfers,
  login: Login,
  path: string,
  body: Body,
  task: TransferTask,
  onProgress: Options["onProgress"],
): Promise<void> {
  const reply = await exchange(transfers, login, "PUT", path, body.length, task);
  const { url, request, response } = reply;
  if (response.statusCode !== 200) throw refusedWith(reply);
  // A late failure is a second reply within this one; the task tells it in XAPI's words.
  let late = "";
  response.on("data", (chunk: Buffer) => {
    if (late.length < 64) late += chunk.toString("latin1", 0, 64);
  });
  const closed = new Promise<never>((_, reject) => {
    const end = (error?: Error) =>
      reject(late.startsWith("HTTP/") ? lateFailure(url, late) : (error ?? new Failure("ECONNRESET", [url.host])));
    request.once("error", end);
    response.once("error", end);
    response.once("close", () => end());
  });
  closed.catch(() => undefined);
  try {
    let sent = 0;
    for await (const chunk of body.stream(task.stopped)) {
      sent += chunk.length;
      if (sent > body.length) throw new Error(`the body gives more than the ${body.length} bytes that it promised`);
      if (!request.write(chunk)) await Promise.race([once(request, "drain"), closed]);
      task.stopped.throwIfAborted();
      onProgress?.(sent / body.length);
    }
    if (sent !== body.length) throw new Error(`the body gave ${sent} of the ${body.length} bytes that it promised`);
    // Sent is not received: until the task ends, a connection that breaks may have lost the rest. One that the host closes when it is done looks the same.
    request.end();
    await Promise.race([task.result, closed]);
  } catch (error) {
    discard(reply);
    task.stopped.throwIfAborted();
    throw networkFailure(url, error);
  }
}

function lateFailure(url: URL, reply: string): Failure {
  return new Failure(TRANSFER_FAILED, [`${url.host}: ${reply.split("\r\n")[0]}`]);
}

async function* receive(
  transfers: Transfers,
  reply: Reply,
  task: TransferTask,
  exact: number | undefined,
  options: DiskRead,
  release: () => void,
): AsyncGenerator<Uint8Array> {
  const { url, response } = reply;
  const { format, maxBytes = Number.POSITIVE_INFINITY, onProgress } = options;
  const vhd = format === "vhd" ? new VhdLength() : undefined;
  let expected = exact;
  let got = 0;
  let broken: { error: unknown } | undefined;
  try {
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        // xen-api#4603: what goes wrong after the header is a second reply in the body.
        if (got === 0 && chunk.toString("latin1", 0, 5) === "HTTP/") throw lateFailure(url, chunk.toString("latin1", 0, 64));
        got += chunk.length;
        const length = vhd?.push(chunk) ?? expected;
        if (typeof length === "string") throw new Failure(TRANSFER_FAILED, [`${url.host} did not send a VHD: ${length}`]);
        expected = length;
        const limit = Math.min(maxBytes, expected ?? maxBytes);
        if (got > limit) throw new Failure(TRANSFER_FAILED, [`${url.host} sent more than the ${limit} bytes that there can be`]);
        yield chunk;
        if (expected !== undefined) onProgress?.(got / expected);
      }
      if (got !== expected) throw new Failure(TRANSFER_INCOMPLETE, [`${got} of ${expected ?? "?"} bytes came`]);
    } catch (error) {
      broken = { error: networkFailure(url, error) };
    }
    await task.settled(broken);
    if (broken !== undefined) throw broken.error;
  } catch (error) {
    throw error instanceof Failure ? transfers.session.explain("GET /export_raw_vdi", error, true) : error;
  } finally {
    discard(reply);
    await task.close();
    release();
  }
}
