import { X509Certificate } from "node:crypto";
import { inspect } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CancelledError, explain, InputError, XapiError } from "../errors.ts";
import { type Connection, type ConnectOptions, connect, disconnectAll, type Xapi } from "./client.ts";
import { hostRecord, Instead, type Script, type ScriptedHost, scriptedHost, testdata, XapiFault } from "./testing.ts";

const hosts: ScriptedHost[] = [];
let pauses: number[] = [];
const sleep = async (ms: number, signal?: AbortSignal) => {
  pauses.push(ms);
  signal?.throwIfAborted();
};
beforeEach(() => {
  pauses = [];
});
afterEach(async () => {
  await disconnectAll();
  await Promise.all(hosts.splice(0).map((host) => host.close()));
});

const PASSWORD = "correct-horse-battery";
async function host(script?: Script): Promise<ScriptedHost> {
  const made = await scriptedHost(script);
  hosts.push(made);
  return made;
}
function open(address: string | string[], tls?: Connection["tls"], options?: ConnectOptions): Promise<Xapi> {
  return connect({ address, username: "root", password: PASSWORD, tls }, { sleep, ...options });
}
/** The error, which must hold no secret. */
async function failure(promise: Promise<unknown>): Promise<XapiError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(XapiError);
  expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(/correct-horse|OpaqueRef:session/);
  return error as XapiError;
}
const fault =
  (...parts: string[]) =>
  () => {
    throw new XapiFault(...parts);
  };
const instead = (reply: "cut" | number | string) => () => {
  throw new Instead(reply);
};
/** Answers in turn; the last one for ever. */
const inTurn = (...answers: ((params: unknown[]) => unknown)[]) => {
  let n = 0;
  return (params: unknown[]) => answers[Math.min(n++, answers.length - 1)]?.(params);
};
const fingerprint = (certificate: string) => new X509Certificate(testdata(`${certificate}.pem`)).fingerprint256;

describe("who a host is", () => {
  test("a certificate of the given CA is trusted", async () => {
    const { url, asked } = await host({ certificate: "one" });
    const xapi = await open(url, { caCertificate: testdata("ca.pem") });
    expect(xapi.pool).toMatchObject({ productBrand: "XenServer", apiVersion: "2.21", xapi: "24.39", coordinator: { name: "coordinator" } });
    expect(asked).toEqual(["session.login_with_password", "pool.get_all_records", "host.get_all_records"]);
  });

  const refused: [string, Script["certificate"], Connection["tls"], RegExp][] = [
    ["a certificate that nobody vouches for", "elsewhere", undefined, /not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\).*tls\.fingerprints/],
    ["a certificate of a CA that was not given", "one", undefined, /not trusted/],
    ["a certificate of another CA than the one given", "elsewhere", { caCertificate: testdata("ca.pem") }, /not trusted/],
    ["a certificate of the CA for another name", "misnamed", { caCertificate: testdata("ca.pem") }, /for another name/],
    ["a certificate without a pin, when there are pins", "one", { fingerprints: ["00".repeat(32)] }, /not in tls\.fingerprints/],
    [
      "a certificate that neither CA nor pin fits",
      "elsewhere",
      { caCertificate: testdata("ca.pem"), fingerprints: ["00".repeat(32)] },
      /not trusted/,
    ],
  ];
  for (const [name, certificate, tls, expected] of refused) {
    test(`${name} is refused, shown by its fingerprint, and sent nothing`, async () => {
      const { url, heard } = await host({ certificate });
      const error = await failure(open(url, tls));
      expect(error.code).toBe("CERTIFICATE_REFUSED");
      expect(explain(error)).toMatch(expected);
      expect(explain(error)).toContain(fingerprint(`${certificate}`));
      expect(heard).toEqual([]);
    });
  }

  test("a pin is enough, in any spelling, for every host of the pool and each of its connections", async () => {
    const one = await host({ certificate: "elsewhere", closeConnections: true, answers: { "VM.get_all_records": () => ({}) } });
    const two = await host({ certificate: "two" });
    const fingerprints = [fingerprint("two").replaceAll(":", "").toLowerCase(), `SHA256:${fingerprint("elsewhere")}`];
    const xapi = await open(one.url, { fingerprints });
    for (let n = 0; n < 5; n++) await xapi.all("VM");
    await open(two.url, { fingerprints });
    expect(one.asked.filter((method) => method === "VM.get_all_records")).toHaveLength(5);
  });

  test("verification is left out only when that is asked for", async () => {
    const { url } = await host({ certificate: "elsewhere" });
    await expect(open(url, { verify: false })).resolves.toBeDefined();
  });

  test("a login is never sent where a redirect points", async () => {
    const thief = await host({ certificate: "one" });
    const { url } = await host({ certificate: "one", answers: { "session.login_with_password": instead(`307 ${thief.url}/jsonrpc`) } });
    expect((await failure(open(url, { caCertificate: testdata("ca.pem") }))).code).toBe("REDIRECT_REFUSED");
    expect(thief.heard).toEqual([]);
  });

  test("what is no fingerprint and no certificate is refused by property path", async () => {
    const error = await open("localhost", { fingerprints: ["12:34"], caCertificate: "nonsense" }).catch((reason: unknown) => reason);
    expect((error as InputError).failures.map(({ property }) => property)).toEqual(["tls.fingerprints[0]", "tls.caCertificate"]);
  });
});

