import { mkdtempSync, rmSync } from "node:fs";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls, { type TLSSocket } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { Xapi } from "xen-api";
import { type Simulator, startSimulator } from "./index.ts";
import { createVbd, createVdi, createVm, jsonCall, login, named, through, until, withSimulator } from "./testing.ts";

describe("npm xen-api", () => {
  const open: { disconnect(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const client of open.splice(0)) await client.disconnect();
  });

  /** The client has no types of its own. */
  interface Client {
    connect(): Promise<void>;
    disconnect(): Promise<void>;
    call(method: string, ...params: unknown[]): Promise<unknown>;
    callAsync(method: string, ...params: unknown[]): Promise<unknown>;
    objectsFetched: Promise<void>;
    /** Resolves once the client has seen the object as it is now. */
    barrier(ref: string): Promise<object>;
    pool: { $ref: string };
  }
  const client = (simulator: Simulator, options: object): Client => {
    const { url, username: user, password } = simulator;
    const made = new Xapi({ url, auth: { user, password }, allowUnauthorized: true, ...options }) as unknown as Client;
    open.push(made);
    return made;
  };

  test("logs in, loads every class that events cover, and sees a change", () =>
    withSimulator(async (simulator, rpc) => {
      const xapi = client(simulator, { watchEvents: true, debounce: 5 });
      await xapi.connect();
      await xapi.objectsFetched;
      const vdi = await createVdi(rpc, { name_label: "seen" });
      expect(await xapi.barrier(vdi)).toMatchObject({ name_label: "seen" });
    }));

  test("waits for an Async call by its task's events", () =>
    withSimulator(async (simulator, rpc) => {
      const vdi = await createVdi(rpc);
      const xapi = client(simulator, { watchEvents: ["task"], debounce: 5 });
      await xapi.connect();
      await xapi.objectsFetched;
      expect(await xapi.callAsync("VDI.clone", vdi, {})).toMatch(/^OpaqueRef:/);
      await expect(xapi.callAsync("VDI.clone", "OpaqueRef:none", {})).rejects.toMatchObject({ code: "HANDLE_INVALID" });
    }));

  test("follows HOST_IS_SLAVE from a member to the coordinator", () =>
    withSimulator(
      async (simulator) => {
        const member = client({ ...simulator, url: simulator.url.replace("127.0.0.1", "127.0.0.3") }, { watchEvents: false });
        await member.connect();
        expect(member.pool.$ref).toBe(simulator.db.refs("pool")[0]);
      },
      { pool: "ha" },
    ));

  test("speaks JSON over TLS too", async () => {
    const simulator = await startSimulator({ tls: true });
    const xapi = client(simulator, { watchEvents: false });
    await xapi.connect();
    expect(await xapi.call("VM.get_all")).toContain(simulator.db.refs("VM")[0]);
    await xapi.disconnect();
    await simulator.close();
  });
});

