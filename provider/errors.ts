// The errors a user can meet. Each says what was being done, what XAPI (or the guest) said, and what to do next.
// Anything that is not a ProviderError is a bug of this provider: fronts ask the user to report it and keep its stack.

export type ErrorKind = "input" | "xapi" | "timeout" | "conflict" | "guest" | "cancelled" | "initFailed";

export interface ErrorDetails {
  /** What to do next, one sentence, shown after the message. */
  hint?: string | undefined;
  cause?: unknown;
}

export abstract class ProviderError extends Error {
  abstract readonly kind: ErrorKind;
  readonly hint: string | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.hint = details.hint;
  }
}

/** The inputs, or what they name on the pool, can't be used. `failures` are by property path, as Pulumi's CheckFailure. */
export class InputError extends ProviderError {
  readonly kind = "input";
  readonly failures: readonly { property: string; reason: string }[];

  constructor(failures: readonly { property: string; reason: string }[], details: ErrorDetails = {}) {
    super(failures.map((f) => (f.property === "" ? f.reason : `${f.property}: ${f.reason}`)).join("; "), details);
    this.failures = failures;
  }
}

/** XAPI refused or failed a call. `code` and `params` are XAPI's own words, `shown` is how people read the latter; they never hold credentials. */
export class XapiError extends ProviderError {
  readonly kind = "xapi";
  readonly method: string;
  readonly code: string;
  readonly params: readonly string[];

  constructor(method: string, code: string, params: readonly string[] = [], details: ErrorDetails & { shown?: readonly string[] } = {}) {
    const { shown = params } = details;
    super(`${method} failed: ${code}${shown.length > 0 ? ` (${shown.join(", ")})` : ""}`, details);
    this.method = method;
    this.code = code;
    this.params = params;
  }
}

/** A wait ran out of time. `lastSeen` is what stood in the way at the last look. */
export class TimeoutError extends ProviderError {
  readonly kind = "timeout";
  readonly lastSeen: string;

  constructor(waitingFor: string, afterMs: number, lastSeen: string, details: ErrorDetails = {}) {
    super(`gave up waiting for ${waitingFor} after ${duration(afterMs)}; last seen: ${lastSeen}`, details);
    this.lastSeen = lastSeen;
  }
}

/** What is asked for exists and is somebody else's, or is in use, or is being worked on by another run. */
export class ConflictError extends ProviderError {
  readonly kind = "conflict";
}

/** The guest ran and said no: a failed step, a check that blocks, a report that is missing. */
export class GuestError extends ProviderError {
  readonly kind = "guest";
}

export class CancelledError extends ProviderError {
  readonly kind = "cancelled";

  constructor(during: string, details: ErrorDetails = {}) {
    super(`cancelled while ${during}`, details);
  }
}

/** The object exists but is not finished: fronts store `id` and `outputs`, and the next `up` goes on from there. */
export class InitFailedError extends ProviderError {
  readonly kind = "initFailed";
  readonly id: string;
  readonly outputs: Record<string, unknown>;
  /** Never empty: the engine takes a resource without reasons for a complete one (seen with Pulumi 3.259). */
  readonly reasons: readonly [string, ...string[]];

  constructor(id: string, outputs: Record<string, unknown>, cause: unknown) {
    const reason = explain(cause);
    super(reason, { cause });
    this.id = id;
    this.outputs = outputs;
    this.reasons = [reason];
  }
}

/** Something failed, and so did the clean-up after it: something may be left, which the next run finds. */
export class CleanupError extends ProviderError {
  readonly kind: ErrorKind;

  constructor(cause: unknown, problems: readonly unknown[]) {
    const left = problems.map((problem) => explain(problem)).join("; ");
    super(`${cause instanceof Error ? cause.message : String(cause)}; taking back what was begun failed, too: ${left}`, {
      cause,
      hint:
        (cause instanceof ProviderError ? cause.hint : undefined) ?? "run `pulumi up` again: what is left is found and used, or removed",
    });
    this.kind = cause instanceof ProviderError ? cause.kind : "xapi";
  }
}

/** One paragraph for people: message, the causes that add something, then the hint. No stack. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const parts = [error.message];
  let hint = error instanceof ProviderError ? error.hint : undefined;
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) {
    if (!parts.some((part) => part.includes((cause as Error).message))) parts.push(cause.message);
    if (cause instanceof ProviderError) hint ??= cause.hint;
  }
  if (error instanceof AggregateError) for (const inner of error.errors) parts.push(explain(inner));
  const said = parts.join(": ");
  // What is initialised with errors has the whole paragraph for its message.
  return hint === undefined || said.endsWith(`. Hint: ${hint}`) ? said : `${said}. Hint: ${hint}`;
}

/** `90000` as "90 s", `600000` as "10 min". */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 6) / 10} h`;
}
