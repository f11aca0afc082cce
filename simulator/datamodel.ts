/** The datamodel: which classes, fields and messages XAPI has, their types, roles and relations. Read once from the generated datamodel.json. */
import data from "./datamodel.json" with { type: "json" };

export type Value = string | number | boolean | undefined | readonly Value[] | { readonly [key: string]: Value };
export type Row = Readonly<Record<string, Value>>;

export interface Field {
  readonly type: string;
  readonly qualifier: "rw" | "constructor" | "runtime";
  readonly default?: Value;
  /** Column in the database where it is not the field's name: grouped fields have a double underscore. */
  readonly db?: string;
}

export interface Parameter {
  readonly name: string;
  readonly type: string;
  readonly optional: boolean;
  readonly default?: Value;
}

export interface Message {
  readonly params: readonly Parameter[];
  readonly result: string;
  /** Minimal role, or "local-superuser". */
  readonly role: string;
  /** Takes a session as its first parameter, which `params` leaves out. */
  readonly session: boolean;
  readonly implicit: boolean;
  readonly async: boolean;
  readonly state: "published" | "prototyped" | "deprecated" | "removed";
}

export interface ClassModel {
  readonly name: string;
  readonly getAll: boolean;
  readonly events: boolean;
  readonly enums: Readonly<Record<string, readonly string[]>>;
  readonly fields: ReadonlyMap<string, Field>;
  readonly messages: ReadonlyMap<string, Message>;
  readonly hidden: ReadonlySet<string>;
}

type RawMessage = [[string, string, Value?][], string, string, string[]];
interface Raw {
  source: { repository: string; commit: string; api: string };
  relations: [string, string, string, string][];
  classes: Record<
    string,
    {
      getAll: boolean;
      events: boolean;
      enums: Record<string, string[]>;
      fields: Record<string, Field>;
      messages: Record<string, RawMessage>;
      hidden: string[];
    }
  >;
}

const raw = data as unknown as Raw; // its inferred type says nothing

function message([params, result, role, flags]: RawMessage): Message {
  return {
    params: params.map((p) => ({ name: p[0], type: p[1], optional: p.length === 3, ...(p.length === 3 ? { default: p[2] } : {}) })),
    result,
    role,
    session: flags.includes("session"),
    implicit: flags.includes("implicit"),
    async: flags.includes("async"),
    state: (["prototyped", "deprecated", "removed"] as const).find((state) => flags.includes(state)) ?? "published",
  };
}

export const classes: ReadonlyMap<string, ClassModel> = new Map(
  Object.entries(raw.classes).map(([name, c]) => [
    name,
    {
      name,
      getAll: c.getAll,
      events: c.events,
      enums: c.enums,
      fields: new Map(Object.entries(c.fields)),
      messages: new Map(Object.entries(c.messages).map(([key, value]) => [key, message(value)])),
      hidden: new Set(c.hidden),
    },
  ]),
);

export const source = raw.source;

const enums = new Map<string, readonly string[]>();
for (const c of classes.values()) for (const [name, values] of Object.entries(c.enums)) enums.set(name, values);

export { enums };

/** Where the database keeps the other side of a reference: writing `class.field` changes `field` of what it refers to. */
export interface Relation {
  readonly remoteClass: string;
  readonly remoteField: string;
  readonly many: boolean;
}
export const relations: ReadonlyMap<string, ReadonlyMap<string, Relation>> = (() => {
  const found = new Map<string, Map<string, Relation>>();
  for (const [cls, field, remoteClass, remoteField] of raw.relations) {
    const many = classes.get(cls)?.fields.get(field)?.type.endsWith(" set") ?? false;
    const ofClass = found.get(cls) ?? new Map<string, Relation>();
    ofClass.set(field, { remoteClass, remoteField, many });
    found.set(cls, ofClass);
  }
  return found;
})();

export const NULL_REF = "OpaqueRef:NULL";
export const EPOCH = "19700101T00:00:00Z";

/** What a field holds when neither its constructor nor the datamodel gives a value. */
export function emptyValue(type: string): Value {
  if (type.endsWith(" set")) return [];
  if (type.endsWith(" map")) return {};
  if (type.endsWith(" option")) return undefined;
  if (type.endsWith(" ref")) return NULL_REF;
  if (type.startsWith("enum ")) return enums.get(type.slice(5))?.[0] ?? "";
  if (type === "int" || type === "float") return 0;
  if (type === "bool") return false;
  if (type === "datetime") return EPOCH;
  return "";
}

/** References that stand for none: old releases leaked empty and DummyRef ones. */
export function isNullRef(ref: string): boolean {
  return ref === NULL_REF || ref === "";
}

/** A date in XAPI's form, 20260821T10:00:00Z. */
export function date(ms: number): string {
  return new Date(ms).toISOString().replace(/-/g, "").replace(/\.\d+/, "");
}
