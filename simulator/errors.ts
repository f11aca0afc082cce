/** Errors as XAPI sends them: a code and string parameters, never prose of our own. */
export class XapiError extends Error {
  readonly code: string;
  readonly params: readonly string[];

  constructor(code: string, params: readonly string[] = []) {
    super(`${code}(${params.join(", ")})`);
    this.name = "XapiError";
    this.code = code;
    this.params = params;
  }
}

export function fail(code: string, ...params: string[]): never {
  throw new XapiError(code, params);
}

/** What a client sees of a failure that is not a XAPI error, as in xen-api ocaml/libs/xapi-stdext or exnHelper.ml: the exception's text inside INTERNAL_ERROR. */
export function asXapiError(error: unknown): XapiError {
  if (error instanceof XapiError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new XapiError("INTERNAL_ERROR", [text]);
}

/** What a wrong type gives: the exception of ocaml-rpc's unmarshallers (rpc.ml), as text. */
export function typeFailure(text: string): never {
  return fail("INTERNAL_ERROR", `Failure(${JSON.stringify(text)})`);
}
