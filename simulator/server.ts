/**
 * The servers of the hosts: one listener a host, each routing by HTTP verb and longest path prefix as xapi does (ocaml/idl/datamodel.ml http_actions,
 * libs/http-lib/http_svr.ml), so that any other POST path reaches the root handler and "/import_raw_vdi/" works.
 */
import net from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import tls from "node:tls";
import { FORWARDED, type HttpHandler, type Pool } from "./context.ts";
import type { Dispatcher } from "./dispatch.ts";
import { asXapiError, XapiError } from "./errors.ts";
import { BrokenReply, breakReply, cutReply, cutRequest, faultError } from "./faults.ts";
import { type HttpRequest, serveConnection } from "./http.ts";
import type { HttpReply } from "./httpReply.ts";
import { jsonEmergency, jsonFailure, jsonSuccess, parseJsonCall } from "./jsonrpc.ts";
import { permissionForHttp } from "./permissions.ts";
import { bare, escapeXml, failure, parseCall, success } from "./xmlrpc.ts";

/** xapi-consts/constants.ml: http_limit_max_rpc_size. */
const MAX_RPC = 300 * 1024;
const CORS = { "access-control-allow-origin": "*", "access-control-allow-headers": "X-Requested-With" };
/** Raised before dispatch, and so in the shape that npm xen-api can't read. */
const EMERGENCY = new Set(["HOST_STILL_BOOTING", "HOST_ITS_OWN_SLAVE"]);

/** An HTTP action: `/import_raw_vdi` and the like. */
export interface Action {
  /** Label of the task that it makes when none is given; without one it has no task. */
  readonly label?: string;
  readonly handle: HttpHandler;
}

export interface ServerOptions {
  readonly pool: Pool;
  readonly dispatcher: Dispatcher;
  /** By "VERB /path". */
  readonly actions: Readonly<Record<string, Action>>;
  /** What answers below /simulator/; XAPI has nothing there. */
  readonly admin: (request: HttpRequest, reply: HttpReply) => Promise<void>;
  readonly tls: { readonly key: string; readonly cert: string } | undefined;
  /** Real milliseconds before each answer. */
  readonly latencyMs: number;
}

/** One host's listener. */
export class Server {
  private readonly options: ServerOptions;
  private readonly host: string;
  private readonly server: net.Server;
  private readonly sockets = new Set<net.Socket>();
  private closing = false;

  /** `host` is the reference of the host that it speaks for. */
  constructor(host: string, options: ServerOptions) {
    this.host = host;
    this.options = options;
    const serve = (socket: net.Socket) => {
      void serveConnection(socket, (request, reply) => this.handle(request, reply)).catch(() => socket.destroy());
    };
    const common = { noDelay: true, allowHalfOpen: true, pauseOnConnect: false };
    this.server = options.tls
      ? tls.createServer({ ...common, ...options.tls, minVersion: "TLSv1.2" }, serve)
      : net.createServer(common, serve);
    // All connections, also those whose TLS handshake never ends.
    this.server.on("connection", (socket: net.Socket) => {
      if (this.closing) {
        socket.destroy(); // it was accepted a moment before
        return;
      }
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
    // A client that does not trust the certificate knows why; nothing more comes over its connection.
    this.server.on("tlsClientError", (_error, socket: net.Socket) => socket.destroy());
  }

  listen(port: number, address: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(port, address, () => {
        this.server.off("error", reject);
        const bound = this.server.address();
        resolve(typeof bound === "object" && bound ? bound.port : port);
      });
    });
  }

  /** Another certificate, from the next connection on. */
  renew(certificate: { readonly key: string; readonly cert: string }): void {
    if (this.server instanceof tls.Server) this.server.setSecureContext({ ...certificate, minVersion: "TLSv1.2" });
    this.disconnect();
  }

