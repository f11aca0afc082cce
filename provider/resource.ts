// defineResource: one definition gives types, check, diff, lifecycle and schema of a resource, for every front.
// Promises to the fronts: inputs and outputs are plain JSON (no `undefined` in them: it makes Pulumi's dynamic host hang),
// check never throws for bad input, issues at or under a value that preview can't know yet are no failures.
import { z } from "zod";
import { explain, InitFailedError, InputError, ProviderError } from "./errors.ts";
import type { Xapi } from "./xapi/client.ts";

/** What Pulumi puts for a value that is not known yet in preview; dynamic providers see it for any type (pulumi#6310). */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** What a front supplies. */
export interface FrontContext {
  /** A live status line on the resource's row; once per change. */
  report: (message: string) => void;
  /** Shown once and kept under Diagnostics. */
  warn: (message: string) => void;
  signal: AbortSignal;
  /** The resource's URN where the front knows it: a hint for finding this resource's own leftovers, never a proof of ownership. */
  urn?: string | undefined;
  /** Identity of the program's run: what must not be there twice in one program is looked for within it. Default: this process. */
  program?: object | undefined;
  /** Credentials from stack config; the environment comes before them, inputs after them. */
  config: { username?: string | undefined; password?: string | undefined };
}

export interface Context extends FrontContext {
  connect: (connector: ConnectorCredentials) => Promise<Xapi>;
}

export interface ConnectorCredentials {
  address: string | string[];
  username?: string | undefined;
  password?: string | undefined;
  tls?: { verify?: boolean | undefined; caCertificate?: string | undefined; fingerprints?: string[] | undefined } | undefined;
  transferOverTls?: boolean | undefined;
}

export interface CheckFailure {
  /** Property path, as `platform.connectionBroker` or `install[2].run`. */
  property: string;
  reason: string;
}

type Json = Record<string, unknown>;

/** In preview some values are not known yet: they are absent here, nested ones too. */
export type Known<T> = T extends readonly unknown[] ? T : T extends object ? { [K in keyof T]?: Known<T[K]> | undefined } : T;

export interface Definition<I extends z.ZodObject, O extends z.ZodObject> {
  /** The name in Pulumi's schema and in programs: `PackagingDisk`. */
  type: string;
  description: string;
  inputs: I;
  /** What outputs have beyond the inputs. */
  outputs: O;
  /** Looks at the pool: failures by property, and inputs that it resolved (shown in the diff). Runs after the shape is right. */
  examine?: (ctx: Context, want: Known<z.output<I>>, old: Known<z.output<I>> | undefined) => Promise<Examined<z.output<I>>>;
  /** `changes: true` forces an update; undefined lets the engine compare inputs. */
  diff?: (ctx: Context, id: string, old: State<I, O>, want: Known<z.output<I>>) => Promise<DiffResult>;
  create: (ctx: Context, inputs: z.output<I>) => Promise<{ id: string; outputs: z.output<O> }>;
  /** undefined = it is really gone (never for "could not look"). */
  read: (ctx: Context, id: string, state: State<I, O>) => Promise<z.output<O> | undefined>;
  update: (ctx: Context, id: string, old: State<I, O>, inputs: z.output<I>) => Promise<z.output<O>>;
  delete: (ctx: Context, id: string, state: State<I, O>) => Promise<void>;
}

export type State<I extends z.ZodObject, O extends z.ZodObject> = z.output<I> & z.output<O>;
export interface Examined<T> {
  failures: CheckFailure[];
  inputs?: Partial<T> | undefined;
}
export interface DiffResult {
  changes?: boolean | undefined;
  replaces?: string[];
}

/** A definition without its types: what fronts and the schema loop over. */
export interface Resource {
  readonly type: string;
  readonly description: string;
  readonly inputs: z.ZodObject;
  readonly outputs: z.ZodObject;
  check(ctx: FrontContext, olds: Json | undefined, news: Json): Promise<{ inputs: Json; failures: CheckFailure[] }>;
  diff(ctx: FrontContext, id: string, olds: Json, news: Json): Promise<DiffResult>;
  create(ctx: FrontContext, inputs: Json): Promise<{ id: string; outputs: Json }>;
  read(ctx: FrontContext, id: string, state: Json): Promise<{ id: string; outputs: Json } | undefined>;
  update(ctx: FrontContext, id: string, olds: Json, news: Json): Promise<{ outputs: Json }>;
  delete(ctx: FrontContext, id: string, state: Json): Promise<void>;
}