describe("an address", () => {
  test("that nothing listens at says so, at once, and what to check", async () => {
    const { url, close } = await host();
    await close();
    const error = await failure(open(url));
    expect(error.code).toBe("ECONNREFUSED");
    expect(explain(error)).toMatch(/127\.0\.0\.1:\d+.*nothing listens there: check the address and port/);
    expect(pauses).toEqual([]);
  });

  test("whose name does not exist says so", async () => {
    expect((await failure(open("no-such-host.invalid"))).code).toMatch(/ENOTFOUND|EAI_AGAIN/);
  });

  test("where something speaks plain HTTP is not XAPI over TLS", async () => {
    const { port } = await host();
    const error = await failure(open(`127.0.0.1:${port}`));
    expect(error.code).toBe("NOT_TLS");
    expect(explain(error)).toMatch(/http:\/\/…/);
  });

  test.each([
    ["a web page", instead("<html>hello</html>")],
    ["a refusal", instead(404)],
    ["JSON of something else", instead('{"hello":1}')],
  ])("where %s answers is no XAPI", async (_, answer) => {
    const { url } = await host({ answers: { "session.login_with_password": answer } });
    const error = await failure(open(url));
    expect(error.code).toBe("NOT_A_XAPI");
    expect(explain(error)).toMatch(/what answers there is not XAPI/);
  });

  test.each(["ftp://host", "https://root:secret@host", "https://host/path", "host:port", ""])("%s is refused", async (address) => {
    const error = await open(address).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).not.toContain("secret");
  });

  test("that fails leaves the turn to the next", async () => {
    const bad = await host({ certificate: "elsewhere" });
    const { url } = await host({ certificate: "one" });
    await open(["https://127.0.0.1:1", bad.url, url], { caCertificate: testdata("ca.pem") });
    expect(bad.heard).toEqual([]);
  });

  test("is not tried after another one refused the password", async () => {
    const one = await host({
      answers: { "session.login_with_password": fault("SESSION_AUTHENTICATION_FAILED", "root", `bad password ${PASSWORD}`) },
    });
    const two = await host();
    const error = await failure(open([one.url, two.url]));
    expect(error.code).toBe("SESSION_AUTHENTICATION_FAILED");
    expect(explain(error)).toMatch(/wrong username or password: check `username`/);
    expect(one.asked).toEqual(["session.login_with_password"]);
    expect(two.asked).toEqual([]);
  });

  test("when none can be used, each is named with its reason", async () => {
    const bad = await host({ certificate: "elsewhere" });
    const error = await failure(open(["https://127.0.0.1:1", bad.url]));
    expect(error.message).toMatch(/127\.0\.0\.1:1: nothing listens there/);
    expect(error.message).toContain(`127.0.0.1:${bad.port}: its certificate`);
  });
});

