// A guest behind the wire: a machine of the simulated pool boots an image that came in over HTTP, and what XAPI's clients see of it.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { buildOrder } from "../../provider/guest/order.ts";
import { readPayload, writePayload } from "../../provider/guest/payload.ts";
import { judgePackage } from "../../provider/guest/verdict.ts";
import type { Simulator } from "../index.ts";
import { FatVolume } from "../storage/fat.ts";
import { type Rpc, withSimulator } from "../testing.ts";
import { makeGuestImage } from "./image.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "xapi-guest-wire-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A VDI with this content, by PUT /import_raw_vdi. */
async function upload(simulator: Simulator, rpc: Rpc, name: string, content: Uint8Array): Promise<string> {
  const [sr] = Object.keys(await rpc<Record<string, unknown>>("SR.get_all_records_where", 'field "name__label" = "Local storage"'));
  const vdi = await rpc<string>("VDI.create", {
    name_label: name,
    name_description: "",
    SR: sr,
    virtual_size: content.length,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: {},
  });
  const reply = await fetch(`${simulator.url}/import_raw_vdi?session_id=${rpc.session}&vdi=${vdi}&format=raw`, {
    method: "PUT",
    body: content,
  });
  expect(reply.status).toBe(200);
  return vdi;
}

async function machine(rpc: Rpc, vdis: readonly string[]): Promise<string> {
  const [template] = await rpc<string[]>("VM.get_by_name_label", "xenlayer-packaging");
  const vm = await rpc<string>("VM.clone", template, "guest");
  await rpc("VM.provision", vm);
  for (const [userdevice, VDI] of vdis.entries()) {
    const vbd = { VM: vm, VDI, userdevice: String(userdevice), bootable: userdevice === 0, mode: "RW", type: "Disk", empty: false };
    await rpc("VBD.create", { ...vbd, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {}, unpluggable: true });
  }
  return vm;
}

describe("a guest of the pool", () => {
  it("packages by the provider's order, reports its tools, and ends in Halted", async () => {
    const path = join(folder, "windows.img");
    const tools = { version: "9.4.0.146" };
    const programs = [
      { match: "tools.msi", exitCode: 3010, installsTools: tools, pending: ["driver-reboot" as const] },
      { match: "vda.exe", seconds: 600, files: { "Program Files/Citrix/VDA.txt": "2402" } },
    ];
    await makeGuestImage(path, { descriptor: { guest: "windows", bootstrap: "xenlayer", programs }, sizeMiB: 48 });
    const install = ["msiexec /i tools.msi", "vda.exe"].map((run) => ({ name: run, run, shell: "cmd" as const }));
    const order = buildOrder({ order: "package", os: "windows", layer: "l", version: "1", install });
    await withSimulator(
      async (simulator, rpc) => {
        const system = await upload(simulator, rpc, "system", readFileSync(path));
        const payload = await upload(simulator, rpc, "payload", await writePayload({ order }));
        const vm = await machine(rpc, [system, payload]);
        await rpc.task("VM.start", vm, false, false);
        let token = "";
        for (let state = "Running"; state !== "Halted"; state = await rpc<string>("VM.get_power_state", vm)) {
          ({ token } = await rpc<{ token: string }>("event.from", [`VM/${vm}`], token, 20));
        }
        const metrics = await rpc<{ PV_drivers_version: Record<string, string>; networks: Record<string, string> }>(
          "VM_guest_metrics.get_record",
          await rpc("VM.get_guest_metrics", vm),
        );
        expect(metrics.PV_drivers_version).toMatchObject({ major: "9", minor: "4", micro: "0", build: "146" });
        expect(metrics.networks["0/ip"]).toMatch(/^192\.0\.2\.\d+$/);
        const data = await rpc<Record<string, string>>("VM.get_xenstore_data", vm);
        expect(data["vm-data/xenlayer/progress"]).toMatch(new RegExp(`^${order.nonce} 2 \\d+ step 02 done$`));
        const [systemDisk, payloadDisk] = [
          simulator.disk(await rpc("VDI.get_uuid", system)),
          simulator.disk(await rpc("VDI.get_uuid", payload)),
        ];
        expect(judgePackage(order, await readPayload(payloadDisk.read(0, payloadDisk.size)))).toMatchObject({ state: "ready", boots: 2 });
        expect(FatVolume.open(systemDisk)?.readFile("Program Files/Citrix/VDA.txt")).toEqual(new TextEncoder().encode("2402"));
      },
      { clock: "virtual" },
    );
  });
});
