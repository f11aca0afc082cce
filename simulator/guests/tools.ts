// What the VM tools of a guest write to xenstore: the keys of the XenServer agents (win-xenguestagent src/xenguestlib/PVInstallation.cs; xe-guest-utilities), as far as
// XAPI reads them (xapi_guest_agent.ml). Before the tools are there a guest writes nothing.
import { createHash } from "node:crypto";
import type { Descriptor, Tools } from "./descriptor.ts";
import type { GuestHost } from "./machine.ts";

// Drivers that carry the fix for XSA-468.
const WINDOWS_DRIVERS = { xenbus: "9.1.12.94", xeniface: "9.1.13.95", xenvif: "9.1.14.96", xenvbd: "9.1.11.97", xennet: "9.1.9.98" };

export function announceTools(host: GuestHost, { guest, os, hostName }: Descriptor, tools: Tools): void {
  const { xenstore } = host;
  const windows = guest !== "linux";
  const [major = "0", minor = "0", micro = "0", build = "0"] = tools.version.split(".");
  if (windows) {
    const drivers = Object.entries(tools.drivers ?? WINDOWS_DRIVERS);
    for (const [index, [driver, version]] of drivers.entries())
      xenstore.write(`drivers/${index}`, `${tools.vendor} ${driver.toUpperCase()} ${version} `);
  }
  const name = windows ? `Microsoft ${os.name}|C:\\Windows|\\Device\\Harddisk0\\Partition2` : os.name;
  const facts: Record<string, string | undefined> = {
    os_name: name,
    os_uname: os.uname,
    os_distro: os.distro ?? (windows ? "windows" : "debian"),
    os_majorver: os.major?.toString(),
    os_minorver: os.minor?.toString(),
    host_name: hostName,
    host_name_dns: hostName.toLowerCase(),
  };
  for (const [key, text] of Object.entries(facts)) if (text !== undefined && text !== "") xenstore.write(`data/${key}`, text);
  for (const feature of ["feature-shutdown", "feature-poweroff", "feature-reboot"]) xenstore.write(`control/${feature}`, "1");
  if (windows && tools.runScript === true) xenstore.write("control/feature-xs-batcmd", "1");
  const address = addressOf(host.vm.uuid);
  xenstore.write("attr/vif/0/ipv4/0", address);
  // os_* alone wakes nobody: the agents write attr last (xapi watches attr, not data/os_*).
  const versions = { MajorVersion: major, MinorVersion: minor, MicroVersion: micro, BuildVersion: build };
  for (const [key, text] of Object.entries(versions)) xenstore.write(`attr/PVAddons/${key}`, text);
  xenstore.write("attr/PVAddons/Installed", "1");
  xenstore.write("data/updated", new Date(host.clock.now()).toUTCString());
}

/** The same machine gets the same address, from the block for documentation (RFC 5737). */
function addressOf(uuid: string): string {
  const [byte = 0] = createHash("sha256").update(uuid).digest();
  return `192.0.2.${2 + (byte % 250)}`;
}
