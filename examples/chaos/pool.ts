// Two pools compared object for object that grew apart: what was made under other ids, at other times, by other processes is the same where it says the same.
import { createHash } from "node:crypto";
import type { Simulator } from "../../simulator/index.ts";
import { BLOCK } from "../../simulator/storage/disk.ts";

type Row = Readonly<Record<string, unknown>>;

/** XAPI's own log, and what it collects some time after its owner has gone (db_gc.ml). */
const LEFT_OUT = new Set([
  "message",
  "VBD_metrics",
  "VIF_metrics",
  "VM_metrics",
  "VM_guest_metrics",
  "host_metrics",
  "console",
  "data_source",
]);
/** What follows from other fields, from what dom0 holds for a moment, or from which host was at hand (`master` of a pool). */
const DERIVED = new Set(["allowed_operations", "current_operations", "metrics", "last_updated", "sm_config", "MAC", "master"]);

/** Every object as lines of text, in an order that does not depend on its ids. */
export function poolText(simulator: Simulator): string[] {
  const state = simulator.state();
  const held = new Set(Object.entries(state.VBD ?? {}).flatMap(([ref, vbd]) => (String(vbd.device).startsWith("sm/backend") ? [ref] : [])));
  const names = new Map<string, string>();
  for (const [cls, rows] of Object.entries(state))
    for (const [ref, row] of Object.entries(rows)) {
      const name = `${cls} "${blank(String((row as Row).name_label ?? ""))}"`;
      names.set(ref, name);
      if (typeof row.uuid === "string") {
        names.set(row.uuid, name);
        names.set(serialOf(row.uuid), name);
      }
    }
  const shown = (text: string): string => inOrder(named(text));
  const named = (text: string): string =>
    timeless(text).replace(
      /OpaqueRef:[0-9a-f-]{36}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{2}\b/g,
      (id) => names.get(id) ?? "(gone)",
    );
  const objects = Object.entries(state)
    .filter(([cls]) => !LEFT_OUT.has(cls))
    .flatMap(([cls, rows]) =>
      Object.entries(rows)
        .filter(([ref]) => !held.has(ref))
        .map(([ref, row]) => {
          const free = Array.isArray(row.VBDs) ? { ...row, VBDs: row.VBDs.filter((vbd) => !held.has(String(vbd))) } : row;
          const title = names.get(ref) ?? cls;
          return [...flat(free as Row), ...documentOf(simulator, row)]
            .map((line) => shown(line))
            .sort((a, b) => (blank(a) < blank(b) ? -1 : 1))
            .map((line) => `${title}: ${line}`);
        }),
    )
    .sort((a, b) => (blank(a.join()) < blank(b.join()) ? -1 : 1));
  // Ids of our own: which is which follows from where they are met first.
  const ids = new Map<string, string>();
  const number = (id: string): string => {
    if (!ids.has(id)) ids.set(id, `#${ids.size + 1}`);
    return ids.get(id) ?? "";
  };
  return objects.flat().map((line) => line.replace(OWN_ID, (id) => number(id)));
}

/** What a guest sees of a disk's uuid. */
const serialOf = (uuid: string): string => uuid.slice(0, 16);

/** What a layer record's disk holds: the first of its two slots (provider/layer/document.ts). */
function documentOf({ storage }: Simulator, { uuid, other_config }: Row): string[] {
  if (!Object.keys((other_config ?? {}) as Row).some((key) => key.startsWith("xenlayer:meta:"))) return [];
  const disk = storage.open(String(uuid));
  const [, length] = /^xenlayer-record 1 (\d+) /.exec(Buffer.from(disk.read(0, 128)).toString("latin1")) ?? [];
  return length === undefined ? [] : leaves("content", Buffer.from(disk.read(128, Number(length))).toString());
}

/** A set of references has no order. */
const inOrder = (line: string): string =>
  line.replace(
    /^(\w+ = )(\[.*\])$/,
    (_, field: string, list: string) =>
      `${field}${list
        .slice(1, -1)
        .split(/(?<="),(?=")/)
        .sort()
        .join()}`,
  );

const OWN_ID = /\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b/g;
const blank = (text: string): string => timeless(text).replace(OWN_ID, "#");

/** Without times, counters of writes, and names that a build gives its machine. */
const timeless = (text: string): string =>
  text
    .replace(/\d{4}-?\d\d-?\d\dT\d\d:\d\d:\d\d(\.\d+)?Z(-\d{4}(-[0-9a-f]{8})?)?/g, "(time)")
    .replace(/(xenlayer:(?:meta|version:[^:"]*)):\d+/g, "$1:n")
    .replace(/packaging [0-9a-f]{8}/g, "packaging");

function flat(row: Row): string[] {
  return Object.entries(row)
    .filter(([field]) => !DERIVED.has(field))
    .flatMap(([field, value]) => leaves(field, value));
}

/** Whether somebody had to come back to it, and the address that its machine got. */
const VARYING = new Set(["resumed", "ipAddresses"]);

/** A line for each value, also of what a layer record holds as JSON. */
function leaves(path: string, value: unknown): string[] {
  if (typeof value === "string" && value.startsWith("{")) {
    try {
      return leaves(path, JSON.parse(value));
    } catch {
      return [`${path} = ${JSON.stringify(value)}`];
    }
  }
  if (typeof value !== "object" || value === null) return [`${path} = ${JSON.stringify(value)}`];
  if (Array.isArray(value)) {
    const plain = value.every((item) => typeof item !== "object");
    return plain ? [`${path} = ${JSON.stringify(value)}`] : value.flatMap((item, index) => leaves(`${path}[${index}]`, item));
  }
  return Object.entries(value)
    .filter(([key, inner]) => !VARYING.has(key) && !(key === "removed" && inner === false))
    .flatMap(([key, inner]) => leaves(`${path}.${key}`, inner));
}

/** Objects that only one of the two has, and lines in which the others differ. */
export function differences(expected: readonly string[], found: readonly string[]): string[] {
  // Which id is which only where all else is equal: one line that is missing gives all ids after it another number.
  const blanked = [expected, found].map((lines) => lines.map((line) => line.replace(/#\d+/g, "#")));
  const [before, after] =
    lacking(blanked[1] ?? [], blanked[0] ?? []).length + lacking(blanked[0] ?? [], blanked[1] ?? []).length > 0
      ? blanked
      : [expected, found];
  const [less, more] = [lacking(after ?? [], before ?? []), lacking(before ?? [], after ?? [])];
  return [...summed(less, "is missing"), ...summed(more, "is too much")];
}

const OBJECT = /^(\w+ ".*?"): uuid = /;

function summed(lines: readonly string[], word: string): string[] {
  const whole = new Set(lines.flatMap((line) => OBJECT.exec(line)?.[1] ?? []));
  const rest = lines.filter((line) => ![...whole].some((title) => line.startsWith(`${title}: `)));
  return [...[...whole].map((title) => `${title} ${word}`), ...rest.map((line) => `${line}: ${word}`)];
}

function lacking(some: readonly string[], all: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const line of some) left.set(line, (left.get(line) ?? 0) + 1);
  return all.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  });
}

/** What a disk holds. */
export function contentOf({ storage }: Simulator, vdi: string): string {
  const disk = storage.open(vdi);
  const hash = createHash("sha256");
  for (const block of [...storage.blocks(vdi)].sort((a, b) => a - b)) {
    const bytes = disk.read(block * BLOCK, Math.min(BLOCK, disk.size - block * BLOCK));
    if (bytes.some((byte) => byte !== 0)) hash.update(`${block}:`).update(bytes);
  }
  return hash.digest("hex");
}
