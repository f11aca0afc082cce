import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { classes, emptyValue } from "./datamodel.ts";
import { type Simulator, startSimulator } from "./index.ts";
import { createVdi, login, named, post, type Rpc, withSimulator } from "./testing.ts";

describe("parameters", () => {
  test("a wrong number is refused with what was expected and received, the session not counted", () =>
    withSimulator(async (_simulator, rpc) => {
      await expect(rpc("VM.get_record")).rejects.toMatchObject({
        code: "MESSAGE_PARAMETER_COUNT_MISMATCH",
        params: ["VM.get_record", "1", "0"],
      });
      await expect(rpc("VM.start", "x")).rejects.toMatchObject({ params: ["VM.start", "3", "1"] });
      await expect(rpc("VM.get_uuid", "a", "b")).rejects.toMatchObject({ params: ["VM.get_uuid", "1", "2"] });
    }));

  test("optional ones may be left out, and where there are any, more than all pass", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      await rpc("VDI.clone", vdi);
      await rpc("VDI.clone", vdi, {});
      await rpc("VDI.clone", vdi, {}, "surplus");
    }));

  test.each([
    ["VDI.set_name_label", 5, "Expected string, got 'I(5)'"],
    ["VDI.set_tags", "a", "Expected array, got 'S(a)'"],
    ["VDI.set_other_config", [], "Expected dictionary, got '[]'"],
    ["VDI.set_allow_caching", "true", "Expected bool, got 'S(true)'"],
    ["VDI.resize", "big", "Expected int64, got 'S(big)'"],
  ])("%s(%j) is an INTERNAL_ERROR with the unmarshaller's text", (method, value, text) =>
    withSimulator(async (_simulator, rpc) => {
      await expect(rpc(method, await createVdi(rpc), value)).rejects.toMatchObject({
        code: "INTERNAL_ERROR",
        params: [`Failure("${text}")`],
      });
    }),
  );

  test("an integer may come as decimal text, an enum must be known", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      await rpc("VDI.resize", vdi, "33554432");
      expect(await rpc("VDI.get_virtual_size", vdi)).toBe(33554432);
      await expect(rpc("VDI.set_on_boot", vdi, "sometimes")).rejects.toMatchObject({ code: "INTERNAL_ERROR" });
    }));

  test("a constructor ignores keys it does not know and names a required one that is missing", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc, {
        nonsense: 1,
        physical_utilisation: 99,
        snapshot_time: "0001-01-01T00:00:00Z",
        name_description: null,
      });
      expect(await rpc("VDI.get_name_description", vdi)).toBe("");
      await expect(rpc("VDI.create", { name_label: "x" })).rejects.toMatchObject({
        code: "INTERNAL_ERROR",
        params: [expect.stringContaining("Dispatcher_FieldNotFound")],
      });
      await expect(rpc("VDI.create", "x")).rejects.toMatchObject({ code: "INTERNAL_ERROR" });
    }));
});

describe("names", () => {
  test("an unknown message is unknown, to those who may call extensions; without parameters at once", () =>
    withSimulator(async (simulator, rpc) => {
      await expect(rpc.plain("VM.fly")).rejects.toMatchObject({ code: "MESSAGE_METHOD_UNKNOWN", params: ["VM.fly"] });
      await expect(rpc("VM.fly")).rejects.toMatchObject({ code: "MESSAGE_METHOD_UNKNOWN" });
      await expect(rpc.plain("VM.fly", "OpaqueRef:none")).rejects.toMatchObject({ code: "SESSION_INVALID" });
      const operator = await login(simulator, "vm-operator");
      await expect(operator("VM.fly")).rejects.toMatchObject({ code: "RBAC_PERMISSION_DENIED" });
    }));

  test("a message that is known but not written is refused by its name, also a hidden one", () =>
    withSimulator(async (_simulator, rpc) => {
      const vm = await named(rpc, "VM", "xenlayer-packaging");
      await expect(rpc("VM.suspend", vm)).rejects.toMatchObject({ code: "NOT_IMPLEMENTED", params: ["VM.suspend"] });
      await expect(rpc("VDI.checksum", "x")).rejects.toMatchObject({ code: "NOT_IMPLEMENTED", params: ["VDI.checksum"] });
      await expect(rpc("Bond.create", vm, [], "", "lacp", {})).rejects.toMatchObject({ code: "NOT_IMPLEMENTED", params: ["Bond.create"] });
      await expect(rpc("host.destroy", vm)).rejects.toMatchObject({ code: "NOT_IMPLEMENTED" });
      await expect(rpc("event.register", ["*"])).rejects.toMatchObject({ code: "NOT_IMPLEMENTED", params: ["event.register"] });
    }));

  test("VM_get_all is VM.get_all, and a message without async form has none", () =>
    withSimulator(async (_simulator, rpc) => {
      expect(await rpc("VM_get_all")).toEqual(await rpc("VM.get_all"));
      await expect(rpc("Async.VM.get_all")).rejects.toMatchObject({
        code: "Fault",
        params: ["No async mode for this operation (rpc: Async.VM.get_all)"],
      });
    }));

  test("a removed message says so, a getter of a removed field still answers", () =>
    withSimulator(async (_simulator, rpc) => {
      await expect(rpc("host.reset_cpu_features", "OpaqueRef:NULL")).rejects.toMatchObject({ code: "MESSAGE_REMOVED", params: [] });
      const [metrics] = await rpc<string[]>("host_metrics.get_all");
      expect(await rpc("host_metrics.get_memory_free", metrics)).toBeGreaterThan(0);
    }));
});

