/**
 * Values by the datamodel's types: what a client sent is checked and brought into the database's form, what goes out over XML-RPC is written by its type. Leniency
 * and error texts are those of ocaml-rpc (rpc.ml) and of the generated server.
 */
import { date, enums, type Row, type Value } from "./datamodel.ts";
import { fail, typeFailure } from "./errors.ts";

/** Splits "(K -> V) map" at its own arrow. */
export function mapTypes(type: string): [string, string] | undefined {
  const match = /^\((.+?) -> (.+)\) map$/.exec(type);
  return match ? [match[1] ?? "", match[2] ?? ""] : undefined;
}

/** A value as ocaml-rpc prints it in its failures. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return "N";
  if (typeof value === "string") return `S(${value})`;
  if (typeof value === "boolean") return `B(${value})`;
  if (typeof value === "number") return Number.isInteger(value) ? `I(${value})` : `F(${value})`;
  if (Array.isArray(value)) return `[${value.map(shown).join(";")}]`;
  const entries = Object.entries(value as object).map(([key, item]) => `${key}:${shown(item)}`);
  return `{${entries.join(";")}}`;
}

const expected = (what: string, value: unknown): never => typeFailure(`Expected ${what}, got '${shown(value)}'`);

/** Checks a parameter against its type and answers it in the database's form. */
export function unmarshal(type: string, value: unknown): Value {
  if (type === "string" || type.endsWith(" ref")) return typeof value === "string" ? value : expected("string", value);
  if (type === "int") {
    if (typeof value === "number" && Number.isInteger(value)) return value;
    return typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : expected("int64", value);
  }
  if (type === "float") {
    if (typeof value === "number") return value;
    return typeof value === "string" && value !== "" && !Number.isNaN(Number(value)) ? Number(value) : expected("float", value);
  }
  if (type === "bool") return typeof value === "boolean" ? value : expected("bool", value);
  if (type === "datetime") return typeof value === "string" ? (dateOf(value) ?? expected("datetime", value)) : expected("datetime", value);
  if (type.startsWith("enum ") && !type.endsWith(" set")) {
    // Names are matched without regard to case, as ppx_deriving_rpc's variants are.
    const wanted = typeof value === "string" ? value.toLowerCase() : expected("string", value);
    return enums.get(type.slice(5))?.find((name) => name.toLowerCase() === wanted) ?? typeFailure(`Unknown tag/contents: ${String(value)}`);
  }
  if (type.endsWith(" set")) {
    const items = Array.isArray(value) ? value : expected("array", value);
    const inner = type.slice(0, -4);
    return items.map((item) => unmarshal(inner, item));
  }
  if (type.endsWith(" option")) return value === null || value === undefined ? undefined : unmarshal(type.slice(0, -7), value);
  const map = mapTypes(type);
  if (map) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return expected("dictionary", value);
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => {
        if (key === "") fail("INTERNAL_ERROR", "Empty_key_in_map");
        return [key, unmarshal(map[1], item)];
      }),
    );
  }
  return value as Value; // records: dispatch checks their fields
}

/** Reads the dates that XAPI reads (ocaml/libs/clock/date.ml): with or without dashes, any offset, no zone means UTC. */
function dateOf(text: string): string | undefined {
  const match = /^(\d{4})-?(\d{2})-?(\d{2})T(\d{2}):(\d{2}):(\d{2})(?:\.\d+)?(Z|[+-]\d{2}:?\d{2})?$/.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second, zone = "Z"] = match;
  const ms = Date.parse(
    `${year}-${month}-${day}T${hour}:${minute}:${second}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone}`,
  );
  return Number.isNaN(ms) ? undefined : date(ms);
}

/** A value as the database keeps it in text, which is what queries compare (ocaml/database/schema.ml, string_marshall_helper.ml). */
export function databaseText(value: Value): string {
  const quoted = (item: Value) => `'${databaseText(item).replace(/\\/g, "\\\\").replace(/'/g, "\\'")}'`;
  if (value === undefined) return "";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `(${value.map(quoted).join(" ")})`;
  return `(${Object.entries(value as Row)
    .map(([key, item]) => `(${quoted(key)} ${quoted(item)})`)
    .join(" ")})`;
}
