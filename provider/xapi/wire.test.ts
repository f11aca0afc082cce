// The client against a simulated pool, which knows XAPI's rules better than a script of answers does.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { afterEach, describe, expect, test } from "vitest";
import { type Simulator, type SimulatorOptions, startSimulator } from "../../simulator/index.ts";
import { CancelledError, explain, XapiError } from "../errors.ts";
import { inspectImage, uploadBody } from "../image.ts";
import { type Connection, connect, disconnectAll, type Xapi } from "./client.ts";
import { type ClassName, parseRecord, schemas } from "./records.ts";

const MiB = 1024 * 1024;
let simulator: Simulator;
let xapi: Xapi;
let dir: string | undefined;

afterEach(async () => {
  await disconnectAll();
  expect(simulator.sessions()).toBe(0);
  await simulator.close();
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
  dir = undefined;
});

async function open(options: SimulatorOptions = {}, connection: Partial<Connection> = {}): Promise<void> {
  simulator = await startSimulator(options);
  xapi = await login(connection);
}
function login(connection: Partial<Connection> = {}): Promise<Xapi> {
  const { url, username, password } = simulator;
  return connect({ address: url, username, password, ...connection }, { sleep: async () => {} });
}
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error as XapiError,
  );
async function disk(virtual_size: number): Promise<string> {
  const [sr] = (await xapi.find("SR", { content_type: "user" })).filter(({ type }) => type !== "iso");
  return xapi.task("VDI.create", [
    {
      name_label: "disk",
      name_description: "",
      SR: sr?.$ref,
      virtual_size,
      type: "user",
      sharable: false,
      read_only: false,
      other_config: {},
    },
  ]);
}
const tasks = () => Object.keys(simulator.db.all("task")).length;
const calls = (from = 0) => simulator.log.slice(from).map(({ method }) => method);

describe("a pool", () => {
  test("is known after login, which is three calls", async () => {
    await open();
    expect(calls()).toEqual(["session.login_with_password", "pool.get_all_records", "host.get_all_records"]);
    expect(xapi.pool).toMatchObject({
      productBrand: "XenServer",
      productVersion: "8.4.0",
      apiVersion: "2.21",
      coordinator: { name: "xs1", address: "127.0.0.1" },
    });
    expect(await xapi.session()).toMatchObject({ is_local_superuser: true });
    expect(simulator.db.all("session").map(([, { originator }]) => originator)).toContain("xenlayer");
  });

  test.each(Object.keys(schemas).filter((cls) => cls !== "session") as ClassName[])("has %s records as they are read here", async (cls) => {
    await open();
    for (const record of await xapi.all(cls)) expect(await xapi.get(cls, record.uuid)).toEqual(record);
    const fields = Object.keys(simulator.db.all(cls)[0]?.[1] ?? schemas[cls].shape);
    expect(Object.keys(schemas[cls].shape).filter((field) => !fields.includes(field))).toEqual([]);
  });

  test("that speaks TLS is trusted by its CA, or by its fingerprint", async () => {
    simulator = await startSimulator({ tls: true });
    await login({ tls: { fingerprints: [simulator.fingerprint ?? ""] } });
    await login({ tls: { caCertificate: simulator.ca } });
  });

  test("does not take a wrong password, and says so once", async () => {
    simulator = await startSimulator();
    const error = await failure(login({ password: "not the password" }));
    expect(explain(error)).toMatch(/SESSION_AUTHENTICATION_FAILED.*wrong username or password/);
    expect(explain(error)).not.toContain("not the password");
    expect(simulator.log).toHaveLength(1);
  });

  test("is reached through a member, and again when its coordinator has moved", async () => {
    simulator = await startSimulator({ pool: "ha" });
    const { port } = new URL(simulator.url);
    xapi = await login({ address: [`http://127.0.0.3:${port}`] });
    expect(xapi.pool.coordinator.name).toBe("xs1");
    // Sessions are not among what a new coordinator takes over (xen-api datamodel.ml, PersistNothing).
    simulator.moveCoordinator();
    expect((await xapi.all("host")).map(({ name_label }) => name_label).sort()).toEqual(["xs1", "xs2", "xs3"]);
    expect(xapi.pool.coordinator.name).toBe("xs2");
  });

  test("tells what a role may do", async () => {
    await open({}, { username: "vm-operator" });
    const session = await xapi.session();
    expect(session.is_local_superuser).toBe(false);
    expect(await failure(disk(MiB))).toMatchObject({ code: "RBAC_PERMISSION_DENIED" });
  });
});

