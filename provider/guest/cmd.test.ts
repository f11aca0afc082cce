// The generated cmd scripts as text: what they say (snapshots, to be read in a review) and the rules of the dialect that both Windows and Wine carry out.
import { describe, expect, it } from "vitest";
import { bootstrapFiles } from "./bootstrap.ts";
import { cmdSet } from "./cmd.ts";
import { windowsSecret } from "./cmdSteps.ts";
import { buildOrder, type Order, type StepInput } from "./order.ts";
import { generateScripts } from "./scripts.ts";

const NONCE = "0123456789abcdef0123456789abcdef";
const install: StepInput[] = [
  {
    name: "Citrix VDA (100% & more)",
    shell: "cmd",
    run: "%XENLAYER_FILES%\\VDAServerSetup.exe /quiet\nexit /b %errorlevel%",
    env: { SITE: 'a "b" & c' },
    secretEnv: { TOKEN: "x" },
  },
  {
    name: "Settings",
    shell: "powershell",
    run: "Set-Service -Name \u00fcber -StartupType Disabled",
    env: { WHO: "it's \u2019me" },
    secretEnv: { KEY: "y" },
    timeoutMinutes: 5,
  },
];

const orders: Record<string, Order> = {
  package: buildOrder({ order: "package", os: "windows", layer: "plat", version: "1", nonce: NONCE, install }),
  finalize: buildOrder({ order: "finalize", os: "windows", layer: "plat", version: "1", nonce: NONCE, kms: true }),
  office: buildOrder({ order: "finalize", os: "windows", layer: "plat", version: "1", nonce: NONCE, kms: true, office: true }),
  "update-force": buildOrder({
    order: "finalize",
    os: "windows",
    layer: "plat",
    version: "1",
    nonce: NONCE,
    ngen: "update-force",
    policies: { installer: "block", pendingReboot: "ignore" },
  }),
  wait: buildOrder({
    order: "finalize",
    os: "windows",
    layer: "plat",
    version: "1",
    nonce: NONCE,
    ngen: "wait",
    limits: { rebootMax: 0, sampleGapSeconds: 0, flushSeconds: 0 },
  }),
  manual: buildOrder({ order: "package", os: "windows", layer: "plat", version: "1", nonce: NONCE, mode: "manual", kms: true }),
};

const script = (order: Order | undefined, path: string): string => {
  const found = order === undefined ? undefined : generateScripts(order).find((entry) => entry.path === path);
  if (found === undefined) throw new Error(`no ${path}`);
  return found.text;
};

it.each([
  ["package", "run.cmd"],
  ["package", "package.cmd"],
  ["package", "start/01.cmd"],
  ["package", "steps/01.cmd"],
  ["package", "steps/02.ps1"],
  ["finalize", "finalize.cmd"],
  ["manual", "finalize.cmd"],
])("generates for %s %s what was reviewed", async (order, path) => {
  await expect(script(orders[order], path).replaceAll("\r\n", "\n").replace("\ufeff", "")).toMatchFileSnapshot(
    `testdata/${order}.${path.replace("/", "-")}.txt`,
  );
});

