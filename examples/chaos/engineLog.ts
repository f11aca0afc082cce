// As much of an engine as a provider knows of: the address that takes its log lines, and goes when the engine is killed.
import { createRequire } from "node:module";

interface GrpcServer {
  addService(service: unknown, handlers: Record<string, unknown>): void;
  bindAsync(address: string, credentials: unknown, done: (error: Error | null, port: number) => void): void;
  forceShutdown(): void;
}

export async function engineLog(): Promise<{ address: string; kill: () => void; heard: () => number }> {
  const load = createRequire(import.meta.url);
  // Messages and server must be of one installation (provider/engine.ts).
  const grpc = createRequire(load.resolve("@pulumi/pulumi"))("@grpc/grpc-js") as {
    Server: new () => GrpcServer;
    ServerCredentials: { createInsecure(): unknown };
  };
  const { EngineService } = load("@pulumi/pulumi/proto/engine_grpc_pb.js") as { EngineService: unknown };
  const { Empty } = load("google-protobuf/google/protobuf/empty_pb.js") as { Empty: new () => unknown };
  const server = new grpc.Server();
  let lines = 0;
  const log = (_call: unknown, done: (error: null, reply: unknown) => void) => {
    lines++;
    done(null, new Empty());
  };
  server.addService(EngineService, { log });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  return { address: `127.0.0.1:${port}`, kill: () => server.forceShutdown(), heard: () => lines };
}
