import type { Payload } from "../boot.ts";
import type { GuestHost } from "../machine.ts";
import type { Stream } from "./process.ts";

/** The bootstrap's hand: what the script says goes to the log, and, where the tools are, as progress to xenstore. */
export class Relay implements Stream {
  readonly #host: GuestHost;
  readonly #payload: Payload;
  readonly #tools: () => boolean;
  #rest = "";
  #sequence = 0;

  constructor(host: GuestHost, payload: Payload, tools: () => boolean) {
    this.#host = host;
    this.#payload = payload;
    this.#tools = tools;
  }

  write(text: string): void {
    const lines = `${this.#rest}${text}`.split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines.map((each) => each.trim())) {
      if (line !== "") this.#host.log(line);
      if (line.startsWith("xenlayer: ") && this.#tools()) this.#progress(line.slice("xenlayer: ".length));
    }
  }

  #progress(text: string): void {
    const read = (path: string): string => new TextDecoder().decode(this.#payload.volume.readFile(path));
    const nonce = /"nonce":\s*"(\w+)"/.exec(read("xenlayer/order.json"))?.[1] ?? "-";
    const boots = read("xenlayer/out/boots").trim() || "0";
    const ascii = text.replace(/[^ -~]/g, "?");
    this.#host.xenstore.write("vm-data/xenlayer/progress", `${nonce} ${boots} ${++this.#sequence} ${ascii}`.slice(0, 1024));
  }
}
