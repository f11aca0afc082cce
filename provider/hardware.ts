// Hardware facts that an OS depends on: a layer made on other hardware asks for a restart, or doesn't boot, when the image meets the difference
// (App Layering UNI-50799: another CPU count shows as "reboot required"; a BIOS disk doesn't boot from UEFI).
import type { Rec } from "./xapi/records.ts";

const GiB = 2 ** 30;

export function hardwareOf(vm: Rec<"VM">): Record<string, string> {
  return {
    firmware: vm.HVM_boot_params.firmware ?? "bios",
    secureBoot: vm.platform.secureboot ?? "false",
    vtpm: vm.VTPMs.length > 0 ? "true" : "false",
    vcpus: String(vm.VCPUs_max),
    memoryGiB: String(Math.round((vm.memory_static_max / GiB) * 100) / 100),
    nics: String(vm.VIFs.length),
  };
}

/** What would keep the OS from booting or make its layers differ; memory is free to differ. */
export function hardwareFindings(base: Record<string, string>, machine: Record<string, string>): { errors: string[]; warnings: string[] } {
  const differ = (key: string): string | undefined =>
    base[key] === undefined || machine[key] === undefined || base[key] === machine[key]
      ? undefined
      : `${key} is ${machine[key]}, the OS was made with ${base[key]}`;
  const said = (keys: string[]) => keys.map(differ).filter((text) => text !== undefined);
  return { errors: said(["firmware", "secureBoot", "vtpm"]), warnings: said(["vcpus", "nics"]) };
}
