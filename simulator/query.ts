/**
 * Expressions of get_all_records_where (xen-api ocaml/database/db_filter_lex.mll, db_filter_parse.mly): fields and literals compared as the database's text. `and` and
 * `or` have one precedence, from the left; `not` binds weaker than both; literals have no escapes.
 */
import type { ClassModel, Row } from "./datamodel.ts";
import { fail } from "./errors.ts";
import { databaseText } from "./marshal.ts";

export type Predicate = (record: Row) => boolean;
type Operand = (record: Row) => string;

const TOKEN = /\s*(?:"([^"]*)"|([A-Za-z]+)|([()=]))/y;

export function parseQuery(model: ClassModel, expression: string): Predicate {
  const refuse = (): never => fail("INVALID_VALUE", expression, "Db_filter_parse.Error");
  const tokens: { literal?: string; word?: string }[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < expression.trimEnd().length) {
    const match = TOKEN.exec(expression);
    if (!match) return refuse();
    tokens.push(match[1] !== undefined ? { literal: match[1] } : { word: match[2] ?? match[3] ?? "" });
  }
  let at = 0;
  const take = (word: string) => {
    if (tokens[at]?.word !== word) return false;
    at += 1;
    return true;
  };
  const literal = () => tokens[at++]?.literal ?? refuse();

  // A field goes by its database column, where grouped fields have a double underscore (name__label).
  const fields = new Map([...model.fields].map(([name, field]) => [field.db ?? name, name]));
  const operand = (): Operand => {
    if (!take("field")) {
      const text = literal();
      return () => text;
    }
    const column = literal();
    if (column === "_ref" || column === "ref") return (record) => databaseText(record._ref);
    const name = fields.get(column) ?? fail("INTERNAL_ERROR", `Db_exn.DBCache_NotFound("missing column", "${model.name}", "${column}")`);
    return (record) => databaseText(record[name]);
  };
  const atom = (): Predicate => {
    if (take("true")) return () => true;
    if (take("false")) return () => false;
    if (take("not")) {
      const inner = chain();
      return (record) => !inner(record);
    }
    if (take("(")) {
      const inner = chain();
      return take(")") ? inner : refuse();
    }
    const left = operand();
    if (!take("=")) return refuse();
    const right = operand();
    return (record) => left(record) === right(record);
  };
  const chain = (): Predicate => {
    let left = atom();
    for (;;) {
      const first = left;
      if (take("and")) {
        const second = atom();
        left = (record) => first(record) && second(record);
      } else if (take("or")) {
        const second = atom();
        left = (record) => first(record) || second(record);
      } else return left;
    }
  };
  const predicate = chain();
  return at === tokens.length ? predicate : refuse();
}
