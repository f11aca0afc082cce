import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import { CancelledError, XapiError } from "../errors.ts";
import { dynamicLayout, SECTOR } from "../vhd.ts";
import { type Connection, type ConnectOptions, connect, disconnectAll, type Xapi } from "./client.ts";
import { type Answer, hostRecord, type Script, type ScriptedHost, ScriptedObjects, scriptedHost, testdata } from "./testing.ts";

let host: ScriptedHost;
let objects: ScriptedObjects;
const others: { close(): unknown }[] = [];

afterEach(async () => {
  await disconnectAll();
  await host.close();
  for (const other of others.splice(0)) await other.close();
});

type Handler = (request: IncomingMessage, response: ServerResponse, task: string) => void | Promise<void>;

function script(handle: Handler, answers: Record<string, Answer> = {}): Script {
  let n = 0;
  return {
    answers: {
      ...objects.answers,
      "task.create": () => {
        const task = `OpaqueRef:task-${++n}`;
        objects.task(task, "pending");
        return task;
      },
      "task.cancel": ([, task]) => objects.task(String(task), "cancelled", { error_info: ["TASK_CANCELLED"] }),
      "task.set_status": ([, task, status]) => objects.task(String(task), String(status)),
      ...answers,
    },
    http: (request, response) => {
      response.on("error", () => {});
      void handle(request, response, new URL(request.url ?? "", "http://x").searchParams.get("task_id") ?? "");
    },
  };
}

async function open(handle: Handler, more: Script = {}, connection: Partial<Connection> = {}, options: ConnectOptions = {}): Promise<Xapi> {
  objects = new ScriptedObjects();
  const made = script(handle, more.answers);
  host = await scriptedHost({ ...made, ...more, answers: { ...made.answers, ...more.answers } });
  return connect(
    { address: host.url, username: "root", password: "secret", ...connection },
    { sleep: async () => {}, times: { settleMs: 300, cancelMs: 2000, lookMs: 60_000 }, ...options },
  );
}

const succeed = (task: string) => objects.task(task, "success", { result: "<value>OpaqueRef:vdi</value>" });
const fail = (task: string, ...error: string[]) => objects.task(task, "failure", { error_info: error });
const body = (bytes: Buffer, chunk = 1000) => ({
  format: "vhd" as const,
  length: bytes.length,
  stream: async function* () {
    for (let from = 0; from < bytes.length; from += chunk) yield bytes.subarray(from, from + chunk);
  },
});
const some = (length: number) => Buffer.from(Array.from({ length }, (_, index) => index % 251));
async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
const caught = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );
const read = async (request: IncomingMessage) => {
  const all: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) all.push(chunk);
  return Buffer.concat(all);
};
const left = () =>
  host.asked.filter((method) => method === "task.create").length - host.asked.filter((method) => method === "task.destroy").length;