describe("the coordinator", () => {
  test("is found through a pool member, on the same port", async () => {
    const member = await host({ answers: { "session.login_with_password": fault("HOST_IS_SLAVE", "127.0.0.2") } });
    const coordinator = await host({ address: "127.0.0.2", port: member.port });
    await open(member.url);
    expect(coordinator.asked).toContain("session.login_with_password");
  });

  test("that a member names, but that can't be reached, is named with the member", async () => {
    const member = await host({ answers: { "session.login_with_password": fault("HOST_IS_SLAVE", "127.0.0.3") } });
    const error = await failure(open(member.url));
    expect(error.code).toBe("ECONNREFUSED");
    expect(error.message).toContain(`127.0.0.1:${member.port} is a pool member and names 127.0.0.3:${member.port} as its coordinator`);
  });

  test("is found again when it moves in mid-work, by what the old one says", async () => {
    const old = await host({
      answers: {
        "host.get_all_records": () => ({
          "OpaqueRef:coordinator": hostRecord("127.0.0.1", "a"),
          "OpaqueRef:b": hostRecord("127.0.0.2", "b"),
        }),
        "session.login_with_password": inTurn(() => "OpaqueRef:session-old", fault("HOST_IS_SLAVE", "127.0.0.2")),
        "VM.start": fault("HOST_IS_SLAVE", "127.0.0.2"),
      },
    });
    const next = await host({ address: "127.0.0.2", port: old.port, answers: { "VM.start": () => "" } });
    const xapi = await open(old.url);
    await xapi.call("VM.start", "OpaqueRef:vm", false, false);
    expect(next.asked).toContain("VM.start");
  });

  test("is found again when it dies, through the members that it had named", async () => {
    const old = await host({
      answers: {
        "host.get_all_records": () => ({
          "OpaqueRef:coordinator": hostRecord("127.0.0.1", "a"),
          "OpaqueRef:b": hostRecord("127.0.0.2", "b"),
        }),
      },
    });
    const next = await host({ address: "127.0.0.2", port: old.port, answers: { "VM.get_all_records": () => ({}) } });
    const xapi = await open(old.url);
    await old.close();
    expect(await xapi.all("VM")).toEqual([]);
    expect(next.asked).toContain("VM.get_all_records");
  });

  test("that is starting is waited for, also when it says so in its odd form", async () => {
    const odd = instead('{"jsonrpc":"2.0","error":["HOST_STILL_BOOTING"],"id":0}');
    const { url } = await host({
      answers: { "session.login_with_password": inTurn(odd, fault("HOST_STILL_BOOTING"), () => "OpaqueRef:session-x") },
    });
    await open(url);
    expect(pauses).toEqual([5000, 5000]);
  });
});

describe("a session", () => {
  test("is opened once for all who ask for the same pool and account, with our name on it", async () => {
    const { url, asked, params } = await host();
    await Promise.all([open(url), open(url), open(url)]);
    expect(asked.filter((method) => method === "session.login_with_password")).toHaveLength(1);
    expect(params[0]).toEqual(["root", PASSWORD, "1.0", "xenlayer"]);
  });

  test("that XAPI has dropped is opened anew, and the call repeated", async () => {
    const { url, asked } = await host({ answers: { "VM.start": inTurn(fault("SESSION_INVALID", "OpaqueRef:session-1"), () => "") } });
    const xapi = await open(url);
    await xapi.call("VM.start", "OpaqueRef:vm", false, false);
    expect(asked.filter((method) => method === "session.login_with_password")).toHaveLength(2);
    expect(asked.filter((method) => method === "VM.start")).toHaveLength(2);
  });

  test("that is dropped each time is given up, and its reference not shown", async () => {
    const { url } = await host({ answers: { "VM.start": fault("SESSION_INVALID", "OpaqueRef:session-1") } });
    const xapi = await open(url);
    expect((await failure(xapi.call("VM.start", "OpaqueRef:vm", false, false))).code).toBe("SESSION_INVALID");
  });

  test("is closed when nobody has used it for a moment, and opened again when needed", async () => {
    const { url, asked } = await host({ answers: { "VM.get_all_records": () => ({}) } });
    const xapi = await open(url, undefined, { idleMs: 1 });
    await expect.poll(() => asked).toContain("session.logout");
    await xapi.all("VM");
    expect(asked.filter((method) => method === "session.login_with_password")).toHaveLength(2);
  });

  test("is closed by disconnectAll", async () => {
    const { url, asked } = await host();
    await open(url);
    await disconnectAll();
    expect(asked.at(-1)).toBe("session.logout");
  });
});

