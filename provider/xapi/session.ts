// One session with a pool, shared by all that work on it. Promises: it is opened when first needed and closed when nobody has needed it for
// a moment; it finds the coordinator again when that moves; a failed call is repeated exactly as codes.ts says and never when nobody can know
// whether it was done; no password, no session reference leaves this file in an error.
import { setTimeout as delay } from "node:timers/promises";
import { CancelledError, type ProviderError, XapiError } from "../errors.ts";
import { meaning, OUTCOME_UNKNOWN, retryOf } from "./codes.ts";
import { namedParams } from "./named.ts";
import type { Rec } from "./records.ts";
import { Failure, type Rpc } from "./transport.ts";

/** Being logged in on the coordinator. */
export interface Login {
  readonly url: URL;
  readonly sessionId: string;
  readonly rpc: Rpc;
  readonly pool: Rec<"pool">;
  /** As they were at login. */
  readonly hosts: readonly Rec<"host">[];
  /** Tells XAPI, then closes the connections. */
  logout(): Promise<void>;
  /** Closes the connections when what is under way has ended. */
  abandon(): void;
}

export type Sleep = (ms: number, signal?: AbortSignal) => Promise<void>;

export interface SessionOptions {
  /** Where to ask first, in this order. */
  addresses: readonly URL[];
  logIn: (url: URL) => Promise<Login>;
  /** Another host of the pool. */
  urlOf: (host: Rec<"host">) => URL;
  /** Must not show up in any error. */
  secrets: readonly string[];
  sleep: Sleep;
  /** How long a session is kept when nothing uses it. */
  idleMs: number;
}

/** Doing these twice is as good as once: a key that is not there is removed without a word (xen-api ocaml/database/db_cache_impl.ml). */
const REPEATABLE = /^(\w+\.(get_|assert_|remove_from_)\w+|event\.inject|task\.(cancel|destroy))$/;

export const realSleep: Sleep = async (ms, signal) => {
  await delay(ms, undefined, signal === undefined ? {} : { signal });
};

export class Session {
  readonly #options: SessionOptions;
  #opening: Promise<Login> | undefined;
  #current: Login | undefined;
  /** Addresses of the pool's members, learnt at login. */
  #members: readonly URL[] = [];
  #users = 0;
  #idle: NodeJS.Timeout | undefined;
  #closing: Promise<void> = Promise.resolve();

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get sleep(): Sleep {
    return this.#options.sleep;
  }