describe("every class", () => {
  const sample = (simulator: Simulator, name: string) => simulator.db.createRow(name, {});

  // They only read: one simulator does for all.
  let simulator: Simulator;
  let rpc: Rpc;
  beforeAll(async () => {
    simulator = await startSimulator();
    rpc = await login(simulator);
  });
  afterAll(() => simulator.close());

  test.each(
    [...classes.values()]
      .filter((model) => model.fields.size > 0 && model.messages.has("get_record"))
      .map((model) => [model.name, model] as const),
  )("%s: each getter answers its part of the record, over both wires", async (name, model) => {
    const ref = name === "session" ? rpc.session : sample(simulator, name);
    const record = await rpc<Record<string, unknown>>(`${name}.get_record`, ref);
    const getters: string[] = [];
    for (const [field, { type }] of model.fields) {
      expect(Object.hasOwn(record, field) || type.endsWith(" option"), `${name}.${field}`).toBe(true);
      if (model.messages.has(`get_${field}`)) getters.push(field);
    }
    const values = await Promise.all(getters.map((field) => rpc(`${name}.get_${field}`, ref)));
    for (const [index, field] of getters.entries()) expect(values[index], field).toEqual(record[field]);
    const call = `<methodCall><methodName>${name}.get_record</methodName><params><param><value>${rpc.session}</value></param><param><value>${ref}</value></param></params></methodCall>`;
    const { body } = await post(simulator.url, "/", call);
    for (const field of model.fields.keys()) if (record[field] !== undefined) expect(body).toContain(`<name>${field}</name>`);
    if (model.getAll) {
      expect(await rpc(`${name}.get_all`)).toContain(ref);
      expect(await rpc(`${name}.get_all_records`)).toHaveProperty([ref], record);
    }
    if (model.messages.has("get_by_uuid")) expect(await rpc(`${name}.get_by_uuid`, record.uuid)).toBe(ref);
  });

  test("every writable field can be written as it is read, unless a rule of its class forbids it", () =>
    withSimulator(async (simulator, rpc) => {
      for (const model of classes.values()) {
        const setters = [...model.fields].filter(
          ([field, { qualifier }]) => qualifier === "rw" && model.messages.get(`set_${field}`)?.implicit,
        );
        if (setters.length === 0) continue;
        const ref = sample(simulator, model.name);
        for (const [field, { type, default: initial }] of setters)
          await rpc(`${model.name}.set_${field}`, ref, initial ?? emptyValue(type));
      }
    }));
});

describe("maps and sets", () => {
  test("adding a key that is there fails even with the same value; removing one that is not passes", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      await rpc("VDI.add_to_other_config", vdi, "lock.1", "me");
      const error = { code: "MAP_DUPLICATE_KEY", params: ["VDI", "other_config", vdi, "lock.1"] };
      await expect(rpc("VDI.add_to_other_config", vdi, "lock.1", "me")).rejects.toMatchObject(error);
      await rpc("VDI.remove_from_other_config", vdi, "never");
      await rpc("VDI.remove_from_other_config", vdi, "lock.1");
      expect(await rpc("VDI.get_other_config", vdi)).toEqual({});
    }));

  test("of two that add the same key at once, one wins", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      const outcomes = await Promise.allSettled(["a", "b", "c"].map((who) => rpc("VDI.add_to_other_config", vdi, "lock", who)));
      expect(outcomes.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(1);
    }));

  test("adding a tag twice leaves one", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      await rpc("VDI.add_tags", vdi, "a");
      await rpc("VDI.add_tags", vdi, "a");
      expect(await rpc("VDI.get_tags", vdi)).toEqual(["a"]);
    }));
});

