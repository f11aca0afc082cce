// The XAPI port: what the provider may ask of a pool, and its one implementation, over npm xen-api. Promises: only a host that has proved who it is
// hears a password; one session for each pool and account in this process, logged out when idle; typed records; errors with XAPI's codes.
import { createHash } from "node:crypto";
import { isIPv6 } from "node:net";
import { Xapi as XenApi } from "xen-api";
import { Events, type XapiEvent } from "./events.ts";
import { PoolXapi, records, type Shared } from "./pool.ts";
import { type ClassName, parseRecord, type Rec } from "./records.ts";
import { type Login, realSleep, Session, type Sleep } from "./session.ts";
import type { TaskTimes } from "./tasks.ts";
import type { Body, DiskRead, TransferTimes } from "./transfers.ts";
import { createDispatcher, Failure, jsonRpc, parseAddress, type Trust, trustOf, VerifiedAgent, withHost } from "./transport.ts";

export interface Connection {
  /** Any pool members: host, host:port or URL; HTTPS unless `http://` is written out. */
  address: string | string[];
  username: string;
  password: string;
  /** A fingerprint (SHA-256 of the certificate) that matches is enough; else the CA must vouch, else the system's CAs. */
  tls?: { verify?: boolean | undefined; caCertificate?: string | undefined; fingerprints?: string[] | undefined } | undefined;
  transferOverTls?: boolean | undefined;
}

export interface ConnectOptions {
  /** Ends the waiting for the pool; the session that is being opened is kept for the next. */
  signal?: AbortSignal | undefined;
  /** How a pause passes; tests make it short. */
  sleep?: Sleep | undefined;
  idleMs?: number | undefined;
  times?: Partial<TaskTimes & TransferTimes> | undefined;
}

export interface Pool {
  uuid: string;
  ref: string;
  coordinator: { uuid: string; ref: string; name: string; address: string };
  productBrand: string;
  productVersion: string;
  /** As in `2.21`. */
  apiVersion: string;
  /** Version of XAPI itself, as in `24.39.1`. */
  xapi: string;
}

export interface TaskOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((fraction: number) => void) | undefined;
}

export type Where<C extends ClassName> = Partial<Record<keyof Rec<C> & string, string | boolean>>;

export interface Xapi {
  /** As it was at the last login; no call. */
  readonly pool: Pool;
  /** The pool's hosts at the last login; no call. */
  readonly hosts: readonly Rec<"host">[];
  /** Any message of XAPI, the session added. */
  call<T = unknown>(method: string, ...args: unknown[]): Promise<T>;
  /** `Async.<method>`, awaited; cancelled on abort. */
  task<T = unknown>(method: string, args: unknown[], options?: TaskOptions): Promise<T>;
  get<C extends ClassName>(cls: C, uuid: string): Promise<Rec<C> | undefined>;
  /** By reference. */
  record<C extends ClassName>(cls: C, ref: string): Promise<Rec<C> | undefined>;
  /** All objects whose fields have these values. */
  find<C extends ClassName>(cls: C, where: Where<C>): Promise<Rec<C>[]>;
  all<C extends ClassName>(cls: C): Promise<Rec<C>[]>;
  /** Gone is success. */
  destroy(cls: ClassName, ref: string): Promise<void>;
  /** Who we are on this pool, and what the role allows (`rbac_permissions`; empty for a local superuser, who may do all). */
  session(): Promise<Rec<"session">>;
  /**
   * Calls `wake` when a target changes: `VM/OpaqueRef:…`, or a class. What changes after `ready` is never missed. The events of the batch come with it
   * (with the objects as they are now), or undefined where something may have been missed.
   */
  watch(targets: string[], wake: (events?: readonly XapiEvent[]) => void): { ready: Promise<void>; close(): void };
  /** Writes a disk; done when XAPI says that it is. */
  put(vdi: string, body: Body, options?: TaskOptions): Promise<void>;
  /** Reads a disk; the iteration fails at its end when anything was missing. Leaving it early ends the transfer. */
  getDisk(vdi: string, options: DiskRead): Promise<AsyncIterable<Uint8Array>>;
  /** What the machine's console shows now (PNG or JPEG). */
  screenshot(vm: string): Promise<Uint8Array>;
  /** The same session; waiting between repetitions of `call` ends with the signal. */
  withSignal(signal: AbortSignal): Xapi;
}

const ORIGINATOR = "xenlayer";
const TIMES: TaskTimes & TransferTimes = { lookMs: 30_000, cancelMs: 5_000, settleMs: 30_000, silenceMs: 10 * 60_000 };
const LOGOUT_MS = 5_000;

const sessions = new Map<string, Shared>();

/** Logs in, or joins the session that this process has. */
export async function connect(connection: Connection, options: ConnectOptions = {}): Promise<Xapi> {
  const shared = share(connection, options);
  await shared.session.attempt("session.login_with_password", true, options.signal, async (login) => login);
  return new PoolXapi(shared);
}

