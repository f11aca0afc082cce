import { describe, expect, test } from "vitest";
import { createVbd, createVdi, createVm, named, through, withSimulator } from "../testing.ts";

const MiB = 1024 ** 2;

describe("VDI", () => {
  test("sizes are rounded up to 2 MiB and bounded as a VHD's", () =>
    withSimulator(async (_simulator, rpc) => {
      expect(await rpc("VDI.get_virtual_size", await createVdi(rpc, { virtual_size: 5_000_000 }))).toBe(6 * MiB);
      expect(await rpc("VDI.get_virtual_size", await createVdi(rpc, { virtual_size: 0 }))).toBe(2 * MiB);
      await expect(createVdi(rpc, { virtual_size: 2041 * 1024 ** 3 })).rejects.toMatchObject({
        code: "SR_BACKEND_FAILURE_79",
        params: ["", "VDI Invalid size [opterr=VDI size must be between 1 MB and 2088960 MB]", ""],
      });
    }));

  test("it is its own location, managed, and listed by its SR", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      const { uuid, location, managed, SR } = await rpc<{ uuid: string; location: string; managed: boolean; SR: string }>(
        "VDI.get_record",
        vdi,
      );
      expect([location, managed]).toEqual([uuid, true]);
      expect(await rpc("SR.get_VDIs", SR)).toContain(vdi);
    }));

  test("an ISO library and an unplugged SR take no disk", () =>
    withSimulator(async (_simulator, rpc) => {
      const isos = await named(rpc, "SR", "Installers");
      await expect(createVdi(rpc, { SR: isos })).rejects.toMatchObject({ code: "SR_OPERATION_NOT_SUPPORTED", params: [isos] });
      const sr = await named(rpc, "SR", "Local storage");
      for (const pbd of await rpc<string[]>("SR.get_PBDs", sr)) await rpc("PBD.unplug", pbd);
      await expect(createVdi(rpc)).rejects.toMatchObject({ code: "SR_HAS_NO_PBDS", params: [sr] });
    }));

  test.each(["clone", "snapshot"])("%s takes over names, tags and other_config, not sm_config, and shares no later write", (method) =>
    withSimulator(async (simulator, rpc) => {
      const vdi = await createVdi(rpc, { name_label: "base", other_config: { a: "b" }, tags: ["t"], sm_config: { own: "1" } });
      simulator.disk(await rpc("VDI.get_uuid", vdi)).write(0, Buffer.from("before"));
      const copy = await rpc<string>(`VDI.${method}`, vdi, {});
      simulator.disk(await rpc("VDI.get_uuid", vdi)).write(0, Buffer.from("after!"));
      const record = await rpc<Record<string, unknown>>("VDI.get_record", copy);
      expect(record).toMatchObject({ name_label: "base", other_config: { a: "b" }, tags: ["t"], is_a_snapshot: method === "snapshot" });
      expect(record.sm_config).not.toHaveProperty("own");
      expect(Buffer.from(simulator.disk(String(record.uuid)).read(0, 6)).toString()).toBe("before");
      expect(await rpc("VDI.get_snapshots", vdi)).toEqual(method === "snapshot" ? [copy] : []);
    }),
  );

  test("copy goes to another SR in full and needs a disk that nobody writes to", () =>
    withSimulator(async (simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      simulator.disk(await rpc("VDI.get_uuid", vdi)).write(4 * MiB, Buffer.from("data"));
      const sr = await rpc<string>("SR.create", (await rpc<string[]>("host.get_all"))[0], {}, 0, "second", "", "nfs", "user", true, {});
      const copy = await rpc.task("VDI.copy", vdi, sr);
      expect(await rpc("VDI.get_SR", copy)).toBe(sr);
      expect(Buffer.from(simulator.disk(await rpc("VDI.get_uuid", copy)).read(4 * MiB, 4)).toString()).toBe("data");
      await rpc("VM.start", vm, false, false);
      await expect(rpc("VDI.copy", vdi, sr)).rejects.toMatchObject({ code: "VDI_IN_USE", params: [vdi, "copy"] });
    }));

  test("a cancelled copy leaves no disk behind", () =>
    withSimulator(
      async (simulator, rpc) => {
        const vdi = await through(simulator, createVdi(rpc, { virtual_size: 600 * MiB }));
        const disk = simulator.disk(await rpc("VDI.get_uuid", vdi));
        for (let at = 0; at < 600; at += 2) disk.write(at * MiB, Buffer.from("x"));
        const task = await rpc<string>("Async.VDI.copy", vdi, await rpc("VDI.get_SR", vdi));
        await simulator.advance(500);
        expect(await rpc("task.get_progress", task)).toBeGreaterThan(0);
        expect(
          await rpc("VDI.get_all_records_where", 'field "name__label" = "disk"').then((found) => Object.keys(found as object)),
        ).toHaveLength(2);
        // What it can't bear is refused at once, not held up.
        await expect(rpc("VDI.destroy", vdi)).rejects.toMatchObject({ code: "VDI_IN_USE", params: [vdi, "destroy"] });
        await expect(rpc("VDI.snapshot", vdi, {})).rejects.toMatchObject({ code: "OPERATION_NOT_ALLOWED" });
        await rpc("task.cancel", task);
        await simulator.advance(2000);
        expect(await rpc("task.get_status", task)).toBe("cancelled");
        expect(await rpc("VDI.get_by_name_label", "disk")).toEqual([vdi]);
        expect(await rpc("VDI.get_VBDs", vdi)).toEqual([]);
      },
      { clock: "stepped" },
    ));

  test("a copy into a disk that is there leaves what only that disk had as it was until its turn comes", () =>
    withSimulator(
      async (simulator, rpc) => {
        const size = 64 * MiB;
        const made = [createVdi(rpc, { virtual_size: size }), createVdi(rpc, { virtual_size: size }), createVdi(rpc)];
        const [from, into, small] = (await through(simulator, Promise.all(made))) as [string, string, string];
        const [source, target] = [simulator.disk(await rpc("VDI.get_uuid", from)), simulator.disk(await rpc("VDI.get_uuid", into))];
        for (let at = 0; at < size; at += 2 * MiB) source.write(at, Buffer.from("new"));
        target.write(60 * MiB, Buffer.from("old"));
        const read = (at: number) => Buffer.from(target.read(at * MiB, 3)).toString();
        await expect(through(simulator, rpc("VDI.copy", from, "OpaqueRef:NULL", "OpaqueRef:NULL", small))).rejects.toMatchObject({
          code: "VDI_TOO_SMALL",
          params: [small, String(size)],
        });
        const task = await rpc<string>("Async.VDI.copy", from, "OpaqueRef:NULL", "OpaqueRef:NULL", into);
        await simulator.advance(150);
        expect([read(0), read(60)]).toEqual(["new", "old"]);
        expect(await rpc("VDI.get_VBDs", into)).toHaveLength(1);
        await simulator.advance(2000);
        expect([await rpc("task.get_status", task), read(0), read(60)]).toEqual(["success", "new", "new"]);
        expect(await rpc("VDI.get_VBDs", into)).toEqual([]);
      },
      { clock: "stepped" },
    ));

  test("names the hidden disk that it stands on, where it stands on one, and no chain gets longer than 30", () =>
    withSimulator(async (simulator, rpc) => {
      const parent = async (vdi: string) => (await rpc<Record<string, string>>("VDI.get_sm_config", vdi))["vhd-parent"];
      const vdi = await createVdi(rpc);
      const uuid = await rpc<string>("VDI.get_uuid", vdi);
      const empty = await rpc<string>("VDI.clone", vdi, {});
      expect([await parent(vdi), await parent(empty)]).toEqual([undefined, undefined]);
      for (let depth = 2; depth <= 30; depth += 1) {
        simulator.disk(uuid).write(0, Buffer.from([depth]));
        const clone = await rpc<string>("VDI.clone", vdi, {});
        expect([await parent(vdi), await parent(clone)]).toEqual([simulator.storage.links(uuid)[1], simulator.storage.links(uuid)[1]]);
      }
      expect(simulator.storage.depth(uuid)).toBe(30);
      for (const method of ["VDI.clone", "VDI.snapshot"])
        await expect(rpc(method, vdi, {})).rejects.toMatchObject({
          code: "SR_BACKEND_FAILURE_109",
          params: ["", "The snapshot chain is too long", ""],
        });
      const short = await rpc.task("VDI.copy", vdi, await rpc("VDI.get_SR", vdi));
      expect([simulator.storage.depth(await rpc("VDI.get_uuid", short)), await parent(short)]).toEqual([1, undefined]);
    }));

  test("an attached disk can't be destroyed or resized; detached ones take their VBDs with them", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vdi, vbd } = await createVm(rpc);
      await rpc("VM.start", vm, false, false);
      await expect(rpc("VDI.destroy", vdi)).rejects.toMatchObject({ code: "VDI_IN_USE", params: [vdi, "destroy"] });
      await expect(rpc("VDI.resize", vdi, 64 * MiB)).rejects.toMatchObject({ code: "VDI_IN_USE", params: [vdi, "resize"] });
      expect(await rpc("VDI.get_allowed_operations", vdi)).not.toContain("destroy");
      await rpc("VM.hard_shutdown", vm);
      await expect(rpc("VDI.resize", vdi, 2 * MiB)).rejects.toMatchObject({
        params: ["", "VDI Invalid size [opterr=shrinking not allowed]", ""],
      });
      await rpc("VDI.resize", vdi, 63 * MiB);
      expect(await rpc("VDI.get_virtual_size", vdi)).toBe(64 * MiB);
      await rpc("VDI.destroy", vdi);
      await expect(rpc("VBD.get_record", vbd)).rejects.toMatchObject({ code: "HANDLE_INVALID", params: ["VBD", vbd] });
      expect(await rpc("VM.get_VBDs", vm)).toEqual([]);
    }));

  test("a storage migration makes a new disk that keeps its names and loses its marks", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      await rpc("VDI.add_to_other_config", vdi, "mark", "1");
      await rpc("VDI.add_tags", vdi, "t");
      const sr = await rpc<string>("SR.create", (await rpc<string[]>("host.get_all"))[0], {}, 0, "second", "", "nfs", "user", true, {});
      const moved = await rpc.task("VDI.pool_migrate", vdi, sr, {});
      expect(await rpc("VDI.get_record", moved)).toMatchObject({ name_label: "disk", other_config: {}, tags: [], SR: sr });
      expect(await rpc("VBD.get_VDI", (await rpc<string[]>("VM.get_VBDs", vm))[0])).toBe(moved);
      await expect(rpc("VDI.get_uuid", vdi)).rejects.toMatchObject({ code: "HANDLE_INVALID" });
    }));

  test("a full SR refuses new disks with SM's error 44", () =>
    withSimulator(async (_simulator, rpc) => {
      const sr = await named(rpc, "SR", "Local storage");
      await rpc("SR.set_physical_size", sr, 1 * MiB);
      await expect(createVdi(rpc)).rejects.toMatchObject({
        code: "SR_BACKEND_FAILURE_44",
        params: ["", "There is insufficient space", ""],
      });
    }));
});

