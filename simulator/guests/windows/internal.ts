// The commands inside cmd.exe: echo, set, copy, for's lists and the like.
import { below, parent } from "./files.ts";
import { argumentsOf } from "./process.ts";
import { Capture, type Flow, Shell, scriptArguments } from "./shell.ts";
import type { Command } from "./syntax.ts";
import { evaluate } from "./variables.ts";

type Internal = (shell: Shell, rest: string, word: string) => Flow | Promise<Flow>;

const NO_PATH = "The system cannot find the path specified.";
const NO_FILE = "The system cannot find the file specified.";

const done = (shell: Shell): Flow => {
  shell.errorlevel = 0;
  return undefined;
};

const failed = (shell: Shell, message: string, rc = 1): Flow => {
  shell.fail(message, rc);
  return undefined;
};

/** Arguments of an internal command: switches apart. */
function parts(rest: string): { switches: string[]; names: string[] } {
  const all = rest.match(/(?:"[^"]*"?|[^\s"])+/g) ?? [];
  const switches = all.filter((part) => part.startsWith("/")).map((part) => part.toLowerCase());
  return { switches, names: all.filter((part) => !part.startsWith("/")).map((part) => part.replaceAll('"', "")) };
}

const at = (shell: Shell, name: string) => shell.host.files.locate(name, shell.process.cwd);

const echo: Internal = (shell, rest) => {
  const text = rest.slice(1);
  if (/^\s*(on|off)?\s*$/i.test(rest)) {
    if (rest.trim() === "") shell.process.out.write("ECHO is off.\r\n");
    return undefined;
  }
  shell.process.out.write(`${text}\r\n`);
  return undefined;
};

const set: Internal = (shell, rest) => {
  const text = rest.replace(/^[ \t]+/, "");
  const { env, out } = shell.process;
  if (/^\/a\b/i.test(text)) {
    const value = evaluate(text.slice(2), env);
    if (value === undefined) return failed(shell, "Missing operand.", 1073750988);
    if (shell.frame === undefined) out.write(String(value));
    return done(shell);
  }
  if (/^\/p\b/i.test(text)) {
    const [, name = "", prompt = ""] = /^\/p\s+"?([^=]+)=(.*?)"?$/i.exec(text) ?? [];
    out.write(prompt);
    const line = (shell.process.input ?? "").split(/\r?\n/)[0] ?? "";
    if (line !== "") env.set(name.trim(), line);
    shell.errorlevel = line === "" ? 1 : 0;
    return undefined;
  }
  const assignment = text.startsWith('"') ? text.slice(1, text.lastIndexOf('"') > 0 ? text.lastIndexOf('"') : undefined) : text;
  const equals = assignment.indexOf("=");
  if (equals > 0) {
    env.set(assignment.slice(0, equals), assignment.slice(equals + 1));
    return done(shell);
  }
  const shown = env.entries().filter(([name]) => name.toUpperCase().startsWith(assignment.trim().toUpperCase()));
  if (shown.length === 0) return failed(shell, `Environment variable ${assignment.trim()} not defined`);
  out.write(shown.map(([name, value]) => `${name}=${value}\r\n`).join(""));
  return undefined;
};

const cd: Internal = (shell, rest) => {
  const { names } = parts(rest.startsWith("/d") ? rest.slice(2) : rest);
  const name = names.join(" ");
  if (name === "") shell.process.out.write(`${shell.process.cwd}\r\n`);
  else {
    const folder = at(shell, name);
    if (!shell.host.files.isFolder(folder)) return failed(shell, NO_PATH);
    shell.process.cwd = shell.host.files.full(folder);
  }
  return undefined;
};

const makeFolder: Internal = (shell, rest) => {
  for (const name of parts(rest).names) {
    const folder = at(shell, name);
    if (shell.host.files.exists(folder)) return failed(shell, `A subdirectory or file ${name} already exists.`);
    if (!shell.host.files.hasDrive(folder.drive)) return failed(shell, "The system cannot find the drive specified.");
    if (!shell.host.files.makeFolder(folder)) return failed(shell, "The filename, directory name, or volume label syntax is incorrect.");
  }
  return done(shell);
};

