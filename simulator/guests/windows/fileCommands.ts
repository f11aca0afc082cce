// What cmd.exe does to files: copy, move, del, mkdir and the like, and the names that wildcards mean.
import { below, type Location, parent } from "./files.ts";
import type { Flow, Shell } from "./shell.ts";

export type Internal = (shell: Shell, rest: string, word: string) => Flow | Promise<Flow>;

export const NO_PATH = "The system cannot find the path specified.";
const NO_FILE = "The system cannot find the file specified.";

export const done = (shell: Shell): Flow => {
  shell.errorlevel = 0;
  return undefined;
};

export const failed = (shell: Shell, message: string, rc = 1): Flow => {
  shell.fail(message, rc);
  return undefined;
};

/** Arguments of an internal command: switches apart. */
export function parts(rest: string): { switches: string[]; names: string[] } {
  const all = rest.match(/(?:"[^"]*"?|[^\s"])+/g) ?? [];
  const switches = all.filter((part) => part.startsWith("/")).map((part) => part.toLowerCase());
  return { switches, names: all.filter((part) => !part.startsWith("/")).map((part) => part.replaceAll('"', "")) };
}

export const at = (shell: Shell, name: string) => shell.host.files.locate(name, shell.process.cwd);

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
export function matching(shell: Shell, name: string): Location[] {
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

/** dir /b /a: the bare names. */
const dir: Internal = (shell, rest) => {
  const { switches, names } = parts(rest);
  if (!switches.includes("/b")) return failed(shell, "dir without /b is not modelled.");
  const [name = "*"] = names;
  const found = matching(shell, shell.host.files.isFolder(at(shell, name)) ? `${name}\\*` : name);
  if (found.length === 0) return failed(shell, "File Not Found");
  shell.process.out.write(found.map(({ path }) => `${path.split("/").at(-1)}\r\n`).join(""));
  return done(shell);
};

export const fileCommands: Readonly<Record<string, Internal>> = {
  md: makeFolder,
  mkdir: makeFolder,
  rd: removeFolder,
  rmdir: removeFolder,
  dir,
  del,
  erase: del,
  copy,
  move: copy,
  ren: rename,
  rename,
  type,
};
