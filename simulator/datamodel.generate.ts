/**
 * Makes simulator/datamodel.json and simulator/records.ts from the datamodel that xen-api publishes (in the form described beside it: classes, fields, messages,
 * relations, hidden messages). Only what dispatch needs is kept. Run it when a newer datamodel is to be followed, and commit what it writes:
 *
 *     node dist/simulator/datamodel.generate.js <path of the source datamodel.json> simulator
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

interface SourceParameter {
  name: string;
  type: string;
  required: boolean;
  default?: unknown;
}
interface SourceMessage {
  name: string;
  params: SourceParameter[];
  result: string;
  roles: string | string[];
  implicit: boolean;
  async: boolean;
  state?: string;
}
interface SourceField {
  name: string;
  type: string;
  qualifier: string;
  default?: unknown;
  db?: string;
}
interface SourceClass {
  name: string;
  get_all: boolean;
  events: boolean;
  enums: Record<string, string[]>;
  fields: SourceField[];
  messages: SourceMessage[];
}
interface Source {
  source: { commit: string; api: string };
  classes: SourceClass[];
  relations: [string, string, string, string][];
  hidden: Record<string, string[]>;
}

const qualifiers: Record<string, string> = { RW: "rw", "RO/constructor": "constructor", "RO/runtime": "runtime" };

function message(m: SourceMessage): unknown[] {
  const needsSession = m.params[0]?.type === "session ref" && m.params[0].name === "session_id";
  const params = (needsSession ? m.params.slice(1) : m.params).map((p) => (p.required ? [p.name, p.type] : [p.name, p.type, p.default]));
  const role = typeof m.roles === "string" ? m.roles : (m.roles[0] ?? "local-superuser");
  const flags = [needsSession ? "session" : "", m.implicit ? "implicit" : "", m.async ? "async" : "", m.state ?? ""].filter(
    (f) => f !== "",
  );
  return [params, m.result, role, flags];
}

function lines(entries: [string, unknown][], indent: string): string {
  return entries.map(([key, value]) => `${indent}${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",\n");
}

function datamodel(source: Source): string {
  const classes = source.classes.map((c) => {
    const fields = c.fields.map((f): [string, unknown] => [
      f.name,
      {
        type: f.type,
        qualifier: qualifiers[f.qualifier] ?? f.qualifier,
        ...("default" in f ? { default: f.default } : {}),
        ...(f.db ? { db: f.db } : {}),
      },
    ]);
    const messages = c.messages.map((m): [string, unknown] => [m.name, message(m)]);
    return `  ${JSON.stringify(c.name)}:{"getAll":${c.get_all},"events":${c.events},\n   "enums":${JSON.stringify(c.enums)},\n   "fields":{\n${lines(fields, "    ")}},\n   "messages":{\n${lines(messages, "    ")}},\n   "hidden":${JSON.stringify(source.hidden[c.name] ?? [])}}`;
  });
  const origin = JSON.stringify({ repository: "xapi-project/xen-api", commit: source.source.commit, api: source.source.api });
  return `{"source":${origin},\n "relations":[\n${source.relations.map((r) => `  ${JSON.stringify(r)}`).join(",\n")}],\n "classes":{\n${classes.join(",\n")}}}\n`;
}

function typeScript(type: string, enums: Record<string, string[]>): string {
  if (type.endsWith(" set")) return `readonly ${parenthesised(typeScript(type.slice(0, -4), enums))}[]`;
  if (type.endsWith(" option")) return `${typeScript(type.slice(0, -7), enums)} | undefined`;
  const map = /^\((.+) -> (.+)\) map$/.exec(type);
  if (map) return `Readonly<Record<string, ${typeScript(map[2] ?? "", enums)}>>`;
  if (type.startsWith("enum ")) return (enums[type.slice(5)] ?? []).map((v) => JSON.stringify(v)).join(" | ") || "string";
  if (type === "int" || type === "float") return "number";
  if (type === "bool") return "boolean";
  if (type.endsWith(" record")) return "unknown";
  return "string"; // string, datetime, references
}

const parenthesised = (type: string): string => (/[| ]/.test(type) ? `(${type})` : type);

function records(source: Source): string {
  const interfaces = source.classes.map((c) => {
    const fields = c.fields.map((f) => `    readonly ${f.name}: ${typeScript(f.type, c.enums)};`);
    if (fields.length === 0) return `  readonly ${c.name}: Readonly<Record<string, never>>;`;
    return `  readonly ${c.name}: {\n${fields.join("\n")}\n  };`;
  });
  return `// Made by datamodel.generate.ts from xen-api ${source.source.commit}; not edited.\n\n/** The record of each class of the XenServer management API, as the database keeps it: dates as text, references as text, maps as objects. */\nexport interface Records {\n${interfaces.join("\n")}\n}\n\nexport type ClassName = keyof Records;\n`;
}

const [input, output] = process.argv.slice(2);
if (!input || !output) throw new Error("usage: datamodel.generate <source datamodel.json> <simulator directory>");
const source = JSON.parse(readFileSync(input, "utf8")) as Source;
writeFileSync(join(output, "datamodel.json"), datamodel(source));
writeFileSync(join(output, "records.ts"), records(source));
