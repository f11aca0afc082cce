// What the boots of all kinds of guest share: how a boot ends, where the payload disk is, and whether the image's bootstrap takes it.
import { FatVolume } from "../storage/fat.ts";
import type { GuestDisk, GuestHost, PowerOff } from "./machine.ts";

/** The end of one boot: whoever asks first decides how. */
export class Boot {
  /** Aborted when the guest goes down or the domain is gone: everything that the guest does ends with it. */
  readonly signal: AbortSignal;
  readonly ended: Promise<PowerOff>;
  readonly #host: GuestHost;
  readonly #controller = new AbortController();
  #end: (how: PowerOff) => void = () => {};
  #asked = false;

  constructor(host: GuestHost) {
    this.#host = host;
    this.signal = AbortSignal.any([this.#controller.signal, host.signal]);
    this.ended = new Promise((resolve, reject) => {
      const gone = (): void => reject(host.signal.reason);
      // One signal serves all restarts of a domain: what listens goes with its boot.
      this.#end = (how) => {
        host.signal.removeEventListener("abort", gone);
        resolve(how);
      };
      host.signal.addEventListener("abort", gone, { once: true });
      if (host.signal.aborted) gone();
    });
    // Whoever waits for it hears of it; a boot that is given up before anyone waits is no unhandled rejection.
    this.ended.catch(() => {});
  }

  get asked(): boolean {
    return this.#asked;
  }

  /** Goes down after so many seconds, plus what the guest takes for it. */
  power(how: PowerOff, shutdownSeconds: number, delaySeconds = 0): void {
    if (this.#asked) return;
    this.#asked = true;
    const { clock, signal } = this.#host;
    clock
      .sleep(delaySeconds * 1000, signal)
      .then(() => this.#controller.abort(new Error("the guest goes down")))
      .then(() => clock.sleep(shutdownSeconds * 1000, signal))
      .then(() => this.#end(how))
      .catch(() => {});
  }

  sleep(ms: number): Promise<void> {
    return this.#host.clock.sleep(ms, this.signal);
  }

  /** Never comes back before the end of the boot. */
  forever(): Promise<never> {
    return new Promise((_, reject) => {
      if (this.signal.aborted) reject(this.signal.reason);
      this.signal.addEventListener("abort", () => reject(this.signal.reason), { once: true });
    });
  }

  /** Runs a guest's own work beside the boot; its failure is the guest's. */
  run(what: string, work: () => Promise<unknown>): void {
    work().catch((error: unknown) => {
      if (!this.signal.aborted) this.#host.log(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    });
  }
}

export interface Payload {
  readonly volume: FatVolume;
  readonly disk: GuestDisk;
}

/** The payload disk: told by its label, wherever it is attached. */
export function payloadOf(host: GuestHost): Payload | undefined {
  for (const disk of host.disks.slice(1)) {
    const volume = FatVolume.open(disk.disk);
    if (volume?.label()?.trim().toUpperCase() === "CIDATA") return { volume, disk };
  }
  return undefined;
}

/**
 * Whether the bootstrap of the image starts the payload's script; if not, why. `xenlayer`: the script itself is all it needs. `cloud-init` and cloudbase-init
 * take the disk only with a NoCloud meta-data that names an instance, and do what user-data says.
 */
export function bootstrapProblem(bootstrap: "xenlayer" | "cloud-init", { volume }: Payload, script: string): string | undefined {
  const read = (path: string): string | undefined => {
    const data = volume.readFile(path);
    return data === undefined ? undefined : new TextDecoder().decode(data);
  };
  if (read(`xenlayer/${script}`) === undefined) return `the payload disk holds no xenlayer/${script}`;
  if (bootstrap === "xenlayer") return undefined;
  if (!/^instance-id:[ \t]*\S+/m.test(read("meta-data") ?? "")) return "cloud-init: the payload disk's meta-data names no instance-id";
  const userData = read("user-data");
  if (userData === undefined) return "cloud-init: the payload disk has no user-data";
  if (!/^(#cloud-config|#!|#ps1|rem cmd|content-type:)/i.test(userData)) return "cloud-init: user-data has no form that cloud-init knows";
  const call = new RegExp(`xenlayer[\\\\/]+${script.replace(".", "\\.")}`, "i");
  return call.test(userData) ? undefined : `cloud-init: user-data does not run xenlayer/${script}`;
}
