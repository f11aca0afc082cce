// The windows guest: a declared model of a Windows packaging machine. It carries out the very scripts of the payload disk with an interpreter of cmd's language,
// answers Windows' own programs from a modelled registry, processes, services and NGen queue, and runs installers as the image's descriptor declares them.
// Promises: files are real files in the FAT file system of the system disk; the state that a restart keeps is on that disk too; nothing runs on the host.
import { FatVolume } from "../storage/fat.ts";
import { Boot, bootstrapProblem, type Payload, payloadOf } from "./boot.ts";
import type { WindowsDescriptor } from "./descriptor.ts";
import type { Guest, GuestHost, PowerOff } from "./machine.ts";
import { announceTools } from "./tools.ts";
import { cloudbaseInit } from "./windows/cloudbaseInit.ts";
import { below, Files } from "./windows/files.ts";
import { Launcher } from "./windows/launcher.ts";
import { addOffice } from "./windows/office.ts";
import { Environment, type Process } from "./windows/process.ts";
import { Relay } from "./windows/relay.ts";
import { type Host, Shell } from "./windows/shell.ts";
import { Capture } from "./windows/streams.ts";
import { System } from "./windows/system.ts";
import { BUILT_IN } from "./windows/system32.ts";
import type { ScheduledTask } from "./windows/tasks.ts";
import { WallClock } from "./windows/wallClock.ts";

export class WindowsGuest implements Guest {
  readonly #descriptor: WindowsDescriptor;
  #running: Windows | undefined;

  constructor(descriptor: WindowsDescriptor) {
    this.#descriptor = descriptor;
  }

