// `xenlayer doctor`: the connector's test against any pool, without Pulumi. Promises: all findings at once, by the property of a ConnectorConfig
// that they are about; exit code 1 when one is an error; no secret is printed.
import type { ParseArgsConfig } from "node:util";
import * as z from "zod";
import { connectorShape } from "../connector.ts";
import { type ConnectorSettings, type Finding, testConnector } from "../connectorTest.ts";
import { propertyPath } from "../resource.ts";
import {
  ACCOUNT_USAGE,
  asJson,
  type Command,
  commandContext,
  count,
  POOL_USAGE,
  type Pool,
  parsePoolOptions,
  UsageError,
  type Values,
} from "./command.ts";

const options = {
  template: { type: "string" },
  "storage-repository": { type: "string" },
  network: { type: "string" },
  "tools-iso": { type: "string" },
  probe: { type: "boolean" },
  json: { type: "boolean" },
} as const satisfies ParseArgsConfig["options"];

export const doctor: Command = {
  summary: "tests whether a pool can be used for building layers",
  usage: `Usage: xenlayer doctor --address HOST --template NAME --storage-repository NAME [options]

Tests whether a pool can be used for building layers. ${ACCOUNT_USAGE}

${POOL_USAGE}
  --template NAME            name_label or uuid of the custom template
  --storage-repository NAME  name_label or uuid of the storage repository
  --network NAME             name_label or uuid of the network
  --tools-iso NAME           name_label or uuid of the ISO with the VM tools
  --probe                    also write a disk of 2 MiB, read it back and remove it
  --json                     print findings as JSON

Exit code: 0 nothing stands in the way, 1 something does, 2 not understood.
`,
  async run(args, { out }) {
    const { values, pool } = await parsePoolOptions(args, options, ["template", "storage-repository"]);
    const { findings, facts } = await testConnector(commandContext(), settingsOf(pool, values), { probe: values.probe === true });
    out(values.json === true ? asJson({ findings, facts }) : report(findings, facts));
    return findings.some(({ severity }) => severity === "error") ? 1 : 0;
  },
};

function settingsOf(pool: Pool, values: Values<typeof options>): ConnectorSettings {
  const { template, "storage-repository": storageRepository, network, "tools-iso": toolsIso } = values;
  const parsed = z.object(connectorShape).safeParse({ ...pool, template, storageRepository, network, toolsIso });
  if (parsed.success) return parsed.data;
  throw new UsageError(parsed.error.issues.map(({ path, message }) => `${propertyPath(path)}: ${message}`));
}

function report(findings: readonly Finding[], facts: Readonly<Record<string, unknown>>): string {
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const warnings = findings.filter(({ severity }) => severity === "warning").length;
  const lines = findings.map(({ severity, property, message }) => `${severity.padEnd(7)}  ${property}: ${message}`);
  const known = Object.entries(facts).map(([name, value]) => `         ${name}: ${String(value)}`);
  const verdict = errors === 0 ? "This pool can be used" : `This pool can't be used: ${count(errors, "error")}`;
  return `${[...lines, ...(known.length === 0 ? [] : ["", ...known]), "", `${verdict}${warnings === 0 ? "" : `, ${count(warnings, "warning")}`}.`].join("\n")}\n`;
}
