// `npm run bench`: all figures, or those named (calls, finalize, mutation, import, poweroff), as one table.
import { readFile } from "node:fs/promises";
import { finalizeRows } from "./finalize.ts";
import { importRows } from "./import.ts";
import { mutationRows } from "./mutation.ts";
import { powerOffRows } from "./poweroff.ts";
import { type Row, table } from "./table.ts";

const AIMS = { "ConnectorConfig.create": 10, "PackagingDisk.create": 8, "PackagingMachine.create": 14, "Finalize.create": 16 };

async function callRows(): Promise<Row[]> {
  // Counted, and compared with this file, by xapi-calls.test.ts.
  const calls = JSON.parse(await readFile("bench/xapi-calls.json", "utf8")) as Record<string, number>;
  return Object.entries(AIMS).map(([operation, aim]) => {
    const [count = Number.NaN, transfers = 0] = [calls[operation], calls[`${operation} transfers`]];
    return {
      figure: `XAPI calls of ${operation}`,
      measured: `${count}${transfers === 0 ? "" : ` and ${transfers} transfer${transfers === 1 ? "" : "s"}`}`,
      aim: `at most ${aim}`,
      met: count <= aim,
    };
  });
}

const progress = (line: string): void => void process.stderr.write(`${line}\n`);
const parts = {
  calls: callRows,
  finalize: () => finalizeRows(progress),
  mutation: () => mutationRows(progress),
  import: () => importRows(progress),
  poweroff: () => powerOffRows(progress),
};
const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in parts));
if (unknown.length > 0) throw new Error(`no bench is named ${unknown.join(", ")}; there are ${Object.keys(parts).join(", ")}`);

const rows: Row[] = [];
for (const [name, measure] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) rows.push(...(await measure()));
process.stdout.write(`${table(rows)}\n`);
