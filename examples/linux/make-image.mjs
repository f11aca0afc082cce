// Writes the disk image of a Linux that the simulator can boot: a partition table, a FAT file system, and in it a file that says so.
import { makeGuestImage } from "pulumi-xenlayer/simulator";

const path = process.argv[2] ?? "debian.raw";

await makeGuestImage(path, {
  sizeMiB: 96,
  label: "DEBIAN",
  files: { "etc/issue": "Debian GNU/Linux 12\n" },
  descriptor: { guest: "linux", bootstrap: "xenlayer", os: { name: "Debian GNU/Linux 12", uname: "6.1.0-26-amd64", distro: "debian" } },
});
console.log(`${path}: a disk image of 96 MiB`);
