// Writes the disk image of a Windows that the simulator can boot, and that knows the installers of all releases that index.ts names.
import { makeGuestImage } from "pulumi-xenlayer/simulator";

const path = process.argv[2] ?? "windows-11.raw";

await makeGuestImage(path, {
  sizeMiB: 128,
  label: "WINDOWS",
  descriptor: {
    guest: "windows",
    bootstrap: "xenlayer",
    programs: [
      ...["9.3.3", "9.4.0"].map((release) => ({
        match: `msiexec /i D:\\managementagent-${release}-x64.msi`,
        requiresMedia: "installers.iso",
        seconds: 60,
        exitCode: 3010,
        pending: ["driver-reboot"],
        installsTools: { version: release },
        files: { "Program Files/XenServer/XenTools/version.txt": `${release}\r\n` },
      })),
      {
        match: "D:\\VDAWorkstationSetup_2402.exe",
        requiresMedia: "installers.iso",
        seconds: 240,
        files: { "Program Files/Citrix/Virtual Delivery Agent/version.txt": "2402\r\n" },
        services: ["BrokerAgent"],
      },
    ],
  },
});
console.log(`${path}: a disk image of 128 MiB`);
