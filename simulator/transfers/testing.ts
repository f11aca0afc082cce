// For the tests of transfers: two hosts of a pool with nothing but these handlers, and a client that sees every byte. Importing it sets them up around each test.
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { steppedClock } from "../clock.ts";
import type { Pool } from "../context.ts";
import { Database } from "../database.ts";
import { Dispatcher } from "../dispatch.ts";
import { Domains } from "../domains.ts";
import { Events } from "../events.ts";
import { Faults } from "../faults.ts";
import { Log } from "../log.ts";
import { Server } from "../server.ts";
import { Sessions } from "../sessions.ts";
import { DiskStore } from "../storage/disk.ts";
import { Tasks } from "../tasks.ts";
import { transfers } from "../transfers.ts";

export const GiB = 1024 ** 3;
const clock = () => steppedClock({ start: Date.UTC(2026, 0, 1) });

export let dir: string;
export let pool: Pool & { clock: ReturnType<typeof clock> };
let servers: Server[];
export let ports: Map<string, number>;
export let hosts: string[];
export let sr: string;
export let session: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "xapi-transfers-"));
  const db = new Database({ seed: 1 });
  const sessions = new Sessions(db);
  const time = clock();
  ports = new Map();
  pool = {
    db,
    clock: time,
    storage: new DiskStore(join(dir, "disks")),
    domains: new Domains(() => pool),
    sessions,
    tasks: new Tasks(db, time),
    events: new Events(db, sessions),
    faults: new Faults(),
    log: new Log(),
    password: "secret",
    workDir: dir,
    guestLog: [],
    endpoint: (host) => ({ authority: `127.0.0.1:${ports.get(host)}`, tls: false }),
  };
  hosts = ["one", "two"].map((name) => {
    const host = db.create("host", { name_label: name, address: "127.0.0.1" });
    db.update("host", host, { control_domain: db.create("VM", { is_control_domain: true, power_state: "Running", resident_on: host }) });
    return host;
  });
  db.create("pool", { master: hosts[0] ?? "" });
  sr = db.create("SR", { type: "ext", physical_size: 500 * GiB });
  db.create("PBD", { SR: sr, host: hosts[0] ?? "", currently_attached: true });
  servers = hosts.map(
    (host) =>
      new Server(host, {
        pool,
        dispatcher: new Dispatcher(pool, {}),
        actions: transfers,
        admin: async () => {},
        tls: undefined,
        latencyMs: 0,
      }),
  );
  for (const [index, server] of servers.entries()) {
    ports.set(hosts[index] ?? "", await server.listen(0, "127.0.0.1"));
  }
  session = login("root");
});

afterEach(async () => {
  await Promise.all(servers.map((server) => server.close()));
  pool.storage.close();
  rmSync(dir, { recursive: true });
});

function login(user: string): string {
  return pool.sessions.login({ host: hosts[0] ?? "", user, password: "secret", expected: "secret", originator: "test" });
}

export function makeVdi(size: number, fields: object = {}): string {
  const vdi = pool.db.create("VDI", { SR: sr, virtual_size: size, type: "user", ...fields });
  pool.storage.create(pool.db.get("VDI", vdi).uuid, size);
  return vdi;
}

export const diskOf = (vdi: string) => pool.storage.open(pool.db.get("VDI", vdi).uuid);
export const contentOf = (vdi: string) => Buffer.from(diskOf(vdi).read(0, diskOf(vdi).size));
export const newTask = () => pool.tasks.create({ label: "a client's own", host: hosts[0] ?? "", session });
export const outcome = (task: string) => {
  const { status, result, error_info } = pool.db.get("task", task);
  return status === "success" ? [status, result] : [status, ...error_info];
};
export const isOver = (task: string) => expect.poll(() => pool.db.get("task", task).status).not.toBe("pending");

/** A client that sees every byte: what is sent, and what has come back so far. */
export class Wire {
  received = Buffer.alloc(0);
  readonly ended: Promise<void>;
  private readonly socket: net.Socket;

  constructor(host = 0) {
    this.socket = net.connect({ port: ports.get(hosts[host] ?? "") ?? 0, host: "127.0.0.1", allowHalfOpen: true });
    this.socket.on("data", (data) => {
      this.received = Buffer.concat([this.received, data]);
    });
    this.socket.on("error", () => {}); // a reset shows in what was received
    this.ended = new Promise((resolve) => {
      this.socket.once("end", resolve);
      this.socket.once("close", resolve);
    });
  }

  send(data: string | Uint8Array): void {
    this.socket.write(data);
  }

  end(): void {
    this.socket.end();
  }

  async until(text: string): Promise<void> {
    await expect.poll(() => this.received.includes(text)).toBe(true);
  }

  get status(): string {
    return this.received.toString("latin1", 0, this.received.indexOf("\r\n"));
  }

  header(name: string): string | undefined {
    const head = this.received.toString("latin1", 0, this.received.indexOf("\r\n\r\n"));
    return new RegExp(`^${name}: (.*)$`, "im").exec(head)?.[1]?.trim();
  }

  get body(): Buffer {
    return this.received.subarray(this.received.indexOf("\r\n\r\n") + 4);
  }
}

export async function request(
  method: string,
  target: string,
  options: { body?: Uint8Array; headers?: string; host?: number; version?: string } = {},
): Promise<Wire> {
  const wire = new Wire(options.host);
  const length = options.body && options.version !== "1.0" ? `Content-Length: ${options.body.length}\r\n` : "";
  wire.send(`${method} ${target} HTTP/${options.version ?? "1.1"}\r\nHost: x\r\n${length}${options.headers ?? ""}\r\n`);
  if (options.body) {
    wire.send(options.body);
  }
  if (options.version === "1.0") {
    wire.end();
  }
  await wire.ended;
  return wire;
}

export const put = (query: string, body: Uint8Array, headers = "") =>
  request("PUT", `/import_raw_vdi?session_id=${session}&${query}`, { body, headers });
export const get = (query: string, host = 0) => request("GET", `/export_raw_vdi?session_id=${session}&${query}`, { host });

export function noise(length: number, seed = 1): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0, x = seed; at < length; at++) {
    x = (x * 1103515245 + 12345) & 0x7fffffff;
    data[at] = x >> 16;
  }
  return data;
}
