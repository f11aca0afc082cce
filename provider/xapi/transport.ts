// The way to a host: addresses, verified sockets, JSON-RPC. Promises that no byte of a request leaves before the host has proved who it is,
// that nothing follows a redirect by itself, and that every failure has a code of codes.ts and says which host it is about.
import { createHash, X509Certificate } from "node:crypto";
import { type ClientRequestArgs, Agent as HttpAgent } from "node:http";
import { connect as connectTcp, isIP, isIPv6, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { checkServerIdentity, connect as connectTls, type TLSSocket } from "node:tls";
import { Agent, request } from "undici";
import { InputError } from "../errors.ts";
import { CERTIFICATE_REFUSED, NOT_A_XAPI, NOT_TLS, REDIRECT_REFUSED, UNREADABLE_REPLY } from "./codes.ts";

/** A call that failed. `code` and `params` are XAPI's, or `code` is one of codes.ts and `params` say more. Becomes an XapiError in session.ts. */
export class Failure extends Error {
  readonly code: string;
  readonly params: readonly string[];
  constructor(code: string, params: readonly string[], cause?: unknown) {
    super(`${code} ${params.join(", ")}`, cause === undefined ? undefined : { cause });
    this.code = code;
    this.params = params;
  }
}

/** How a host proves who it is: `pins` are SHA-256 fingerprints of certificates; one that matches is enough, else `ca` (or the system's) must vouch. */
export interface Trust {
  readonly verify: boolean;
  readonly ca: string | undefined;
  readonly pins: ReadonlySet<string>;
}

export function trustOf(
  tls: { verify?: boolean | undefined; caCertificate?: string | undefined; fingerprints?: string[] | undefined } = {},
): Trust {
  const failures: { property: string; reason: string }[] = [];
  const pins = new Set<string>();
  for (const [index, fingerprint] of (tls.fingerprints ?? []).entries()) {
    const hex = fingerprint
      .replace(/^sha-?256[:=]/i, "")
      .replace(/[:\s]/g, "")
      .toLowerCase();
    if (/^[0-9a-f]{64}$/.test(hex)) pins.add(hex);
    else
      failures.push({
        property: `tls.fingerprints[${index}]`,
        reason: "is no SHA-256 fingerprint: 32 bytes in hexadecimal, with or without colons",
      });
  }
  if (tls.caCertificate !== undefined) {
    try {
      new X509Certificate(tls.caCertificate);
    } catch {
      failures.push({ property: "tls.caCertificate", reason: "is no certificate in PEM form (-----BEGIN CERTIFICATE-----)" });
    }
  }
  if (failures.length > 0) throw new InputError(failures);
  return { verify: tls.verify ?? true, ca: tls.caCertificate, pins };
}

/** `host`, `host:port`, `[v6]:port` or a URL; HTTPS unless `http://` is written out. */
export function parseAddress(address: string): URL {
  const refuse = (reason: string): never => {
    throw new InputError([{ property: "address", reason }]);
  };
  const shown = JSON.stringify(address.replace(/\/\/[^/]*@/, "//…@"));
  const trimmed = address.trim();
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(trimmed)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== "https" && scheme !== "http")
    return refuse(`${shown} has the scheme ${scheme}: only https (or http, written out) is known`);
  let rest = scheme === undefined ? trimmed : trimmed.slice(scheme.length + 3);
  if (isIPv6(rest)) rest = `[${rest}]`;
  if (rest.includes("@")) return refuse(`${shown} holds credentials: give them as \`username\` and \`password\``);
  let url: URL;
  try {
    url = new URL(`${scheme ?? "https"}://${rest}`);
  } catch {
    return refuse(`${shown} is neither host, host:port nor URL`);
  }
  if (url.hostname === "" || url.pathname !== "/" || url.search !== "" || url.hash !== "")
    return refuse(`${shown} must be host, host:port or a URL without a path`);
  return url;
}

/** The same place on another host of the pool: XAPI names hosts by address only. */
export function withHost(url: URL, host: string): URL {
  const other = new URL(url);
  other.hostname = isIPv6(host) ? `[${host}]` : host;
  return other;
}

const CONNECT_MS = 10_000;