describe("a call that fails", () => {
  const one = async (method: string, ...answers: ((params: unknown[]) => unknown)[]) => {
    const made = await host({ answers: { [method]: inTurn(...answers) } });
    const xapi = await open(made.url);
    return { xapi, times: () => made.asked.filter((asked) => asked === method).length };
  };

  test("because the pool is busy is repeated, after the pauses of the table", async () => {
    const { xapi, times } = await one(
      "VM.clone",
      fault("TOO_MANY_PENDING_TASKS"),
      fault("OTHER_OPERATION_IN_PROGRESS", "VM", "x"),
      () => "OpaqueRef:new",
    );
    expect(await xapi.call("VM.clone", "OpaqueRef:vm", "new")).toBe("OpaqueRef:new");
    expect(times()).toBe(3);
    expect(pauses).toEqual([5000, 5000]);
  });

  test("for long is given up with XAPI's code and what it means", async () => {
    const { xapi } = await one("VM.clone", fault("OTHER_OPERATION_IN_PROGRESS", "VM", "OpaqueRef:vm"));
    const error = await failure(xapi.call("VM.clone", "OpaqueRef:vm", "new"));
    expect(error).toMatchObject({ method: "VM.clone", code: "OTHER_OPERATION_IN_PROGRESS", params: ["VM", "OpaqueRef:vm"] });
    expect(error.hint).toMatch(/something else works on the same object/);
    expect(pauses).toHaveLength(5);
  });

  test("for good names the object that its error speaks of, and is not masked where that can't be told", async () => {
    const vdi = { uuid: "d15c", name_label: `win11 ${PASSWORD} 1.0`, current_operations: { "OpaqueRef:task": "copy" } };
    const answers: [refusal: string[], record: () => unknown, shown: string][] = [
      [["VDI_IN_USE", "OpaqueRef:vdi", "destroy"], () => vdi, 'VDI_IN_USE (VDI "win11 … 1.0" (d15c), busy with copy, destroy)'],
      [
        ["OTHER_OPERATION_IN_PROGRESS", "VDI", "OpaqueRef:vdi", "copy"],
        () => ({ uuid: "d15c" }),
        "OTHER_OPERATION_IN_PROGRESS (VDI d15c, copy)",
      ],
      [["VDI_IN_USE", "OpaqueRef:vdi", "destroy"], fault("HANDLE_INVALID", "VDI", "OpaqueRef:vdi"), "VDI_IN_USE (OpaqueRef:vdi, destroy)"],
      [["VDI_IN_USE", "OpaqueRef:vdi", "destroy"], () => null, "VDI_IN_USE (OpaqueRef:vdi, destroy)"],
      [["HANDLE_INVALID", "VDI", "OpaqueRef:vdi"], () => expect.fail(), "HANDLE_INVALID (VDI, OpaqueRef:vdi)"],
      [["MAP_DUPLICATE_KEY", "VDI", "OpaqueRef:vdi", "key"], () => expect.fail(), "MAP_DUPLICATE_KEY (VDI, OpaqueRef:vdi, key)"],
    ];
    for (const [[code = "", ...params], record, shown] of answers) {
      const { url } = await host({ answers: { "VM.start": fault(code, ...params), "VDI.get_record": record } });
      const xapi = await open(url);
      const error = await failure(xapi.call("VM.start", "OpaqueRef:vm", false, false));
      expect(error).toMatchObject({ message: `VM.start failed: ${shown}`, params });
    }
  });

  test("for good is not repeated", async () => {
    const { xapi, times } = await one("VM.start", fault("NO_HOSTS_AVAILABLE"));
    expect(explain(await failure(xapi.call("VM.start", "OpaqueRef:vm", false, false)))).toMatch(
      /^VM\.start failed: NO_HOSTS_AVAILABLE\. Hint: no host can start/,
    );
    expect(times()).toBe(1);
  });

  test("is not repeated after an abort", async () => {
    const abort = new AbortController();
    const { xapi, times } = await one("VM.clone", () => {
      abort.abort(new Error("stop"));
      throw new XapiFault("TOO_MANY_PENDING_TASKS");
    });
    await expect(xapi.withSignal(abort.signal).call("VM.clone", "OpaqueRef:vm", "new")).rejects.toBeInstanceOf(CancelledError);
    expect(times()).toBe(1);
  });

  test("because the connection was cut is repeated when it only reads", async () => {
    const { xapi, times } = await one("VM.get_power_state", instead("cut"), instead(503), () => "Halted");
    expect(await xapi.call("VM.get_power_state", "OpaqueRef:vm")).toBe("Halted");
    expect(times()).toBe(3);
  });

  test("because the connection was cut is repeated when it takes a key away", async () => {
    const { xapi, times } = await one("VDI.remove_from_other_config", instead("cut"), () => "");
    await xapi.call("VDI.remove_from_other_config", "OpaqueRef:vdi", "key");
    expect(times()).toBe(2);
  });

  test("because the connection was cut is never repeated when it changes something: the outcome is unknown", async () => {
    const { xapi, times } = await one("VM.start", instead("cut"));
    const error = await failure(xapi.call("VM.start", "OpaqueRef:vm", false, false));
    expect(error.code).toBe("OUTCOME_UNKNOWN");
    expect(explain(error)).toMatch(/it may have been done or not: run again/);
    expect(times()).toBe(1);
  });

  test("because the host is too busy to take it is repeated, also when it changes something", async () => {
    const { xapi, times } = await one("VM.start", instead(503), () => "");
    await xapi.call("VM.start", "OpaqueRef:vm", false, false);
    expect(times()).toBe(2);
  });
});

