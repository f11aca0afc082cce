import { describe, expect, test } from "vitest";
import { codes, meaning, retryOf } from "./codes.ts";
import { column, isNull } from "./records.ts";
import { parseResult } from "./tasks.ts";
import { parseAddress, withHost } from "./transport.ts";

describe("an address", () => {
  test.each([
    ["pool.example.com", "https://pool.example.com/"],
    [" 10.0.0.1 ", "https://10.0.0.1/"],
    ["10.0.0.1:8443", "https://10.0.0.1:8443/"],
    ["https://10.0.0.1", "https://10.0.0.1/"],
    ["HTTP://10.0.0.1:8080/", "http://10.0.0.1:8080/"],
    ["[fd00::1]:8443", "https://[fd00::1]:8443/"],
    ["fd00::1", "https://[fd00::1]/"],
  ])("%s is %s", (address, url) => {
    expect(parseAddress(address).href).toBe(url);
  });

  test("of another host keeps scheme and port", () => {
    expect(withHost(new URL("http://a:8080"), "10.0.0.2").href).toBe("http://10.0.0.2:8080/");
    expect(withHost(new URL("https://a"), "fd00::2").href).toBe("https://[fd00::2]/");
  });
});

describe("the table of codes", () => {
  test("repeats a call that may have been done only where once more does no harm", () => {
    for (const code of codes.filter((known) => meaning(known)?.unclear)) expect(retryOf(code, "VM.start", false), code).toBeUndefined();
  });

  test("has a first attempt, and an end, for all that is repeated", () => {
    for (const code of codes) {
      const retry = meaning(code)?.retry;
      if (retry !== undefined) expect(retry.tries * Math.max(retry.delayMs, 1), code).toBeLessThanOrEqual(150_000);
      if (retry !== undefined) expect(retry.tries, code).toBeGreaterThan(1);
    }
  });

  test("waits for a disk in use only after transfers and before its destruction", () => {
    expect(retryOf("VDI_IN_USE", "VDI.destroy", false)).toBeDefined();
    expect(retryOf("VDI_IN_USE", "PUT /import_raw_vdi", true)).toBeDefined();
    expect(retryOf("VDI_IN_USE", "VM.start", false)).toBeUndefined();
  });
});

describe("what XAPI writes", () => {
  test("has several forms of nothing", () => {
    expect(["", "OpaqueRef:NULL", "DummyRef:|x|task", "Ref:12"].every(isNull)).toBe(true);
    expect(isNull("OpaqueRef:5f9d0a2e")).toBe(false);
  });

  test("has other names in its database", () => {
    expect([column("VM", "name_label"), column("VM", "VCPUs_max"), column("VM", "power_state"), column("pool", "name_label")]).toEqual([
      "name__label",
      "VCPUs__max",
      "power_state",
      "name_label",
    ]);
  });

  test.each([
    ["", undefined],
    ["<value></value>", ""],
    ["<value/>", ""],
    ["<value>OpaqueRef:x</value>", "OpaqueRef:x"],
    ["<value><string>a &lt; b &#233;</string></value>", "a < b \u00e9"],
    ["<value><array><data/></array></value>", []],
    ["<value>\n<array><data><value>1</value>\n<value><i4>2</i4></value></data></array>\n</value>", ["1", "2"]],
    ["<value><struct><member><name>a</name><value><double>1.5</double></value></member></struct></value>", { a: 1.5 }],
  ])("as the result of a task is read: %s", (xml, value) => {
    expect(parseResult(xml)).toEqual(value);
  });

  test.each(["<value>", "<value><array><data>", "<value><struct><member>", "text"])("but is broken is an error: %s", (xml) => {
    expect(() => parseResult(xml)).toThrow(/UNREADABLE_REPLY/);
  });
});
