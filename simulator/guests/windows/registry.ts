// A Windows registry as far as `reg` shows one: keys and values, case kept and ignored, volatile keys, and what `reg query`, `reg add` and `reg delete` print.
// Forms: real reg.exe (empty line, full key, four-space columns, errors on stderr, 1 as exit code), guest.md 2.3 and wine.md 3.
import type { RegistryContent } from "../descriptor.ts";
import type { Answer } from "./process.ts";

export interface RegistryValue {
  name: string;
  type: string;
  /** One string; several for REG_MULTI_SZ. */
  data: string[];
}

interface Key {
  path: string;
  volatile: boolean;
  values: Map<string, RegistryValue>;
}

const HIVES: Readonly<Record<string, string>> = {
  HKLM: "HKEY_LOCAL_MACHINE",
  HKCU: "HKEY_CURRENT_USER",
  HKCR: "HKEY_CLASSES_ROOT",
  HKU: "HKEY_USERS",
  HKCC: "HKEY_CURRENT_CONFIG",
};

/** Full name of a key; undefined when its hive does not exist. */
export function fullKey(path: string): string | undefined {
  const [hive = "", ...rest] = path.replace(/\\+$/, "").split("\\");
  const full = HIVES[hive.toUpperCase()] ?? Object.values(HIVES).find((name) => name === hive.toUpperCase());
  return full === undefined || rest.includes("") ? undefined : [full, ...rest].join("\\");
}

export class Registry {
  readonly #keys = new Map<string, Key>();

  static fromJSON(content: RegistryContent): Registry {
    const registry = new Registry();
    registry.apply(content);
    return registry;
  }

  /** All that outlives a restart. */
  toJSON(): RegistryContent {
    const content: RegistryContent = {};
    for (const key of this.#sorted()) {
      if (key.volatile) continue;
      content[key.path] = Object.fromEntries([...key.values.values()].map(({ name, type, data }) => [name, [type, ...data]])) as never;
    }
    return content;
  }

  apply(content: RegistryContent, volatile = false): void {
    for (const [path, values] of Object.entries(content)) {
      if (values === null) {
        this.deleteKey(path);
        continue;
      }
      this.createKey(path, volatile);
      for (const [name, value] of Object.entries(values)) {
        if (value === null) this.deleteValue(path, name);
        else this.setValue(path, name, value[0], value.slice(1), volatile);
      }
    }
  }

  createKey(path: string, volatile = false): Key {
    const full = fullKey(path);
    if (full === undefined) throw new Error(`registry: ${path} begins with no hive (HKLM, HKCU, HKCR, HKU, HKCC)`);
    const existing = this.#keys.get(full.toLowerCase());
    if (existing !== undefined) return existing;
    const parent = full.slice(0, full.lastIndexOf("\\"));
    // Parents of a volatile key may be stable, never the other way round (RegCreateKeyEx, REG_OPTION_VOLATILE).
    if (full.includes("\\")) this.createKey(parent);
    const key: Key = { path: full, volatile, values: new Map() };
    this.#keys.set(full.toLowerCase(), key);
    return key;
  }

  setValue(path: string, name: string, type: string, data: readonly string[], volatile = false): void {
    this.createKey(path, volatile).values.set(name.toLowerCase(), { name, type, data: [...data] });
  }

  value(path: string, name: string): RegistryValue | undefined {
    return this.#key(path)?.values.get(name.toLowerCase());
  }

  hasKey(path: string): boolean {
    return this.#key(path) !== undefined;
  }