  /** Drops all connections, as a restart of the toolstack does. */
  disconnect(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    this.closing = true;
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      this.disconnect();
    });
  }

  private async handle(request: HttpRequest, reply: HttpReply): Promise<void> {
    if (this.options.latencyMs > 0) await delay(this.options.latencyMs);
    try {
      await this.route(request, reply);
    } catch (error) {
      if (error instanceof BrokenReply) await breakReply(error.rule, reply, page);
      else if (reply.started) await reply.close();
      else await internalError(reply, error);
    }
  }

  private async route(request: HttpRequest, reply: HttpReply): Promise<void> {
    const { method, path } = request;
    if (path.startsWith("/simulator/")) return this.options.admin(request, reply);
    if (method === "OPTIONS") return reply.send(200, "text/plain", "", { ...CORS, "access-control-allow-methods": "POST" });
    if (method === "POST") return path.startsWith("/jsonrpc") ? this.json(request, reply) : this.xml(request, reply);
    const prefix = Object.keys(this.options.actions)
      .filter((key) => `${method} ${path}`.startsWith(key))
      .sort((a, b) => b.length - a.length)[0];
    const action = prefix === undefined ? undefined : this.options.actions[prefix];
    if (prefix !== undefined && action) return this.action(prefix, action, request, reply);
    if (method === "GET" && path === "/")
      return reply.send(200, "text/html", "<html><body>xapi-simulator: a simulated XenServer pool</body></html>");
    await page(reply, method === "GET" ? 404 : 403, "");
  }

  private async json(request: HttpRequest, reply: HttpReply): Promise<void> {
    const { text, valid } = await rpcBody(request);
    const call = parseJsonCall(text);
    const type = "application/json"; // without charset: npm xen-api compares it exactly
    try {
      if (!valid) throw new XapiError("INVALID_VALUE", ["Invalid UTF-8 string in parameter", text]);
      const result = await this.options.dispatcher.call(this.host, call.method, call.params, otherConfig(request));
      await this.answer(request, reply, type, jsonSuccess(call, result.value));
    } catch (error) {
      if (!(error instanceof XapiError)) throw error;
      const { code, params } = error;
      await this.answer(request, reply, type, EMERGENCY.has(code) ? jsonEmergency(code, params) : jsonFailure(call, code, params));
    }
  }

  private async xml(request: HttpRequest, reply: HttpReply): Promise<void> {
    const { text, valid } = await rpcBody(request);
    const call = parseCall(text);
    try {
      if (!valid) throw new XapiError("INVALID_VALUE", ["Invalid UTF-8 string in parameter", text]);
      const result = await this.options.dispatcher.call(this.host, call.method, call.params, otherConfig(request));
      const write = call.method === "system.listMethods" ? bare : success;
      await this.answer(request, reply, "text/xml", write(result.type, result.value));
    } catch (error) {
      if (!(error instanceof XapiError)) throw error;
      await this.answer(request, reply, "text/xml", failure([error.code, ...error.params]));
    }
  }

  private async answer(request: HttpRequest, reply: HttpReply, type: string, body: string): Promise<void> {
    const asked = (request.headers.connection ?? "").toLowerCase();
    const keep = asked === "keep-alive" || (request.version === "1.1" && asked !== "close");
    await reply.send(200, type, body, { ...CORS, connection: keep ? "keep-alive" : "close" });
  }

  /** Session, role and task of an HTTP action (xapi_http.ml); the handler's outcome becomes the task's. */
  private async action(key: string, action: Action, request: HttpRequest, reply: HttpReply): Promise<void> {
    const { pool, dispatcher } = this.options;
    const started = Date.now();
    const given = request.cookies.task_id ?? request.query.task_id ?? request.headers["task-id"];
    const authorized = this.authenticate(request);
    if (!authorized) return page(reply, 401, "authentication required", { "www-authenticate": 'Basic realm="XenAPI HTTP Server"' });
    const { session } = authorized;
    const { session_id: _, ...query } = { ...request.cookies, ...request.query };
    const log = (error?: XapiError) =>
      pool.log.add({
        method: key,
        params: [query],
        session,
        ms: Date.now() - started,
        ...(error ? { error: [error.code, ...error.params] } : {}),
      });
    let task = given !== undefined && pool.db.has("task", given) ? given : "";
    try {
      pool.sessions.authorize(session, permissionForHttp(key));
    } catch (error) {
      if (task) pool.tasks.fail(task, error);
      log(asXapiError(error));
      return page(reply, 403, asXapiError(error).message);
    }
    const rule = pool.faults.match(key, Object.values(query));
    if (rule?.when !== "after") await rule?.happens?.();
    if (rule?.http !== undefined || rule?.cut === true) {
      log(new XapiError("connection"));
      return breakReply(rule, reply, page);
    }
    if (!task && action.label) task = pool.tasks.create({ label: action.label, host: this.host, session });
    const gone = new AbortController();
    request.socket.once("close", () => gone.abort(new Error("the client closed the connection")));
    const context = dispatcher.context(this.host, session, task);
    const ctx = { ...context, signal: AbortSignal.any([context.signal, gone.signal]) };
    try {
      if (rule?.code !== undefined && rule.when !== "after") throw faultError(rule);
      const result = await action.handle(cutRequest(request, rule, reply), cutReply(reply, rule), ctx);
      if (rule?.when === "after") await rule.happens?.();
      if (rule?.code !== undefined) throw faultError(rule);
      if (result === FORWARDED && task === given) {
        log();
        return reply.close();
      }
      if (task) pool.tasks.complete(task, typeof result !== "string" ? "" : `<value>${escapeXml(result)}</value>`);
      log();
    } catch (error) {
      if (task) pool.tasks.fail(task, error);
      log(asXapiError(error));
      if (!reply.started) return internalError(reply, error);
    } finally {
      if (authorized.temporary && pool.db.has("session", session)) pool.sessions.logout(session);
    }
    await reply.close();
  }

  /** session_id from cookie, then query; then Basic authorization, which makes a session for the request. */
  private authenticate(request: HttpRequest): { session: string; temporary: boolean } | undefined {
    const { sessions, password } = this.options.pool;
    const session = request.cookies.session_id ?? request.query.session_id;
    try {
      if (session !== undefined) {
        sessions.check(session);
        return { session, temporary: false };
      }
      const basic = /^Basic (.+)$/i.exec(request.headers.authorization ?? "")?.[1];
      if (basic === undefined) return undefined;
      const [user = "", ...rest] = Buffer.from(basic, "base64").toString("utf8").split(":");
      return {
        session: sessions.login({ host: this.host, user, password: rest.join(":"), expected: password, originator: "" }),
        temporary: true,
      };
    } catch {
      return undefined;
    }
  }
}

