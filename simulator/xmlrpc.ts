/**
 * XML-RPC as XAPI speaks it (ocaml-rpc xmlrpc.ml): integers are written without a tag and so look like strings, failures are structs, `<fault>` is never used.
 */
import { classes, type Row, type Value } from "./datamodel.ts";
import { mapTypes } from "./marshal.ts";

export interface Call {
  readonly method: string;
  readonly params: readonly unknown[];
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };

// biome-ignore lint/suspicious/noControlCharactersInRegex: XML can't hold them, XAPI drops them
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g;

export function escapeXml(text: string): string {
  return text.replace(CONTROL, "").replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c] ?? "&quot;");
}

function unescapeXml(text: string): string {
  return text.replace(/&(#x[0-9a-fA-F]+|#\d+|\w+);/g, (whole, name: string) => {
    if (name.startsWith("#")) return String.fromCodePoint(name[1] === "x" ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1)));
    return ENTITIES[name] ?? whole;
  });
}

/** A cursor over the few constructs that XML-RPC uses; throws on anything else. */
class Scanner {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text.replace(/<\?[^?]*\?>|<!--[\s\S]*?-->/g, "");
  }

  private get rest(): string {
    return this.text.slice(this.at, this.at + 64);
  }

  space(): void {
    while (/\s/.test(this.text[this.at] ?? "")) this.at += 1;
  }

  /** Takes `<name>` or `<name/>` if it is next: "open", "empty" or undefined. */
  open(name: string): "open" | "empty" | undefined {
    const match = new RegExp(`^<${name}\\s*(/?)>`).exec(this.rest);
    if (!match) return undefined;
    this.at += match[0].length;
    return match[1] ? "empty" : "open";
  }

  /** The name of the tag that is next, if one is. */
  peek(): string | undefined {
    return /^<(\/?[\w.]+)/.exec(this.rest)?.[1];
  }

  close(name: string): void {
    this.space();
    if (!this.rest.startsWith(`</${name}>`)) throw new Error(`expected </${name}> at "${this.rest.slice(0, 32)}"`);
    this.at += name.length + 3;
  }

  characters(): string {
    const end = this.text.indexOf("<", this.at);
    if (end < 0) throw new Error("unexpected end of document");
    const text = this.text.slice(this.at, end);
    this.at = end;
    return unescapeXml(text);
  }

  expect(name: string): void {
    this.space();
    if (this.open(name) !== "open") throw new Error(`expected <${name}> at "${this.rest.slice(0, 32)}"`);
    this.spaceUnlessText();
  }

  private spaceUnlessText(): void {
    const match = /^\s+(?=<)/.exec(this.text.slice(this.at, this.at + 4096));
    if (match) this.at += match[0].length;
  }
}

export function parseCall(text: string): Call {
  const scanner = new Scanner(text);
  scanner.expect("methodCall");
  scanner.expect("methodName");
  const method = scanner.characters().trim();
  scanner.close("methodName");
  scanner.space();
  const params: unknown[] = [];
  if (scanner.open("params") === "open") {
    for (scanner.space(); scanner.open("param"); scanner.space()) {
      scanner.space();
      params.push(value(scanner));
      scanner.close("param");
    }
    scanner.close("params");
  }
  scanner.close("methodCall");
  return { method, params };
}

function value(scanner: Scanner): unknown {
  const opened = scanner.open("value");
  if (!opened) throw new Error("expected <value>");
  if (opened === "empty") return "";
  const text = scanner.characters();
  if (scanner.peek() === "/value") {
    scanner.close("value");
    return text;
  }
  const result = typed(scanner);
  scanner.close("value");
  return result;
}

