/**
 * From a method's name and raw parameters to its result, as the generated server of xen-api does it (ocaml/idl/ocaml_backend/gen_server.ml): arity, types, session, role,
 * action, in this order. Which messages exist, with what parameters and for which role comes from the datamodel; what they do from classes/ or, for the generated ones,
 * from implicit.ts. A message that is known but not written is refused by its name.
 */
import type { Clock } from "./clock.ts";
import type { Context, Messages, Pool } from "./context.ts";
import { type ClassModel, classes, type Message, type Row, type Value } from "./datamodel.ts";
import { asXapiError, fail } from "./errors.ts";
import { BrokenReply, type FaultRule, fails, faultError } from "./faults.ts";
import { type Handler, implicit } from "./implicit.ts";
import { withoutSecrets } from "./log.ts";
import { shown, unmarshal } from "./marshal.ts";
import { permissionFor } from "./permissions.ts";
import { toXml } from "./xmlrpc.ts";

export interface Result {
  readonly type: string;
  readonly value: Value;
}

interface Target {
  readonly model: ClassModel;
  readonly name: string;
  readonly message: Message;
  readonly async: boolean;
}

const where: Message = {
  params: [{ name: "expr", type: "string", optional: false }],
  result: "",
  role: "read-only",
  session: true,
  implicit: true,
  async: false,
  state: "published",
};

/** The names under which a message goes on the wire: also `VM_get_all` for `VM.get_all`. */
const underscored = new Map<string, string>();
for (const model of classes.values())
  for (const name of model.messages.keys()) underscored.set(`${model.name}_${name}`, `${model.name}.${name}`);

export class Dispatcher {
  private readonly pool: Pool;
  private readonly classes: Readonly<Record<string, Messages>>;

  constructor(pool: Pool, written: Readonly<Record<string, Messages>>) {
    this.pool = pool;
    this.classes = written;
  }

  /** Runs one call that came in at `host`; every failure is a XapiError or a BrokenReply. */
  async call(host: string, method: string, params: readonly unknown[], otherConfig: Record<string, string> = {}): Promise<Result> {
    const started = Date.now();
    const target = this.find(method);
    const session = target?.message.session && typeof params[0] === "string" ? params[0] : "";
    const log = (error?: readonly string[]) => {
      const shownParams = withoutSecrets(method, target?.message, params);
      this.pool.log.add({ method, params: shownParams, session, ms: Date.now() - started, ...(error ? { error } : {}) });
    };
    try {
      const result = await this.dispatch(host, method, target, params, otherConfig);
      log();
      return result;
    } catch (error) {
      if (error instanceof BrokenReply) {
        log(["connection"]);
        throw error;
      }
      const failure = asXapiError(error);
      log([failure.code, ...failure.params]);
      throw failure;
    }
  }

  private async dispatch(
    host: string,
    method: string,
    target: Target | undefined,
    params: readonly unknown[],
    otherConfig: Record<string, string>,
  ): Promise<Result> {
    if (method === "system.listMethods") return { type: "string set", value: listMethods };
    if (method.startsWith("system.isAlive:")) return { type: "string", value: method.slice("system.isAlive:".length) };
    if (!target) return this.unknown(host, method, params);
    const { model, name, message, async } = target;
    if (async && !message.async) fail("Fault", `No async mode for this operation (rpc: ${method})`);
    const values = checkParameters(method.replace(/^Async\./, ""), message, params);
    const session = message.session ? String(params[0]) : "";
    if (message.session) this.pool.sessions.check(session);
    if (message.session || name.startsWith("login")) this.assertCoordinator(host);
    if (message.state === "removed" && !message.implicit) fail("MESSAGE_REMOVED"); // getters of removed fields still answer

    const rule = this.pool.faults.match(method, values);
    if (rule?.when === undefined || rule.when === "before") await rule?.happens?.();
    const failing = rule && fails(rule) ? rule : undefined;
    const broken = failing && (failing.http !== undefined || failing.cut !== undefined) && failing.code === undefined;
    if (broken && (failing.when ?? "before") === "before") throw new BrokenReply(failing);
    const run = async (task: string): Promise<Value> => {
      if (failing && !broken && failing.when !== "after") throw faultError(failing);
      if (message.session) this.pool.sessions.authorize(session, permissionFor(model.name, name, values[1]));
      const context = this.context(host, session, task);
      const value = await this.handler(target)(rule?.when === "during" ? held(context, rule) : context, ...values);
      if (rule?.when === "after") await rule.happens?.();
      if (failing && !broken) throw faultError(failing);
      return (value ?? "") as Value;
    };
    const result = this.runAsTask(target, { host, session, otherConfig }, run);
    if (broken && failing.when === "during") {
      result.catch(() => {}); // nobody hears of it
      throw new BrokenReply(failing);
    }
    await result;
    if (broken) throw new BrokenReply(failing);
    return result;
  }

  private async runAsTask(
    { model, name, message, async }: Target,
    { host, session, otherConfig }: { host: string; session: string; otherConfig: Record<string, string> },
    run: (task: string) => Promise<Value>,
  ): Promise<Result> {
    const { tasks } = this.pool;
    if (!message.async) return { type: message.result, value: await run("") };
    const task = tasks.create({ label: `${async ? "Async." : ""}${model.name}.${name}`, host, session, otherConfig });
    const done = run(task).then(
      (value) => {
        tasks.complete(task, toXml(message.result, value));
        return value;
      },
      (error: unknown) => {
        tasks.fail(task, error);
        throw error;
      },
    );
    if (async) {
      done.catch(() => {}); // the failure is in the task
      return { type: "task ref", value: task };
    }
    try {
      return { type: message.result, value: await done };
    } finally {
      tasks.destroy(task);
    }
  }

