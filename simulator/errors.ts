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

const STORAGE_ERRORS = {
  SRNotEmpty: [39, "The SR is not empty"],
  SRNoSpace: [44, "There is insufficient space"],
  VDIUnavailable: [46, "The VDI is not available"],
  VDISize: [79, "VDI Invalid size"],
  SnapshotChainTooLong: [109, "The snapshot chain is too long"],
} as const;

/** An error of the storage manager (sm libs/sm/core/XE_SR_ERRORCODES.xml) as xapi hands it on (sm_exec.ml): nothing, the text, and what was on stderr, which is nothing. */
export function storageError(name: keyof typeof STORAGE_ERRORS, opterr?: string): XapiError {
  const [code, text] = STORAGE_ERRORS[name];
  return new XapiError(`SR_BACKEND_FAILURE_${code}`, ["", opterr === undefined ? text : `${text} [opterr=${opterr}]`, ""]);
}
