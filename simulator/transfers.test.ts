import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { steppedClock } from "./clock.ts";
import type { Pool } from "./context.ts";
import { Database } from "./database.ts";
import { Dispatcher } from "./dispatch.ts";
import { detachAllFromDom0 } from "./dom0.ts";
import { Domains } from "./domains.ts";
import { Events } from "./events.ts";
import { Faults } from "./faults.ts";
import { Log } from "./log.ts";
import { Server } from "./server.ts";
import { Sessions } from "./sessions.ts";
import { BLOCK, DiskStore } from "./storage/disk.ts";
import { missingPrograms } from "./storage/testing.ts";
import { Tasks } from "./tasks.ts";
import { transfers } from "./transfers.ts";

const GiB = 1024 ** 3;
const run = promisify(execFile);
const clock = () => steppedClock({ start: Date.UTC(2026, 0, 1) });

let dir: string;
let pool: Pool & { clock: ReturnType<typeof clock> };
let servers: Server[];
let ports: Map<string, number>;
let hosts: string[];
let sr: string;
let session: string;

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

function makeVdi(size: number, fields: object = {}): string {
  const vdi = pool.db.create("VDI", { SR: sr, virtual_size: size, type: "user", ...fields });
  pool.storage.create(pool.db.get("VDI", vdi).uuid, size);
  return vdi;
}

const diskOf = (vdi: string) => pool.storage.open(pool.db.get("VDI", vdi).uuid);
const contentOf = (vdi: string) => Buffer.from(diskOf(vdi).read(0, diskOf(vdi).size));
const newTask = () => pool.tasks.create({ label: "a client's own", host: hosts[0] ?? "", session });
const outcome = (task: string) => {
  const { status, result, error_info } = pool.db.get("task", task);
  return status === "success" ? [status, result] : [status, ...error_info];
};
const isOver = (task: string) => expect.poll(() => pool.db.get("task", task).status).not.toBe("pending");

/** A client that sees every byte: what is sent, and what has come back so far. */
class Wire {
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

async function request(
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

const put = (query: string, body: Uint8Array, headers = "") =>
  request("PUT", `/import_raw_vdi?session_id=${session}&${query}`, { body, headers });
const get = (query: string, host = 0) => request("GET", `/export_raw_vdi?session_id=${session}&${query}`, { host });

function noise(length: number, seed = 1): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0, x = seed; at < length; at++) {
    x = (x * 1103515245 + 12345) & 0x7fffffff;
    data[at] = x >> 16;
  }
  return data;
}

