import { describe, expect, test } from "vitest";
import { createVdi, createVm, login, through, withSimulator } from "./testing.ts";

describe("tasks", () => {
  test("an Async call answers a pending task at once, which ends with the result as XML-RPC text", () =>
    withSimulator(
      async (simulator, rpc) => {
        const vdi = await through(simulator, createVdi(rpc));
        const task = await rpc<string>("Async.VDI.clone", vdi, {});
        expect(await rpc("task.get_record", task)).toMatchObject({
          name_label: "Async.VDI.clone",
          status: "pending",
          progress: 0,
          result: "",
          error_info: [],
          type: "<none/>",
          backtrace: "()",
          finished: "19700101T00:00:00Z",
        });
        await simulator.advance(1000);
        const { status, result, progress } = await rpc<{ status: string; result: string; progress: number }>("task.get_record", task);
        expect({ status, progress }).toEqual({ status: "success", progress: 1 });
        expect(await rpc("VDI.get_by_name_label", "disk")).toContain(/^<value>(.*)<\/value>$/.exec(result)?.[1]);
      },
      { clock: "stepped" },
    ));

  test("the status is written last", () =>
    withSimulator(async (simulator, rpc) => {
      const vdi = await createVdi(rpc);
      const seen: string[] = [];
      simulator.db.onChange(() => {
        for (const [, task] of simulator.db.all("task"))
          seen.push(`${task.status} ${task.result === "" ? "-" : "result"} ${task.finished.slice(0, 4)}`);
      });
      await rpc.task("VDI.clone", vdi, {});
      expect(seen.findIndex((entry) => entry.startsWith("success"))).toBeGreaterThan(
        seen.findIndex((entry) => /^pending result (?!1970)/.test(entry)),
      );
      expect(seen).not.toContainEqual(expect.stringMatching(/^success - /));
    }));

  test("a failure has its code and parameters; a call without result has an empty value", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      expect(await rpc.task("VM.start", vm, false, false)).toBe("");
      await expect(rpc.task("VDI.destroy", vdi)).rejects.toMatchObject({ code: "VDI_IN_USE", params: [vdi, "destroy"] });
    }));

  test("a synchronous call of a message with async form shows as a task while it runs", () =>
    withSimulator(async (simulator, rpc) => {
      const labels = new Set<string>();
      simulator.db.onChange(() => {
        for (const [, task] of simulator.db.all("task")) labels.add(task.name_label);
      });
      await createVdi(rpc);
      expect(labels).toContain("VDI.create");
      expect(await rpc("task.get_all")).toEqual([]);
    }));

  test("cancelling stops what listens, and leaves nothing half done", () =>
    withSimulator(
      async (simulator, rpc) => {
        const { vm, vbd } = await through(simulator, createVm(rpc));
        const task = await rpc<string>("Async.VM.start", vm, false, false);
        await simulator.advance(500);
        expect(await rpc("VM.get_current_operations", vm)).toEqual({ [task]: "start" });
        await rpc("task.cancel", task);
        await simulator.advance(1);
        expect(await rpc("task.get_status", task)).toBe("cancelled");
        expect(await rpc("VM.get_power_state", vm)).toBe("Halted");
        expect(await rpc("VBD.get_currently_attached", vbd)).toBe(false);
        expect(await rpc("VM.get_current_operations", vm)).toEqual({});
      },
      { clock: "stepped" },
    ));

  test("the tasks of others are for a pool-operator", () =>
    withSimulator(async (simulator, rpc) => {
      const task = await rpc<string>("task.create", "mine", "");
      const operator = await login(simulator, "vm-operator");
      await expect(operator("task.cancel", task)).rejects.toMatchObject({ code: "RBAC_PERMISSION_DENIED" });
      await expect(operator("task.destroy", task)).rejects.toMatchObject({ code: "RBAC_PERMISSION_DENIED" });
      const own = await operator<string>("task.create", "own", "");
      await operator("task.cancel", own);
      await (await login(simulator, "pool-operator"))("task.cancel", task);
    }));

  test("destroying a pending task lets it go when it has ended", () =>
    withSimulator(
      async (simulator, rpc) => {
        const vdi = await through(simulator, createVdi(rpc));
        const task = await rpc<string>("Async.VDI.clone", vdi, {});
        await rpc("task.destroy", task);
        expect(await rpc("task.get_status", task)).toBe("pending");
        await simulator.advance(1000);
        await expect(rpc("task.get_status", task)).rejects.toMatchObject({ code: "HANDLE_INVALID" });
      },
      { clock: "stepped" },
    ));

  test("a client's own task is ended by the client, once", () =>
    withSimulator(async (_simulator, rpc) => {
      const task = await rpc<string>("task.create", "upload", "");
      await rpc("task.set_progress", task, 0.5);
      await rpc("task.set_status", task, "success");
      expect(await rpc("task.get_record", task)).toMatchObject({ progress: 0.5, status: "success", name_label: "upload" });
      await expect(rpc("task.set_status", task, "failure")).rejects.toMatchObject({ code: "OPERATION_NOT_ALLOWED" });
    }));

  test("above 200 tasks the oldest completed ones go", () =>
    withSimulator(async (simulator, rpc) => {
      const vdi = await createVdi(rpc);
      await Promise.all(Array.from({ length: 210 }, (_, count) => rpc("Async.VDI.set_name_label", vdi, `name ${count}`)));
      expect(simulator.db.refs("task").length).toBeLessThanOrEqual(200);
    }));
});
