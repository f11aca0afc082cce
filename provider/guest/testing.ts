// Answers of Windows programs in their real form, for tests. Provenance, as far as it goes: none was captured on a real Windows for this project.
// `documentation`: composed from learn.microsoft.com (sc query, tasklist /fo csv, slmgr) and from the layouts in reg.exe's own help; `code`: from the string tables
// or sources named beside them; `wine`: printed by Wine 8.0, kept where it differs, so that a foreign form is never read as clean.
import { factsOf } from "./checks.ts";
import type { GuestReport, PayloadReport } from "./evidence.ts";
import type { GuestOs, Raw } from "./fact.ts";
import { OFFICE_PLACES, type OfficeEvidence } from "./facts/office.ts";
import type { Order } from "./order.ts";

const crlf = (...lines: string[]): string => `${lines.join("\r\n")}\r\n`;
export const said = (out: string, rc = 0, err = ""): Raw => ({ out, err, rc });

// documentation: reg.exe's text for a key or a value that is not there, on stderr.
export const notThere: Raw = said("", 1, crlf("ERROR: The system was unable to find the specified registry key or value."));
// documentation: the same in German, as code page 850 comes through; judged by its exit code alone.
export const notThereGerman: Raw = said("", 1, crlf("FEHLER: Der angegebene Registrierungsschl\u00b3ssel bzw. Wert wurde nicht gefunden."));
// wine: on stdout.
export const notThereWine: Raw = said(crlf("reg: Unable to find the specified registry key"), 1);
export const saysNothing: Raw = said("");

const HKLM = "HKEY_LOCAL_MACHINE";
const SM = `${HKLM}\\SYSTEM\\CurrentControlSet\\Control\\Session Manager`;

export const sessionManagerWith = (...lines: string[]): Raw =>
  said(
    crlf(
      "",
      SM,
      "    AutoChkTimeout    REG_DWORD    0x8",
      "    BootExecute    REG_MULTI_SZ    autocheck autochk *",
      "    CriticalSectionTimeout    REG_DWORD    0x278d00",
      ...lines,
      "",
      `${SM}\\AppCompatCache`,
      `${SM}\\Memory Management`,
    ),
  );

export const renames = (...pairs: string[]): Raw =>
  sessionManagerWith(`    PendingFileRenameOperations    REG_MULTI_SZ    ${pairs.join("\\0")}`);

const NAMES = `${HKLM}\\SYSTEM\\CurrentControlSet\\Control\\ComputerName`;
export const computerNames = (active: string, next: string): Raw =>
  said(
    crlf(
      "",
      `${NAMES}\\ActiveComputerName`,
      `    ComputerName    REG_SZ    ${active}`,
      "",
      `${NAMES}\\ComputerName`,
      `    ComputerName    REG_SZ    ${next}`,
      "",
      "End of search: 2 match(es) found.",
    ),
  );

const PROOF = ["", `${HKLM}\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion`, "    ProgramFilesDir    REG_SZ    C:\\Program Files", ""];

/** What a question for contents gets, with the proof that reg.exe answers; an empty key is an empty line (as printed by Wine; the model's form is the same). */
export const contents = (...lines: string[]): Raw => said(crlf(...lines, ...PROOF));

/** documentation: reg query of one value. */
export const registryAnswer = (key: string, ...values: string[]): Raw => said(crlf("", key, ...values.map((line) => `    ${line}`), ""));

export const keyThere = (key: string): Raw => said(crlf("", key, "    (Default)    REG_SZ    "));

// win-xenbus src/xen/config.c: a volatile key a driver, value Reboot.
export const xenbusRequest = (driver: string, wish: string): Raw =>
  said(
    crlf(
      "",
      `${HKLM}\\SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Request\\${driver}`,
      `    Reboot    REG_DWORD    ${wish}`,
      "",
      "End of search: 1 match(es) found.",
    ),
  );

const service = (state: string, flags: string): Raw =>
  said(
    crlf(
      "",
      "SERVICE_NAME: msiserver ",
      "        TYPE               : 10  WIN32_OWN_PROCESS  ",
      `        STATE              : ${state} `,
      ...(flags === "" ? [] : [`                                (${flags})`]),
      "        WIN32_EXIT_CODE    : 0  (0x0)",
      "        SERVICE_EXIT_CODE  : 0  (0x0)",
      "        CHECKPOINT         : 0x0",
      "        WAIT_HINT          : 0x0",
    ),
  );

