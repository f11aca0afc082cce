import { describe, expect, test } from "vitest";
import { detachAllFromDom0 } from "../dom0.ts";
import { BLOCK } from "../storage/disk.ts";
import { contentOf, diskOf, hosts, isOver, makeVdi, newTask, noise, outcome, pool, put, request, session, sr, Wire } from "./testing.ts";

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
