// The gate for PowerShell, which runs nowhere here: every line of it that is generated for a guest is parsed with a real grammar, is short and plain, and uses only
// commands and parameters that are listed here. A misspelt keyword is just another command to PowerShell (`esle { }`): the list catches what the grammar can't.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { Language, type Node, Parser } from "web-tree-sitter";
import { bootstrapFiles } from "./bootstrap.ts";
import { userData } from "./noCloud.ts";
import { buildOrder, type Order } from "./order.ts";
import { generateScripts, secretScript } from "./scripts.ts";

/** Command: its parameters. Whoever needs another adds it; for one that changes a guest it is said why. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  // Facts that only CIM and COM know (facts/bootDiskDrivers.ts, facts/pendingReboot.ts).
  "Get-CimClass": ["Namespace", "ClassName"],
  "Get-CimInstance": ["Namespace", "ClassName", "Filter"],
  "Get-Service": ["Name"],
  "New-Object": ["ComObject"],
  "Get-Disk": [],
  "Test-Path": ["LiteralPath"],
  "Write-Output": ["InputObject"],
  // Brings the payload disk online (bootstrap.ts), which xenstore tells: by methods of xeniface's classes.
  "Invoke-CimMethod": ["InputObject", "MethodName", "Arguments"],
  "Set-Disk": ["IsOffline", "IsReadOnly"],
  // The icon on the desktop asks for an administrator's consent (bootstrap.ts).
  "Start-Process": ["FilePath", "Verb"],
};
const LONGEST = 850;

let parser: Parser;
beforeAll(async () => {
  const require = createRequire(import.meta.url);
  await Parser.init();
  parser = new Parser();
  parser.setLanguage(await Language.load(readFileSync(require.resolve("tree-sitter-powershell/tree-sitter-powershell.wasm"))));
});

/** What is wrong with a piece of PowerShell. */
function problemsOf(text: string): string[] {
  const tree = parser.parse(text);
  if (tree === null) return ["not parsed"];
  try {
    const root = tree.rootNode;
    const all = (types: string | string[]): Node[] => root.descendantsOfType(types);
    // The grammar takes a lonely quote for a letter.
    const syntax = root.hasError || text.split("'").length % 2 === 0 ? ["it is no PowerShell"] : [];
    const commands = all("command").flatMap((command) => {
      const name = command.childForFieldName("command_name")?.text ?? "";
      // The secrets of a step are read from a file of ours.
      if (name.startsWith('"$env:XENLAYER_HOME\\secret\\')) return [];
      const parameters = ALLOWED[name];
      if (parameters === undefined) return [`${name} is not among the allowed commands`];
      return command
        .descendantsOfType("command_parameter")
        .filter((parameter) => parameter.parent?.parent?.equals(command) === true)
        .map((parameter) => parameter.text.replace(/^-|:$/g, ""))
        .filter((parameter) => !parameters.includes(parameter))
        .map((parameter) => `${name} is not to be given -${parameter}`);
    });
    const keywords = all(["class_statement", "trap_statement", "function_statement", "invokation_expression"]).map(
      (node) => `${node.type}: write it more plainly`,
    );
    return [...syntax, ...commands, ...keywords];
  } finally {
    tree.delete();
  }
}

const order = (more: Partial<Parameters<typeof buildOrder>[0]> = {}): Order =>
  buildOrder({ order: "finalize", os: "windows", layer: "l", version: "1", nonce: "0".repeat(32), kms: true, ...more });
// The step's own text is its author's; ours is what stands around it.
const withStep = order({
  order: "package",
  install: [{ name: "a 'b'", run: "Write-Output 1", shell: "powershell", env: { A: "it's \u2019me" }, secretEnv: { B: "x" } }],
});

/** All that is generated for Windows: path and text. */
const generated = (): [string, string][] => [
  ["user-data", userData("windows")],
  ...bootstrapFiles("windows")
    .filter(({ path }) => path.endsWith(".cmd"))
    .map(({ path, data }): [string, string] => [path, Buffer.from(data).toString("latin1")]),
  ...[order(), order({ ngen: "update-force" }), order({ order: "package", mode: "manual" }), withStep].flatMap((each) =>
    generateScripts(each).map(({ path, text }): [string, string] => [`${each.order} ${each.mode} ${path}`, text]),
  ),
  ...withStep.steps.map((step): [string, string] => {
    const { path, text } = secretScript(withStep, step, { B: "it's" });
    return [path, text];
  }),
];

