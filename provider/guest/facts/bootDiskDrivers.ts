// Drivers of the boot disk that wait for a restart, or that would not start at the next one. Sealed in this state, the layer's image may stop with 0x7B.
// Signals: xenbus_monitor's requests (win-xenbus src/xen/config.c, src/xenbus.inf), NeedReboot of the tools before them (win-installer PVDevice.cs), and what
// makes Windows leave a boot driver out: another Start than 0, or a key StartOverride, which the boot disk's new identity in an image brings to bear
// (win-xenbus src/monitor/monitor.c removes it; xcp-ng's XenBootFix repairs it offline). Of other vendors' drivers Plug and Play itself tells.
import {
  type Check,
  cannotTell,
  type Fact,
  type Judgement,
  joinJudgements,
  judgeAbsent,
  pending,
  ready,
  unknown,
  value,
  words,
} from "../fact.ts";
import { askedByPowerShell, sayNone, saySome } from "../powershell.ts";
import { dword, parseRegQuery, type RegistryAnswer, registryValue, valueNamed } from "../registry.ts";

const SERVICES = "HKLM\\SYSTEM\\CurrentControlSet\\Services";
const SEED = "A reboot is pending to update drivers on the boot disk - please check and reboot the Packaging Machine.";

// The request keys are volatile, one a driver: gone after a restart.
export const xenbusRequests = registryValue("xenbus-requests", `${SERVICES}\\xenbus_monitor\\Request`, "Reboot", "reboot", true);

// Where the drivers keep their requests is theirs to say (win-xenbus src/xenbus.inf, RequestKey); nobody is known to keep them elsewhere.
const REQUEST_KEY = "SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Request";
const requestKey: Fact<RegistryAnswer> = {
  ...registryValue("xenbus-request-key", `${SERVICES}\\xenbus_monitor\\Parameters`, "RequestKey", "none"),
  quiet: { kind: "textAbsent", text: [], present: [`RequestKey    REG_SZ    ${REQUEST_KEY}`], orCode: 1 },
};

const legacy = ["xenbus", "xenvbd", "xenvif"].map((driver) => ({
  driver,
  fact: registryValue(`need-reboot-${driver}`, `${SERVICES}\\${driver}\\Status`, "NeedReboot", "reboot"),
}));

const bootStarts = ["xenbus", "xenvbd"].map((driver): { driver: string; fact: Fact<RegistryAnswer> } => ({
  driver,
  fact: {
    id: `boot-start-${driver}`,
    command: `reg query "${SERVICES}\\${driver}"`,
    quiet: { kind: "textAbsent", text: ["StartOverride"], present: ["    Start    REG_DWORD    0x0"] },
    requires: `%SystemRoot%\\System32\\drivers\\${driver}.sys`,
    // No restart changes it.
    fix: "none",
    parse: (raw) => {
      if (raw.rc !== 0) return unknown(`reg ended with ${raw.rc}: ${words(raw)}`);
      const answer = parseRegQuery(raw.out);
      return valueNamed(answer, "Start") === undefined ? unknown("the answer lacks Start, which every driver has") : value(answer);
    },
  },
}));

// CM_PROB_NEED_RESTART, 14: "This device cannot work properly until you restart your computer". Every Windows has devices that work (0): an answer without one is
// none (exit code 3).
const deviceRestart = askedByPowerShell(
  "device-restart",
  "$well = 0; $ids = @(); foreach ($each in Get-CimInstance -ClassName Win32_PnPEntity) { $code = $each.ConfigManagerErrorCode; " +
    "if ($code -eq 0) { $well += 1 }; if ($code -eq 14) { $ids += $each.PNPDeviceID } }; " +
    `if ($well -eq 0) { exit 3 }; if ($ids.Count -eq 0) { ${sayNone} } else { ${saySome}; Write-Output -InputObject $ids }`,
  "reboot",
);

function judgeDevices(ids: readonly string[]): Judgement {
  const named = ids.slice(0, 5).join(", ") + (ids.length > 5 ? ` and ${ids.length - 5} more` : "");
  return pending(`${SEED} Windows can't use ${ids.length === 0 ? "a device that it does not name" : named} before (problem code 14).`);
}

function judgeRequests(answer: RegistryAnswer): Judgement {
  if (answer.values.length === 0) return pending(`${SEED} xenbus_monitor answered without saying which driver asks; restart the guest.`);
  // A request that cannot be read as a number counts: only an explicit 0 is "no".
  const wishes = answer.values.filter((entry) => entry.name.toLowerCase() === "reboot" && dword(entry) !== 0);
  const drivers = wishes.map(({ key }) => key.slice(key.lastIndexOf("\\") + 1));
  return drivers.length === 0 ? ready : pending(`${SEED} Asked for by ${drivers.join(", ")} (${SERVICES}\\xenbus_monitor\\Request).`);
}

function judgeRequestKey(answer: RegistryAnswer): Judgement {
  const key = valueNamed(answer, "RequestKey")?.data;
  if (key?.toLowerCase() === REQUEST_KEY.toLowerCase()) return ready;
  return cannotTell(requestKey, `the PV drivers keep their requests in ${key ?? "a place that is not said"}, where nothing was looked for`);
}

function judgeStart(driver: string, answer: RegistryAnswer): Judgement {
  const start = valueNamed(answer, "Start");
  const override = answer.keys.find((key) => /\\StartOverride$/i.test(key));
  const where = `${SERVICES}\\${driver}`;
  return joinJudgements([
    start !== undefined && dword(start) === 0
      ? ready
      : pending(
          `Driver ${driver} does not start at boot: ${where}, Start is ${start?.data ?? "missing"}, not 0x0; reinstall the VM tools.`,
        ),
    override === undefined
      ? ready
      : pending(
          `Driver ${driver} may be left out at boot: ${where}\\StartOverride exists; delete that key in a step, or reinstall the VM tools.`,
        ),
  ]);
}

export const bootDiskDrivers: Check = {
  id: "bootDiskDrivers",
  title: "Drivers of the boot disk",
  prompt: SEED,
  bit: { name: "reboot", value: 2 },
  policy: "fix",
  windows: {
    facts: [xenbusRequests, requestKey, ...legacy.map(({ fact }) => fact), ...bootStarts.map(({ fact }) => fact), deviceRestart],
    judge: (look) =>
      joinJudgements([
        judgeAbsent(xenbusRequests, look, judgeRequests),
        judgeAbsent(requestKey, look, judgeRequestKey),
        ...legacy.map(({ driver, fact }) =>
          judgeAbsent(fact, look, () => pending(`${SEED} Driver ${driver} has set ${SERVICES}\\${driver}\\Status, NeedReboot.`)),
        ),
        ...bootStarts.map(({ driver, fact }) => judgeAbsent(fact, look, (answer) => judgeStart(driver, answer))),
        judgeAbsent(deviceRestart, look, judgeDevices),
      ]),
  },
};
