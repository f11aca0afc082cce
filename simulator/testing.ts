/** For tests of the simulator: one that closes by itself, and calls over its wire. */
import { DESCRIPTOR_PATH, type DescriptorInput } from "./guests/descriptor.ts";
import { type Simulator, type SimulatorOptions, startSimulator } from "./index.ts";
import { FatVolume } from "./storage/fat.ts";

/** A failure that came over the wire. */
export class Refused extends Error {
  readonly code: string;
  readonly params: readonly string[];
  constructor(code: string, params: readonly string[]) {
    super(`${code}(${params.join(", ")})`);
    this.code = code;
    this.params = params;
  }
}

export interface Rpc {
  /** A call with this session. */
  <T = unknown>(method: string, ...params: unknown[]): Promise<T>;
  readonly session: string;
  /** A call without a session of its own. */
  plain<T = unknown>(method: string, ...params: unknown[]): Promise<T>;
  /** Runs the Async form and waits for its task by events; answers the task's result, throws its failure. */
  task(method: string, ...params: unknown[]): Promise<string>;
}

export async function post(
  url: string,
  path: string,
  body: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; type: string; body: string }> {
  const response = await fetch(`${url}${path}`, { method: "POST", body, headers });
  return { status: response.status, type: response.headers.get("content-type") ?? "", body: await response.text() };
}

export async function jsonCall<T>(url: string, method: string, params: readonly unknown[]): Promise<T> {
  const { body } = await post(url, "/jsonrpc", JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }));
  const reply = JSON.parse(body) as { result?: T; error?: { message: string; data: string[] } };
  if (reply.error) throw new Refused(reply.error.message, reply.error.data);
  return reply.result as T;
}

export async function login(simulator: Pick<Simulator, "url" | "password">, user = "root"): Promise<Rpc> {
  const { url } = simulator;
  const session = await jsonCall<string>(url, "session.login_with_password", [user, simulator.password, "1.1", "tests"]);
  const call = <T>(method: string, ...params: unknown[]) => jsonCall<T>(url, method, [session, ...params]);
  return Object.assign(call, {
    session,
    plain: <T>(method: string, ...params: unknown[]) => jsonCall<T>(url, method, params),
    task: async (method: string, ...params: unknown[]) => {
      const task = await call<string>(`Async.${method}`, ...params);
      for (let token = ""; ; ) {
        const batch = await call<{ token: string; events: { snapshot: { status: string; result: string; error_info: string[] } }[] }>(
          "event.from",
          [`task/${task}`],
          token,
          30,
        );
        token = batch.token;
        const last = batch.events.at(-1)?.snapshot;
        if (last?.status === "success") return last.result.replace(/^<value>|<\/value>$/g, "");
        if (last?.status === "failure") throw new Refused(last.error_info[0] ?? "", last.error_info.slice(1));
        if (last?.status === "cancelled") throw new Refused("TASK_CANCELLED", [task]);
      }
    },
  });
}

/** Runs `body` with a simulator and a session of root, and closes the simulator. */
export async function withSimulator(
  body: (simulator: Simulator, rpc: Rpc) => Promise<void>,
  options: SimulatorOptions = {},
): Promise<void> {
  const simulator = await startSimulator(options);
  try {
    await body(simulator, await login(simulator));
  } finally {
    await simulator.close();
  }
}

/** The reference of the one object of a class with this name. */
export async function named(rpc: Rpc, cls: string, name: string): Promise<string> {
  const [ref] = await rpc<string[]>(`${cls}.get_by_name_label`, name);
  if (ref === undefined) throw new Error(`no ${cls} named ${name}`);
  return ref;
}

export async function createVdi(rpc: Rpc, fields: Record<string, unknown> = {}): Promise<string> {
  const SR = await rpc("pool.get_default_SR", (await rpc<string[]>("pool.get_all"))[0]);
  return rpc("VDI.create", {
    SR,
    name_label: "disk",
    virtual_size: 16 * 1024 ** 2,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: {},
    ...fields,
  });
}

export async function createVbd(rpc: Rpc, VM: string, VDI: string, fields: Record<string, unknown> = {}): Promise<string> {
  const qos = { qos_algorithm_type: "", qos_algorithm_params: {} };
  return rpc("VBD.create", {
    VM,
    VDI,
    userdevice: "autodetect",
    bootable: false,
    mode: "RW",
    type: "Disk",
    empty: false,
    other_config: {},
    ...qos,
    ...fields,
  });
}

/** A halted VM made from the packaging template, with one disk of its own. */
export async function createVm(rpc: Rpc, name = "vm"): Promise<{ vm: string; vdi: string; vbd: string }> {
  const vm = await rpc<string>("VM.clone", await named(rpc, "VM", "xenlayer-packaging"), name);
  await rpc("VM.set_is_a_template", vm, false);
  const vdi = await createVdi(rpc);
  return { vm, vdi, vbd: await createVbd(rpc, vm, vdi, { bootable: true }) };
}

/** Puts a guest on a disk, as an image would bring it. */
export async function installGuest(simulator: Simulator, rpc: Rpc, vdi: string, descriptor: DescriptorInput): Promise<void> {
  const volume = FatVolume.format(simulator.disk(await rpc("VDI.get_uuid", vdi)), { label: "SYSTEM", partitioned: "mbr" });
  volume.writeFile(DESCRIPTOR_PATH, JSON.stringify(descriptor));
}

/** Waits, by events, until a field of an object is as it should be. */
export async function until(
  rpc: Rpc,
  cls: string,
  ref: string,
  holds: (record: Record<string, unknown>) => boolean,
): Promise<Record<string, unknown>> {
  for (let token = ""; ; ) {
    const batch = await rpc<{ token: string; events: { snapshot?: Record<string, unknown> }[] }>(
      "event.from",
      [`${cls}/${ref}`],
      token,
      30,
    );
    token = batch.token;
    const last = batch.events.at(-1)?.snapshot;
    if (last && holds(last)) return last;
    if (batch.events.length === 0) throw new Error(`${cls} did not become what was waited for`);
  }
}

/** Moves a stepped clock on, a little at a time, until something is done. */
export async function through<T>(simulator: Simulator, work: Promise<T>): Promise<T> {
  let pending = true;
  const done = work.finally(() => {
    pending = false;
  });
  done.catch(() => {}); // it is the caller's to see
  while (pending) await simulator.advance(50);
  return done;
}
