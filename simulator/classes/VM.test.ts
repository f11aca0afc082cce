import { describe, expect, test } from "vitest";
import type { Simulator } from "../index.ts";
import { createVbd, createVdi, createVm, installGuest, login, named, type Rpc, through, until, withSimulator } from "../testing.ts";

const guest = { guest: "windows", bootstrap: "none", tools: { version: "9.4.0" } } as const;
const bare = { ...guest, tools: false } as const;

describe("power states", () => {
  test("a start passes through its task to Running, and a hard shutdown ends all that came with it", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vbd } = await createVm(rpc);
      await rpc.task("VM.start", vm, false, false);
      const [host] = await rpc<string[]>("host.get_all");
      const running = await rpc<Record<string, unknown>>("VM.get_record", vm);
      expect(running).toMatchObject({
        power_state: "Running",
        resident_on: host,
        domid: expect.any(Number),
        consoles: [expect.any(String)],
        current_operations: {},
      });
      expect(running.allowed_operations).toEqual(expect.arrayContaining(["hard_shutdown", "hard_reboot"]));
      expect(running.allowed_operations).not.toContain("start");
      expect(await rpc("VBD.get_record", vbd)).toMatchObject({ currently_attached: true, device: "xvda" });
      expect(await rpc("console.get_location", (running.consoles as string[])[0])).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/console\?uuid=/);
      await rpc("VM.hard_shutdown", vm);
      expect(await rpc("VM.get_record", vm)).toMatchObject({
        power_state: "Halted",
        domid: -1,
        resident_on: "OpaqueRef:NULL",
        consoles: [],
      });
      expect(await rpc("VBD.get_currently_attached", vbd)).toBe(false);
      expect(Object.values(await rpc<Record<string, { name: string }>>("message.get_all_records")).map((m) => m.name)).toContain(
        "VM_STARTED",
      );
    }));

  test.each([
    ["VM.hard_shutdown", [], "paused, running, suspended", "halted"],
    ["VM.clean_shutdown", [], "running", "halted"],
    ["VM.unpause", [], "paused", "halted"],
  ])("%s of a halted VM says what was wanted and what is", (method, params, wanted, actual) =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await expect(rpc(method, vm, ...params)).rejects.toMatchObject({ code: "VM_BAD_POWER_STATE", params: [vm, wanted, actual] });
    }),
  );

  test("a running VM can't be started, cloned or destroyed; a template can't be started", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await rpc("VM.start", vm, false, false);
      await expect(rpc("VM.start", vm, false, false)).rejects.toMatchObject({
        code: "VM_BAD_POWER_STATE",
        params: [vm, "halted", "running"],
      });
      await expect(rpc("VM.clone", vm, "x")).rejects.toMatchObject({ code: "VM_BAD_POWER_STATE" });
      await expect(rpc("VM.destroy", vm)).rejects.toMatchObject({
        code: "VM_BAD_POWER_STATE",
        params: [vm, "halted, suspended", "running"],
      });
      const template = await named(rpc, "VM", "xenlayer-packaging");
      await expect(rpc("VM.start", template, false, false)).rejects.toMatchObject({ code: "VM_IS_TEMPLATE", params: [template, "start"] });
    }));

  test("blocked operations are refused with their reason, before anything else", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await rpc("VM.add_to_blocked_operations", vm, "start", "being packaged");
      await expect(rpc("VM.start", vm, false, false)).rejects.toMatchObject({ code: "OPERATION_BLOCKED", params: [vm, "being packaged"] });
      expect(await rpc("VM.get_allowed_operations", vm)).not.toContain("start");
      await rpc("VM.remove_from_blocked_operations", vm, "start");
      await rpc("VM.start", vm, false, false);
    }));

  test("a conflicting operation waits for the running one instead of failing", () =>
    withSimulator(
      async (simulator, rpc) => {
        const { vm } = await through(simulator, createVm(rpc));
        const starting = rpc.task("VM.start", vm, false, false);
        const destroying = expect(rpc.task("VM.destroy", vm)).rejects.toMatchObject({ code: "VM_BAD_POWER_STATE" });
        await through(simulator, starting);
        await through(simulator, destroying);
        expect(await rpc("VM.get_power_state", vm)).toBe("Running");
      },
      { clock: "stepped" },
    ));

  test("a VM whose network, storage or memory no host has does not start, and the one host says why", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      await rpc("VM.set_memory_limits", vm, 1024 ** 3, 128 * 1024 ** 3, 1024 ** 3, 128 * 1024 ** 3);
      await expect(rpc("VM.start", vm, false, false)).rejects.toMatchObject({ code: "HOST_NOT_ENOUGH_FREE_MEMORY" });
      await rpc("VM.set_memory", vm, 2 * 1024 ** 3);
      const sr = await rpc<string>("VDI.get_SR", vdi);
      for (const pbd of await rpc<string[]>("SR.get_PBDs", sr)) await rpc("PBD.unplug", pbd);
      await expect(rpc("VM.start", vm, false, false)).rejects.toMatchObject({ code: "VM_REQUIRES_SR", params: [vm, sr] });
      expect(await rpc("VM.get_possible_hosts", vm)).toEqual([]);
    }));
});

