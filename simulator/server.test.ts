import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { jsonCall, login, named, post, withSimulator } from "./testing.ts";

/** Sends bytes as they are and answers all that comes back until the server closes. */
function raw(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(text));
    let answer = "";
    socket.on("data", (data) => {
      answer += data.toString("latin1");
    });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

const xml = (method: string, ...params: string[]) =>
  `<?xml version="1.0"?><methodCall><methodName>${method}</methodName><params>${params.map((p) => `<param><value>${p}</value></param>`).join("")}</params></methodCall>`;

describe("JSON-RPC", () => {
  test("a call without a version is answered as version 1, failures as an array", () =>
    withSimulator(async ({ url, password }) => {
      const ok = await post(url, "/jsonrpc", JSON.stringify({ id: 7, method: "session.login_with_password", params: ["root", password] }));
      expect(ok.type).toBe("application/json");
      expect(JSON.parse(ok.body)).toEqual({ result: expect.stringMatching(/^OpaqueRef:/), error: null, id: 7 });
      const bad = await post(
        url,
        "/jsonrpc",
        JSON.stringify({ id: "a", method: "session.login_with_password", params: ["root", "wrong"] }),
      );
      expect(JSON.parse(bad.body)).toEqual({ result: null, error: ["SESSION_AUTHENTICATION_FAILED", "root", expect.any(String)], id: "a" });
    }));

  test("a call of version 2 has no error on success and an error object on failure", () =>
    withSimulator(async ({ url }, rpc) => {
      const ok = await post(url, "/jsonrpc", JSON.stringify({ jsonrpc: "2.0", id: 0, method: "VM.get_all", params: [rpc.session] }));
      expect(Object.keys(JSON.parse(ok.body))).toEqual(["jsonrpc", "result", "id"]);
      const bad = await post(
        url,
        "/jsonrpc",
        JSON.stringify({ jsonrpc: "2.0", id: 0, method: "VM.get_record", params: [rpc.session, "OpaqueRef:x"] }),
      );
      expect(JSON.parse(bad.body)).toEqual({
        jsonrpc: "2.0",
        error: { code: 1, message: "HANDLE_INVALID", data: ["VM", "OpaqueRef:x"] },
        id: 0,
      });
    }));

  test.each([
    ["no id", { jsonrpc: "2.0", method: "VM.get_all", params: [] }],
    ["a null id", { id: null, method: "VM.get_all", params: [] }],
    ["an unknown version", { jsonrpc: "3.0", id: 1, method: "VM.get_all", params: [] }],
    ["no params in version 1", { id: 1, method: "VM.get_all" }],
    ["no method", { id: 1, params: [] }],
  ])("%s is an HTTP 500 page", (_what, call) =>
    withSimulator(async ({ url }) => {
      const reply = await post(url, "/jsonrpc", JSON.stringify(call));
      expect(reply).toMatchObject({
        status: 500,
        type: "text/html",
        body: expect.stringContaining("<h1>HTTP 500 internal server error</h1>"),
      });
    }),
  );

  test("an error from before dispatch has the shape of version 2 with a bare array and id 0", () =>
    withSimulator(async (simulator, rpc) => {
      simulator.fault({ message: "VM.get_all", code: "HOST_STILL_BOOTING", params: [] });
      const reply = await post(simulator.url, "/jsonrpc", JSON.stringify({ id: 9, method: "VM.get_all", params: [rpc.session] }));
      expect(JSON.parse(reply.body)).toEqual({ jsonrpc: "2.0", error: ["HOST_STILL_BOOTING"], id: 0 });
    }));

  test("text that is not UTF-8 is refused by name", () =>
    withSimulator(async ({ url }, rpc) => {
      const call = Buffer.concat([
        Buffer.from(`{"id":1,"method":"VM.get_by_name_label","params":["${rpc.session}","`),
        Buffer.from([0xff, 0xfe]),
        Buffer.from('"]}'),
      ]);
      const response = await fetch(`${url}/jsonrpc`, { method: "POST", body: call });
      expect(((await response.json()) as { error: string[] }).error.slice(0, 2)).toEqual([
        "INVALID_VALUE",
        "Invalid UTF-8 string in parameter",
      ]);
    }));
});

