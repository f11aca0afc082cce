// The bootstrap: what makes a guest look for the payload disk at each start and run the order on it. An OS layer has cloud-init or cloudbase-init, which take the
// disk as NoCloud, or the bootstrap that is carried on the disk itself: a task of Windows' scheduler as SYSTEM, a unit of systemd.
// Promises: installed without "keep" it is gone from the sealed layer (finalize removes it when all is quiet); of disks that Windows keeps offline only this one is brought
// online; what is installed only looks for the disk, everything else comes with the order.
//
// No answer file lies on the disk, as Windows Setup would not read it there: it looks at the registry's UnattendFile, %WINDIR%\Panther, the root of removable media,
// %WINDIR%\System32\Sysprep and %SYSTEMDRIVE% (learn.microsoft.com, Windows Setup Automation Overview, "Implicit answer file search order"), and this disk is a
// fixed one (machine.ts: its VBD is not unpluggable). A generalised image keeps its tasks, so the bootstrap is installed before it is generalised.
import { cmdEcho, crlf, ownPrograms, pause } from "./cmd.ts";
import type { GuestOs } from "./fact.ts";
import { shQuote } from "./sh.ts";
import { throughXeniface } from "./xeniface.ts";

export const PAYLOAD_LABEL = "CIDATA";

/** What a report calls it when a bootstrap that was installed for one version alone could not be removed from it. */
export const BOOTSTRAP_REMAINS = "bootstrap";

