// Waiting: subscribe to events, look, judge, sleep until something changes. Events only wake; what counts is what is looked at.
// The order (subscribe before the first look) is Kubernetes' and Pulumi's own: an event between look and subscription can't be lost.
import { CancelledError, TimeoutError } from "./errors.ts";

export type Verdict<T> =
  | { state: "ready"; value: T }
  | { state: "pending"; message: string; percent?: number }
  | { state: "failed"; error: Error };

export interface Listening {
  /** From here on nothing that changes is missed. */
  ready: Promise<void>;
  close: () => void;
}

export interface Wait<Seen, T> {
  /** Completes "waiting for …". */
  for: string;
  look: () => Promise<Seen>;
  /** Pure: table-tested from records. It must know when waiting has become useless (`failed`). */
  judge: (seen: Seen) => Verdict<T>;
  /** Starts calling `wake` on changes. */
  subscribe: (wake: () => void) => Listening;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** Told once per change. */
  report?: ((message: string) => void) | undefined;
  /** A lost event costs at most this (XAPI's event stream may be cut for seconds while a coordinator moves). */
  relookMs?: number;
  /** Adds what helps to understand a timeout, e.g. the path of a screenshot. */
  onTimeout?: (lastSeen: string) => Promise<string | undefined>;
}

const RELOOK_MS = 30_000;

export async function until<Seen, T>(wait: Wait<Seen, T>): Promise<T> {
  const { signal, relookMs = RELOOK_MS } = wait;
  const started = performance.now();
  const left = () => wait.timeoutMs - (performance.now() - started);
  let wake = () => {};
  let woken = false;
  const changed = () => {
    woken = true;
    wake();
  };
  const listening = wait.subscribe(changed);
  const onAbort = () => wake();
  signal?.addEventListener("abort", onAbort);
  let lastSeen = "nothing yet";
  try {
    // What is heard late may have missed something: that is one more look.
    listening.ready.then(changed, () => undefined);
    await untilHeard(listening, Math.min(relookMs, left()), signal);
    for (;;) {
      if (signal?.aborted) throw new CancelledError(`waiting for ${wait.for}; last seen: ${lastSeen}`, { cause: signal.reason });
      woken = false;
      const verdict = wait.judge(await wait.look());
      if (verdict.state === "ready") return verdict.value;
      if (verdict.state === "failed") throw verdict.error;
      const message = verdict.percent === undefined ? verdict.message : `${verdict.message} (${Math.round(verdict.percent)} %)`;
      if (message !== lastSeen) {
        lastSeen = message;
        wait.report?.(message);
      }
      if (left() <= 0) {
        const more = await wait.onTimeout?.(lastSeen).catch(() => undefined);
        throw new TimeoutError(wait.for, wait.timeoutMs, more === undefined ? lastSeen : `${lastSeen} (${more})`);
      }
      if (woken || signal?.aborted) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(0, Math.min(relookMs, left())));
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      wake = () => {};
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    listening.close();
  }
}

/** Waits until events are heard, for a while: a pool whose events can't be had can still be looked at. What refuses them for good is thrown. */
export async function untilHeard({ ready }: Pick<Listening, "ready">, patienceMs = RELOOK_MS, signal?: AbortSignal): Promise<void> {
  let over = () => {};
  const enough = new Promise<void>((resolve) => {
    over = resolve;
  });
  const timer = setTimeout(over, Math.max(0, patienceMs));
  signal?.addEventListener("abort", over);
  if (signal?.aborted) over();
  try {
    await Promise.race([ready, enough]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", over);
  }
}
