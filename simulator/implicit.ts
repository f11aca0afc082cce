/** The messages that xen-api generates from fields and classes (ocaml/idl/datamodel_utils.ml): getters, setters, records, lookups and queries, for every class alike. */
import type { Context } from "./context.ts";
import type { ClassModel, Field, Row, Value } from "./datamodel.ts";
import { fail } from "./errors.ts";
import { parseQuery } from "./query.ts";

export type Handler = (ctx: Context, ...params: Value[]) => unknown;

/** The generic form of a message, or undefined where its name is none of a generated message. */
export function implicit(model: ClassModel, name: string): Handler | undefined {
  const { name: cls } = model;
  const rows = (ctx: Context, expression: string): [string, Row][] => {
    const matches = parseQuery(model, expression);
    return [...ctx.db.stored(cls)]
      .map(([ref, stored]): [string, Row] => [ref, stored.record])
      .filter(([ref, record]) => matches({ ...record, _ref: ref }));
  };
  switch (name) {
    case "get_all":
      return (ctx) => ctx.db.refs(cls);
    case "get_all_records":
      return (ctx) => Object.fromEntries([...ctx.db.stored(cls)].map(([ref, stored]) => [ref, stored.record]));
    case "get_all_where":
      return (ctx, expression) => rows(ctx, String(expression)).map(([ref]) => ref);
    case "get_all_records_where":
      return (ctx, expression) => Object.fromEntries(rows(ctx, String(expression)));
    case "get_by_uuid":
      return (ctx, uuid) => ctx.db.refOf(cls, String(uuid));
    case "get_by_name_label":
      return (ctx, label) => [...ctx.db.stored(cls)].filter(([, stored]) => stored.record.name_label === label).map(([ref]) => ref);
    case "get_record":
      return (ctx, ref) => ctx.db.row(cls, String(ref));
    case "create":
      return (ctx, record) => ctx.db.createRow(cls, record as Row);
    case "destroy":
      return (ctx, ref) => ctx.db.destroy(cls, String(ref));
  }
  return accessor(model, name);
}

function accessor(model: ClassModel, name: string): Handler | undefined {
  const { name: cls } = model;
  const found = (prefix: string, fits: (field: Field) => boolean): string | undefined => {
    const field = name.startsWith(prefix) ? name.slice(prefix.length) : "";
    const type = model.fields.get(field);
    return type && fits(type) ? field : undefined;
  };
  const isMap = (field: Field) => field.type.endsWith(" map");
  const isSet = (field: Field) => field.type.endsWith(" set");
  const any = () => true;

  const got = found("get_", any);
  if (got) return (ctx, ref) => ctx.db.row(cls, String(ref))[got];
  const added = found("add_to_", isMap);
  if (added) return (ctx, ref, key, value) => addToMap(ctx, cls, String(ref), added, String(key), value);
  const removed = found("remove_from_", isMap);
  if (removed) return (ctx, ref, key) => removeFromMap(ctx, cls, String(ref), removed, String(key));
  const set = found("set_", any);
  if (set) return (ctx, ref, value) => ctx.db.updateRow(cls, String(ref), { [set]: value });
  const member = found("add_", isSet);
  if (member) {
    return (ctx, ref, value) => {
      const old = ctx.db.row(cls, String(ref))[member] as readonly Value[];
      if (!old.includes(value)) ctx.db.updateRow(cls, String(ref), { [member]: [...old, value] });
    };
  }
  const without = found("remove_", isSet);
  if (without) {
    return (ctx, ref, value) => {
      const old = ctx.db.row(cls, String(ref))[without] as readonly Value[];
      ctx.db.updateRow(cls, String(ref), { [without]: old.filter((item) => item !== value) });
    };
  }
  return undefined;
}

/** MAP_DUPLICATE_KEY even where the value is the same: this is what makes it a lock (ocaml/database/db_cache_impl.ml). */
export function addToMap(ctx: Context, cls: string, ref: string, field: string, key: string, value: Value): void {
  const old = ctx.db.row(cls, ref)[field] as Row;
  if (key === "") fail("INTERNAL_ERROR", "Empty_key_in_map");
  if (Object.hasOwn(old, key)) fail("MAP_DUPLICATE_KEY", cls, field, ref, key);
  ctx.db.updateRow(cls, ref, { [field]: { ...old, [key]: value } });
}

/** Removing a key that is not there is no error. */
export function removeFromMap(ctx: Context, cls: string, ref: string, field: string, key: string): void {
  const { [key]: _, ...rest } = ctx.db.row(cls, ref)[field] as Row;
  ctx.db.updateRow(cls, ref, { [field]: rest });
}
