// Waiting for a task of XAPI. Promises: its end is learnt from events, and from a slow look in case one is lost; it is cancelled on abort;
// its result is XAPI's value, its failure an error with XAPI's code. Life of a task: xen-api ocaml/xapi/taskHelper.ml.
import { CancelledError, XapiError } from "../errors.ts";
import { TASK_VANISHED } from "./codes.ts";
import type { Events, Position } from "./events.ts";
import { parseRecord, type Rec } from "./records.ts";
import type { Session } from "./session.ts";
import { Failure } from "./transport.ts";

export interface TaskTimes {
  /** A lost event costs at most this. */
  lookMs: number;
  /** How long a cancelled task may take to end. */
  cancelMs: number;
}

export interface TaskWait {
  /** What the task does, in errors. */
  method: string;
  /** Events.position from before the task was made. */
  since: Position;
  signal?: AbortSignal | undefined;
  onProgress?: ((fraction: number) => void) | undefined;
  times: TaskTimes;
}

/** Waits for the end of the task and returns its result, unparsed. Rejects with a Failure as a call would, so that codes.ts can have it repeated. */
export async function taskResult(session: Session, events: Events, task: string, wait: TaskWait): Promise<string> {
  const { signal, onProgress } = wait;
  let record: Rec<"task"> | undefined;
  let vanished = false;
  let wake = () => {};
  const see = (seen: Rec<"task">) => {
    if (record !== undefined && record.status !== "pending") return;
    if (seen.progress !== record?.progress) onProgress?.(seen.progress);
    record = seen;
    wake();
  };
  const look = async () => {
    try {
      see(parseRecord("task", task, await session.call("task.get_record", [task])));
    } catch (error) {
      if (!(error instanceof XapiError) || error.code !== "HANDLE_INVALID") throw error;
      vanished = true;
      wake();
    }
  };
  let failed: { error: unknown } | undefined;
  const lookNow = () => {
    look().catch((error: unknown) => {
      failed = { error };
      wake();
    });
  };
  const subscription = events.subscribe(
    [`task/${task}`],
    (batch) => {
      const last = batch?.at(-1);
      if (last === undefined || last.operation === "del") lookNow();
      else see(parseRecord("task", task, last.snapshot));
    },
    wait.since,
  );
  const ended = () => (record !== undefined && record.status !== "pending") || vanished || failed !== undefined;
  const pause = (ms: number, abort: AbortSignal | undefined) =>
    new Promise<void>((resolve) => {
      const stop = () => {
        clearTimeout(timer);
        abort?.removeEventListener("abort", stop);
        resolve();
      };
      const timer = setTimeout(stop, ms);
      wake = stop;
      abort?.addEventListener("abort", stop);
      if (ended() || abort?.aborted) stop();
    });
  try {
    while (!ended() && !signal?.aborted) {
      const before = performance.now();
      await pause(wait.times.lookMs, signal);
      if (!ended() && !signal?.aborted && performance.now() - before >= wait.times.lookMs - 1) await look();
    }
    if (!ended()) {
      // What was asked for may be half done: give it a moment to stop, so that whoever cleans up does not meet it at work.
      await session.call("task.cancel", [task]).catch(() => undefined);
      const until = performance.now() + wait.times.cancelMs;
      while (!ended() && performance.now() < until) await pause(until - performance.now(), undefined);
      throw new CancelledError(wait.method, { cause: signal?.reason });
    }
  } finally {
    subscription.close();
  }
  if (failed !== undefined) throw (failed as { error: unknown }).error;
  return outcome(record, vanished, wait);
}

function outcome(record: Rec<"task"> | undefined, vanished: boolean, wait: TaskWait): string {
  if (record?.status === "success") return record.result;
  if (vanished || record === undefined) throw new Failure(TASK_VANISHED, []);
  // A task that we cancelled ends so; one that somebody else cancelled is an error like any other.
  if (wait.signal?.aborted) throw new CancelledError(wait.method, { cause: wait.signal.reason });
  const [code = record.status === "cancelled" ? "TASK_CANCELLED" : "INTERNAL_ERROR", ...params] = record.error_info;
  throw new Failure(code, params);
}

/** The value in a task's result, which is XML-RPC text whatever the wire protocol (`<value>OpaqueRef:…</value>`); numbers stay text, as XML-RPC has them. */
export function parseResult(xml: string): unknown {
  if (xml === "") return undefined;
  const tokens = xml.match(/<[^>]*>|[^<]+/g) ?? [];
  let at = 0;
  const bad = (): never => {
    throw new Failure("UNREADABLE_REPLY", ["the result of a task"]);
  };
  const expect = (token: string): void => {
    if (tokens[at++] !== token) bad();
  };
  const blanks = () => {
    while (tokens[at]?.trim() === "") at++;
  };
  const content = (): string => {
    const token = tokens[at];
    if (token === undefined || token.startsWith("<")) return "";
    at++;
    return token.replace(/&(lt|gt|quot|apos|amp|#\d+);/g, (_, name: string) => entity(name));
  };
  const array = (): unknown[] => {
    const items: unknown[] = [];
    blanks();
    if (tokens[at] === "<data/>") at++;
    else {
      expect("<data>");
      for (blanks(); tokens[at] !== "</data>"; blanks()) items.push(value());
      expect("</data>");
    }
    blanks();
    expect("</array>");
    return items;
  };
  const struct = (): Record<string, unknown> => {
    const members: [string, unknown][] = [];
    for (blanks(); tokens[at] === "<member>"; blanks()) {
      expect("<member>");
      blanks();
      expect("<name>");
      const name = content();
      expect("</name>");
      blanks();
      members.push([name, value()]);
      blanks();
      expect("</member>");
    }
    expect("</struct>");
    return Object.fromEntries(members);
  };
  const value = (): unknown => {
    if (tokens[at] === "<value/>") {
      at++;
      return "";
    }
    expect("<value>");
    let result: unknown = content();
    const tag = /^<(\w[\w.]*)(\/?)>$/.exec(tokens[at] ?? "");
    if (tag !== null) {
      at++;
      const [, name = "", empty] = tag;
      if (empty === "/") result = name === "nil" ? undefined : "";
      else if (name === "array") result = array();
      else if (name === "struct") result = struct();
      else {
        const inner = content();
        expect(`</${name}>`);
        result = name === "boolean" ? inner === "1" : name === "double" ? Number(inner) : inner;
      }
      blanks();
    }
    expect("</value>");
    return result;
  };
  blanks();
  return value();
}

function entity(name: string): string {
  const named: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return named[name] ?? String.fromCodePoint(Number(name.slice(1)));
}