function typed(scanner: Scanner): unknown {
  const tag = scanner.peek() ?? "";
  if (scanner.open(tag) === "empty") return tag === "nil" ? null : tag === "array" ? [] : tag === "struct" ? {} : "";
  if (tag === "array") {
    scanner.space();
    const items: unknown[] = [];
    if (scanner.open("data") === "open") {
      for (scanner.space(); scanner.peek() === "value"; scanner.space()) items.push(value(scanner));
      scanner.close("data");
    }
    scanner.close("array");
    return items;
  }
  if (tag === "struct") {
    const members: Record<string, unknown> = {};
    for (scanner.space(); scanner.open("member"); scanner.space()) {
      scanner.space();
      let name = "";
      if (scanner.open("name") === "open") {
        name = scanner.characters();
        scanner.close("name");
      }
      scanner.space();
      members[name] = value(scanner);
      scanner.close("member");
    }
    scanner.close("struct");
    return members;
  }
  const text = scanner.characters();
  scanner.close(tag);
  switch (tag) {
    case "int":
    case "i4":
    case "i8":
    case "double":
      return Number(text);
    case "boolean":
      return text.trim() === "1" || text.trim() === "true";
    case "nil":
      return null;
    case "string":
    case "dateTime.iso8601":
      return text;
    case "base64":
      return Buffer.from(text, "base64").toString("utf8");
    default:
      throw new Error(`unknown type <${tag}>`);
  }
}

const wrap = (inner: string) => `<value>${inner}</value>`;
const struct = (members: [string, string][]) =>
  wrap(`<struct>${members.map(([name, item]) => `<member><name>${escapeXml(name)}</name>${item}</member>`).join("")}</struct>`);
const array = (items: string[]) => wrap(`<array><data>${items.join("")}</data></array>`);

/** Writes a value by its type: `<value>…</value>`. */
export function toXml(type: string, item: Value): string {
  if (type === "void") return wrap("");
  if (type === "an event batch") return eventBatch(item as Row);
  if (type === "bool") return wrap(`<boolean>${item === true ? 1 : 0}</boolean>`);
  if (type === "float") return wrap(`<double>${Number(item)}</double>`);
  if (type === "datetime") return wrap(`<dateTime.iso8601>${String(item)}</dateTime.iso8601>`);
  if (type.endsWith(" set")) return array((item as readonly Value[]).map((inner) => toXml(type.slice(0, -4), inner)));
  if (type.endsWith(" option")) return item === undefined ? wrap("<nil/>") : toXml(type.slice(0, -7), item);
  const map = mapTypes(type);
  if (map) return struct(Object.entries(item as Row).map(([key, inner]) => [key, toXml(map[1], inner)]));
  if (type.endsWith(" record")) return recordToXml(type.slice(0, -7), item as Row);
  return wrap(escapeXml(String(item)));
}

function recordToXml(cls: string, record: Row): string {
  const fields = [...(classes.get(cls)?.fields ?? [])].filter(([name]) => record[name] !== undefined);
  return struct(fields.map(([name, field]) => [name, toXml(field.type, record[name])]));
}

/** event.from's answer has no type in the datamodel: the counts are OCaml Int32 and so the only tagged integers of the protocol. */
function eventBatch(batch: Row): string {
  const events = (batch.events as readonly Row[]).map((event) => {
    const cls = [...classes.keys()].find((name) => name.toLowerCase() === event.class) ?? "";
    const text = ["id", "timestamp", "class", "operation", "ref"].map((name): [string, string] => [
      name,
      wrap(escapeXml(String(event[name]))),
    ]);
    return struct(event.snapshot === undefined ? text : [...text, ["snapshot", recordToXml(cls, event.snapshot as Row)]]);
  });
  const counts = Object.entries(batch.valid_ref_counts as Row).map(([name, n]): [string, string] => [name, wrap(`<i4>${String(n)}</i4>`)]);
  return struct([
    ["events", array(events)],
    ["valid_ref_counts", struct(counts)],
    ["token", wrap(escapeXml(String(batch.token)))],
  ]);
}

const response = (body: string) => `<?xml version="1.0"?><methodResponse><params><param>${body}</param></params></methodResponse>`;

export function success(type: string, result: Value): string {
  return response(
    struct([
      ["Status", wrap("Success")],
      ["Value", toXml(type, result)],
    ]),
  );
}

export function failure(description: readonly string[]): string {
  return response(
    struct([
      ["Status", wrap("Failure")],
      ["ErrorDescription", array(description.map((text) => wrap(escapeXml(text))))],
    ]),
  );
}

/** system.listMethods answers its array without the struct (api_server.ml, callback). */
export function bare(type: string, result: Value): string {
  return response(toXml(type, result));
}