describe("roles", () => {
  test.each([
    ["read-only", "VM.get_all_records", true],
    ["read-only", "VM.start", false],
    ["vm-operator", "VM.start", true],
    ["vm-operator", "VM.clone", false],
    ["vm-admin", "VM.clone", true],
    ["vm-admin", "VM.snapshot", false],
    ["vm-power-admin", "VM.snapshot", true],
    ["vm-power-admin", "SR.forget", false],
    ["pool-operator", "SR.forget", true],
    ["pool-operator", "host.call_plugin", false],
    ["pool-admin", "host.call_plugin", true],
  ])("%s calling %s: %s", (role, method, allowed) =>
    withSimulator(async (simulator) => {
      const rpc = await login(simulator, role);
      const [cls = "", name = ""] = method.split(".");
      const params = (classes.get(cls)?.messages.get(name)?.params ?? []).map(({ type }) => emptyValue(type));
      const outcome = await rpc(method, ...params).then(
        () => "done",
        (error: { code: string; params: string[] }) =>
          error.code === "RBAC_PERMISSION_DENIED" ? error.params[0] : "refused for another reason",
      );
      if (allowed) expect(outcome).not.toBe(method.toLowerCase());
      else expect(outcome).toBe(method.toLowerCase());
    }),
  );

  test("the refusal names the permission and who has it", () =>
    withSimulator(async (simulator, root) => {
      const rpc = await login(simulator, "vm-operator");
      const vdi = await createVdi(root);
      await expect(rpc("VDI.destroy", vdi)).rejects.toMatchObject({
        params: [
          "vdi.destroy",
          "No permission in user session. (Roles with this permission: pool-admin, pool-operator, vm-power-admin, vm-admin)",
        ],
      });
      await rpc("VDI.add_to_other_config", vdi, "folder", "/a"); // this key is a vm-operator's
      await expect(rpc("VDI.add_to_other_config", vdi, "other", "x")).rejects.toMatchObject({ code: "RBAC_PERMISSION_DENIED" });
    }));

  test("what the storage manager alone may set is refused to root too", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      for (const method of ["VDI.set_read_only", "VDI.set_sharable"]) {
        await expect(rpc(method, vdi, true)).rejects.toMatchObject({ code: "PERMISSION_DENIED", params: [""] });
      }
    }));
});

describe("sessions", () => {
  test("a wrong password and an unknown user are refused alike", () =>
    withSimulator(async ({ password }, rpc) => {
      await expect(rpc.plain("session.login_with_password", "root", "no")).rejects.toMatchObject({ code: "SESSION_AUTHENTICATION_FAILED" });
      await expect(rpc.plain("session.login_with_password", "nobody", password)).rejects.toMatchObject({
        code: "SESSION_AUTHENTICATION_FAILED",
      });
    }));

  test("logging out ends a session, and only that", () =>
    withSimulator(async (simulator, rpc) => {
      const other = await login(simulator);
      await other("session.logout");
      await expect(other("VM.get_all")).rejects.toMatchObject({ code: "SESSION_INVALID", params: [other.session] });
      await rpc("VM.get_all");
      expect(simulator.sessions()).toBe(1);
    }));

  test("of one originator, the oldest session above 500 goes", () =>
    withSimulator(async (simulator, rpc) => {
      const { db, password } = simulator;
      for (let count = db.refs("session").length; count < 500; count += 1)
        await rpc.plain("session.login_with_password", "root", password, "1.1", "tests");
      await rpc("pool.get_all");
      await rpc.plain("session.login_with_password", "root", password, "1.1", "tests");
      await expect(rpc("pool.get_all")).rejects.toMatchObject({ code: "SESSION_INVALID" });
      expect(simulator.sessions()).toBe(500);
    }));
});

test("every written message is one of the datamodel", async () => {
  for (const cls of ["event", "host", "message", "network", "PBD", "role", "session", "SR", "task", "VBD", "VDI", "VIF", "VM", "VTPM"]) {
    const written = (await import(`./classes/${cls}.ts`)) as Record<string, Record<string, unknown>>;
    for (const name of Object.keys(written[cls] ?? {})) {
      const known = classes.get(cls)?.messages.has(name);
      expect(known, `${cls}.${name}`).toBe(true);
    }
  }
});
