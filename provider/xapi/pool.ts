// A pool as the provider uses it: the Xapi port over a shared session. Promises: one call where one will do; records that are what their type says; an object that is
// gone is `undefined` to read and success to destroy; a task is awaited, cancelled on abort, and leaves nothing behind.
import { XapiError } from "../errors.ts";
import type { Pool, TaskOptions, Where, Xapi } from "./client.ts";
import { OUTCOME_UNKNOWN, TASK_VANISHED } from "./codes.ts";
import type { Events, XapiEvent } from "./events.ts";
import { type ClassName, column, parseRecord, type Rec, schemas } from "./records.ts";
import type { Login, Session } from "./session.ts";
import { parseResult, type TaskTimes, taskResult } from "./tasks.ts";
import { type Body, type DiskRead, getDisk, putDisk, screenshot, type Transfers, type TransferTimes } from "./transfers.ts";
import { Failure } from "./transport.ts";

/** Shared by all users of one pool and account in this process. */
export interface Shared {
  session: Session;
  events: Events;
  transfers: Transfers;
  times: TaskTimes & TransferTimes;
  login: Login | undefined;
}

export class PoolXapi implements Xapi {
  readonly #shared: Shared;
  readonly #signal: AbortSignal | undefined;

  constructor(shared: Shared, signal?: AbortSignal) {
    this.#shared = shared;
    this.#signal = signal;
  }

  get #login(): Login {
    // connect() has returned, so there was one.
    if (this.#shared.login === undefined) throw new Error("not connected");
    return this.#shared.login;
  }

  get pool(): Pool {
    const { pool, hosts, url } = this.#login;
    const host = hosts.find(({ $ref }) => $ref === pool.master);
    const version = host?.software_version ?? {};
    return {
      uuid: pool.uuid,
      ref: pool.$ref,
      coordinator: { uuid: host?.uuid ?? "", ref: pool.master, name: host?.name_label ?? "", address: host?.address ?? url.hostname },
      productBrand: version.product_brand ?? "",
      productVersion: version.product_version ?? "",
      apiVersion: host === undefined ? "" : `${host.API_version_major}.${host.API_version_minor}`,
      xapi: version.xapi ?? "",
    };
  }

  get hosts(): readonly Rec<"host">[] {
    return this.#login.hosts;
  }

