/** Failures on order: a rule says which message (or HTTP request) fails, how, after how many calls and how often. */
import { XapiError } from "./errors.ts";

export interface FaultRule {
  /** "VM.start", "PUT /import_raw_vdi", or a pattern over such names; every call when left out. */
  readonly message?: string | RegExp;
  /** Only calls with this reference or uuid among their parameters. */
  readonly object?: string;
  /** XAPI's error code; together with `params` it is what the caller gets. */
  readonly code?: string;
  readonly params?: readonly string[];
  /** How many calls fail; 1 when left out. */
  readonly times?: number;
  /** How many matching calls pass first. */
  readonly after?: number;
  /** "before": nothing is done; "after": the call is done, but its answer is lost. */
  readonly when?: "before" | "after";
  /** A bare HTTP status instead of an answer. */
  readonly http?: number;
  /** Drops the connection: at once, or after so many bytes of the body. */
  readonly cut?: boolean | { readonly afterBytes: number };
}

export class Faults {
  private rules: { rule: FaultRule; skip: number; left: number }[] = [];

  add(rule: FaultRule): void {
    this.rules.push({ rule, skip: rule.after ?? 0, left: rule.times ?? 1 });
  }

  clear(): void {
    this.rules = [];
  }

  /** The rule that this call meets, counted down. An Async form meets the rules of its message. */
  match(name: string, params: readonly unknown[]): FaultRule | undefined {
    const message = name.replace(/^Async\./, "");
    for (const entry of this.rules) {
      const { rule } = entry;
      if (entry.left <= 0) continue;
      if (typeof rule.message === "string" && rule.message !== message && rule.message !== name) continue;
      if (rule.message instanceof RegExp && !rule.message.test(name)) continue;
      if (rule.object !== undefined && !params.includes(rule.object)) continue;
      if (entry.skip > 0) {
        entry.skip -= 1;
        continue;
      }
      entry.left -= 1;
      return rule;
    }
    return undefined;
  }
}

/** The error that a rule gives instead of an answer. */
export function faultError(rule: FaultRule): XapiError {
  return new XapiError(rule.code ?? "INTERNAL_ERROR", rule.params ?? ["fault on order"]);
}
