import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Simulator } from "../index.ts";
import { createVbd, createVdi, createVm, named, type Rpc, withSimulator } from "../testing.ts";

const MiB = 1024 ** 2;

interface Vdi {
  uuid: string;
  name_label: string;
  SR: string;
  location: string;
  virtual_size: number;
}

const createSr = async (rpc: Rpc, type: string) =>
  rpc<string>("SR.create", (await rpc<string[]>("host.get_all"))[0], {}, 0, "layers", "", type, "user", true, {});

/** Unplugs and forgets an SR; answers its uuid. */
async function forget(rpc: Rpc, sr: string): Promise<string> {
  const uuid = await rpc<string>("SR.get_uuid", sr);
  for (const pbd of await rpc<string[]>("SR.get_PBDs", sr)) await rpc("PBD.unplug", pbd);
  await rpc("SR.forget", sr);
  return uuid;
}

/** Introduces it again and plugs it; nothing is scanned yet. */
async function introduce(rpc: Rpc, uuid: string, type: string, content_type = "user"): Promise<string> {
  const sr = await rpc<string>("SR.introduce", uuid, "layers again", "", type, content_type, true, {});
  const [host] = await rpc<string[]>("host.get_all");
  await rpc("PBD.plug", await rpc("PBD.create", { host, SR: sr, device_config: {}, other_config: {} }));
  return sr;
}

const disksOf = async (rpc: Rpc, sr: string) =>
  new Map(
    Object.entries(await rpc<Record<string, Vdi>>("VDI.get_all_records_where", `field "SR" = "${sr}"`)).map(([ref, vdi]) => [
      vdi.uuid,
      { ref, ...vdi },
    ]),
  );
const content = (simulator: Simulator, uuid: string) => Buffer.from(simulator.disk(uuid).read(3 * MiB, 4)).toString();

