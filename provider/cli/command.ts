// What the subcommands of `xenlayer` share: the shape of one, where it writes to, and the options that say which pool is meant.
import { readFile } from "node:fs/promises";
import { type ParseArgsConfig, parseArgs } from "node:util";
import { explain } from "../errors.ts";
import type { ConnectorCredentials, Context, FrontContext } from "../resource.ts";
import { connectFor } from "../session.ts";

/** Where a command writes to, as process.stdout and process.stderr. */
export interface Terminal {
  out: (text: string) => void;
  err: (text: string) => void;
}

export interface Command {
  /** One line for the list of commands. */
  summary: string;
  usage: string;
  /** Answers the exit code; 2 is for a command line that wasn't understood. */
  run: (args: readonly string[], terminal: Terminal) => Promise<number>;
}

/** A command line that isn't understood; answered by the problems and the usage. */
export class UsageError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join("; "));
    this.name = "UsageError";
    this.problems = problems;
  }
}

/** The options that say how a pool is reached; the account comes from the environment alone. */
const poolOptions = {
  address: { type: "string", multiple: true },
  "ca-certificate": { type: "string" },
  fingerprint: { type: "string", multiple: true },
} as const satisfies ParseArgsConfig["options"];

export const POOL_USAGE = `  --address HOST             any pool member: host, host:port or URL; may be repeated
  --ca-certificate FILE      PEM of the authority that signed the hosts' certificates
  --fingerprint SHA256       fingerprint of a host's own certificate; may be repeated`;

export const ACCOUNT_USAGE = `The account is taken from the environment: XENLAYER_USERNAME and XENLAYER_PASSWORD.`;

type Options = NonNullable<ParseArgsConfig["options"]>;
export type Values<O extends Options> = ReturnType<typeof parseArgs<{ options: O }>>["values"];
export type Pool = Pick<ConnectorCredentials, "address" | "tls"> & { address: string[] };

/** util.parseArgs without positional arguments; what it doesn't understand is a UsageError. */
export function parseOptions<const O extends Options>(args: readonly string[], options: O): Values<O> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: false }).values;
  } catch (error) {
    throw new UsageError([explain(error)]);
  }
}

/** The same for a command that works on a pool: which one is meant, and the values of its own options. All problems at once, with those of its own that are `required`. */
export async function parsePoolOptions<const O extends Options>(
  args: readonly string[],
  own: O,
  required: readonly (keyof O & string)[] = [],
): Promise<{ values: Values<O>; pool: Pool }> {
  const values = parseOptions(args, { ...own, ...poolOptions });
  const given: Readonly<Record<string, unknown>> = values;
  return { values, pool: await poolOf(values, Object.fromEntries(required.map((name) => [name, given[name]]))) };
}

async function poolOf(values: Values<typeof poolOptions>, required: Readonly<Record<string, unknown>>): Promise<Pool> {
  const problems = Object.entries({ address: values.address, ...required })
    .filter(([, value]) => value === undefined)
    .map(([name]) => `--${name} is missing`);
  const file = values["ca-certificate"];
  let caCertificate: string | undefined;
  if (file !== undefined)
    try {
      caCertificate = await readFile(file, "utf8");
    } catch (error) {
      problems.push(`--ca-certificate can't be read: ${explain(error)}`);
    }
  if (values.address === undefined || problems.length > 0) throw new UsageError(problems);
  const tls = {
    ...(caCertificate === undefined ? {} : { caCertificate }),
    ...(values.fingerprint && { fingerprints: values.fingerprint }),
  };
  return { address: values.address, ...(Object.keys(tls).length === 0 ? {} : { tls }) };
}

export const asJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** A front without an engine: `report` is for what a command is doing, if anybody is to see it. */
export function commandContext(report: (message: string) => void = () => undefined, warn = report): Context {
  const front: FrontContext = { report, warn, signal: new AbortController().signal, config: {} };
  return { ...front, connect: (connector) => connectFor(front, connector) };
}

export const count = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;
