// Hosts that answer as a test says, for what the simulator does not play: foreign servers, bad certificates, redirects, hosts that break in the middle.
import { readFileSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";

/** An answer that is an error of XAPI. */
export class XapiFault extends Error {
  readonly parts: readonly string[];
  constructor(...parts: string[]) {
    super(parts.join(" "));
    this.parts = parts;
  }
}

/** An answer that is no JSON-RPC: closes the connection, or sends that status, or a redirect (`307 <url>`), or those bytes as the body. */
export class Instead extends Error {
  readonly reply: "cut" | number | string;
  constructor(reply: "cut" | number | string) {
    super(String(reply));
    this.reply = reply;
  }
}

export type Answer = (params: unknown[], host: ScriptedHost) => unknown;

export interface ScriptedHost {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Methods of JSON-RPC, or paths of other requests, in the order they came. */
  readonly asked: string[];
  readonly params: unknown[][];
  /** Requests' whole heads and RPC bodies: what a listener could have read. */
  readonly heard: string[];
  close(): Promise<void>;
}

export interface Script {
  certificate?: undefined | "one" | "two" | "misnamed" | "elsewhere";
  address?: string;
  port?: number;
  answers?: Record<string, Answer>;
  http?: (request: IncomingMessage, response: ServerResponse) => void;
  closeConnections?: boolean;
}

export const testdata = (name: string) => readFileSync(fileURLToPath(new URL(`testdata/${name}`, import.meta.url)), "utf8");

let logins = 0;
const login: Record<string, Answer> = {
  "session.login_with_password": () => `OpaqueRef:session-${++logins}`,
  "session.logout": () => "",
  "pool.get_all_records": () => ({ "OpaqueRef:pool": poolRecord }),
  "host.get_all_records": (_, { host }) => ({ "OpaqueRef:coordinator": hostRecord(host, "coordinator") }),
  "task.destroy": () => "",
};

export async function scriptedHost(script: Script = {}): Promise<ScriptedHost> {
  const { certificate, address = "127.0.0.1" } = script;
  const asked: string[] = [];
  const params: unknown[][] = [];
  const heard: string[] = [];
  const answers = { ...login, ...script.answers };
  const serve = (request: IncomingMessage, response: ServerResponse) => {
    const head = `${request.method} ${request.url} ${JSON.stringify(request.headers)}`;
    if (script.http !== undefined && request.url !== "/jsonrpc") {
      asked.push(`${request.method} ${request.url?.split("?")[0]}`);
      heard.push(head);
      return script.http(request, response);
    }
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      heard.push(`${head} ${body}`);
      void answer(body, response);
    });
  };
  const answer = async (body: string, response: ServerResponse) => {
    const call = JSON.parse(body) as { method: string; params: unknown[] };
    asked.push(call.method);
    params.push(call.params);
    try {
      const found = answers[call.method];
      if (found === undefined) throw new XapiFault("MESSAGE_METHOD_UNKNOWN", call.method);
      reply(response, { jsonrpc: "2.0", id: 0, result: (await found(call.params, self)) ?? "" });
    } catch (error) {
      if (error instanceof XapiFault)
        reply(response, { jsonrpc: "2.0", id: 0, error: { code: 1, message: error.parts[0], data: error.parts.slice(1) } });
      else if (!(error instanceof Instead)) throw error;
      else if (error.reply === "cut") response.socket?.destroy();
      else if (typeof error.reply === "number") response.writeHead(error.reply).end();
      else if (error.reply.startsWith("307 ")) response.writeHead(307, { location: error.reply.slice(4) }).end();
      else response.end(error.reply);
    }
  };
  const reply = (response: ServerResponse, value: unknown) => {
    const text = JSON.stringify(value);
    const close = script.closeConnections ? { connection: "close" } : {};
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text), ...close }).end(text);
  };
  const server =
    certificate === undefined
      ? createHttp(serve)
      : createHttps({ key: testdata(`${certificate}.key`), cert: testdata(`${certificate}.pem`) }, serve);
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(script.port ?? 0, address, resolve));
  const { port } = server.address() as AddressInfo;
  const self: ScriptedHost = {
    url: `${certificate === undefined ? "http" : "https"}://${address}:${port}`,
    host: address,
    port,
    asked,
    params,
    heard,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return self;
}

