// powershell.exe as far as steps need one: variables of the environment, output, exit codes, programs that the descriptor declares, two things that the
// storage and process cmdlets do: bringing an offline disk online, and starting a program, and two questions, to CIM and to COM (restarts.ts).
// Any other statement ends the script as an unknown command does under $ErrorActionPreference = 'Stop': exit code 1 and PowerShell's own words.
import type { Files } from "./files.ts";
import type { Answer, Process } from "./process.ts";

/** xeniface, by whose classes WMI shows xenstore. */
export interface Xeniface {
  /** Those that WMI knows, in its order: whether the class has an instance. */
  classes(): readonly boolean[];
  /** Brings that offline disk online whose serial number this path of xenstore holds; false: the path can't be read. */
  bringOnline(path: string): boolean;
  /** Writes a value of xenstore. */
  write(path: string, value: string): void;
  /** A session was begun and not ended. */
  leftOpen(): void;
}

export interface PowerShellHost {
  readonly files: Files;
  /** Runs a declared program; undefined: there is none for this line. */
  declared(line: string, name: string, process: Process): Promise<number | undefined>;
  /** What a line finds out by CIM or COM; undefined: it asks for nothing of the kind. */
  ask(line: string): Answer | undefined;
  readonly xeniface: Xeniface;
  /** Starts a program and does not wait for it. */
  start(path: string, process: Process): void;
}

export async function powershell(args: readonly string[], process: Process, host: PowerShellHost): Promise<number> {
  const option = (name: string): number => args.findIndex((argument) => new RegExp(`^[-/]${name}`, "i").test(argument));
  const file = option("f(ile)?$");
  const command = option("c(ommand)?$");
  if (file >= 0) {
    const text = host.files.readText(host.files.locate(args[file + 1] ?? "", process.cwd));
    if (text !== undefined) return new Script(process, host).run(text);
    process.err.write(
      `The argument '${args[file + 1] ?? ""}' to the -File parameter does not exist. Provide the path to an existing '.ps1' file as an argument to the -File parameter.\r\n`,
    );
    return -196608;
  }
  const first = args.findIndex((argument) => !/^[-/]/.test(argument));
  const line = command >= 0 ? args.slice(command + 1) : first >= 0 ? args.slice(first) : [];
  return new Script(process, host).run(line.join(" "));
}

class Script {
  readonly #process: Process;
  readonly #host: PowerShellHost;
  #lastExitCode: number | undefined;

  constructor(process: Process, host: PowerShellHost) {
    this.#process = process;
    this.#host = host;
  }

