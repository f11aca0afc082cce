// For tests: machines that people have, with disks of ours or clones of them.
import type { Xapi } from "../xapi/client.ts";

/** Lists the disk in a halted machine of somebody's; answers what removes that machine, without the disk. */
export async function inMachine(xapi: Xapi, vdi: string, name = "an image"): Promise<() => Promise<void>> {
  const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
  const vm = await xapi.call<string>("VM.clone", template?.$ref, name);
  await xapi.call("VM.set_is_a_template", vm, false);
  const drive = { VM: vm, VDI: vdi, userdevice: "0", bootable: true, mode: "RW", type: "Disk", unpluggable: false, empty: false };
  await xapi.call("VBD.create", { ...drive, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} });
  return () => xapi.destroy("VM", vm);
}
