// The linux guest: runs the payload disk's sh scripts and the steps for real, in a sandbox whose root is unpacked from the FAT file system of the system disk.
// Promises: what steps write lands in that file system when the guest syncs, restarts or powers off (and is lost when the domain is cut off, as in life);
// the payload volume follows while the guest runs; without a sandbox the guest refuses to boot and says why; `sleep` takes simulated time, all else real time.
import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  type FSWatcher,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  symlinkSync,
  watch,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { FatVolume } from "../storage/fat.ts";
import { DESCRIPTOR_PATH, type LinuxDescriptor } from "./descriptor.ts";
import { coveredPrograms, GUEST_FOLDER, guestCommands } from "./linux/commands.ts";
import { Tree } from "./linux/tree.ts";
import { Boot, bootstrapProblem, type Guest, type GuestHost, type Payload, type PowerOff, payloadOf } from "./machine.ts";
import { Sandbox, sandboxProblem } from "./sandbox.ts";
import { announceTools } from "./tools.ts";

const PAYLOAD_MOUNT = "/run/xenlayer-payload";
/** Not of the disk: mount points, the links of a merged /usr, and what each boot gets anew. */
const LEFT_OUT = new Set(["usr", "bin", "lib", "lib64", "sbin", "proc", "sys", "dev", "tmp", "run", "etc/alternatives", DESCRIPTOR_PATH]);
/** How long a change on the payload volume may stay unseen by a snapshot of it, in real milliseconds. */
const FOLLOW_MS = 150;
/** A simulated sleep gives the guest's other programs at least so much real time. */
const SHORTEST_SLEEP_MS = 50;
const MOST_LINES = 20_000;

export class LinuxGuest implements Guest {
  readonly #descriptor: LinuxDescriptor;
  #running: Linux | undefined;

  constructor(descriptor: LinuxDescriptor) {
    this.#descriptor = descriptor;
  }