// documentation: _MSIExecute mutex page (accepts SHUTDOWN only while an installation runs).
export const services = {
  stopped: service("1  STOPPED", ""),
  stoppedOldForm: service("1  STOPPED", "NOT_STOPPABLE, NOT_PAUSABLE, IGNORES_SHUTDOWN"),
  idle: service("4  RUNNING", "STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN"),
  busy: service("4  RUNNING", "NOT_STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN"),
  starting: service("2  START_PENDING", "NOT_STOPPABLE, NOT_PAUSABLE, IGNORES_SHUTDOWN"),
  // The labels and the state's name in French; numbers and flags are the same in every language.
  idleFrench: said(
    crlf(
      "",
      "SERVICE_NAME: msiserver ",
      "        TYPE               : 10  WIN32_OWN_PROCESS  ",
      "        \u00c9TAT               : 4  RUNNING ",
      "                                (STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN)",
    ),
  ),
  missing: said(
    crlf("[SC] EnumQueryServicesStatus:OpenService FAILED 1060:", "", "The specified service does not exist as an installed service.", ""),
    1060,
  ),
};

export const processes = (...images: string[]): Raw =>
  said(
    crlf(
      ...["System Idle Process", "System", "svchost.exe", ...images, "tasklist.exe"].map(
        (image, index) => `"${image}","${index * 4}","Services","0","12,345 K"`,
      ),
    ),
  );

// code: ngen.exe's string table (guest.md 2.7).
export const queue = (state: string): Raw =>
  said(
    crlf(
      "Microsoft (R) CLR Native Image Generator - Version 4.8.9032.0",
      "Copyright (c) Microsoft Corporation.  All rights reserved.",
      `The .NET Runtime Optimization Service ${state}.`,
    ),
  );

// documentation and slmgr.vbs.
export const licensing = (channel: string, count: number | string, label = "Remaining Windows rearm count"): Raw =>
  said(
    crlf(
      "Software licensing service version: 10.0.22621.2506",
      "",
      "Name: Windows(R), Enterprise edition",
      `Description: Windows(R) Operating System, ${channel} channel`,
      "Partial Product Key: 2YT43",
      "License Status: Licensed",
      "Volume activation expiration: 259200 minute(s) (180 day(s))",
      `${label}: ${count}`,
      "Remaining SKU rearm count: 1001",
      "Trusted time: 3/14/2024 10:22:11 AM",
    ),
  );
export const rearmed = said(crlf("Command completed successfully.", "Please restart the system for the changes to take effect."));

// issue: clong/DetectionLab#902, printed by slmgr.vbs /dlv from the rearm to the next start; the exit code is slmgr.vbs' own (ExitScript Err.Number).
export const trustedStoreRearmed = said(
  crlf(
    "Software licensing service version: 10.0.18362.418",
    "Error: 0xC004D302 On a computer running Microsoft Windows non-core edition, run `slui.exe 0x2a 0xC004D302` to display the error text.",
  ),
  -1073425662,
);

// documentation: learn.microsoft.com, manage-bde status.
export const bitLocker = (percent: string, rc: number): Raw =>
  said(
    crlf(
      "BitLocker Drive Encryption: Configuration Tool version 10.0.22621",
      "Copyright (C) 2013 Microsoft Corporation. All rights reserved.",
      "",
      "Volume C: []",
      "[OS Volume]",
      "",
      "    Size:                 63.40 GB",
      `    Percentage Encrypted: ${percent}`,
      "    Protection Status:    Protection Off",
    ),
    rc,
  );

export const volume = (system: string): Raw =>
  said(crlf("Volume Name : ", "Volume Serial Number : 0xa1b2c3d", `File System Name : ${system}`, "Is ReadWrite"));

// code: what NT's find prints of a file it was given.
export const ngenDisplay = (...lines: string[]): Raw =>
  said(
    crlf("", "---------- OUT\\NGEN-DISPLAY.TXT", "Native Images:", "", "---------- OUT\\NGEN-DISPLAY.TXT", ...lines),
    lines.length > 0 ? 0 : 1,
  );

const SYSTEM_CLASS = `${HKLM}\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}`;
/** code: xenbus.inf and xeniface.inf name the sections; the values are those of every device class key. */
export const systemDevices = (...devices: [section: string, vendor: string, version: string][]): Raw =>
  said(
    crlf(
      ...[["PCI_DRV", "Microsoft", "10.0.22621.1"], ...devices].flatMap(([section = "", vendor = "", version = ""], index) => [
        "",
        `${SYSTEM_CLASS}\\${String(index).padStart(4, "0")}`,
        `    InfSection    REG_SZ    ${section}`,
        `    ProviderName    REG_SZ    ${vendor}`,
        `    DriverVersion    REG_SZ    ${version}`,
      ]),
      "",
    ),
  );

