// Installers and other programs that the image's descriptor declares: which command lines start them, and what they leave.
import type { Program, WindowsDescriptor } from "../descriptor.ts";
import { below, type Files, parent } from "./files.ts";
import type { Process } from "./process.ts";
import type { System } from "./system.ts";

export interface ProgramHost {
  readonly system: System;
  readonly files: Files;
  readonly media: readonly string[];
  sleep(ms: number): Promise<void>;
  forever(): Promise<never>;
  /** Shows a process in the list while it runs. */
  running<T>(image: string, work: () => Promise<T>): Promise<T>;
  toolsInstalled(): void;
  log(line: string): void;
}

const plain = (text: string): string => text.toLowerCase().replace(/["']/g, "").replace(/\s+/g, " ").trim();

/** The program that a command line starts: the first of the descriptor that matches and whose installer is there. */
export function programFor(
  { programs }: WindowsDescriptor,
  line: string,
  process: Process,
  host: Pick<ProgramHost, "files" | "media">,
): Program | undefined {
  return programs.find(
    (program) =>
      (typeof program.match === "string" ? holds(plain(line), plain(program.match)) : new RegExp(program.match.regex, "i").test(line)) &&
      isThere(program, process, host),
  );
}

/** Whole words of it: "setup.exe" is in "E:\\files\\setup.exe /quiet", and not in "vcsetup.exe". */
function holds(line: string, wanted: string): boolean {
  for (let at = line.indexOf(wanted); at >= 0; at = line.indexOf(wanted, at + 1)) {
    if (at === 0 || /[\s\\/=:]/.test(line[at - 1] ?? "")) return true;
  }
  return false;
}

function isThere(
  { requiresFile, requiresMedia }: Program,
  process: Process,
  { files, media }: Pick<ProgramHost, "files" | "media">,
): boolean {
  if (requiresMedia !== undefined && !media.some((name) => name.toLowerCase() === requiresMedia.toLowerCase())) return false;
  if (requiresFile === undefined) return true;
  const path = requiresFile.replace(/%([^%]+)%/g, (_, name: string) => process.env.get(name) ?? "");
  return files.exists(files.locate(path, process.cwd));
}

/** Runs it; the exit code. What it changes is changed at its end: a machine that goes down before has none of it. */
export async function runProgram(program: Program, name: string, process: Process, host: ProgramHost): Promise<number> {
  const image = imageOf(name);
  return host.running(image, async () => {
    if (program.never === true) await host.forever();
    await host.sleep(program.seconds * 1000);
    const { system, files } = host;
    for (const [path, text] of Object.entries(program.files)) {
      const at = files.locate(path.replace(/^(?![A-Za-z]:)/, "C:\\"));
      files.makeFolder(parent(at));
      if (!files.write(at, text)) {
        process.err.write("There is not enough space on the disk.\r\n");
        return 112;
      }
      host.log(`wrote ${files.full(at)}`);
    }
    system.registry.apply(program.registry);
    for (const service of program.services) system.services.add(service);
    system.installed.push(name);
    for (const kind of program.pending) system.leavePending(kind, program.pendingReboots);
    if (program.pending.includes("pfro")) {
      const folder = files.locate("C:\\Windows\\System32\\drivers\\etc");
      files.makeFolder(folder);
      files.write(below(folder, "services.new"), "# replaced at the next start\r\n");
    }
    system.ngen.queue(program.ngenSeconds);
    system.workInstaller(program.msiSeconds);
    if (program.installsTools !== undefined) {
      system.setTools(program.installsTools);
      // PV drivers take over at the next start only.
      if (!program.pending.includes("driver-reboot")) host.toolsInstalled();
    }
    system.save();
    process.out.write(program.output.replace(/\r?\n/g, "\r\n"));
    return program.exitCode;
  });
}

export function imageOf(name: string): string {
  const file = name.replaceAll("/", "\\").split("\\").at(-1) ?? name;
  return /\.[a-z]{3}$/i.test(file) ? file : `${file}.exe`;
}
