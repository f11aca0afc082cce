import type { GuestHost } from "../machine.ts";
import type { Stream } from "./process.ts";

/** The bootstrap's window: what the script says goes to the log. */
export class Relay implements Stream {
  readonly #host: GuestHost;
  #rest = "";

  constructor(host: GuestHost) {
    this.#host = host;
  }

  write(text: string): void {
    const lines = `${this.#rest}${text}`.split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines.map((each) => each.trim())) if (line !== "") this.#host.log(line);
  }
}
