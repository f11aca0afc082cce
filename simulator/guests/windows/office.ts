// Office's licensing, as far as a rearm of it goes: ospp.vbs /dstatus and OSPPREARM.EXE. Texts: learn.microsoft.com ("Rearm a volume licensed version of Office that's included in an operating
// system image", "Reset Microsoft 365 Apps for enterprise activation state"); five rearms, and a grace timer that a rearm freezes until ospp.vbs is run or an application is opened.
import type { OfficeInstallation, WindowsDescriptor } from "../descriptor.ts";
import type { Files } from "./files.ts";
import { type Answer, complained, said } from "./process.ts";
import type { System } from "./system.ts";

const foldersOf = ({ version, bits }: OfficeInstallation): { office: string; rearm: string } => {
  const root = bits === 64 ? "C:\\Program Files" : "C:\\Program Files (x86)";
  const office = `${root}\\Microsoft Office\\Office${version}`;
  return { office, rearm: version === 14 ? `${root}\\Common Files\\Microsoft Shared\\OfficeSoftwareProtectionPlatform` : office };
};

export function addOffice({ office }: WindowsDescriptor, files: Files): void {
  if (office === undefined) return;
  const folders = foldersOf(office);
  files.addBuiltIn(`${folders.office}\\OSPP.VBS`);
  files.addBuiltIn(`${folders.rearm}\\OSPPREARM.EXE`);
}

const same = (path: string, other: string): boolean => path.toLowerCase() === other.toLowerCase();

/** `cscript //nologo ospp.vbs …`; undefined: it is not there. */
export function ospp({ office }: WindowsDescriptor, system: System, script: string, verb: string): Answer | undefined {
  if (office === undefined || !same(script, `${foldersOf(office).office}\\OSPP.VBS`)) return undefined;
  const rule = "---------------------------------------\r\n";
  const framed = (text: string): Answer =>
    said(`---Processing--------------------------\r\n${rule}${text}${rule}---Exiting-----------------------------\r\n`);
  if (!/^\/dstatus$/i.test(verb)) return framed("ERROR: Unknown option\r\n");
  system.office.frozen = false;
  system.save();
  if (office.licences.length === 0) return framed("<No installed product keys detected>\r\n");
  return framed(
    office.licences
      .map(({ name, channel }) =>
        [
          "SKU ID: d450596f-894d-49e0-966a-fd39ed4c4c64",
          `LICENSE NAME: Office ${office.version}, ${name} edition`,
          `LICENSE DESCRIPTION: Office ${office.version}, ${channel} channel`,
          `LICENSE STATUS:  ---${channel === "VOLUME_KMSCLIENT" ? "OOB_GRACE" : "LICENSED"}--- `,
          "Last 5 characters of installed product key: WFG99",
          rule,
        ].join("\r\n"),
      )
      .join(""),
  );
}

/** Of the licensing service, as an exit code. */
export const NO_REARM_LEFT = 0xc004d307 | 0;

/** OSPPREARM.EXE by its full path; undefined: this is no such program. */
export function ospprearm({ office }: WindowsDescriptor, system: System, path: string): Answer | undefined {
  if (office === undefined || !same(path.replace(/\.exe$/i, ""), `${foldersOf(office).rearm}\\OSPPREARM`)) return undefined;
  if (system.office.rearmCount === 0)
    return complained(
      "ERROR CODE: 0xC004D307\r\nERROR DESCRIPTION: The Software Licensing Service reported that the maximum allowed number of re-arms has been exceeded. You must re-install the OS before trying to re-arm again.\r\n",
      NO_REARM_LEFT,
    );
  system.office.rearmCount--;
  system.office.frozen = true;
  system.save();
  return said("Microsoft Office rearm successful.\r\n");
}