describe("guests", () => {
  test("guest metrics are gone at the start, there soon after, and tell the tools that report", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      await installGuest(simulator, rpc, vdi, guest);
      await rpc("VM.start", vm, false, false);
      const { guest_metrics } = await until(rpc, "VM", vm, (record) => record.guest_metrics !== "OpaqueRef:NULL");
      const metrics = await until(rpc, "VM_guest_metrics", String(guest_metrics), (record) => record.PV_drivers_detected === true);
      expect(metrics).toMatchObject({
        live: true,
        PV_drivers_version: expect.objectContaining({ major: "9", minor: "4" }),
        other: expect.objectContaining({ "feature-shutdown": "1" }),
      });
      expect(await rpc("VM.get_allowed_operations", vm)).toContain("clean_shutdown");
      await rpc("VM.clean_shutdown", vm);
      expect(await rpc("VM.get_power_state", vm)).toBe("Halted");
      await rpc("VM.start", vm, false, false);
      await expect(rpc("VM_guest_metrics.get_uuid", guest_metrics)).rejects.toMatchObject({ code: "HANDLE_INVALID" });
    }));

  test("a clean reboot brings a new domain with new metrics", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      await installGuest(simulator, rpc, vdi, guest);
      await rpc("VM.start", vm, false, false);
      const before = await until(rpc, "VM", vm, (record) => (record.allowed_operations as string[]).includes("clean_reboot"));
      await rpc("VM.clean_reboot", vm);
      const after = await until(
        rpc,
        "VM",
        vm,
        (record) => record.guest_metrics !== "OpaqueRef:NULL" && record.guest_metrics !== before.guest_metrics,
      );
      expect(after).toMatchObject({ power_state: "Running" });
      expect(after.domid).not.toBe(before.domid);
    }));

  test("a guest without tools acknowledges no shutdown; VM.shutdown then does it hard", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      await installGuest(simulator, rpc, vdi, bare);
      await rpc("VM.start", vm, false, false);
      expect(await rpc("VM.get_allowed_operations", vm)).not.toContain("clean_shutdown");
      await expect(rpc("VM.clean_shutdown", vm)).rejects.toMatchObject({ code: "VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT", params: [vm] });
      expect(await rpc("VM.get_power_state", vm)).toBe("Running");
      await rpc("VM.shutdown", vm);
      expect(await rpc("VM.get_power_state", vm)).toBe("Halted");
    }));

  test("a disk without a guest runs for ever in silence; its metrics stay empty", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await rpc("VM.start", vm, false, false);
      const { guest_metrics } = await until(rpc, "VM", vm, (record) => record.guest_metrics !== "OpaqueRef:NULL");
      expect(await rpc("VM_guest_metrics.get_record", guest_metrics)).toMatchObject({
        PV_drivers_detected: false,
        os_version: {},
        other: {},
      });
      expect(simulator.guestLog.map((entry) => entry.line)).toEqual(["nothing boots from the system disk"]);
    }));

  test("xenstore_data of a running VM reaches the domain, and comes back as the whole tree", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await rpc("VM.set_xenstore_data", vm, { "vm-data/a/b": "1", other: "dropped" });
      await rpc("VM.start", vm, false, false);
      const { xenstore_data } = await until(rpc, "VM", vm, (record) => "vm-data" in (record.xenstore_data as object));
      expect(xenstore_data).toEqual({ "vm-data": "", "vm-data/a": "", "vm-data/a/b": "1" });
    }));

  test("HA takes a shutdown from inside for a failure and starts a protected VM again", () =>
    withSimulator(
      async (simulator, rpc) => {
        const vm = await rpc<string>("VM.clone", await named(rpc, "VM", "xenlayer-packaging"), "vm");
        await rpc("VM.set_is_a_template", vm, false);
        const vdi = await createVdi(rpc, { SR: await named(rpc, "SR", "Shared NFS") });
        await createVbd(rpc, vm, vdi, { bootable: true });
        await installGuest(simulator, rpc, vdi, guest);
        simulator.db.update("VM", vm, { ha_always_run: true, ha_restart_priority: "restart" });
        await rpc("VM.start", vm, false, false);
        const { domid } = await until(rpc, "VM", vm, (record) => (record.allowed_operations as string[]).includes("clean_shutdown"));
        await simulator.console(await rpc("VM.get_uuid", vm)).type("shutdown /s /t 0");
        const again = await until(rpc, "VM", vm, (record) => record.domid !== domid);
        expect(again.power_state).toBe("Running");
      },
      { pool: "ha" },
    ));
});