describe("an import", () => {
  test("is answered with 200 and the task before any of its body has been sent", async () => {
    const vdi = makeVdi(BLOCK);
    const task = newTask();
    const wire = new Wire();
    wire.send(`PUT /import_raw_vdi/?session_id=${session}&vdi=${vdi}&task_id=${task} HTTP/1.1\r\nContent-Length: 4\r\n\r\n`);
    await wire.until("\r\n\r\n");
    expect([wire.status, wire.header("task-id"), wire.header("content-length"), wire.header("connection")]).toEqual([
      "HTTP/1.1 200 OK",
      task,
      undefined,
      "close",
    ]);
    expect(outcome(task)).toEqual(["pending"]);
    wire.send("data");
    await wire.ended;
    expect(outcome(task)).toEqual(["success", `<value>${vdi}</value>`]);
    expect(contentOf(vdi).toString("latin1", 0, 5)).toBe("data\0");
  });

  test("takes a uuid, cookies and Basic authorization, and makes its own task", async () => {
    const vdi = makeVdi(BLOCK);
    const { uuid } = pool.db.get("VDI", vdi);
    const login = Buffer.from("root:secret").toString("base64");
    const wire = await request("PUT", "/import_raw_vdi", {
      body: Buffer.from("abc"),
      headers: `Cookie: vdi=${uuid}; format=RAW\r\nAuthorization: Basic ${login}\r\n`,
    });
    const task = wire.header("task-id") ?? "";
    expect(pool.db.get("task", task).name_label).toBe("Importing raw VDI");
    expect(outcome(task)).toEqual(["success", `<value>${vdi}</value>`]);
    expect(contentOf(vdi).toString("latin1", 0, 3)).toBe("abc");
  });

  test("leaves zeros unallocated, and accounts for what it wrote", async () => {
    const vdi = makeVdi(8 * BLOCK);
    const data = Buffer.alloc(8 * BLOCK);
    noise(1000).copy(data, 5 * BLOCK - 100);
    await put(`vdi=${vdi}`, data);
    expect(contentOf(vdi).equals(data)).toBe(true);
    expect([pool.db.get("VDI", vdi).physical_utilisation, pool.db.get("SR", sr).physical_utilisation]).toEqual([2 * BLOCK, 2 * BLOCK]);
    await put(`vdi=${vdi}`, Buffer.alloc(8 * BLOCK));
    expect(contentOf(vdi).every((byte) => byte === 0)).toBe(true);
  });

  test("without a length is read to the end of the connection (HTTP/1.0), and must fill the VDI", async () => {
    const vdi = makeVdi(BLOCK);
    const data = noise(BLOCK);
    const [whole, short] = [newTask(), newTask()];
    const target = (task: string) => `/import_raw_vdi?session_id=${session}&vdi=${vdi}&task_id=${task}`;
    await request("PUT", target(whole), { body: data, version: "1.0" });
    await isOver(whole);
    expect(outcome(whole)[0]).toBe("success");
    expect(contentOf(vdi).equals(data)).toBe(true);
    await request("PUT", target(short), { body: data.subarray(1), version: "1.0" });
    await isOver(short);
    expect(outcome(short)).toEqual(["failure", "VDI_IO_ERROR", "Device I/O errors"]);
  });

  test("of nothing, as npm xen-api sends it first, leaves the VDI alone", async () => {
    const vdi = makeVdi(BLOCK);
    diskOf(vdi).write(0, Buffer.from("kept"));
    const wire = await put(`vdi=${vdi}`, new Uint8Array(0));
    expect(wire.status).toBe("HTTP/1.1 200 OK");
    expect(contentOf(vdi).toString("latin1", 0, 4)).toBe("kept");
  });

  test("that announces 1 PiB and then stops has written what it sent, and fails", async () => {
    const vdi = makeVdi(BLOCK);
    const task = newTask();
    const wire = new Wire();
    wire.send(`PUT /import_raw_vdi?session_id=${session}&vdi=${vdi}&task_id=${task} HTTP/1.1\r\nContent-Length: 1125899906842624\r\n\r\n`);
    wire.send(noise(BLOCK));
    wire.end();
    await wire.ended;
    expect(outcome(task)).toEqual(["failure", "VDI_IO_ERROR", "Device I/O errors"]);
    expect(contentOf(vdi).equals(noise(BLOCK))).toBe(true);
  });

  test("longer than the VDI fails in the task, and says so in a second reply within the first one's body", async () => {
    const vdi = makeVdi(BLOCK);
    const task = newTask();
    const wire = await put(`vdi=${vdi}&task_id=${task}`, noise(BLOCK + 1));
    expect(wire.status).toBe("HTTP/1.1 200 OK");
    expect(wire.body.toString()).toMatch(/^HTTP\/1\.1 500 Internal Error\r\n/);
    expect(outcome(task)).toEqual(["failure", "VDI_IO_ERROR", "Device I/O errors"]);
  });

  test("in xapi's own chunks is written where they say", async () => {
    const vdi = makeVdi(2 * BLOCK);
    const task = newTask();
    const chunk = (offset: number, data: string) => {
      const head = Buffer.alloc(12);
      head.writeBigUInt64LE(BigInt(offset), 0);
      head.writeUInt32LE(data.length, 8);
      return Buffer.concat([head, Buffer.from(data)]);
    };
    await put(`vdi=${vdi}&task_id=${task}&chunked=true`, Buffer.concat([chunk(BLOCK - 2, "abcd"), chunk(7, "x"), Buffer.alloc(12)]));
    expect(outcome(task)[0]).toBe("success");
    expect([contentOf(vdi).toString("latin1", BLOCK - 2, BLOCK + 2), contentOf(vdi).toString("latin1", 7, 8)]).toEqual(["abcd", "x"]);
    const outside = newTask();
    await put(`vdi=${vdi}&task_id=${outside}&chunked=true`, Buffer.concat([chunk(2 * BLOCK, "x"), Buffer.alloc(12)]));
    expect(outcome(outside)).toEqual(["failure", "VDI_IO_ERROR", "Device I/O errors"]);
  });

  test.each([
    ["neither vdi nor sr", "format=raw", "", 400, ["VDI_MISSING"]],
    ["an unknown format", "vdi=VDI&format=vmdk", "", 404, ["INTERNAL_ERROR", "Unknown format vmdk"]],
    ["chunks of a VHD", "vdi=VDI&format=vhd&chunked", "", 404, ["INTERNAL_ERROR", "Cannot handle chunked VHD"]],
    ["a Transfer-Encoding", "vdi=VDI", "Transfer-Encoding: chunked\r\n", 404, ["INTERNAL_ERROR", "Cannot handle encoding: chunked"]],
    [
      "a VHD straight into an SR",
      "sr_id=SR&format=vhd",
      "",
      400,
      ["INTERNAL_ERROR", "Cannot import vhd without Content-Length straight into an SR"],
    ],
    ["qcow2, which is not simulated", "vdi=VDI&format=qcow2", "", 500, ["NOT_IMPLEMENTED", "PUT /import_raw_vdi with format=qcow2"]],
    ["a VDI that is not there", "vdi=OpaqueRef:none", "", 500, ["HANDLE_INVALID", "VDI", "OpaqueRef:none"]],
  ])("of %s is refused before the body", async (_name, query, headers, status, error) => {
    const task = newTask();
    const filled = query.replace("VDI", makeVdi(BLOCK)).replace("SR", sr);
    const wire = await put(`${filled}&task_id=${task}`, Buffer.from("x"), headers);
    expect(wire.status).toMatch(`HTTP/1.1 ${status} `);
    expect(outcome(task)).toEqual(["failure", ...error]);
  });

  test("straight into an SR makes a VDI of its length", async () => {
    const task = newTask();
    const sending = put(`sr_id=${sr}&task_id=${task}`, noise(3 * BLOCK));
    await expect.poll(() => pool.clock.advance(1000).then(() => pool.db.all("VDI").length)).toBe(1);
    await sending;
    const [vdi = ""] = pool.db.refs("VDI");
    expect(outcome(task)).toEqual(["success", `<value>${vdi}</value>`]);
    expect([pool.db.get("VDI", vdi).name_label, contentOf(vdi).equals(noise(3 * BLOCK))]).toEqual(["Imported VDI", true]);
  });

  test("into a read-only VDI is refused", async () => {
    const vdi = makeVdi(BLOCK, { read_only: true });
    const task = newTask();
    await put(`vdi=${vdi}&task_id=${task}`, Buffer.from("x"));
    expect(outcome(task)).toEqual(["failure", "VDI_READONLY", vdi]);
  });

  test("stops when the SR has no block left", async () => {
    pool.db.update("SR", sr, { physical_size: 3 * BLOCK });
    const vdi = makeVdi(8 * BLOCK);
    const task = newTask();
    await put(`vdi=${vdi}&task_id=${task}`, noise(8 * BLOCK));
    expect(outcome(task)).toEqual(["failure", "VDI_IO_ERROR", "Device I/O errors"]);
    expect(pool.db.get("SR", sr).physical_utilisation).toBeLessThanOrEqual(4 * BLOCK);
  });

  test("whose task is cancelled ends, though the client sends nothing more", async () => {
    const vdi = makeVdi(BLOCK);
    const task = newTask();
    const wire = new Wire();
    wire.send(`PUT /import_raw_vdi?session_id=${session}&vdi=${vdi}&task_id=${task} HTTP/1.1\r\nContent-Length: 1000\r\n\r\nbegin`);
    await wire.until("\r\n\r\n");
    pool.tasks.cancel(task);
    await wire.ended;
    await isOver(task);
    expect(outcome(task)).toEqual(["cancelled"]);
  });

  test("shows as a VBD of dom0 while it lasts and a moment longer", async () => {
    const vdi = makeVdi(BLOCK);
    const vbds = () => pool.db.get("VDI", vdi).VBDs.map((vbd) => pool.db.get("VBD", vbd));
    const wire = new Wire();
    wire.send(`PUT /import_raw_vdi?session_id=${session}&vdi=${vdi} HTTP/1.1\r\nContent-Length: 1\r\n\r\n`);
    await wire.until("\r\n\r\n");
    expect(vbds().map(({ VM, mode, currently_attached }) => [pool.db.get("VM", VM).is_control_domain, mode, currently_attached])).toEqual([
      [true, "RW", true],
    ]);
    wire.send("x");
    await wire.ended;
    expect(vbds()).toHaveLength(1);
    await pool.clock.advance(1000);
    expect(vbds()).toEqual([]);
  });

  test("that a dead process was at is cleared away when the hosts start", async () => {
    const vdi = makeVdi(BLOCK);
    const vbd = pool.db.create("VBD", {
      VM: pool.db.get("host", hosts[0] ?? "").control_domain,
      VDI: vdi,
      other_config: { task_id: "OpaqueRef:old" },
    });
    detachAllFromDom0(pool);
    expect([pool.db.has("VBD", vbd), pool.db.get("VDI", vdi).VBDs]).toEqual([false, []]);
  });
});

