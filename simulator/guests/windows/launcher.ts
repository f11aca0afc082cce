// How Windows starts a program: installers that the image's descriptor declares come first, then cmd, PowerShell, NGen and Windows' own, as the model knows them.
// Promises: whatever runs is in the list of processes while it runs; what nobody knows is answered with undefined, never passed over.
import type { Boot } from "../boot.ts";
import type { WindowsDescriptor } from "../descriptor.ts";
import type { GuestHost } from "../machine.ts";
import { powershell, type Xeniface } from "./powershell.ts";
import type { Answer, Process } from "./process.ts";
import { imageOf, programFor, runProgram } from "./programs.ts";
import { askRestart } from "./restarts.ts";
import { type Host, Shell } from "./shell.ts";
import type { System } from "./system.ts";
import { builtIn, frameworkOf } from "./system32.ts";
import type { ScheduledTask } from "./tasks.ts";

/** What programs find, and may ask for, in one boot of a Windows. */
export interface Surroundings {
  readonly boot: Boot;
  readonly descriptor: WindowsDescriptor;
  readonly host: GuestHost;
  /** Throws until Windows has started. */
  system(): System;
  /** Processes that run beside what is launched; undefined: the model's own. */
  others(): readonly string[] | undefined;
  /** VM tools were installed. */
  toolsInstalled(): void;
  readonly xeniface: Xeniface;
  startTask(task: ScheduledTask, name: string): void;
}

const IDLE_PROCESSES = [
  "System Idle Process",
  "System",
  "Registry",
  "smss.exe",
  "csrss.exe",
  "wininit.exe",
  "services.exe",
  "lsass.exe",
  "svchost.exe",
  "svchost.exe",
  "spoolsv.exe",
];

export class Launcher {
  readonly #windows: Host;
  readonly #around: Surroundings;
  readonly #images: string[] = [];

  constructor(windows: Host, around: Surroundings) {
    this.#windows = windows;
    this.#around = around;
  }

  async launch(line: string, name: string, args: readonly string[], process: Process): Promise<number | undefined> {
    const { boot, xeniface, system } = this.#around;
    const { files } = this.#windows;
    if (boot.signal.aborted) throw boot.signal.reason;
    const declared = await this.#declared(line, name, process);
    if (declared !== undefined) return declared;
    const path = /[\\/:]/.test(name) ? files.full(files.locate(name, process.cwd)) : name;
    const rest = line.slice(line.indexOf(name) + name.length).replace(/^"/, "");
    if (isProgram(path, "cmd")) return this.#cmd(rest, process);
    if (isProgram(path, "powershell") || /^C:\\Windows\\System32\\WindowsPowerShell\\v1\.0\\powershell(\.exe)?$/i.test(path)) {
      return this.#running("powershell.exe", () =>
        powershell(args, process, {
          files,
          declared: (text, program, from) => this.#declared(text, program, from),
          ask: (text) => askRestart(system().registry, text),
          xeniface,
          start: (program, from) =>
            boot.run(program, () => new Shell(this.#windows, { ...from, env: from.env.copy() }).runLine(`"${program}"`)),
        }),
      );
    }
    const answer = await this.#answer(path, args, rest, process);
    if (answer === undefined) return undefined;
    process.out.write(answer.out);
    process.err.write(answer.err);
    return answer.rc;
  }

  async #answer(path: string, args: readonly string[], rest: string, process: Process): Promise<Answer | undefined> {
    const { boot, descriptor, host, startTask } = this.#around;
    const system = this.#around.system();
    const framework = frameworkOf(path);
    if (framework !== undefined) return this.#running("ngen.exe", () => system.ngen.run(framework, args, (ms) => boot.sleep(ms)));
    const program = builtIn(path);
    return this.#running(imageOf(path), async () =>
      program?.(
        {
          system,
          files: this.#windows.files,
          descriptor,
          process,
          processes: () => this.#processes(),
          cds: host.cds.map(({ name }) => name),
          sleep: (ms) => boot.sleep(ms),
          startTask,
          power: (how, delay) => {
            if (boot.asked) return false;
            boot.power(how, descriptor.shutdownSeconds, delay);
            return true;
          },
        },
        args,
        rest,
      ),
    );
  }

  async #declared(line: string, name: string, process: Process): Promise<number | undefined> {
    const { boot, descriptor, host, system, toolsInstalled } = this.#around;
    const { files } = this.#windows;
    const media = host.cds.map((cd) => cd.name);
    const program = programFor(descriptor, line, process, { files, media });
    if (program === undefined) return undefined;
    return runProgram(program, name, process, {
      system: system(),
      files,
      media,
      sleep: (ms) => boot.sleep(ms),
      forever: () => boot.forever(),
      running: (image, work) => this.#running(image, work),
      toolsInstalled,
      log: (text) => host.log(text),
    });
  }

  /** cmd [/d] [/s] [/q] [/v:on] /c line: another shell, whose changes to the environment are its own. */
  async #cmd(rest: string, process: Process): Promise<number> {
    const [options = ""] = /^(\s*\/(?!c\b)[a-z](?::\w+)?)*/i.exec(rest) ?? [];
    const [call, line = ""] = /^\s*\/c\s*(.*)$/is.exec(rest.slice(options.length)) ?? [];
    // Without /c it waits for somebody to type; the input of a script has ended.
    if (call === undefined) return 0;
    const { files } = this.#windows;
    const shell = new Shell(this.#windows, { ...process, env: process.env.copy() });
    if (/\/v:on/i.test(options)) shell.delayed = true;
    const plain = line.trim();
    // The first and the last quote go, unless they are the only two and hold a program's name (cmd /?).
    const named = /^"[^"]*"$/.test(plain) && !/[&<>()@^|]/.test(plain) && files.exists(files.locate(plain, process.cwd));
    return this.#running("cmd.exe", () =>
      shell.runLine(plain.startsWith('"') && !named ? plain.slice(1).replace(/"([^"]*)$/, "$1") : plain),
    );
  }

  async #running<T>(image: string, work: () => Promise<T>): Promise<T> {
    this.#images.push(image);
    try {
      return await work();
    } finally {
      this.#images.splice(this.#images.indexOf(image), 1);
    }
  }

  #processes(): string[] {
    const system = this.#around.system();
    const tools = system.tools === undefined ? [] : ["xenagent.exe", "xenbus_monitor_9_1_12_94.exe"];
    const installer = system.installerWorks ? ["msiexec.exe", "msiexec.exe"] : system.installerIdles ? ["msiexec.exe"] : [];
    const others = this.#around.others() ?? [...IDLE_PROCESSES, ...tools, ...installer, "cmd.exe"];
    return [...others, ...system.ngen.workers().map(() => "mscorsvw.exe"), ...this.#images];
  }
}

const isProgram = (path: string, name: string): boolean =>
  new RegExp(`^(?:C:\\\\Windows\\\\System32\\\\)?${name}(?:\\.exe)?$`, "i").test(path);
