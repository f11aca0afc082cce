// What the hypervisor and a guest are to each other, and what the kinds of guest share: which guest a disk boots, where its payload disk is, how a boot ends.
// Promises: nothing of a guest outlives its domain (host.signal); a guest without VM tools writes nothing to xenstore and obeys no request; a failure inside
// a guest is a line in its log and a machine that hangs, never an error of the simulator.
import type { Clock } from "../clock.ts";
import type { Ran } from "../guestAgent.ts";
import type { Disk } from "../storage/disk.ts";
import { FatVolume } from "../storage/fat.ts";
import { Boot } from "./boot.ts";
import { DESCRIPTOR_PATH, DescriptorError, parseDescriptor } from "./descriptor.ts";
import { LinuxGuest } from "./linux.ts";
import { WindowsGuest } from "./windows.ts";
import { WineGuest } from "./wine.ts";

export type PowerOff = "poweroff" | "reboot";

export interface GuestDisk {
  userdevice: string;
  /** As the PV drivers show it (SM, scsiutil.gen_synthetic_page_data): 16 characters of the VDI's uuid. */
  serial: string;
  disk: Disk;
  bootable: boolean;
  readOnly: boolean;
}

/** What the hypervisor gives one boot of a guest. */
export interface GuestHost {
  vm: { uuid: string; name: string };
  /** Ordered by userdevice; the first is the system disk. */
  disks: readonly GuestDisk[];
  /** Inserted ISOs, by name_label. */
  cds: readonly { userdevice: string; name: string }[];
  clock: Clock;
  /** Paths relative to the domain's: "vm-data/…", "data/…", "attr/…", "control/…", "drivers/0". */
  xenstore: { write(path: string, value: string): void; read(path: string): string | undefined; list(prefix: string): string[] };
  /** clean_shutdown and clean_reboot: called once VM tools are at work, never by a guest without them. */
  onRequest(handler: (request: PowerOff) => void): void;
  /** run-script of the agents that offer it (control/feature-xs-batcmd). */
  onScript(handler: (script: string) => Promise<Ran>): void;
  /** Hard shutdown, or the VM is destroyed: the domain is gone. */
  signal: AbortSignal;
  /** A private scratch directory of this VM, kept over its restarts, removed by the simulator. */
  workDir: string;
  log(line: string): void;
}

export interface Guest {
  /** One boot, from power-on until the guest itself powers off or restarts. Rejects with the signal's reason when the domain goes first. */
  boot(host: GuestHost): Promise<PowerOff>;
  /** A person at the console types a command; for machines that are prepared by hand. */
  type(command: string): Promise<{ rc: number; output: string }>;
}

/** The guest that a disk boots; undefined when nothing boots from it, and it is never heard of. */
export function guestOf(systemDisk: Disk): Guest | undefined {
  const volume = FatVolume.open(systemDisk);
  const text = volume?.readFile(DESCRIPTOR_PATH);
  if (text === undefined) return undefined;
  try {
    const descriptor = parseDescriptor(new TextDecoder().decode(text));
    if (descriptor.guest === "wine") return new WineGuest(descriptor);
    return descriptor.guest === "windows" ? new WindowsGuest(descriptor) : new LinuxGuest(descriptor);
  } catch (error) {
    if (error instanceof DescriptorError) return new BrokenGuest(error);
    throw error;
  }
}

/** A disk whose descriptor is malformed: it hangs at boot, and its log says why. */
class BrokenGuest implements Guest {
  readonly #problem: DescriptorError;

  constructor(problem: DescriptorError) {
    this.#problem = problem;
  }

  boot(host: GuestHost): Promise<PowerOff> {
    host.log(this.#problem.message);
    return new Boot(host).ended;
  }

  type(): Promise<never> {
    return Promise.reject(this.#problem);
  }
}
