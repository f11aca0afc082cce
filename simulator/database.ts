/**
 * The objects of the simulated pool. Every write goes through here and is an event: a row's generation says when it was last written, a deletion leaves a
 * tombstone, and both sides of a relation are kept by the datamodel's table (xen-api ocaml/database/db_cache_types.ml does the same). References and uuids follow
 * from the seed, so that the same calls in the same order give the same objects.
 */
import { createHash } from "node:crypto";
import { classes, emptyValue, isNullRef, type Relation, type Row, relations, type Value } from "./datamodel.ts";
import { fail } from "./errors.ts";
import type { ClassName, Records } from "./records.ts";

export interface Stored {
  readonly record: Row;
  readonly created: number;
  readonly modified: number;
}

export interface Tombstone {
  readonly cls: string;
  readonly ref: string;
  readonly created: number;
  readonly deleted: number;
}

/** What is kept in a file: tables of [ref, record, created, modified]. */
export interface Saved {
  generation: number;
  uuids: number;
  tables: Record<string, [string, Row, number, number][]>;
}

/** How many deletions event.from still knows about; an older token sees such an object as never having been there. */
const TOMBSTONES = 10_000;

export class Database {
  generation = 1;
  private uuids = 0;
  private readonly seed: number;
  private readonly tables = new Map<string, Map<string, Stored>>();
  private readonly byUuid = new Map<string, string>();
  private readonly listeners = new Set<() => void>();
  private tombstones: Tombstone[] = [];

  constructor(options: { seed?: number } = {}) {
    this.seed = options.seed ?? 0;
    for (const name of classes.keys()) this.tables.set(name, new Map());
  }

  /** A version 4 uuid that follows from the seed and from how many were made before. */
  uuid(): string {
    this.uuids += 1;
    const hex = createHash("sha256").update(`${this.seed}:${this.uuids}`).digest("hex");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  }

  /** Makes a row; fields that are not given take the datamodel's default. Answers its reference. */
  create<C extends ClassName>(cls: C, fields: Partial<Records[C]> & { uuid?: string }): string {
    return this.createRow(cls, fields as Row);
  }

  createRow(cls: string, fields: Row): string {
    const model = classes.get(cls) ?? fail("INTERNAL_ERROR", `no class ${cls}`);
    const ref = `OpaqueRef:${this.uuid()}`;
    const record: Record<string, Value> = {};
    for (const [name, field] of model.fields) record[name] = fields[name] ?? field.default ?? emptyValue(field.type);
    if (model.fields.has("uuid")) record.uuid = fields.uuid ?? this.uuid();
    this.generation += 1;
    this.table(cls).set(ref, { record, created: this.generation, modified: this.generation });
    if (typeof record.uuid === "string") this.byUuid.set(`${cls}/${record.uuid}`, ref);
    for (const [name, relation] of relations.get(cls) ?? []) this.relate(relation, ref, [], refs(record[name]));
    this.changed();
    return ref;
  }

  /** The record of a reference; HANDLE_INVALID where there is none. Records are never changed in place: each write makes a new one. */
  get<C extends ClassName>(cls: C, ref: string): Records[C] {
    return this.row(cls, ref) as unknown as Records[C];
  }

  row(cls: string, ref: string): Row {
    return this.table(cls).get(ref)?.record ?? fail("HANDLE_INVALID", cls, ref);
  }

  find<C extends ClassName>(cls: C, ref: string): Records[C] | undefined {
    return this.table(cls).get(ref)?.record as unknown as Records[C] | undefined;
  }

  has(cls: string, ref: string): boolean {
    return this.table(cls).has(ref);
  }

  /** Writes some fields of a row, as one event. Writing what is there already is no event. */
  update<C extends ClassName>(cls: C, ref: string, fields: Partial<Records[C]>): void {
    this.updateRow(cls, ref, fields as Row);
  }

  updateRow(cls: string, ref: string, fields: Row): void {
    const old = this.table(cls).get(ref) ?? fail("HANDLE_INVALID", cls, ref);
    const names = Object.keys(fields).filter((name) => !same(old.record[name], fields[name]));
    if (names.length === 0) return;
    const record: Record<string, Value> = { ...old.record };
    for (const name of names) record[name] = fields[name];
    this.put(cls, ref, record, old);
    for (const name of names) {
      const relation = relations.get(cls)?.get(name);
      if (relation) this.relate(relation, ref, refs(old.record[name]), refs(record[name]));
    }
    this.changed();
  }