  async run(text: string): Promise<number> {
    return (await this.#statements(text)) ?? 0;
  }

  async #statements(text: string): Promise<number | undefined> {
    if (/\bSet-Disk\b[^;}]*-IsOffline \$false/i.test(text)) return this.#bringOnline(text);
    if (/-MethodName SetValue\b/i.test(text)) return this.#tell(text);
    const answer = this.#host.ask(text);
    if (answer !== undefined) {
      this.#process.out.write(answer.out);
      this.#process.err.write(answer.err);
      return answer.rc;
    }
    // A backtick at the end of a line continues it.
    for (const line of text
      .replace(/^\ufeff/, "")
      .replace(/`\r?\n\s*/g, " ")
      .split(/\r?\n/)) {
      const rc = await this.#statement(line.trim());
      if (rc !== undefined) return rc;
    }
    return undefined;
  }

  // Under 'Stop' a method of no instance and a path that isn't there end the script, or what the nearest `catch` is of.
  #bringOnline(text: string): number | undefined {
    const { xeniface } = this.#host;
    const [, path = ""] = /-MethodName GetValue -Arguments @\{ Pathname = '([^']*)' \}/i.exec(text) ?? [];
    if (!/\.SerialNumber -like/i.test(text)) return 1;
    const caught = /\bforeach \(\$class in [^)]*\) \{ try \{.*\} catch \{ \} \}$/i.test(text.trim());
    for (const instance of xeniface.classes()) {
      const told = instance && xeniface.bringOnline(path);
      const ended = told ? /-MethodName EndSession\b/i : /\bfinally \{[^}]*-MethodName EndSession\b/i;
      if (instance && !ended.test(text)) xeniface.leftOpen();
      if (!told && !caught) return 1;
    }
    return undefined;
  }

  #tell(text: string): number | undefined {
    const { xeniface } = this.#host;
    const [, path = "", name = ""] = /-MethodName SetValue -Arguments @\{ Pathname = '([^']*)'; value = \$env:(\w+) \}/i.exec(text) ?? [];
    const value = this.#process.env.get(name);
    if (path === "" || value === undefined) return 1;
    for (const instance of xeniface.classes()) {
      if (instance) xeniface.write(path, value);
      if (instance && !/-MethodName EndSession\b/i.test(text)) xeniface.leftOpen();
    }
    return undefined;
  }

  /** An exit code when the script ends here. */
  async #statement(line: string): Promise<number | undefined> {
    if (line === "" || line.startsWith("#")) return undefined;
    const [, variable, value] = /^\$env:([A-Za-z_]\w*)\s*=\s*(.+)$/.exec(line) ?? [];
    if (variable !== undefined && value !== undefined) {
      this.#process.env.set(variable, this.#text(value));
      return undefined;
    }
    if (/^\$(ErrorActionPreference|ProgressPreference)\s*=/i.test(line)) return undefined;
    if (/^if \(Test-Path -LiteralPath variable:\\LASTEXITCODE\) \{ exit \$LASTEXITCODE \}$/i.test(line)) return this.#lastExitCode;
    const [, sourced] = /^\.\s+(.+)$/.exec(line) ?? [];
    if (sourced !== undefined) {
      const text = this.#host.files.readText(this.#host.files.locate(this.#text(sourced), this.#process.cwd));
      return text === undefined ? this.#unknown(line, this.#text(sourced)) : this.#statements(text);
    }
    const [, shown] = /^(?:Write-Host|Write-Output|echo)\s+(.+)$/i.exec(line) ?? [];
    if (shown !== undefined) {
      this.#process.out.write(`${this.#text(shown)}\r\n`);
      return undefined;
    }
    const [, started] = /^Start-Process -FilePath ('[^']*'|"[^"]*"|\S+)(?: -Verb RunAs)?$/i.exec(line) ?? [];
    if (started !== undefined) {
      this.#host.start(this.#text(started), this.#process);
      return undefined;
    }
    const [, code] = /^exit(?:\s+(-?\d+|\$LASTEXITCODE))?$/i.exec(line) ?? [];
    if (/^exit\b/i.test(line)) return code === undefined ? 0 : code.startsWith("$") ? (this.#lastExitCode ?? 0) : Number(code);
    return this.#program(line);
  }

  async #program(line: string): Promise<number | undefined> {
    const expanded = this.#expand(line.replace(/^&\s*/, ""));
    const name = /^(?:'[^']*'|"[^"]*"|[^\s]+)/.exec(expanded)?.[0].replace(/^['"]|['"]$/g, "") ?? line;
    const rc = await this.#host.declared(expanded, name, this.#process);
    if (rc === undefined) return this.#unknown(line, name);
    this.#lastExitCode = rc;
    return undefined;
  }

  #unknown(line: string, name: string): number {
    this.#process.err.write(
      `${name} : The term '${name}' is not recognized as the name of a cmdlet, function, script file, or operable program. Check the spelling of the name, or if a \r\n` +
        `path was included, verify that the path is correct and try again.\r\n+ ${line}\r\n    + CategoryInfo          : ObjectNotFound: (${name}:String) [], CommandNotFoundException\r\n` +
        "    + FullyQualifiedErrorId : CommandNotFoundException\r\n",
    );
    return 1;
  }

  #text(value: string): string {
    const text = value.trim();
    if (text.startsWith("'")) return text.replace(/^'|'$/g, "").replaceAll("''", "'");
    return this.#expand(text.replace(/^"|"$/g, ""));
  }

  #expand(text: string): string {
    return text.replace(/\$\{?env:([A-Za-z_]\w*)\}?/gi, (_, name: string) => this.#process.env.get(name) ?? "");
  }
}