describe("objects", () => {
  const disk = {
    uuid: "u1",
    name_label: "a",
    name_description: "",
    SR: "OpaqueRef:sr",
    VBDs: ["OpaqueRef:NULL", "OpaqueRef:p"],
    virtual_size: "4096",
    physical_utilisation: 0,
    read_only: true,
    is_a_snapshot: false,
    current_operations: {},
    tags: [],
    other_config: {},
    secret_field: 1,
  };

  test("are found by one query, with the names of the database", async () => {
    const { url, params } = await host({ answers: { "VDI.get_all_records_where": () => ({ "OpaqueRef:n": disk }) } });
    const xapi = await open(url);
    const [found] = await xapi.find("VDI", { name_label: "a", read_only: true });
    expect(params.at(-1)?.[1]).toBe('field "name__label" = "a" and field "read_only" = "true"');
    const { secret_field: _, ...known } = disk;
    expect(found).toEqual({ ...known, $ref: "OpaqueRef:n", VBDs: ["OpaqueRef:p"], virtual_size: 4096, is_tools_iso: false });
  });

  test("whose name can't be written in a query are found among all", async () => {
    const quoted = { ...disk, name_label: 'a" or true' };
    const { url, asked } = await host({
      answers: { "VDI.get_all_records": () => ({ "OpaqueRef:n": disk, "OpaqueRef:q": quoted }) },
    });
    const xapi = await open(url);
    expect((await xapi.find("VDI", { name_label: 'a" or true' })).map(({ $ref }) => $ref)).toEqual(["OpaqueRef:q"]);
    expect(asked).not.toContain("VDI.get_all_records_where");
  });

  test("that are not as XAPI has them are an error that names the class", async () => {
    const { url } = await host({ answers: { "VDI.get_all_records": () => ({ "OpaqueRef:n": { ...disk, tags: "none" } }) } });
    const xapi = await open(url);
    const error = await failure(xapi.all("VDI"));
    expect(error.message).toContain("a VDI record");
    expect(explain(error)).toContain("tags");
  });

  test("that are gone are undefined to read, and success to destroy", async () => {
    const { url } = await host({
      answers: {
        "VM.get_all_records_where": () => ({}),
        "VM.get_record": fault("HANDLE_INVALID", "VM", "OpaqueRef:vm"),
        "VM.destroy": fault("HANDLE_INVALID", "VM", "OpaqueRef:vm"),
      },
    });
    const xapi = await open(url);
    expect(await xapi.get("VM", "uuid")).toBeUndefined();
    expect(await xapi.record("VM", "OpaqueRef:vm")).toBeUndefined();
    await xapi.destroy("VM", "OpaqueRef:vm");
  });
});