  /** Deletes a row. What refers to it is left dangling, as in XAPI until its garbage collection. */
  destroy(cls: string, ref: string): void {
    const old = this.table(cls).get(ref) ?? fail("HANDLE_INVALID", cls, ref);
    this.generation += 1;
    this.table(cls).delete(ref);
    if (typeof old.record.uuid === "string") this.byUuid.delete(`${cls}/${old.record.uuid}`);
    this.tombstones.push({ cls, ref, created: old.created, deleted: this.generation });
    if (this.tombstones.length > TOMBSTONES) this.tombstones = this.tombstones.slice(-TOMBSTONES / 2);
    for (const [name, relation] of relations.get(cls) ?? []) this.relate(relation, ref, refs(old.record[name]), []);
    this.changed();
  }

  /** Gives a row a new generation without changing it (event.inject). */
  touch(cls: string, ref: string): void {
    const old = this.table(cls).get(ref) ?? fail("HANDLE_INVALID", cls, ref);
    this.put(cls, ref, old.record, old);
    this.changed();
  }

  all<C extends ClassName>(cls: C): [string, Records[C]][] {
    return [...this.table(cls)].map(([ref, stored]) => [ref, stored.record as unknown as Records[C]]);
  }

  refs(cls: string): string[] {
    return [...this.table(cls).keys()];
  }

  /** The reference of a uuid; UUID_INVALID where there is none. */
  refOf(cls: string, uuid: string): string {
    return this.byUuid.get(`${cls}/${uuid}`) ?? fail("UUID_INVALID", cls, uuid);
  }

  /** Takes a reference or a uuid, as XAPI's HTTP handlers do. */
  resolve(cls: string, refOrUuid: string): string {
    return this.has(cls, refOrUuid) ? refOrUuid : (this.byUuid.get(`${cls}/${refOrUuid}`) ?? fail("HANDLE_INVALID", cls, refOrUuid));
  }

  /** The rows of a class with their generations, for event.from and for counting. */
  stored(cls: string): ReadonlyMap<string, Stored> {
    return this.table(cls);
  }

  deletedSince(generation: number): Tombstone[] {
    return this.tombstones.filter((t) => t.deleted > generation);
  }

  /** Calls `listener` after each write; answers what ends that. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  save(): Saved {
    const tables: Saved["tables"] = {};
    for (const [cls, rows] of this.tables) tables[cls] = [...rows].map(([ref, s]) => [ref, s.record, s.created, s.modified]);
    return { generation: this.generation, uuids: this.uuids, tables };
  }

  load(saved: Saved): void {
    this.generation = saved.generation;
    this.uuids = saved.uuids;
    for (const [cls, rows] of Object.entries(saved.tables)) {
      const table = this.table(cls);
      for (const [ref, record, created, modified] of rows) {
        table.set(ref, { record, created, modified });
        if (typeof record.uuid === "string") this.byUuid.set(`${cls}/${record.uuid}`, ref);
      }
    }
  }

  private table(cls: string): Map<string, Stored> {
    return this.tables.get(cls) ?? fail("INTERNAL_ERROR", `no class ${cls}`);
  }

  private put(cls: string, ref: string, record: Row, old: Stored): void {
    this.generation += 1;
    this.table(cls).set(ref, { record, created: old.created, modified: this.generation });
  }

  /** Adds and removes `ref` on the other side of a relation; what the other side refers to may be gone. */
  private relate(relation: Relation, ref: string, before: readonly string[], after: readonly string[]): void {
    const change = (remote: string, edit: (list: readonly string[]) => readonly string[]) => {
      const old = this.table(relation.remoteClass).get(remote);
      if (!old) return;
      const list = edit(refs(old.record[relation.remoteField]));
      this.put(relation.remoteClass, remote, { ...old.record, [relation.remoteField]: list }, old);
    };
    for (const remote of before) if (!after.includes(remote)) change(remote, (list) => list.filter((r) => r !== ref));
    for (const remote of after) if (!before.includes(remote)) change(remote, (list) => (list.includes(ref) ? list : [...list, ref]));
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

function refs(value: Value): readonly string[] {
  if (typeof value === "string") return isNullRef(value) ? [] : [value];
  return Array.isArray(value) ? (value as readonly string[]) : [];
}

/** Equality of values of the database: order matters in sets (they are kept in order of insertion), not in maps. */
function same(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object") return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]));
  }
  const left = a as Readonly<Record<string, Value>>;
  const right = b as Readonly<Record<string, Value>>;
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => key in right && same(left[key], right[key]));
}