describe("an export", () => {
  test("of raw data is the whole disk, without a length, ended by the close", async () => {
    const vdi = makeVdi(3 * BLOCK + 512);
    diskOf(vdi).write(BLOCK + 5, noise(5000));
    const task = newTask();
    const wire = await get(`vdi=${vdi}&task_id=${task}`);
    expect([wire.status, wire.header("content-type"), wire.header("content-length"), wire.header("task-id")]).toEqual([
      "HTTP/1.1 200 OK",
      "application/octet-stream",
      undefined,
      task,
    ]);
    expect(wire.header("content-disposition")).toBe(`attachment; filename="${pool.db.get("VDI", vdi).uuid}.raw"`);
    expect(wire.body.equals(contentOf(vdi))).toBe(true);
    expect(outcome(task)).toEqual(["success", ""]);
  });

  test("as VHD relative to a base puts a copy of that base right", async () => {
    const base = makeVdi(4 * BLOCK);
    diskOf(base).write(0, noise(3 * BLOCK));
    const { uuid } = pool.db.get("VDI", base);
    const child = pool.db.create("VDI", { SR: sr, virtual_size: 4 * BLOCK });
    pool.storage.clone(uuid, pool.db.get("VDI", child).uuid);
    diskOf(child).write(2 * BLOCK, noise(512, 7));
    const copy = makeVdi(4 * BLOCK);
    for (const _ of pool.storage.copyBlocks(uuid, pool.db.get("VDI", copy).uuid)) {
      // to the end
    }
    const wire = await get(`vdi=${child}&format=vhd&base=${uuid}`);
    expect(wire.body.length).toBe(2048 + 512 + 512 + BLOCK + 512);
    await put(`vdi=${copy}&format=vhd`, wire.body);
    expect(contentOf(copy).equals(contentOf(child))).toBe(true);
    const raw = await get(`vdi=${child}&base=${uuid}`);
    expect([raw.body.length, raw.body.subarray(0, 2 * BLOCK).every((byte) => byte === 0)]).toEqual([4 * BLOCK, true]);
    expect(raw.body.subarray(2 * BLOCK, 3 * BLOCK).equals(contentOf(child).subarray(2 * BLOCK, 3 * BLOCK))).toBe(true);
  });

  test.each([
    ["no VDI", "format=raw", 500, ["VDI_MISSING"]],
    ["an unknown format", "vdi=VDI&format=iso", 404, ["INTERNAL_ERROR", "Unknown format iso"]],
    ["tar, which is not simulated", "vdi=VDI&format=tar", 500, ["NOT_IMPLEMENTED", "GET /export_raw_vdi with format=tar"]],
    ["a base that is not there", "vdi=VDI&format=vhd&base=nobody", 500, ["HANDLE_INVALID", "VDI", "nobody"]],
  ])("of %s is refused before the body", async (_name, query, status, error) => {
    const task = newTask();
    const wire = await get(`${query.replace("VDI", makeVdi(BLOCK))}&task_id=${task}`);
    expect(wire.status).toMatch(`HTTP/1.1 ${status} `);
    expect(outcome(task)).toEqual(["failure", ...error]);
  });

  test("of a disk that a running VM writes to is refused; of one beyond what VHD holds too", async () => {
    const vdi = makeVdi(BLOCK);
    const vm = pool.db.create("VM", { power_state: "Running", is_control_domain: false });
    pool.db.create("VBD", { VM: vm, VDI: vdi, mode: "RW", currently_attached: true });
    const [inUse, large] = [newTask(), newTask()];
    await get(`vdi=${vdi}&task_id=${inUse}`);
    expect(outcome(inUse)).toEqual(["failure", "VDI_IN_USE", vdi, "copy"]);
    const huge = makeVdi(2041 * GiB);
    await get(`vdi=${huge}&format=vhd&task_id=${large}`);
    expect(outcome(large)).toEqual(["failure", "VDI_TOO_LARGE", huge, String(2040 * GiB)]);
  });
});