  /** What a message sees; also used by the server for its HTTP handlers. */
  context(host: string, session: string, task: string): Context {
    return {
      ...this.pool,
      host,
      session,
      task,
      signal: this.pool.tasks.signal(task),
      progress: (fraction) => this.pool.tasks.progress(task, fraction),
    };
  }

  private handler({ model, name, message }: Target): Handler {
    const written = this.classes[model.name];
    if (written && Object.hasOwn(written, name)) return written[name] as unknown as Handler;
    return (generic(message, name) && implicit(model, name)) || (() => fail("NOT_IMPLEMENTED", `${model.name}.${name}`));
  }

  private find(method: string): Target | undefined {
    const async = method.startsWith("Async.");
    const plain = async ? method.slice("Async.".length) : (underscored.get(method) ?? method);
    const dot = plain.indexOf(".");
    const model = classes.get(plain.slice(0, dot));
    const name = plain.slice(dot + 1);
    if (!model) return undefined;
    const message = model.messages.get(name);
    if (message) return { model, name, message, async };
    if (model.getAll && name === "get_all_where") return { model, name, message: { ...where, result: `${model.name} ref set` }, async };
    if (model.getAll && name === "get_all_records_where") {
      return { model, name, message: { ...where, result: `(${model.name} ref -> ${model.name} record) map` }, async };
    }
    return undefined;
  }

  /** With parameters XAPI takes an unknown name for an extension, which needs a session and Host.call_extension (api_server.ml). */
  private unknown(host: string, method: string, params: readonly unknown[]): never {
    if (params.length > 0) {
      this.pool.sessions.check(String(params[0]));
      this.assertCoordinator(host);
    }
    const [cls = "", name = ""] = method.replace(/^Async\./, "").split(".");
    if (classes.get(cls)?.hidden.has(name)) fail("NOT_IMPLEMENTED", `${cls}.${name}`);
    if (params.length > 0) this.pool.sessions.authorize(String(params[0]), "host.call_extension");
    return fail("MESSAGE_METHOD_UNKNOWN", method);
  }

  private assertCoordinator(host: string): void {
    const coordinator = this.pool.db.all("pool")[0]?.[1].master ?? "";
    if (host !== coordinator) fail("HOST_IS_SLAVE", this.pool.db.find("host", coordinator)?.address ?? "");
  }
}

/** The work takes until what happens during it has happened, and its own time. */
function held(context: Context, { happens }: FaultRule): Context {
  const { clock } = context;
  const sleep: Clock["sleep"] = async (ms, signal) => {
    await happens?.();
    await clock.sleep(ms, signal);
  };
  return { ...context, clock: { now: () => clock.now(), busy: (work) => clock.busy(work), close: () => clock.close(), sleep } };
}

/** Whether a message may take its generic form: a hand-written one only where it reads or writes one field, or a table, as a generated one would. */
function generic(message: Message, name: string): boolean {
  if (message.implicit) return true;
  const accessor = { get: 1, set: 2, add: name.startsWith("add_to_") ? 3 : 2, remove: 2 }[name.split("_")[0] ?? ""];
  return accessor !== undefined && (message.params.length === accessor || name.startsWith("get_all"));
}

const listMethods = [
  "system.listMethods",
  ...[...classes.values()].flatMap((model) => [...model.messages.keys()].map((name) => `${model.name}.${name}`)),
];

/** Checks number and types of the parameters and adds the defaults of those left out; answers them without the session. */
function checkParameters(method: string, message: Message, params: readonly unknown[]): Value[] {
  const session = message.session ? 1 : 0;
  const required = message.params.filter((parameter) => !parameter.optional).length;
  const received = params.length - session;
  const tooMany = received > message.params.length && required === message.params.length;
  if (received < required || tooMany) fail("MESSAGE_PARAMETER_COUNT_MISMATCH", method, String(required), String(received));
  if (session && typeof params[0] !== "string") fail("INTERNAL_ERROR", `Failure("Expected string, got '${shown(params[0])}'")`);
  return message.params.map((parameter, index) => {
    if (index >= received) return parameter.default;
    const value = params[index + session];
    return parameter.type.endsWith(" record") && method.endsWith(".create")
      ? constructorRecord(parameter.type.slice(0, -7), value)
      : unmarshal(parameter.type, value);
  });
}

/** Fields that only the server changes later, but that its constructor takes. */
const runtimeInConstructor: Readonly<Record<string, readonly string[]>> = { VBD: ["device", "currently_attached", "unpluggable"] };

/** The one struct of a constructor: unknown and read-only keys are ignored, a missing one without default is an error. */
function constructorRecord(cls: string, value: unknown): Row {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    fail("INTERNAL_ERROR", `Failure("Expected dictionary, got '${shown(value)}'")`);
  const given = value as Record<string, unknown>;
  const record: Record<string, Value> = {};
  for (const [name, field] of classes.get(cls)?.fields ?? []) {
    if (field.qualifier === "runtime" && !runtimeInConstructor[cls]?.includes(name)) continue;
    if (given[name] !== undefined && given[name] !== null) record[name] = unmarshal(field.type, given[name]);
    else if (field.default === undefined && field.qualifier !== "runtime")
      fail("INTERNAL_ERROR", `Server_helpers.Dispatcher_FieldNotFound("${name}")`);
  }
  return record;
}
