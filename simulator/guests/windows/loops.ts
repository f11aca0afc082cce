// The lists of cmd's `for`: words and file names, numbers (/l), lines of a file, a text or a command's output (/f).
import { at, matching } from "./fileCommands.ts";
import type { Shell } from "./shell.ts";
import { Capture } from "./streams.ts";
import type { Command } from "./syntax.ts";

/** What a loop's letters are in each of its turns. */
export async function loopValues(shell: Shell, loop: Command & { kind: "for" }): Promise<[string, string][][]> {
  const list = shell.text(loop.set);
  if (loop.mode === "l") {
    const [from = 0, step = 1, to = 0] = list.split(/[\s,]+/).map(Number);
    const values: [string, string][][] = [];
    for (let value = from; step === 0 ? false : step > 0 ? value <= to : value >= to; value += step)
      values.push([[loop.variable, String(value)]]);
    return values;
  }
  if (loop.mode === "f") return linesOf(shell, loop, list);
  const names = list.match(/(?:"[^"]*"?|[^\s,;="])+/g) ?? [];
  return names
    .flatMap((name) =>
      /[*?]/.test(name) ? matching(shell, name).map((file) => `${name.replace(/[^\\/:]*$/, "")}${file.path.split("/").at(-1)}`) : [name],
    )
    .map((name) => [[loop.variable, name]]);
}

async function linesOf(shell: Shell, loop: Command & { kind: "for" }, list: string): Promise<[string, string][][]> {
  const option = (name: string): string | undefined => new RegExp(`(?:^|\\s)${name}=(\\S*)`, "i").exec(loop.options)?.[1];
  const back = /\busebackq\b/i.test(loop.options);
  const quote = list[0] === list.at(-1) && list.length > 1 ? list[0] : undefined;
  let text: string;
  if (quote === (back ? "`" : "'")) {
    const capture = new Capture();
    const child = shell.child(capture);
    await child.runLine(list.slice(1, -1));
    text = capture.text;
  } else if (quote === (back ? "'" : '"')) text = list.slice(1, -1);
  else {
    const read = shell.host.files.readText(at(shell, list));
    if (read === undefined) {
      shell.fail(`The system cannot find the file ${list}.`);
      return [];
    }
    text = read;
  }
  const delimiters = /(?:^|\s)delims=(.*)$/i.exec(loop.options)?.[1] ?? " \t";
  const end = option("eol") ?? ";";
  const lines = text.split(/\r?\n/).slice(Number(option("skip") ?? 0));
  return lines
    .filter((line) => line !== "" && !line.startsWith(end))
    .flatMap((line) => tokensOf(line, delimiters, option("tokens") ?? "1", loop.variable));
}

function tokensOf(line: string, delimiters: string, wanted: string, first: string): [string, string][][] {
  const pieces: { text: string; at: number }[] = [];
  for (let index = 0; index < line.length; ) {
    if (delimiters.includes(line[index] ?? "")) {
      index++;
      continue;
    }
    let stop = index;
    while (stop < line.length && !delimiters.includes(line[stop] ?? "")) stop++;
    pieces.push({ text: line.slice(index, stop), at: index });
    index = stop;
  }
  const values: string[] = [];
  for (const token of wanted.split(",")) {
    const [, from = "", to] = /^(\d+)(?:-(\d+))?/.exec(token) ?? [];
    for (let number = Number(from); from !== "" && number <= Number(to ?? from); number++) values.push(pieces[number - 1]?.text ?? "");
    if (token.endsWith("*")) {
      const last = token === "*" ? 0 : Number(to ?? from);
      const next = pieces[last];
      values.push(next === undefined ? "" : line.slice(next.at));
    }
  }
  if (pieces.length === 0) return [];
  return [values.map((value, index): [string, string] => [String.fromCharCode(first.charCodeAt(0) + index), value])];
}
