/** What other processes need of a simulator and XAPI has no call for: JSON below /simulator/ on the same port, without any login. */
import { z } from "zod";
import type { FaultRule } from "./faults.ts";
import type { HttpRequest } from "./http.ts";
import type { HttpReply } from "./httpReply.ts";
import type { Simulator } from "./index.ts";

const fault = z.strictObject({
  message: z.string().optional(),
  /** The same as a regular expression's source. */
  pattern: z.string().optional(),
  object: z.string().optional(),
  code: z.string().optional(),
  params: z.array(z.string()).optional(),
  times: z.int().positive().optional(),
  after: z.int().nonnegative().optional(),
  when: z.enum(["before", "during", "after"]).optional(),
  http: z.int().optional(),
  cut: z.union([z.boolean(), z.strictObject({ afterBytes: z.int().nonnegative() })]).optional(),
});
const command = z.strictObject({ vm: z.string(), command: z.string() });

type Route = (body: string) => unknown;

export function admin(simulator: Simulator): (request: HttpRequest, reply: HttpReply) => Promise<void> {
  const routes: Readonly<Record<string, Route>> = {
    "POST /simulator/console": (body) => {
      const { vm, command: line } = command.parse(JSON.parse(body));
      return simulator.console(vm).type(line);
    },
    "POST /simulator/fault": (body) => {
      const { pattern, ...given } = fault.parse(JSON.parse(body));
      const rule = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as FaultRule;
      simulator.fault(pattern === undefined ? rule : { ...rule, message: new RegExp(pattern) });
      return {};
    },
    "POST /simulator/coordinator": () => simulator.moveCoordinator(),
    "POST /simulator/expire": () => ({ sessions: simulator.expireSessions() }),
    "GET /simulator/log": () => simulator.log,
    "GET /simulator/guests": () => simulator.guestLog,
    "GET /simulator/state": () => simulator.state(),
  };
  return async (request, reply) => {
    const route = routes[`${request.method} ${request.path}`];
    if (!route)
      return reply.send(
        404,
        "application/json",
        JSON.stringify({ error: `no ${request.method} ${request.path}`, known: Object.keys(routes) }),
      );
    const chunks: Buffer[] = [];
    for await (const chunk of request.body(0)) chunks.push(chunk);
    try {
      const answer = await route(Buffer.concat(chunks).toString("utf8"));
      await reply.send(200, "application/json", JSON.stringify(answer));
    } catch (error) {
      await reply.send(400, "application/json", JSON.stringify({ error: error instanceof Error ? error.message : String(error) }));
    }
  };
}