export function defineResource<I extends z.ZodObject, O extends z.ZodObject>(
  connectWith: (ctx: FrontContext, connector: ConnectorCredentials) => Promise<Xapi>,
  definition: Definition<I, O>,
): Resource {
  const { type, inputs, outputs } = definition;
  const context = (ctx: FrontContext): Context => ({ ...ctx, connect: (connector) => connectWith(ctx, connector) });
  // Old state may come from an earlier release: what it lacks is absent, what it has too much is kept.
  const state = (json: Json) => json as State<I, O>;

  const full = (json: Json): z.output<I> => {
    const parsed = inputs.safeParse(json);
    if (!parsed.success) throw new InputError(parsed.error.issues.map(failureOf), { hint: `these are inputs of ${type}` });
    return parsed.data as z.output<I>;
  };
  // What is said of a connector's property by whoever looks at the pool is, for the other resources, said of their connector.
  const located = ({ property, reason }: CheckFailure): CheckFailure => {
    const [first = ""] = property.split(/[.[]/);
    const connector = innerObject(inputs.shape.connector as z.ZodType | undefined);
    return first in inputs.shape || connector === undefined || !(first in connector.shape)
      ? { property, reason }
      : { property: `connector.${property}`, reason };
  };
  const withInputs = (wanted: Json, made: Json): Json => plain({ ...wanted, ...made });

  return {
    type,
    description: definition.description,
    inputs,
    outputs,
    async check(ctx, olds, news) {
      const { want, checked, failures, complete } = parseKnown(inputs, news);
      if (failures.length > 0) return { inputs: plain(checked), failures };
      if (complete) {
        const parsed = inputs.safeParse(news);
        if (!parsed.success) return { inputs: plain(checked), failures: parsed.error.issues.map(failureOf) };
      }
      if (definition.examine === undefined) return { inputs: plain(checked), failures: [] };
      const old = olds === undefined ? undefined : parseKnown(inputs, olds).want;
      try {
        const examined = await definition.examine(context(ctx), want as Known<z.output<I>>, old as Known<z.output<I>> | undefined);
        return { inputs: plain({ ...checked, ...examined.inputs }), failures: examined.failures };
      } catch (error) {
        if (error instanceof InputError) return { inputs: plain(checked), failures: error.failures.map(located) };
        if (!(error instanceof ProviderError)) throw error;
        return {
          inputs: plain(checked),
          failures: [{ property: "connector" in inputs.shape ? "connector" : "address", reason: explain(error) }],
        };
      }
    },
    async diff(ctx, id, olds, news) {
      return (await definition.diff?.(context(ctx), id, state(olds), parseKnown(inputs, news).want as Known<z.output<I>>)) ?? {};
    },
    async create(ctx, wanted) {
      const parsed = full(wanted);
      try {
        const made = await definition.create(context(ctx), parsed);
        return { id: made.id, outputs: withInputs(parsed, made.outputs) };
      } catch (error) {
        throw error instanceof InitFailedError ? new InitFailedError(error.id, withInputs(parsed, error.outputs), error.cause) : error;
      }
    },
    async read(ctx, id, old) {
      const seen = await definition.read(context(ctx), id, state(old));
      return seen === undefined ? undefined : { id, outputs: withInputs(old, seen) };
    },
    async update(ctx, id, olds, news) {
      const parsed = full(news);
      try {
        return { outputs: withInputs(parsed, await definition.update(context(ctx), id, state(olds), parsed)) };
      } catch (error) {
        throw error instanceof InitFailedError ? new InitFailedError(error.id, withInputs(parsed, error.outputs), error.cause) : error;
      }
    },
    delete: (ctx, id, old) => definition.delete(context(ctx), id, state(old)),
  };
}

interface ParsedKnown {
  /** Known values, parsed, with defaults. */
  want: Json;
  /** The same with what is unknown left as it came: what goes back to the engine. */
  checked: Json;
  failures: CheckFailure[];
  complete: boolean;
}

// Each property is parsed by itself, so that one unknown value doesn't hide the faults of the others.
function parseKnown(schema: z.ZodObject, json: Json, path: string[] = []): ParsedKnown {
  const result: ParsedKnown = { want: {}, checked: {}, failures: [], complete: true };
  for (const key of Object.keys(json)) {
    if (!(key in schema.shape) && json[key] !== undefined)
      result.failures.push({
        property: propertyPath([...path, key]),
        reason: `no such property; there are ${Object.keys(schema.shape).join(", ")}`,
      });
  }
  for (const [key, property] of Object.entries(schema.shape) as [string, z.ZodType][]) {
    const given = json[key];
    if (!holdsUnknown(given)) {
      const parsed = property.safeParse(given);
      if (!parsed.success) {
        for (const issue of parsed.error.issues) result.failures.push(failureOf({ ...issue, path: [...path, key, ...issue.path] }));
      } else if (parsed.data !== undefined) {
        // A key that is there and undefined means "not known yet" below; here it means nothing.
        result.want[key] = plain({ value: parsed.data }).value;
        result.checked[key] = result.want[key];
      }
      continue;
    }
    result.complete = false;
    result.checked[key] = given;
    // Present but undefined: given, and not known yet.
    result.want[key] = undefined;
    const object = innerObject(property);
    if (object !== undefined && typeof given === "object" && given !== null && !Array.isArray(given)) {
      const inner = parseKnown(object, given as Json, [...path, key]);
      result.want[key] = inner.want;
      result.checked[key] = inner.checked;
      result.failures.push(...inner.failures);
    }
  }
  return result;
}

function innerObject(schema: z.ZodType | undefined): z.ZodObject | undefined {
  let inner: unknown = schema;
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) inner = inner.unwrap();
  return inner instanceof z.ZodObject ? inner : undefined;
}

export function holdsUnknown(value: unknown): boolean {
  if (value === UNKNOWN) return true;
  if (Array.isArray(value)) return value.some(holdsUnknown);
  return typeof value === "object" && value !== null && Object.values(value).some(holdsUnknown);
}

type Issue = { path: PropertyKey[]; message: string; code?: string | undefined; issues?: readonly { message: string }[] | undefined };

function failureOf(issue: Issue): CheckFailure {
  const missing = issue.code === "invalid_type" && /received undefined/.test(issue.message);
  // What is wrong with a key is said inside.
  const reason = (issue.code === "invalid_key" ? issue.issues?.[0]?.message : undefined) ?? issue.message;
  return { property: propertyPath(issue.path), reason: missing ? "is required" : reason };
}

/** `["install", 2, "run"]` as `install[2].run`. */
export function propertyPath(path: readonly PropertyKey[]): string {
  return path.map((part, index) => (typeof part === "number" ? `[${part}]` : `${index === 0 ? "" : "."}${String(part)}`)).join("");
}

/** Plain JSON: no `undefined`, no class instances. */
export function plain(value: Json): Json {
  return JSON.parse(JSON.stringify(value)) as Json;
}