/** Logs out everywhere: before the process ends. */
export async function disconnectAll(): Promise<void> {
  await Promise.all([...sessions.values()].map(({ session }) => session.close()));
}

function share(connection: Connection, options: ConnectOptions): Shared {
  const key = createHash("sha256")
    .update(JSON.stringify([connection.address, connection.username, connection.password, connection.tls, connection.transferOverTls]))
    .digest("hex");
  const known = sessions.get(key);
  if (known !== undefined) return known;
  const addresses = (Array.isArray(connection.address) ? connection.address : [connection.address]).map(parseAddress);
  const trust = trustOf(connection.tls);
  const urlOf = (host: Rec<"host">) => withHost(addresses[0] ?? new URL("https://localhost"), host.address);
  const shared: Shared = { login: undefined } as Shared;
  shared.session = new Session({
    addresses,
    logIn: async (url) => {
      shared.login = await logIn(url, connection, trust);
      return shared.login;
    },
    urlOf,
    secrets: [connection.password],
    sleep: options.sleep ?? realSleep,
    idleMs: options.idleMs ?? 5_000,
  });
  shared.events = new Events(shared.session);
  shared.times = { ...TIMES, ...options.times };
  shared.transfers = {
    session: shared.session,
    events: shared.events,
    trust,
    overTls: connection.transferOverTls ?? true,
    times: shared.times,
  };
  if (!process.listeners("beforeExit").includes(leave)) process.on("beforeExit", leave);
  sessions.set(key, shared);
  return shared;
}

const leave = (): void => void disconnectAll();

/** One login through xen-api, which follows a pool member to its coordinator. Rejects with a Failure. */
async function logIn(url: URL, { username, password }: Connection, trust: Trust): Promise<Login> {
  const dispatcher = createDispatcher(trust);
  let at = url;
  let asked = url;
  let rpc = jsonRpc(at, dispatcher);

  // Everything xen-api sends goes through what _setUrl leaves behind: its constructor calls it before any I/O, and again for another host.
  // Fields of this class don't exist yet then, so all it needs is in the closure.
  class VerifiedXenApi extends XenApi {
    override _setUrl(target: { protocol: string; hostname: string; port: string | undefined }): void {
      const hostname = isIPv6(target.hostname) ? `[${target.hostname}]` : target.hostname;
      at = new URL(`${target.protocol}//${hostname}${target.port ? `:${target.port}` : ""}`);
      rpc = jsonRpc(at, dispatcher);
      this._undiciDispatcher = dispatcher;
      this._httpAgent = new VerifiedAgent(at, trust);
      super._setUrl({ ...target, hostname });
      this._transport = (method, args) => rpc(method, args);
    }
    // The stock one logs arguments and results, adds the arguments to errors, and sends only two parameters at login.
    override async _call(method: string, args: readonly unknown[] = []): Promise<unknown> {
      // Asked only to find the classes that its cache of all records could hold; we keep no such cache.
      if (method === "system.listMethods") return [];
      if (method !== "session.login_with_password") return this._transport(method, args);
      const login = () => this._transport(method, [...args, "1.0", ORIGINATOR]);
      try {
        return await login();
      } catch (error) {
        const [coordinator] = error instanceof Failure && error.code === "HOST_IS_SLAVE" ? error.params : [];
        if (coordinator === undefined || at !== asked) throw error;
        // xen-api would follow, too, a second later.
        this._setUrl({ protocol: at.protocol, hostname: coordinator, port: at.port || undefined });
        return login();
      }
    }
  }

  const client = new VerifiedXenApi({ url: url.origin, auth: { user: username, password }, watchEvents: false, transport: "json-rpc" });
  asked = at;
  try {
    await client.connect();
    const sessionId = client.sessionId;
    const pool = parseRecord("pool", client.pool.$ref, { ...client.pool });
    const hosts = records("host", await client._call("host.get_all_records", [sessionId]));
    const call = (method: string, params: readonly unknown[], signal?: AbortSignal) =>
      signal === undefined ? client._call(method, params) : rpc(method, params, signal);
    const logout = async () => {
      // xen-api's own logout is not awaited by anything.
      client._sessionId = undefined;
      await rpc("session.logout", [sessionId], AbortSignal.timeout(LOGOUT_MS)).catch(() => undefined);
      await client.disconnect();
      await dispatcher.destroy();
    };
    return { url: at, sessionId, rpc: call, pool, hosts, logout, abandon: () => void dispatcher.close() };
  } catch (error) {
    void dispatcher.close();
    if (!(error instanceof Failure) || at === asked) throw error;
    throw new Failure(error.code, [`${asked.host} is a pool member and names ${at.host} as its coordinator`, ...error.params], error.cause);
  }
}
