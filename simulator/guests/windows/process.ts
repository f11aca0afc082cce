// What every modelled Windows program shares: its answer, its surroundings, where its output goes.
/** What a program said. Streams are text with Windows' line ends. */
export interface Answer {
  readonly out: string;
  readonly err: string;
  readonly rc: number;
}

export const said = (out: string, rc = 0): Answer => ({ out, err: "", rc });
export const complained = (err: string, rc = 1): Answer => ({ out: "", err, rc });

/** cmd.exe's words for a command that it can't find, and its exit code (9009 in a script, MSG_DIR_BAD_COMMAND_OR_FILE). */
export const notRecognized = (name: string): Answer => ({
  out: "",
  err: `'${name}' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n`,
  rc: 9009,
});

export interface Stream {
  write(text: string): void;
}

/** Environment variables: names are compared without case, as Windows does. */
export class Environment {
  readonly #values: Map<string, { name: string; text: string }>;

  constructor(from: Iterable<readonly [string, string]> = []) {
    this.#values = new Map([...from].map(([name, text]) => [name.toUpperCase(), { name, text }]));
  }

  get(name: string): string | undefined {
    return this.#values.get(name.toUpperCase())?.text;
  }

  set(name: string, text: string): void {
    if (text === "") this.#values.delete(name.toUpperCase());
    else this.#values.set(name.toUpperCase(), { name, text });
  }

  /** By name, as `set` without arguments lists them. */
  entries(): [string, string][] {
    return [...this.#values.values()]
      .map(({ name, text }): [string, string] => [name, text])
      .sort(([a], [b]) => (a.toUpperCase() < b.toUpperCase() ? -1 : 1));
  }

  copy(): Environment {
    return new Environment(this.entries());
  }
}

/** One process: what a child inherits. */
export interface Process {
  env: Environment;
  cwd: string;
  out: Stream;
  err: Stream;
  /** Text of a redirected input; undefined: the console, at which nobody sits. */
  input: string | undefined;
}

/** Splits a command line as the C runtime does: blanks separate, quotes group and go away. */
export function argumentsOf(line: string): string[] {
  const args: string[] = [];
  let current: string | undefined;
  let quoted = false;
  for (let index = 0; index < line.length; index++) {
    const character = line[index] ?? "";
    if (character === "\\" && line[index + 1] === '"' && !isDirectoryEnd(line, index)) {
      current = `${current ?? ""}"`;
      index++;
    } else if (character === '"') {
      quoted = !quoted;
      current ??= "";
    } else if (!quoted && /\s/.test(character)) {
      if (current !== undefined) args.push(current);
      current = undefined;
    } else current = `${current ?? ""}${character}`;
  }
  if (current !== undefined) args.push(current);
  return args;
}

// "C:\dir\" is a path to everyone but the C runtime; the programs here are lenient about it, as cmd's own are.
const isDirectoryEnd = (line: string, index: number): boolean => line[index + 2] === undefined || /\s/.test(line[index + 2] ?? "");

/** A name may be quoted in part; it ends at a blank outside quotes, and at a switch that follows without a blank (`tasklist/fo`). */
export function firstWord(line: string): [string, string] {
  const [name = ""] = /^(?:"[^"]*"?|[^\s"/;,=])+/.exec(line) ?? [];
  return name === "" ? [line, ""] : [name, line.slice(name.length)];
}

/** %1 and so on: blanks, commas, semicolons and equals signs separate, quotes stay. */
export const scriptArguments = (text: string): string[] => text.match(/(?:"[^"]*"?|[^\s,;="])+/g) ?? [];
