// Real work of a guest on a simulated clock: time stands still while the guest works, unless the guest itself waits.
import type { Clock } from "../clock.ts";

/** A simulated wait gives the guest's other programs at least so much real time. */
const SHORTEST_WAIT_MS = 50;

export class Work {
  readonly #clock: Clock;
  #working = 0;
  #waiting = 0;
  #over = false;
  #free: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.#working++;
    this.#hold();
    try {
      return await work();
    } finally {
      this.#working--;
      this.#hold();
    }
  }

  /** Something in the guest waits, for what may take simulated time. */
  async wait<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#clock.now();
    this.#waiting++;
    this.#hold();
    try {
      return await work();
    } finally {
      this.#waiting--;
      this.#hold();
      const passed = this.#clock.now() - before;
      if (passed > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(SHORTEST_WAIT_MS, passed)));
    }
  }

  /** The guest goes down: whatever still works keeps the time no longer. */
  end(): void {
    this.#over = true;
    this.#hold();
  }

  #hold(): void {
    const busy = this.#working > 0 && this.#waiting === 0 && !this.#over;
    if (busy && this.#free === undefined) {
      const held = new Promise<void>((free) => {
        this.#free = free;
      });
      void this.#clock.busy(() => held);
    } else if (!busy) {
      this.#free?.();
      this.#free = undefined;
    }
  }
}
