// The linux guest: runs the payload disk's sh scripts and the steps for real, in a sandbox whose root is unpacked from the FAT file system of the system disk.
// Promises: what steps write lands in that file system when the guest syncs, restarts or powers off (and is lost when the domain is cut off, as in life);
// the payload volume follows while the guest runs; without a sandbox the guest refuses to boot and says why; `sleep` takes simulated time, all else real time.
import { createHash } from "node:crypto";
import { mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FatVolume } from "../storage/fat.ts";
import { Boot, bootstrapProblem, type Payload, payloadOf } from "./boot.ts";
import { DESCRIPTOR_PATH, type LinuxDescriptor } from "./descriptor.ts";
import { applets, BUSYBOX, coveredPrograms, guestCommands, PAYLOAD_MOUNT } from "./linux/commands.ts";
import { Exchange, type Request, readSmall } from "./linux/exchange.ts";
import { cloudInitScript, enabledUnits } from "./linux/startUp.ts";
import { Tree } from "./linux/tree.ts";
import type { Guest, GuestHost, PowerOff } from "./machine.ts";
import { Sandbox, sandboxProblem } from "./sandbox.ts";
import { announceTools } from "./tools.ts";
import { Work } from "./work.ts";

/** Not of the disk: mount points, the links of a merged /usr, and what each boot gets anew. */
const LEFT_OUT = new Set(["usr", "bin", "lib", "lib64", "sbin", "proc", "sys", "dev", "tmp", "run", "etc/alternatives", DESCRIPTOR_PATH]);
/** How long a change on the payload volume may stay unseen by a snapshot of it, in real milliseconds. */
const FOLLOW_MS = 150;
const MOST_LINES = 20_000;

export class LinuxGuest implements Guest {
  readonly #descriptor: LinuxDescriptor;
  #running: Linux | undefined;

  constructor(descriptor: LinuxDescriptor) {
    this.#descriptor = descriptor;
  }