describe("a disk that is written", () => {
  test("arrives whole, by a request with its length, the session in a cookie only, and is done when the task is", async () => {
    let got = Buffer.alloc(0);
    let head: IncomingMessage | undefined;
    const xapi = await open(async (request, response, task) => {
      head = request;
      response.writeHead(200, { connection: "close" }).flushHeaders();
      got = await read(request);
      response.end();
      succeed(task);
    });
    const progress: number[] = [];
    await xapi.put("OpaqueRef:vdi", body(some(10_000)), { onProgress: (fraction) => progress.push(fraction) });
    expect(got.equals(some(10_000))).toBe(true);
    expect(head?.headers).toMatchObject({ "content-length": "10000", cookie: expect.stringMatching(/^session_id=OpaqueRef:session-/) });
    expect(head?.url).toBe("/import_raw_vdi?vdi=OpaqueRef%3Avdi&format=vhd&task_id=OpaqueRef%3Atask-1");
    expect(progress.at(-1)).toBe(1);
    expect(left()).toBe(0);
  });

  test("is written where a redirect says, and its body sent once", async () => {
    let got = Buffer.alloc(0);
    const target = await scriptedHost({
      http: async (request, response) => {
        response.writeHead(200, { connection: "close" }).flushHeaders();
        got = await read(request);
        response.end();
        succeed("OpaqueRef:task-1");
      },
    });
    others.push(target);
    let streams = 0;
    const xapi = await open((request, response) => {
      response.writeHead(302, { location: `${target.url}${request.url}`, connection: "close" }).end();
    });
    const content = body(some(5000));
    await xapi.put("OpaqueRef:vdi", {
      ...content,
      stream: () => {
        streams++;
        return content.stream();
      },
    });
    expect(got.length).toBe(5000);
    expect(streams).toBe(1);
  });

  test("is not written, and the session not shown, where no host of the pool is", async () => {
    const thief = await scriptedHost({ address: "127.0.0.9", http: (_, response) => response.end() });
    others.push(thief);
    const xapi = await open((request, response) => {
      response.writeHead(302, { location: `${thief.url}${request.url}` }).end();
    });
    const error = await caught(xapi.put("OpaqueRef:vdi", body(some(10))));
    expect(error).toMatchObject({ code: "REDIRECT_REFUSED" });
    expect(thief.heard).toEqual([]);
    expect(left()).toBe(0);
  });

  test("is redirected with TLS only to a host that proves who it is", async () => {
    const target = await scriptedHost({ certificate: "elsewhere", http: (_, response) => response.end() });
    others.push(target);
    const xapi = await open(
      (request, response) => {
        response.writeHead(302, { location: `${target.url}${request.url}` }).end();
      },
      { certificate: "one" },
      { tls: { caCertificate: testdata("ca.pem") } },
    );
    const error = await caught(xapi.put("OpaqueRef:vdi", body(some(10))));
    expect(error).toMatchObject({ code: "CERTIFICATE_REFUSED" });
    expect(target.heard).toEqual([]);
  });

  test("is not redirected from TLS to plain HTTP", async () => {
    const target = await scriptedHost({ http: (_, response) => response.end() });
    others.push(target);
    const xapi = await open(
      (request, response) => {
        response.writeHead(302, { location: `${target.url}${request.url}` }).end();
      },
      { certificate: "one" },
      { tls: { caCertificate: testdata("ca.pem") } },
    );
    expect(await caught(xapi.put("OpaqueRef:vdi", body(some(10))))).toMatchObject({ code: "REDIRECT_REFUSED" });
    expect(target.heard).toEqual([]);
  });

  test("fails with the task's error, also when that comes in the middle and the connection just ends", async () => {
    const xapi = await open((request, response, task) => {
      response.writeHead(200, { connection: "close" }).flushHeaders();
      request.once("data", () => {
        fail(task, "VDI_IO_ERROR", "Device I/O errors");
        request.socket.destroy();
      });
    });
    const error = await caught(xapi.put("OpaqueRef:vdi", body(some(2_000_000), 100_000)));
    expect(error).toBeInstanceOf(XapiError);
    expect(error).toMatchObject({ code: "VDI_IO_ERROR", params: ["Device I/O errors"] });
    expect(left()).toBe(0);
  });

  test("fails with the task's error when a second reply follows a good one", async () => {
    const xapi = await open(async (request, response, task) => {
      response.writeHead(200, { connection: "close" }).flushHeaders();
      await read(request);
      fail(task, "VDI_IN_USE_BY_SOMETHING", "OpaqueRef:vdi");
      response.end("HTTP/1.1 500 Internal Server Error\r\n\r\n<html>");
    });
    expect(await caught(xapi.put("OpaqueRef:vdi", body(some(2000))))).toMatchObject({ code: "VDI_IN_USE_BY_SOMETHING" });
  });

  test("fails with the task's error when the role does not allow it", async () => {
    const xapi = await open((_, response, task) => {
      fail(task, "RBAC_PERMISSION_DENIED", "http/put_import_raw_vdi", "no permission");
      response.writeHead(403).end();
    });
    expect(await caught(xapi.put("OpaqueRef:vdi", body(some(2000))))).toMatchObject({ code: "RBAC_PERMISSION_DENIED" });
  });

  test("is sent once more when the connection was cut, and once the session has ended", async () => {
    let times = 0;
    const xapi = await open(async (request, response, task) => {
      times++;
      if (times === 1) return void response.writeHead(401).end();
      response.writeHead(200, { connection: "close" }).flushHeaders();
      if (times === 2) return void request.once("data", () => request.socket.destroy());
      await read(request);
      response.end();
      succeed(task);
    });
    await xapi.put("OpaqueRef:vdi", body(some(2_000_000), 100_000));
    expect(times).toBe(3);
    expect(host.asked.filter((method) => method === "session.login_with_password")).toHaveLength(2);
    expect(left()).toBe(0);
  });

  test("whose source fails ends with the source's error, and the task is cancelled", async () => {
    const xapi = await open((request, response) => {
      response.writeHead(200, { connection: "close" }).flushHeaders();
      request.resume();
    });
    const broken = {
      format: "raw" as const,
      length: 1000,
      stream: async function* () {
        yield some(10);
        throw new Error("the file is gone");
      },
    };
    expect(await caught(xapi.put("OpaqueRef:vdi", broken))).toMatchObject({ message: "the file is gone" });
    expect(host.asked).toContain("task.cancel");
    expect(left()).toBe(0);
  });

  test("is cancelled in the middle on abort, and nothing of it is left", async () => {
    const abort = new AbortController();
    let closed: Promise<unknown> = Promise.resolve();
    const xapi = await open((request, response) => {
      closed = new Promise((resolve) => request.once("close", resolve));
      response.writeHead(200, { connection: "close" }).flushHeaders();
      request.once("data", () => abort.abort(new Error("Ctrl-C")));
    });
    expect(await caught(xapi.put("OpaqueRef:vdi", body(some(4_000_000), 100_000), { signal: abort.signal }))).toBeInstanceOf(
      CancelledError,
    );
    await closed;
    expect(host.asked.filter((method) => method.startsWith("task."))).toEqual(["task.create", "task.cancel", "task.destroy"]);
  });

  test("goes without TLS only where the host allows that", async () => {
    const xapi = await open(
      () => {},
      {
        certificate: "one",
        answers: { "host.get_all_records": () => ({ "OpaqueRef:coordinator": { ...hostRecord("127.0.0.1", "h1"), https_only: true } }) },
      },
      { tls: { caCertificate: testdata("ca.pem") }, transferOverTls: false },
    );
    expect(await caught(xapi.put("OpaqueRef:vdi", body(some(10))))).toMatchObject({
      message: expect.stringMatching(/transferOverTls: the host h1 takes only HTTPS/),
    });
    expect(left()).toBe(0);
  });

  test("shows no session in an error", async () => {
    const xapi = await open((_, response) => {
      response.writeHead(500).end("<h1>HTTP 500 internal server error</h1>");
    });
    const error = await caught(xapi.put("OpaqueRef:vdi", body(some(10))));
    expect(error).toMatchObject({ code: "TRANSFER_FAILED" });
    expect(inspect(error, { depth: 20 })).not.toMatch(/OpaqueRef:session/);
  });
});