  async boot(host: GuestHost): Promise<PowerOff> {
    const problem = sandboxProblem();
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
  readonly #folder: { root: string; payload: string; commands: string; spool: string; xenstore: string; bootId: string };
  readonly #written = new Map<string, string>();
  #system: Tree | undefined;
  #volume: Tree | undefined;
  #sandbox: Sandbox | undefined;
  #watcher: FSWatcher | undefined;
  #follower: NodeJS.Timeout | undefined;
  #working = 0;
  #sleeping = 0;
  #free: (() => void) | undefined;
  #lines = 0;
  #line = "";

  constructor(descriptor: LinuxDescriptor, host: GuestHost) {
    this.#descriptor = descriptor;
    this.#host = host;
    this.#boot = new Boot(host);
    this.#payload = descriptor.bootstrap === "none" ? undefined : payloadOf(host);
    const at = (name: string): string => join(host.workDir, name);
    this.#folder = {
      root: at("root"),
      payload: at("payload"),
      commands: at("sbin"),
      spool: at("spool"),
      xenstore: at("xenstore"),
      bootId: at("boot_id"),
    };
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
    const { rc } = await this.#work(() =>
      sandbox.run(["sh", "-c", command], this.#payload === undefined ? "/" : PAYLOAD_MOUNT, (text) => {
        output += text;
      }),
    );
    this.#follow();
    return { rc, output };
  }

  async #start(): Promise<void> {
    const { clock, disks, vm, log } = this.#host;
    await this.#boot.sleep(this.#descriptor.bootSeconds * 1000);
    this.#unpack();
    const sandbox = new Sandbox(
      {
        root: this.#folder.root,
        commands: this.#folder.commands,
        shared: [
          { host: this.#folder.spool, guest: `${GUEST_FOLDER}/spool` },
          { host: this.#folder.xenstore, guest: `${GUEST_FOLDER}/xenstore` },
          ...(this.#payload === undefined ? [] : [{ host: this.#folder.payload, guest: PAYLOAD_MOUNT }]),
        ],
        mostBytes: Math.max(...disks.map(({ disk }) => disk.size)),
        bootId: this.#folder.bootId,
        covers: coveredPrograms().map(([path, name]) => ({ host: join(this.#folder.commands, name), guest: path })),
      },
      this.#descriptor.hostName,
    );
    this.#sandbox = sandbox;
    log(`${this.#descriptor.os.name || "Linux"} started from disk ${disks[0]?.disk.id ?? "?"} as ${vm.name}`);
    if (this.#descriptor.tools !== false) {
      announceTools(this.#host, this.#descriptor, this.#descriptor.tools);
      this.#host.onRequest((request) => this.#power(request));
    }
    const problem =
      this.#payload === undefined
        ? "no payload disk"
        : this.#descriptor.bootstrap === "none"
          ? undefined
          : bootstrapProblem(this.#descriptor.bootstrap, this.#payload, "run.sh");
    if (this.#payload === undefined || problem !== undefined) {
      log(
        this.#descriptor.bootstrap === "none" ? "this image has no bootstrap: nothing looks for a payload disk" : `bootstrap: ${problem}`,
      );
      return;
    }
    const { rc } = await this.#work(() => sandbox.run(["sh", "xenlayer/run.sh"], PAYLOAD_MOUNT, (text) => this.#say(text)));
    this.#serve();
    this.#follow();
    if (!this.#boot.asked) log(`bootstrap: run.sh ended with ${rc}, simulated time ${new Date(clock.now()).toISOString()}`);
  }

  #unpack(): void {
    const { workDir, disks, xenstore, vm, clock, log } = this.#host;
    const { root, payload, commands, spool, xenstore: store, bootId } = this.#folder;
    for (const folder of [root, payload, commands, spool, store]) rmSync(folder, { recursive: true, force: true });
    for (const folder of [workDir, root, payload, commands, spool, store]) mkdirSync(folder, { recursive: true });
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
    const text = guestCommands(this.#descriptor.tools !== false);
    for (const [name, script] of Object.entries(text)) writeFileSync(join(commands, name), script, { mode: 0o755 });
    const hash = createHash("sha256").update(`${vm.uuid} ${clock.now()} ${this.#count()}`).digest("hex");
    writeFileSync(bootId, `${hash.slice(0, 8)}-${hash.slice(8, 12)}-4${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}\n`);
    for (const path of xenstore.list("vm-data")) {
      const value = xenstore.read(path);
      if (value === undefined || !isPath(path)) continue;
      mkdirSync(join(store, path), { recursive: true });
      writeFileSync(join(store, path, ".value"), value);
      this.#written.set(path, value);
    }
    this.#watcher = watch(spool, () => this.#serve());
    this.#follower = setInterval(() => this.#follow(), FOLLOW_MS);
  }

  /** Starts of this VM, also when two fall on the same simulated instant. */
  #count(): number {
    const file = join(this.#host.workDir, "boots");
    const count = Number(readSmall(file)) + 1;
    writeFileSync(file, String(count));
    return count;
  }

  /** Real work of the guest: simulated time stands still meanwhile, unless the guest itself sleeps. */
  async #work<T>(run: () => Promise<T>): Promise<T> {
    this.#working++;
    this.#hold();
    try {
      return await run();
    } finally {
      this.#working--;
      this.#hold();
    }
  }

  #hold(): void {
    const busy = this.#working > 0 && this.#sleeping === 0;
    if (busy && this.#free === undefined) {
      const { promise, resolve } = withResolver();
      this.#free = resolve;
      void this.#host.clock.busy(() => promise);
    } else if (!busy) {
      this.#free?.();
      this.#free = undefined;
    }
  }

  /** Requests that the guest's own commands have put into the spool. */
  #serve(): void {
    let names: string[];
    try {
      names = readdirSync(this.#folder.spool).sort();
    } catch {
      return;
    }
    for (const name of names) {
      const [, id = "", kind] = /^(.+)\.(sleep|sync|power|xenstore)$/.exec(name) ?? [];
      if (kind === undefined) continue;
      const file = join(this.#folder.spool, name);
      const text = readSmall(file).trim();
      rmSync(file, { force: true, recursive: true });
      if (kind === "power") this.#power(text === "reboot" ? "reboot" : "poweroff");
      else if (kind === "xenstore") this.#readXenstore(this.#folder.xenstore, "", 0);
      else if (kind === "sync") {
        this.#writeBack();
        this.#wake(id);
      } else void this.#sleep(Number(text), id);
    }
  }

  async #sleep(seconds: number, id: string): Promise<void> {
    this.#sleeping++;
    this.#hold();
    try {
      await new Promise((resolve) => setTimeout(resolve, Math.min(SHORTEST_SLEEP_MS, seconds * 1000)));
      await this.#boot.sleep(Math.min(seconds, 86_400) * 1000);
    } catch {
      return;
    } finally {
      this.#sleeping--;
      this.#hold();
    }
    this.#wake(id);
  }

  /** The reader may not have opened its end yet, or may have been killed. */
  #wake(id: string, tries = 200): void {
    if (this.#boot.signal.aborted) return;
    try {
      const fifo = openSync(join(this.#folder.spool, `${id}.wake`), constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
      if (fstatSync(fifo).isFIFO()) writeSync(fifo, "\n");
      closeSync(fifo);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENXIO" && tries > 0) setTimeout(() => this.#wake(id, tries - 1), 5);
    }
  }

  #readXenstore(folder: string, path: string, depth: number): void {
    if (depth > 8) return;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const below = path === "" ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory()) this.#readXenstore(join(folder, entry.name), below, depth + 1);
      else if (entry.name === ".value" && entry.isFile() && isPath(path)) {
        const value = readSmall(join(folder, entry.name));
        if (this.#written.get(path) === value) continue;
        this.#written.set(path, value);
        this.#follow();
        this.#host.xenstore.write(path, value);
      }
    }
  }

  #power(how: PowerOff): void {
    this.#boot.power(how, this.#descriptor.shutdownSeconds);
    // Nothing may run on: what goes down with the domain is killed at once, what it wrote is kept.
    void this.#sandbox?.close();
  }

  async #stop(): Promise<void> {
    this.#watcher?.close();
    clearInterval(this.#follower);
    await this.#sandbox?.close();
    this.#working = 0;
    this.#hold();
  }

  /** The payload volume follows the guest's folder, so that a snapshot of it shows how far the guest is. */
  #follow(): void {
    this.#serve();
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

/** What the guest put there: at most what a value of xenstore may hold, and never what a link leads to. */
function readSmall(file: string): string {
  try {
    const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
    const data = Buffer.alloc(2048);
    try {
      return fstatSync(descriptor).isFile() ? data.toString("latin1", 0, readSync(descriptor, data, 0, data.length, 0)) : "";
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return "";
  }
}

const isPath = (path: string): boolean => /^(vm-data|data|attr|control|drivers|feature)(\/[A-Za-z0-9_@-]+)+$/.test(path);

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
