// How good the tests of the judges are: every judge and parser is made wrong in one place at a time, and the tables of judgements have to notice.
// The tests are those of vitest, run here without it: one process loads them and the mutated sources once, and then is one mutant after the other.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";
import { type Mutant, mutated } from "./mutants.ts";
import type { Row } from "./table.ts";

const WORK = ".cache/mutation";
const FACTS = "provider/guest/facts";
const TESTS = [
  `${FACTS}/windowsChecks.test.ts`,
  `${FACTS}/linuxChecks.test.ts`,
  `${FACTS}/facts.test.ts`,
  `${FACTS}/office.test.ts`,
  "provider/guest/verdict.test.ts",
  "provider/guest/judging.test.ts",
  "provider/guest/guestTime.test.ts",
  "provider/guest/inventory.test.ts",
];
/** Properties and programs of the machine: too slow to be asked hundreds of times, and the tables have to be enough. */
const LEFT_OUT = /^(whatever a guest answers|no mutated report|reads any text|under )/;

export interface Score {
  readonly killed: number;
  readonly survivors: readonly Mutant[];
}

interface Test {
  readonly name: string;
  readonly run: () => unknown;
}

/** What stands for vitest: tests are collected, in the order of the files. */
const SHIM = `import * as chai from "chai";
import { JestAsymmetricMatchers, JestChaiExpect, JestExtend, ASYMMETRIC_MATCHERS_OBJECT } from "@vitest/expect";
chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
export const tests = [];
const path = [];
export const expect = Object.assign((value, message) => chai.expect(value, message), globalThis[ASYMMETRIC_MATCHERS_OBJECT], chai.expect);
export const it = (name, run) => void tests.push({ name: [...path, name].join(" > "), run });
const named = (name, row) => name.replace("%s", String(row[0]));
it.each = (rows) => (name, run) => { for (const row of rows) { const args = Array.isArray(row) ? row : [row]; it(named(name, args), () => run(...args)); } };
export const describe = (name, body) => { path.push(name); body(); path.pop(); };
describe.each = (rows) => (name, body) => { for (const row of rows) { const args = Array.isArray(row) ? row : [row]; describe(named(name, args), () => body(...args)); } };
`;

/** Sources that judge and read answers: one file a check, and what joins them. */
function judged(): string[] {
  const facts = readdirSync(FACTS).filter((name) => name.endsWith(".ts") && !/(\.test|testing)\.ts$/.test(name));
  return [
    ...facts.map((name) => `${FACTS}/${name}`),
    "provider/guest/fact.ts",
    "provider/guest/verdict.ts",
    "provider/guest/verdictSteps.ts",
    "provider/guest/registry.ts",
    "provider/guest/processes.ts",
    "provider/guest/files.ts",
    "provider/guest/powershell.ts",
    "provider/guest/guestTime.ts",
    "provider/guest/inventory.ts",
  ];
}

function written(): Mutant[] {
  rmSync(WORK, { recursive: true, force: true });
  const all: Mutant[] = [];
  const wanted = new Set(judged());
  for (const name of readdirSync("provider", { recursive: true, encoding: "utf8" })) {
    const file = join("provider", name);
    if (!file.endsWith(".ts") || file.endsWith(".d.ts") || (file.endsWith(".test.ts") && !TESTS.includes(file))) continue;
    let text = readFileSync(file, "utf8");
    if (wanted.has(file)) {
      const { text: changed, mutants } = mutated(file, text, all.length);
      text = changed;
      all.push(...mutants);
    }
    const { outputText } = ts.transpileModule(text.replace('from "vitest"', 'from "vitest-shim"'), {
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.ESNext,
        rewriteRelativeImportExtensions: true,
        verbatimModuleSyntax: true,
      },
    });
    const into = join(WORK, file.replace(/\.ts$/, ".js"));
    mkdirSync(dirname(into), { recursive: true });
    writeFileSync(into, outputText.replace('"vitest-shim"', JSON.stringify(pathToFileURL(join(WORK, "shim.js")).href)));
  }
  writeFileSync(join(WORK, "shim.js"), SHIM);
  writeFileSync(join(WORK, "package.json"), '{ "type": "module" }');
  return all;
}

async function passes({ run }: Test): Promise<boolean> {
  try {
    await run();
    return true;
  } catch {
    return false;
  }
}

export async function mutationScore(progress: (line: string) => void): Promise<Score> {
  const state = globalThis as { $mutant?: number };
  const mutants = written();
  const load = (file: string): Promise<unknown> => import(pathToFileURL(join(process.cwd(), WORK, file)).href);
  const { tests } = (await load("shim.js")) as { tests: Test[] };
  for (const file of TESTS) await load(file.replace(/\.ts$/, ".js"));
  const asked: Test[] = [];
  for (const test of tests) {
    if (LEFT_OUT.test(test.name)) continue;
    if (!(await passes(test))) throw new Error(`without any mutant a test fails: ${test.name}`);
    asked.push(test);
  }
  progress(`${mutants.length} mutants of ${judged().length} files, ${asked.length} tests`);
  const survivors: Mutant[] = [];
  for (const mutant of mutants) {
    state.$mutant = mutant.id;
    let killed = false;
    for (let index = 0; index < asked.length && !killed; index++) {
      const test = asked[index] as Test;
      killed = !(await passes(test));
      // Who has noticed one notices its neighbours, too.
      if (killed) asked.unshift(...asked.splice(index, 1));
    }
    if (!killed) survivors.push(mutant);
  }
  delete state.$mutant;
  return { killed: mutants.length - survivors.length, survivors };
}

export async function mutationRows(progress: (line: string) => void): Promise<Row[]> {
  const { killed, survivors } = await mutationScore(progress);
  for (const { file, line, what } of survivors) progress(`survived: ${file}:${line}: ${what}`);
  const score = (100 * killed) / (killed + survivors.length);
  return [
    {
      figure: "mutation score of the judges and parsers",
      measured: `${score.toFixed(1)} % (${killed} of ${killed + survivors.length} mutants noticed)`,
      aim: "at least 90 %",
      met: score >= 90,
    },
  ];
}
