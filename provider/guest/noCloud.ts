// What cloud-init and cloudbase-init read of the payload disk, which is NoCloud's to them: it makes them run the orders, or install what does (bootstrap.ts), and keeps
// them from all else that a new instance would get, as that would go into the layer.
import { LINUX_HOME, linuxFind, WINDOWS_HOME, windowsFind } from "./bootstrap.ts";
import { crlf } from "./cmd.ts";
import type { GuestOs } from "./fact.ts";

export const userData = (os: GuestOs): string => (os === "windows" ? crlf(cloudbaseInit) : cloudInit);

/**
 * NoCloud's network-config. Without one cloud-init would write its fallback for a new instance, which knows the card by its MAC address (net/__init__.py,
 * generate_fallback_config), and images have another. By name netplan takes whatever an image has; where cloud-init writes for others itself, this is eth0, as guests
 * of Xen have it there. What an image says of `network` in /etc/cloud, `config: disabled` too, goes before it (sources/__init__.py, network_config_sources).
 */
export const networkConfig = `version: 2
ethernets:
  eth0:
    match:
      name: "e*"
    dhcp4: true
`;

// cloud-init: scripts-user runs in the final stage (after the network and multi-user.target) and is made to run at every boot, not once an instance: the order's
// restarts come back to it. A new order has a new instance-id, so that runcmd is written anew. Of cloud-init's other modules only those run that make use of a
// grown disk: a new instance would get new host keys, users and a name, all of which would go into the layer (cloudinit/config/modules.py, _read_modules: the
// lists of user-data replace the image's). The order runs as a unit of its own: cloud-final.service is part of the boot, which would last as long as the
// order. Where the bootstrap is installed, too, that runs it, and nobody else.
const cloudInit = `#cloud-config
cloud_init_modules: [growpart, resizefs]
cloud_config_modules: [runcmd]
cloud_final_modules:
  - [scripts-user, always]
runcmd:
  - |
    [ ! -e ${LINUX_HOME}/bootstrap.sh ] || exit 0
${indented(linuxFind)}    systemd-run --quiet --no-block --unit=xenlayer sh "$m/xenlayer/run.sh" 2>/dev/null && exit 0
    exec sh "$m/xenlayer/run.sh"
`;

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, "    ");
}

// cloudbase-init: "rem cmd" makes it a batch file; exit code 1002 means "no reboot now, run this again at the next boot" (plugins/common/execcmd.py). Whatever else it
// hears, as when a restart ends the script, it takes for done. So the script does not last: it installs the bootstrap and leaves all later starts to it.
const cloudbaseInit = `rem cmd
@echo off
if exist "${WINDOWS_HOME}\\bootstrap.cmd" exit /b 1002
${windowsFind("1002")}cmd /d /c "%drive%:\\xenlayer\\bootstrap\\install.cmd"
exit /b 1002
`;
