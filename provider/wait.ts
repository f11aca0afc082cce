// Waiting: subscribe to events, look, judge, sleep until something changes. Events only wake; what counts is what is looked at.
// The order (subscribe before the first look) is Kubernetes' and Pulumi's own: an event between look and subscription can't be lost.
import { CancelledError, TimeoutError } from "./errors.ts";

export type Verdict<T> =
  | { state: "ready"; value: T }
  | { state: "pending"; message: string; percent?: number }
  | { state: "failed"; error: Error };

export interface Wait<Seen, T> {
  /** Completes "waiting for …". */
  for: string;
  look: () => Promise<Seen>;
  /** Pure: table-tested from records. It must know when waiting has become useless (`failed`). */
  judge: (seen: Seen) => Verdict<T>;
  /** Starts calling `wake` on changes; returns how to stop. */
  subscribe: (wake: () => void) => Promise<() => void> | (() => void);
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** Told once per change. */
  report?: ((message: string) => void) | undefined;
  /** A lost event costs at most this (XAPI's event stream may be cut for seconds while a coordinator moves). */
  relookMs?: number;
  /** Adds what helps to understand a timeout, e.g. the path of a screenshot. */
  onTimeout?: (lastSeen: string) => Promise<string | undefined>;
}

export async function until<Seen, T>(wait: Wait<Seen, T>): Promise<T> {
  const { signal, relookMs = 30_000 } = wait;
  const started = performance.now();
  const left = () => wait.timeoutMs - (performance.now() - started);
  let wake = () => {};
  let woken = false;
  const stop = await wait.subscribe(() => {
    woken = true;
    wake();
  });
  const onAbort = () => wake();
  signal?.addEventListener("abort", onAbort);
  let lastSeen = "nothing yet";
  try {
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
    stop();
  }
}