describe("settings", () => {
  test("making a template of a VM destroys its metrics; unmaking it sets the time of installation", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await rpc("VM.set_is_a_template", vm, true);
      expect(await rpc("VM.get_metrics", vm)).toBe("OpaqueRef:NULL");
      await rpc("VM.set_is_a_template", vm, false);
      expect(await rpc("VM_metrics.get_install_time", await rpc("VM.get_metrics", vm))).not.toBe("19700101T00:00:00Z");
    }));

  test("destroying a VM leaves its disks, takes the rest; a default template stays", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vdi, vbd } = await createVm(rpc);
      const [vif] = await rpc<string[]>("VM.get_VIFs", vm);
      await rpc("VM.destroy", vm);
      await expect(rpc("VBD.get_uuid", vbd)).rejects.toMatchObject({ code: "HANDLE_INVALID" });
      await expect(rpc("VIF.get_uuid", vif)).rejects.toMatchObject({ code: "HANDLE_INVALID" });
      expect(await rpc("VDI.get_VBDs", vdi)).toEqual([]);
      await expect(rpc("VM.destroy", await named(rpc, "VM", "Windows 11"))).rejects.toMatchObject({
        code: "VM_CANNOT_DELETE_DEFAULT_TEMPLATE",
        params: [],
      });
    }));

  test("memory limits must be in order, and vCPUs within their maximum", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await expect(rpc("VM.set_memory_dynamic_max", vm, 2 ** 40)).rejects.toMatchObject({ code: "MEMORY_CONSTRAINT_VIOLATION" });
      await expect(rpc("VM.set_VCPUs_at_startup", vm, 9)).rejects.toMatchObject({
        code: "INVALID_VALUE",
        params: ["VCPUs_at_startup", "9"],
      });
      await rpc("VM.set_VCPUs_max", vm, 4);
      await rpc("VM.set_VCPUs_at_startup", vm, 4);
      await rpc("VM.start", vm, false, false);
      await expect(rpc("VM.set_VCPUs_max", vm, 8)).rejects.toMatchObject({ code: "VM_BAD_POWER_STATE" });
    }));

  test("a VIF without MAC needs the VM's seed, and its device must be free", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc);
      const network = await named(rpc, "network", "Pool-wide network associated with eth0");
      const vif = { VM: vm, network, device: "0", MAC: "", MTU: 1500, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} };
      await expect(rpc("VIF.create", vif)).rejects.toMatchObject({ code: "DEVICE_ALREADY_EXISTS", params: ["0"] });
      await expect(rpc("VIF.create", { ...vif, device: "1", locking_mode: "" })).rejects.toMatchObject({ code: "INTERNAL_ERROR" });
      await rpc("VM.remove_from_other_config", vm, "mac_seed");
      await expect(rpc("VIF.create", { ...vif, device: "1" })).rejects.toMatchObject({ code: "MAC_INVALID", params: [""] });
    }));

  const AGENT = "guest-agent-operation";
  const wish = (script: string) => ({ username: "x", password: "x", script });
  const allow = async (rpc: Rpc) => {
    const [pool = ""] = await rpc<string[]>("pool.get_all");
    await rpc("pool.add_to_other_config", pool, "allow_guest_agent_run_script", "true");
  };
  const plugin = (rpc: Rpc, vm: string, script: string) => rpc<string>("VM.call_plugin", vm, AGENT, "run-script", wish(script));
  /** The interval between two calls, in the simulator's time. */
  const interval = (simulator: Simulator) => simulator.clock.sleep(10_000);

  test("call_plugin knows its own plugin and takes one call in 10 seconds, of which one that fails is one", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await rpc("VM.start", vm, false, false);
      const operator = await login(simulator, "vm-operator");
      for (const _ of [1, 2])
        await expect(operator("VM.call_plugin", vm, "other", "x", {})).rejects.toMatchObject({
          code: "XENAPI_MISSING_PLUGIN",
          params: ["other"],
        });
      await expect(operator("VM.call_plugin", vm, AGENT, "fly", {})).rejects.toMatchObject({
        code: "XENAPI_PLUGIN_FAILURE",
        params: ["failed to find fn", expect.any(String), expect.any(String)],
      });
      await expect(operator("VM.call_plugin", vm, AGENT, "fly", {})).rejects.toMatchObject({
        code: "VM_CALL_PLUGIN_RATE_LIMIT",
        params: [vm, "10.", expect.stringMatching(/^\d+(\.\d+)?$/)],
      });
      await interval(simulator);
      await expect(operator("VM.call_plugin", vm, AGENT, "request-rdp-on", {})).rejects.toMatchObject({
        code: "XENAPI_PLUGIN_FAILURE",
        params: ["failed to execute fn", expect.any(String), expect.any(String)],
      });
    }));

  test("run-script asks for the pool's leave, all arguments, the role, a short script and a guest that offers it, in this order", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await rpc("VM.start", vm, false, false);
      const [operator, power] = [await login(simulator, "vm-operator"), await login(simulator, "vm-power-admin")];
      await expect(plugin(operator, vm, "x")).rejects.toMatchObject({ code: "FEATURE_RESTRICTED", params: [] });
      await allow(rpc);
      await interval(simulator);
      await expect(operator("VM.call_plugin", vm, AGENT, "run-script", { username: "x", script: "x" })).rejects.toMatchObject({
        code: "XENAPI_PLUGIN_FAILURE",
        params: ["missing argument", "", "Argument password is required."],
      });
      await interval(simulator);
      await expect(plugin(operator, vm, "x".repeat(1025))).rejects.toMatchObject({
        code: "RBAC_PERMISSION_DENIED",
        params: ["vm.call_plugin", expect.stringContaining("must have VM power admin role")],
      });
      await interval(simulator);
      await expect(plugin(power, vm, "x".repeat(1025))).rejects.toMatchObject({
        code: "XENAPI_PLUGIN_FAILURE",
        params: ["length restriction", "", expect.any(String)],
      });
      await interval(simulator);
      await expect(plugin(power, vm, "x".repeat(1024))).rejects.toMatchObject({
        code: "NOT_IMPLEMENTED",
        params: ["run-script is not supported on the given VM (or it is still booting)"],
      });
    }));

  test("run-script runs in the guest as its system account, joins its lines, and cuts what is too long", () =>
    withSimulator(async (simulator, rpc) => {
      await allow(rpc);
      const program = { match: "talks.exe", output: "y".repeat(2000) };
      const lasting = { match: "lasts.exe", never: true as const };
      const { vm, vdi } = await createVm(rpc);
      await installGuest(simulator, rpc, vdi, {
        ...guest,
        tools: { version: "9.4.0", runScript: true },
        programs: [program, lasting],
      });
      await rpc("VM.start", vm, false, false);
      const { guest_metrics } = await until(rpc, "VM", vm, (record) => record.guest_metrics !== "OpaqueRef:NULL");
      const offered = (record: Record<string, unknown>) => (record.other as Record<string, string>)["feature-xs-batcmd"] === "1";
      await until(rpc, "VM_guest_metrics", String(guest_metrics), offered);
      const ran = async (script: string) => JSON.parse(await plugin(rpc, vm, script)) as { rc: number; stdout: string; stderr: string };
      expect(await ran("whoami\r\n\r\n& exit 7")).toEqual({ rc: 7, stdout: "nt authority\\system\r\n", stderr: "" });
      await interval(simulator);
      expect(await ran("talks.exe")).toEqual({ rc: 0, stdout: `${"y".repeat(1012)} (truncated)`, stderr: "" });

      // Who gives up leaves it at work: the next one is refused until it has ended.
      await interval(simulator);
      const task = await rpc<string>("Async.VM.call_plugin", vm, AGENT, "run-script", wish("lasts.exe"));
      await until(rpc, "VM", vm, (record) => task in (record.current_operations as object));
      await rpc("task.cancel", task);
      await until(rpc, "task", task, (record) => record.status === "cancelled");
      await interval(simulator);
      await expect(ran("whoami")).rejects.toMatchObject({
        code: "XENAPI_PLUGIN_FAILURE",
        params: [expect.stringMatching(/^A residual run-script/)],
      });
    }));
});