describe("a pool of three", () => {
  test("members name the coordinator at login and at any call, and a new coordinator knows neither sessions nor tasks", () =>
    withSimulator(
      async (simulator, rpc) => {
        const member = { ...simulator, url: simulator.url.replace("127.0.0.1", "127.0.0.2") };
        await expect(login(member)).rejects.toMatchObject({ code: "HOST_IS_SLAVE", params: ["127.0.0.1"] });
        await expect(jsonCall(member.url, "VM.get_all", [rpc.session])).rejects.toMatchObject({ code: "HOST_IS_SLAVE" });
        const task = await rpc<string>("task.create", "a client's own", "");
        const vms = simulator.db.refs("VM");
        const { token } = await rpc<{ token: string }>("event.from", ["*"], "", 1);
        const blocked = expect(rpc("event.from", ["secret"], token, 60)).rejects.toThrow();
        const { url } = simulator.moveCoordinator();
        expect(url).toBe(member.url);
        await blocked;
        await rpc("VM.get_all").catch(() => {}); // the connection that was kept alive is gone
        for (const host of [simulator.url, url])
          await expect(jsonCall(host, "VM.get_all", [rpc.session])).rejects.toMatchObject({
            code: "SESSION_INVALID",
            params: [rpc.session],
          });
        expect([simulator.db.has("task", task), simulator.db.refs("VM")]).toEqual([false, vms]);
        await expect(login(simulator)).rejects.toMatchObject({ code: "HOST_IS_SLAVE", params: ["127.0.0.2"] });
        const again = await login(member);
        const [pool] = await again<string[]>("pool.get_all");
        expect(await again("host.get_address", await again("pool.get_master", pool))).toBe("127.0.0.2");
      },
      { pool: "ha" },
    ));

  test("what a coordinator was at when it was replaced is broken off, and nothing is left of it", () =>
    withSimulator(
      async (simulator, rpc) => {
        const vdi = await through(simulator, createVdi(rpc, { virtual_size: 64 * 1024 ** 2 }));
        const disk = simulator.disk(await rpc("VDI.get_uuid", vdi));
        for (let at = 0; at < disk.size; at += 2 * 1024 ** 2) disk.write(at, Buffer.from("x"));
        await rpc("Async.VDI.copy", vdi, await rpc("VDI.get_SR", vdi));
        await simulator.advance(150);
        expect(await rpc("VDI.get_by_name_label", "disk")).toHaveLength(2);
        const { url } = simulator.moveCoordinator();
        await simulator.advance(1000);
        const again = await login({ ...simulator, url });
        expect(await again("VDI.get_by_name_label", "disk")).toEqual([vdi]);
        expect(await again("VDI.get_record", vdi)).toMatchObject({ VBDs: [], current_operations: {} });
      },
      { pool: "ha", clock: "stepped" },
    ));

  test("a host that fails takes its VMs with it; they start elsewhere, and on it again when it is back", () =>
    withSimulator(
      async (simulator, rpc) => {
        const { vm } = await createVm(rpc, "one");
        const [, second = ""] = await rpc<string[]>("host.get_all");
        await rpc("VM.set_affinity", vm, second);
        await rpc("VM.start", vm, false, false);
        const back = simulator.failHost(second);
        expect(await rpc("VM.get_record", vm)).toMatchObject({ power_state: "Halted", resident_on: "OpaqueRef:NULL" });
        expect(await rpc("host_metrics.get_live", await rpc("host.get_metrics", second))).toBe(false);
        await rpc("VM.start", vm, false, false);
        const where = await rpc<string>("VM.get_resident_on", vm);
        expect(where).not.toBe(second);
        back();
        await rpc("VM.hard_shutdown", vm);
        await rpc("VM.start", vm, false, false);
        expect(await rpc("VM.get_resident_on", vm)).toBe(second);
      },
      { pool: "ha" },
    ));

  test("a VM starts where its affinity says, else where it is emptiest, on shared storage", () =>
    withSimulator(
      async (_simulator, rpc) => {
        const { vm } = await createVm(rpc, "one");
        const [, second] = await rpc<string[]>("host.get_all");
        await rpc("VM.set_affinity", vm, second);
        await rpc("VM.start", vm, false, false);
        expect(await rpc("VM.get_resident_on", vm)).toBe(second);
        const { vm: other } = await createVm(rpc, "two");
        await rpc("VM.start", other, false, false);
        expect(await rpc("VM.get_resident_on", other)).not.toBe(second);
        await expect(rpc("VM.start_on", other, second, false, false)).rejects.toMatchObject({ code: "VM_BAD_POWER_STATE" });
      },
      { pool: "ha" },
    ));
});

test("TLS shows the certificate that the simulator names, and a client that does not trust it does no harm", async () => {
  const simulator = await startSimulator({ tls: true });
  await expect(fetch(simulator.url)).rejects.toThrow();
  const fingerprint = await new Promise<string>((resolve, reject) => {
    const request = https.get(simulator.url, { ca: simulator.ca, agent: false }, (response) => {
      resolve((response.socket as TLSSocket).getPeerCertificate().fingerprint256);
      response.destroy();
    });
    request.on("error", reject);
  });
  expect(fingerprint).toBe(simulator.fingerprint);
  await simulator.close();
});

