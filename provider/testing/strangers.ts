// What others do to our objects behind our back, and with them: renamed, tagged, copied, used, robbed of their marks, deleted, looked at.
import { NULL_REF } from "../xapi/records.ts";
import type { World } from "./world.ts";

export const ACTS = [
  "rename",
  "tag",
  "clone",
  "copy",
  "snapshot",
  "unmark",
  "use",
  "free",
  "destroy disk",
  "destroy machine",
  "look",
] as const;

export type Act = (typeof ACTS)[number];

/** What others do to our objects, without asking. */
export async function stranger(world: World, act: Act, which: number): Promise<string[]> {
  const xapi = await world.xapi();
  const { vdis, records } = await world.look();
  const entries = records.flatMap((record) => [...record.versions].map(([name, entry]) => ({ record, name, entry })));
  const pick = <T>(from: readonly T[]): T | undefined => from[which % Math.max(1, from.length)];
  const ours = vdis
    .filter(({ uuid }) => entries.some(({ entry }) => entry.vdi === uuid || entry.sealed?.evidence === uuid))
    .sort((a, b) => (a.name_label < b.name_label ? -1 : 1));
  const sealed = ours.filter(({ uuid }) => [...world.sealed.values()].some(({ vdi }) => vdi === uuid));
  const free = (uuid: string) => vdis.some((vdi) => vdi.uuid === uuid && vdi.VBDs.length === 0);
  const some = pick(ours);
  const machine = pick(
    world.stage.sim.db
      .all("VM")
      .filter(([, vm]) => vm.power_state === "Halted" && entries.some(({ entry }) => entry.machine?.name === vm.name_label)),
  );
  switch (act) {
    case "rename":
      if (some !== undefined) await xapi.call("VDI.set_name_label", some.$ref, `renamed ${which}`);
      break;
    case "tag":
      if (some !== undefined) await xapi.call("VDI.set_tags", some.$ref, ["mine", ...some.tags]);
      break;
    case "clone":
    case "snapshot":
      if (some !== undefined) world.adopt("VDI", await xapi.call<string>(`VDI.${act}`, some.$ref));
      break;
    case "copy":
      if (some !== undefined && free(some.uuid))
        world.adopt("VDI", await xapi.task<string>("VDI.copy", [some.$ref, some.SR, NULL_REF, NULL_REF]));
      break;
    case "unmark":
      if (some !== undefined) await xapi.call("VDI.set_other_config", some.$ref, {});
      break;
    case "use": {
      const disk = pick(sealed.filter(({ uuid }) => free(uuid)));
      const [template] = await xapi.find("VM", { name_label: "Other install media" });
      if (disk === undefined) break;
      const vm = await xapi.call<string>("VM.clone", template?.$ref, "an image");
      await xapi.call("VM.set_is_a_template", vm, false);
      const drive = { VM: vm, VDI: disk.$ref, userdevice: "0", bootable: true, mode: "RW", type: "Disk", unpluggable: false, empty: false };
      await xapi.call("VBD.create", { ...drive, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} });
      world.adopt("VM", vm);
      break;
    }
    case "free": {
      const vm = pick([...world.foreign].filter(([, { cls }]) => cls === "VM"));
      if (vm === undefined) break;
      world.foreign.delete(vm[0]);
      await xapi.destroy("VM", vm[0]);
      break;
    }
    case "destroy disk": {
      const disk = pick(ours.filter(({ uuid }) => world.usersOf(uuid).length === 0));
      if (disk === undefined || !halted(world, disk.VBDs)) break;
      for (const vbd of disk.VBDs) await xapi.destroy("VBD", vbd);
      await xapi.destroy("VDI", disk.$ref);
      for (const [id, { vdi }] of world.sealed) if (vdi === disk.uuid) world.sealed.delete(id);
      for (const { entry } of entries) if (entry.sealed?.evidence === disk.uuid) world.withoutEvidence.add(entry.id);
      break;
    }
    case "destroy machine":
      if (machine !== undefined) await xapi.destroy("VM", machine[0]);
      break;
    case "look":
      // Started by hand, and shut down again.
      if (machine === undefined) break;
      await xapi.task("VM.start", [machine[0], false, false]);
      await xapi.task("VM.hard_shutdown", [machine[0]]);
      break;
  }
  return world.wrongs(await world.look(), new Set());
}

const halted = (world: World, vbds: readonly string[]): boolean =>
  vbds.every((ref) => world.stage.sim.db.find("VM", world.stage.sim.db.get("VBD", ref).VM)?.power_state === "Halted");
