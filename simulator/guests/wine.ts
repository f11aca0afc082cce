// The wine guest: runs the payload disk's cmd scripts and the steps for real under Wine, in a sandbox: a real registry with volatile keys, real pending renames,
// RunOnce, services and Windows Installer. What Wine lacks is asked of the model of Windows, program by program (wine/programs.ts).
// Promises: what steps write on C: lands in the FAT file system of the system disk when the guest restarts or powers off, the registry's hives too (and is lost
// when the domain is cut off); the payload volume follows while it runs; without Wine it refuses to boot and says why; waiting takes simulated time, all else real.
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { FatVolume } from "../storage/fat.ts";
import { Boot, bootstrapProblem, type Payload, payloadOf } from "./boot.ts";
import type { WindowsDescriptor, WineDescriptor } from "./descriptor.ts";
import { Tree } from "./linux/tree.ts";
import type { Guest, GuestHost, PowerOff } from "./machine.ts";
import { Sandbox } from "./sandbox.ts";
import { regExport } from "./windows/inventory.ts";
import { argumentsOf, Environment, firstWord, notRecognized } from "./windows/process.ts";
import type { Registry } from "./windows/registry.ts";
import { Relay } from "./windows/relay.ts";
import { Capture } from "./windows/streams.ts";
import { Windows } from "./windows.ts";
import { type Call, Calls, readBounded } from "./wine/calls.ts";
import { PREFIX_MOUNT, rootIn, winePrefix, wineProblem } from "./wine/prefix.ts";
import { windowsProcesses } from "./wine/processes.ts";
import { doerOf, PROGRAMS_FOLDER, WINE_OWN_PREFIX } from "./wine/programs.ts";
import { relayProgram } from "./wine/relay.ts";
import { JOB_ENDED, JOBS_DRIVE, JOBS_FOLDER, WineSession } from "./wine/session.ts";
import { Work } from "./work.ts";

const PAYLOAD_MOUNT = "/run/xenlayer-payload";
/** The registry's hives, as Wine keeps them, on the system disk. */
const HIVES_FOLDER = "XAPISIM/WINE";
const HIVES = ["system.reg", "user.reg", "userdef.reg"] as const;
const MOST_HIVE = 64 * 1024 * 1024;
/** Where the model keeps what is not of the guest's file system. */
const LEFT_OUT = new Set(["XAPISIM"]);
/** How long a change on the payload volume may stay unseen by a snapshot of it, in real milliseconds. */
const FOLLOW_MS = 150;
const STOP_MS = 20_000;
const MOST_LINES = 20_000;

export class WineGuest implements Guest {
  readonly #descriptor: WineDescriptor;
  #running: Wine | undefined;

  constructor(descriptor: WineDescriptor) {
    this.#descriptor = descriptor;
  }