describe("XML-RPC", () => {
  test.each(["/", "/RPC2", "/xmlrpc", "/json"])("is served at %s, with integers that look like strings", (path) =>
    withSimulator(async ({ url, password }) => {
      const session =
        /OpaqueRef:[-\w]+/.exec((await post(url, path, xml("session.login_with_password", "root", password))).body)?.[0] ?? "";
      const reply = await post(url, path, xml("host.get_all_records", session));
      expect(reply.type).toBe("text/xml");
      expect(reply.body).toContain("<member><name>Status</name><value>Success</value></member>");
      expect(reply.body).toContain("<name>API_version_major</name><value>2</value>");
      expect(reply.body).toContain("<name>enabled</name><value><boolean>1</boolean></value>");
      expect(reply.body).toMatch(
        /<name>last_software_update<\/name><value><dateTime.iso8601>\d{8}T\d\d:\d\d:\d\dZ<\/dateTime.iso8601><\/value>/,
      );
    }),
  );

  test("a failure is a struct of strings, never a fault", () =>
    withSimulator(async ({ url }, rpc) => {
      const reply = await post(url, "/", xml("VM.get_record", rpc.session, "OpaqueRef:&lt;x&gt;"));
      expect(reply.status).toBe(200);
      expect(reply.body).toContain("<name>Status</name><value>Failure</value>");
      expect(reply.body).toContain("<value>HANDLE_INVALID</value><value>VM</value><value>OpaqueRef:&lt;x&gt;</value>");
    }));

  test("system.listMethods answers the bare array, without a session", () =>
    withSimulator(async ({ url }) => {
      const { body } = await post(url, "/", xml("system.listMethods"));
      expect(body).not.toContain("Status");
      expect(body).toContain("<value>VM.get_all_records</value>");
    }));

  test("typed and untyped parameters are both read, and the counts of event.from are tagged integers", () =>
    withSimulator(async ({ url }, rpc) => {
      const { body } = await post(
        url,
        "/",
        xml(
          "event.from",
          `<string>${rpc.session}</string>`,
          "<array><data><value>pool</value></data></array>",
          "<string></string>",
          "<double>1.5</double>",
        ),
      );
      expect(body).toContain("<name>pool</name><value><i4>1</i4></value>");
      expect(body).toMatch(/<name>id<\/name><value>\d+<\/value>/);
    }));
});

describe("HTTP", () => {
  test("the method must be known and the path have a handler", () =>
    withSimulator(async ({ url }) => {
      expect(await raw(url, "BREW / HTTP/1.1\r\n\r\n")).toMatch(/^HTTP\/1.1 501 /);
      expect(await raw(url, "PUT /nothing HTTP/1.1\r\nconnection: close\r\n\r\n")).toMatch(/^HTTP\/1.1 403 /);
      expect(await raw(url, "GET /nothing HTTP/1.1\r\nconnection: close\r\n\r\n")).toMatch(/^HTTP\/1.1 404 /);
      expect(await raw(url, "GET / HTTP/1.1\r\nconnection: close\r\n\r\n")).toMatch(/^HTTP\/1.1 200 /);
    }));

  test("a head of more than 1024 bytes is refused with 431", () =>
    withSimulator(async ({ url }) => {
      expect(await raw(url, `GET / HTTP/1.1\r\nx: ${"a".repeat(1100)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
    }));

  test("an RPC body needs a length and may have 300 KiB", () =>
    withSimulator(async ({ url }) => {
      expect(await raw(url, "POST /jsonrpc HTTP/1.1\r\nconnection: close\r\n\r\n")).toMatch(/^HTTP\/1.1 500 /);
      expect(await raw(url, `POST /jsonrpc HTTP/1.1\r\nconnection: close\r\ncontent-length: ${301 * 1024}\r\n\r\n`)).toMatch(
        /^HTTP\/1.1 500 /,
      );
    }));

  test("two requests share a connection, and a preflight is answered", () =>
    withSimulator(async ({ url }) => {
      const answer = await raw(url, "OPTIONS /jsonrpc HTTP/1.1\r\n\r\nOPTIONS / HTTP/1.1\r\nconnection: close\r\n\r\n");
      expect(answer.match(/access-control-allow-origin: \*/gi)).toHaveLength(2);
    }));

  test("a screenshot needs a session, a role and a running VM", () =>
    withSimulator(async (simulator, rpc) => {
      const vm = await rpc<string>("VM.clone", await named(rpc, "VM", "xenlayer-packaging"), "vm");
      await rpc("VM.set_is_a_template", vm, false);
      const uuid = await rpc<string>("VM.get_uuid", vm);
      const get = (session: string) => fetch(`${simulator.url}/vncsnapshot?uuid=${uuid}`, { headers: { cookie: `session_id=${session}` } });
      expect((await get("OpaqueRef:none")).status).toBe(401);
      expect((await get((await login(simulator, "read-only")).session)).status).toBe(403);
      expect((await get(rpc.session)).status).toBe(500);
      await rpc("VM.start", vm, false, false);
      const picture = await get(rpc.session);
      expect(picture.headers.get("content-type")).toBe("image/jpeg");
      expect(Buffer.from(await picture.arrayBuffer()).subarray(0, 2)).toEqual(Buffer.from([0xff, 0xd8]));
    }));

  test("basic authorization opens a session for the one request", () =>
    withSimulator(async (simulator) => {
      const authorization = `Basic ${Buffer.from(`root:${simulator.password}`).toString("base64")}`;
      const before = simulator.sessions();
      const reply = await fetch(`${simulator.url}/export_raw_vdi?vdi=none`, { headers: { authorization } });
      expect(reply.status).toBe(500);
      expect(simulator.sessions()).toBe(before);
    }));
});

test("passwords, secrets and session references stay out of the log", () =>
  withSimulator(async (simulator, rpc) => {
    await rpc("secret.create", { value: "hush-hush", other_config: {} });
    await jsonCall(simulator.url, "session.login_with_password", ["root", "hush-hush"]).catch(() => {});
    const text = JSON.stringify(simulator.log);
    expect(text).toContain("secret.create");
    expect(text).not.toMatch(/hush-hush|OpaqueRef|xapi-simulator/);
  }));
