/**
 * HTTP as xapi's own server speaks it (xen-api ocaml/libs/http-lib/http_svr.ml): one parser for HTTP/1.0 and 1.1 over a plain or TLS socket. Node's server is not
 * used because XAPI's transfers need what it can't do: a reply that is sent before the body is read, a PUT of HTTP/1.0 without a length that ends with the socket,
 * a second reply written into the stream, and CONNECT.
 */
import type { Duplex } from "node:stream";
import { type HttpReply, REASONS, Reply } from "./httpReply.ts";

/** xapi-consts/constants.ml: the request line and all headers together. */
const MAX_HEAD = 1024;
const HEAD_TIMEOUT = 60_000;

export interface HttpRequest {
  readonly method: string;
  /** Path without the query, decoded. */
  readonly path: string;
  /** The query as sent, without "?"; for redirects. */
  readonly search: string;
  /** A repeated key is joined with "," (http.ml). */
  readonly query: Readonly<Record<string, string>>;
  readonly version: "1.0" | "1.1";
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Split at ";" or "&". */
  readonly cookies: Readonly<Record<string, string>>;
  /** Content-Length, where it was sent. */
  readonly length: number | undefined;
  /** Reads the body as it comes, with back-pressure: Content-Length bytes, or up to `limit`, or until the client closes its side. May be called once. */
  body(limit?: number): AsyncIterable<Buffer>;
  readonly socket: Duplex;
}

class BadRequest extends Error {
  readonly status: number;
  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

const METHODS = new Set(["GET", "PUT", "POST", "OPTIONS", "CONNECT", "HEAD"]);

/** Serves the requests of one connection, one after another, until either side closes it. */
export async function serveConnection(socket: Duplex, handle: (request: HttpRequest, reply: HttpReply) => Promise<void>): Promise<void> {
  socket.on("error", () => {}); // a client that goes away shows in reads and writes
  const reader = new Reader(socket);
  const timer = setTimeout(() => socket.destroy(), HEAD_TIMEOUT);
  try {
    for (;;) {
      timer.refresh();
      const head = await reader.head();
      if (!head) return;
      clearTimeout(timer);
      const reply = new Reply(socket);
      let request: Request;
      try {
        request = new Request(head, reader, socket);
      } catch (error) {
        const status = error instanceof BadRequest ? error.status : 400;
        await reply.send(status, "text/html", `<h1>HTTP ${status} ${REASONS[status] ?? ""}</h1>`, { connection: "close" });
        return;
      }
      await handle(request, reply);
      if (!reply.keepAlive || !request.keepAlive || !(await request.drain())) return;
    }
  } catch (error) {
    if (error instanceof BadRequest && !socket.destroyed) {
      await new Reply(socket).send(error.status, "text/html", `<h1>HTTP ${error.status} ${REASONS[error.status] ?? ""}</h1>`, {
        connection: "close",
      });
    }
  } finally {
    clearTimeout(timer);
    if (!socket.destroyed) socket.end();
  }
}

/** Pulls bytes from the socket only when they are asked for. */
class Reader {
  private readonly socket: Duplex;
  private buffered: Buffer = Buffer.alloc(0);
  private ended = false;

  constructor(socket: Duplex) {
    this.socket = socket;
    socket.on("end", () => {
      this.ended = true;
    });
    socket.on("close", () => {
      this.ended = true;
    });
  }

  /** The next request's head, or undefined when the client closed the connection between requests. */
  async head(): Promise<string | undefined> {
    for (;;) {
      const end = this.buffered.indexOf("\r\n\r\n");
      if (end > MAX_HEAD || (end < 0 && this.buffered.length > MAX_HEAD)) throw new BadRequest(431, "head too long");
      if (end >= 0) {
        const head = this.buffered.subarray(0, end).toString("latin1");
        this.buffered = this.buffered.subarray(end + 4);
        return head;
      }
      const chunk = await this.chunk();
      if (!chunk) return undefined;
      this.buffered = Buffer.concat([this.buffered, chunk]);
    }
  }

