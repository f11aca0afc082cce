/** What a message sees while it runs, and the shape of the files in classes/: one function per message, called as `(ctx, ...parameters)` without the session. */
import type { Clock } from "./clock.ts";
import type { Database } from "./database.ts";
import type { Domains } from "./domains.ts";
import type { Events } from "./events.ts";
import type { Faults } from "./faults.ts";
import type { HttpRequest } from "./http.ts";
import type { HttpReply } from "./httpReply.ts";
import type { Log } from "./log.ts";
import type { Sessions } from "./sessions.ts";
import type { DiskStore } from "./storage/disk.ts";
import type { Tasks } from "./tasks.ts";

/** The parts of one simulated pool that outlive a call. */
export interface Pool {
  readonly db: Database;
  readonly clock: Clock;
  readonly storage: DiskStore;
  readonly domains: Domains;
  readonly sessions: Sessions;
  readonly tasks: Tasks;
  readonly events: Events;
  readonly faults: Faults;
  readonly log: Log;
  /** What guests and their consoles said, newest last. */
  readonly guestLog: { vm: string; line: string }[];
  /** The password of root and of every subject. */
  password: string;
  /** A private directory, kept over restarts when the simulator has a state directory. */
  readonly workDir: string;
  /** "address:port" at which a host of the pool (a reference) is reached, and whether over TLS. */
  endpoint(host: string): { readonly authority: string; readonly tls: boolean };
}

export interface Context extends Pool {
  /** The host whose server got the call. */
  readonly host: string;
  /** Reference of the session; "" where the message needs none. */
  readonly session: string;
  /** Reference of the task that stands for the call; "" for a message without one. */
  readonly task: string;
  /** Aborted with TASK_CANCELLED when the task is cancelled; what takes time should sleep on it. */
  readonly signal: AbortSignal;
  /** Sets the progress of the task, 0 to 1. */
  progress(fraction: number): void;
}

/** `never` lets each message say its own parameter types; dispatch has checked them against the datamodel. */
export type Messages = Readonly<Record<string, (ctx: Context, ...params: never[]) => unknown>>;

/**
 * A handler of HTTP requests other than RPC (transfers.ts). The server has already checked session and role, and found the task (`task_id`, else one of its own):
 * what the handler answers becomes the task's result (a string as XML-RPC `<value>`, undefined as ""), what it throws becomes the task's failure. A reply that
 * has not begun by then is sent by the server: 500 with the error as text. FORWARDED leaves a task that the client gave as it is: another host goes on with it. `ctx.signal` also aborts when the client is gone.
 */
export type HttpHandler = (request: HttpRequest, reply: HttpReply, ctx: Context) => Promise<string | typeof FORWARDED | undefined>;

export const FORWARDED = Symbol("forwarded");
