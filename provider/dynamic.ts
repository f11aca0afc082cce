// The dynamic front's half that runs in Pulumi's host: what a serialised provider (sdk/dynamic.ts) calls for each of its methods.
// Promises to the host, which has traps (pulumi#3012, #9086, and seen with 3.248): no `undefined` in what is returned or thrown, or the engine
// hangs; `__provider` in everything that becomes state, or nothing can be deleted; a reason for each half-made resource, or it counts as
// complete; secrets in wire form wherever they become state, or they are stored in clear.
import * as z from "zod";
import { thisEngine } from "./engine.ts";
import { explain, InitFailedError, ProviderError } from "./errors.ts";
import { type CheckFailure, type FrontContext, plain, type Resource } from "./resource.ts";

type Json = Record<string, unknown>;

/** Pulumi's, as a provider's `configure` gets it: the whole stack configuration. */
export interface DynamicConfig {
  get(key: string): string | undefined;
}

/** The methods as Pulumi's host calls them. */
export interface DynamicProvider {
  check(olds: Json, news: Json): Promise<{ inputs: Json; failures: CheckFailure[] }>;
  diff(id: string, olds: Json, news: Json): Promise<{ changes?: boolean; replaces?: string[] }>;
  create(inputs: Json): Promise<{ id: string; outs: Json }>;
  read(id: string, state: Json): Promise<{ id: string; props: Json }>;
  update(id: string, olds: Json, news: Json): Promise<{ outs: Json }>;
  delete(id: string, state: Json): Promise<void>;
}

/** A front for these resources: the type (`OsLayer`) and the stack configuration give the provider. */
export function dynamicFront(resources: readonly Resource[]): (type: string, config: DynamicConfig) => DynamicProvider {
  return (type, config) => {
    const resource = resources.find((candidate) => candidate.type === type);
    if (resource === undefined)
      throw new Error(`pulumi-xenlayer has no resource ${type}: the installed version is older than the one that made it; update it`);
    return provide(resource, config);
  };
}

function provide(resource: Resource, config: DynamicConfig): DynamicProvider {
  const engine = thisEngine();
  const asState = (properties: Json, given: Json): Json => ({
    ...(wrap(stateSchema(resource), plain(properties)) as Json),
    ...hidden(given),
  });

  // Everything that a method says has been heard when it returns: a line after the result would belong to nothing.
  const call = async <T>(doing: string, given: Json, work: (ctx: FrontContext) => Promise<T>): Promise<T> => {
    try {
      return await engine.during(work(context(given)));
    } catch (error) {
      throw outward(`${doing} ${resource.type}`, error, (outputs) => asState(outputs, given));
    } finally {
      await engine.flush();
    }
  };
  const context = (given: Json): FrontContext => {
    const urn = typeof given.__urn === "string" ? given.__urn : undefined;
    let said: string | undefined;
    return {
      report: (message) => {
        if (message !== said) engine.log({ severity: "info", message, urn, ephemeral: true });
        said = message;
      },
      warn: (message) => engine.log({ severity: "warning", message, urn, ephemeral: false }),
      signal: engine.signal,
      urn,
      config: { username: config.get("xenlayer:username"), password: config.get("xenlayer:password") },
    };
  };

  return {
    check: (olds, news) =>
      call("check", news, async (ctx) => {
        const before = visible(olds);
        const checked = await resource.check(ctx, Object.keys(before).length === 0 ? undefined : before, visible(news));
        return { inputs: asState(checked.inputs, news), failures: checked.failures };
      }),

    diff: (id, olds, news) =>
      call("diff", news, async (ctx) => {
        const [before, after] = [visible(olds), visible(news)];
        const { changes, replaces = [] } = await resource.diff(ctx, id, before, after);
        // Left open, the engine compares inputs itself and shows single properties; but it would count the hidden ones, which change with the
        // name of the resource and the release of this package.
        const decided = changes ?? (replaces.length === 0 && sameInputs(resource, before, after) ? false : undefined);
        return { ...(decided === undefined ? {} : { changes: decided }), ...(replaces.length === 0 ? {} : { replaces }) };
      }),

    create: (inputs) =>
      call("create", inputs, async (ctx) => {
        const { id, outputs } = await resource.create(ctx, visible(inputs));
        return { id: String(id), outs: asState(outputs, inputs) };
      }),

    read: (id, state) =>
      call("read", state, async (ctx) => {
        const seen = await resource.read(ctx, id, visible(state));
        // An empty id is the host's word for "gone".
        return seen === undefined ? { id: "", props: {} } : { id: String(seen.id), props: asState(seen.outputs, state) };
      }),

    update: (id, olds, news) =>
      call("update", news, async (ctx) => {
        const { outputs } = await resource.update(ctx, id, visible(olds), visible(news));
        return { outs: asState(outputs, news) };
      }),

    delete: (id, state) => call("delete", state, (ctx) => resource.delete(ctx, id, visible(state))),
  };
}