  deleteKey(path: string): boolean {
    const full = fullKey(path)?.toLowerCase();
    if (full === undefined || !this.#keys.delete(full)) return false;
    for (const name of [...this.#keys.keys()]) if (name.startsWith(`${full}\\`)) this.#keys.delete(name);
    return true;
  }

  deleteValue(path: string, name: string): boolean {
    return this.#key(path)?.values.delete(name.toLowerCase()) ?? false;
  }

  /** The machine went down: what was volatile is gone. */
  forgetVolatile(): void {
    for (const [name, key] of [...this.#keys]) if (key.volatile) this.#keys.delete(name);
  }

  children(path: string): string[] {
    const prefix = `${fullKey(path)?.toLowerCase()}\\`;
    return this.#sorted()
      .filter((key) => key.path.toLowerCase().startsWith(prefix) && !key.path.slice(prefix.length).includes("\\"))
      .map((key) => key.path);
  }

  values(path: string): RegistryValue[] {
    return [...(this.#key(path)?.values.values() ?? [])];
  }

  below(path: string): string[] {
    const prefix = `${fullKey(path)?.toLowerCase()}\\`;
    return this.#sorted()
      .map((key) => key.path)
      .filter((name) => name.toLowerCase().startsWith(prefix));
  }

  keyName(path: string): string | undefined {
    return this.#key(path)?.path;
  }

  #key(path: string): Key | undefined {
    const full = fullKey(path);
    return full === undefined ? undefined : this.#keys.get(full.toLowerCase());
  }

  #sorted(): Key[] {
    return [...this.#keys.values()].sort((a, b) => (a.path.toLowerCase() < b.path.toLowerCase() ? -1 : 1));
  }
}

const NOT_FOUND: Answer = { out: "", err: "ERROR: The system was unable to find the specified registry key or value.\r\n", rc: 1 };
const DONE: Answer = { out: "The operation completed successfully.\r\n", err: "", rc: 0 };

const syntax = (verb: string): Answer => ({ out: "", err: `ERROR: Invalid syntax.\r\nType "REG ${verb}/?" for usage.\r\n`, rc: 1 });

/** reg.exe: query, add, delete. Anything else is refused as misspelt, never answered quietly. */
export function reg(registry: Registry, args: readonly string[]): Answer {
  const [verb = "", key = "", ...options] = args;
  switch (verb.toLowerCase()) {
    case "query":
      return query(registry, key, options);
    case "add":
      return add(registry, key, options);
    case "delete":
      return remove(registry, key, options);
    default:
      return syntax("");
  }
}

interface Options {
  flags: Set<string>;
  values: Map<string, string>;
}

function readOptions(options: readonly string[], withValue: readonly string[], without: readonly string[]): Options | undefined {
  const read: Options = { flags: new Set(), values: new Map() };
  for (let index = 0; index < options.length; index++) {
    const option = (options[index] ?? "").toLowerCase();
    if (without.includes(option)) read.flags.add(option);
    else if (withValue.includes(option) && options[index + 1] !== undefined) read.values.set(option, options[++index] ?? "");
    else return undefined;
  }
  return read;
}

function query(registry: Registry, key: string, options: readonly string[]): Answer {
  const read = readOptions(options, ["/v", "/se", "/t"], ["/s", "/ve", "/reg:32", "/reg:64"]);
  if (read === undefined || fullKey(key) === undefined) return syntax("QUERY ");
  const name = registry.keyName(key);
  if (name === undefined) return NOT_FOUND;
  const wanted = read.flags.has("/ve") ? "" : read.values.get("/v");
  const recursive = read.flags.has("/s");
  const type = read.values.get("/t")?.toUpperCase();
  const separator = read.values.get("/se") ?? "\\0";
  const print = (path: string): { text: string; count: number } => {
    const values = registry
      .values(path)
      .filter(
        (value) =>
          (wanted === undefined || value.name.toLowerCase() === wanted.toLowerCase()) && (type === undefined || value.type === type),
      );
    const lines = values.map((value) => `    ${value.name || "(Default)"}    ${value.type}    ${shown(value, separator)}\r\n`);
    return {
      text: values.length > 0 || (recursive && wanted === undefined) ? `\r\n${path}\r\n${lines.join("")}` : "",
      count: values.length,
    };
  };
  const printed = [name, ...(recursive ? registry.below(key) : [])].map(print);
  const count = printed.reduce((sum, part) => sum + part.count, 0);
  const text = printed.map((part) => part.text).join("");
  if (wanted !== undefined) {
    if (recursive) return { out: `${text}\r\nEnd of search: ${count} match(es) found.\r\n`, err: "", rc: count > 0 ? 0 : 1 };
    return count === 0 ? NOT_FOUND : { out: `${text}\r\n`, err: "", rc: 0 };
  }
  if (recursive) return { out: text, err: "", rc: 0 };
  const children = registry.children(key).map((child) => `${child}\r\n`);
  return { out: `${text}\r\n${children.join("")}`, err: "", rc: 0 };
}

function shown({ type, data }: RegistryValue, separator: string): string {
  if (type === "REG_MULTI_SZ") return data.join(separator);
  const [text = ""] = data;
  if (type !== "REG_DWORD" && type !== "REG_QWORD") return type === "REG_BINARY" ? text.toUpperCase() : text;
  return /^(0x[0-9a-f]+|\d+)$/i.test(text) ? `0x${BigInt(text).toString(16)}` : "0x0";
}

function add(registry: Registry, key: string, options: readonly string[]): Answer {
  const read = readOptions(options, ["/v", "/t", "/d", "/s"], ["/f", "/ve", "/reg:32", "/reg:64"]);
  if (read === undefined || fullKey(key) === undefined) return syntax("ADD ");
  const name = read.flags.has("/ve") ? "" : read.values.get("/v");
  registry.createKey(key);
  if (name === undefined) return DONE;
  const type = (read.values.get("/t") ?? "REG_SZ").toUpperCase();
  const text = read.values.get("/d") ?? "";
  if ((type === "REG_DWORD" || type === "REG_QWORD") && !/^(0x[0-9a-f]+|\d+)$/i.test(text)) return syntax("ADD ");
  const data = type === "REG_MULTI_SZ" ? text.split(read.values.get("/s") ?? "\\0") : [text];
  registry.setValue(key, name, type, data);
  return DONE;
}

function remove(registry: Registry, key: string, options: readonly string[]): Answer {
  const read = readOptions(options, ["/v"], ["/f", "/ve", "/va", "/reg:32", "/reg:64"]);
  if (read === undefined || fullKey(key) === undefined) return syntax("DELETE ");
  if (read.flags.has("/va")) {
    if (!registry.hasKey(key)) return NOT_FOUND;
    for (const { name } of registry.values(key)) registry.deleteValue(key, name);
    return DONE;
  }
  const name = read.flags.has("/ve") ? "" : read.values.get("/v");
  return (name === undefined ? registry.deleteKey(key) : registry.deleteValue(key, name)) ? DONE : NOT_FOUND;
}
