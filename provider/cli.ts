#!/usr/bin/env node
// `xenlayer COMMAND`: what can be asked of a pool without Pulumi, one file a command in cli/. Promises: no secret is printed, sessions are logged out,
// what isn't understood is answered by the usage and exit code 2, what fails by one paragraph and 1.
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Command, type Terminal, UsageError } from "./cli/command.ts";
import { doctor } from "./cli/doctor.ts";
import { gc } from "./cli/gc.ts";
import { report } from "./cli/report.ts";
import { selftest } from "./cli/selftest.ts";
import { explain, ProviderError } from "./errors.ts";
import { disconnectAll } from "./xapi/client.ts";

const commands: Readonly<Record<string, Command>> = { doctor, gc, report, selftest };

const USAGE = `Usage: xenlayer COMMAND [options]

${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(10)} ${summary}`)
  .join("\n")}

xenlayer COMMAND --help tells the options and exit codes of a command.
`;

/** Runs a command line; answers the exit code. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = args;
  const command = name !== undefined && Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (args.some((arg) => arg === "--help" || arg === "-h")) {
    terminal.out(command?.usage ?? USAGE);
    return 0;
  }
  if (command === undefined) {
    terminal.err(`xenlayer: ${name === undefined ? "no command" : `no command "${name}"`}\n\n${USAGE}`);
    return 2;
  }
  try {
    return await command.run(rest, terminal);
  } catch (error) {
    if (error instanceof UsageError) {
      terminal.err(`${error.problems.map((problem) => `xenlayer: ${problem}\n`).join("")}\n${command.usage}`);
      return 2;
    }
    if (!(error instanceof ProviderError)) throw error;
    terminal.err(`xenlayer: ${explain(error)}\n`);
    return 1;
  } finally {
    await disconnectAll();
  }
}

// Run, not imported; npm's bin is a link.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const terminal = { out: (text: string) => void process.stdout.write(text), err: (text: string) => void process.stderr.write(text) };
  try {
    process.exitCode = await main(process.argv.slice(2), terminal);
  } catch (error) {
    terminal.err(`xenlayer: ${error instanceof Error ? error.stack : String(error)}\n`);
    process.exitCode = 1;
  }
}
