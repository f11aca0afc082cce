// For the tests of guests: a machine with its disks, as the simulator's VM.start would set it up, and a boot loop around it.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, virtualClock } from "../clock.ts";
import { isZero } from "../storage/access.ts";
import { BLOCK, type Disk, DiskStore } from "../storage/disk.ts";
import { FatVolume } from "../storage/fat.ts";
import { DESCRIPTOR_PATH, type DescriptorInput } from "./descriptor.ts";
import { type Guest, type GuestHost, guestOf, type PowerOff } from "./machine.ts";

const MIB = 1024 * 1024;

/** Of the VDI that the payload disk would be. */
export const PAYLOAD_UUID = "5f3a6c1e-0c1b-4a54-9a0e-6d5f2b7c9e11";

export class TestMachine {
  static readonly #made: TestMachine[] = [];
  /** All that were made since; after each test. */
  static removeAll(): void {
    for (const machine of TestMachine.#made.splice(0)) machine.remove();
  }

  readonly root = mkdtempSync(join(tmpdir(), "xapi-guest-"));
  readonly store = new DiskStore(join(this.root, "disks"));
  readonly lines: string[] = [];
  readonly xenstore = new Map<string, string>();
  readonly clock: Clock;
  readonly systemDisk: Disk;
  payloadDisk: Disk | undefined;
  /** One more, which is nobody's business. */
  otherDisk: Disk | undefined;
  /** What xenstore holds before the guest starts. */
  told: Record<string, string> = {};
  cds: string[] = [];
  boots = 0;
  guest: Guest | undefined;
  #request: ((request: PowerOff) => void) | undefined;
  readonly #domain = { controller: new AbortController() };

  constructor(descriptor: DescriptorInput | string, clock: Clock = virtualClock({ start: Date.UTC(2026, 10, 23, 8) })) {
    TestMachine.#made.push(this);
    this.clock = clock;
    this.systemDisk = this.store.create("system", 64 * MIB);
    const volume = FatVolume.format(this.systemDisk, { label: "SYSTEM", partitioned: "mbr" });
    volume.writeFile(DESCRIPTOR_PATH, typeof descriptor === "string" ? descriptor : JSON.stringify(descriptor));
  }

  /** A payload disk from a whole image, or from files. */
  insert(content: Uint8Array | Record<string, string>): this {
    if (this.payloadDisk !== undefined) this.store.destroy(this.payloadDisk.id);
    const size = content instanceof Uint8Array ? content.length : 32 * MIB;
    this.payloadDisk = this.store.create(`payload-${this.boots}-${this.lines.length}`, size);
    if (content instanceof Uint8Array) {
      for (let at = 0; at < size; at += BLOCK) {
        const part = content.subarray(at, at + BLOCK);
        if (!isZero(part)) this.payloadDisk.write(at, part); // it is nearly empty
      }
    } else {
      const volume = FatVolume.format(this.payloadDisk, { label: "CIDATA", partitioned: "none" });
      for (const [path, text] of Object.entries(content)) volume.writeFile(path, text);
    }
    return this;
  }

  /** Boots until the guest powers off. */
  async run(mostBoots = 12): Promise<void> {
    for (let boot = 0; boot < mostBoots; boot++) if ((await this.boot()) === "poweroff") return;
    throw new Error(`still restarting after ${mostBoots} boots:\n${this.lines.join("\n")}`);
  }

  boot(): Promise<PowerOff> {
    this.boots++;
    this.xenstore.clear();
    for (const [path, text] of Object.entries(this.told)) this.xenstore.set(path, text);
    this.#domain.controller = new AbortController();
    const workDir = join(this.root, "work");
    mkdirSync(workDir, { recursive: true });
    const host: GuestHost = {
      vm: { uuid: "6f1d3c1e-52cc-4b4a-9d2f-1df0c3f5a001", name: "packaging" },
      // The payload disk is second or third, wherever it is: it is found by its label.
      disks: [
        { userdevice: "0", serial: "0", disk: this.systemDisk, bootable: true, readOnly: false },
        ...[
          { userdevice: "2", serial: PAYLOAD_UUID.slice(0, 16), disk: this.payloadDisk },
          { userdevice: "5", serial: "another", disk: this.otherDisk },
        ].flatMap(({ disk, ...rest }) => (disk === undefined ? [] : [{ ...rest, disk, bootable: false, readOnly: false }])),
      ],
      cds: this.cds.map((name, index) => ({ userdevice: String(3 + index), name })),
      clock: this.clock,
      xenstore: {
        write: (path, value) => void this.xenstore.set(path, value),
        read: (path) => this.xenstore.get(path),
        list: (prefix) => [...this.xenstore.keys()].filter((path) => path.startsWith(`${prefix}/`)),
      },
      onRequest: (handler) => {
        this.#request = handler;
      },
      onScript: () => {},
      signal: this.#domain.controller.signal,
      workDir,
      log: (line) => void this.lines.push(line),
    };
    this.guest = guestOf(this.systemDisk);
    if (this.guest === undefined) throw new Error("nothing boots from this disk");
    return this.guest.boot(host);
  }

  request(how: PowerOff): void {
    this.#request?.(how);
  }

  /** Hard shutdown. */
  cut(): void {
    this.#domain.controller.abort(new Error("the domain is gone"));
  }

  /** Resolves when the guest's log holds a line with this text. */
  said(text: string): Promise<void> {
    return this.until(() => this.lines.some((line) => line.includes(text)));
  }

  /** Resolves when something has come about that takes real time. */
  async until(holds: () => boolean): Promise<void> {
    for (const end = Date.now() + 20_000; Date.now() < end; ) {
      if (holds()) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`it did not come about:\n${this.lines.join("\n")}`);
  }

  payload(): Uint8Array {
    const { payloadDisk } = this;
    return payloadDisk === undefined ? new Uint8Array() : payloadDisk.read(0, payloadDisk.size);
  }

  file(path: string): string | undefined {
    return textOf(this.systemDisk, path);
  }

  payloadFile(path: string): string | undefined {
    return this.payloadDisk === undefined ? undefined : textOf(this.payloadDisk, path);
  }

  remove(): void {
    this.cut();
    this.clock.close();
    this.store.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}

function textOf(disk: Disk, path: string): string | undefined {
  const data = FatVolume.open(disk)?.readFile(path);
  return data === undefined ? undefined : new TextDecoder().decode(data);
}

export type WindowsInput = Extract<DescriptorInput, { guest: "windows" }>;

/** A modelled Windows with our bootstrap. */
export const windows = (descriptor: Partial<WindowsInput> = {}): TestMachine =>
  new TestMachine({ guest: "windows", bootstrap: "xenlayer", ...descriptor });