  async boot(host: GuestHost): Promise<PowerOff> {
    const problem =
      sandboxProblem() ?? (this.#descriptor.userland === "busybox" && applets().length === 0 ? `there is no ${BUSYBOX}` : undefined);
    if (problem !== undefined) {
      host.log(`this guest runs its scripts for real, in a sandbox, and refuses to boot without one: ${problem}`);
      return new Boot(host).ended;
    }
    const linux = new Linux(this.#descriptor, host);
    this.#running = linux;
    try {
      return await linux.boot();
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
class Linux {
  readonly #descriptor: LinuxDescriptor;
  readonly #host: GuestHost;
  readonly #boot: Boot;
  readonly #payload: Payload | undefined;
  readonly #folder: { root: string; payload: string; commands: string; run: string; bootId: string };
  readonly #exchange: Exchange;
  readonly #work: Work;
  #system: Tree | undefined;
  #volume: Tree | undefined;
  #sandbox: Sandbox | undefined;
  #follower: NodeJS.Timeout | undefined;
  #lines = 0;
  #line = "";

  constructor(descriptor: LinuxDescriptor, host: GuestHost) {
    this.#descriptor = descriptor;
    this.#host = host;
    this.#boot = new Boot(host);
    this.#payload = payloadOf(host);
    const at = (name: string): string => join(host.workDir, name);
    this.#folder = {
      root: at("root"),
      payload: at("payload"),
      commands: at("sbin"),
      run: at("run"),
      bootId: at("boot_id"),
    };
    this.#work = new Work(host.clock);
    this.#exchange = new Exchange(at("spool"), at("xenstore"), (request) => this.#request(request));
  }

  async boot(): Promise<PowerOff> {
    this.#boot.run("boot", () => this.#start());
    try {
      const how = await this.#boot.ended;
      await this.#stop();
      this.#writeBack();
      return how;
    } catch (error) {
      await this.#stop();
      throw error;
    }
  }

  async type(command: string): Promise<{ rc: number; output: string }> {
    const sandbox = this.#sandbox;
    if (sandbox === undefined) throw new Error("nobody can type at this console: the guest is still starting");
    let output = "";
    const { rc } = await this.#work.during(() =>
      sandbox.run(["sh", "-c", command], this.#payload === undefined ? "/" : PAYLOAD_MOUNT, (text) => {
        output += text;
      }),
    );
    this.#follow();
    return { rc, output };
  }

  async #start(): Promise<void> {
    const { disks, vm, log } = this.#host;
    await this.#boot.sleep(this.#descriptor.bootSeconds * 1000);
    this.#unpack();
    const sandbox = new Sandbox(
      {
        root: this.#folder.root,
        commands: this.#folder.commands,
        shared: [...this.#exchange.mounts, ...(this.#payload === undefined ? [] : [{ host: this.#folder.payload, guest: PAYLOAD_MOUNT }])],
        mostBytes: Math.max(...disks.map(({ disk }) => disk.size)),
        run: this.#folder.run,
        bootId: this.#folder.bootId,
        covers: [
          ...coveredPrograms().map(([path, name]) => ({ host: join(this.#folder.commands, name), guest: path })),
          ...(this.#descriptor.userland === "busybox" ? [{ host: BUSYBOX, guest: realpathSync("/usr/bin/sh") }] : []),
        ],
      },
      this.#descriptor.hostName,
    );
    this.#sandbox = sandbox;
    log(`${this.#descriptor.os.name || "Linux"} started from disk ${disks[0]?.disk.id ?? "?"} as ${vm.name}`);
    if (this.#descriptor.tools !== false) {
      announceTools(this.#host, this.#descriptor, this.#descriptor.tools);
      this.#host.onRequest((request) => this.#power(request));
    }
    for (const { unit, command } of enabledUnits(this.#folder.root))
      this.#boot.run(unit, () => this.#program(sandbox, unit, ["sh", "-c", command]));
    const { bootstrap } = this.#descriptor;
    if (bootstrap === "none") {
      log("this image has no bootstrap: nothing looks for a payload disk");
      return;
    }
    const problem = this.#payload === undefined ? "no payload disk" : bootstrapProblem(bootstrap, this.#payload, "run.sh");
    if (this.#payload === undefined || problem !== undefined) {
      log(`bootstrap: ${problem}`);
      return;
    }
    if (bootstrap === "xenlayer") return this.#program(sandbox, "bootstrap: run.sh", ["sh", "xenlayer/run.sh"], PAYLOAD_MOUNT);
    const { volume } = this.#payload;
    const text = (path: string): string => new TextDecoder().decode(volume.readFile(path));
    const script = cloudInitScript(this.#folder.root, text("meta-data"), text("user-data"));
    if (script === undefined) log("cloud-init: user scripts have run before, once an instance");
    else await this.#program(sandbox, "cloud-init: user scripts", ["sh", script]);
  }

  async #program(sandbox: Sandbox, what: string, command: readonly string[], cwd = "/"): Promise<void> {
    const { clock, log } = this.#host;
    const { rc } = await this.#work.during(() => sandbox.run(command, cwd, (text) => this.#say(text)));
    this.#exchange.serve();
    this.#follow();
    if (!this.#boot.asked) log(`${what} ended with ${rc}, simulated time ${new Date(clock.now()).toISOString()}`);
  }

  #unpack(): void {
    const { workDir, disks, xenstore, vm, clock, log } = this.#host;
    const { root, payload, commands, run, bootId } = this.#folder;
    for (const folder of [root, payload, commands, run]) rmSync(folder, { recursive: true, force: true });
    for (const folder of [workDir, root, payload, commands, run]) mkdirSync(folder, { recursive: true });
    const [system] = disks;
    const volume = system === undefined ? undefined : FatVolume.open(system.disk);
    if (volume !== undefined) {
      this.#system = new Tree(volume, root, { leaveOut: LEFT_OUT, log });
      this.#system.unpack();
    }
    // Kept links: --symlink fails on a root that has them already.
    for (const name of ["bin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(root, name));
    for (const name of ["usr", "sbin", "proc", "dev", "tmp", "run", "etc/alternatives"]) mkdirSync(join(root, name), { recursive: true });
    if (this.#payload !== undefined) {
      this.#volume = new Tree(this.#payload.volume, payload, { leaveOut: new Set(), log });
      this.#volume.unpack();
    }
    if (this.#descriptor.userland === "busybox") for (const name of applets()) symlinkSync(BUSYBOX, join(commands, name));
    const text = guestCommands(this.#descriptor.tools !== false);
    for (const [name, script] of Object.entries(text)) {
      rmSync(join(commands, name), { force: true });
      writeFileSync(join(commands, name), script, { mode: 0o755 });
    }
    const hash = createHash("sha256").update(`${vm.uuid} ${clock.now()} ${this.#count()}`).digest("hex");
    writeFileSync(bootId, `${hash.slice(0, 8)}-${hash.slice(8, 12)}-4${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}\n`);
    this.#exchange.open(new Map(xenstore.list("vm-data").map((path) => [path, xenstore.read(path) ?? ""])));
    this.#follower = setInterval(() => this.#follow(), FOLLOW_MS);
  }

  /** Starts of this VM, also when two fall on the same simulated instant. */
  #count(): number {
    const file = join(this.#host.workDir, "boots");
    const count = Number(readSmall(file)) + 1;
    writeFileSync(file, String(count));
    return count;
  }

  async #sleep(seconds: number, id: string): Promise<void> {
    try {
      await this.#work.wait(() => this.#boot.sleep(Math.min(seconds, 86_400) * 1000));
    } catch {
      return;
    }
    if (!this.#boot.signal.aborted) this.#exchange.answer(id);
  }

  #request({ kind, text, id }: Request): void {
    if (kind === "power") this.#power(text === "reboot" ? "reboot" : "poweroff");
    else if (kind === "sleep") void this.#sleep(Number(text), id);
    else if (kind === "sync") {
      this.#writeBack();
      this.#exchange.answer(id);
    } else {
      // What a value tells of is on the payload volume before it is told.
      this.#guarded(() => this.#volume?.writeBack());
      for (const [path, value] of this.#exchange.written()) this.#host.xenstore.write(path, value);
    }
  }

  #power(how: PowerOff): void {
    this.#boot.power(how, this.#descriptor.shutdownSeconds);
    // Nothing may run on: what goes down with the domain is killed at once, what it wrote is kept.
    void this.#sandbox?.close();
  }

  async #stop(): Promise<void> {
    this.#exchange.close();
    clearInterval(this.#follower);
    await this.#sandbox?.close();
    this.#work.end();
  }

  /** The payload volume follows the guest's folder, so that a snapshot of it shows how far the guest is. */
  #follow(): void {
    this.#exchange.serve();
    this.#guarded(() => this.#volume?.writeBack());
  }

  #writeBack(): void {
    this.#guarded(() => this.#volume?.writeBack());
    this.#guarded(() => this.#system?.writeBack());
  }

  // A disk that is gone with its domain is no news.
  #guarded(work: () => void): void {
    if (this.#host.signal.aborted) return;
    try {
      work();
    } catch (error) {
      this.#host.log(`write back: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #say(text: string): void {
    const lines = `${this.#line}${text}`.split("\n");
    this.#line = (lines.pop() ?? "").slice(-2000);
    for (const line of lines) if (this.#lines++ < MOST_LINES) this.#host.log(line.slice(0, 2000));
  }
}
