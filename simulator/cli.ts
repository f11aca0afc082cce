#!/usr/bin/env node
/** `xapi-simulator`: runs a simulated pool until SIGTERM or SIGINT. */
import { parseArgs } from "node:util";
import { type SimulatorOptions, startSimulator } from "./index.ts";

const USAGE = `usage: xapi-simulator [options]

  --pool small|ha   one host with local storage (default), or three with shared storage and HA
  --port N          default: a free one
  --state DIR       keeps the pool and its disks there; default: nothing is kept
  --seed N          references and uuids follow from it
  --speed N         simulated time goes N times as fast as real time (default 1)
  --virtual         simulated durations take no time at all
  --tls             https, with a public test certificate
  --latency MS      real milliseconds before each answer
  --json            the first line of output is JSON: {"url","username","password"} and with --tls "ca","fingerprint"
`;

function number(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new Error(`--${name} takes a number, not "${text}"`);
}

function options(): { json: boolean; help: boolean; simulator: SimulatorOptions } {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({
    options: {
      pool: text,
      port: text,
      state: text,
      seed: text,
      speed: text,
      latency: text,
      virtual: flag,
      tls: flag,
      json: flag,
      help: flag,
    },
  });
  if (values.pool !== undefined && values.pool !== "small" && values.pool !== "ha")
    throw new Error(`--pool takes small or ha, not "${values.pool}"`);
  return {
    json: values.json,
    help: values.help,
    simulator: {
      pool: values.pool ?? "small",
      port: number("port", values.port) ?? 0,
      seed: number("seed", values.seed) ?? 0,
      speed: number("speed", values.speed) ?? 1,
      latencyMs: number("latency", values.latency) ?? 0,
      clock: values.virtual ? "virtual" : "real",
      tls: values.tls,
      ...(values.state === undefined ? {} : { stateDir: values.state }),
    },
  };
}

async function main(): Promise<void> {
  const { json, help, simulator: given } = options();
  if (help) {
    process.stdout.write(USAGE);
    return;
  }
  const simulator = await startSimulator(given);
  const { url, username, password, ca, fingerprint } = simulator;
  process.stdout.write(
    json ? `${JSON.stringify({ url, username, password, ca, fingerprint })}\n` : `${url}  user ${username}  password ${password}\n`,
  );
  const stop = () => {
    simulator.close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`xapi-simulator: ${error instanceof Error ? error.message : String(error)}\n`);
        process.exit(1);
      },
    );
  };
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
}

main().catch((error: unknown) => {
  process.stderr.write(`xapi-simulator: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exitCode = 2;
});