  /** At most `limit` bytes, as they come; undefined at the end. */
  async read(limit: number): Promise<Buffer | undefined> {
    const chunk = this.buffered.length > 0 ? this.buffered : await this.chunk();
    if (!chunk) return undefined;
    this.buffered = chunk.length > limit ? chunk.subarray(limit) : Buffer.alloc(0);
    return chunk.length > limit ? chunk.subarray(0, limit) : chunk;
  }

  private async chunk(): Promise<Buffer | undefined> {
    for (;;) {
      const chunk = this.socket.read() as Buffer | null;
      if (chunk) return chunk;
      if (this.ended || this.socket.destroyed || this.socket.readableEnded) return undefined;
      await new Promise<void>((resolve) => {
        const done = () => {
          this.socket.off("readable", done);
          this.socket.off("end", done);
          this.socket.off("close", done);
          resolve();
        };
        this.socket.on("readable", done);
        this.socket.on("end", done);
        this.socket.on("close", done);
      });
    }
  }
}

class Request implements HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly search: string;
  readonly query: Readonly<Record<string, string>>;
  readonly version: "1.0" | "1.1";
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies: Readonly<Record<string, string>>;
  readonly length: number | undefined;
  readonly keepAlive: boolean;
  readonly socket: Duplex;
  private readonly reader: Reader;
  private left: number;

  constructor(head: string, reader: Reader, socket: Duplex) {
    const [first = "", ...rest] = head.split("\r\n");
    const parts = /^([A-Z]+) (\S+) HTTP\/(1\.[01])$/.exec(first);
    if (!parts) throw new BadRequest(400, "malformed request line");
    const [, method = "", target = "", version] = parts;
    if (!METHODS.has(method)) throw new BadRequest(501, "unknown method");
    const headers: Record<string, string> = {};
    for (const line of rest) {
      const colon = line.indexOf(":");
      if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
    }
    const [path = "", ...query] = target.replace(/^https?:\/\/[^/]*/, "").split("?");
    this.method = method;
    this.path = decode(path);
    this.search = query.join("?");
    this.query = pairs(this.search, "&");
    this.version = version === "1.0" ? "1.0" : "1.1";
    this.headers = headers;
    this.cookies = pairs((headers.cookie ?? "").replace(/\s/g, ""), /[;&]/);
    const length = headers["content-length"];
    this.length = length !== undefined && /^\d+$/.test(length) ? Number(length) : undefined;
    const connection = (headers.connection ?? "").toLowerCase();
    this.keepAlive = connection === "keep-alive" || (this.version === "1.1" && connection !== "close");
    this.reader = reader;
    this.socket = socket;
    this.left = this.length ?? 0;
  }

  async *body(limit?: number): AsyncIterable<Buffer> {
    const end = this.length ?? limit ?? Number.POSITIVE_INFINITY;
    this.left = end;
    while (this.left > 0) {
      const chunk = await this.reader.read(this.left);
      if (!chunk) return;
      this.left -= chunk.length;
      yield chunk;
    }
  }

  /** Skips what a handler left unread, so that the next request begins where it should; false where there is too much of it. */
  async drain(): Promise<boolean> {
    if (this.left > 1 << 20) return false;
    while (this.left > 0) {
      const chunk = await this.reader.read(this.left);
      if (!chunk) return false;
      this.left -= chunk.length;
    }
    return true;
  }
}

function pairs(text: string, separator: string | RegExp): Record<string, string> {
  const found: Record<string, string> = {};
  for (const pair of text.split(separator)) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    const key = decode(at < 0 ? pair : pair.slice(0, at));
    const value = at < 0 ? "" : decode(pair.slice(at + 1));
    found[key] = key in found ? `${found[key]},${value}` : value;
  }
  return found;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replace(/\+/g, " "));
  } catch {
    return text;
  }
}
