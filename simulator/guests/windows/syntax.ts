// The syntax of cmd's command lines: operators, redirections, blocks, `if` and `for`, as the parser of cmd.exe reads them after %variables% are replaced.
// What is not understood is a SyntaxProblem, which stops a script as cmd's "The syntax of the command is incorrect." does.

export interface Redirection {
  /** 0, 1 or 2. */
  readonly handle: number;
  /** A file name, or `&1`. */
  readonly target: string;
  readonly append: boolean;
}

export type Condition =
  | { kind: "exist" | "defined" | "errorlevel"; operand: string }
  | { kind: "compare"; left: string; operator: string; right: string };

export type Command =
  | { kind: "simple"; text: string; redirections: Redirection[] }
  | { kind: "block"; body: Command[]; redirections: Redirection[] }
  | { kind: "if"; not: boolean; ignoreCase: boolean; condition: Condition; then: Command; otherwise: Command | undefined }
  | { kind: "for"; mode: "" | "f" | "l" | "d"; options: string; variable: string; set: string; body: Command }
  | { kind: "chain"; operator: "&" | "&&" | "||" | "|"; left: Command; right: Command };

export class SyntaxProblem extends Error {
  override readonly name = "SyntaxProblem";
}

/** A block is open at the end of the text: cmd reads the next line then. */
export class OpenBlock extends SyntaxProblem {}

export function parseCommands(text: string): Command[] {
  return new Parser(text).all();
}

class Parser {
  #at = 0;
  #depth = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  all(): Command[] {
    const commands = this.#sequence();
    if (this.#at < this.#text.length) throw new SyntaxProblem(`${this.#text[this.#at]} was unexpected at this time.`);
    return commands;
  }

