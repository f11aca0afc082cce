// The linux guest. Not written yet: it refuses to boot, loudly.
import type { LinuxDescriptor } from "./descriptor.ts";
import type { Guest, GuestHost, PowerOff } from "./machine.ts";

export class LinuxGuest implements Guest {
  readonly #descriptor: LinuxDescriptor;

  constructor(descriptor: LinuxDescriptor) {
    this.#descriptor = descriptor;
  }

  boot(host: GuestHost): Promise<PowerOff> {
    host.log(`${this.#descriptor.hostName}: linux guests do not boot yet`);
    return new Promise(() => {});
  }

  type(): Promise<never> {
    return Promise.reject(new Error("linux guests do not boot yet"));
  }
}
