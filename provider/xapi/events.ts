// Events of a pool: one event.from at a time for each connection, asking only for what somebody waits for. Promises: what changes after `ready`
// is told; a subscriber is told to look again whenever something may have been missed; nothing runs, and nothing keeps the process
// alive, while nobody waits. Semantics of tokens: xen-api ocaml/xapi/xapi_event.ml.
import * as z from "zod";
import { meaning } from "./codes.ts";
import type { Login, Session } from "./session.ts";
import { Failure } from "./transport.ts";

const reply = z.object({
  token: z.string(),
  // Of what has gone there is no snapshot (event_types.ml).
  events: z.array(z.object({ class: z.string(), operation: z.string(), ref: z.string(), snapshot: z.unknown().optional() })),
});
export type XapiEvent = z.output<typeof reply>["events"][number];

/** Told the events of one batch, or undefined: something may have been missed, look. */
type Listener = (events: readonly XapiEvent[] | undefined) => void;

/** A place in the stream of events of one login. */
export interface Position {
  readonly login: Login | undefined;
  readonly token: string;
}

interface Subscription {
  /** `VM`, or `VM/OpaqueRef:…`. */
  targets: readonly string[];
  on: Listener;
  /** The token has been there since before this subscription. */
  ready: boolean;
  resolve: () => void;
  reject: (error: unknown) => void;
}

const POLL_S = 30;
const DEADLINE_MS = 45_000;
const BACKOFF_MS = { first: 100, most: 5_000 };

export class Events {
  readonly #session: Session;
  readonly #subscriptions = new Set<Subscription>();
  /** Where the next event.from starts; "" = from whatever is. */
  #token = "";
  /** The login that the token is of: another coordinator counts differently. */
  #login: Login | undefined;
  #poll = new AbortController();
  #asked: ReadonlySet<string> = new Set();
  #running = false;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Where events stand now. A subscription with this `since` is told all that happened later, also to objects that were made in between. */
  get position(): Position {
    return { login: this.#login, token: this.#token };
  }

  subscribe(targets: readonly string[], on: Listener, since?: Position): { ready: Promise<void>; close: () => void } {
    let resolve = () => {};
    let reject: (error: unknown) => void = () => {};
    const ready = new Promise<void>((res, rej) => {
      resolve = res;
      reject = rej;
    });
    // Who does not wait for `ready` learns of a pool that can't be reached by its own calls.
    ready.catch(() => undefined);
    const subscription: Subscription = { targets, on, ready: false, resolve, reject };
    this.#subscriptions.add(subscription);
    // Going back tells the others some of their events twice; that is only one more look.
    if (since !== undefined) this.#token = since.login === this.#login ? since.token : "";
    if (!this.#running) void this.#run();
    else if (since !== undefined || !targets.every((target) => this.#asked.has(target))) this.#poll.abort();
    else if (this.#token !== "") this.#settle(subscription);
    const close = () => {
      if (this.#subscriptions.delete(subscription) && this.#subscriptions.size === 0) this.#poll.abort();
    };
    return { ready, close };
  }

  #settle(subscription: Subscription): void {
    if (subscription.ready) return;
    subscription.ready = true;
    subscription.resolve();
  }

  async #run(): Promise<void> {
    this.#running = true;
    const release = this.#session.hold();
    let failures = 0;
    while (this.#subscriptions.size > 0) {
      const poll = new AbortController();
      this.#poll = poll;
      let login: Login | undefined;
      try {
        login = await this.#session.open();
        await this.#position(login, poll.signal);
        for (const subscription of this.#subscriptions) this.#settle(subscription);
        await this.#from(login, this.#token, POLL_S, AbortSignal.any([poll.signal, AbortSignal.timeout(DEADLINE_MS)]));
        failures = 0;
      } catch (error) {
        if (poll.signal.aborted) continue;
        const code = error instanceof Failure ? error.code : undefined;
        if (login !== undefined && code !== undefined && meaning(code)?.relogin) this.#session.drop(login);
        if (code === "EVENTS_LOST" || code === "EVENT_FROM_TOKEN_PARSE_FAILURE") this.#login = undefined;
        // The session has done what codes.ts allows: whoever starts to wait now should hear of it. Those who wait already look by themselves.
        if (code === undefined || meaning(code)?.retry === undefined) {
          const told = error instanceof Failure ? this.#session.explain("event.from", error, true, login) : error;
          for (const subscription of this.#subscriptions) subscription.reject(told);
        }
        const pause = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** failures++);
        await this.#session.sleep(pause, poll.signal).catch(() => undefined);
      }
    }
    this.#running = false;
    this.#asked = new Set();
    release();
  }

  /** Makes sure that there is a token of this login. */
  async #position(login: Login, signal: AbortSignal): Promise<void> {
    if (this.#login !== login) this.#token = "";
    if (this.#token !== "") return;
    const targets = this.#targets();
    // Asking about single objects answers at once, with how they are. For a class that would be every object of it, so let XAPI say where it stands.
    const objects = targets.every((target) => target.includes("/"));
    if (objects) await this.#from(login, "", 0, signal);
    else this.#token = String(await login.rpc("event.inject", [login.sessionId, "pool", login.pool.$ref], signal));
    this.#login = login;
    // What happened between the last token and this one is lost to those who relied on it.
    for (const subscription of this.#subscriptions) if (!objects || subscription.ready) subscription.on(undefined);
  }

  #targets(): string[] {
    return [...new Set([...this.#subscriptions].flatMap(({ targets }) => targets))].sort();
  }

  async #from(login: Login, token: string, seconds: number, signal: AbortSignal): Promise<void> {
    const targets = this.#targets();
    this.#asked = new Set(targets);
    const { token: next, events } = reply.parse(await login.rpc("event.from", [login.sessionId, targets, token, seconds], signal));
    signal.throwIfAborted();
    this.#token = next;
    if (events.length === 0) return;
    for (const { targets: wanted, on } of [...this.#subscriptions]) {
      const lower = wanted.map((target) => target.toLowerCase());
      const mine = events.filter((event) => {
        const name = event.class.toLowerCase();
        return lower.includes(name) || lower.includes(`${name}/${event.ref.toLowerCase()}`) || lower.includes("*");
      });
      if (mine.length > 0) on(mine);
    }
  }
}
