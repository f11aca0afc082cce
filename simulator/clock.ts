/**
 * Simulated time. Durations of guests, tasks and hosts go through a Clock, and nothing else does: a client's own waits (the timeout of event.from, HTTP timeouts)
 * stay real, or clients would spin.
 */

export interface Clock {
  /** Milliseconds since the epoch, simulated. */
  now(): number;
  /** Sleeps for a simulated duration; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** Runs real work, such as a child process: simulated time does not jump meanwhile, so the work itself must not wait for it. */
  busy<T>(work: () => Promise<T>): Promise<T>;
  /** Ends all timers; sleepers are left asleep. */
  close(): void;
}

export interface SteppedClock extends Clock {
  /** Moves time on, waking whoever should wake in order, and lets each do its work before the next. */
  advance(ms: number): Promise<void>;
}

interface Sleeper {
  at: number;
  order: number;
  wake: () => void;
}

/** Sleepers in the order in which they wake: those of the same instant in the order in which they fell asleep. */
class Sleepers {
  private readonly all: Sleeper[] = [];
  private order = 0;

  get next(): Sleeper | undefined {
    return this.all[0];
  }

  add(at: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        this.remove(sleeper);
        reject(signal?.reason);
      };
      const wake = () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      const sleeper: Sleeper = { at, order: this.order++, wake };
      signal?.addEventListener("abort", onAbort, { once: true });
      const index = this.all.findIndex((other) => other.at > at);
      this.all.splice(index < 0 ? this.all.length : index, 0, sleeper);
    });
  }

  remove(sleeper: Sleeper): void {
    const index = this.all.indexOf(sleeper);
    if (index >= 0) this.all.splice(index, 1);
  }
}

/** Real time, `speed` times as fast: at speed 20 a simulated minute takes 3 s. */
export function realClock(options: { speed?: number; start?: number } = {}): Clock {
  const speed = options.speed ?? 1;
  const origin = Date.now();
  const start = options.start ?? origin;
  const timers = new Set<NodeJS.Timeout>();
  return {
    now: () => start + (Date.now() - origin) * speed,
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const done = () => {
          timers.delete(timer);
          signal?.removeEventListener("abort", onAbort);
        };
        const onAbort = () => {
          clearTimeout(timer);
          done();
          reject(signal?.reason);
        };
        const timer = setTimeout(() => {
          done();
          resolve();
        }, ms / speed);
        timers.add(timer);
        signal?.addEventListener("abort", onAbort, { once: true });
      }),
    busy: (work) => work(),
    close: () => {
      for (const timer of timers) clearTimeout(timer);
      timers.clear();
    },
  };
}

/** How many turns of the event loop must pass with nothing under way before time jumps: enough for a reply on loopback to be read and acted on. */
const IDLE_TURNS = 4;

/** Time that jumps to the next sleeper as soon as the process is idle, so that an hour in a guest takes no time at all. It stands still while nobody sleeps. */
export function virtualClock(options: { start?: number } = {}): Clock {
  let time = options.start ?? Date.now();
  let closed = false;
  let working = 0;
  let watching = false;
  const sleepers = new Sleepers();

  const watch = () => {
    if (watching || closed || !sleepers.next) return;
    watching = true;
    let turns = 0;
    const turn = () => {
      if (closed || working > 0 || !sleepers.next) {
        watching = false; // the end of the work, or the next sleeper, watches again
        return;
      }
      turns += 1;
      if (turns < IDLE_TURNS) {
        setImmediate(turn);
        return;
      }
      const sleeper = sleepers.next;
      sleepers.remove(sleeper);
      time = Math.max(time, sleeper.at);
      sleeper.wake();
      watching = false;
      watch();
    };
    // A timer, not setImmediate: a guest that polls for ever must leave the process time for its clients.
    setTimeout(turn, 1);
  };

  return {
    now: () => time,
    sleep: (ms, signal) => {
      const slept = sleepers.add(time + Math.max(0, ms), signal);
      watch();
      return slept;
    },
    busy: async (work) => {
      working += 1;
      try {
        return await work();
      } finally {
        working -= 1;
        watch();
      }
    },
    close: () => {
      closed = true;
    },
  };
}

/** Time that only a test moves. */
export function steppedClock(options: { start?: number } = {}): SteppedClock {
  let time = options.start ?? Date.now();
  const sleepers = new Sleepers();
  const settle = async () => {
    for (let turn = 0; turn < IDLE_TURNS; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    now: () => time,
    sleep: (ms, signal) => sleepers.add(time + Math.max(0, ms), signal),
    busy: (work) => work(),
    advance: async (ms) => {
      const end = time + ms;
      await settle();
      for (let sleeper = sleepers.next; sleeper && sleeper.at <= end; sleeper = sleepers.next) {
        sleepers.remove(sleeper);
        time = Math.max(time, sleeper.at);
        sleeper.wake();
        await settle();
      }
      time = end;
    },
    close: () => {},
  };
}
