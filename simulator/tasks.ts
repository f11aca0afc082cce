/**
 * Tasks (xen-api ocaml/xapi/taskHelper.ml, context.ml): one for each Async call, and one for the duration of a synchronous call of the same messages. Listeners see each
 * write; on success the status is written last.
 */
import type { Clock } from "./clock.ts";
import type { Database } from "./database.ts";
import { date, EPOCH, NULL_REF } from "./datamodel.ts";
import { asXapiError, XapiError } from "./errors.ts";

/** xapi_globs.ml: above this many tasks the oldest completed ones go. */
const MAX_TASKS = 200;

interface Running {
  readonly controller: AbortController;
  /** destroy came while it was pending: it goes away when it ends. */
  destroy: boolean;
}

export class Tasks {
  private readonly db: Database;
  private readonly clock: Clock;
  private readonly running = new Map<string, Running>();

  constructor(db: Database, clock: Clock) {
    this.db = db;
    this.clock = clock;
  }

  create(options: {
    label: string;
    description?: string;
    host: string;
    session: string;
    otherConfig?: Record<string, string>;
    subtaskOf?: string;
  }): string {
    this.collect();
    const ref = this.db.create("task", {
      name_label: options.label,
      name_description: options.description ?? "",
      status: "pending",
      created: date(this.clock.now()),
      finished: EPOCH,
      progress: 0,
      type: "<none/>",
      result: "",
      backtrace: "()",
      resident_on: options.host,
      subtask_of: options.subtaskOf ?? NULL_REF,
      other_config: options.otherConfig ?? {},
    });
    this.owners.set(ref, this.subjectOf(options.session));
    this.running.set(ref, { controller: new AbortController(), destroy: false });
    return ref;
  }

  private readonly owners = new Map<string, string>();

  private subjectOf(session: string): string {
    return this.db.find("session", session)?.auth_user_sid ?? "";
  }

  /** Whether a session belongs to the user that made the task: what "own tasks" means to RBAC. */
  owns(session: string, task: string): boolean {
    return this.owners.get(task) === this.subjectOf(session);
  }

  /** Aborted when the task is cancelled, with TASK_CANCELLED as its reason. */
  signal(ref: string): AbortSignal {
    return this.running.get(ref)?.controller.signal ?? new AbortController().signal;
  }

  pending(ref: string): boolean {
    return this.db.find("task", ref)?.status === "pending";
  }

  /** Progress of a pending task, in steps that are worth an event. */
  progress(ref: string, fraction: number): void {
    const task = this.db.find("task", ref);
    if (task?.status !== "pending") return;
    const value = Math.round(Math.min(1, Math.max(0, fraction)) * 1000) / 1000;
    if (value > task.progress) this.db.update("task", ref, { progress: value });
  }

  /** `result` is XML-RPC text, "" where the call has none. */
  complete(ref: string, result: string): void {
    if (!this.pending(ref)) return;
    this.db.update("task", ref, { allowed_operations: [], finished: date(this.clock.now()) });
    this.db.update("task", ref, { progress: 1, result });
    this.db.update("task", ref, { status: "success" });
    this.ended(ref);
  }

  fail(ref: string, error: unknown): void {
    if (!this.pending(ref)) return;
    const { code, params } = asXapiError(error);
    const cancelled = code === "TASK_CANCELLED";
    this.db.update("task", ref, { progress: 1, error_info: cancelled ? [] : [code, ...params], allowed_operations: [] });
    this.db.update("task", ref, { finished: date(this.clock.now()), backtrace: "()" });
    this.db.update("task", ref, { status: cancelled ? "cancelled" : "failure" });
    this.ended(ref);
  }

  /** Asks a task to stop: work that listens to its signal ends, other work goes on to its end (cancelling is cooperative). */
  cancel(ref: string): void {
    const task = this.db.get("task", ref);
    if (task.status !== "pending") return;
    this.db.update("task", ref, { current_operations: { ...task.current_operations, [ref]: "cancel" } });
    this.running.get(ref)?.controller.abort(new XapiError("TASK_CANCELLED", [ref]));
  }

  destroy(ref: string): void {
    const running = this.running.get(ref);
    if (running && this.pending(ref)) running.destroy = true;
    else this.remove(ref);
  }

  /** Ends the bookkeeping of a task whose status a client has set itself. */
  ended(ref: string): void {
    const running = this.running.get(ref);
    this.running.delete(ref);
    if (running?.destroy) this.remove(ref);
  }

  /** Forgets all tasks, and breaks off what can be broken off of the work behind them: the host that did it is gone. */
  dropAll(): void {
    const running = [...this.running.values()];
    for (const ref of this.db.refs("task")) this.remove(ref);
    for (const { controller } of running) controller.abort(new Error("the coordinator is gone"));
  }

  private remove(ref: string): void {
    this.owners.delete(ref);
    this.running.delete(ref);
    if (this.db.has("task", ref)) this.db.destroy("task", ref);
  }

  private collect(): void {
    const tasks = this.db.all("task");
    const surplus = tasks.length - MAX_TASKS;
    if (surplus < 0) return;
    for (const [ref] of tasks.filter(([, task]) => task.status !== "pending").slice(0, surplus + 1)) this.remove(ref);
  }
}