describe("an object", () => {
  test("is found by name, type and state, whatever stands in its name", async () => {
    await open();
    const name = 'Ünïcode "quoted" \\ disk';
    const ref = await disk(2 * MiB);
    await xapi.call("VDI.set_name_label", ref, name);
    expect((await xapi.find("VDI", { name_label: name })).map(({ $ref }) => $ref)).toEqual([ref]);
    await xapi.call("VDI.set_name_label", ref, "Ünïcode");
    expect((await xapi.find("VDI", { name_label: "Ünïcode", is_a_snapshot: false })).map(({ $ref }) => $ref)).toEqual([ref]);
    expect(await xapi.find("VM", { is_default_template: true, power_state: "Halted" })).not.toEqual([]);
    const record = await xapi.record("VDI", ref);
    expect(record).toMatchObject({ virtual_size: 2 * MiB, VBDs: [] });
    expect(await xapi.get("VDI", "no-such-uuid")).toBeUndefined();
  });

  test("is destroyed, and being gone is as good", async () => {
    await open();
    const ref = await disk(2 * MiB);
    await xapi.destroy("VDI", ref);
    await xapi.destroy("VDI", ref);
    expect(await xapi.record("VDI", ref)).toBeUndefined();
    expect(tasks()).toBe(0);
  });

  test("whose record has what we do not expect is refused by name of the field", () => {
    expect(() => parseRecord("PBD", "OpaqueRef:x", { uuid: 1 })).toThrow(/uuid/);
  });
});

describe("work on the pool", () => {
  test("goes on when its session has ended, and is done once when that is safe", async () => {
    await open();
    simulator.expireSessions();
    const ref = await disk(2 * MiB);
    expect(await xapi.record("VDI", ref)).toBeDefined();
    expect((await xapi.find("VDI", { name_label: "disk" })).length).toBe(1);
  });

  test("waits while the pool is busy", async () => {
    await open();
    simulator.fault({ message: "VDI.create", code: "TOO_MANY_PENDING_TASKS", params: [], times: 3 });
    await disk(2 * MiB);
    expect(calls().filter((method) => method === "Async.VDI.create")).toHaveLength(4);
  });

  test("whose answer was lost is not done again, but can be found", async () => {
    await open();
    simulator.fault({ message: "VDI.set_name_label", cut: true, when: "after" });
    const ref = await disk(2 * MiB);
    expect(await failure(xapi.call("VDI.set_name_label", ref, "renamed"))).toMatchObject({ code: "OUTCOME_UNKNOWN" });
    expect((await xapi.find("VDI", { name_label: "renamed" })).map(({ $ref }) => $ref)).toEqual([ref]);
  });

  test.each(["before", "after"] as const)(
    "that takes a disk away is made again when its connection was cut %s it was done",
    async (when) => {
      await open();
      const ref = await disk(2 * MiB);
      simulator.fault({ message: "Async.VDI.destroy", cut: true, when });
      await xapi.destroy("VDI", ref);
      expect(await xapi.record("VDI", ref)).toBeUndefined();
    },
  );

  test("is told by events: a name that changes wakes who watches it", async () => {
    await open();
    const ref = await disk(2 * MiB);
    let told = () => {};
    const woken = new Promise<void>((resolve) => {
      told = resolve;
    });
    const watch = xapi.watch([`VDI/${ref}`], () => told());
    await watch.ready;
    await xapi.call("VDI.set_name_label", ref, "renamed");
    await woken;
    watch.close();
  });

  test("is told by events also when the coordinator moves meanwhile", async () => {
    await open({ pool: "ha" });
    const ref = await disk(2 * MiB);
    let wakes = 0;
    let told = () => {};
    const watch = xapi.watch([`VDI/${ref}`], () => {
      wakes++;
      told();
    });
    await watch.ready;
    const moved = new Promise<void>((resolve) => {
      told = resolve;
    });
    simulator.moveCoordinator();
    simulator.expireSessions();
    await moved;
    const renamed = new Promise<void>((resolve) => {
      told = resolve;
    });
    const before = wakes;
    await xapi.call("VDI.set_name_label", ref, "renamed");
    await renamed;
    expect(wakes).toBeGreaterThan(before);
    watch.close();
  });

  test("is cancelled on abort and leaves no task", async () => {
    await open({ clock: "stepped" });
    const [sr] = await xapi.find("SR", { name_label: "Local storage" });
    const created = xapi.task<string>("VDI.create", [
      {
        name_label: "disk",
        name_description: "",
        SR: sr?.$ref,
        virtual_size: 64 * MiB,
        type: "user",
        sharable: false,
        read_only: false,
        other_config: {},
      },
    ]);
    await expect.poll(() => calls()).toContain("Async.VDI.create");
    await simulator.advance(60_000);
    const ref = await created;
    const abort = new AbortController();
    const copying = failure(xapi.task("VDI.copy", [ref, sr?.$ref], { signal: abort.signal }));
    await expect.poll(() => calls()).toContain("Async.VDI.copy");
    abort.abort();
    await expect.poll(() => calls()).toContain("task.cancel");
    await simulator.advance(60_000);
    expect(await copying).toBeInstanceOf(CancelledError);
    await expect.poll(tasks).toBe(0);
  });
});

