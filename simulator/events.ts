/**
 * event.from (xen-api ocaml/xapi/xapi_event.ml): what changed since a token, coalesced by generation. A call blocks until something matches, until its own (real) time is
 * over, or until its session ends.
 */
import type { Database } from "./database.ts";
import { classes, type Row, type Value } from "./datamodel.ts";
import { fail, XapiError } from "./errors.ts";
import type { Sessions } from "./sessions.ts";

/** xapi_globs.ml: events are gathered for a moment before they are sent, except to those who only wait for tasks. */
const BATCHING = 50;
const LONGEST = 24 * 3600;

type Filter = (cls: string, ref: string) => boolean;

export class Events {
  private readonly db: Database;
  private readonly sessions: Sessions;
  private readonly stopped = new AbortController();

  constructor(db: Database, sessions: Sessions) {
    this.db = db;
    this.sessions = sessions;
  }

  async from(session: string, targets: readonly string[], token: string, timeout: number): Promise<Value> {
    const since = parseToken(token);
    const matches = filter(targets);
    const onlyTasks = targets.length > 0 && targets.every((target) => /^task(\/|$)/i.test(target));
    const end = Date.now() + (timeout > 104 * 24 * 3600 || timeout < 0 ? LONGEST : timeout) * 1000;
    if (!onlyTasks) await this.pause(session, Math.min(BATCHING, end - Date.now()));
    for (;;) {
      const events = this.since(since, matches);
      if (events.length > 0) return this.batch(events, Math.max(since, ...events.map((event) => Number(event.id))));
      const left = end - Date.now();
      if (left <= 0) return this.batch([], since);
      await this.change(session, left);
      if (!onlyTasks) await this.pause(session, Math.min(BATCHING, end - Date.now()));
    }
  }

  /** Bumps an object and answers a token from just before that, so that the next event.from delivers it (and shows that events are up to date). */
  inject(cls: string, ref: string): string {
    if (!classes.has(cls) || !this.db.has(cls, ref)) fail("HANDLE_INVALID", cls, ref);
    const token = formatToken(this.db.generation);
    this.db.touch(cls, ref);
    return token;
  }

  /** Ends all blocked calls: the toolstack goes down. */
  close(): void {
    this.stopped.abort(new XapiError("INTERNAL_ERROR", ["the toolstack is stopping"]));
  }

  /** Order in a batch: messages, additions, changes, deletions. */
  private since(generation: number, matches: Filter): Row[] {
    const groups: { messages: Row[]; add: Row[]; mod: Row[] } = { messages: [], add: [], mod: [] };
    for (const model of classes.values()) {
      if (!model.events) continue;
      for (const [ref, stored] of this.db.stored(model.name)) {
        if (stored.modified <= generation || !matches(model.name, ref)) continue;
        const operation = stored.created > generation ? "add" : "mod";
        const event = { ...header(stored.modified, model.name, ref, operation), snapshot: stored.record };
        if (model.name === "message") groups.messages.push(event);
        else groups[operation].push(event);
      }
    }
    const deleted = this.db
      .deletedSince(generation)
      .filter((t) => t.created <= generation && classes.get(t.cls)?.events && matches(t.cls, t.ref));
    const byId = (a: Row, b: Row) => Number(a.id) - Number(b.id);
    return [
      ...groups.messages,
      ...groups.add.sort(byId),
      ...groups.mod.sort(byId),
      ...deleted.map((t) => header(t.deleted, t.cls, t.ref, "del")),
    ];
  }

  private batch(events: readonly Row[], generation: number): Value {
    const counts: Record<string, number> = {};
    for (const model of classes.values()) counts[model.name.toLowerCase()] = this.db.stored(model.name).size;
    return { events, valid_ref_counts: counts, token: formatToken(generation) };
  }

  /** Waits for a write, for the time to pass, or for the end of the session. */
  private change(session: string, ms: number): Promise<void> {
    return this.wait(session, ms, (wake) => this.db.onChange(wake));
  }

  private pause(session: string, ms: number): Promise<void> {
    return this.wait(session, ms, () => () => {});
  }

  private wait(session: string, ms: number, subscribe: (wake: () => void) => () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (error?: unknown) => {
        clearTimeout(timer);
        unsubscribe();
        unwatch();
        this.stopped.signal.removeEventListener("abort", onStop);
        if (error) reject(error);
        else resolve();
      };
      const onStop = () => finish(this.stopped.signal.reason);
      const timer = setTimeout(() => finish(), Math.max(0, Math.min(ms, 2 ** 31 - 1)));
      const unsubscribe = subscribe(() => finish());
      const unwatch = this.sessions.onEnd((ended) => {
        if (ended === session) finish(new XapiError("SESSION_INVALID", [session]));
      });
      this.stopped.signal.addEventListener("abort", onStop);
      if (this.stopped.signal.aborted) onStop();
    });
  }
}

const header = (generation: number, cls: string, ref: string, operation: string): Row => ({
  id: String(generation),
  timestamp: "0.0",
  class: cls.toLowerCase(),
  operation,
  ref,
});

/** "*", a class in any case, or one object as "class/reference". */
function filter(targets: readonly string[]): Filter {
  const wanted = new Set(
    targets.map((target) => (target.includes("/") ? target.replace(/^[^/]*/, (cls) => cls.toLowerCase()) : target.toLowerCase())),
  );
  return (cls, ref) => wanted.has("*") || wanted.has(cls.toLowerCase()) || wanted.has(`${cls.toLowerCase()}/${ref}`);
}

function formatToken(generation: number): string {
  const digits = String(generation).padStart(20, "0");
  return `${digits},${digits}`;
}

function parseToken(token: string): number {
  if (token === "") return 0;
  const match = /^(\d+),(\d+)$/.exec(token);
  return match ? Number(match[1]) : fail("EVENT_FROM_TOKEN_PARSE_FAILURE", token);
}