async function rpcBody(request: HttpRequest): Promise<{ text: string; valid: boolean }> {
  if (request.length === undefined) throw new Error("Http.Method_not_implemented: no Content-Length");
  if (request.length > MAX_RPC) throw new Error("Http.Client_requested_size_over_limit");
  if (/100-continue/i.test(request.headers.expect ?? "")) request.socket.write("HTTP/1.1 100 Continue\r\n\r\n");
  const chunks: Buffer[] = [];
  for await (const chunk of request.body()) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const text = body.toString("utf8");
  return { text, valid: !text.includes("\ufffd") || Buffer.from(text).equals(body) };
}

/** Headers x-http-other-config-k become other_config keys "http:k" of the call's task (context.ml). */
function otherConfig(request: HttpRequest): Record<string, string> {
  const prefix = "x-http-other-config-";
  return Object.fromEntries(
    Object.entries(request.headers)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [`http:${name.slice(prefix.length)}`, value]),
  );
}

async function page(reply: HttpReply, status: number, text: string, headers: Record<string, string> = {}): Promise<void> {
  await reply.send(status, "text/html", `<html><body><h1>HTTP ${status}</h1>${escapeXml(text)}</body></html>`, {
    connection: "close",
    ...headers,
  });
  await reply.close();
}

/** What XAPI answers to anything that it can't parse or that fails outside the protocol: the exception as HTML. */
async function internalError(reply: HttpReply, error: unknown): Promise<void> {
  const text = error instanceof Error ? error.message : String(error);
  const body = `<html><body><h1>HTTP 500 internal server error</h1>An unexpected error occurred; please wait a while and try again. If the problem persists, please contact your support representative.<h1> Additional information </h1>${escapeXml(text)}</body></html>`;
  await reply.send(500, "text/html", body, { connection: "close" });
  await reply.close();
}
