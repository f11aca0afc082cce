import { expect, it } from "vitest";
import { changesOf } from "./compare.ts";

const of = (id: string, name: string, version: string) => ({ id, name, version, publisher: "" });
type Row = [what: string, before: ReturnType<typeof of>[], after: ReturnType<typeof of>[], told: string[]];

it.each<Row>([
  ["nothing", [of("{1}", "A", "1")], [of("{1}", "A", "1")], []],
  ["an update that keeps its key", [of("{1}", "A", "1")], [of("{1}", "A", "2")], ["A 1 -> 2"]],
  ["an update under another key", [of("{1}", "A", "1")], [of("{2}", "A", "2")], ["A 1 -> 2"]],
  ["a product whose key alone is new", [of("{1}", "A", "1")], [of("{2}", "A", "1")], []],
  [
    "a product that has its version in its name",
    [of("{1}", "VDA 2402 LTSR", "24.2")],
    [of("{2}", "VDA 2407 LTSR", "24.7")],
    ["VDA 2407 LTSR (VDA 2402 LTSR) 24.2 -> 24.7"],
  ],
  ["what is new, and what has gone", [of("{1}", "A", "1")], [of("{2}", "B", "1")], ["+ B", "- A"]],
  [
    "several of a name: those that are equal are told apart from the one that is not",
    [of("{1}", "Runtime x64", "14.1"), of("{2}", "Runtime x64", "14.2")],
    [of("{3}", "Runtime x64", "14.1"), of("{4}", "Runtime x64", "14.3")],
    ["Runtime x64 14.2 -> 14.3"],
  ],
  [
    "several of a name that can't be told apart",
    [of("{1}", "Runtime", "1"), of("{2}", "Runtime", "2")],
    [of("{3}", "Runtime", "3"), of("{4}", "Runtime", "4")],
    ["+ Runtime", "+ Runtime", "- Runtime", "- Runtime"],
  ],
  ["an empty version", [], [], []],
])("compares %s", (_what, before, after, told) => {
  const { added, removed, changed } = changesOf(before, after);
  expect([
    ...added.map(({ name }) => `+ ${name}`),
    ...removed.map(({ name }) => `- ${name}`),
    ...changed.map(({ name, formerName, from, to }) => `${name}${formerName === undefined ? "" : ` (${formerName})`} ${from} -> ${to}`),
  ]).toEqual(told);
});
