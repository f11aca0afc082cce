/** JSON-RPC 1.0 and 2.0 as XAPI speaks them (ocaml-rpc jsonrpc.ml, xen-api ocaml/xapi/api_server.ml). */
import type { Value } from "./datamodel.ts";

export interface JsonCall {
  readonly version: 1 | 2;
  readonly id: number | string;
  readonly method: string;
  readonly params: readonly unknown[];
}

/** Throws on what XAPI answers with HTTP 500: no method, no usable id, params of another shape than the version allows. */
export function parseJsonCall(text: string): JsonCall {
  const call: unknown = JSON.parse(text);
  if (typeof call !== "object" || call === null || Array.isArray(call)) throw new Error("Malformed_method_request: not an object");
  const { jsonrpc, method, id, params } = call as Record<string, unknown>;
  if (jsonrpc !== undefined && jsonrpc !== "2.0") throw new Error("Malformed_method_request: jsonrpc");
  if (typeof method !== "string") throw new Error("Malformed_method_request: method");
  if (typeof id !== "string" && !(typeof id === "number" && Number.isInteger(id))) throw new Error("Malformed_method_request: id");
  if (Array.isArray(params)) return { version: jsonrpc ? 2 : 1, id, method, params };
  if (!jsonrpc) throw new Error("Malformed_method_request: params");
  if (params === undefined || params === null) return { version: 2, id, method, params: [] };
  if (typeof params !== "object") throw new Error("Malformed_method_request: params");
  return { version: 2, id, method, params: [params] };
}

export function jsonSuccess(call: JsonCall, result: Value): string {
  const text = stringify(result ?? "");
  const id = JSON.stringify(call.id);
  return call.version === 1 ? `{"result":${text},"error":null,"id":${id}}` : `{"jsonrpc":"2.0","result":${text},"id":${id}}`;
}

export function jsonFailure(call: JsonCall, code: string, params: readonly string[]): string {
  if (call.version === 1) return JSON.stringify({ result: null, error: [code, ...params], id: call.id });
  return JSON.stringify({ jsonrpc: "2.0", error: { code: 1, message: code, data: params }, id: call.id });
}

/** An error raised before dispatch: always of version 2, with a plain array and id 0 (api_server.ml; npm xen-api can't read it). */
export function jsonEmergency(code: string, params: readonly string[]): string {
  return JSON.stringify({ jsonrpc: "2.0", error: [code, ...params], id: 0 });
}

/** JSON with the bare literals NaN and Infinity, which ocaml-rpc writes for such floats. */
function stringify(value: Value): string {
  const marked = JSON.stringify(value, (_key, item: unknown) =>
    typeof item === "number" && !Number.isFinite(item) ? `\u0000${item}` : item,
  );
  return marked.includes("\\u0000") ? marked.replace(/"\\u0000(NaN|-?Infinity)"/g, "$1") : marked;
}