const poolRecord = {
  uuid: "11111111-0000-4000-8000-000000000001",
  name_label: "pool",
  name_description: "",
  master: "OpaqueRef:coordinator",
  default_SR: "OpaqueRef:NULL",
  ha_enabled: false,
  tags: [],
  gui_config: {},
  other_config: {},
};

export function hostRecord(address: string, name: string): Record<string, unknown> {
  return {
    uuid: "22222222-0000-4000-8000-000000000001",
    name_label: name,
    address,
    hostname: name,
    enabled: true,
    API_version_major: 2,
    API_version_minor: 21,
    software_version: { product_brand: "XenServer", product_version: "8.4.0", xapi: "24.39" },
    tags: [],
    other_config: {},
    PBDs: [],
    PIFs: [],
  };
}

/** Objects whose changes event.from tells, as xen-api ocaml/xapi/xapi_event.ml does: by generation, the newest state only. */
export class ScriptedObjects {
  #generation = 100;
  readonly #objects = new Map<string, { generation: number; made: number; class: string; ref: string; snapshot: unknown; gone: boolean }>();
  #changed: (() => void)[] = [];
  /** Targets and token of every event.from. */
  readonly polls: { targets: string[]; token: string }[] = [];
  /** Thrown instead of the next answers. */
  readonly interruptions: Error[] = [];
  /** Told when a poll begins to wait. */
  onWait: () => void = () => {};

  set(cls: string, ref: string, snapshot: Record<string, unknown>): void {
    const known = this.#objects.get(ref);
    const generation = ++this.#generation;
    this.#objects.set(ref, { generation, made: known?.made ?? generation, class: cls, ref, snapshot, gone: false });
    this.wake();
  }

  get(ref: string): unknown {
    const object = this.#objects.get(ref);
    if (object === undefined || object.gone) throw new XapiFault("HANDLE_INVALID", object?.class ?? "task", ref);
    return object.snapshot;
  }

  remove(ref: string): void {
    const object = this.#objects.get(ref);
    if (object === undefined) return;
    Object.assign(object, { gone: true, generation: ++this.#generation });
    this.wake();
  }

  task(ref: string, status: string, more: Record<string, unknown> = {}): void {
    const record = {
      uuid: ref,
      name_label: "",
      status,
      progress: status === "pending" ? 0 : 1,
      result: "",
      error_info: [],
      created: "",
      finished: "",
      resident_on: "",
    };
    this.set("task", ref, { ...record, ...more });
  }

  wake(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }

  readonly answers: Record<string, Answer> = {
    "event.inject": () => this.#token(this.#generation),
    "event.from": async ([, targets, token, seconds]) => {
      this.polls.push({ targets: targets as string[], token: String(token) });
      const since = Number(String(token).split(",")[0] || 0);
      for (let waited = false; ; waited = true) {
        const interruption = this.interruptions.shift();
        if (interruption !== undefined) throw interruption;
        const events = [...this.#objects.values()]
          .filter(({ generation, made, gone }) => generation > since && !(gone && made > since))
          .filter(({ class: cls, ref }) => (targets as string[]).some((target) => target === cls || target === `${cls}/${ref}`))
          .map(({ class: cls, ref, made, snapshot, gone, generation }) => ({
            id: String(generation),
            timestamp: "0.0",
            class: cls.toLowerCase(),
            operation: gone ? "del" : made > since ? "add" : "mod",
            ref,
            ...(gone ? {} : { snapshot }),
          }));
        if (events.length > 0 || seconds === 0 || waited)
          return { token: this.#token(Math.max(since, ...events.map(({ id }) => Number(id)))), events, valid_ref_counts: {} };
        await new Promise<void>((resolve) => {
          this.#changed.push(resolve);
          this.onWait();
        });
      }
    },
    "task.get_record": ([, ref]) => this.get(String(ref)),
  };

  #token(generation: number): string {
    return `${String(generation).padStart(20, "0")},${"0".repeat(20)}`;
  }
}
