import { describe, expect, test } from "vitest";
import { withStage } from "../provider/testing.ts";
import { permissionFor, permissionForHttp, permissionsOf, ROLES, rolesWith } from "./permissions.ts";
import { login, withSimulator } from "./testing.ts";

const recordOf = (user: string, simulator: Parameters<typeof login>[0]) =>
  login(simulator, user).then((rpc) => rpc<{ is_local_superuser: boolean; rbac_permissions: string[] }>("session.get_record", rpc.session));

describe("the permissions of a session", () => {
  test("are its role's for a subject, and none for the local superuser, who needs none", () =>
    withSimulator(async (simulator) => {
      expect(await recordOf("root", simulator)).toMatchObject({ is_local_superuser: true, rbac_permissions: [] });
      const { is_local_superuser, rbac_permissions } = await recordOf("vm-admin", simulator);
      expect(is_local_superuser).toBe(false);
      expect(rbac_permissions).toEqual(permissionsOf("vm-admin"));
    }));

  test("are the ones that XAPI names", () => {
    const named = ["vdi.create", "vm.get_all_records_where", "http/put_import_raw_vdi", "http/get_export_raw_vdi", "http/get_vncsnapshot"];
    expect(permissionsOf("vm-admin")).toEqual(expect.arrayContaining([...named, "vm.add_to_other_config/key:xencenter.customfields.*"]));
    for (const denied of ["vm.snapshot", "sr.scan", "task.destroy/any", "http/put_blob", "vm.add_to_other_config/key:pci"])
      expect(permissionsOf("vm-admin")).not.toContain(denied);
    expect(permissionsOf("pool-admin").filter((name) => name !== name.toLowerCase())).toEqual([]);
    expect(permissionsOf("nobody")).toEqual([]);
  });

  test("of each role include those of all below it", () => {
    for (const [rank, role] of ROLES.entries()) {
      const own = new Set(permissionsOf(role));
      for (const lower of ROLES.slice(rank)) expect(permissionsOf(lower).filter((name) => !own.has(name))).toEqual([]);
      expect(own.size).toBeGreaterThan(permissionsOf(ROLES[rank + 1] ?? "none").length);
    }
    expect(rolesWith("vdi.create")).toEqual(["pool-admin", "pool-operator", "vm-power-admin", "vm-admin"]);
    expect(rolesWith("host.get_my_own")).toEqual([]);
  });

  test("stay as they were at login when the subject's roles change", () =>
    withSimulator(async (simulator, rpc) => {
      const operator = await login(simulator, "vm-operator");
      const [subject] = Object.keys(await rpc<object>("subject.get_all_records_where", 'field "subject_identifier" = "u:vm-operator"'));
      const [admin] = await rpc<string[]>("role.get_by_name_label", "vm-admin");
      await rpc("subject.add_to_roles", subject, admin);
      const destroy = ["VDI.destroy", "OpaqueRef:none"] as const;
      await expect(operator(...destroy)).rejects.toMatchObject({
        code: "RBAC_PERMISSION_DENIED",
        params: ["vdi.destroy", expect.any(String)],
      });
      await expect((await login(simulator, "vm-operator"))(...destroy)).rejects.toMatchObject({ code: "HANDLE_INVALID" });
    }));
});

test.each([
  ["VM", "start", "OpaqueRef:x", "vm.start"],
  ["VM", "add_to_other_config", "folder", "vm.add_to_other_config/key:folder"],
  ["VDI", "remove_from_other_config", "XenCenter.CustomFields.owner", "vdi.remove_from_other_config/key:xencenter.customfields.*"],
  ["VDI", "add_to_other_config", "pci", "vdi.add_to_other_config"],
  ["VM", "add_to_platform", "hvm_serial", "vm.add_to_platform/key:hvm_serial"],
])("%s.%s of %s needs %s", (cls, name, key, permission) => {
  expect(permissionFor(cls, name, key)).toBe(permission);
});

describe("over HTTP", () => {
  test("an action is named by its verb and path", () => {
    expect(permissionForHttp("PUT /import_raw_vdi")).toBe("http/put_import_raw_vdi");
  });

  test("who lacks it gets 403, and the task says which permission it is", () =>
    withSimulator(async (simulator) => {
      const rpc = await login(simulator, "vm-operator");
      const task = await rpc<string>("task.create", "upload", "");
      const { status } = await fetch(`${simulator.url}/import_raw_vdi?session_id=${rpc.session}&task_id=${task}&vdi=x`, {
        method: "PUT",
        body: "x",
      });
      expect(status).toBe(403);
      expect(await rpc("task.get_error_info", task)).toEqual([
        "RBAC_PERMISSION_DENIED",
        "http/put_import_raw_vdi",
        "No permission in user session. (Roles with this permission: pool-admin, pool-operator, vm-power-admin, vm-admin)",
      ]);
    }));

  test("a picture of dom0's console is for pool-admins", () =>
    withSimulator(async (simulator) => {
      const [, dom0] = simulator.db.all("VM").find(([, vm]) => vm.is_control_domain) ?? [];
      const status = async (user: string) => {
        const { session } = await login(simulator, user);
        return (await fetch(`${simulator.url}/vncsnapshot?session_id=${session}&uuid=${dom0?.uuid}`)).status;
      };
      expect([await status("pool-operator"), await status("pool-admin")]).toEqual([500, 200]);
    }));
});

describe("the provider's connector test, which reads them", () => {
  const find = (username: string) =>
    new Promise<{ failures: { property: string; reason: string }[]; told: string[] }>((resolve, reject) => {
      withStage(async (stage) => {
        const { failures } = await stage.check("ConnectorConfig", stage.connector({ username }));
        resolve({ failures, told: stage.told });
      }).catch(reject);
    });

  test("finds nothing wrong with a vm-admin, but for what only higher roles may", async () => {
    const { failures, told } = await find("vm-admin");
    expect(failures).toEqual([]);
    expect(told).toEqual([expect.anything(), expect.stringContaining("vm.set_memory_limits"), expect.anything()]);
  });

  test("names, under username, what a vm-operator lacks", async () => {
    const { failures } = await find("vm-operator");
    expect(failures.map(({ property }) => property)).toEqual(["username"]);
    for (const lacking of ["vdi.create", "vm.clone", "vbd.create", "http/put_import_raw_vdi", "http/get_export_raw_vdi"])
      expect(failures[0]?.reason).toContain(lacking);
    expect(failures[0]?.reason).not.toContain("vm.start");
  });
});