describe("a disk that is read", () => {
  const size = { "VDI.get_virtual_size": () => 4096 };
  const send = (bytes: Buffer, end: (task: string) => void = succeed): Handler => {
    return (_, response, task) => {
      response.writeHead(200, { connection: "close", "content-type": "application/octet-stream" }).end(bytes);
      end(task);
    };
  };

  test("comes whole as raw", async () => {
    const xapi = await open(send(some(4096)), { answers: size });
    expect((await collect(await xapi.getDisk("OpaqueRef:vdi", { format: "raw" }))).equals(some(4096))).toBe(true);
    expect(left()).toBe(0);
  });

  test("comes whole as VHD, whose length follows from its table", async () => {
    const { head, footer, length } = dynamicLayout(8 * 1024 * 1024, [1]);
    const vhd = Buffer.concat([head, Buffer.alloc(length - head.length - SECTOR, 7), footer]);
    const xapi = await open(send(vhd));
    expect((await collect(await xapi.getDisk("OpaqueRef:vdi", { format: "vhd" }))).equals(vhd)).toBe(true);
  });

  test("but is cut off, is an error at the end", async () => {
    const { head } = dynamicLayout(8 * 1024 * 1024, [1]);
    const xapi = await open(send(Buffer.concat([head, Buffer.alloc(5000)])));
    expect(await caught(collect(await xapi.getDisk("OpaqueRef:vdi", { format: "vhd" })))).toMatchObject({ code: "TRANSFER_INCOMPLETE" });
    expect(left()).toBe(0);
  });

  test("but is longer than the disk, or than what is wanted, is an error", async () => {
    const xapi = await open(send(some(5000)), { answers: size });
    expect(await caught(collect(await xapi.getDisk("OpaqueRef:vdi", { format: "raw" })))).toMatchObject({ code: "TRANSFER_FAILED" });
    expect(await caught(collect(await xapi.getDisk("OpaqueRef:vdi", { format: "raw", maxBytes: 1000 })))).toMatchObject({
      message: expect.stringContaining("more than the 1000 bytes"),
    });
  });

  test("but is a second HTTP reply, is the task's error", async () => {
    const late = Buffer.from("HTTP/1.1 500 Internal Error\r\n\r\n".padEnd(4096, " "));
    const xapi = await open(
      send(late, (task) => fail(task, "SR_BACKEND_FAILURE_46", "", "The VDI is not available", "")),
      { answers: size },
    );
    expect(await caught(collect(await xapi.getDisk("OpaqueRef:vdi", { format: "raw" })))).toMatchObject({ code: "SR_BACKEND_FAILURE_46" });
  });

  test("to its whole length, but whose task failed, is an error", async () => {
    const xapi = await open(
      send(some(4096), (task) => fail(task, "VDI_IO_ERROR", "read")),
      { answers: size },
    );
    expect(await caught(collect(await xapi.getDisk("OpaqueRef:vdi", { format: "raw" })))).toMatchObject({ code: "VDI_IO_ERROR" });
  });

  test("and is left early, ends the transfer and its task", async () => {
    const xapi = await open(
      (_, response) => {
        response.writeHead(200, { connection: "close" }).write(some(1000));
      },
      { answers: size },
    );
    for await (const chunk of await xapi.getDisk("OpaqueRef:vdi", { format: "raw" })) {
      expect(chunk.length).toBe(1000);
      break;
    }
    expect(host.asked.slice(-1)).toEqual(["task.destroy"]);
    expect(left()).toBe(0);
  });
});

test("a host that says nothing is given up", async () => {
  const silent: Server = createServer(() => {});
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  others.push({
    close: () => {
      silent.close();
      silent.closeAllConnections();
    },
  });
  const { port } = silent.address() as AddressInfo;
  const xapi = await open(
    (request, response) => {
      response.writeHead(302, { location: `http://127.0.0.1:${port}${request.url}` }).end();
    },
    {},
    {},
    { times: { silenceMs: 50, settleMs: 10, cancelMs: 10, lookMs: 60_000 } },
  );
  expect(await caught(xapi.put("OpaqueRef:vdi", body(some(10))))).toMatchObject({ code: "REPLY_TIMEOUT" });
});