  withSignal(signal: AbortSignal): Xapi {
    return new PoolXapi(this.#shared, signal);
  }

  async call<T>(method: string, ...args: unknown[]): Promise<T> {
    return (await this.#shared.session.call(method, args, this.#signal)) as T;
  }

  async task<T>(method: string, args: unknown[], options: TaskOptions = {}): Promise<T> {
    const { session, events, times } = this.#shared;
    const signal = options.signal ?? this.#signal;
    return (await session.attempt(method, false, signal, async (login) => {
      const since = events.position;
      const task = String(await login.rpc(`Async.${method}`, [login.sessionId, ...args]));
      try {
        return parseResult(await taskResult(session, events, task, { method, since, signal, onProgress: options.onProgress, times }));
      } finally {
        // XAPI would keep it for an hour. One that is still at work goes when it ends.
        await session.call("task.destroy", [task]).catch(() => undefined);
      }
    })) as T;
  }

  async get<C extends ClassName>(cls: C, uuid: string): Promise<Rec<C> | undefined> {
    const [record] = await this.find(cls, { uuid } as Where<C>);
    return record;
  }

  async record<C extends ClassName>(cls: C, ref: string): Promise<Rec<C> | undefined> {
    try {
      const method = `${cls}.get_record`;
      return await this.#read(
        method,
        (login) => login.rpc(method, [login.sessionId, ref]),
        (reply) => records(cls, { [ref]: reply })[0],
      );
    } catch (error) {
      if (isGone(error, ref)) return undefined;
      throw error;
    }
  }

  async find<C extends ClassName>(cls: C, where: Where<C>): Promise<Rec<C>[]> {
    const conditions = Object.entries(where) as [string, string | boolean][];
    const unknown = conditions.find(([field]) => !(field in schemas[cls].shape));
    if (unknown !== undefined) throw new Error(`${cls} records have no field ${unknown[0]} that is read here`);
    // Literals of a query have no escapes (xen-api ocaml/database/db_filter_lex.mll): what can't be written there is compared here.
    const terms = conditions
      .filter(([, value]) => !/["\\\p{Cc}]/u.test(String(value)))
      .map(([field, value]) => `field "${column(cls, field)}" = "${value}"`);
    const found = terms.length === 0 ? await this.all(cls) : await this.#records(cls, `${cls}.get_all_records_where`, terms.join(" and "));
    return found.filter((record) =>
      conditions.every(([field, value]) => String((record as Record<string, unknown>)[field]) === String(value)),
    );
  }

  all<C extends ClassName>(cls: C): Promise<Rec<C>[]> {
    return this.#records(cls, `${cls}.get_all_records`);
  }

  async session(): Promise<Rec<"session">> {
    const method = "session.get_record";
    const record = await this.#read(
      method,
      (login) => login.rpc(method, [login.sessionId, login.sessionId]),
      (reply) => records("session", { "": reply })[0],
    );
    if (record === undefined) throw new Error("unreachable: one record in, one out");
    return record;
  }

  async destroy(cls: ClassName, ref: string): Promise<void> {
    const { session } = this.#shared;
    // The storage may take minutes to delete a disk; other objects are rows of a database.
    const once = () =>
      cls === "VDI"
        ? this.task("VDI.destroy", [ref])
        : session.attempt(`${cls}.destroy`, true, this.#signal, (login) => login.rpc(`${cls}.destroy`, [login.sessionId, ref]));
    try {
      // Twice is as good as once: whether a call without an answer was heard need not be known.
      await once().catch((error: unknown) => (isUnclear(error) ? once() : Promise.reject(error)));
    } catch (error) {
      if (!isGone(error, ref)) throw error;
    }
  }

  watch(targets: string[], wake: (events?: readonly XapiEvent[]) => void): { ready: Promise<void>; close(): void } {
    return this.#shared.events.subscribe(targets, wake);
  }

  put(vdi: string, body: Body, options: TaskOptions = {}): Promise<void> {
    return putDisk(this.#shared.transfers, vdi, body, { ...options, signal: options.signal ?? this.#signal });
  }

  getDisk(vdi: string, options: DiskRead): Promise<AsyncIterable<Uint8Array>> {
    return getDisk(this.#shared.transfers, vdi, { ...options, signal: options.signal ?? this.#signal });
  }

  screenshot(vm: string): Promise<Uint8Array> {
    return screenshot(this.#shared.transfers, vm, this.#signal);
  }

  #records<C extends ClassName>(cls: C, method: string, ...args: unknown[]): Promise<Rec<C>[]> {
    return this.#read(
      method,
      (login) => login.rpc(method, [login.sessionId, ...args]),
      (reply) => records(cls, reply),
    );
  }

  #read<T>(method: string, ask: (login: Login) => Promise<unknown>, parse: (reply: unknown) => T): Promise<T> {
    return this.#shared.session.attempt(method, true, this.#signal, async (login) => parse(await ask(login)));
  }
}

/** Whether what was asked of is not there any more. */
export function isGone(error: unknown, ref: string): boolean {
  return error instanceof XapiError && error.code === "HANDLE_INVALID" && error.params.includes(ref);
}

/** Whether what was asked for may still be done, or have been done. */
export const isUnclear = (error: unknown): boolean =>
  error instanceof XapiError && (error.code === OUTCOME_UNKNOWN || error.code === TASK_VANISHED);

export function records<C extends ClassName>(cls: C, reply: unknown): Rec<C>[] {
  try {
    return Object.entries(reply as Record<string, unknown>).map(([ref, value]) => parseRecord(cls, ref, value));
  } catch (error) {
    throw new Failure("UNREADABLE_REPLY", [`a ${cls} record`], error);
  }
}
