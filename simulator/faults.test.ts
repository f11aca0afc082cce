import { describe, expect, test } from "vitest";
import { createVdi, createVm, withSimulator } from "./testing.ts";

describe("faults", () => {
  test("a rule fails the message it names, as often as it says, after as many as it says", () =>
    withSimulator(async (simulator, rpc) => {
      simulator.fault({ message: "VDI.create", code: "SR_FULL", params: ["1", "0"], after: 1, times: 2 });
      await createVdi(rpc);
      await expect(createVdi(rpc)).rejects.toMatchObject({ code: "SR_FULL", params: ["1", "0"] });
      await expect(createVdi(rpc)).rejects.toMatchObject({ code: "SR_FULL" });
      await createVdi(rpc);
      expect(await rpc("VDI.get_by_name_label", "disk")).toHaveLength(2);
    }));

  test("a pattern and an object narrow it down; the Async form fails in its task", () =>
    withSimulator(async (simulator, rpc) => {
      const [hit, miss] = [await createVdi(rpc), await createVdi(rpc)];
      simulator.fault({
        message: /^(Async\.)?VDI\.(clone|snapshot)$/,
        object: hit,
        code: "SR_BACKEND_FAILURE_47",
        params: ["", "not available", ""],
      });
      await rpc.task("VDI.clone", miss, {});
      await expect(rpc.task("VDI.snapshot", hit, {})).rejects.toMatchObject({ code: "SR_BACKEND_FAILURE_47" });
      await rpc.task("VDI.snapshot", hit, {});
    }));

  test("afterwards: the work is done and its answer lost", () =>
    withSimulator(async (simulator, rpc) => {
      simulator.fault({ message: "VDI.create", code: "INTERNAL_ERROR", params: ["lost"], when: "after" });
      await expect(createVdi(rpc)).rejects.toMatchObject({ params: ["lost"] });
      expect(await rpc("VDI.get_by_name_label", "disk")).toHaveLength(1);
    }));

  test("a status instead of an answer, and a connection that is cut before or after the work", () =>
    withSimulator(async (simulator, rpc) => {
      simulator.fault({ message: "VM.get_all", http: 503 });
      await expect(rpc("VM.get_all")).rejects.toThrow(/JSON/);
      simulator.fault({ message: "VDI.create", cut: true });
      await expect(createVdi(rpc)).rejects.toThrow("fetch failed");
      expect(await rpc("VDI.get_by_name_label", "disk")).toHaveLength(0);
      simulator.fault({ message: "VDI.create", cut: true, when: "after" });
      await expect(createVdi(rpc)).rejects.toThrow("fetch failed");
      expect(await rpc("VDI.get_by_name_label", "disk")).toHaveLength(1);
      expect(simulator.log.filter((entry) => entry.error?.[0] === "connection")).toHaveLength(3);
    }));

  test("a connection that is cut during a call: the call goes on, as long as it takes, and is done", () =>
    withSimulator(async (simulator, rpc) => {
      const vdi = await createVdi(rpc);
      let end = () => {};
      const happens = () =>
        new Promise<void>((resolve) => {
          end = resolve;
        });
      simulator.fault({ message: "VDI.clone", cut: true, when: "during", happens });
      await expect(rpc("VDI.clone", vdi, {})).rejects.toThrow("fetch failed");
      expect(Object.values(await rpc<object>("VDI.get_current_operations", vdi))).toEqual(["clone"]);
      expect(await rpc("VDI.get_by_name_label", "disk")).toHaveLength(1);
      const second = rpc("VDI.clone", vdi, {});
      end();
      await second;
      expect(await rpc("VDI.get_by_name_label", "disk")).toHaveLength(3);
    }));

  test("a download that breaks off ends early without a word; its task fails", () =>
    withSimulator(async (simulator, rpc) => {
      const vdi = await createVdi(rpc);
      simulator.fault({ message: "GET /export_raw_vdi", cut: { afterBytes: 100_000 } });
      const task = await rpc<string>("task.create", "download", "");
      const reply = await fetch(`${simulator.url}/export_raw_vdi?vdi=${vdi}&format=raw&session_id=${rpc.session}&task_id=${task}`);
      expect((await reply.arrayBuffer()).byteLength).toBe(100_000);
      expect(await rpc("task.get_status", task)).toBe("failure");
    }));

  test("an upload that breaks off fails its task", () =>
    withSimulator(async (simulator, rpc) => {
      const vdi = await createVdi(rpc);
      simulator.fault({ message: "PUT /import_raw_vdi", cut: { afterBytes: 100_000 } });
      const task = await rpc<string>("task.create", "upload", "");
      const body = Buffer.alloc(1024 ** 2, 1);
      await fetch(`${simulator.url}/import_raw_vdi?vdi=${vdi}&session_id=${rpc.session}&task_id=${task}`, { method: "PUT", body }).catch(
        () => {},
      );
      expect(await rpc("task.get_record", task)).toMatchObject({ status: "failure", error_info: ["VDI_IO_ERROR", "Device I/O errors"] });
    }));

  test("an upload can fail after it was received whole", () =>
    withSimulator(async (simulator, rpc) => {
      const vdi = await createVdi(rpc);
      simulator.fault({ message: "PUT /import_raw_vdi", code: "VDI_IO_ERROR", params: ["Device I/O errors"], when: "after" });
      const task = await rpc<string>("task.create", "upload", "");
      const reply = await fetch(`${simulator.url}/import_raw_vdi?vdi=${vdi}&session_id=${rpc.session}&task_id=${task}`, {
        method: "PUT",
        body: Buffer.alloc(4096, 1),
      });
      await reply.arrayBuffer();
      expect(reply.status).toBe(200);
      expect(await rpc("task.get_record", task)).toMatchObject({ status: "failure", error_info: ["VDI_IO_ERROR", "Device I/O errors"] });
    }));

  test("sessions expire on order", () =>
    withSimulator(async (simulator, rpc) => {
      await createVm(rpc);
      expect(simulator.expireSessions()).toBe(1);
      await expect(rpc("VM.get_all")).rejects.toMatchObject({ code: "SESSION_INVALID", params: [rpc.session] });
    }));

  test("something else happens at a call, or when it is done, and the call goes well", () =>
    withSimulator(async (simulator, rpc) => {
      const there = async () => (await rpc<string[]>("VDI.get_by_name_label", "disk")).length;
      const seen: number[] = [];
      const happens = async () => void seen.push(await there());
      simulator.fault({ message: "VDI.create", happens });
      simulator.fault({ message: "VDI.create", happens, when: "after" });
      await createVdi(rpc);
      await createVdi(rpc);
      expect(seen).toEqual([0, 2]);
    }));
});