interface BootstrapFile {
  /** Below /xenlayer/bootstrap. */
  readonly path: string;
  readonly data: Uint8Array;
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

export function bootstrapFiles(os: GuestOs): BootstrapFile[] {
  if (os === "linux")
    return [
      { path: "bootstrap.sh", data: utf8(linuxBootstrap) },
      { path: "xenlayer.service", data: utf8(linuxUnit) },
      { path: "install.sh", data: utf8(linuxInstall) },
      { path: "uninstall.sh", data: utf8(linuxUninstall) },
    ];
  return [
    { path: "bootstrap.cmd", data: utf8(crlf(windowsBootstrap)) },
    // As schtasks writes its own: UTF-16 with a mark. Declared otherwise than it is encoded, it is refused ("unable to switch the encoding").
    { path: "task.xml", data: Buffer.from(`\ufeff${crlf(windowsTask)}`, "utf16le") },
    { path: "install.cmd", data: utf8(crlf(windowsInstall)) },
    { path: "uninstall.cmd", data: utf8(crlf(windowsUninstall)) },
  ];
}

/** What both installers say at last; Windows' own words are localised. */
export const INSTALLED = "xenlayer's bootstrap is installed.";

const onEachDrive = (letter: string): string =>
  `for ${letter} in (D E F G H I J K L M N O P Q R S T U V W X Y Z) do @if exist ${letter}:\\xenlayer\\bootstrap\\install.cmd cmd /d /c ${letter}:\\xenlayer\\bootstrap\\install.cmd`;

/** The same as the one line of a batch file. */
export const installBatch = `@${onEachDrive("%%d")}`;

/** One command line that finds the disk and installs what it carries: for whoever can log in. */
export const installCommand = (os: GuestOs): string =>
  os === "windows"
    ? `cmd /d /c "${onEachDrive("%d")}"`
    : `if [ "$(id -u)" = 0 ]; then as=; else as="sudo -n"; fi; $as sh -c ${shQuote(`${linuxFind}exec sh "$m/xenlayer/bootstrap/install.sh"`)}`;

// --- Linux

export const LINUX_HOME = "/opt/xenlayer";

// Nobody but root reads the disk: secrets of steps lie on it.
export const linuxFind = `d=$(blkid -L ${PAYLOAD_LABEL}) || exit 0
m=/run/xenlayer
mkdir -p "$m"
mountpoint -q "$m" || mount -t vfat -o rw,flush,umask=077 "$d" "$m" || exit 0
[ -e "$m/xenlayer/run.sh" ] || exit 0
`;

const linuxBootstrap = `#!/bin/sh
# xenlayer: runs the order on the disk labelled ${PAYLOAD_LABEL}, if there is one.
${linuxFind}exec sh "$m/xenlayer/run.sh"
`;

// Not part of the boot: what asks whether the boot is done, and what a step restarts, must not wait for the order itself.
const linuxUnit = `[Unit]
Description=xenlayer: runs the order of a packaging machine
After=multi-user.target

[Service]
ExecStart=/bin/sh ${LINUX_HOME}/bootstrap.sh

[Install]
WantedBy=multi-user.target
`;

const linuxInstall = `#!/bin/sh
# xenlayer: installs what runs the orders of packaging machines at each start.
# "keep": it stays in the layer, as an OS layer needs it. Else it is removed when this layer is sealed.
transient=
command -v systemctl >/dev/null 2>&1 || { echo "there is no systemd here: run bootstrap.sh as root at each start by other means" >&2; exit 1; }
cd "$(dirname "$0")" || exit 1
# What an OS layer keeps stays kept.
if [ "$1" != keep ] && [ ! -e ${LINUX_HOME}/bootstrap.sh ]; then transient=yes; fi
mkdir -p ${LINUX_HOME} /etc/systemd/system && cp bootstrap.sh ${LINUX_HOME}/ && cp xenlayer.service /etc/systemd/system/ || { echo "run this as root" >&2; exit 1; }
[ "$1" != keep ] || rm -f ${LINUX_HOME}/transient
[ "$transient" != yes ] || : >${LINUX_HOME}/transient
systemctl daemon-reload
systemctl enable xenlayer.service || exit 1
echo "${INSTALLED}"
# In an image that is only mounted there is nothing to start.
[ ! -d /run/systemd/system ] || systemctl start --no-block xenlayer.service
`;

const linuxUninstall = `#!/bin/sh
# xenlayer: removes what install.sh has installed. What it has started goes on to its end.
systemctl disable xenlayer.service
rm -f /etc/systemd/system/xenlayer.service
left=
for f in /etc/systemd/system/xenlayer.service /etc/systemd/system/multi-user.target.wants/xenlayer.service; do
  if [ -e "$f" ] || [ -L "$f" ]; then left="$left $f"; fi
done
# The mark "transient" goes last: what is left is tried again, and still found, by the next order.
[ -n "$left" ] || rm -rf ${LINUX_HOME}
systemctl daemon-reload
if [ -n "$left" ] || [ -e ${LINUX_HOME} ]; then
  echo "xenlayer's bootstrap could not be removed, left:$left ${LINUX_HOME}" >&2
  exit 1
fi
`;

/** For finalize.sh, when all is quiet. */
export const linuxLeave = `if [ -e ${LINUX_HOME}/transient ]; then
  sh bootstrap/uninstall.sh >out/uninstall.txt 2>&1 || { blocked=" ${BOOTSTRAP_REMAINS}"; stop c; }
fi`;

// --- Windows

/** Not %ProgramFiles%, which is another folder for a 32-bit program. Users can't write here. */
export const WINDOWS_HOME = "%SystemRoot%\\xenlayer";

/** The provider writes the payload disk's serial number there while the machine is halted. */
export const PAYLOAD_KEY = "vm-data/xenlayer/payload";
/** SM, scsiutil.gen_synthetic_page_data: page 80 holds 16 characters of the VDI's uuid; xenvbd hands it on from sm-data/scsi/0x12/0x80. */
export const payloadSerial = (vdiUuid: string): string => vdiUuid.slice(0, 16);

/**
 * By SAN policy Windows keeps new disks of shared buses offline (learn.microsoft.com, VDS_SAN_POLICY), the PV drivers' among them, and what is on an offline disk, its
 * label too, can't be read. So it is told by its serial number; which that is, is asked of xenstore through xeniface, which comes with xenvbd.
 * Nothing else is ever brought online; where no key says which disk it is, nothing is.
 */
export const BRING_ONLINE = throughXeniface(
  [
    `$told = (Invoke-CimMethod -InputObject $session -MethodName GetValue -Arguments @{ Pathname = '${PAYLOAD_KEY}' }).value;`,
    "foreach ($disk in Get-Disk) { if ($disk.IsOffline -and ($told.Length -eq 16) -and ($disk.SerialNumber -like ($told + '*'))) {",
    "$disk | Set-Disk -IsOffline $false; $disk | Set-Disk -IsReadOnly $false } }",
  ].join(" "),
);

// Drive letters say nothing: a disk is ours by its label and what is on it. A disk may come late, when its driver is installed at this very start.
export const windowsFind = (nowhere: string): string => `${ownPrograms}set drive=
set looks=0
:look
for %%d in (D E F G H I J K L M N O P Q R S T U V W X Y Z) do call :try %%d
if not "%drive%"=="" goto found
if "%looks%"=="6" exit /b ${nowhere}
set /a looks=looks+1
powershell -NoProfile -NonInteractive -Command "$ErrorActionPreference = 'Stop'; ${BRING_ONLINE}" >nul 2>&1 <nul
${pause(10)}
goto look

:try
if not exist %1:\\xenlayer\\run.cmd exit /b 0
vol %1: | find "${PAYLOAD_LABEL}" >nul
if "%errorlevel%"=="0" set drive=%1
exit /b 0

:found
`;

// Without "call": the order's script takes the place of this one, which may be removed while that runs.
const windowsBootstrap = `@echo off
rem xenlayer: runs the order on the disk labelled ${PAYLOAD_LABEL}, if there is one.
${windowsFind("0")}"%drive%:\\xenlayer\\run.cmd"
`;

// Settings that schtasks has no switches for: a step may last long, batteries don't count, and 7, the default priority, makes disks slow too.
const windowsTask = `<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>xenlayer: runs the order of a packaging machine</Description>
  </RegistrationInfo>
  <Triggers>
    <BootTrigger>
      <Enabled>true</Enabled>
    </BootTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>S-1-5-18</UserId>
      <RunLevel>HighestAvailable</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>5</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>%SystemRoot%\\System32\\cmd.exe</Command>
      <Arguments>/d /c ${WINDOWS_HOME}\\bootstrap.cmd</Arguments>
    </Exec>
  </Actions>
</Task>
`;

const windowsInstall = `@echo off
rem xenlayer: installs what runs the orders of packaging machines at each start.
rem "keep": it stays in the layer, as an OS layer needs it. Else it is removed when this layer is sealed.
rem What an OS layer keeps stays kept.
set transient=yes
if exist "${WINDOWS_HOME}\\bootstrap.cmd" if not exist "${WINDOWS_HOME}\\transient" set transient=no
if /i "%~1"=="keep" set transient=no
if not exist "${WINDOWS_HOME}" mkdir "${WINDOWS_HOME}"
copy /y "%~dp0bootstrap.cmd" "${WINDOWS_HOME}\\bootstrap.cmd" >nul
if not "%errorlevel%"=="0" goto refused
if exist "${WINDOWS_HOME}\\transient" del /f /q "${WINDOWS_HOME}\\transient"
if "%transient%"=="yes" >"${WINDOWS_HOME}\\transient" echo removed when the layer is sealed
schtasks /create /tn xenlayer /xml "%~dp0task.xml" /f
if not "%errorlevel%"=="0" goto refused
schtasks /run /tn xenlayer
${cmdEcho(INSTALLED)}
exit /b 0

:refused
${cmdEcho("xenlayer's bootstrap could not be installed: run this as administrator.")}
exit /b 1
`;

// A task that is deleted while it runs goes on (learn.microsoft.com, schtasks delete). The task goes first and the mark "transient" last: what could not be removed
// is tried again by the next order, and still found by it.
const windowsUninstall = `@echo off
rem xenlayer: removes what install.cmd has installed. What it has started goes on to its end.
schtasks /delete /tn xenlayer /f
schtasks /query /tn xenlayer >nul 2>&1
if "%errorlevel%"=="0" goto remains
if exist "%SystemRoot%\\System32\\Tasks\\xenlayer" goto remains
if exist "${WINDOWS_HOME}\\bootstrap.cmd" del /f /q "${WINDOWS_HOME}\\bootstrap.cmd"
if exist "${WINDOWS_HOME}\\bootstrap.cmd" goto remains
if exist "${WINDOWS_HOME}" rd /s /q "${WINDOWS_HOME}"
if exist "${WINDOWS_HOME}" goto remains
exit /b 0

:remains
${cmdEcho("xenlayer's bootstrap could not be removed: run this as administrator.")}
exit /b 1
`;

/** For finalize.cmd, when all is quiet: a task that runs whatever disk is called CIDATA must not be sealed unseen. */
export const windowsLeave = `if not exist "${WINDOWS_HOME}\\transient" goto left_alone
cmd /d /c "%XENLAYER_HOME%\\bootstrap\\uninstall.cmd" >out\\uninstall.txt 2>&1
if "%errorlevel%"=="0" goto left_alone
set blocked= ${BOOTSTRAP_REMAINS}
goto stop
:left_alone`;

// --- Manual mode: App Layering's icon on everybody's desktop. Whoever clicks it is asked for an administrator's consent.

const ICON = "%PUBLIC%\\Desktop\\Shutdown For Finalize.cmd";

/** For run.cmd: at each start, as the drive's letter may be another one. */
export const putIcon = `if not exist "%PUBLIC%\\Desktop" goto by_hand
>"${ICON}" echo @echo off
>>"${ICON}" echo powershell -NoProfile -NonInteractive -Command "Start-Process -FilePath '%XENLAYER_HOME%\\finalize.cmd' -Verb RunAs"
:by_hand`;

/** For finalize.cmd, when all is quiet: it is no part of the layer. */
export const removeIcon = `if exist "${ICON}" del /f /q "${ICON}"`;
