/** The log of what was asked of the simulator, for tests and benches. Passwords, secrets and session references never get into it. */
import type { Message, Row, Value } from "./datamodel.ts";

export interface Request {
  /** Counts all requests since the start. */
  readonly n: number;
  /** "VM.start", "Async.VM.start" or "PUT /import_raw_vdi". */
  readonly method: string;
  readonly params: readonly unknown[];
  /** Number of the session that asked, in order of login; undefined without one. */
  readonly session: number | undefined;
  readonly ms: number;
  readonly error: readonly string[] | undefined;
}

const KEPT = 20_000;
const SECRET = /pass|pwd|secret|token|credential/i;

export class Log {
  readonly entries: Request[] = [];
  private readonly sessions = new Map<string, number>();
  private count = 0;

  add(entry: { method: string; params: readonly unknown[]; session: string; ms: number; error?: readonly string[] }): void {
    this.count += 1;
    const { method, params, session, ms, error } = entry;
    this.entries.push({ n: this.count, method, params, session: this.number(session), ms, error });
    if (this.entries.length > KEPT) this.entries.splice(0, KEPT / 2);
  }

  private number(session: string): number | undefined {
    if (session === "") return undefined;
    const known = this.sessions.get(session) ?? this.sessions.size + 1;
    this.sessions.set(session, known);
    return known;
  }
}

/** The parameters as they may be logged. */
export function withoutSecrets(method: string, message: Message | undefined, params: readonly unknown[]): unknown[] {
  if (!message) return params.map(() => "…");
  const secretValue = /^(Async\.)?secret\./.test(method);
  return params.slice(message.session ? 1 : 0).map((value, index) => {
    const parameter = message.params[index];
    if (!parameter || SECRET.test(parameter.name) || parameter.type === "session ref") return "…";
    return hide(value, secretValue);
  });
}

function hide(value: unknown, all: boolean): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => hide(item, all));
  return Object.fromEntries(
    Object.entries(value as Row).map(([key, item]): [string, Value | unknown] => [
      key,
      SECRET.test(key) || (all && key === "value") ? "…" : hide(item, all),
    ]),
  );
}
