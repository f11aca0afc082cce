// The checks of a Windows guest beside restarts, installers and NGen (facts.test.ts): what they say of answers in the real programs' form.
// Provenance stands beside the fixtures (guest/testing.ts): documentation or code of the programs named there; nothing was captured on a real Windows.
import { expect, it } from "vitest";
import type { Raw } from "../fact.ts";
import * as fixture from "../testing.ts";
import { contents, registryAnswer, said } from "../testing.ts";
import { isNewer } from "./kernel.ts";
import { isAbove } from "./pvDrivers.ts";
import { judge, testRows } from "./testing.ts";

const HKLM = "HKEY_LOCAL_MACHINE";
const SERVICES = `${HKLM}\\SYSTEM\\CurrentControlSet\\Services`;
const CURRENT = `${HKLM}\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion`;
const SETUP = `${HKLM}\\SYSTEM\\Setup`;
const REQUESTS = "SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Request";

const missing: Raw = said("", 9009, "'x' is not recognized as an internal or external command,\r\n");
const driver = (name: string, start: string, ...keys: string[]): Raw =>
  said(
    ["", `${SERVICES}\\${name}`, `    Start    REG_DWORD    ${start}`, "", ...keys.map((key) => `${SERVICES}\\${name}\\${key}`), ""].join(
      "\r\n",
    ),
  );
const one = (key: string, value: string): Raw => registryAnswer(`${HKLM}\\${key}`, value);
const monitor = (value: string): Raw => one("SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Parameters", value);
const service = (name: string, start = "0x2"): Raw => one(`SYSTEM\\CurrentControlSet\\Services\\${name}`, `Start    REG_DWORD    ${start}`);
const processes = (image: string): Raw => fixture.processes(image);

