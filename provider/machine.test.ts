// The packaging machine as it stands on the pool, made the hard way: with everything that a program can ask for.
import { expect, it } from "vitest";
import type { ConnectorCredentials } from "./resource.ts";
import { connectFor } from "./session.ts";
import { halfMade, Story, step, withStage } from "./testing.ts";

it("is the template's clone with what the program asks for, and gives nobody a way to spoil the disk", async () => {
  await withStage(
    async (stage) => {
      const story = await Story.begin(stage);
      const xapi = await connectFor(stage.front, story.connector as unknown as ConnectorCredentials);
      const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
      await xapi.call("VM.set_actions_after_shutdown", template?.$ref, "restart");
      const network = await xapi.call<string>("network.create", {
        name_label: "packaging only",
        name_description: "",
        other_config: {},
        MTU: 1500,
      });
      const connector = { ...story.connector, folder: "/layers/packaging", tags: ["ci"], toolsIso: "guest-tools.iso" };
      const layer = await story.layer("plat");
      const disk = await layer.disk("1");
      const wish = {
        machine: { connector, cpus: 3, memoryGiB: 6, network: "packaging only", media: ["installers.iso"], install: [step("fails.exe")] },
      };
      const half = halfMade(await layer.machine(disk, wish).catch((error: unknown) => error));
      const vm = await xapi.get("VM", String(half.outputs.vmUuid));
      expect(vm).toMatchObject({
        name_label: expect.stringMatching(/^plat 1 packaging [0-9a-f]{8}$/),
        power_state: "Halted",
        is_a_template: false,
        actions_after_shutdown: "destroy",
        ha_restart_priority: "",
        VCPUs_max: 3,
        memory_static_max: 6 * 2 ** 30,
        other_config: { folder: "/layers/packaging" },
        tags: expect.arrayContaining(["packaging", "ci", "xenlayer", "Packaging Machine", "plat"]),
      });
      expect(stage.sim.db.find("VM", vm?.$ref ?? "")).toMatchObject({ VCPUs_at_startup: 3, memory_dynamic_min: 6 * 2 ** 30 });
      expect(Object.keys(vm?.blocked_operations ?? {}).sort()).toEqual(
        ["snapshot", "checkpoint", "clone", "copy", "export", "suspend", "make_into_template"].sort(),
      );
      expect(Object.values(vm?.blocked_operations ?? {})[0]).toBe("xenlayer is packaging a layer version with this machine: plat 1");
      const drives = await xapi.find("VBD", { VM: vm?.$ref ?? "" });
      const names = await Promise.all(
        drives.map(async ({ userdevice, type, mode, bootable, VDI, other_config }) => {
          // XenCenter would offer to delete a disk with an owner.
          expect(other_config).toEqual({});
          return `${userdevice} ${type} ${mode} ${bootable ? "boots " : ""}${(await xapi.record("VDI", VDI))?.name_label}`;
        }),
      );
      expect(names.sort()).toEqual([
        "0 Disk RW boots plat 1",
        "1 Disk RW plat 1 evidence",
        "2 CD RO installers.iso",
        "3 CD RO guest-tools.iso",
      ]);
      const cards = await xapi.find("VIF", { VM: vm?.$ref ?? "" });
      expect(cards.map((card) => [card.device, card.network])).toEqual([["0", network]]);
      await layer.drop({ disk, machine: half });
      expect(await xapi.get("VM", vm?.uuid ?? "")).toBeUndefined();
      // The template is as it was.
      expect(await xapi.get("VM", template?.uuid ?? "")).toMatchObject({
        tags: ["packaging"],
        VCPUs_max: 2,
        actions_after_shutdown: "restart",
      });
    },
    { pool: "ha" },
  );
});

it("uses the template's own CD drive for the first ISO image", async () => {
  await withStage(async (stage) => {
    const story = await Story.begin(stage);
    const xapi = await connectFor(stage.front, story.connector as unknown as ConnectorCredentials);
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    const drive = {
      VM: template?.$ref,
      VDI: "OpaqueRef:NULL",
      userdevice: "3",
      bootable: false,
      mode: "RO",
      type: "CD",
      unpluggable: true,
      empty: true,
    };
    await xapi.call("VBD.create", { ...drive, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} });
    const layer = await story.layer("plat");
    const disk = await layer.disk("1");
    const wish = { machine: { media: ["installers.iso", "guest-tools.iso"], install: [step("fails.exe")] } };
    const half = halfMade(await layer.machine(disk, wish).catch((error: unknown) => error));
    const vm = await xapi.get("VM", String(half.outputs.vmUuid));
    const drives = (await xapi.find("VBD", { VM: vm?.$ref ?? "" })).filter(({ type }) => type === "CD");
    expect(drives.map(({ userdevice, empty }) => `${userdevice} ${empty}`).sort()).toEqual(["2 false", "3 false"]);
    // A second run finds them where they are.
    const again = halfMade(await stage.up(half, half.inputs).catch((error: unknown) => error));
    expect(await xapi.find("VBD", { VM: vm?.$ref ?? "" })).toHaveLength(4);
    await layer.drop({ disk, machine: again });
  });
});
