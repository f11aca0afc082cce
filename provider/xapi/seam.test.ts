// What client.ts leans on inside xen-api, and nothing promises: these fail when another version does it otherwise.
import { createRequire } from "node:module";
import { Agent } from "undici";
import { afterEach, describe, expect, test } from "vitest";
import { Xapi as XenApi } from "xen-api";
import { type Script, type ScriptedHost, scriptedHost, XapiFault } from "./testing.ts";

const hosts: ScriptedHost[] = [];
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.close()));
});
const host = async (script?: Script) => {
  const made = await scriptedHost(script);
  hosts.push(made);
  return made;
};

/** Writes down what the seam is asked. */
function probe(url: string) {
  const urls: string[] = [];
  const calls: string[] = [];
  const sent: string[] = [];
  const dispatcher = new Agent();
  class Probe extends XenApi {
    override _setUrl(target: { protocol: string; hostname: string; port: string | undefined }): void {
      urls.push(`${target.protocol}//${target.hostname}:${target.port}`);
      this._undiciDispatcher = dispatcher;
      super._setUrl(target);
      const stock = this._transport;
      this._transport = (method, args) => {
        sent.push(method);
        return stock(method, args);
      };
    }
    override async _call(method: string, args: readonly unknown[] = [], timeout?: number): Promise<unknown> {
      calls.push(method);
      return super._call(method, args, timeout);
    }
  }
  const client = new Probe({ url, auth: { user: "root", password: "secret" }, watchEvents: false, transport: "json-rpc" });
  return { client, urls, calls, sent, dispatcher };
}

describe("xen-api", () => {
  test("is the version that this was read in", () => {
    const { version } = createRequire(import.meta.url)("xen-api/package.json") as { version: string };
    expect(version).toBe("4.7.6");
  });

  test("calls _setUrl in its constructor, before it sends anything, and keeps what that leaves behind", async () => {
    const { url, asked } = await host();
    const { client, urls, dispatcher } = probe(url);
    expect(urls).toEqual([url]);
    expect(asked).toEqual([]);
    expect(client._undiciDispatcher).toBe(dispatcher);
    expect(client._httpAgent).toBeUndefined();
  });

  test("logs in with all of it through _call, and _call's calls through _transport", async () => {
    const { url } = await host({ answers: { "system.listMethods": () => ["VM.get_all_records"] } });
    const { client, calls, sent } = probe(url);
    await client.connect();
    expect(calls).toEqual(["session.login_with_password", "pool.get_all_records", "system.listMethods"]);
    expect(sent).toEqual(calls);
    expect(client._sessionId).toBe(client.sessionId);
    expect(client.pool.$ref).toBe("OpaqueRef:pool");
    await client.disconnect();
  });

  test("follows a pool member through _setUrl, keeping scheme and port", async () => {
    const member = await host({
      answers: {
        "session.login_with_password": () => {
          throw new XapiFault("HOST_IS_SLAVE", "127.0.0.2");
        },
      },
    });
    const { port } = await host({ address: "127.0.0.2", port: member.port, answers: { "system.listMethods": () => [] } });
    const { client, urls } = probe(member.url);
    await client.connect();
    expect(urls).toEqual([member.url, `http://127.0.0.2:${port}`]);
    await client.disconnect();
  });

  test("sends its stock transport through the dispatcher that _setUrl found", async () => {
    const { url, asked } = await host();
    const { client, dispatcher } = probe(url);
    await dispatcher.destroy();
    await expect(client.connect()).rejects.toThrow(/destroyed/);
    expect(asked).toEqual([]);
  });

  test("logs out by itself only when it has a session id", async () => {
    const { url, asked } = await host({ answers: { "system.listMethods": () => [] } });
    const { client } = probe(url);
    await client.connect();
    client._sessionId = undefined;
    await client.disconnect();
    expect(asked).not.toContain("session.logout");
  });
});