describe("a disk image", () => {
  async function image(size: number, places: readonly number[]): Promise<string> {
    dir ??= mkdtempSync(join(tmpdir(), "xenlayer-wire-"));
    const path = join(dir, "image.raw");
    const file = await openFile(path, "w");
    await file.truncate(size);
    for (const place of places) await file.write(randomBytes(MiB), 0, MiB, place);
    await file.close();
    return path;
  }
  const put = async (ref: string, path: string, signal?: AbortSignal) =>
    xapi.put(ref, await uploadBody(path, await inspectImage(path)), { signal });
  const get = async (ref: string, format: "raw" | "vhd", base?: string) => {
    const path = join(dir ?? tmpdir(), `out.${format}`);
    await pipeline(await xapi.getDisk(ref, { format, base }), createWriteStream(path));
    return path;
  };
  const compare = (one: string, format: string, other: string) =>
    execFileSync("qemu-img", ["compare", "-f", "raw", "-F", format, one, other], { encoding: "utf8" });

  test.each([false, true])("comes back as it went, as VHD and raw (TLS: %s)", async (tls) => {
    await open({ tls }, tls ? { tls: { verify: false } } : {});
    const path = await image(64 * MiB, [0, 17 * MiB, 63 * MiB]);
    const ref = await disk(64 * MiB);
    await put(ref, path);
    expect(compare(path, "vpc", await get(ref, "vhd"))).toContain("identical");
    expect(compare(path, "raw", await get(ref, "raw"))).toContain("identical");
    expect(tasks()).toBe(0);
    await xapi.destroy("VDI", ref);
  });

  test("goes where the disk's storage is, when that is not at the coordinator", async () => {
    await open({ pool: "ha" });
    const path = await image(8 * MiB, [MiB]);
    const ref = await disk(8 * MiB);
    const vdi = await xapi.record("VDI", ref);
    const [pbd] = await xapi.find("PBD", { SR: vdi?.SR ?? "", host: xapi.pool.coordinator.ref });
    simulator.db.update("PBD", pbd?.$ref ?? "", { currently_attached: false });
    await put(ref, path);
    expect(compare(path, "raw", await get(ref, "raw"))).toContain("identical");
    expect(calls().filter((method) => method === "PUT /import_raw_vdi")).toHaveLength(2);
  });

  test("is sent again when the connection breaks in the middle", async () => {
    await open();
    const path = await image(16 * MiB, [0, 4 * MiB, 9 * MiB]);
    const ref = await disk(16 * MiB);
    simulator.fault({ message: "PUT /import_raw_vdi", cut: { afterBytes: 3 * MiB } });
    await put(ref, path);
    expect(compare(path, "raw", await get(ref, "raw"))).toContain("identical");
    expect(tasks()).toBe(0);
  });

  test("that is larger than its disk fails with XAPI's word for it", async () => {
    await open();
    const path = await image(16 * MiB, [12 * MiB]);
    const ref = await disk(8 * MiB);
    expect(await failure(put(ref, path))).toMatchObject({ code: "VDI_IO_ERROR" });
    await xapi.destroy("VDI", ref);
    expect(tasks()).toBe(0);
  });

  test("whose download breaks is an error, not a shorter disk", async () => {
    await open();
    const path = await image(16 * MiB, [0, 4 * MiB]);
    const ref = await disk(16 * MiB);
    await put(ref, path);
    simulator.fault({ message: "GET /export_raw_vdi", cut: { afterBytes: 3 * MiB } });
    expect(await failure(get(ref, "vhd"))).toBeInstanceOf(XapiError);
    expect(tasks()).toBe(0);
  });

  test("is not written by a role that may not, and the error is XAPI's", async () => {
    await open();
    const ref = await disk(8 * MiB);
    const path = await image(8 * MiB, []);
    xapi = await login({ username: "vm-operator" });
    expect(await failure(put(ref, path))).toMatchObject({ code: "RBAC_PERMISSION_DENIED" });
  });

  test("whose upload is aborted leaves a disk that can be destroyed at once", async () => {
    await open();
    const path = await image(
      64 * MiB,
      Array.from({ length: 30 }, (_, n) => n * 2 * MiB),
    );
    const ref = await disk(64 * MiB);
    const abort = new AbortController();
    const body = await uploadBody(path, await inspectImage(path));
    const error = await failure(xapi.put(ref, body, { signal: abort.signal, onProgress: (fraction) => fraction > 0.3 && abort.abort() }));
    expect(error).toBeInstanceOf(CancelledError);
    await xapi.destroy("VDI", ref);
    expect(tasks()).toBe(0);
  });
});
