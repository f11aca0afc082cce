// A pool, a stack and a provider: where one point is tried, on the main path of one layer.
import { rename, rm } from "node:fs/promises";
import type { Simulator, SimulatorOptions } from "../../simulator/index.ts";
import { contentOf, poolText } from "./pool.ts";
import { Front, type Fronts, type Program, type Stack } from "./stack.ts";

/** One thing that the engine does: a resource made (or found as it should be), or deleted. */
export interface Unit {
  phase: "up" | "bump" | "destroy";
  doing: "make" | "delete";
  name: string;
}

interface Settings {
  simulator: Simulator;
  /** The pool's files. */
  dir: string;
  stack: Stack;
  image: string;
  pool: SimulatorOptions["pool"];
  fronts: Fronts;
}

/** A pool, a stack and a provider. */
export class World {
  readonly simulator: Simulator;
  readonly stack: Stack;
  front: Front;
  /** What somebody repairs in the pool before the next run. */
  readonly mends: (() => void)[] = [];
  readonly #settings: Settings;
  readonly #engine: { address: string; kill: () => void } | undefined;
  readonly #left: Front[] = [];

  constructor(settings: Settings, engine: { address: string; kill: () => void } | undefined) {
    this.#settings = settings;
    this.simulator = settings.simulator;
    this.stack = settings.stack;
    this.#engine = engine;
    this.front = engine === undefined ? settings.fronts.take() : new Front(engine.address);
  }

  async run(wanted: readonly Unit[]): Promise<void> {
    for (const { phase, doing, name } of wanted) {
      if (doing === "make") await this.stack.make(this.front, this.#program(phase === "up" ? "1.0" : "1.1"), name);
      else await this.#delete(phase, name);
    }
  }

  /** What an engine says that goes on after its provider has died, or that is gone itself; undefined: all went well. */
  async failed(wanted: readonly Unit[]): Promise<string | undefined> {
    try {
      await this.run(wanted);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** The engine is gone, and the provider does not know it yet. */
  orphan(): void {
    this.#engine?.kill();
    this.#left.push(this.front);
    this.front.forsake();
  }

  /** A new provider, as every run has one. */
  fresh(): void {
    this.simulator.clearFaults();
    for (const mend of this.mends.splice(0)) mend();
    if (!this.#left.includes(this.front)) this.#settings.fronts.give(this.front);
    this.front = this.#settings.fronts.take();
  }

  /** Until providers that lost their engine have ended, too. */
  async settle(): Promise<void> {
    await Promise.all(this.#left.map(({ ended }) => ended));
  }

  text(): string[] {
    return poolText(this.simulator);
  }

  content(vdi: string): string {
    return contentOf(this.simulator, vdi);
  }

  /** What the sealed disks hold. */
  sealed(): Record<string, string> {
    const disks = this.simulator.db.all("VDI").map(([, vdi]) => vdi);
    const records = disks.flatMap(({ other_config }) => Object.values(other_config).filter((value) => value.includes('"Deployable"')));
    const sealed = records.map((text) => (JSON.parse(text) as { vdi?: string }).vdi ?? "");
    return Object.fromEntries(sealed.filter((vdi) => this.simulator.storage.has(vdi)).map((vdi) => [vdi, this.content(vdi)]));
  }

  /** `keep`: where the pool's files go. */
  async close(keep?: string): Promise<void> {
    const { dir, fronts } = this.#settings;
    const left = this.#left.includes(this.front) || this.#engine !== undefined;
    await (left ? this.front.kill() : fronts.give(this.front));
    this.#engine?.kill();
    await this.simulator.close();
    if (keep === undefined) await rm(dir, { recursive: true, force: true });
    else await rename(dir, keep);
  }

  async #delete(phase: Unit["phase"], name: string): Promise<void> {
    const all = phase === "destroy" ? [...this.stack.replaced, ...this.stack.kept] : this.stack.replaced;
    for (const kept of all.filter((each) => each.name === name)) await this.stack.delete(this.front, kept);
  }

  #program(version: string): Program {
    const { url: address, username, password } = this.simulator;
    const storageRepository = this.#settings.pool === "ha" ? "Shared NFS" : "Local storage";
    const settings = { address, username, password, template: "xenlayer-packaging", storageRepository };
    const connector = (of: (name: string) => Record<string, unknown>) => ({ ...settings, connectorId: of("connector").connectorId });
    const platform = { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "none" };
    const step = (program: string) => ({ name: program, run: `${program}.exe`, shell: "cmd" });
    const install = version === "1.0" ? [step("restarts"), step("agent")] : [step("update")];
    return [
      { name: "connector", type: "ConnectorConfig", inputs: () => settings },
      {
        name: "os",
        type: "OsLayer",
        inputs: (of) => ({
          connector: connector(of),
          name: "windows",
          version: "11",
          source: { file: this.#settings.image },
          os: "windows",
        }),
      },
      {
        name: "layer",
        type: "PlatformLayer",
        inputs: (of) => ({
          connector: connector(of),
          name: "citrix",
          osLayer: of("os").layerId,
          purpose: "publishing",
          platform,
          comment: "made by a program",
        }),
      },
      {
        name: "disk",
        type: "PackagingDisk",
        inputs: (of) => ({ connector: connector(of), layer: of("layer").id, version, comment: `version ${version}` }),
      },
      {
        name: "machine",
        type: "PackagingMachine",
        inputs: (of) => ({ connector: connector(of), disk: of("disk").id, install }),
      },
      {
        name: "version",
        type: "Finalize",
        inputs: (of) => ({
          connector: connector(of),
          disk: of("disk").id,
          machine: of("machine").id,
          version,
          kms: "rearm",
          comment: "sealed",
        }),
      },
    ];
  }
}

export const GUEST = {
  guest: "windows" as const,
  bootstrap: "xenlayer" as const,
  bootSeconds: 5,
  shutdownSeconds: 2,
  os: { name: "Windows 11 Enterprise", major: 10, minor: 0, build: 22631 },
  kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 5 },
  programs: [
    { match: "restarts.exe", seconds: 20, exitCode: 3010, files: { "Program Files/Restarts/r.txt": "1" }, pending: ["reboot" as const] },
    { match: "agent.exe", seconds: 20, files: { "Program Files/Agent/agent.txt": "1" } },
    { match: "update.exe", seconds: 20, files: { "Program Files/Agent/agent.txt": "2" } },
  ],
};