test("closing waits for no client that refuses the certificate, speaks no TLS, or never ends its handshake", async () => {
  const simulator = await startSimulator({ tls: true });
  const port = Number(new URL(simulator.url).port);
  const halfOpen = () => net.connect({ port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => {}); // the reset is what it is about
  const silent = halfOpen();
  const plain = halfOpen();
  plain.write("GET / HTTP/1.1\r\n\r\n");
  const stopped = halfOpen();
  stopped.end(Buffer.from("16030102", "hex"));
  const refusing = [{}, { maxVersion: "TLSv1.2" }, { maxVersion: "TLSv1.1" }] as const;
  for (const version of refusing) await new Promise((resolve) => tls.connect({ socket: halfOpen(), ...version }).once("error", resolve));
  await simulator.close();
  for (const socket of [silent, plain, stopped]) socket.destroy();
});

test("the same seed and the same calls give the same references; another seed gives others", async () => {
  const refs: string[][] = [];
  for (const seed of [7, 7, 8]) {
    await withSimulator(
      async (_simulator, rpc) => {
        const { vm, vdi, vbd } = await createVm(rpc);
        refs.push([vm, vdi, vbd, await rpc("VDI.get_uuid", vdi), await rpc("VIF.get_MAC", (await rpc<string[]>("VM.get_VIFs", vm))[0])]);
      },
      { seed },
    );
  }
  expect(refs[1]).toEqual(refs[0]);
  expect(refs[2]).not.toEqual(refs[0]);
});

describe("a state directory", () => {
  const stateDir = mkdtempSync(join(tmpdir(), "xapi-simulator-test-"));
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

  test("keeps objects, marks and data; what ran is halted, as after a power cut; tokens stay good", async () => {
    let vm = "";
    let vdi = "";
    let uuid = "";
    let token = "";
    await withSimulator(
      async (simulator, rpc) => {
        ({ vm, vdi } = await createVm(rpc));
        uuid = await rpc("VDI.get_uuid", vdi);
        simulator.disk(uuid).write(3_000_000, Buffer.from("kept"));
        await rpc("VDI.add_to_other_config", vdi, "mark", "1");
        await rpc("VM.start", vm, false, false);
        ({ token } = await rpc<{ token: string }>("event.from", ["*"], "", 1));
      },
      { stateDir },
    );
    await withSimulator(
      async (simulator, rpc) => {
        expect(await rpc("VDI.get_other_config", vdi)).toEqual({ mark: "1" });
        expect(Buffer.from(simulator.disk(uuid).read(3_000_000, 4)).toString()).toBe("kept");
        expect(await rpc("VM.get_record", vm)).toMatchObject({ power_state: "Halted", domid: -1, consoles: [] });
        expect(simulator.sessions()).toBe(1);
        const { events } = await rpc<{ events: { ref: string }[] }>("event.from", ["VM"], token, 1);
        expect(events.map((event) => event.ref)).toContain(vm);
        const fresh = await createVdi(rpc);
        expect(fresh).not.toBe(vdi);
        await createVbd(rpc, vm, fresh);
        await rpc("VM.start", vm, false, false);
        await until(rpc, "VM", vm, (record) => record.power_state === "Running");
      },
      { stateDir },
    );
  });
});

test("the admin interface types at a console, orders faults, and shows state and log to other processes", () =>
  withSimulator(async (simulator, rpc) => {
    const ask = async (method: string, path: string, body?: unknown) => {
      const response = await fetch(`${simulator.url}/simulator/${path}`, { method, ...(body ? { body: JSON.stringify(body) } : {}) });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    await ask("POST", "fault", { pattern: "^VM\\.get_all$", code: "INTERNAL_ERROR", params: ["ordered"] });
    await expect(rpc("VM.get_all")).rejects.toMatchObject({ params: ["ordered"] });
    expect((await ask("GET", "state")).body).toHaveProperty(["VM", simulator.db.refs("VM")[0] ?? ""]);
    expect((await ask("GET", "log")).body).toContainEqual(expect.objectContaining({ method: "VM.get_all" }));
    const uuid = await rpc("VM.get_uuid", await named(rpc, "VM", "xenlayer-packaging"));
    expect(await ask("POST", "console", { vm: uuid, command: "dir" })).toEqual({
      status: 400,
      body: { error: expect.stringContaining("no console") },
    });
    expect((await ask("POST", "fault", { mesage: "x" })).status).toBe(400);
    expect((await ask("GET", "nothing")).status).toBe(404);
  }));

test("closing ends blocked calls and leaves no connection", async () => {
  const simulator = await startSimulator();
  const rpc = await login(simulator);
  const { token } = await rpc<{ token: string }>("event.from", ["*"], "", 1);
  const blocked = expect(rpc("event.from", ["secret"], token, 60)).rejects.toThrow();
  await simulator.close();
  await blocked;
});