  /** Logs in where the coordinator is, unless that is done. */
  open(): Promise<Login> {
    this.#opening ??= this.#logInSomewhere().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  /** The login is of no use any more (codes.ts `relogin`): the next call makes a new one. */
  drop(login: Login): void {
    if (this.#current !== login) return;
    this.#current = undefined;
    this.#opening = undefined;
    login.abandon();
  }

  /** Keeps the session open until the returned function is called. */
  hold(): () => void {
    this.#users++;
    clearTimeout(this.#idle);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      if (--this.#users > 0) return;
      this.#idle = setTimeout(() => void this.close(), this.#options.idleMs);
      this.#idle.unref();
    };
  }

  /** Logs out. A later call opens a new session. */
  close(): Promise<void> {
    clearTimeout(this.#idle);
    const opening = this.#opening;
    this.#opening = undefined;
    this.#current = undefined;
    if (opening !== undefined) {
      const closed = opening.then(
        (login) => login.logout(),
        () => undefined,
      );
      this.#closing = Promise.all([this.#closing, closed]).then(() => undefined);
    }
    return this.#closing;
  }

  /** One call; `signal` ends the waiting between repetitions, never a call that was sent. */
  call(method: string, args: readonly unknown[], signal?: AbortSignal): Promise<unknown> {
    return this.attempt(method, REPEATABLE.test(method), signal, (login) => login.rpc(method, [login.sessionId, ...args]));
  }

  /** Runs `work` and, where codes.ts says so, runs it again. `repeatable`: doing it twice is as good as once. */
  async attempt<T>(method: string, repeatable: boolean, signal: AbortSignal | undefined, work: (login: Login) => Promise<T>): Promise<T> {
    const release = this.hold();
    const failures = new Map<string, number>();
    try {
      for (;;) {
        let login: Login | undefined;
        try {
          login = await unlessAborted(this.open(), signal, method);
          return await work(login);
        } catch (error) {
          if (!(error instanceof Failure) || login === undefined) throw error;
          if (meaning(error.code)?.relogin) this.drop(login);
          const failed = (failures.get(error.code) ?? 0) + 1;
          failures.set(error.code, failed);
          const retry = retryOf(error.code, method, repeatable);
          if (retry === undefined || failed >= retry.tries)
            throw this.explain(method, error, repeatable, login, await namedParams(login, method, error));
          await this.#pause(retry.delayMs, signal, `waiting to repeat ${method} (${error.code})`);
        }
      }
    } finally {
      release();
    }
  }

  /** The error that users meet. */
  explain(method: string, failure: Failure, repeatable: boolean, login?: Login, named: readonly string[] = failure.params): XapiError {
    const known = meaning(failure.code);
    const unknown = known?.unclear === true && !repeatable;
    const code = unknown ? OUTCOME_UNKNOWN : failure.code;
    const { means, hint } = (unknown ? meaning(OUTCOME_UNKNOWN) : known) ?? {};
    // SESSION_INVALID's only parameter is the session.
    const redacted = (texts: readonly string[]) =>
      failure.code === "SESSION_INVALID" ? [] : texts.map((param) => this.#redact(param, login));
    return new XapiError(method, code, redacted(failure.params), {
      shown: redacted(named),
      hint: [means, hint].filter((part) => part !== undefined).join(": ") || undefined,
      cause: failure.cause,
    });
  }

  #redact(text: string, login: Login | undefined): string {
    const secrets = [...this.#options.secrets, login?.sessionId ?? this.#current?.sessionId ?? ""];
    return secrets.filter((secret) => secret.length > 2).reduce((shown, secret) => shown.replaceAll(secret, "…"), text);
  }

  async #logInSomewhere(): Promise<Login> {
    const known = this.#members.length > 0;
    await this.#closing;
    for (let round = 1; ; round++) {
      const failures: Failure[] = [];
      for (const url of this.#candidates()) {
        try {
          const login = await this.#options.logIn(url);
          this.#current = login;
          // The coordinator first: after a move it is the likeliest not to be one, but it alone answers in one step when nothing has moved.
          this.#members = [login.url, ...login.hosts.map((host) => this.#options.urlOf(host))];
          return login;
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
          // Anything that another address can't do better (a wrong password above all) is final: one refusal, not one for each host.
          if (!meaning(error.code)?.address) throw this.explain("session.login_with_password", error, true);
          failures.push(error);
        }
      }
      // At first an address that can't be reached is most likely wrong; once it has worked, the pool is most likely restarting.
      const passing = failures.map(({ code }) =>
        known || !meaning(code)?.unsent ? retryOf(code, "session.login_with_password", true) : undefined,
      );
      const tries = Math.max(...passing.map((retry) => retry?.tries ?? 0));
      if (round >= tries) throw this.#unreachable(failures);
      await this.#options.sleep(Math.max(...passing.map((retry) => retry?.delayMs ?? 0)));
    }
  }

  #candidates(): URL[] {
    const all = [...this.#members.slice(0, 1), ...this.#options.addresses, ...this.#members.slice(1)];
    return all.filter((url, index) => all.findIndex((other) => other.href === url.href) === index);
  }

  #unreachable(failures: readonly Failure[]): XapiError {
    const [first] = failures;
    if (first === undefined) return new XapiError("session.login_with_password", "NO_ADDRESS", [], { hint: "give at least one address" });
    if (failures.length === 1) return this.explain("session.login_with_password", first, true);
    const each = failures.map(({ code, params }) => this.#redact(`${params.join(", ")}: ${meaning(code)?.means ?? code}`, undefined));
    return new XapiError("session.login_with_password", first.code, each, { hint: "no address could be used", cause: first.cause });
  }

  async #pause(ms: number, signal: AbortSignal | undefined, during: string): Promise<void> {
    try {
      await this.#options.sleep(ms, signal);
    } catch (error) {
      if (signal?.aborted) throw new CancelledError(during, { cause: signal.reason });
      throw error;
    }
  }
}

/** Stops waiting for a shared promise on abort; what it stands for goes on. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined, method: string): Promise<T> {
  if (signal === undefined) return promise;
  const cancelled = (): ProviderError => new CancelledError(`waiting for the pool to call ${method}`, { cause: signal.reason });
  promise.catch(() => undefined);
  if (signal.aborted) throw cancelled();
  let onAbort = () => {};
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        onAbort = () => reject(cancelled());
        signal.addEventListener("abort", onAbort, { once: true });
      }),
    ]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