  async boot(host: GuestHost): Promise<PowerOff> {
    const problem = wineProblem();
    if (problem !== undefined) {
      host.log(`this guest runs its scripts for real, under Wine in a sandbox, and refuses to boot without: ${problem}`);
      return new Boot(host).ended;
    }
    const wine = new Wine(this.#descriptor, host);
    this.#running = wine;
    try {
      return await wine.boot();
    } finally {
      this.#running = undefined;
    }
  }

  async type(command: string): Promise<{ rc: number; output: string }> {
    if (this.#running === undefined) throw new Error("nobody can type at this console: the guest does not run");
    return this.#running.type(command);
  }
}

/** One boot. */
class Wine {
  readonly #descriptor: WineDescriptor;
  readonly #host: GuestHost;
  readonly #boot: Boot;
  readonly #payload: Payload | undefined;
  readonly #model: Windows;
  readonly #calls: Calls;
  readonly #session: WineSession;
  readonly #work: Work;
  readonly #folder: { base: string; prefix: string; payload: string };
  #system: { volume: FatVolume; tree: Tree } | undefined;
  #volume: Tree | undefined;
  #sandbox: Sandbox | undefined;
  #follower: NodeJS.Timeout | undefined;
  #talks = false;
  #lines = 0;

  constructor(descriptor: WineDescriptor, host: GuestHost) {
    this.#descriptor = descriptor;
    this.#host = host;
    this.#boot = new Boot(host);
    this.#payload = payloadOf(host);
    const asModel: WindowsDescriptor = { ...descriptor, guest: "windows", programs: [], newDisks: "online" };
    this.#model = new Windows(asModel, host, this.#boot, () => this.#processes());
    const at = (name: string): string => join(host.workDir, name);
    this.#folder = { base: host.workDir, prefix: at("prefix"), payload: at("payload") };
    this.#calls = new Calls(at("calls"), (call) => this.#boot.run(call.line, () => this.#answer(call)));
    this.#session = new WineSession(at("jobs"));
    this.#work = new Work(host.clock);
  }

  async boot(): Promise<PowerOff> {
    this.#boot.signal.addEventListener("abort", () => this.#work.end(), { once: true });
    this.#boot.run("boot", () => this.#start());
    try {
      const how = await this.#boot.ended;
      await this.#host.clock.busy(() => this.#shutDown());
      return how;
    } finally {
      this.#calls.close();
      clearInterval(this.#follower);
      await this.#sandbox?.close();
    }
  }

  async type(command: string): Promise<{ rc: number; output: string }> {
    if (!this.#talks) throw new Error("nobody can type at this console: the guest is still starting");
    const typed = await Promise.race([
      this.#work.during(() => this.#session.capture(command)),
      // The command took the machine down with it.
      this.#boot.forever().catch(() => ({ rc: 0, output: "" })),
    ]);
    this.#follow();
    return typed;
  }

  async #start(): Promise<void> {
    await this.#boot.sleep(this.#descriptor.bootSeconds * 1000);
    await this.#work.during(() => this.#startWine());
    this.#talks = true;
    const { bootstrap } = this.#descriptor;
    if (bootstrap === "none") {
      this.#host.log("this image has no bootstrap: nothing looks for a payload disk");
      return;
    }
    const problem = this.#payload === undefined ? "no payload disk" : bootstrapProblem(bootstrap, this.#payload, "run.cmd");
    if (this.#payload === undefined || problem !== undefined) {
      this.#host.log(`bootstrap: ${problem}`);
      return;
    }
    const rc = await this.#work.during(() => this.#session.run('cmd /d /c "E:\\xenlayer\\run.cmd"'));
    this.#follow();
    if (!this.#boot.asked) this.#host.log(`bootstrap: run.cmd ended with ${rc}`);
  }

  async #startWine(): Promise<void> {
    const { disks, log } = this.#host;
    const template = await winePrefix();
    const { base, prefix, payload } = this.#folder;
    mkdirSync(base, { recursive: true });
    for (const folder of [prefix, payload]) rmSync(folder, { recursive: true, force: true });
    cpSync(template, prefix, { recursive: true, verbatimSymlinks: true });
    const first = this.#unpackSystem();
    const { registry } = this.#model.startModel();
    if (this.#payload !== undefined) {
      this.#volume = new Tree(this.#payload.volume, payload, { leaveOut: new Set(), log });
      this.#volume.unpack();
      symlinkSync(PAYLOAD_MOUNT, join(prefix, "dosdevices/e:"));
    }
    symlinkSync(JOBS_FOLDER, join(prefix, `dosdevices/${JOBS_DRIVE}`));
    this.#calls.open();
    const mounts = [{ host: prefix, guest: PREFIX_MOUNT }, this.#calls.mount, this.#session.mount];
    const sandbox = new Sandbox(
      {
        ...rootIn(base),
        shared: [...mounts, ...(this.#payload === undefined ? [] : [{ host: payload, guest: PAYLOAD_MOUNT }])],
        mostBytes: Math.max(...disks.map(({ disk }) => disk.size)),
        covers: [],
      },
      this.#descriptor.hostName,
    );
    writeFileSync(join(base, PROGRAMS_FOLDER.slice(1), "relay.exe"), relayProgram(), { mode: 0o755 });
    this.#sandbox = sandbox;
    this.#follower = setInterval(() => this.#follow(), FOLLOW_MS);
    await this.#session.start(sandbox, first ? exportOf(registry) : undefined, this.#console());
  }

  /** The system disk over Wine's own files; true when Wine has never run from this disk. */
  #unpackSystem(): boolean {
    const { disks, log } = this.#host;
    const { prefix } = this.#folder;
    const drive = join(prefix, "drive_c");
    for (const framework of this.#descriptor.ngen.frameworks) {
      const ngen = join(drive, "windows/Microsoft.NET", framework, "ngen.exe");
      mkdirSync(dirname(ngen), { recursive: true });
      symlinkSync(`${PROGRAMS_FOLDER}/relay.exe`, ngen);
    }
    const [disk] = disks;
    const volume = disk === undefined ? undefined : FatVolume.open(disk.disk);
    if (volume === undefined) return true;
    const tree = new Tree(volume, drive, { leaveOut: LEFT_OUT, log, over: true });
    tree.unpack();
    this.#system = { volume, tree };
    const hives = HIVES.map((name) => ({ name, content: volume.readFile(`${HIVES_FOLDER}/${name}`) }));
    for (const { name, content } of hives) if (content !== undefined) writeFileSync(join(prefix, name), content);
    return hives.every(({ content }) => content === undefined);
  }

  async #answer({ id, program, line, cwd }: Call): Promise<void> {
    if (program === JOB_ENDED) {
      this.#session.ended(line);
      this.#calls.forget(id);
      return;
    }
    const [typed, rest] = firstWord(line);
    const name = (program.split("\\").at(-1) ?? "").replace(/\.exe$/i, "").toLowerCase();
    const args = argumentsOf(rest);
    const payload = /^e:/i.test(cwd) && !/(^|[\s"=])[a-df-z]:|%/i.test(rest);
    const doer = doerOf(name, args, payload);
    if (doer === "wine") {
      this.#calls.run(id, `"${program.replace(/[^\\]*$/, (file) => `${WINE_OWN_PREFIX}${file}`)}"${rest}`);
      return;
    }
    const [out, err] = [new Capture(), new Capture()];
    // What the program asks about is on the disks before it is asked; Wine's own files are on none.
    this.#follow();
    if (!payload) this.#guarded("system disk", () => this.#system?.tree.writeBack());
    const process = { env: environment(this.#descriptor), cwd, out, err, input: undefined };
    const plain = typed.replaceAll('"', "");
    const rc = doer === "nobody" ? undefined : await this.#work.wait(() => this.#model.launch(line, plain, args, process));
    if (this.#boot.asked) this.#work.end();
    this.#calls.answer(id, rc === undefined ? notRecognized(plain) : { out: out.text, err: err.text, rc });
  }

  #processes(): string[] {
    const { process } = this.#session;
    return ["System Idle Process", "System", ...(process === undefined ? [] : windowsProcesses(process))];
  }

  /** What the bootstrap's window shows. */
  #console(): (text: string) => void {
    const relay = this.#payload === undefined ? undefined : new Relay(this.#host);
    return (text) => {
      this.#lines += text.split("\n").length - 1;
      if (this.#lines < MOST_LINES) relay?.write(text);
    };
  }

  /** The payload volume follows the guest's folder, so that a snapshot of it shows how far the guest is. */
  #follow(): void {
    this.#guarded("payload", () => this.#volume?.writeBack());
  }

  async #shutDown(): Promise<void> {
    if (!(await this.#session.stop(STOP_MS))) this.#host.log("Wine did not shut down in time: its last changes of the registry are lost");
    await this.#sandbox?.close();
    clearInterval(this.#follower);
    this.#follow();
    this.#guarded("system disk", () => this.#system?.tree.writeBack());
    this.#guarded("registry", () => this.#keepHives());
    this.#model.down();
  }

  #keepHives(): void {
    for (const name of HIVES) {
      const content = readBounded(join(this.#folder.prefix, name), MOST_HIVE);
      if (content === undefined) throw new Error(`Wine left no ${name}`);
      this.#system?.volume.writeFile(`${HIVES_FOLDER}/${name}`, content);
    }
  }

  // A disk that is gone with its domain is no news.
  #guarded(what: string, work: () => void): void {
    if (this.#host.signal.aborted) return;
    try {
      work();
    } catch (error) {
      this.#host.log(`write back, ${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

/** What every Windows has in its registry, and what the descriptor adds, for Wine's. */
function exportOf(registry: Registry): Uint8Array | undefined {
  let content: Uint8Array | undefined;
  regExport(registry, ["HKLM", "registry"], (_name, data) => {
    content = data;
    return true;
  });
  return content;
}

const environment = ({ hostName }: WineDescriptor): Environment =>
  new Environment([
    ["COMPUTERNAME", hostName],
    ["SystemDrive", "C:"],
    ["SystemRoot", "C:\\windows"],
    ["windir", "C:\\windows"],
    ["XENLAYER_HOME", "E:\\xenlayer"],
    ["XENLAYER_FILES", "E:\\xenlayer\\files"],
  ]);