describe("another host", () => {
  test("sends the client to one that has the SR, with the same query, and leaves the task to it", async () => {
    const vdi = makeVdi(BLOCK);
    const task = newTask();
    const query = `session_id=${session}&vdi=${vdi}&task_id=${task}&format=raw`;
    const wire = await request("PUT", `/import_raw_vdi?${query}`, { host: 1, body: Buffer.from("x") });
    expect([wire.status, wire.header("location")]).toEqual([
      "HTTP/1.1 302 Found",
      `http://127.0.0.1:${ports.get(hosts[0] ?? "")}/import_raw_vdi?${query}`,
    ]);
    expect(outcome(task)).toEqual(["pending"]);
  });

  test("can't help where no host has the SR plugged", async () => {
    const vdi = makeVdi(BLOCK);
    for (const pbd of pool.db.get("SR", sr).PBDs) {
      pool.db.update("PBD", pbd, { currently_attached: false });
    }
    const task = newTask();
    const wire = await get(`vdi=${vdi}&task_id=${task}`, 1);
    expect(wire.status).toMatch("HTTP/1.1 500 ");
    expect(outcome(task)).toEqual(["failure", "SR_HAS_NO_PBDS", sr]);
  });
});

describe("a fault on order", () => {
  test("cuts an import after so many bytes, and the task fails", async () => {
    const vdi = makeVdi(BLOCK);
    const task = newTask();
    pool.faults.add({ message: "PUT /import_raw_vdi", cut: { afterBytes: 100_000 } });
    await put(`vdi=${vdi}&task_id=${task}`, noise(BLOCK));
    await isOver(task);
    expect(outcome(task)[0]).toBe("failure");
    expect(contentOf(vdi).subarray(0, 100_000).equals(noise(100_000))).toBe(true);
    expect(
      contentOf(vdi)
        .subarray(100_000)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  test("ends an export after so many bytes, which looks like its end: only the task tells", async () => {
    const vdi = makeVdi(2 * BLOCK);
    diskOf(vdi).write(0, noise(2 * BLOCK));
    const task = newTask();
    pool.faults.add({ message: "GET /export_raw_vdi", cut: { afterBytes: 3_000_000 } });
    const wire = await get(`vdi=${vdi}&task_id=${task}`);
    expect(wire.body.equals(noise(3_000_000))).toBe(true);
    await isOver(task);
    expect(outcome(task)[0]).toBe("failure");
  });
});

const missing = missingPrograms(["curl", "qemu-img"]);
describe.skipIf(missing.length > 0)("curl and qemu-img", () => {
  test("import what qemu-img made, export it, and find it equal", async () => {
    const size = 64 * BLOCK;
    const raw = Buffer.alloc(size);
    noise(3 * BLOCK).copy(raw, 5 * BLOCK + 777);
    writeFileSync(join(dir, "in.raw"), raw);
    const inDir = { cwd: dir };
    await run("qemu-img", ["convert", "-O", "vpc", "-o", "subformat=dynamic,force_size=on", "in.raw", "in.vhd"], inDir);
    const url = (action: string, query: string) => `http://127.0.0.1:${ports.get(hosts[0] ?? "")}/${action}?session_id=${session}&${query}`;
    const fromVhd = makeVdi(size);
    const fromRaw = makeVdi(size);
    await run("curl", ["-sS", "-T", "in.vhd", url("import_raw_vdi", `vdi=${fromVhd}&format=vhd`)], inDir);
    await run("curl", ["-sS", "-T", "in.raw", url("import_raw_vdi", `vdi=${fromRaw}`)], inDir);
    await run("curl", ["-sS", "-o", "out.vhd", url("export_raw_vdi", `vdi=${fromRaw}&format=vhd`)], inDir);
    await run("curl", ["-sS", "-o", "out.raw", url("export_raw_vdi", `vdi=${fromVhd}`)], inDir);
    expect(readFileSync(join(dir, "out.raw")).equals(raw)).toBe(true);
    const { stdout } = await run("qemu-img", ["compare", "-f", "raw", "-F", "vpc", "in.raw", "out.vhd"], inDir);
    expect(stdout).toContain("identical");
    expect(readFileSync(join(dir, "out.vhd")).length).toBe(2048 + 512 + 4 * (512 + BLOCK) + 512);
  });
});