describe("SR", () => {
  test("SR.scan forgets a disk whose data is gone and measures the rest", () =>
    withSimulator(async (simulator, rpc) => {
      const [lost, kept] = [await createVdi(rpc), await createVdi(rpc)];
      simulator.storage.destroy(await rpc("VDI.get_uuid", lost));
      simulator.disk(await rpc("VDI.get_uuid", kept)).write(0, Buffer.from("x"));
      const sr = await rpc<string>("VDI.get_SR", kept);
      await rpc("SR.scan", sr);
      expect(await rpc("SR.get_VDIs", sr)).toEqual([kept]);
      expect(await rpc("VDI.get_physical_utilisation", kept)).toBeGreaterThan(0);
      expect(await rpc("SR.get_virtual_allocation", sr)).toBe(16 * MiB);
    }));

  test.each([
    ["nfs", { name_label: "", name_description: "", is_a_snapshot: false }],
    ["lvmoiscsi", { name_label: "layer", name_description: "Office 1", is_a_snapshot: false }],
  ])("of type %s: forgotten, introduced, plugged and scanned, its disks are back, without other_config and tags", (type, names) =>
    withSimulator(async (simulator, rpc) => {
      const SR = await createSr(rpc, type);
      const vdi = await createVdi(rpc, { SR, name_label: "l", tags: ["t"], other_config: { mark: "1" }, virtual_size: 20 * MiB });
      await rpc("VDI.set_name_label", vdi, "layer");
      await rpc("VDI.set_name_description", vdi, "Office 1");
      const uuid = await rpc<string>("VDI.get_uuid", vdi);
      simulator.disk(uuid).write(3 * MiB, Buffer.from("data"));
      const snapshot = await rpc<string>("VDI.get_uuid", await rpc("VDI.snapshot", vdi, {}));
      const srUuid = await forget(rpc, SR);
      await expect(rpc("VDI.get_by_uuid", uuid)).rejects.toMatchObject({ code: "UUID_INVALID", params: ["VDI", uuid] });

      const again = await introduce(rpc, srUuid, type);
      expect(await rpc("SR.get_record", again)).toMatchObject({ VDIs: [], physical_size: -1, physical_utilisation: -1 });
      await rpc("SR.scan", again);
      const found = await disksOf(rpc, again);
      expect([...found.keys()].sort()).toEqual([uuid, snapshot].sort());
      const back = found.get(uuid);
      expect(back).toMatchObject({ ...names, virtual_size: 20 * MiB, location: uuid, managed: true, type: "user", read_only: false });
      expect(back).toMatchObject({ other_config: {}, tags: [], sm_config: { "vhd-parent": simulator.storage.links(uuid)[1] } });
      expect(back?.ref).not.toBe(vdi);
      const lvm = type === "lvmoiscsi";
      expect(found.get(snapshot)).toMatchObject({ is_a_snapshot: lvm, snapshot_of: lvm ? back?.ref : "OpaqueRef:NULL" });
      expect([content(simulator, uuid), content(simulator, snapshot)]).toEqual(["data", "data"]);
      expect(await rpc("SR.get_record", again)).toMatchObject({ physical_utilisation: 2 * MiB, virtual_allocation: 40 * MiB });

      await rpc("SR.scan", again);
      expect([...(await disksOf(rpc, again)).values()].map(({ ref }) => ref)).toEqual([...found.values()].map(({ ref }) => ref));
      const { vm } = await createVm(rpc);
      await createVbd(rpc, vm, back?.ref ?? "");
      await rpc("VM.start", vm, false, false);
    }),
  );

  test("a forgotten SR's disks do not show in another one, and a forgotten disk is found or introduced in its own", () =>
    withSimulator(async (_simulator, rpc) => {
      const SR = await createSr(rpc, "nfs");
      const uuid = await rpc<string>("VDI.get_uuid", await createVdi(rpc, { SR }));
      const srUuid = await forget(rpc, SR);
      const other = await named(rpc, "SR", "Local storage");
      await rpc("SR.scan", other);
      expect(await rpc("SR.get_VDIs", other)).toEqual([]);
      const vdiIntroduce = (sr: string) => rpc<string>("VDI.introduce", uuid, "n", "", sr, "user", false, false, {}, uuid);
      await expect(vdiIntroduce(other)).rejects.toMatchObject({
        code: "SR_BACKEND_FAILURE_46",
        params: ["", `The VDI is not available [opterr=VDI ${uuid} not found]`, ""],
      });
      const again = await introduce(rpc, srUuid, "nfs");
      const vdi = await vdiIntroduce(again);
      expect(await rpc("VDI.get_record", vdi)).toMatchObject({ uuid, name_label: "n", virtual_size: 16 * MiB });
      await rpc("VDI.forget", vdi);
      const [pbd] = await rpc<string[]>("SR.get_PBDs", again);
      await rpc("PBD.unplug", pbd);
      await expect(rpc("SR.destroy", again)).rejects.toMatchObject({
        params: ["", "The SR is not empty [opterr=VDIs still exist in SR]", ""],
      });
      await rpc("PBD.plug", pbd);
      await rpc("SR.scan", again);
      expect([...(await disksOf(rpc, again)).keys()]).toEqual([uuid]);
    }));

  test("of ISOs: its files are found again, under new uuids", () =>
    withSimulator(async (_simulator, rpc) => {
      const isos = await named(rpc, "SR", "Installers");
      const before = [...(await disksOf(rpc, isos)).values()];
      const again = await introduce(rpc, await forget(rpc, isos), "iso", "iso");
      await rpc("SR.scan", again);
      const after = [...(await disksOf(rpc, again)).values()];
      const files = (vdis: Vdi[]) => vdis.map(({ location, name_label, virtual_size }) => [location, name_label, virtual_size]).sort();
      expect(files(after)).toEqual(files(before));
      expect(after.filter(({ uuid }) => before.some((old) => old.uuid === uuid))).toEqual([]);
      expect(await rpc("VDI.get_is_tools_iso", await named(rpc, "VDI", "guest-tools.iso"))).toBe(true);
    }));

  test("what it held is found after a restart of the simulator too", async () => {
    const stateDir = mkdtempSync(join(tmpdir(), "xapi-simulator-sr-"));
    try {
      let [uuid, srUuid] = ["", ""];
      await withSimulator(
        async (simulator, rpc) => {
          const SR = await createSr(rpc, "nfs");
          uuid = await rpc("VDI.get_uuid", await createVdi(rpc, { SR }));
          simulator.disk(uuid).write(3 * MiB, Buffer.from("kept"));
          srUuid = await forget(rpc, SR);
        },
        { stateDir },
      );
      await withSimulator(
        async (simulator, rpc) => {
          const sr = await introduce(rpc, srUuid, "nfs");
          await rpc("SR.scan", sr);
          expect([[...(await disksOf(rpc, sr)).keys()], content(simulator, uuid)]).toEqual([[uuid], "kept"]);
        },
        { stateDir },
      );
    } finally {
      rmSync(stateDir, { recursive: true });
    }
  });
});
