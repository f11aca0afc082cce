// Hands: whatever can run one command in a guest that nothing of ours runs in yet. They install the bootstrap that the payload disk carries; all else goes on without them.
// Promises: one attempt at a time, until it has worked once; what is refused for good ends the wait at once, a guest that does not listen yet does not.
import { explain, GuestError } from "./errors.ts";
import { INSTALLED } from "./guest/bootstrap.ts";

/** Trying again is useless. */
export class RefusedError extends GuestError {}

/** What the VM's tools tell of a running guest. */
export interface Offers {
  readonly addresses: readonly string[];
  /** Its agent runs scripts that xapi hands it. */
  readonly runsScripts: boolean;
}

/** One way into a guest. */
export interface Way {
  /** For the row and for errors: `by SSH`. */
  readonly by: string;
  /** What has to come first: `an address`. */
  readonly needs: string;
  /** Where a command can be run (` at 10.0.0.7`, or nothing to say); undefined: not yet. */
  at(offers: Offers): string | undefined;
  /** Runs the bootstrap's installer. */
  install(offers: Offers, signal: AbortSignal): Promise<{ code: number; output: string }>;
  /** Between an attempt that failed and the next. */
  readonly retryMs: number;
}

/** How it stands, for the row and for errors. */
export interface Reached {
  readonly said: string;
  readonly refused?: RefusedError;
}

export class Hands {
  readonly #way: Way;
  readonly #closed = new AbortController();
  #state: "idle" | "busy" | "done" = "idle";
  #failedAt = Number.NEGATIVE_INFINITY;
  reached: Reached;

  constructor(way: Way) {
    this.#way = way;
    this.reached = { said: `waiting for ${way.needs} to reach it ${way.by}` };
  }

  /** Nobody waits any more. */
  close(): void {
    this.#closed.abort(new Error("nobody waits for it any more"));
  }

  /** Whether nothing more has to be known of the guest. */
  known(offers: Offers): boolean {
    return this.#way.at(offers) !== undefined;
  }

  /** Does nothing while an attempt is under way, or shortly after one that failed. `wake`: something has changed. */
  reach(offers: Offers, wake: () => void): void {
    const at = this.#way.at(offers);
    if (at === undefined || this.#state !== "idle" || this.reached.refused !== undefined) return;
    if (performance.now() - this.#failedAt < this.#way.retryMs) return;
    this.#state = "busy";
    this.reached = { said: `reaching it ${this.#way.by}${at}` };
    void this.#install(offers, at).then(wake);
  }

  async #install(offers: Offers, at: string): Promise<void> {
    const { by } = this.#way;
    try {
      const { code, output } = await this.#way.install(offers, this.#closed.signal);
      if (!output.includes(INSTALLED))
        throw new GuestError(`its bootstrap could not be installed${at}: exit code ${code}, ${tail(output) || "nothing was printed"}`);
      this.#state = "done";
      this.reached = { said: `its bootstrap was installed ${by}${at}` };
    } catch (error) {
      this.#state = "idle";
      this.#failedAt = performance.now();
      const said = `not reached ${by}: ${explain(error)}`;
      this.reached = error instanceof RefusedError ? { said, refused: error } : { said };
    }
  }
}

const tail = (output: string): string =>
  output
    .replace(/[^ -~]+/g, " ")
    .trim()
    .slice(-300);
