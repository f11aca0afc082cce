// What Windows says about its volumes: fsutil and manage-bde, in the form of the real programs (learn.microsoft.com, fsutil dirty, fsutil fsinfo, manage-bde status).
// The volume is dirty, or encrypted, where the registry of the model says so: these states have no other place in it.
import type { Files } from "./files.ts";
import { type Answer, complained, said } from "./process.ts";
import type { Registry } from "./registry.ts";

/** `{ "Dirty": ["REG_DWORD", "0x1"], "Encrypted": ["REG_DWORD", "100"] }`: of the model's own. */
export const VOLUME_KEY = "HKLM\\SYSTEM\\XAPISIM\\Volume";

const number = (registry: Registry, name: string): number => Number(registry.value(VOLUME_KEY, name)?.data[0] ?? 0);

export function fsutil(registry: Registry, files: Files, cds: readonly string[], args: readonly string[]): Answer {
  const [what = "", verb = "", volume = "c:"] = args.map((argument) => argument.toLowerCase());
  if (what === "dirty" && verb === "query") return said(`Volume - ${volume} is ${number(registry, "Dirty") === 0 ? "NOT " : ""}Dirty\r\n`);
  if (what === "fsinfo" && verb === "volumeinfo") {
    const letter = (volume[0] ?? "").toUpperCase();
    const system = cds.length > 0 && letter === "D" ? "CDFS" : letter === "C" ? "NTFS" : files.hasDrive(letter) ? "FAT" : undefined;
    if (system === undefined) return complained("Error:  The system cannot find the path specified.\r\n");
    return said(
      `Volume Name : \r\nVolume Serial Number : 0xa1b2c3d\r\nMax Component Length : 255\r\nFile System Name : ${system}\r\nIs ReadWrite\r\n`,
    );
  }
  return said(
    `${args[0] ?? ""} is an invalid parameter.\r\n---- Commands Supported ----\r\n\r\ndirty           Manage volume dirty bit\r\n`,
    1,
  );
}

/** `-protectionaserrorlevel`: 0 where the volume is protected, 1 where it is not. */
export function manageBde(registry: Registry, args: readonly string[]): Answer {
  const [verb = "", volume = "C:", ...options] = args.map((argument) => argument.toLowerCase());
  const banner =
    "BitLocker Drive Encryption: Configuration Tool version 10.0.22621\r\nCopyright (C) 2013 Microsoft Corporation. All rights reserved.\r\n\r\n";
  if (verb !== "-status") return said(`${banner}ERROR: Parameter "${verb}" is not valid.\r\n`, -1);
  const percent = number(registry, "Encrypted");
  const text = [
    `Volume ${volume.toUpperCase()} []`,
    "[OS Volume]",
    "",
    "    Size:                 63.40 GB",
    `    BitLocker Version:    ${percent > 0 ? "2.0" : "None"}`,
    `    Conversion Status:    ${percent === 100 ? "Used Space Only Encrypted" : percent > 0 ? "Encryption in Progress" : "Fully Decrypted"}`,
    `    Percentage Encrypted: ${percent}.0%`,
    `    Encryption Method:    ${percent > 0 ? "XTS-AES 128" : "None"}`,
    `    Protection Status:    Protection ${percent === 100 ? "On" : "Off"}`,
    "    Lock Status:          Unlocked",
  ];
  return said(`${banner}${text.join("\r\n")}\r\n\r\n`, options.includes("-protectionaserrorlevel") && percent < 100 ? 1 : 0);
}