/** Opens a connection and verifies the host; what is refused has been sent nothing but the TLS handshake. */
export async function openSocket(url: URL, trust: Trust): Promise<Socket> {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const tls = url.protocol === "https:";
  const port = Number(url.port || (tls ? 443 : 80));
  // rejectUnauthorized false, so that a refusal can show the certificate it is about: the decision is `refusal` below, and no session is ever
  // resumed (a resumed one shows no certificate).
  const socket = tls
    ? connectTls({
        host,
        port,
        ca: trust.ca,
        servername: isIP(host) ? "" : host,
        rejectUnauthorized: false,
        minVersion: "TLSv1.2",
        ALPNProtocols: ["http/1.1"],
      })
    : connectTcp({ host, port });
  socket.setNoDelay(true).setKeepAlive(true, 60_000);
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Failure("CONNECT_TIMEOUT", [`${url.host}: no answer within ${CONNECT_MS / 1000} s`])),
        CONNECT_MS,
      );
      const end = (settle: () => void) => () => {
        clearTimeout(timer);
        settle();
      };
      socket.once(tls ? "secureConnect" : "connect", end(resolve));
      socket.once("error", (error) => end(() => reject(connectFailure(url, error)))());
      socket.once(
        "close",
        end(() => reject(new Failure("CONNECT_RESET", [url.host]))),
      );
    });
    const reason = tls ? refusal(socket as TLSSocket, host, trust) : undefined;
    if (reason !== undefined) throw new Failure(CERTIFICATE_REFUSED, [`${url.host}: ${reason}`]);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** Why the host at the other end is not trusted; undefined = it is. Anything unexpected is a reason. */
function refusal(socket: TLSSocket, host: string, trust: Trust): string | undefined {
  if (!trust.verify) return undefined;
  const certificate = socket.getPeerCertificate();
  if (socket.isSessionReused() || !Buffer.isBuffer(certificate.raw)) return "it showed no certificate";
  const fingerprint = createHash("sha256").update(certificate.raw).digest("hex");
  if (trust.pins.has(fingerprint)) return undefined;
  const shown = `its certificate has the SHA-256 fingerprint ${fingerprint.replace(/..(?!$)/g, "$&:").toUpperCase()}`;
  if (trust.pins.size > 0 && trust.ca === undefined) return `${shown}, which is not in tls.fingerprints`;
  const mismatch = checkServerIdentity(host, certificate);
  if (mismatch !== undefined && (socket.authorized || errorCode(socket.authorizationError) === "ERR_TLS_CERT_ALTNAME_INVALID")) {
    return `${shown} and is for another name (${mismatch.message}): use a name that is in it, or add it to tls.fingerprints`;
  }
  if (socket.authorized) return undefined;
  return `${shown} and is not trusted (${errorCode(socket.authorizationError)}): compare it with the host's own, then add it to tls.fingerprints, or give the CA as tls.caCertificate`;
}

function errorCode(error: unknown): string {
  return String((error as { code?: string } | null | undefined)?.code ?? error ?? "not verified");
}

function connectFailure(url: URL, error: Error & { code?: string }): Failure {
  // Happy eyeballs: one error per address tried.
  const first = error instanceof AggregateError ? (error.errors[0] as Error & { code?: string }) : error;
  const code = first.code ?? "";
  if (/^(EPROTO|ERR_SSL_)/.test(code)) return new Failure(NOT_TLS, [url.host], error);
  if (code === "ECONNRESET" || code === "EPIPE") return new Failure("CONNECT_RESET", [url.host], error);
  if (code === "ETIMEDOUT") return new Failure("CONNECT_TIMEOUT", [url.host], error);
  return new Failure(code || "CONNECT_RESET", [url.host], error);
}

/** For JSON-RPC, and for whatever xen-api does by itself. */
export function createDispatcher(trust: Trust): Agent {
  return new Agent({
    // A 307 would send the login to whoever it names.
    maxRedirections: 0,
    headersTimeout: 10 * 60_000,
    bodyTimeout: 60_000,
    connect: ({ protocol, hostname, port }, callback) => {
      const host = isIPv6(hostname) ? `[${hostname}]` : hostname;
      openSocket(new URL(`${protocol}//${host}${port ? `:${port}` : ""}`), trust).then(
        (socket) => callback(null, socket),
        (error: unknown) => callback(error as Error, null),
      );
    },
  });
}

