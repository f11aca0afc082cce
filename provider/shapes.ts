// What a resource, component or function takes and gives, read out of its zod schemas: one reading for schema.json and for the SDK's types.
// Promises: a type that occurs in several places has one name; two different types never share one.
import * as z from "zod";

export type Shape =
  | { kind: "string" | "number" | "integer" | "boolean" | "any" }
  | { kind: "enum"; name: string }
  | { kind: "array"; items: Shape }
  | { kind: "map"; values: Shape }
  | { kind: "object"; name: string }
  | { kind: "union"; of: Shape[] };

export interface Property {
  name: string;
  shape: Shape;
  description: string;
  /** A program must give it. */
  required: boolean;
  /** It is there in outputs: given, or by default. */
  always: boolean;
  /** Scalars only; other defaults stand in the description. */
  default: string | number | boolean | undefined;
  secret: boolean;
  replaces: boolean;
}

export interface ObjectShape {
  name: string;
  description: string;
  properties: Property[];
}

export interface EnumShape {
  name: string;
  values: string[];
}

type JsonSchema = z.core.JSONSchema.BaseSchema & {
  secret?: boolean;
  willReplaceOnChanges?: boolean;
  /** Descriptions of a map's known keys. */
  keys?: Record<string, string>;
};

// Types that many share are named for what they are, not for where they occur first.
const SHARED: Readonly<Record<string, string>> = {
  connector: "Connector",
  tls: "Tls",
  install: "Step",
  cleanup: "Step",
  platform: "Platform",
  retention: "Retention",
  steps: "StepResult",
  checks: "CheckPolicies",
  versions: "VersionSummary",
  audit: "AuditEntry",
};

/** Collects the named types of all that it reads. */
export class Shapes {
  readonly objects = new Map<string, ObjectShape>();
  readonly enums = new Map<string, EnumShape>();
  readonly #names = new Map<string, string>();
  readonly #texts = new Map<string, string>();

  /** The properties of `owner`'s inputs or outputs. */
  read(owner: string, schema: z.ZodObject): Property[] {
    const json = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema;
    return this.#properties(owner, json);
  }

  #properties(owner: string, { properties = {}, required = [] }: JsonSchema, one?: JsonSchema): Property[] {
    const common = one === undefined ? undefined : this.#shape("", owner.replace(/ies$/, "y"), one);
    return Object.entries(properties).map(([name, value]) => {
      const schema = value as JsonSchema;
      const { default: fallback } = schema;
      const scalar = typeof fallback === "string" || typeof fallback === "number" || typeof fallback === "boolean";
      return {
        name,
        shape: common ?? this.#shape(owner, name, schema),
        description: described(schema),
        required: required.includes(name),
        always: required.includes(name) || fallback !== undefined,
        default: scalar ? fallback : undefined,
        secret: schema.secret === true,
        replaces: schema.willReplaceOnChanges === true,
      };
    });
  }

  #shape(owner: string, property: string, schema: JsonSchema): Shape {
    const { type, anyOf, items, additionalProperties, propertyNames, properties } = schema;
    if (anyOf !== undefined) return { kind: "union", of: anyOf.map((branch) => this.#shape(owner, property, branch as JsonSchema)) };
    if (schema.enum !== undefined) return { kind: "enum", name: this.#enum(owner, property, schema.enum.map(String)) };
    if (type === "array") return { kind: "array", items: this.#shape(owner, property, (items ?? {}) as JsonSchema) };
    if (type === "object" && properties !== undefined) return { kind: "object", name: this.#object(owner, property, schema) };
    if (type === "object") {
      const values = (typeof additionalProperties === "object" ? additionalProperties : {}) as JsonSchema;
      const keys = typeof propertyNames === "object" ? propertyNames.enum : undefined;
      if (keys === undefined) return { kind: "map", values: this.#shape(owner, property, values) };
      // A map with known keys is an object whose properties are all optional, and of one type.
      const known = Object.fromEntries(keys.map((key) => [String(key), { ...values, description: schema.keys?.[String(key)] ?? "" }]));
      return { kind: "object", name: this.#object(owner, property, { ...schema, properties: known, required: [] }, values) };
    }
    if (type === "string" || type === "number" || type === "integer" || type === "boolean") return { kind: type };
    return { kind: "any" };
  }

  #enum(owner: string, property: string, values: string[]): string {
    const name = this.#name(owner, property, JSON.stringify(values));
    this.enums.set(name, { name, values });
    return name;
  }

  #object(owner: string, property: string, schema: JsonSchema, one?: JsonSchema): string {
    const { description: _, default: __, ...own } = schema;
    const name = this.#name(owner, property, JSON.stringify(own), schema.title);
    // Set after its parts: those come first in what is generated.
    if (!this.objects.has(name))
      this.objects.set(name, { name, description: described(schema), properties: this.#properties(name, schema, one) });
    return name;
  }

  // Where the same type of the same property has been read before, it has its name from there.
  #name(owner: string, property: string, text: string, title?: string): string {
    const known = this.#names.get(`${property} ${text}`);
    if (known !== undefined) return known;
    const name = title ?? SHARED[property] ?? `${capital(owner)}${capital(property)}`;
    const taken = this.#texts.get(name);
    if (taken !== undefined && taken !== text) throw new Error(`two types would be named ${name}: ${taken} and ${text}`);
    this.#names.set(`${property} ${text}`, name);
    this.#texts.set(name, text);
    return name;
  }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function described(schema: JsonSchema): string {
  const { description = "", default: fallback } = schema;
  const empty = fallback === undefined || fallback === "" || (typeof fallback === "object" && Object.keys(Object(fallback)).length === 0);
  if (empty) return description;
  return `${description}${description === "" ? "" : " "}Default: \`${typeof fallback === "string" ? fallback : JSON.stringify(fallback)}\`.`;
}