/** code: our own line's words (powershell.ts); ids in the form of learn.microsoft.com, device instance IDs. */
export const powershellSays = (...lines: string[]): Raw => said(crlf(...lines));
/** documentation: about_Language_Modes; the words are those of powershell.exe 5.1. */
export const powershellMayNot: Raw = said(
  "",
  1,
  crlf(
    "New-Object : Cannot create type. Only core types are supported in this language mode.",
    "    + FullyQualifiedErrorId : CannotCreateTypeConstrainedLanguage,Microsoft.PowerShell.Commands.NewObjectCommand",
  ),
);

/** What a Windows or Linux guest says that has nothing pending. */
export function quietAnswers(os: GuestOs): Map<string, Raw | "absent"> {
  const special: Record<string, Raw | "absent"> = {
    "session-manager": sessionManagerWith(),
    "computer-name": computerNames("WIN11-PACK", "WIN11-PACK"),
    "msi-service": services.idle,
    "servicing-workers": processes("msiexec.exe"),
    "ngen-workers": processes(),
    "ngen-queue-64-v4": queue("is stopped"),
    "ngen-queue-32-v4": queue("is stopped"),
    "ngen-queue-64-v2": "absent",
    "ngen-queue-32-v2": "absent",
    "ngen-pending-64-v4": ngenDisplay(),
    "ngen-pending-32-v4": ngenDisplay(),
    "ngen-pending-64-v2": "absent",
    "ngen-pending-32-v2": "absent",
    "device-restart": powershellSays("checked, none"),
    "windows-update-says": powershellSays("checked, none"),
    "boot-start-xenbus": "absent",
    "boot-start-xenvbd": "absent",
    "run-once": contents("", ""),
    "cbs-packages-pending": contents(""),
    "windows-setup": registryAnswer(
      `${HKLM}\\SYSTEM\\Setup`,
      "SystemSetupInProgress    REG_DWORD    0x0",
      "OOBEInProgress    REG_DWORD    0x0",
    ),
    "upgrade-workers": processes(),
    "volume-dirty": said("Volume - C: is NOT Dirty\r\n"),
    "boot-execute": registryAnswer(SM, "BootExecute    REG_MULTI_SZ    autocheck autochk *"),
    bitlocker: "absent",
    "sms-client": "absent",
    "wem-key": "absent",
    "fslogix-sessions": contents(),
    "pv-drivers": systemDevices(),
    "mapped-drives": contents(),
    "drive-d": "absent",
    "drive-e": volume("FAT"),
    "drive-f": "absent",
    "temp-msi": "absent",
    "temp-exe": "absent",
    "reboot-required": said("none\n"),
    kernel: said("installed 6.1.0-21-amd64\nrunning 6.1.0-21-amd64\n"),
    "zypper-needs-rebooting": "absent",
    systemd: "absent",
    "cloud-init": "absent",
    "machine-identity": said("checked\n"),
    mounts: said("/dev/xvda1 / ext4 rw,relatime 0 0\n/dev/xvdb /run/payload vfat rw 0 0\n"),
    "dnf-needs-restarting": "absent",
    "package-locks": said("checked\n"),
    "package-managers": said("checked\n"),
    "dpkg-audit": said("clean\n"),
  };
  return new Map(factsOf(os).map(({ fact }) => [fact.id, special[fact.id] ?? notThere]));
}

/** A volume licensed Office, and nothing at the other places. Derived from documentation (facts/office.ts). */
export const officeRearmed: OfficeEvidence = {
  status: {
    ...Object.fromEntries(OFFICE_PLACES.map(({ id }) => [id, "absent" as const])),
    "16": said(crlf("LICENSE DESCRIPTION: Office 16, VOLUME_KMSCLIENT channel", "---Exiting---")),
  },
  rearm: { "16": said(crlf("Microsoft Office rearm successful.")) },
  boot: "1-4711",
};

/** A finalize that went well, to be spoiled by a test. */
export function quietPayload(
  order: Order,
  changes: Partial<PayloadReport> & { answers?: Record<string, Raw | "absent">; said?: Partial<GuestReport> } = {},
): PayloadReport {
  const { answers = {}, said: reported = {}, ...more } = changes;
  const round = new Map([...quietAnswers(order.os), ...Object.entries(answers)]);
  return {
    order,
    boots: [{ n: 1, id: "1-4711" }],
    report: {
      nonce: order.nonce,
      order: "finalize",
      boot: "1-4711",
      boots: 1,
      state: "ready",
      attempt: 1,
      round: "c",
      step: "",
      blocked: [],
      ...reported,
    },
    steps: [],
    rounds: new Map(["a", "b", "c"].map((name) => [name, round])),
    fixes: [],
    kms: order.kms.rearm ? { before: licensing("VOLUME_KMSCLIENT", 1001), rearm: rearmed, after: trustedStoreRearmed, boot: "1-4711" } : {},
    ...(order.office.rearm ? { office: officeRearmed } : {}),
    problems: [],
    ...more,
  };
}
