// `xenlayer report`: how a version was found ready, or why it is not, and what is installed in two versions. Promises: reads only; a file that is there is
// written over only when it is named; no secret is printed.
import { writeFile } from "node:fs/promises";
import type { ParseArgsConfig } from "node:util";
import { explain, InputError } from "../errors.ts";
import { findLayer } from "../layer/layers.ts";
import { LayerRecord } from "../layer/record.ts";
import { compareReports } from "../report/compare.ts";
import { comparisonPage, comparisonText } from "../report/compareView.ts";
import { loadReport } from "../report/load.ts";
import { reportPage } from "../report/page.ts";
import type { Report } from "../report/shape.ts";
import { reportText } from "../report/text.ts";
import type { ConnectorCredentials } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import { ACCOUNT_USAGE, asJson, type Command, commandContext, POOL_USAGE, parsePoolOptions, UsageError } from "./command.ts";

const options = {
  layer: { type: "string" },
  version: { type: "string" },
  compare: { type: "string", multiple: true },
  format: { type: "string" },
  out: { type: "string" },
} as const satisfies ParseArgsConfig["options"];

const FORMATS = ["text", "html", "json"];

export const report: Command = {
  summary: "shows how a version was found ready, or what changed between two",
  usage: `Usage: xenlayer report --address HOST --layer NAME --version VERSION [options]
       xenlayer report --address HOST --layer NAME --compare OLD NEW [options]

Shows the finalize report of a version, from the evidence that is kept with it; or which software
and drivers were added, removed and changed from one version to another. ${ACCOUNT_USAGE}

${POOL_USAGE}
  --layer NAME               name or id of the layer
  --version VERSION          the version; sealed, or its machine halted
  --compare OLD NEW          two versions of the layer
  --format FORMAT            text (the default), html (one page, nothing else is needed) or json
  --out FILE                 write there instead of printing

Exit code: 0 done, 1 something failed, 2 not understood.
`,
  async run(args, { out }) {
    const { values, pool } = await parsePoolOptions(pairOf(args), options, ["layer"]);
    const { layer, version, compare = [], format = "text" } = values;
    const problems = [
      ...(version === undefined && compare.length === 0 ? ["--version or --compare is missing"] : []),
      ...(version !== undefined && compare.length > 0 ? ["--version and --compare exclude each other"] : []),
      ...(compare.length > 0 && compare.length !== 2 ? ["--compare takes two versions"] : []),
      ...(FORMATS.includes(format) ? [] : [`--format is ${FORMATS.join(", ")}, not "${format}"`]),
    ];
    if (problems.length > 0) throw new UsageError(problems);
    const ctx = commandContext();
    const xapi = await ctx.connect(pool);
    const record = await layerNamed(xapi, pool, layer ?? "");
    const load = (name: string): Promise<Report> => {
      const entry = record.versions.get(name);
      if (entry === undefined) {
        const names = [...record.versions.keys()].sort().join(", ");
        throw new InputError([
          { property: "--version", reason: `layer "${record.meta.name}" has no version ${name} (it has: ${names || "none"})` },
        ]);
      }
      return loadReport(ctx, { xapi, record, name, entry });
    };
    const [old, now] = compare;
    const text =
      old === undefined || now === undefined
        ? shown(format, await load(version ?? ""), reportText, reportPage)
        : shown(format, compareReports(await load(old), await load(now)), comparisonText, comparisonPage);
    if (values.out === undefined) out(text);
    else
      await writeFile(values.out, text).catch((error: unknown) => {
        throw new InputError([{ property: "--out", reason: `${values.out} can't be written: ${explain(error)}` }]);
      });
    return 0;
  },
};

/** `--compare OLD NEW` as parseArgs takes it: an option has one value. */
const pairOf = (args: readonly string[]): string[] =>
  args.flatMap((arg, index) => (args[index - 2] === "--compare" && !arg.startsWith("-") ? ["--compare", arg] : [arg]));

const shown = <T>(format: string, value: T, text: (value: T) => string, page: (value: T) => string): string =>
  format === "json" ? asJson(value) : format === "html" ? page(value) : text(value);

async function layerNamed(xapi: Xapi, pool: ConnectorCredentials, layer: string): Promise<LayerRecord> {
  const isId = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(layer);
  const record = isId ? await LayerRecord.open(xapi, layer) : await findLayer(xapi, pool, layer);
  if (record === undefined) throw new InputError([{ property: "--layer", reason: `there is no layer "${layer}" on this pool` }]);
  return record;
}
