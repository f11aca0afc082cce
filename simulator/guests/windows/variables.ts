// Replacing of %variables%, %1 and %~dp0 in a line before cmd parses it, of %%i of `for`, and of !variables!; and `set /a`.
import type { Environment } from "./process.ts";

export interface Substitution {
  readonly env: Environment;
  /** %0, %1, …; undefined: typed at a prompt, where undefined variables stay as they are. */
  readonly args: readonly string[] | undefined;
  /** Full path of the running script. */
  readonly script: string;
  /** %CD%, %ERRORLEVEL%, %DATE%, … */
  readonly dynamic: (name: string) => string | undefined;
}

const lookUp = (name: string, { env, dynamic }: Substitution): string | undefined => env.get(name) ?? dynamic(name.toUpperCase());

export function replaceVariables(line: string, by: Substitution): string {
  let text = "";
  for (let index = 0; index < line.length; ) {
    const rest = line.slice(index);
    if (rest[0] !== "%") {
      text += rest[0] ?? "";
      index++;
      continue;
    }
    const [piece, replaced] = percent(rest, by);
    text += replaced;
    index += piece;
  }
  return text;
}

function percent(rest: string, by: Substitution): [number, string] {
  if (by.args !== undefined) {
    if (rest.startsWith("%%")) return [2, "%"];
    if (rest.startsWith("%*")) return [2, by.args.slice(1).join(" ")];
    const [argument, modifiers, digit] = /^%(~[a-z]*)?([0-9])/i.exec(rest) ?? [];
    if (argument !== undefined) {
      const value = by.args[Number(digit)] ?? "";
      return [argument.length, modifiers === undefined ? value : modify(value, modifiers.slice(1), digit === "0" ? by.script : undefined)];
    }
  }
  const [whole, name, operation] = /^%([^%:\n]+)(:[^%\n]*)?%/.exec(rest) ?? [];
  if (whole === undefined || name === undefined) return [1, by.args === undefined ? "%" : ""];
  const value = lookUp(name, by);
  if (value === undefined) return [whole.length, by.args === undefined ? whole : ""];
  return [whole.length, operation === undefined ? value : part(value, operation.slice(1))];
}

/** !name! under delayed expansion. */
export function replaceDelayed(text: string, by: Substitution): string {
  return text.replace(/!([^!:\n]+)(:[^!\n]*)?!/g, (_, name: string, operation: string | undefined) => {
    const value = lookUp(name, by) ?? "";
    return operation === undefined ? value : part(value, operation.slice(1));
  });
}

/** %%i and %%~nxi of the loops around. */
export function replaceLoop(text: string, loop: ReadonlyMap<string, string>): string {
  if (loop.size === 0) return text;
  return text.replace(/%(~[a-z]*?)?([A-Za-z])/g, (whole, modifiers: string | undefined, letter: string) => {
    const value = loop.get(letter);
    if (value === undefined) return whole;
    return modifiers === undefined ? value : modify(value, modifiers.slice(1));
  });
}

/** %v:~2,3% and %v:a=b%. */
function part(value: string, operation: string): string {
  const [, start, length] = /^~(-?\d+)?(?:,(-?\d+))?$/.exec(operation) ?? [];
  if (operation.startsWith("~")) {
    const from = Number(start ?? 0) < 0 ? Math.max(0, value.length + Number(start)) : Number(start ?? 0);
    if (length === undefined) return value.slice(from);
    return Number(length) < 0 ? value.slice(from, value.length + Number(length)) : value.slice(from, from + Number(length));
  }
  const equals = operation.indexOf("=");
  if (equals < 1) return value;
  const searched = operation.slice(0, equals).replace(/^\*/, "");
  const replacement = operation.slice(equals + 1);
  if (operation.startsWith("*")) {
    const at = value.toLowerCase().indexOf(searched.toLowerCase());
    return at < 0 ? value : replacement + value.slice(at + searched.length);
  }
  return value.replace(new RegExp(searched.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi"), () => replacement);
}

function modify(value: string, modifiers: string, script?: string): string {
  const plain = value.replace(/^"|"$/g, "");
  if (modifiers === "") return plain;
  const path = script ?? plain;
  const cut = path.lastIndexOf("\\") + 1;
  const name = path.slice(cut);
  const dot = name.lastIndexOf(".");
  const parts: Readonly<Record<string, string>> = {
    f: path,
    d: path.slice(0, 2),
    p: path.slice(2, cut),
    n: dot < 0 ? name : name.slice(0, dot),
    x: dot < 0 ? "" : name.slice(dot),
  };
  return [...modifiers.toLowerCase()].map((letter) => parts[letter] ?? "").join("");
}

/** `set /a`: assignments of 32-bit integers separated by commas; the value of the last, undefined when it is no expression. */
export function evaluate(expression: string, env: Environment): number | undefined {
  let last: number | undefined;
  for (const assignment of expression.replaceAll('"', "").split(",")) {
    const [, name, operator = "", right] = /^\s*([A-Za-z_]\w*)\s*([-+*/%])?=\s*(.*)$/.exec(assignment) ?? [];
    const value = arithmetic(operator === "" ? (right ?? assignment) : `${name}${operator}(${right})`, env);
    if (value === undefined) return undefined;
    if (name !== undefined) env.set(name, String(value));
    last = value;
  }
  return last;
}

function arithmetic(text: string, env: Environment): number | undefined {
  const tokens = text.match(/0x[0-9a-f]+|\d+|[A-Za-z_]\w*|[-+*/%()]/gi) ?? [];
  if (tokens.join("") !== text.replace(/\s/g, "")) return undefined;
  let at = 0;
  const factor = (): number => {
    const token = tokens[at++];
    if (token === "-") return -factor();
    if (token === "+") return factor();
    if (token === "(") {
      const inner = sum();
      return tokens[at++] === ")" ? inner : Number.NaN;
    }
    if (token === undefined) return Number.NaN;
    return /^\d/.test(token) ? integer(token) : /^\w/.test(token) ? integer(env.get(token) ?? "0") : Number.NaN;
  };
  const product = (): number => {
    let left = factor();
    for (let operator = tokens[at]; operator === "*" || operator === "/" || operator === "%"; operator = tokens[at]) {
      at++;
      const right = factor();
      left = operator === "*" ? left * right : operator === "/" ? Math.trunc(left / right) : left % right;
    }
    return left;
  };
  const sum = (): number => {
    let left = product();
    for (let operator = tokens[at]; operator === "+" || operator === "-"; operator = tokens[at]) {
      at++;
      const right = product();
      left = operator === "+" ? left + right : left - right;
    }
    return left;
  };
  const value = sum();
  return at === tokens.length && Number.isFinite(value) ? value | 0 : undefined;
}

/** cmd reads a leading zero as octal. */
function integer(text: string): number {
  if (/^0x/i.test(text)) return Number.parseInt(text, 16);
  return /^0\d/.test(text) ? Number.parseInt(text, 8) : Number.parseInt(text, 10) || 0;
}