const removeFolder: Internal = (shell, rest) => {
  const { switches, names } = parts(rest);
  for (const name of names) {
    const folder = at(shell, name);
    if (!shell.host.files.isFolder(folder)) return failed(shell, NO_FILE, 2);
    if (!switches.includes("/s") && shell.host.files.list(folder).length > 0) return failed(shell, "The directory is not empty.", 145);
    shell.host.files.remove(folder);
  }
  return done(shell);
};

/** Files that a name with * or ? means. */
function matching(shell: Shell, name: string) {
  const { files } = shell.host;
  const one = at(shell, name);
  if (!/[*?]/.test(name)) return files.isFile(one) ? [one] : [];
  const folder = parent(one);
  const pattern = one.path.slice(one.path.lastIndexOf("/") + 1).replace(/[.+^${}()|[\]\\]/g, "\\$&");
  const expression = new RegExp(
    `^${pattern
      .replaceAll("\\.*", "(\\..*)?")
      .replaceAll(/(?<!\.)\*/g, ".*")
      .replaceAll("?", ".?")}$`,
    "i",
  );
  return files
    .list(folder)
    .filter((entry) => !entry.directory && expression.test(entry.name))
    .map((entry) => below(folder, entry.name));
}

const del: Internal = (shell, rest) => {
  for (const name of parts(rest).names) {
    const whole = at(shell, name);
    const found = shell.host.files.isFolder(whole) ? matching(shell, `${name}\\*`) : matching(shell, name);
    if (found.length === 0) shell.process.err.write(`Could Not Find ${shell.host.files.full(whole)}\r\n`);
    for (const file of found) shell.host.files.remove(file);
  }
  return done(shell);
};

const copy: Internal = (shell, rest, word) => {
  const { files } = shell.host;
  const [from = "", to = "."] = parts(rest).names;
  const target = at(shell, to);
  const sources = word === "move" && files.isFolder(at(shell, from)) ? [at(shell, from)] : matching(shell, from);
  if (from === "" || sources.length === 0) return failed(shell, NO_FILE);
  for (const source of sources) {
    const name = source.path.slice(source.path.lastIndexOf("/") + 1);
    const into = files.isFolder(target) ? below(target, name) : target;
    if (!files.isFolder(parent(into))) return failed(shell, NO_PATH);
    if (files.full(source).toLowerCase() === files.full(into).toLowerCase()) continue;
    if (word === "move" && files.isFile(into)) files.remove(into);
    const written = word === "copy" ? files.write(into, files.read(source) ?? new Uint8Array()) : files.move(source, into);
    if (!written) return failed(shell, "There is not enough space on the disk.");
  }
  const what = word === "copy" ? "file(s) copied." : files.isFolder(target) && sources.length === 1 ? "dir(s) moved." : "file(s) moved.";
  shell.process.out.write(`        ${sources.length} ${what}\r\n`);
  return done(shell);
};

const rename: Internal = (shell, rest) => {
  const [from = "", to = ""] = parts(rest).names;
  const source = at(shell, from);
  if (!shell.host.files.exists(source) || to === "") return failed(shell, NO_FILE);
  shell.host.files.move(source, below(parent(source), to));
  return done(shell);
};

const type: Internal = (shell, rest) => {
  for (const name of parts(rest).names) {
    const text = shell.host.files.readText(at(shell, name));
    if (text === undefined) return failed(shell, NO_FILE);
    shell.process.out.write(text);
  }
  return done(shell);
};