/** For node:http requests (transfers): one connection a request. */
export class VerifiedAgent extends HttpAgent {
  readonly #trust: Trust;
  readonly #url: URL;
  constructor(url: URL, trust: Trust) {
    super({ keepAlive: false });
    this.#url = url;
    this.#trust = trust;
    // node:http compares it with the protocol of the request.
    Object.assign(this, { protocol: url.protocol, defaultPort: url.protocol === "https:" ? 443 : 80 });
  }
  override createConnection(_options: ClientRequestArgs, callback: (error: Error | null, socket: Duplex) => void): undefined {
    openSocket(this.#url, this.#trust).then(
      (socket) => callback(null, socket),
      // Node's callback takes no socket with an error.
      (error: unknown) => callback(error as Error, undefined as unknown as Duplex),
    );
  }
}

export type Rpc = (method: string, params: readonly unknown[], signal?: AbortSignal) => Promise<unknown>;

/** JSON-RPC 2.0 as XAPI speaks it (xen-api ocaml/xapi/api_server.ml), its quirks included. Rejects with a Failure; `signal` with its reason. */
export function jsonRpc(url: URL, dispatcher: Agent): Rpc {
  const target = new URL("/jsonrpc", url);
  return async (method, params, signal) => {
    const body = JSON.stringify({ jsonrpc: "2.0", method, params, id: 0 });
    let text: string;
    try {
      const headers = { "content-type": "application/json", accept: "application/json", "user-agent": "xenlayer" };
      const reply = await request(target, { dispatcher, method: "POST", headers, body, signal: signal ?? null });
      text = await reply.body.text();
      if (reply.statusCode !== 200) throw statusFailure(url, reply.statusCode, reply.headers.location, text);
    } catch (error) {
      signal?.throwIfAborted();
      throw networkFailure(url, error);
    }
    return unpack(url, method, text);
  };
}

function statusFailure(url: URL, status: number, location: string | string[] | undefined, text: string): Failure {
  if (status >= 300 && status < 400) {
    const hint = url.protocol === "http:" && String(location).startsWith("https:") ? " (this host takes only HTTPS: write https://)" : "";
    return new Failure(REDIRECT_REFUSED, [`${url.host} answered a call with a redirect${hint}`]);
  }
  if (status >= 502 && status <= 504) return new Failure(`HTTP_${status}`, [url.host]);
  // XAPI itself answers 500 in HTML when it can't parse a request (wire-protocol.md "Errors").
  if (status === 500 && text.startsWith("<h1>HTTP 500 internal server error</h1>"))
    return new Failure(UNREADABLE_REPLY, [
      url.host,
      text
        .replace(/<[^>]*>/g, " ")
        .trim()
        .slice(0, 200),
    ]);
  return new Failure(NOT_A_XAPI, [`${url.host} answered with HTTP ${status}`]);
}

/** What went wrong below HTTP, once connected (or while connecting: then openSocket has said it). */
export function networkFailure(url: URL, error: unknown): unknown {
  if (error instanceof Failure) return error;
  const { code = "" } = error as { code?: string };
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") return new Failure("REPLY_TIMEOUT", [url.host], error);
  if (code.startsWith("HPE_") || code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH")
    return new Failure(NOT_A_XAPI, [`${url.host} does not answer in HTTP`], error);
  if (code === "UND_ERR_SOCKET" || code === "ECONNRESET" || code === "EPIPE" || code === "UND_ERR_ABORTED")
    return new Failure("ECONNRESET", [url.host], error);
  return error;
}

function unpack(url: URL, method: string, text: string): unknown {
  let reply: { result?: unknown; error?: unknown };
  try {
    reply = JSON.parse(text) as typeof reply;
  } catch (error) {
    // At login nobody knows yet what is there; later it is XAPI, with a float that JSON has no word for (NaN, Infinity).
    throw method.startsWith("session.login")
      ? new Failure(NOT_A_XAPI, [`${url.host} does not answer in JSON-RPC`], error)
      : new Failure(UNREADABLE_REPLY, [url.host], error);
  }
  if (reply === null || typeof reply !== "object" || !("result" in reply || "error" in reply))
    throw new Failure(NOT_A_XAPI, [`${url.host} does not answer in JSON-RPC`]);
  const { error } = reply;
  if (error === undefined || error === null) return reply.result;
  // Before dispatch (a host in emergency mode) XAPI sends a plain array in a 2.0 reply; pools before 7.3 always do.
  if (Array.isArray(error)) throw new Failure(String(error[0]), error.slice(1).map(String));
  const { message, data } = error as { message?: unknown; data?: unknown };
  throw new Failure(String(message), Array.isArray(data) ? data.map(String) : []);
}
