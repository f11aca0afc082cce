import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { BLOCK } from "../storage/disk.ts";
import { missingPrograms } from "../storage/testing.ts";
import {
  contentOf,
  dir,
  diskOf,
  GiB,
  get,
  hosts,
  isOver,
  makeVdi,
  newTask,
  noise,
  outcome,
  pool,
  ports,
  put,
  request,
  session,
  sr,
} from "./testing.ts";

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

const run = promisify(execFile);
const missing = missingPrograms(["curl", "qemu-img"]);
describe.skipIf(missing.length > 0)("curl and qemu-img", () => {
  test("import what qemu-img made, export it, and find it equal", async () => {
    const size = 16 * BLOCK;
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
