import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { classes, type Row } from "./datamodel.ts";
import { parseQuery } from "./query.ts";
import { createVdi, withSimulator } from "./testing.ts";

const model = classes.get("VM");
const holds = (expression: string, record: Row = {}) => (model ? parseQuery(model, expression)(record) : undefined);

describe("expressions", () => {
  test.each([
    ["true", true],
    ["not false", true],
    ['"a" = "a"', true],
    ['"a" = "b"', false],
    ["true or true and false", false], // one precedence, from the left
    ["false and true or true", true],
    ["not true and false", true], // not (true and false)
    ["true and not false or true", false], // true and not (false or true)
    ["(not true) or true", true],
  ])("%s is %s", (expression, expected) => {
    expect(holds(expression)).toBe(expected);
  });

  test.each([
    ['field "name__label" = "vm 1"', { name_label: "vm 1" }],
    ['"vm 1" = field "name__label"', { name_label: "vm 1" }],
    ['field "is_a_template" = "true"', { is_a_template: true }],
    ['field "domid" = "-1"', { domid: -1 }],
    [`field "tags" = "('a' 'b')"`, { tags: ["a", "b"] }],
    [`field "other_config" = "(('k' 'v') ('l' 'w'))"`, { other_config: { k: "v", l: "w" } }],
    ['field "tags" = "()"', { tags: [] }],
    ['field "resident_on" = "OpaqueRef:NULL"', { resident_on: "OpaqueRef:NULL" }],
  ])("%s holds for %j: values compare as the database's text", (expression, record) => {
    expect(holds(expression, record)).toBe(true);
  });

  test.each(['field "uuid" =', "and", '"a"', "(true", 'field name = "x"', '"a" == "b"', "true false"])(
    "%s is a syntax error",
    (expression) => {
      expect(() => holds(expression)).toThrow(/INVALID_VALUE/);
    },
  );

  test("every text without a double quote finds itself", () => {
    fc.assert(
      fc.property(
        fc.string().filter((text) => !text.includes('"')),
        (text) => {
          expect(holds(`field "name__label" = "${text}"`, { name_label: text })).toBe(true);
          expect(holds(`not field "name__label" = "${text}"`, { name_label: `${text}x` })).toBe(true);
        },
      ),
    );
  });
});

test("get_all_records_where answers the records that match", () =>
  withSimulator(async (_simulator, rpc) => {
    const vdi = await createVdi(rpc, { name_label: "wanted" });
    await createVdi(rpc, { name_label: "other" });
    const found = await rpc<object>("VDI.get_all_records_where", 'field "name__label" = "wanted" and field "read_only" = "false"');
    expect(found).toEqual({ [vdi]: await rpc("VDI.get_record", vdi) });
    await expect(rpc("VDI.get_all_records_where", "field")).rejects.toMatchObject({
      code: "INVALID_VALUE",
      params: ["field", expect.any(String)],
    });
    await expect(rpc("session.get_all_records_where", "true")).rejects.toMatchObject({ code: "MESSAGE_METHOD_UNKNOWN" });
  }));