describe.each(Object.entries(orders))("in the scripts of %s", (_name, order) => {
  const files = generateScripts(order).filter(({ path }) => path.endsWith(".cmd"));

  it.each(files.map(({ path, text }) => [path, text]))("%s keeps to the dialect", (_path, text) => {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what is asked for
    expect(text).toMatch(/^[\x09\x0a\x0d\x20-\x7e]*$/);
    expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
    expect(text.endsWith("\r\n")).toBe(true);
    for (const line of text.split("\r\n")) {
      expect(line.length).toBeLessThan(8000);
      const code = line.replace(/"[^"]*"/g, '""');
      if (/^(rem|echo|set \w+=)/.test(code)) continue;
      // A block, redirected or not; a digit that would be taken as a handle; what Wine lacks.
      expect(code.replace(/ in \([^()]*\) do /, " "), line).not.toMatch(/[()]/);
      expect(code, line).not.toMatch(/(^|[^ ^0-9&])[0-9]>(?!&)/);
      expect(code, line).not.toMatch(/set \/p|&&|\|\||&(?!1)|chcp|echo\(/i);
      expect(code, line).not.toMatch(/(^|[|] *)(timeout|choice|sort|findstr|wmic|mode)\b/i);
      // An echo into a file has its redirection in front.
      expect(code, line).not.toMatch(/^echo .*>/);
    }
  });

  it.each(files.map(({ path, text }) => [path, text]))(
    "%s jumps only to labels that it has, each once, and returns from each call",
    (_path, text) => {
      const lines = text.split("\r\n");
      const labels = lines.flatMap((line) => /^:(\w+)$/.exec(line)?.[1] ?? []);
      expect(new Set(labels).size).toBe(labels.length);
      const targets = lines.flatMap((line) => [...line.matchAll(/(?:^|\s)(?:goto |call :)(\w+)/g)].map((match) => match[1]));
      for (const target of targets) expect(labels).toContain(target);
      const calls = new Set(lines.flatMap((line) => /(?:^|\s)call :(\w+)/.exec(line)?.[1] ?? []));
      for (const called of calls) expect(lines.slice(lines.indexOf(`:${called}`)).some((line) => /(^| )exit \/b/.test(line))).toBe(true);
      const last = lines.filter((line) => line !== "").at(-1) ?? "";
      if (labels.length > 0) expect(last).toMatch(/^(exit \/b|goto )/);
    },
  );

  it("finds Windows' own programs before anybody else's of the same names", () => {
    const scripts = [...files.filter(({ path }) => /^(run|package|finalize)/.test(path)), ...bootstrapFiles("windows").slice(0, 1)];
    for (const entry of scripts) {
      const lines = ("text" in entry ? entry.text : Buffer.from(entry.data).toString()).split("\r\n");
      const first = lines.findIndex((line) => line.startsWith('set "PATH=%SystemRoot%\\System32;'));
      expect(first, entry.path).toBeGreaterThan(0);
      for (const line of lines.slice(0, first)) expect(line).toMatch(/^(@echo|rem|setlocal|cd|set|if)\b/);
    }
  });

  it("gates on each fact that is not accepted, and asks for the worker before what would disturb it", () => {
    const text = script(order, "finalize.cmd");
    for (const fact of order.facts) {
      expect(text).toContain(`\r\n${fact.command} >out\\facts\\%r%\\${fact.id}.out 2>out\\facts\\%r%\\${fact.id}.err <nul\r\n`);
      expect(text.includes(`set blocked=%blocked% ${fact.id}\r\n`)).toBe(!order.accept.includes(fact.id));
      if (fact.after !== undefined)
        expect(text).toContain(`if not "%q_${fact.after.replaceAll("-", "_")}%"=="yes" goto loud_${fact.id.replaceAll("-", "_")}\r\n`);
    }
  });

  it("never asks for a restart or the power without looking at workers first", () => {
    for (const { path, text } of files) {
      const lines = text.split("\r\n");
      // Nothing is waited for once they have been looked at.
      expect(text.slice(text.indexOf("\r\n:off\r\n"), text.indexOf("\r\n:left\r\n")), path).not.toMatch(/^(ping|call|start) /m);
      for (const [index, line] of lines.entries()) {
        if (!/goto (restart|off)$/.test(line)) continue;
        const before = lines.slice(Math.max(0, index - 6), index + 1).join("\n");
        expect(before, path).toMatch(/call :settle/);
      }
    }
  });
});

describe("values", () => {
  it("are set as data: every character that means something to cmd is escaped", () => {
    expect(cmdSet("A", 'a"b&c|d<e>f^g(h)i%j!k')).toBe('set A=a^"b^&c^|d^<e^>f^^g^(h^)i%%j!k');
  });

  it("of a PowerShell step are set in quotes that no quote ends, typographic ones included", () => {
    const order = orders.package;
    const step = order?.steps[1];
    if (step === undefined) throw new Error("no step");
    expect(windowsSecret(step, { KEY: "a'b\u2019c$d`e" })).toEqual({
      path: "secret/02.ps1",
      text: "\ufeff$env:KEY = 'a''b\u2019\u2019c$d`e'\r\n",
    });
  });

  it.each([
    ["text that is not ASCII", { run: "echo \u00fc" }, "reads differently on each machine"],
    ["a value that is not ASCII", { env: { A: "\u00fc" } }, "the value of A is not ASCII"],
    ["a value of several lines", { secretEnv: { A: "a\nb" } }, "several lines"],
    ["a line that is too long", { run: "x".repeat(8001) }, "8000 characters"],
    ["another system's shell", { shell: "sh" }, "does not exist in a windows guest"],
    ["a code that means two things", { expectExit: [0, 3010] }, "3010 is in expectExit and in rebootExit"],
    ["a variable given twice", { env: { Path: "a" }, secretEnv: { PATH: "b" } }, "in env and in secretEnv"],
  ] satisfies [string, Partial<StepInput>, string][])("refuses %s in a cmd step", (_what, change, says) => {
    const build = () =>
      buildOrder({
        order: "package",
        os: "windows",
        layer: "l",
        version: "1",
        install: [{ name: "S", shell: "cmd", run: "rem", ...change }],
      });
    expect(build).toThrow(says);
    expect(build).toThrow('step "S"');
  });

  it("refuses names that are no names, and xenlayer's own", () => {
    for (const name of ["A&B", "1A", "", "A=B", "XENLAYER_HOME"]) {
      expect(() =>
        buildOrder({
          order: "package",
          os: "linux",
          layer: "l",
          version: "1",
          install: [{ name: "S", shell: "sh", run: "true", env: { [name]: "x" } }],
        }),
      ).toThrow();
    }
  });
});