  async boot(host: GuestHost): Promise<PowerOff> {
    const windows = new Windows(this.#descriptor, host);
    this.#running = windows;
    try {
      return await windows.boot();
    } finally {
      this.#running = undefined;
    }
  }

  async type(command: string): Promise<{ rc: number; output: string }> {
    if (this.#running === undefined) throw new Error("nobody can type at this console: the guest does not run");
    return this.#running.type(command);
  }
}

/** One boot; or what a guest under Wine asks of the model. */
export class Windows implements Host {
  readonly files = new Files();
  readonly wallClock: WallClock;
  readonly #boot: Boot;
  readonly #host: GuestHost;
  readonly #descriptor: WindowsDescriptor;
  readonly #payload: Payload | undefined;
  readonly #launcher: Launcher;
  readonly #tasks = new Set<string>();
  #system: System | undefined;
  #random = 0;
  /** The VM tools' agent and drivers are at work: what is installed may wait for a restart. */
  #talks = false;

  /** `processes`: those that run beside the model's own. */
  constructor(descriptor: WindowsDescriptor, host: GuestHost, boot = new Boot(host), processes?: () => readonly string[]) {
    this.#descriptor = descriptor;
    this.#host = host;
    this.#boot = boot;
    this.wallClock = new WallClock(host.clock, () => this.#system?.registry);
    this.#launcher = new Launcher(this, {
      boot,
      descriptor,
      host,
      system: () => this.#booted,
      others: () => processes?.(),
      toolsInstalled: () => this.#announce(),
      xeniface: {
        classes: () => this.#xenstoreClasses(),
        bringOnline: (path) => this.#bringOnline(path),
        write: (path, value) => this.#host.xenstore.write(path, value.slice(0, 1024)),
        leftOpen: () => host.log("a session of xeniface is left open"),
      },
      startTask: (task, name) => this.#startTask(task, name),
    });
    const [system] = host.disks;
    const volume = system === undefined ? undefined : FatVolume.open(system.disk);
    if (volume !== undefined) this.files.mount("C", volume);
    this.#payload = payloadOf(host);
    if (descriptor.newDisks === "online") this.#mountPayload();
    for (const name of BUILT_IN) this.files.addBuiltIn(`C:\\Windows\\System32\\${name}.exe`);
    this.files.addBuiltIn("C:\\Windows\\System32\\slmgr.vbs");
    addOffice(descriptor, this.files);
    if (host.cds.length > 0) this.files.addBuiltIn("D:\\");
    for (const framework of descriptor.ngen.frameworks)
      this.files.addBuiltIn(`C:\\Windows\\Microsoft.NET\\${framework.replace("/", "\\")}\\ngen.exe`);
  }

  async boot(): Promise<PowerOff> {
    this.#boot.run("boot", () => this.#start());
    try {
      return await this.#boot.ended;
    } finally {
      this.down();
    }
  }

  /** The power goes: what was at work is broken off, what outlives it is on the disk. */
  down(): void {
    try {
      for (const harm of this.#system?.down() ?? []) this.#host.log(harm);
    } catch (error) {
      // The disk may be gone with the domain.
      this.#host.log(`power-off: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  async #start(): Promise<void> {
    const host = this.#host;
    await this.#boot.sleep(this.#descriptor.bootSeconds * 1000);
    const { tasks } = this.startModel();
    for (const [name, task] of tasks) if (task.atStart) this.#startTask(task, name);
    const { bootstrap } = this.#descriptor;
    if (bootstrap === "none") {
      host.log("this image has no bootstrap: nothing looks for a payload disk");
      return;
    }
    const problem = this.#payload === undefined ? "no payload disk" : bootstrapProblem(bootstrap, this.#payload, "run.cmd");
    if (this.#payload === undefined || problem !== undefined) host.log(`bootstrap: ${problem}`);
    else if (bootstrap === "cloud-init") {
      const { volume } = this.#payload;
      const cloudbase = { volume, system: this.#booted, files: this.files, shell: this.#serviceShell(), log: host.log };
      if (await cloudbaseInit(cloudbase)) this.#boot.power("reboot", this.#descriptor.shutdownSeconds);
    } else {
      const shell = this.#serviceShell();
      await shell.runScript(this.files.locate("E:\\xenlayer\\run.cmd"), ["E:\\xenlayer\\run.cmd"]);
      host.log(`bootstrap: run.cmd ended with ${shell.errorlevel}`);
    }
  }

  /** Reads what the last boot left; from here on programs answer. */
  startModel(): System {
    const host = this.#host;
    const system = System.boot(this.#descriptor, this.files, host.clock);
    this.#system = system;
    this.wallClock.started(system.boots);
    for (const character of `${host.vm.uuid} ${system.boots} ${host.clock.now()}`)
      this.#random = (Math.imul(this.#random, 31) + character.charCodeAt(0)) >>> 0;
    host.log(`${this.#descriptor.os.name || "Windows"} started, boot ${system.boots}`);
    this.#announce();
    return system;
  }

  /** Windows takes a disk into use: the payload disk gets the letter after the CD drive's, as drives do that were not there at its installation. */
  #mountPayload(): void {
    if (this.#payload !== undefined) this.files.mount("E", this.#payload.volume);
  }

  /** xeniface, which comes with the tools, shows xenstore by WMI. */
  #xenstoreClasses(): boolean[] {
    const { tools } = this.#descriptor;
    const others = tools === false ? [] : (tools.otherVendors ?? []).map(() => false);
    return this.#talks ? [...others, true] : others;
  }

  #bringOnline(path: string): boolean {
    const wanted = this.#host.xenstore.read(path);
    if (wanted === undefined) return false;
    for (const { userdevice, serial, disk } of this.#host.disks.slice(1)) {
      if (this.#descriptor.newDisks === "online" || serial !== wanted) continue;
      this.#host.log(`disk ${userdevice} is brought online`);
      if (disk === this.#payload?.disk.disk) this.#mountPayload();
    }
    return true;
  }

  /** As the scheduler and services run it: as SYSTEM, with nobody at its console. */
  #serviceShell(): Shell {
    const out = new Relay(this.#host);
    return new Shell(this, { env: this.#environment(), cwd: "C:\\Windows\\system32", out, err: out, input: undefined });
  }

  #startTask({ command, arguments: rest, system }: ScheduledTask, name: string): void {
    // MultipleInstancesPolicy IgnoreNew.
    if (this.#tasks.has(name)) return;
    this.#tasks.add(name);
    this.#boot.run(`task ${name}`, async () => {
      // Nobody logs on here whose task could run.
      if (!system) return;
      const rc = await this.#serviceShell().runLine(`${command} ${rest}`);
      this.#tasks.delete(name);
      this.#host.log(`task ${name} ended with ${rc}`);
    });
  }

  async type(command: string): Promise<{ rc: number; output: string }> {
    if (this.#system === undefined) throw new Error("nobody can type at this console: Windows is still starting");
    const stream = new Capture();
    const shell = new Shell(this, { env: this.#environment(), cwd: "C:\\", out: stream, err: stream, input: undefined });
    try {
      const rc = await shell.runLine(command);
      return { rc, output: stream.text };
    } catch (error) {
      // The command took the machine down with it.
      if (this.#boot.signal.aborted) return { rc: 0, output: stream.text };
      throw error;
    }
  }

  sleep(ms: number): Promise<void> {
    return this.#boot.sleep(ms);
  }

  random(): number {
    this.#random = (Math.imul(this.#random, 1_103_515_245) + 12_345) >>> 0;
    return (this.#random >>> 16) & 0x7fff;
  }

  background(work: () => Promise<unknown>): void {
    this.#boot.run("program", work);
  }

  launch(line: string, name: string, args: readonly string[], process: Process): Promise<number | undefined> {
    return this.#launcher.launch(line, name, args, process);
  }

  #announce(): void {
    const tools = this.#system?.tools;
    if (tools === undefined) return;
    announceTools(this.#host, this.#descriptor, tools);
    if (!this.#talks) this.#host.onRequest((request) => this.#boot.power(request, this.#descriptor.shutdownSeconds));
    if (tools.runScript === true) this.#host.onScript((script) => this.#batch(script));
    this.#talks = true;
  }

  /** The agent's service (win-xenguestagent, Features.cs): as LocalSystem, from a folder of its own; line breaks and blank lines are lost on the way. */
  async #batch(script: string): Promise<{ rc: number; stdout: string; stderr: string }> {
    const [out, err] = [new Capture(), new Capture()];
    const cwd = "C:\\Windows\\system32";
    const folder = this.files.locate(`${cwd}\\batcmd-${this.random()}`);
    this.files.makeFolder(folder);
    const batch = below(folder, "exec.bat");
    this.files.write(batch, script.replace(/[\r\n]+/g, ""));
    const shell = new Shell(this, { env: this.#environment(), cwd, out, err, input: "" });
    const rc = await shell.runLine(`cmd.exe /Q /C ${this.files.full(batch)}`);
    this.files.remove(folder);
    return { rc, stdout: out.text, stderr: err.text };
  }

  get #booted(): System {
    if (this.#system === undefined) throw new Error("Windows has not started");
    return this.#system;
  }

  #environment(): Environment {
    return new Environment([
      ["ALLUSERSPROFILE", "C:\\ProgramData"],
      ["COMPUTERNAME", this.#descriptor.hostName],
      ["ComSpec", "C:\\Windows\\system32\\cmd.exe"],
      ["OS", "Windows_NT"],
      ["Path", "C:\\Windows\\system32;C:\\Windows"],
      ["PATHEXT", ".COM;.EXE;.BAT;.CMD"],
      ["PROCESSOR_ARCHITECTURE", "AMD64"],
      ["PUBLIC", "C:\\Users\\Public"],
      ["ProgramData", "C:\\ProgramData"],
      ["ProgramFiles", "C:\\Program Files"],
      ["ProgramFiles(x86)", "C:\\Program Files (x86)"],
      ["SystemDrive", "C:"],
      ["SystemRoot", "C:\\Windows"],
      ["TEMP", "C:\\Windows\\TEMP"],
      ["TMP", "C:\\Windows\\TEMP"],
      ["windir", "C:\\Windows"],
    ]);
  }
}
