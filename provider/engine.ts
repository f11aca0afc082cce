// The Pulumi engine that runs this process as the host of dynamic resources: its log, and whether it is still there.
// The host itself offers neither (pulumi#6065); its engine's address is in the host's arguments, and the engine takes log lines from anybody.
// Promises: a line that can't be delivered is dropped, never an error; a process whose engine is gone stops its work, logs out and ends.
import { setMaxListeners } from "node:events";
import { createRequire } from "node:module";
import type * as EnginePb from "@pulumi/pulumi/proto/engine_pb.js";
import { CancelledError } from "./errors.ts";
import { disconnectAll } from "./xapi/client.ts";

export interface LogLine {
  severity: "info" | "warning";
  message: string;
  urn?: string | undefined;
  /** A live status on the resource's row instead of a line that stays. */
  ephemeral: boolean;
}

export interface Engine {
  log(line: LogLine): void;
  /** All lines so far have reached the engine (or never will). */
  flush(): Promise<void>;
  /** Aborted when the engine is gone, or wants this process to end. */
  readonly signal: AbortSignal;
  /** Work that is waited for, within bounds, before the process ends. */
  during<T>(work: Promise<T>): Promise<T>;
}

// What grpc-js offers, as far as it is used: it is a dependency of @pulumi/pulumi, not of this package, so its types can't be imported.
interface LogClient {
  log(request: EnginePb.LogRequest, options: { deadline: number }, done: (error: Error | null) => void): void;
  getChannel(): {
    getConnectivityState(connect: boolean): number;
    watchConnectivityState(state: number, deadline: number, changed: () => void): void;
  };
  close(): void;
}
const TRANSIENT_FAILURE = 3;

const LOOK_MS = 1_000;
// The engine is on this machine: a proxy that the environment names (http_proxy) would take it for its own.
const DIRECT = { "grpc.enable_http_proxy": 0 };
const LOG_MS = 5_000;
/** The engine kills a plugin 5 s after it asked it to end. */
const SIGNAL_MS = 3_000;
/** An orphan has time for clean-up: nobody waits for it. */
const ORPHAN_MS = 60_000;

/** Its address as the host got it, among flags such as `-v=9`; undefined in any other process. */
export function engineAddress(argv: readonly string[]): string | undefined {
  return argv.slice(2).findLast((argument) => /^(127\.0\.0\.1|localhost|\[::1\]):\d+$/.test(argument));
}

let own: Engine | undefined;

/** The engine of this process. Without one lines go nowhere and nothing is ever cancelled. */
export function thisEngine(): Engine {
  const address = engineAddress(process.argv);
  own ??= address === undefined ? noEngine() : connectEngine(address);
  return own;
}

function noEngine(): Engine {
  return { log: () => undefined, flush: async () => undefined, signal: new AbortController().signal, during: (work) => work };
}

function connectEngine(address: string): Engine {
  // grpc-js comes from where @pulumi/pulumi has it: client and messages must be of one installation.
  const load = createRequire(import.meta.url);
  const loadTheirs = createRequire(load.resolve("@pulumi/pulumi"));
  const grpc = loadTheirs("@grpc/grpc-js") as { credentials: { createInsecure(): unknown } };
  const { EngineClient } = load("@pulumi/pulumi/proto/engine_grpc_pb.js") as {
    EngineClient: new (address: string, credentials: unknown, options: object) => LogClient;
  };
  const { LogRequest, LogSeverity } = load("@pulumi/pulumi/proto/engine_pb.js") as typeof EnginePb;
  const client = new EngineClient(address, grpc.credentials.createInsecure(), DIRECT);

  const controller = new AbortController();
  // Every call that is in flight listens.
  setMaxListeners(0, controller.signal);
  const working = new Set<Promise<unknown>>();
  let last: Promise<void> = Promise.resolve();

  const send = ({ severity, message, urn, ephemeral }: LogLine) =>
    new Promise<void>((resolve) => {
      const request = new LogRequest();
      request.setSeverity(severity === "warning" ? LogSeverity.WARNING : LogSeverity.INFO);
      request.setMessage(message);
      if (urn !== undefined) request.setUrn(urn);
      request.setEphemeral(ephemeral);
      client.log(request, { deadline: Date.now() + LOG_MS }, () => resolve());
    });

  let ending = false;
  const end = async (why: string, patienceMs: number) => {
    if (ending) return;
    ending = true;
    controller.abort(new CancelledError(`working for Pulumi: ${why}`));
    const bound = new Promise((resolve) => setTimeout(resolve, patienceMs));
    await Promise.race([Promise.allSettled(working), bound]);
    await Promise.race([disconnectAll(), bound]);
    process.exit();
  };

  // Both come at the end of every normal run, and when the user insists on an end (second Ctrl-C).
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void end(`it sent ${signal}`, SIGNAL_MS));

  const gone = () => {
    process.exitCode = 1;
    void end("its engine is gone", ORPHAN_MS);
  };
  // A killed engine sends nothing: its connection breaks, and there is nobody to connect to again. Its launcher (sh) may live on as our parent, or go alone.
  const channel = client.getChannel();
  const watch = (): void => {
    const state = channel.getConnectivityState(true);
    if (state === TRANSIENT_FAILURE) gone();
    else channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, watch);
  };
  watch();
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) gone();
  }, LOOK_MS).unref();

  return {
    log(line) {
      // One after the other: two calls at once may arrive in either order.
      last = last.then(() => send(line));
    },
    flush: () => last,
    signal: controller.signal,
    during(work) {
      working.add(work);
      const done = () => working.delete(work);
      work.then(done, done);
      return work;
    },
  };
}
