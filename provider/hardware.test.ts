import { expect, it } from "vitest";
import { hardwareFindings, hardwareOf } from "./hardware.ts";
import type { Rec } from "./xapi/records.ts";

const made = { firmware: "uefi", secureBoot: "auto", vtpm: "true", vcpus: "2", memoryGiB: "4", nics: "1" };

it("takes the facts from a VM or template as XAPI has them", () => {
  const vm = {
    HVM_boot_params: { firmware: "uefi", order: "cdn" },
    platform: { secureboot: "auto" },
    VTPMs: ["OpaqueRef:1"],
    VCPUs_max: 2,
    memory_static_max: 4 * 2 ** 30,
    VIFs: ["OpaqueRef:2"],
  } as unknown as Rec<"VM">;
  expect(hardwareOf(vm)).toEqual(made);
  // Keys that XAPI leaves out mean its defaults.
  const plain = {
    HVM_boot_params: {},
    platform: {},
    VTPMs: [],
    VCPUs_max: 1,
    memory_static_max: 1.5 * 2 ** 30,
    VIFs: [],
  } as unknown as Rec<"VM">;
  expect(hardwareOf(plain)).toEqual({ firmware: "bios", secureBoot: "false", vtpm: "false", vcpus: "1", memoryGiB: "1.5", nics: "0" });
});

it("refuses what the OS doesn't boot with, warns of what shows in images, and lets memory be", () => {
  expect(hardwareFindings(made, made)).toEqual({ errors: [], warnings: [] });
  expect(hardwareFindings(made, { ...made, memoryGiB: "32" })).toEqual({ errors: [], warnings: [] });
  expect(hardwareFindings(made, { ...made, firmware: "bios", vtpm: "false" }).errors).toEqual([
    "firmware is bios, the OS was made with uefi",
    "vtpm is false, the OS was made with true",
  ]);
  expect(hardwareFindings(made, { ...made, secureBoot: "false" }).errors).toHaveLength(1);
  expect(hardwareFindings(made, { ...made, vcpus: "4", nics: "2" })).toEqual({
    errors: [],
    warnings: ["vcpus is 4, the OS was made with 2", "nics is 2, the OS was made with 1"],
  });
  // A record of before knew fewer facts.
  expect(hardwareFindings({}, made)).toEqual({ errors: [], warnings: [] });
});
