#!/usr/bin/env node
// `xenlayer doctor`: the connector's test against any pool, without Pulumi. Promises: all findings at once, by the property of a ConnectorConfig
// that they are about; exit code 1 when one is an error; the account comes from the environment alone, and no secret is printed.
import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { type ParseArgsConfig, parseArgs } from "node:util";
import * as z from "zod";
import { connectorShape } from "./connector.ts";
import { type ConnectorSettings, type Finding, testConnector } from "./connectorTest.ts";
import { explain, InputError } from "./errors.ts";
import { type Context, type FrontContext, propertyPath } from "./resource.ts";
import { connectFor } from "./session.ts";
import { disconnectAll } from "./xapi/client.ts";

const USAGE = `Usage: xenlayer doctor --address HOST --template NAME --storage-repository NAME [options]

Tests whether a pool can be used for building layers. The account is taken from the
environment: XENLAYER_USERNAME and XENLAYER_PASSWORD.

  --address HOST             any pool member: host, host:port or URL; may be repeated
  --template NAME            name_label or uuid of the custom template
  --storage-repository NAME  name_label or uuid of the storage repository
  --network NAME             name_label or uuid of the network
  --tools-iso NAME           name_label or uuid of the ISO with the VM tools
  --ca-certificate FILE      PEM of the authority that signed the hosts' certificates
  --fingerprint SHA256       fingerprint of a host's own certificate; may be repeated
  --probe                    also write a disk of 2 MiB, read it back and remove it
  --json                     print findings as JSON
  --help                     show this

Exit code: 0 nothing stands in the way, 1 something does, 2 not understood.
`;

const options = {
  address: { type: "string", multiple: true },
  template: { type: "string" },
  "storage-repository": { type: "string" },
  network: { type: "string" },
  "tools-iso": { type: "string" },
  "ca-certificate": { type: "string" },
  fingerprint: { type: "string", multiple: true },
  probe: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const satisfies ParseArgsConfig["options"];

/** Where a command writes to, as process.stdout and process.stderr. */
export interface Terminal {
  out: (text: string) => void;
  err: (text: string) => void;
}

/** Runs a command line; answers the exit code. */
export async function main(args: readonly string[], { out, err }: Terminal): Promise<number> {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(args);
  } catch (error) {
    err(`xenlayer: ${explain(error)}\n\n${USAGE}`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (values.help === true) {
    out(USAGE);
    return 0;
  }
  const [command, ...rest] = positionals;
  if (command !== "doctor" || rest.length > 0) {
    err(`xenlayer: ${command === undefined ? "no command" : `no command "${positionals.join(" ")}"`}\n\n${USAGE}`);
    return 2;
  }
  const settings = await settingsOf(values);
  if ("problems" in settings) {
    err(`${settings.problems.map((problem) => `xenlayer: ${problem}\n`).join("")}\n${USAGE}`);
    return 2;
  }
  try {
    const { findings, facts } = await testConnector(context(), settings, { probe: values.probe === true });
    out(values.json === true ? `${JSON.stringify({ findings, facts }, null, 2)}\n` : report(findings, facts));
    return findings.some(({ severity }) => severity === "error") ? 1 : 0;
  } finally {
    await disconnectAll();
  }
}

const parse = (args: readonly string[]) => parseArgs({ args: [...args], options, allowPositionals: true });

async function settingsOf(values: ReturnType<typeof parse>["values"]): Promise<ConnectorSettings | { problems: string[] }> {
  const problems = (["address", "template", "storage-repository"] as const)
    .filter((name) => values[name] === undefined)
    .map((name) => `--${name} is missing`);
  const file = values["ca-certificate"];
  let caCertificate: string | undefined;
  if (file !== undefined)
    try {
      caCertificate = await readFile(file, "utf8");
    } catch (error) {
      problems.push(`--ca-certificate can't be read: ${explain(error)}`);
    }
  if (problems.length > 0) return { problems };
  const tls = {
    ...(caCertificate === undefined ? {} : { caCertificate }),
    ...(values.fingerprint && { fingerprints: values.fingerprint }),
  };
  const parsed = z.object(connectorShape).safeParse({
    address: values.address,
    template: values.template,
    storageRepository: values["storage-repository"],
    network: values.network,
    toolsIso: values["tools-iso"],
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
  });
  return parsed.success ? parsed.data : { problems: parsed.error.issues.map(({ path, message }) => `${propertyPath(path)}: ${message}`) };
}

function context(): Context {
  const front: FrontContext = {
    report: () => undefined,
    warn: () => undefined,
    signal: new AbortController().signal,
    config: {},
  };
  return { ...front, connect: (connector) => connectFor(front, connector) };
}

function report(findings: readonly Finding[], facts: Readonly<Record<string, unknown>>): string {
  const errors = findings.filter(({ severity }) => severity === "error").length;
  const warnings = findings.filter(({ severity }) => severity === "warning").length;
  const lines = findings.map(({ severity, property, message }) => `${severity.padEnd(7)}  ${property}: ${message}`);
  const known = Object.entries(facts).map(([name, value]) => `         ${name}: ${String(value)}`);
  const verdict = errors === 0 ? "This pool can be used" : `This pool can't be used: ${count(errors, "error")}`;
  return `${[...lines, ...(known.length === 0 ? [] : ["", ...known]), "", `${verdict}${warnings === 0 ? "" : `, ${count(warnings, "warning")}`}.`].join("\n")}\n`;
}

const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;

// Run, not imported; npm's bin is a link.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const terminal = { out: (text: string) => void process.stdout.write(text), err: (text: string) => void process.stderr.write(text) };
  try {
    process.exitCode = await main(process.argv.slice(2), terminal);
  } catch (error) {
    terminal.err(`xenlayer: ${error instanceof InputError ? explain(error) : (error as Error).stack}\n`);
    process.exitCode = 1;
  }
}