  #sequence(): Command[] {
    const commands: Command[] = [];
    for (;;) {
      this.#skip(/[\s;,=]/);
      if (this.#at >= this.#text.length || (this.#depth > 0 && this.#peek() === ")")) return commands;
      if (this.#peek() === ":") this.#skip(/[^\n]/);
      else commands.push(this.#chain(0));
    }
  }

  /** `&` binds weakest, then `||`, `&&`, `|`. */
  #chain(level: number): Command {
    const operator = (["&", "||", "&&", "|"] as const)[level];
    if (operator === undefined) return this.#command();
    let left = this.#chain(level + 1);
    for (;;) {
      this.#skip(/[ \t]/);
      if (!this.#text.startsWith(operator, this.#at)) return left;
      if (operator.length === 1 && this.#text[this.#at + 1] === operator) return left;
      this.#at += operator.length;
      this.#skip(/[ \t]/);
      const ends = this.#at >= this.#text.length || this.#peek() === "\n" || this.#peek() === ")";
      if (ends && operator === "&") return left;
      if (ends) throw new SyntaxProblem("The syntax of the command is incorrect.");
      left = { kind: "chain", operator, left, right: this.#chain(level + 1) };
    }
  }

  #command(): Command {
    this.#skip(/[ \t@;,=]/);
    const redirections = this.#redirections();
    this.#skip(/[ \t@]/);
    if (this.#peek() === "(") return this.#block(redirections);
    const word = /^[a-z]+(?=[\s(/])/i.exec(this.#text.slice(this.#at, this.#at + 8))?.[0]?.toLowerCase();
    if (word === "if") return this.#if();
    if (word === "for") return this.#for();
    if (/^rem(?:[\s]|$)/i.test(this.#text.slice(this.#at, this.#at + 4))) {
      this.#skip(/[^\n]/);
      return { kind: "simple", text: "", redirections };
    }
    return this.#simple(redirections);
  }

  #block(redirections: Redirection[]): Command {
    this.#at++;
    this.#depth++;
    const body = this.#sequence();
    if (this.#peek() !== ")") throw new OpenBlock("The syntax of the command is incorrect.");
    this.#at++;
    this.#depth--;
    return { kind: "block", body, redirections: [...redirections, ...this.#redirections()] };
  }

  #simple(redirections: Redirection[]): Command {
    let text = "";
    let quoted = false;
    for (; this.#at < this.#text.length; this.#at++) {
      const character = this.#peek();
      if (character === "\n") break;
      if (character === '"') quoted = !quoted;
      else if (!quoted) {
        if (character === "^") {
          // A caret takes the meaning from what follows; at the end of a line it joins the next.
          this.#at++;
          if (this.#peek() === "\n") this.#at++;
          text += this.#text[this.#at] ?? "";
          continue;
        }
        if (character === "&" || character === "|" || (character === ")" && this.#depth > 0)) break;
        if (
          /[<>]/.test(character) ||
          (/[0-2]/.test(character) && /[<>]/.test(this.#text[this.#at + 1] ?? "") && /(^|[\s;,=])$/.test(text))
        ) {
          redirections.push(...this.#redirections());
          this.#at--;
          continue;
        }
      }
      text += character;
    }
    return { kind: "simple", text, redirections };
  }

  #redirections(): Redirection[] {
    const found: Redirection[] = [];
    for (;;) {
      const [whole, handle, sign] = /^[ \t]*([0-2])?(>>|>|<)/.exec(this.#text.slice(this.#at)) ?? [];
      if (whole === undefined || sign === undefined) return found;
      this.#at += whole.length;
      this.#skip(/[ \t]/);
      const target = this.#word(/[\s&|<>();,=]/, true);
      if (target === "") throw new SyntaxProblem("The syntax of the command is incorrect.");
      found.push({ handle: handle === undefined ? (sign === "<" ? 0 : 1) : Number(handle), target, append: sign === ">>" });
    }
  }

  #if(): Command {
    this.#at += 2;
    let not = false;
    let ignoreCase = false;
    for (;;) {
      this.#skip(/[ \t]/);
      if (/^\/i[ \t]/i.test(this.#rest(3))) ignoreCase = true;
      else if (/^not[ \t]/i.test(this.#rest(4))) not = !not;
      else break;
      this.#skip(/[^ \t]/);
    }
    const condition = this.#condition();
    this.#skip(/[ \t]/);
    const then = this.#chainInIf();
    let otherwise: Command | undefined;
    if (then.kind === "block") {
      const [gap] = /^[ \t]*else(?=[\s(])/i.exec(this.#text.slice(this.#at)) ?? [];
      if (gap !== undefined) {
        this.#at += gap.length;
        this.#skip(/[ \t]/);
        otherwise = this.#chainInIf();
      }
    }
    return { kind: "if", not, ignoreCase, condition, then, otherwise };
  }

  // `if x a & b`: both belong to the `if`; after a block only what is inside does.
  #chainInIf(): Command {
    this.#skip(/[ \t@]/);
    if (this.#at >= this.#text.length || this.#peek() === "\n") throw new SyntaxProblem("The syntax of the command is incorrect.");
    return this.#peek() === "(" ? this.#command() : this.#chain(0);
  }

  #condition(): Condition {
    const [, keyword] = /^(exist|defined|errorlevel)[ \t]/i.exec(this.#rest(12)) ?? [];
    if (keyword !== undefined) {
      this.#at += keyword.length;
      this.#skip(/[ \t]/);
      return { kind: keyword.toLowerCase() as "exist" | "defined" | "errorlevel", operand: this.#word(/[\s]/) };
    }
    // An empty left side: cmd takes the signs for blanks and stumbles over what follows ("goto was unexpected at this time.").
    this.#skip(/[=;,]/);
    this.#skip(/[ \t]/);
    const left = this.#word(/[\s=]/);
    this.#skip(/[ \t]/);
    if (this.#text.startsWith("==", this.#at)) {
      this.#at += 2;
      this.#skip(/[ \t=]/);
      return { kind: "compare", left, operator: "==", right: this.#word(/[\s]/) };
    }
    const operator = this.#word(/[\s]/).toLowerCase();
    if (!["equ", "neq", "lss", "leq", "gtr", "geq"].includes(operator))
      throw new SyntaxProblem(`${operator || left} was unexpected at this time.`);
    this.#skip(/[ \t]/);
    return { kind: "compare", left, operator, right: this.#word(/[\s]/) };
  }

  #for(): Command {
    const head = /^for[ \t]+(?:\/([fld])[ \t]+)?("[^"]*"[ \t]+|[^\s%"]+[ \t]+)?%([A-Za-z])[ \t]+in[ \t]*\(/i.exec(
      this.#text.slice(this.#at),
    );
    const [whole, mode = "", options = "", variable] = head ?? [];
    if (whole === undefined || variable === undefined) throw new SyntaxProblem("The syntax of the command is incorrect.");
    this.#at += whole.length;
    const begin = this.#at;
    let quoted = false;
    for (; this.#at < this.#text.length && (quoted || this.#peek() !== ")"); this.#at++) if (this.#peek() === '"') quoted = !quoted;
    if (this.#at >= this.#text.length) throw new OpenBlock("The syntax of the command is incorrect.");
    const set = this.#text.slice(begin, this.#at).trim();
    const [gap] = /^\)\s*do(?=[\s(])/i.exec(this.#text.slice(this.#at)) ?? [];
    if (gap === undefined) throw new SyntaxProblem("The syntax of the command is incorrect.");
    this.#at += gap.length;
    this.#skip(/[ \t]/);
    return {
      kind: "for",
      mode: mode.toLowerCase() as "" | "f" | "l" | "d",
      options: options.trim().replace(/^"|"$/g, ""),
      variable,
      set,
      body: this.#chainInIf(),
    };
  }

  /** Up to a delimiter outside quotes; the quotes stay. */
  #word(delimiter: RegExp, redirection = false): string {
    let word = "";
    let quoted = false;
    if (redirection && this.#peek() === "&") {
      const handle = this.#text.slice(this.#at, this.#at + 2);
      this.#at += 2;
      return handle;
    }
    for (; this.#at < this.#text.length; this.#at++) {
      const character = this.#peek();
      if (character === "\n" || (!quoted && delimiter.test(character))) break;
      if (!quoted && character === "^") {
        this.#at++;
        word += this.#text[this.#at] ?? "";
        continue;
      }
      if (character === '"') quoted = !quoted;
      word += character;
    }
    return word;
  }

  #peek(): string {
    return this.#text[this.#at] ?? "";
  }

  #rest(length: number): string {
    return this.#text.slice(this.#at, this.#at + length);
  }

  #skip(what: RegExp): void {
    while (this.#at < this.#text.length && what.test(this.#peek())) this.#at++;
  }
}