describe("VBD", () => {
  test("positions may not clash, whatever their spelling, and autodetect takes the first free one", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm } = await createVm(rpc); // has 0
      const vdi = await createVdi(rpc);
      await expect(createVbd(rpc, vm, vdi, { userdevice: "xvda" })).rejects.toMatchObject({
        code: "DEVICE_ALREADY_EXISTS",
        params: ["xvda"],
      });
      await expect(createVbd(rpc, vm, vdi, { userdevice: "soon" })).rejects.toMatchObject({ code: "INVALID_DEVICE", params: ["soon"] });
      expect(await rpc("VBD.get_userdevice", await createVbd(rpc, vm, vdi))).toBe("1");
    }));

  test("only a CD may be empty, and it must be read-only", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc);
      await expect(createVbd(rpc, vm, vdi, { type: "CD" })).rejects.toMatchObject({ code: "VBD_CDS_MUST_BE_READONLY" });
      await expect(createVbd(rpc, vm, "OpaqueRef:NULL", { empty: true })).rejects.toMatchObject({
        code: "VBD_NOT_REMOVABLE_MEDIA",
        params: ["in constructor"],
      });
      const cd = await createVbd(rpc, vm, "OpaqueRef:NULL", { type: "CD", mode: "RO", empty: true, userdevice: "3" });
      const iso = await named(rpc, "VDI", "guest-tools.iso");
      await expect(rpc("VBD.eject", cd)).rejects.toMatchObject({ code: "VBD_IS_EMPTY", params: [cd] });
      await rpc("VBD.insert", cd, iso);
      await expect(rpc("VBD.insert", cd, iso)).rejects.toMatchObject({ code: "VBD_NOT_EMPTY" });
      expect(await rpc("VBD.get_record", cd)).toMatchObject({ VDI: iso, empty: false });
      await rpc("VBD.eject", cd);
    }));

  test("a disk that is not sharable is written by one VM only", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vdi } = await createVm(rpc, "one");
      const { vm: other } = await createVm(rpc, "two");
      await createVbd(rpc, other, vdi);
      await rpc("VM.start", vm, false, false);
      await expect(rpc("VM.start", other, false, false)).rejects.toMatchObject({ code: "VDI_IN_USE", params: [vdi] });
      expect(await rpc("VM.get_power_state", other)).toBe("Halted");
    }));

  test("plugging needs a running VM with PV drivers, destroying a detached VBD", () =>
    withSimulator(async (_simulator, rpc) => {
      const { vm, vbd } = await createVm(rpc);
      const extra = await createVbd(rpc, vm, await createVdi(rpc));
      await expect(rpc("VBD.plug", extra)).rejects.toMatchObject({ code: "VM_BAD_POWER_STATE", params: [vm, "running", "halted"] });
      await rpc("VM.start", vm, false, false);
      const late = await createVbd(rpc, vm, await createVdi(rpc));
      await expect(rpc("VBD.plug", late)).rejects.toMatchObject({ code: "VM_MISSING_PV_DRIVERS", params: [vm] });
      await expect(rpc("VBD.plug", extra)).rejects.toMatchObject({ code: "DEVICE_ALREADY_ATTACHED", params: [extra] });
      await expect(rpc("VBD.destroy", vbd)).rejects.toMatchObject({
        code: "OPERATION_NOT_ALLOWED",
        params: [expect.stringContaining("still attached to")],
      });
      await rpc("VBD.destroy", late);
    }));
});
