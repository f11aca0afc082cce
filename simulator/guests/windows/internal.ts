// The commands inside cmd.exe: echo, set, copy, for's lists and the like.
import { at, done, failed, fileCommands, type Internal, NO_PATH, parts } from "./fileCommands.ts";
import { scriptArguments } from "./process.ts";
import type { Flow } from "./shell.ts";
import { evaluate } from "./variables.ts";

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
  const child = shell.child();
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

/** `date`, `time`: shows it, or sets it. */
const clock =
  (what: "date" | "time"): Internal =>
  (shell, rest) => {
    const { wallClock } = shell.host;
    const text = rest.trim();
    if (/^\/t$/i.test(text)) shell.process.out.write(`${what === "date" ? `${wallClock.date()} ` : wallClock.time()}\r\n`);
    // It asks for the new one, and whoever it asks types nothing.
    else if (text === "") shell.process.out.write(`The current ${what} is: ${wallClock[what]()}\r\n`);
    else if (!(what === "date" ? wallClock.setDate(text) : wallClock.setTime(text)))
      return failed(shell, `The system cannot accept the ${what} entered.`);
    return done(shell);
  };

const nothing: Internal = () => undefined;

const commands: Readonly<Record<string, Internal | undefined>> = {
  ...fileCommands,
  echo,
  set,
  cd,
  chdir: cd,
  date: clock("date"),
  time: clock("time"),
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
  vol: (shell, rest) => {
    const letter = (rest.trim()[0] ?? shell.process.cwd[0] ?? "C").toUpperCase();
    if (!shell.host.files.hasDrive(letter)) return failed(shell, "The system cannot find the path specified.");
    const label = shell.host.files.label(letter) ?? "";
    const named = label === "" ? "has no label." : `is ${label}`;
    shell.process.out.write(` Volume in drive ${letter} ${named}\r\n Volume Serial Number is 0A1B-2C3D\r\n`);
    return done(shell);
  },
  title: nothing,
  cls: nothing,
  color: nothing,
  prompt: nothing,
  break: nothing,
  verify: nothing,
};

/** By its name in lower case. */
export const internalCommand = (word: string): Internal | undefined => (Object.hasOwn(commands, word) ? commands[word] : undefined);
