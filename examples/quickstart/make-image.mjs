// Writes the disk image of a Windows that the simulator can boot: a partition table, a FAT file system, and in it a file that says which installers there are
// and what each does. On a real pool, give the path of the VHD, raw or QCOW2 image of a real Windows instead.
import { makeGuestImage } from "pulumi-xenlayer/simulator";

const path = process.argv[2] ?? "windows-11.raw";

await makeGuestImage(path, {
  sizeMiB: 256,
  label: "WINDOWS",
  files: { "Users/Public/Documents/readme.txt": "The operating system, as it was installed.\r\n" },
  descriptor: {
    guest: "windows",
    bootstrap: "xenlayer",
    kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 3 },
    programs: [
      {
        match: "msiexec /i D:\\managementagent-x64.msi",
        requiresMedia: "installers.iso",
        seconds: 60,
        exitCode: 3010,
        pending: ["driver-reboot"],
        installsTools: { version: "9.4.0", drivers: { xenbus: "9.1.9.105", xenvbd: "9.1.8.79", xennet: "9.1.5.50" } },
        files: { "Program Files/XenServer/XenTools/version.txt": "9.4.0\r\n", "InstallLogs/managementagent.log": "installed\r\n" },
      },
      {
        match: "D:\\PVS_Device_x64.exe",
        requiresMedia: "installers.iso",
        seconds: 90,
        files: { "Program Files/Citrix/Provisioning Services/version.txt": "2402\r\n", "InstallLogs/pvs.log": "installed\r\n" },
        services: ["BNDevice"],
      },
      ...["2402", "2407"].map((release) => ({
        match: `D:\\VDAWorkstationSetup_${release}.exe`,
        requiresMedia: "installers.iso",
        seconds: 240,
        output: `Virtual Delivery Agent ${release} is installed.\n`,
        files: { "Program Files/Citrix/Virtual Delivery Agent/version.txt": `${release}\r\n`, "InstallLogs/vda.log": "installed\r\n" },
        services: ["BrokerAgent"],
        ngenSeconds: 120,
      })),
    ],
  },
});
console.log(`${path}: a disk image of 256 MiB`);
