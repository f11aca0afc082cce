// The objects that an error of XAPI speaks of, by name: references tell people nothing. Promises: one more call, made only when a call has failed for good and its error
// names an object that may be there; it is never waited for long, and what it can't tell is left as XAPI said it.
import { schemas } from "./records.ts";
import type { Login } from "./session.ts";
import type { Failure } from "./transport.ts";

const PATIENCE_MS = 5_000;
/** Of what is gone nothing can be read; a key that is there already is an answer to whoever asked. */
const TELLING_NOTHING = new Set(["HANDLE_INVALID", "UUID_INVALID", "MAP_DUPLICATE_KEY", "SESSION_INVALID"]);

/** The failure's parameters as people read them: `VDI "win11 1.0" (uuid)` for the first reference. */
export async function namedParams(login: Login, method: string, { code, params }: Failure): Promise<readonly string[]> {
  const at = params.findIndex((param) => /^OpaqueRef:[\w-]+$/.test(param) && param !== login.sessionId);
  const ref = params[at];
  const cls = classOf(method, code, params[at - 1]);
  if (ref === undefined || cls === undefined || TELLING_NOTHING.has(code)) return params;
  try {
    const record = await login.rpc(`${cls}.get_record`, [login.sessionId, ref], AbortSignal.timeout(PATIENCE_MS));
    const { uuid, name_label, current_operations } = record as Record<string, unknown>;
    if (typeof uuid !== "string") return params;
    const name = typeof name_label === "string" ? `"${name_label}" (${uuid})` : uuid;
    const busy = [...new Set(Object.values((current_operations as object | undefined) ?? {}))];
    const shown = `${cls} ${name}${busy.length === 0 ? "" : `, busy with ${busy.join(", ")}`}`;
    // A class before it has said what it is.
    return params.flatMap((param, index) => (index === at ? [shown] : index === at - 1 && isClass(param, cls) ? [] : [param]));
  } catch {
    return params;
  }
}

/** A reference doesn't tell its class: the parameter before it may (HANDLE_INVALID's kind), else the code's first word, else whose method it is. */
function classOf(method: string, code: string, before: string | undefined): string | undefined {
  const known = Object.keys(schemas);
  const words = [before, code.split("_")[0], /(\w+)\.\w+$/.exec(method)?.[1]];
  for (const word of words) {
    const cls = known.find((name) => isClass(word, name));
    if (cls !== undefined) return cls;
  }
  return undefined;
}

const isClass = (word: string | undefined, cls: string): boolean => word?.toLowerCase() === cls.toLowerCase();
