// The rearms in a Windows guest: what is asked of them before anything else, and what is done as the last act before the last sample. Office's comes first: when it fails, Windows' own
// count is not spent.
import { KMS_COMMANDS, KMS_REARMED, KMS_TEXTS } from "./facts/kms.ts";
import { OFFICE_PLACES, OFFICE_TEXTS } from "./facts/office.ts";
import type { Order } from "./order.ts";

/** Before anything else: where a rearm can't be, nothing is begun. */
export const rearmsAsked = ({ kms, office, mode }: Order): string =>
  `${kms.rearm ? kmsBefore(mode === "manual") : ""}${office.rearm ? officeBefore(mode === "manual") : ""}`;

export const rearmsDone = ({ kms, office }: Order): string => `${office.rearm ? officeRearm : ""}${kms.rearm ? kmsRearm : ""}`;

/** Where the two above go when they can't go on. */
export const rearmStops = ({ kms, office, mode }: Order): string =>
  `${kms.rearm ? kmsStops(mode === "manual") : ""}${office.rearm ? officeStops(mode === "manual") : ""}`;

const asked = (command: string, file: string): string => `${command} >${file}.out 2>${file}.err <nul
set rc=%errorlevel%
>${file}.rc echo %rc%
`;

// A rearm of an earlier boot is spent by this boot, so it is not repeated blindly.
// By hand it is ("rearm KMS yet again just before you shutdown"); within one boot, once is enough in any case.
const onceABoot = (what: "kms" | "office", manual: boolean): string => `if not exist out\\${what} mkdir out\\${what}
set ${what}_boot=none
if exist out\\${what}\\started for /f %%k in (out\\${what}\\started) do set ${what}_boot=%%k
if "%${what}_boot%"=="%id%" goto ${what}_checked
${manual ? "" : `if not "%${what}_boot%"=="none" goto ${what}_spent\n`}`;

const stopped = (manual: boolean): string =>
  manual ? "call :answer blocked\npause\nexit /b 1" : 'call :settle\nif not "%busy%"=="" goto left\ncall :answer blocked\ngoto off';

const slmgr = (command: string, name: string): string => asked(command, `out\\kms\\${name}`);

const kmsBefore = (
  manual: boolean,
): string => `${onceABoot("kms", manual)}${slmgr(KMS_COMMANDS.show, "before")}if not "%rc%"=="0" goto kms_unread
find "${KMS_TEXTS.answered}" out\\kms\\before.out >nul
if not "%errorlevel%"=="0" goto kms_unread
find "${KMS_TEXTS.client}" out\\kms\\before.out >nul
if "%errorlevel%"=="1" goto kms_checked
find "${KMS_TEXTS.count}" out\\kms\\before.out >nul
if not "%errorlevel%"=="0" goto kms_unread
find "${KMS_TEXTS.none}" out\\kms\\before.out >nul
if not "%errorlevel%"=="1" goto kms_none
find "${KMS_TEXTS.notApplicable}" out\\kms\\before.out >nul
if not "%errorlevel%"=="1" goto kms_unread
set kms=yes
:kms_checked
`;

const kmsRearm = `if "%kms%"=="no" goto kms_rearmed
>out\\kms\\started echo %id%
call :tell rearming KMS
${slmgr(KMS_COMMANDS.rearm, "rearm")}if not "%rc%"=="0" goto kms_failed
${slmgr(KMS_COMMANDS.show, "after")}set text=${KMS_TEXTS.count}
if "%rc%"=="${KMS_REARMED}" set text=${KMS_TEXTS.rearmed}
if not "%rc%"=="0" if not "%rc%"=="${KMS_REARMED}" goto kms_failed
find "%text%" out\\kms\\after.out >nul
if not "%errorlevel%"=="0" goto kms_failed
:kms_rearmed
`;

const kmsStops = (manual: boolean): string => `
:kms_unread
set blocked= kms
echo KMS: the remaining rearm count can't be read from slmgr /dlv, see out\\kms\\before.out
${stopped(manual)}
:kms_none
set blocked= kms
echo KMS: the remaining rearm count is 0, so this machine can't be rearmed.
${stopped(manual)}
:kms_failed
set blocked= kms
echo KMS: slmgr has not rearmed this machine, or does not say so, see out\\kms
${stopped(manual)}
:kms_spent
set blocked= kms
echo KMS: this order has rearmed the machine before; finalize it anew.
${stopped(manual)}
`;

const variable = (id: string): string => `office_${id.replace("-", "_")}`;

// "LICENSE DESCRIPTION: Office 16, VOLUME_KMSCLIENT channel": one line a product that has a key.
const channels = (file: string, then: string): string =>
  `for /f "tokens=1,2,5 delims=:, " %%a in (${file}) do if "%%a %%b"=="LICENSE DESCRIPTION" ${then}\n`;

const officeBefore = (manual: boolean): string => {
  const places = OFFICE_PLACES.map(({ id, rearm, ospp }) => {
    const name = variable(id);
    const file = `out\\office\\${id}-status`;
    return `set ${name}=no
set others=no
if not exist "${rearm}" goto ${name}_absent
${asked(`cscript //nologo "${ospp}" /dstatus`, file)}if not "%rc%"=="0" goto office_unread
find "${OFFICE_TEXTS.answered}" ${file}.out >nul
if not "%errorlevel%"=="0" goto office_unread
${channels(`${file}.out`, `if "%%c"=="${OFFICE_TEXTS.channel}" set ${name}=yes`)}${channels(`${file}.out`, `if not "%%c"=="${OFFICE_TEXTS.channel}" set others=yes`)}if "%${name}%%others%"=="yesyes" goto office_mixed
if "%${name}%"=="yes" set office=yes
goto ${name}_next
:${name}_absent
>${file}.rc echo absent
:${name}_next
`;
  });
  return `set office=no
${onceABoot("office", manual)}${places.join("")}:office_checked
`;
};

const officeRearm = `if "%office%"=="no" goto office_rearmed
>out\\office\\started echo %id%
call :tell rearming Office
${OFFICE_PLACES.map(({ id, rearm }) => {
  const name = variable(id);
  const file = `out\\office\\${id}-rearm`;
  return `if not "%${name}%"=="yes" goto ${name}_kept
${asked(`"${rearm}"`, file)}if not "%rc%"=="0" goto office_failed
find "${OFFICE_TEXTS.rearmed}" ${file}.out >nul
if not "%errorlevel%"=="0" goto office_failed
:${name}_kept
`;
}).join("")}:office_rearmed
`;

const officeStops = (manual: boolean): string => `
:office_unread
set blocked= office
echo Office: its licences can't be read from ospp.vbs /dstatus, see out\\office
${stopped(manual)}
:office_mixed
set blocked= office
echo Office: some of its products are licensed by KMS and some are not, which one rearm would all reset, see out\\office
${stopped(manual)}
:office_failed
set blocked= office
echo Office: OSPPREARM.EXE has not rearmed it, see out\\office
${stopped(manual)}
:office_spent
set blocked= office
echo Office: this order has rearmed it before; finalize it anew.
${stopped(manual)}
`;