/** The PowerShell in it: whole .ps1 files, and what cmd hands over with -Command. */
function powershellIn([path, text]: [string, string]): { where: string; text: string; line: boolean }[] {
  if (path.endsWith(".ps1")) return [{ where: path, text: text.replace(/^\ufeff/, ""), line: false }];
  return text.split("\r\n").flatMap((line) => {
    if (/^\s*(rem|title)\b|^set "PATH=/i.test(line) || !/powershell/i.test(line)) return [];
    if (/-File "/.test(line)) return [];
    const [, command] = /powershell -NoProfile -NonInteractive -Command "([^"]*)"/.exec(line) ?? [];
    return [{ where: `${path}: ${line}`, text: (command ?? "").replaceAll("%%", "%"), line: true }];
  });
}

describe("the PowerShell that is generated for guests", () => {
  it("is found: in the bootstrap, the icon, the facts and the steps", () => {
    const found = generated().flatMap(powershellIn);
    expect(found.filter(({ line }) => line).length).toBeGreaterThanOrEqual(3);
    expect(found.filter(({ line }) => !line).map(({ where }) => where)).toEqual(["package automatic steps/01.ps1", "secret/01.ps1"]);
  });

  it("is PowerShell, short, and uses only what is allowed", () => {
    for (const { where, text, line } of generated().flatMap(powershellIn)) {
      expect(text, where).not.toBe("");
      expect(problemsOf(text), where).toEqual([]);
      // Quotes and percent signs would be cmd's before they are PowerShell's; an alias or a line for connoisseurs is nobody's to review.
      if (line) expect(text.length, where).toBeLessThanOrEqual(LONGEST);
      if (line) expect(text, where).not.toMatch(/["`]|[^ -~]|\b(?:iex|Invoke-Expression)\b|\s(?:%|\?)\s*\{/);
    }
  });
});

describe("the gate", () => {
  const lines = (): string[] => [
    ...new Set(
      generated()
        .flatMap(powershellIn)
        .filter(({ line }) => line)
        .map(({ text }) => text),
    ),
  ];

  it("refuses each line with any bracket, brace or quote missing", () => {
    for (const text of lines())
      for (const { index } of text.matchAll(/[(){}']/g))
        expect(problemsOf(text.slice(0, index) + text.slice(index + 1)), `${text} without ${index}`).not.toEqual([]);
  });

  it("refuses a misspelt command, keyword or parameter", () => {
    const words = lines().flatMap((text) =>
      [...text.matchAll(/(?<![$.\w-])-?[A-Za-z]+(?:-[A-Za-z]+)?(?![\w.:\\])/g)].map(({ 0: word, index }) => ({ text, word, index })),
    );
    const named = words.filter(
      ({ word }) =>
        word.startsWith("-") || Object.hasOwn(ALLOWED, word) || ["foreach", "else", "if", "try", "catch", "finally"].includes(word),
    );
    expect(named.length).toBeGreaterThan(10);
    fc.assert(
      fc.property(fc.constantFrom(...named), fc.nat(), ({ text, word, index }, at) => {
        const letter = 1 + (at % (word.length - 1));
        const swapped = word.slice(0, letter - 1) + (word[letter] ?? "") + (word[letter - 1] ?? "") + word.slice(letter + 1);
        if (swapped.toLowerCase() === word.toLowerCase() || swapped.startsWith("-") !== word.startsWith("-")) return;
        expect(problemsOf(text.slice(0, index) + swapped + text.slice(index + word.length)), swapped).not.toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  it("refuses what would run anything", () => {
    expect(problemsOf("Invoke-Expression 'x'")).toEqual(["Invoke-Expression is not among the allowed commands"]);
    expect(problemsOf("Remove-Item C:\\x")).toEqual(["Remove-Item is not among the allowed commands"]);
    expect(problemsOf("Set-Disk -IsOfline $false")).toEqual(["Set-Disk is not to be given -IsOfline"]);
  });
});
