/** Failures on order: a rule says which message (or HTTP request) fails, how, after how many calls and how often. */
import { XapiError } from "./errors.ts";
import type { HttpRequest } from "./http.ts";
import type { HttpReply } from "./httpReply.ts";

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
  /**
   * "before": nothing is done; "after": the call is done, but its answer is lost; "during": a client that is gone stops no call (xapi looks at the connection only to
   * answer), so with `cut` or `http` the connection ends at once, and the call goes on.
   */
  readonly when?: "before" | "during" | "after";
  /** A bare HTTP status instead of an answer. */
  readonly http?: number;
  /** Drops the connection: at once, or after so many bytes of the body. */
  readonly cut?: boolean | { readonly afterBytes: number };
  /** What else happens at that moment, be the call to fail or not: the call, its work or its answer is held until then. */
  readonly happens?: () => void | Promise<void>;
}

/** Whether a call fails by the rule, or only something happens at it. */
export const fails = ({ code, http, cut, happens }: FaultRule): boolean =>
  happens === undefined || code !== undefined || http !== undefined || cut !== undefined;

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

/** A fault that is no XAPI error: the connection or the HTTP reply fails. */
export class BrokenReply extends Error {
  readonly rule: FaultRule;
  constructor(rule: FaultRule) {
    super("fault on order");
    this.rule = rule;
  }
}

/** A bare status as `page` writes it, or no answer at all. */
export async function breakReply(
  rule: FaultRule,
  reply: HttpReply,
  page: (reply: HttpReply, status: number, text: string) => Promise<void>,
): Promise<void> {
  if (rule.http === undefined) return reply.cut();
  await page(reply, rule.http, "fault on order");
}

const bytesBeforeCut = (rule: FaultRule | undefined) => (typeof rule?.cut === "object" ? rule.cut.afterBytes : undefined);

/** The same request, whose body breaks off where the rule says. */
export function cutRequest(request: HttpRequest, rule: FaultRule | undefined, reply: HttpReply): HttpRequest {
  const limit = bytesBeforeCut(rule);
  if (limit === undefined) return request;
  const body = async function* (most?: number): AsyncIterable<Buffer> {
    let left = limit;
    for await (const chunk of request.body(most)) {
      if (chunk.length >= left) {
        yield chunk.subarray(0, left);
        reply.cut();
        return;
      }
      left -= chunk.length;
      yield chunk;
    }
  };
  return Object.create(request, { body: { value: body } }) as HttpRequest;
}

/** The same reply, whose body breaks off where the rule says. */
export function cutReply(reply: HttpReply, rule: FaultRule | undefined): HttpReply {
  const limit = bytesBeforeCut(rule);
  if (limit === undefined) return reply;
  const write = async (data: Uint8Array | string): Promise<void> => {
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    const left = limit - reply.written;
    if (bytes.length < left) return reply.write(bytes);
    await reply.write(bytes.subarray(0, left));
    // Close in order, so that what was sent arrives: a body that ends early is what a client must notice.
    await reply.close();
    throw new XapiError("INTERNAL_ERROR", ["connection cut on order"]);
  };
  return {
    head: (status, headers) => reply.head(status, headers),
    write,
    send: (status, contentType, body, headers) => reply.send(status, contentType, body, headers),
    close: () => reply.close(),
    cut: () => reply.cut(),
    get started() {
      return reply.started;
    },
    get written() {
      return reply.written;
    },
  };
}
