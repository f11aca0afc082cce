import { describe, expect, test } from "vitest";
import type { Records } from "./records.ts";
import { createVbd, createVdi, createVm, named, withSimulator } from "./testing.ts";

type VmRecord = Records["VM"];

const MiB = 1024 ** 2;

describe("a new VM from an old one", () => {
  test("a clone takes over tags, other_config and xenstore_data, gets its own seed, MACs and disks, and stays a template", () =>
    withSimulator(async (_simulator, rpc) => {
      const template = await named(rpc, "VM", "xenlayer-packaging");
      const vdi = await createVdi(rpc);
      await createVbd(rpc, template, vdi);
      await rpc("VM.set_xenstore_data", template, { "vm-data/x": "1" });
      await rpc("VM.add_to_other_config", template, "default_template", "true");
      await rpc("VM.add_to_blocked_operations", template, "destroy", "ours");
      const clone = await rpc<VmRecord>("VM.get_record", await rpc("VM.clone", template, "copy"));
      const source = await rpc<VmRecord>("VM.get_record", template);
      expect(clone).toMatchObject({
        is_a_template: true,
        is_default_template: false,
        tags: ["packaging"],
        xenstore_data: { "vm-data/x": "1" },
        blocked_operations: {},
      });
      expect(clone.other_config).toMatchObject({ base_template_name: "xenlayer-packaging" });
      expect(clone.other_config).not.toHaveProperty("default_template");
      expect(clone.other_config.mac_seed).not.toBe(source.other_config.mac_seed);
      const mac = async ({ VIFs }: VmRecord) => rpc<string>("VIF.get_MAC", VIFs[0]);
      expect(await mac(clone)).toMatch(/^.[26ae](:[0-9a-f]{2}){5}$/);
      expect(await mac(clone)).not.toBe(await mac(source));
      const [vbd] = clone.VBDs;
      expect(await rpc("VBD.get_VDI", vbd)).not.toBe(vdi);
      expect(await rpc("VBD.get_other_config", vbd)).toEqual({ owner: "" });
    }));

  test("a snapshot is a template of its own kind: disks snapshotted, MACs kept, not to be started", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc);
      const snapshot = await rpc<string>("VM.snapshot", vm, "before");
      const record = await rpc<Record<string, unknown>>("VM.get_record", snapshot);
      expect(record).toMatchObject({ is_a_snapshot: true, is_a_template: true, snapshot_of: vm });
      expect(await rpc("VM.get_snapshots", vm)).toEqual([snapshot]);
      expect(await rpc("VIF.get_MAC", (record.VIFs as string[])[0])).toBe(
        await rpc("VIF.get_MAC", (await rpc<string[]>("VM.get_VIFs", vm))[0]),
      );
      await expect(rpc("VM.start", snapshot, false, false)).rejects.toMatchObject({ code: "VM_IS_SNAPSHOT", params: [snapshot, "start"] });
    }));

  test("a failed clone removes the disks it had made", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm } = await createVm(rpc);
      await createVbd(rpc, vm, await createVdi(rpc));
      const before = await rpc<string[]>("VDI.get_all");
      const [, last] = await rpc<string[]>("VM.get_VBDs", vm);
      simulator.storage.destroy(await rpc("VDI.get_uuid", await rpc("VBD.get_VDI", last)));
      await expect(rpc("VM.clone", vm, "copy")).rejects.toMatchObject({ code: expect.any(String) });
      expect(await rpc("VDI.get_all")).toEqual(before);
      expect(await rpc("VM.get_by_name_label", "copy")).toEqual([]);
    }));

  test("a failed copy says why, and removes the disks it had made, also those that dom0 has just let go of", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      const second = await createVdi(rpc);
      await createVbd(rpc, vm, second);
      for (const disk of [vdi, second]) simulator.disk(await rpc("VDI.get_uuid", disk)).write(0, Buffer.from("x"));
      const before = await rpc<string[]>("VDI.get_all");
      const sr = await rpc<string>("VDI.get_SR", vdi);
      await rpc("SR.scan", sr);
      const { physical_utilisation } = await rpc<{ physical_utilisation: number }>("SR.get_record", sr);
      await rpc("SR.set_physical_size", sr, physical_utilisation + 2 * MiB); // room for a copy of one disk
      await expect(rpc.task("VM.copy", vm, "copy", "OpaqueRef:NULL")).rejects.toMatchObject({ code: "SR_BACKEND_FAILURE_44" });
      expect(await rpc("VDI.get_all")).toEqual(before);
      expect([await rpc("VDI.get_VBDs", vdi), await rpc("VDI.get_VBDs", second)]).toEqual([[expect.any(String)], [expect.any(String)]]);
      expect(await rpc("SR.get_physical_utilisation", sr)).toBe(physical_utilisation);
      await rpc("SR.set_physical_size", sr, physical_utilisation + 4 * MiB);
      const copy = await rpc.task("VM.copy", vm, "copy", "OpaqueRef:NULL");
      expect(await rpc("VM.get_VBDs", copy)).toHaveLength(2);
    }));

  test("a default template is provisioned after cloning, with the disks it asks for", () =>
    withSimulator(async (_simulator, rpc) => {
      const vm = await rpc<string>("VM.clone", await named(rpc, "VM", "Windows 11"), "desk");
      await rpc("VM.provision", vm);
      const { is_a_template, VBDs } = await rpc<{ is_a_template: boolean; VBDs: string[] }>("VM.get_record", vm);
      expect([is_a_template, VBDs.length]).toEqual([false, 1]);
      expect(await rpc("VDI.get_virtual_size", await rpc("VBD.get_VDI", VBDs[0]))).toBe(64 * 1024 ** 3);
      await expect(rpc("VM.provision", vm)).rejects.toMatchObject({ code: "ONLY_PROVISION_TEMPLATE" });
    }));
});