// The front's own properties (`__provider`, `__urn`) and the resource's: definitions never see the former.
const visible = (properties: Json): Json => Object.fromEntries(Object.entries(properties).filter(([key]) => !key.startsWith("__")));
const hidden = (properties: Json): Json => Object.fromEntries(Object.entries(properties).filter(([key]) => key.startsWith("__")));

function sameInputs(resource: Resource, olds: Json, news: Json): boolean {
  return Object.keys(resource.inputs.shape).every((key) => {
    // Made by the resource when the program leaves it out.
    if (news[key] === undefined && key in resource.outputs.shape) return true;
    return canonical(olds[key]) === canonical(news[key]);
  });
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return String(JSON.stringify(value));
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return `{${entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`)
    .join(",")}}`;
}

/** As JSON Schema, where `meta({ secret: true })` is kept through optional, default and refine. */
type Schema = z.core.JSONSchema.BaseSchema & { secret?: boolean };

const stateSchemas = new WeakMap<Resource, Schema>();

function stateSchema(resource: Resource): Schema {
  const known = stateSchemas.get(resource);
  if (known !== undefined) return known;
  const made = z.toJSONSchema(z.object({ ...resource.inputs.shape, ...resource.outputs.shape }), { io: "input", unrepresentable: "any" });
  stateSchemas.set(resource, made);
  return made;
}

// Pulumi's wire form of a secret (sdk/nodejs/runtime/rpc.ts): the host refuses pulumi.secret(), but lets this pass.
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";

function wrap(schema: Schema | boolean | undefined, value: unknown): unknown {
  if (typeof schema !== "object" || value === null || value === undefined) return value;
  if (schema.secret === true) return { [SIGNATURE]: SECRET, value };
  if (Array.isArray(value)) return value.map((item) => wrap(schema.items as Schema | undefined, item));
  if (typeof value !== "object") return value;
  const rest = schema.additionalProperties as Schema | boolean | undefined;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, wrap((schema.properties?.[key] as Schema | undefined) ?? rest, inner)]),
  );
}

/** What Pulumi shows of an error: sentences, and a stack only where somebody can do something with it. */
function outward(doing: string, error: unknown, asState: (outputs: Json) => Json): Error {
  const expected = error instanceof ProviderError;
  const frames = error instanceof Error && !expected ? (error.stack ?? "").split("\n    at ").slice(1, 6) : [];
  // Of create and update only the message reaches the engine.
  const shown = new Error(
    expected ? explain(error) : [`${explain(error)} (an error in xenlayer itself, please report it)`, ...frames].join("\n    at "),
  );
  // Of the others the host prints `${error}: ${error.stack}`, too.
  shown.name = "xenlayer";
  shown.stack = `(${doing})`;
  if (error instanceof InitFailedError)
    Object.assign(shown, {
      message: error.reasons[0],
      id: String(error.id),
      properties: asState(error.outputs),
      reasons: [...error.reasons],
    });
  return shown;
}