const call: Internal = async (shell, rest) => {
  const line = rest.trim();
  const [name = "", ...args] = scriptArguments(line);
  if (name.startsWith(":")) return escaped(await shell.runLabel(name.slice(1), [name, ...args]));
  const script = shell.script(line);
  if (script !== undefined) return escaped(await shell.runScript(script.at, script.args));
  const word = /^[a-z]+(?=$|[\s.:])/i.exec(line)?.[0]?.toLowerCase() ?? "";
  const internal = internalCommand(word);
  if (internal !== undefined) return internal(shell, line.slice(word.length), word);
  await shell.external(line);
  return undefined;
};

const escaped = (flow: Flow): Flow => (flow?.kind === "quit" ? flow : undefined);

const exit: Internal = (shell, rest) => {
  const [, batch, code] = /^\s*(\/b)?\s*(-?\d+)?/i.exec(rest) ?? [];
  if (code !== undefined) shell.errorlevel = Number(code) | 0;
  return batch === undefined ? { kind: "quit" } : { kind: "return" };
};

/** start "title" /b program: another process; `/wait`: this one waits. */
const start: Internal = async (shell, rest) => {
  let line = rest.trim().replace(/^"[^"]*"\s*/, "");
  let wait = false;
  for (let option = /^\/[a-z]+\s*/i.exec(line)?.[0]; option !== undefined; option = /^\/[a-z]+\s*/i.exec(line)?.[0]) {
    if (/^\/wait/i.test(option)) wait = true;
    line = line.slice(option.length);
  }
  if (line === "") return undefined;
  const child = new Shell(shell.host, { ...shell.process, env: shell.process.env.copy() });
  if (wait) shell.errorlevel = await child.runLine(line);
  else shell.host.background(() => child.runLine(line));
  return undefined;
};

const setlocal: Internal = (shell, rest) => {
  shell.frame?.saved.push({ env: shell.process.env, cwd: shell.process.cwd, delayed: shell.delayed });
  shell.process.env = shell.process.env.copy();
  if (/enabledelayedexpansion/i.test(rest)) shell.delayed = true;
  if (/disabledelayedexpansion/i.test(rest)) shell.delayed = false;
  return undefined;
};

const endlocal: Internal = (shell) => {
  const saved = shell.frame?.saved.pop();
  if (saved !== undefined) shell.restore(saved);
  return undefined;
};

const nothing: Internal = () => undefined;

const commands: Readonly<Record<string, Internal | undefined>> = {
  echo,
  set,
  cd,
  chdir: cd,
  md: makeFolder,
  mkdir: makeFolder,
  rd: removeFolder,
  rmdir: removeFolder,
  del,
  erase: del,
  copy,
  move: copy,
  ren: rename,
  rename,
  type,
  call,
  exit,
  start,
  setlocal,
  endlocal,
  goto: (_shell, rest) => ({ kind: "goto", label: rest.trim().replace(/^:/, "").split(/\s/)[0] ?? "" }),
  pause: (shell) => {
    shell.process.out.write("Press any key to continue . . . \r\n");
    return undefined;
  },
  shift: (shell) => {
    const args = shell.frame?.args;
    if (args !== undefined) args.splice(0, 1);
    return undefined;
  },
  ver: (shell) => {
    shell.process.out.write(`\r\nMicrosoft Windows [Version ${shell.process.env.get("XAPISIM_VERSION") ?? "10.0"}]\r\n`);
    return done(shell);
  },
  title: nothing,
  cls: nothing,
  color: nothing,
  prompt: nothing,
  break: nothing,
  verify: nothing,
};

/** What a loop's letters are in each of its turns. */
async function loopValues(shell: Shell, loop: Command & { kind: "for" }): Promise<[string, string][][]> {
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
    const child = new Shell(shell.host, { ...shell.process, env: shell.process.env.copy(), out: capture });
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

/** By its name in lower case. */
const internalCommand = (word: string): Internal | undefined => (Object.hasOwn(commands, word) ? commands[word] : undefined);

export const builtIns = { internalCommand, loopValues, splitArguments: argumentsOf };
