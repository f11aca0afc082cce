// One HTTP request of a transfer, up to the head of its reply. Promises: the host has proved who it is before it hears of the session; the session is in a cookie, never in a
// URL; one redirect is followed, to a host of the pool only and never from TLS to plain HTTP.
import { once } from "node:events";
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { InputError } from "../errors.ts";
import { REDIRECT_REFUSED, TRANSFER_FAILED } from "./codes.ts";
import type { Login } from "./session.ts";
import { Failure, networkFailure, type Trust, VerifiedAgent } from "./transport.ts";

/** How to reach hosts for transfers. */
export interface Route {
  readonly trust: Trust;
  readonly overTls: boolean;
  readonly times: { readonly silenceMs: number };
}

/** What stops the moving of bytes, and learns that the host's handler has begun. */
export interface Guard {
  readonly stopped: AbortSignal;
  taken?: boolean;
}

export interface Reply {
  readonly url: URL;
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
}

/** The address of transfers. */
function transferUrl({ overTls }: Route, login: Login): URL {
  if (overTls || login.url.protocol === "http:") return login.url;
  const coordinator = login.hosts.find(({ $ref }) => $ref === login.pool.master);
  const refuse = (reason: string): never => {
    throw new InputError([{ property: "transferOverTls", reason }]);
  };
  if (coordinator?.https_only)
    return refuse(`the host ${coordinator.name_label} takes only HTTPS (https_only): leave transferOverTls true`);
  if (login.url.port !== "")
    return refuse("transfers without TLS go to port 80, which an address with a port of its own does not tell: leave transferOverTls true");
  const url = new URL(login.url);
  url.protocol = "http:";
  return url;
}

/** Sends a request head and waits for the reply head, following one redirect. No byte of a body is sent: XAPI answers before it reads one. */
export async function exchange(
  route: Route,
  login: Login,
  method: "GET" | "PUT",
  path: string,
  length: number | undefined,
  guard: Guard,
): Promise<Reply> {
  let url = new URL(path, transferUrl(route, login));
  for (let redirects = 0; ; redirects++) {
    const reply = await head(route, login, method, url, length, guard.stopped);
    const { statusCode = 0, headers } = reply.response;
    if (statusCode === 200) guard.taken = true;
    if (statusCode < 300 || statusCode >= 400) return reply;
    discard(reply);
    const to = headers.location === undefined ? undefined : new URL(headers.location, url);
    if (redirects > 0 || to === undefined) throw new Failure(REDIRECT_REFUSED, [`${url.host} redirected once too often`]);
    const downgraded = url.protocol === "https:" && to.protocol !== "https:";
    // XAPI redirects to host.address of the pool's hosts; the session goes nowhere else.
    const known = [
      login.url.hostname,
      url.hostname,
      ...login.hosts.map(({ address }) => (address.includes(":") ? `[${address}]` : address)),
    ];
    if (downgraded || !/^https?:$/.test(to.protocol) || !known.includes(to.hostname)) {
      const why = downgraded ? "which would send the session without TLS" : "which is no host of this pool";
      throw new Failure(REDIRECT_REFUSED, [`${url.host} redirected to ${to.host}, ${why}`]);
    }
    url = to;
  }
}

async function head(route: Route, login: Login, method: string, url: URL, length: number | undefined, signal: AbortSignal): Promise<Reply> {
  const request = httpRequest(url, {
    method,
    agent: new VerifiedAgent(url, route.trust),
    headers: {
      cookie: `session_id=${login.sessionId}`,
      "user-agent": "xenlayer",
      ...(length === undefined ? {} : { "content-length": length }),
    },
    signal,
    timeout: route.times.silenceMs,
  });
  request.on("timeout", () => request.destroy(new Failure("REPLY_TIMEOUT", [url.host])));
  // What comes later is seen by whoever writes or reads.
  request.on("error", () => undefined);
  if (length === undefined) request.end();
  else request.flushHeaders();
  try {
    const [response] = (await once(request, "response")) as [IncomingMessage];
    return { url, request, response };
  } catch (error) {
    signal.throwIfAborted();
    throw networkFailure(url, error);
  }
}

export function discard({ request, response }: Reply): void {
  response.on("error", () => undefined);
  request.destroy();
}

/** The failure that a reply other than 200 stands for. */
export function refusedWith(reply: Reply): Failure {
  const { statusCode = 0 } = reply.response;
  discard(reply);
  if (statusCode === 401 || statusCode === 403 || (statusCode >= 502 && statusCode <= 504))
    return new Failure(`HTTP_${statusCode}`, [reply.url.host]);
  return new Failure(TRANSFER_FAILED, [`${reply.url.host} answered with HTTP ${statusCode}`]);
}
