// Writes the disk image of a Windows that the simulator can boot, and that knows the installer which the engineer will start.
import { makeGuestImage } from "pulumi-xenlayer/simulator";

const path = process.argv[2] ?? "windows-11.raw";

await makeGuestImage(path, {
  sizeMiB: 128,
  label: "WINDOWS",
  descriptor: {
    guest: "windows",
    bootstrap: "xenlayer",
    programs: [
      {
        match: "msiexec /i D:\\managementagent-x64.msi",
        requiresMedia: "installers.iso",
        seconds: 60,
        exitCode: 3010,
        pending: ["driver-reboot"],
        installsTools: { version: "9.4.0" },
        files: { "Program Files/XenServer/XenTools/version.txt": "9.4.0\r\n" },
      },
    ],
  },
});
console.log(`${path}: a disk image of 128 MiB`);
