/** What goes back over a connection: whole replies, and those whose head is sent long before their end, or that end in the middle. */
import type { Duplex } from "node:stream";

export interface HttpReply {
  /** Sends the status line and headers; nothing else is added. Answers false when the client is gone. */
  head(status: number, headers?: Readonly<Record<string, string>>): void;
  /** Sends bytes of the body, waiting while the client is slow; rejects when it is gone. */
  write(data: Uint8Array | string): Promise<void>;
  /** Whole reply with an exact Content-Length. */
  send(status: number, contentType: string, body: string | Uint8Array, headers?: Readonly<Record<string, string>>): Promise<void>;
  /** Sends what is left and closes the connection. */
  close(): Promise<void>;
  /** Cuts the connection (RST where the system allows), as a failing network would. */
  cut(): void;
  readonly started: boolean;
  /** Bytes of the body written so far. */
  readonly written: number;
}

export const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  302: "Found",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  408: "Request Timeout",
  411: "Length Required",
  413: "Request Entity Too Large",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  501: "Method Not Implemented",
  503: "Service Unavailable",
};

export class Reply implements HttpReply {
  started = false;
  keepAlive = false;
  written = 0;
  private readonly socket: Duplex;

  constructor(socket: Duplex) {
    this.socket = socket;
  }

  head(status: number, headers: Readonly<Record<string, string>> = {}): void {
    this.started = true;
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value.replace(/[\r\n]/g, " ")}\r\n`);
    this.keepAlive = Object.entries(headers).some(([name, value]) => name.toLowerCase() === "connection" && value === "keep-alive");
    if (!this.socket.destroyed) this.socket.write(`HTTP/1.1 ${status} ${REASONS[status] ?? "Unknown"}\r\n${lines.join("")}\r\n`);
  }

  async write(data: Uint8Array | string): Promise<void> {
    if (this.socket.destroyed) throw new Error("the client closed the connection");
    this.written += data.length;
    if (this.socket.write(data)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.socket.off("drain", done);
        this.socket.off("close", done);
        resolve();
      };
      this.socket.on("drain", done);
      this.socket.on("close", done);
    });
    if (this.socket.destroyed) throw new Error("the client closed the connection");
  }

  async send(
    status: number,
    contentType: string,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    this.head(status, {
      connection: "keep-alive",
      "cache-control": "no-cache, no-store",
      "content-type": contentType,
      "content-length": String(bytes.length),
      ...headers,
    });
    await this.write(bytes);
  }

  async close(): Promise<void> {
    this.keepAlive = false;
    if (!this.socket.destroyed) await new Promise<void>((resolve) => this.socket.end(resolve));
  }

  cut(): void {
    const socket = this.socket as Duplex & { resetAndDestroy?: () => void };
    if (socket.resetAndDestroy) socket.resetAndDestroy();
    else socket.destroy();
  }
}