testRows("windows", {
  bootDiskDrivers: [
    [
      "the drivers start at boot",
      { "boot-start-xenbus": driver("xenbus", "0x0", "Parameters", "Enum"), "boot-start-xenvbd": driver("xenvbd", "0x0") },
      "ready",
    ],
    [
      "a driver starts later",
      { "boot-start-xenvbd": driver("xenvbd", "0x3") },
      "pending",
      "Driver xenvbd does not start at boot: HKLM\\SYSTEM\\CurrentControlSet\\Services\\xenvbd, Start is 0x3, not 0x0",
    ],
    [
      "a driver may be left out",
      { "boot-start-xenbus": driver("xenbus", "0x0", "Parameters", "StartOverride") },
      "pending",
      "xenbus\\StartOverride exists; delete that key",
    ],
    ["both", { "boot-start-xenvbd": driver("xenvbd", "0x4", "StartOverride") }, "pending", /Start is 0x4.*StartOverride exists/],
    ["a key only ends like it", { "boot-start-xenbus": driver("xenbus", "0x0", "NoStartOverride") }, "ready"],
    [
      "a driver's start is not said",
      { "boot-start-xenbus": said(`\r\n${SERVICES}\\xenbus\\Parameters\r\n`) },
      "failed",
      "lacks Start, which every driver has",
    ],
    ["reg fails for a driver", { "boot-start-xenbus": said("", 1, "ERROR: Access is denied.") }, "failed", "Access is denied"],
    ["reg fails and says so on stdout", { "boot-start-xenbus": said("broken", 5) }, "failed", "reg ended with 5: broken"],
    ["reg fails in silence", { "boot-start-xenbus": said("", 5) }, "failed", "reg ended with 5: it said nothing"],
    ["requests are kept where they are looked for", { "xenbus-request-key": monitor(`RequestKey    REG_SZ    ${REQUESTS}`) }, "ready"],
    ["in another case", { "xenbus-request-key": monitor(`requestkey    REG_SZ    ${REQUESTS.toUpperCase()}`) }, "ready"],
    [
      "requests are kept elsewhere",
      { "xenbus-request-key": monitor("RequestKey    REG_SZ    SYSTEM\\Other") },
      "failed",
      "keep their requests in SYSTEM\\Other",
    ],
    ["their place is not said", { "xenbus-request-key": fixture.saysNothing }, "failed", "a place that is not said"],
    [
      "several drivers ask",
      {
        "xenbus-requests": said(
          [
            "",
            `${SERVICES}\\xenbus_monitor\\Request\\XENVBD`,
            "    Reboot    REG_DWORD    0x1",
            "",
            `${SERVICES}\\xenbus_monitor\\Request\\XENNET`,
            "    Reboot    REG_DWORD    0x1",
            "    Other    REG_DWORD    0x1",
          ].join("\r\n"),
        ),
      },
      "pending",
      "Asked for by XENVBD, XENNET (",
    ],
    [
      "xenbus_monitor answers without a driver",
      { "xenbus-requests": fixture.saysNothing },
      "pending",
      "answered without saying which driver asks; restart the guest",
    ],
    ["devices: PowerShell is missing", { "device-restart": missing }, "failed", "powershell ended with 9009"],
    ["devices: PowerShell prints nothing and ends with 0", { "device-restart": fixture.saysNothing }, "failed", "it said nothing"],
    ["devices: PowerShell may not ask", { "device-restart": fixture.powershellMayNot }, "failed", "Only core types are supported"],
    [
      "devices: the words, and a failure",
      { "device-restart": said("checked, none\r\n", 1) },
      "failed",
      "powershell ended with 1: checked, none",
    ],
    ["devices: need, and a failure", { "device-restart": said("restart needed\r\n", 3) }, "failed", "powershell ended with 3"],
    ["devices: both words", { "device-restart": fixture.powershellSays("checked, none", "restart needed") }, "failed", "device-restart"],
    ["devices: the word among others", { "device-restart": fixture.powershellSays("was checked, none too") }, "failed", "was checked"],
    ["devices: blank lines are nothing", { "device-restart": said("\r\n checked, none \r\n\r\n") }, "ready"],
    ["devices: need after blank lines", { "device-restart": said("\n\nrestart needed\n") }, "pending", "reboot the Packaging Machine"],
    ["devices: garbage", { "device-restart": said("\u0000\ufffd{}") }, "failed", "device-restart"],
    [
      "devices wait for a restart",
      { "device-restart": fixture.powershellSays("restart needed", "PCI\\VEN_5853&DEV_0001\\3&2411E6FE&0&10", "ROOT\\NONE\\0000") },
      "pending",
      "Windows can't use PCI\\VEN_5853&DEV_0001\\3&2411E6FE&0&10, ROOT\\NONE\\0000 before (problem code 14).",
    ],
    [
      "many devices wait",
      { "device-restart": fixture.powershellSays("restart needed", "A\\1", "A\\2", "A\\3", "A\\4", "A\\5", "A\\6", "A\\7") },
      "pending",
      "use A\\1, A\\2, A\\3, A\\4, A\\5 and 2 more before",
    ],
    [
      "five devices wait",
      { "device-restart": fixture.powershellSays("restart needed", "A\\1", "A\\2", "A\\3", "A\\4", "A\\5") },
      "pending",
      "A\\5 before",
    ],
    [
      "a device waits that is not named",
      { "device-restart": fixture.powershellSays("restart needed") },
      "pending",
      "use a device that it does not name before",
    ],
    ["no device answers", { "device-restart": said("", 3) }, "failed", "powershell ended with 3: it said nothing"],
  ],
  vmTools: [
    ["nothing is installed", {}, "ready"],
    [
      "they are installed",
      { "tools-install": one("SOFTWARE\\Citrix\\XenToolsInstaller", "InstallStatus    REG_SZ    Installed") },
      "ready",
    ],
    [
      "they wait for a restart",
      { "tools-install": one("SOFTWARE\\Citrix\\XenToolsInstaller", "InstallStatus    REG_SZ    NeedsReboot") },
      "pending",
      "waits for a restart (HKLM\\SOFTWARE\\Citrix\\XenToolsInstaller, InstallStatus)",
    ],
    [
      "they have failed, in the other view",
      { "tools-install-32": one("SOFTWARE\\Wow6432Node\\Citrix\\XenToolsInstaller", "InstallStatus    REG_SZ    Failed") },
      "pending",
      "has failed (HKLM\\SOFTWARE\\Wow6432Node\\Citrix",
    ],
    [
      "they are being installed",
      { "tools-install": one("SOFTWARE\\Citrix\\XenToolsInstaller", "InstallStatus    REG_SZ    Installing") },
      "pending",
      'says "Installing" (HKLM\\SOFTWARE\\Citrix\\XenToolsInstaller, InstallStatus); let it finish',
    ],
    ["reg says nothing", { "tools-install": fixture.saysNothing }, "pending", "says nothing"],
    ["reg is missing", { "tools-install": missing }, "failed", "tools-install"],
    ["the monitor restarts nobody", { "xenbus-auto-reboot": monitor("AutoReboot    REG_DWORD    0x0") }, "ready"],
    [
      "the monitor restarts by itself",
      { "xenbus-auto-reboot": monitor("AutoReboot    REG_DWORD    0x3") },
      "pending",
      "AutoReboot is 0x3; set it to 0 in a step",
    ],
    ["the monitor's answer is empty", { "xenbus-auto-reboot": fixture.saysNothing }, "pending", "AutoReboot is unreadable"],
  ],
  pendingReboot: [
    ["Windows Update: PowerShell is missing", { "windows-update-says": missing }, "failed", "powershell ended with 9009"],
    [
      "Windows Update: PowerShell prints nothing and ends with 0",
      { "windows-update-says": fixture.saysNothing },
      "failed",
      "it said nothing",
    ],
    [
      "Windows Update: PowerShell may not ask",
      { "windows-update-says": fixture.powershellMayNot },
      "failed",
      "Only core types are supported",
    ],
    [
      "Windows Update: the words, and a failure",
      { "windows-update-says": said("checked, none\r\n", 1) },
      "failed",
      "powershell ended with 1: checked, none",
    ],
    ["Windows Update: need, and a failure", { "windows-update-says": said("restart needed\r\n", 3) }, "failed", "powershell ended with 3"],
    [
      "Windows Update: both words",
      { "windows-update-says": fixture.powershellSays("checked, none", "restart needed") },
      "failed",
      "windows-update-says",
    ],
    [
      "Windows Update: the word among others",
      { "windows-update-says": fixture.powershellSays("was checked, none too") },
      "failed",
      "was checked",
    ],
    ["Windows Update: blank lines are nothing", { "windows-update-says": said("\r\n checked, none \r\n\r\n") }, "ready"],
    [
      "Windows Update: need after blank lines",
      { "windows-update-says": said("\n\nrestart needed\n") },
      "pending",
      "reboot the Packaging Machine",
    ],
    ["Windows Update: garbage", { "windows-update-says": said("\u0000\ufffd{}") }, "failed", "windows-update-says"],
    [
      "Windows Update says so itself",
      { "windows-update-says": fixture.powershellSays("restart needed") },
      "pending",
      "Windows Update says so (Microsoft.Update.SystemInfo, RebootRequired)",
    ],
    ["Windows Update does not answer", { "windows-update-says": said("", 4) }, "failed", "powershell ended with 4: it said nothing"],
    [
      "the Configuration Manager client waits",
      { "sccm-reboot": fixture.keyThere(`${HKLM}\\SOFTWARE\\Microsoft\\SMS\\Mobile Client\\Reboot Management\\RebootData`) },
      "pending",
      "the Configuration Manager client waits for it",
    ],
    [
      "a role waits",
      {
        "server-manager": one(
          "SOFTWARE\\Microsoft\\ServerManager\\ServicingStorage\\ServerComponentCache",
          "RestartRequired    REG_DWORD    0x1",
        ),
      },
      "pending",
      "A role or feature waits for it (HKLM\\SOFTWARE\\Microsoft\\ServerManager",
    ],
    [
      "no role waits",
      {
        "server-manager": one(
          "SOFTWARE\\Microsoft\\ServerManager\\ServicingStorage\\ServerComponentCache",
          "RestartRequired    REG_DWORD    0x0",
        ),
      },
      "ready",
    ],
    ["the role's answer is empty", { "server-manager": fixture.saysNothing }, "pending", "RestartRequired"],
    [
      "servicing is finishing the last restart",
      { "cbs-reboot-in-progress": fixture.keyThere(`${CURRENT}\\Component Based Servicing\\RebootInProgress`) },
      "pending",
      "finishing the last one",
    ],
    [
      "a domain operation waits",
      { "domain-join": fixture.keyThere(`${SERVICES}\\Netlogon\\JoinDomain`) },
      "pending",
      "a domain operation waits for it",
    ],
    [
      "and its other half",
      { "domain-spn": fixture.keyThere(`${SERVICES}\\Netlogon\\AvoidSpnSet`) },
      "pending",
      "a domain operation waits for it",
    ],
    [
      "more files wait than are told",
      { "session-manager": fixture.renames(...[1, 2, 3, 4, 5].flatMap((n) => [`\\??\\C:\\a${n}`, `\\??\\C:\\b${n}`])) },
      "pending",
      /C:\\a3 waits to replace C:\\b3; and 2 more \(/,
    ],
    [
      "a path is told that no drive has",
      { "session-manager": fixture.renames("\\??\\Volume{1}\\Temp\\x", "") },
      "pending",
      "waits to be deleted",
    ],
    [
      "rubbish of the system is no rubbish",
      { "session-manager": fixture.renames("\\??\\C:\\Windows\\System32\\Temp\\x", "") },
      "pending",
      "System32\\Temp\\x",
    ],
    [
      "drivers are no rubbish",
      { "session-manager": fixture.renames("\\??\\C:\\ProgramData\\drivers\\x", "") },
      "pending",
      "C:\\ProgramData\\drivers\\x",
    ],
    [
      "the driver store is no rubbish",
      { "session-manager": fixture.renames("\\??\\C:\\ProgramData\\DriverStore\\x", "") },
      "pending",
      "DriverStore",
    ],
    [
      "the list is of another type",
      { "session-manager": fixture.sessionManagerWith("    PendingFileRenameOperations    REG_SZ    \\??\\C:\\a") },
      "failed",
      "PendingFileRenameOperations (HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager) does not hold pairs of files",
    ],
    [
      "rubbish is left to the next boot",
      { "session-manager": fixture.renames("\\??\\C:\\ProgramData\\Vendor\\scan.tmp", "") },
      "ready",
      "left to the next boot, harmless: C:\\ProgramData\\Vendor\\scan.tmp waits to be deleted",
    ],
    [
      "the names come with an exit code that is an error",
      { "computer-name": { ...fixture.computerNames("A", "A"), rc: 5 } },
      "failed",
      "reg ended with 5",
    ],
    [
      "only the active name is said",
      { "computer-name": said(fixture.computerNames("A", "A").out.replace(/[^\n]*ComputerName\\ComputerName[\s\S]*/, "")) },
      "failed",
      "lacks the active or the next computer name",
    ],
    ["a name is empty", { "computer-name": fixture.computerNames("", "A") }, "failed", "lacks the active or the next"],
    [
      "the first of the old keys holds it",
      { "update-exe": one("SOFTWARE\\Microsoft\\Updates", "UpdateExeVolatile    REG_DWORD    0x1") },
      "pending",
      "(HKLM\\SOFTWARE\\Microsoft\\Updates, UpdateExeVolatile)",
    ],
    [
      "three files wait",
      { "session-manager": fixture.renames(...[1, 2, 3].flatMap((n) => [`\\??\\C:\\a${n}`, `\\??\\C:\\b${n}`])) },
      "pending",
      /C:\\b3 \(/,
    ],
  ],
  installer: [
    [
      "the servicing stack is at work",
      { "servicing-workers": processes("TrustedInstaller.exe") },
      "pending",
      "Windows servicing is at work: TrustedInstaller.exe (process 12)",
    ],
    [
      "the service stops",
      { "msi-service": said(fixture.services.idle.out.replace("4  RUNNING", "3  STOP_PENDING")) },
      "pending",
      "is starting or stopping",
    ],
    [
      "a running service does not say what it accepts",
      { "msi-service": said(fixture.services.idle.out.replace(/\(STOPPABLE.*\)/, "")) },
      "failed",
      "does not say what the running service msiserver accepts",
    ],
    [
      "the state is no state",
      { "msi-service": said(fixture.services.idle.out.replace("4  RUNNING", "9  ODD")) },
      "failed",
      "holds no service state",
    ],
    [
      "another service is told of",
      { "msi-service": said(fixture.services.idle.out.replace("msiserver", "spooler")) },
      "failed",
      "holds no service state",
    ],
    ["sc fails", { "msi-service": said("", 5, "Access is denied.") }, "failed", "sc ended with 5: Access is denied."],
  ],
  runOnce: [
    ["the keys are empty or missing", {}, "ready"],
    [
      "an entry waits",
      { "run-once": contents("", `${CURRENT}\\RunOnce`, "    !Finish setup    REG_SZ    C:\\setup.exe /phase2") },
      "pending",
      "A RunOnce script is outstanding - please check the Packaging Machine. HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\RunOnce, !Finish setup: C:\\setup.exe /phase2.",
    ],
    [
      "one waits in the other view",
      {
        "run-once": contents(
          "",
          `${HKLM}\\SOFTWARE\\Wow6432Node\\Microsoft\\Windows\\CurrentVersion\\RunOnce`,
          "    msedge_cleanup    REG_EXPAND_SZ    del",
        ),
      },
      "pending",
      "Wow6432Node\\Microsoft\\Windows\\CurrentVersion\\RunOnce, msedge_cleanup: del",
    ],
    [
      "a section of RunOnceEx waits",
      { "run-once": contents("", `${CURRENT}\\RunOnceEx\\0001`) },
      "pending",
      "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\RunOnceEx\\0001",
    ],
    [
      "more wait than are told",
      { "run-once": contents("", `${CURRENT}\\RunOnce`, ...["a", "b", "c", "d", "e"].map((name) => `    ${name}    REG_SZ    x`)) },
      "pending",
      /, c: x; and 2 more\./,
    ],
    [
      "three wait",
      { "run-once": contents("", `${CURRENT}\\RunOnce`, ...["a", "b", "c"].map((name) => `    ${name}    REG_SZ    x`)) },
      "pending",
      /, c: x\. Log on/,
    ],
    ["reg prints nothing", { "run-once": fixture.saysNothing }, "failed", "lacks ProgramFilesDir, which every Windows has"],
    ["reg is missing", { "run-once": missing }, "failed", "reg ended with 9009"],
    ["reg fails in silence", { "run-once": said("", 1) }, "failed", "reg ended with 1: it said nothing"],
  ],
  servicing: [
    ["nothing waits", {}, "ready"],
    ["the key is there and empty (packer-plugin-windows-update)", { "cbs-packages-pending": contents("") }, "ready"],
    [
      "packages wait",
      {
        "cbs-packages-pending": contents(
          "",
          ...["KB1", "KB2", "KB3", "KB4", "KB5"].map((name) => `${CURRENT}\\Component Based Servicing\\PackagesPending\\${name}`),
        ),
      },
      "pending",
      "KB1, KB2, KB3 and 2 more wait for a restart",
    ],
    [
      "a few packages wait",
      { "cbs-packages-pending": contents("", `${CURRENT}\\Component Based Servicing\\PackagesPending\\KB1`) },
      "pending",
      "Packaging Machine. KB1 wait for a restart",
    ],
    ["reg prints nothing", { "cbs-packages-pending": fixture.saysNothing }, "failed", "cbs-packages-pending"],
    ["servicing idles", { "cbs-servicing": one("X\\Interface", "ServicingInProgress    REG_DWORD    0x0") }, "ready"],
    [
      "its update waits for the restart that RebootPending asks for",
      { "cbs-servicing": one("X\\Interface", "ServicingInProgress    REG_DWORD    0x1") },
      "ready",
    ],
    [
      "servicing works",
      { "cbs-servicing": one("X\\Interface", "ServicingInProgress    REG_DWORD    0x2") },
      "pending",
      "ServicingInProgress is 0x2; let it finish",
    ],
    [
      "servicing says something new",
      { "cbs-servicing": one("X\\Interface", "ServicingInProgress    REG_DWORD    0x7") },
      "pending",
      "is 0x7",
    ],
    ["its answer is empty", { "cbs-servicing": fixture.saysNothing }, "pending", "is unreadable"],
  ],
  windowsUpgrade: [
    ["Windows is set up", {}, "ready"],
    [
      "an upgrade of before has left its keys",
      {
        "windows-setup": said(
          `\r\n${SETUP}\r\n    SystemSetupInProgress    REG_DWORD    0x0\r\n    Upgrade    REG_DWORD    0x1\r\n\r\n${SETUP}\\Upgrade\r\n${SETUP}\\Source OS (Updated on 1/2/2024 10:11:12)\r\n`,
        ),
      },
      "ready",
    ],
    [
      "set-up runs",
      { "windows-setup": registryAnswer(SETUP, "SystemSetupInProgress    REG_DWORD    0x1", "OOBEInProgress    REG_DWORD    0x1") },
      "pending",
      "HKLM\\SYSTEM\\Setup, SystemSetupInProgress and OOBEInProgress is not 0",
    ],
    [
      "the first start is not finished",
      { "windows-setup": registryAnswer(SETUP, "SystemSetupInProgress    REG_DWORD    0x0", "OOBEInProgress    REG_DWORD    0x1") },
      "pending",
      "Setup, OOBEInProgress is not 0",
    ],
    [
      "set-up's programs run",
      { "upgrade-workers": processes("SetupHost.exe") },
      "pending",
      "SetupHost.exe (process 12) runs; let it finish",
    ],
    ["somebody's setup.exe runs", { "upgrade-workers": processes("setup.exe") }, "ready"],
    ["tasklist prints nothing", { "upgrade-workers": fixture.saysNothing }, "failed", "upgrade-workers"],
    ["reg prints nothing", { "windows-setup": fixture.saysNothing }, "failed", "SystemSetupInProgress, which every Windows has"],
    ["reg says the key is not there", { "windows-setup": fixture.notThere }, "failed", "windows-setup"],
  ],
  ngenNeeded: [
    ["no image waits", {}, "ready"],
    [
      "images wait",
      {
        "ngen-pending-64-v4": fixture.ngenDisplay(
          "Broker, Version=7.0.0.0 (StatusPending)",
          "Broker.Core, Version=7.0.0.0 (StatusPending)",
        ),
      },
      "pending",
      "A Microsoft NGen operation is needed - please check the Packaging Machine. Framework64\\v4.0.30319: 2 native images wait",
    ],
    [
      "a worker runs, so that nobody looked",
      { "ngen-workers": processes("mscorsvw.exe") },
      "pending",
      "It is not looked for while NGen works.",
    ],
    ["ngen prints nothing", { "ngen-pending-32-v4": said("", 1) }, "failed", "did not list its Native Images: it said nothing"],
    [
      "ngen is broken and says so",
      { "ngen-pending-32-v4": said("", 1, "not a valid Win32 application") },
      "failed",
      "not a valid Win32 application",
    ],
    ["find fails", { "ngen-pending-32-v4": said("Native Images:\r\n", 2) }, "failed", "find ended with 2"],
    ["find has found what nobody sees", { "ngen-pending-32-v4": said("Native Images:\r\n", 0) }, "failed", "shows none"],
    [
      "there is no .NET Framework",
      Object.fromEntries(["64-v4", "32-v4", "64-v2", "32-v2"].map((id) => [`ngen-pending-${id}`, "absent"])),
      "failed",
      "no ngen.exe was found",
    ],
  ],
  systemVolume: [
    ["the volume is clean", {}, "ready"],
    ["the volume is clean, in the words of old documentation", { "volume-dirty": said("Volume C: is not dirty\r\n") }, "ready"],
    [
      "the volume is dirty",
      { "volume-dirty": said("Volume - C: is Dirty\r\n") },
      "pending",
      "fsutil says that the system volume is dirty; restart the guest",
    ],
    ["fsutil reports it by its exit code too", { "volume-dirty": said("Volume - C: is Dirty\r\n", 1) }, "pending", "is dirty"],
    ["fsutil speaks German", { "volume-dirty": said("Volume - C: ist NICHT fehlerhaft\r\n") }, "failed", "does not say in English"],
    ["fsutil says nothing", { "volume-dirty": fixture.saysNothing }, "failed", "it said nothing"],
    [
      "fsutil fails",
      { "volume-dirty": said("", 5, "Error 5: Access is denied.") },
      "failed",
      "fsutil ended with 5: Error 5: Access is denied.",
    ],
    [
      "a check is ordered",
      { "boot-execute": one("X", "BootExecute    REG_MULTI_SZ    autocheck autochk /p \\??\\C:\\0autocheck autochk *") },
      "pending",
      "BootExecute orders autocheck autochk /p \\??\\C:; restart the guest",
    ],
    [
      "a dirty volume was marked",
      { "boot-execute": one("X", "BootExecute    REG_MULTI_SZ    autocheck autochk *\\0autocheck autochk /m \\??\\C:") },
      "pending",
      "autochk /m",
    ],
    [
      "a volume is left out of checks (chkntfs /x)",
      { "boot-execute": one("X", "BootExecute    REG_MULTI_SZ    autocheck autochk /k:D *") },
      "ready",
    ],
    [
      "a defragmenter starts before Windows",
      { "boot-execute": one("X", "BootExecute    REG_MULTI_SZ    autocheck autochk *\\0PDBoot.exe") },
      "ready",
      "runs at each start before Windows: PDBoot.exe",
    ],
    ["the value is not there", { "boot-execute": fixture.notThere }, "failed", "boot-execute"],
    ["reg prints nothing", { "boot-execute": fixture.saysNothing }, "failed", "BootExecute, which every Windows has"],
  ],
  bitLocker: [
    ["there is no BitLocker", {}, "ready"],
    ["nothing is encrypted", { bitlocker: fixture.bitLocker("0.0%", 1) }, "ready"],
    [
      "nothing is encrypted, said in German",
      { bitlocker: said("BitLocker-Laufwerkverschl\u00fcsselung\r\n    Verschl\u00fcsselt (Prozent):  0,0 %\r\n", 1) },
      "ready",
    ],
    ["it is protected", { bitlocker: fixture.bitLocker("100.0%", 0) }, "pending", "It is protected (100 %): run manage-bde -off"],
    [
      "it is being encrypted by itself",
      { bitlocker: fixture.bitLocker("42.7%", 1) },
      "pending",
      "It is encrypted without protection yet, as Windows 11 does by itself (42.7 %)",
    ],
    ["it has just begun to be encrypted", { bitlocker: fixture.bitLocker("0.4%", 1) }, "pending", "(0.4 %)"],
    ["it is encrypted without protection, as a vTPM has it", { bitlocker: fixture.bitLocker("100.0%", 1) }, "pending", "(100 %)"],
    ["it is not encrypted, in another language", { bitlocker: fixture.bitLocker("0,0 %", 1) }, "ready"],
    ["manage-bde says nothing", { bitlocker: said("", 1) }, "failed", "manage-bde ended with 1: it said nothing"],
    [
      "manage-bde fails",
      { bitlocker: said("ERROR: An attempt to access a required resource was denied.\r\n", -1) },
      "failed",
      "manage-bde ended with -1: ERROR",
    ],
    ["manage-bde fails and shows per cent", { bitlocker: said("x: 0 %", -1) }, "failed", "manage-bde ended with -1"],
    ["more than all of it is encrypted", { bitlocker: fixture.bitLocker("400%", 1) }, "failed", "bitlocker"],
  ],
  smsConfig: [
    ["there is no SMSCFG.INI", {}, "ready"],
    ["the client runs", { "sms-client": service("CcmExec") }, "pending", "SMSCFG.INI is still present: all images would be one client"],
    ["the client is disabled", { "sms-client": service("CcmExec", "0x4") }, "ready"],
    ["the client is gone and left the file", { "sms-client": fixture.notThere }, "ready"],
    ["reg says nothing", { "sms-client": fixture.saysNothing }, "pending", "CcmExec"],
    ["reg is missing", { "sms-client": missing }, "failed", "sms-client"],
  ],
  wemKey: [
    ["there is no key", {}, "ready"],
    [
      "the key is there",
      { "wem-key": said("fb8cc9e38d3e60ab60c17cdfd6dd6d99_5c2d\r\n") },
      "pending",
      "delete fb8cc9e38d3e60ab60c17cdfd6dd6d99_5c2d in %ProgramData%\\Microsoft\\Crypto\\RSA\\S-1-5-18",
    ],
    ["it went between the two looks", { "wem-key": said("", 1, "File Not Found\r\n") }, "ready"],
    ["dir says nothing", { "wem-key": fixture.saysNothing }, "failed", "dir ended with 0 and names no file"],
    ["dir fails", { "wem-key": said("x\r\n", 5) }, "failed", "dir ended with 5"],
  ],
  fsLogix: [
    ["nobody's session is known", {}, "ready"],
    [
      "a session is known",
      { "fslogix-sessions": contents("", `${HKLM}\\SOFTWARE\\FSLogix\\Profiles\\Sessions\\S-1-5-21-1`) },
      "pending",
      "FSLogix knows sessions of S-1-5-21-1 (HKLM\\SOFTWARE\\FSLogix\\Profiles\\Sessions)",
    ],
    ["reg prints nothing", { "fslogix-sessions": fixture.saysNothing }, "failed", "fslogix-sessions"],
  ],
  pvDrivers: [
    ["none is installed", {}, "ready"],
    [
      "they are mended",
      { "pv-drivers": fixture.systemDevices(["XenBus_Inst", "XenServer", "9.1.11.115"], ["XenIface_Inst", "XenServer", "9.1.12.94"]) },
      "ready",
    ],
    [
      "xenbus is the last vulnerable one",
      { "pv-drivers": fixture.systemDevices(["XenBus_Inst", "Citrix Systems, Inc.", "9.1.11.114"]) },
      "pending",
      "xenbus 9.1.11.114 of Citrix Systems, Inc. (vulnerable up to 9.1.11.114); install newer VM tools",
    ],
    [
      "xeniface is older, of XCP-ng",
      { "pv-drivers": fixture.systemDevices(["XenIface_Inst", "XCP-ng", "9.0.9030.0"], ["XenBus_Inst", "XCP-ng", "9.0.9049"]) },
      "pending",
      "xeniface 9.0.9030.0 of XCP-ng (vulnerable up to 9.0.9048)",
    ],
    [
      "xeniface of the Xen Project",
      { "pv-drivers": fixture.systemDevices(["XenIface_Inst", "Xen Project", "9.1.0.0"]) },
      "pending",
      "vulnerable up to 9.1.0.0",
    ],
    ["xenbus of Vates is mended", { "pv-drivers": fixture.systemDevices(["XenBus_Inst", "Vates", "9.1.100.0"]) }, "ready"],
    [
      "the vendor is nobody known",
      { "pv-drivers": fixture.systemDevices(["XenBus_Inst", "Amazon Inc.", "8.4.3.0"]) },
      "ready",
      "not known whether XSA-468 is mended in xenbus 8.4.3.0 of Amazon Inc.",
    ],
    [
      "the version is none",
      { "pv-drivers": fixture.systemDevices(["XenBus_Inst", "XenServer", "new"]) },
      "ready",
      "xenbus new of XenServer",
    ],
    ["reg prints nothing", { "pv-drivers": fixture.saysNothing }, "failed", "lists no device"],
    ["reg fails", { "pv-drivers": { ...fixture.systemDevices(), rc: 5 } }, "failed", "reg ended with 5"],
    [
      "a vendor only has their name in its own",
      { "pv-drivers": fixture.systemDevices(["XenBus_Inst", "Not Xen Project", "9.0.0.0"]) },
      "ready",
      "Not Xen Project",
    ],
    [
      "one is old and one is nobody's",
      { "pv-drivers": fixture.systemDevices(["XenBus_Inst", "XenServer", "9.1.0.0"], ["XenIface_Inst", "", ""]) },
      "pending",
      /\(XSA-468\): xenbus 9\.1\.0\.0 of XenServer \(vulnerable up to 9\.1\.11\.114\); install/,
    ],
    [
      "one has neither vendor nor version",
      { "pv-drivers": fixture.systemDevices(["XenIface_Inst", "", ""]) },
      "ready",
      "xeniface of no version of no vendor",
    ],
  ],
  platformSays: [
    ["the layer says nothing", { "service-vda": service("BrokerAgent") }, "ready"],
    ["a service has no start", { "service-vda": fixture.saysNothing }, "failed", "lacks Start, which every service has"],
    ["reg is missing", { "service-pvs": missing }, "failed", "service-pvs"],
  ],
  residue: [
    ["nothing is left", {}, "ready"],
    [
      "drives are mapped",
      { "mapped-drives": contents("", "HKEY_CURRENT_USER\\Network\\S", "HKEY_CURRENT_USER\\Network\\T") },
      "pending",
      "Mapped drives are left (HKCU\\Network): S, T; remove them",
    ],
    ["reg prints nothing of drives", { "mapped-drives": fixture.saysNothing }, "failed", "mapped-drives"],
    ["an ISO is inserted", { "drive-d": fixture.volume("CDFS") }, "pending", "An ISO image is inserted in drive D: (CDFS); eject it."],
    ["an ISO of the other kind is inserted", { "drive-f": fixture.volume("UDF") }, "pending", "drive F: (UDF)"],
    ["a second disk is there", { "drive-d": fixture.volume("NTFS") }, "ready"],
    ["a drive has a file system of no name", { "drive-d": fixture.volume("RAW") }, "failed", "drive-d"],
    ["fsutil fails", { "drive-d": said(fixture.volume("NTFS").out, 1) }, "failed", "fsutil ended with 1"],
    [
      "installers are left",
      { "temp-exe": said("a.exe\r\nb.exe\r\n") },
      "pending",
      "Installers are left in %TEMP%: a.exe, b.exe; delete them.",
    ],
    ["fast start-up is on", { "fast-start": one("X\\Power", "HiberbootEnabled    REG_DWORD    0x1") }, "ready", "fast start-up is on"],
    ["fast start-up is off", { "fast-start": one("X\\Power", "HiberbootEnabled    REG_DWORD    0x0") }, "ready"],
    ["fast start-up is not told", { "fast-start": fixture.saysNothing }, "failed", "lacks HiberbootEnabled"],
  ],
});

it.each([
  [{ connectionBroker: "xendesktop" }, { "service-vda": service("BrokerAgent") }, "ready", ""],
  [
    { connectionBroker: "xenapp" },
    {},
    "pending",
    "needs Virtual Delivery Agent, which is not installed (service BrokerAgent, asked by service-vda)",
  ],
  [
    { connectionBroker: "none" },
    { "service-vda": service("BrokerAgent") },
    "pending",
    "Virtual Delivery Agent is installed, which the layer's platform does not name",
  ],
  [{ provisioningService: "pvs" }, { "service-pvs": service("BNDevice") }, "ready", ""],
  [{ provisioningService: "mcs" }, { "service-pvs": service("BNDevice") }, "pending", "Provisioning target device is installed"],
  [{ hypervisor: "xenserver" }, { "service-xenbus": service("xenbus", "0x0") }, "ready", ""],
  [{ hypervisor: "xenserver" }, {}, "pending", "needs PV drivers of XenServer"],
  [{ hypervisor: "vsphere" }, { "service-xenbus": service("xenbus", "0x0") }, "ready", ""],
] as const)("a layer that says %j: %j is %s", (platform, answers, state, says) => {
  const judged = judge("platformSays", answers, "windows", platform);
  expect(judged.state).toBe(state);
  if (judged.state !== "ready") expect(judged.message).toContain(says);
});

it("shows how far the encryption has to go back", () => {
  expect(judge("bitLocker", { bitlocker: fixture.bitLocker("30.0%", 1) })).toMatchObject({ state: "pending", percent: 70 });
});

it("tells versions by their numbers", () => {
  expect(isAbove("9.1.11.115", "9.1.11.114")).toBe(true);
  expect(isAbove("9.1.11.114", "9.1.11.114")).toBe(false);
  expect(isAbove("9.1.9.200", "9.1.11.114")).toBe(false);
  expect(isAbove("10.0", "9.1.11.114")).toBe(true);
  expect(isAbove("9.0.9048", "9.0.9048.0")).toBe(false);
  expect(isAbove("9", "9.1")).toBeUndefined();
  expect(isAbove("9.1.0.0.1", "9.1")).toBeUndefined();
  expect(isAbove("9.1.x", "9.1")).toBeUndefined();
});

it("tells kernels by their numbers", () => {
  expect(isNewer("6.1.0-22-amd64", "6.1.0-9-amd64")).toBe(true);
  expect(isNewer("6.1.0-9-amd64", "6.1.0-22-amd64")).toBe(false);
  expect(isNewer("6.1.0-9-amd64", "6.1.0-9-amd64")).toBe(false);
  expect(isNewer("5.14.0-427.el9.x86_64", "5.14.0-427.el9")).toBe(true);
  expect(isNewer("5.14.0-427.el9", "5.14.0-427.el9.x86_64")).toBe(false);
  expect(isNewer("6.1-b", "6.1-a")).toBe(true);
});
