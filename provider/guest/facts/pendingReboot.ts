// A restart that an installation waits for. Which signals count, which are noise and why: the table of guest.md 2.3.
// PendingFileRenameOperations is the noisy one (choco#1768, Toast-Notification-Script#40, PatchMon#772): its pairs are read, not its existence.
import {
  type Check,
  cannotTell,
  type Fact,
  failed,
  type Judgement,
  joinJudgements,
  judgeAbsent,
  pending,
  type Raw,
  type Reading,
  ready,
  unknown,
  value,
  words,
} from "../fact.ts";
import { askedByPowerShell, sayNone, saySome } from "../powershell.ts";
import {
  dword,
  parseRegQuery,
  type RegistryAnswer,
  registryFlag,
  registryKey,
  registryListing,
  registryValue,
  valueNamed,
} from "../registry.ts";
import { judgeKernel, kernel } from "./kernel.ts";

const CURRENT = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion";
const CONTROL = "HKLM\\SYSTEM\\CurrentControlSet\\Control";
const SEED = "A post-installation reboot is pending - please check and reboot the Packaging Machine.";

const keys = [
  {
    fact: registryKey("cbs-reboot-pending", `${CURRENT}\\Component Based Servicing\\RebootPending`, "reboot"),
    says: "Windows servicing waits for it",
  },
  // Servicing is at work on the restart itself: waiting ends it, another restart would not.
  {
    fact: registryKey("cbs-reboot-in-progress", `${CURRENT}\\Component Based Servicing\\RebootInProgress`, "wait"),
    says: "Windows servicing is finishing the last one",
  },
  {
    fact: registryKey("windows-update-reboot", `${CURRENT}\\WindowsUpdate\\Auto Update\\RebootRequired`, "reboot"),
    says: "Windows Update waits for it",
  },
  {
    fact: registryKey("domain-join", "HKLM\\SYSTEM\\CurrentControlSet\\Services\\Netlogon\\JoinDomain", "reboot"),
    says: "a domain operation waits for it",
  },
  {
    fact: registryKey("domain-spn", "HKLM\\SYSTEM\\CurrentControlSet\\Services\\Netlogon\\AvoidSpnSet", "reboot"),
    says: "a domain operation waits for it",
  },
  // Configuration Manager's client; its own question (CCM_ClientUtilities) would need WMI.
  {
    fact: registryKey("sccm-reboot", "HKLM\\SOFTWARE\\Microsoft\\SMS\\Mobile Client\\Reboot Management\\RebootData", "reboot"),
    says: "the Configuration Manager client waits for it",
  },
];

// Roles and features that were added or removed (Ansible's facts read it, too).
const SERVER_MANAGER = "HKLM\\SOFTWARE\\Microsoft\\ServerManager\\ServicingStorage\\ServerComponentCache";
const serverManager = registryFlag("server-manager", SERVER_MANAGER, "RestartRequired", "reboot");

// KB832475: set by the installers of updates before Windows Vista's servicing, and by some that still copy them. 0 means nothing is pending.
const updateExe = ["HKLM\\SOFTWARE\\Microsoft\\Updates", "HKLM\\SOFTWARE\\Wow6432Node\\Microsoft\\Updates"].map((key, index) => ({
  key,
  fact: registryValue(index === 0 ? "update-exe" : "update-exe-32", key, "UpdateExeVolatile", "reboot"),
}));

// Windows Update's own word, which Ansible and packer-plugin-windows-update ask for before its key. Where its service is disabled, as images often have it, the
// object may refuse to answer: nothing is at work then, and what was left before shows in the key.
const updateRestart = askedByPowerShell(
  "windows-update-says",
  "try { $asks = (New-Object -ComObject Microsoft.Update.SystemInfo).RebootRequired } " +
    `catch { if ((Get-Service -Name wuauserv).StartType -ne 'Disabled') { exit 3 }; $asks = $false }; ` +
    `if ($asks -eq $false) { ${sayNone} } else { if ($asks -eq $true) { ${saySome} } else { exit 4 } }`,
  "reboot",
);

export const sessionManager = registryListing(
  "session-manager",
  `${CONTROL}\\Session Manager`,
  ["PendingFileRenameOperations"],
  "BootExecute",
  "reboot",
);

export const computerName: Fact<{ active: string; next: string }> = {
  id: "computer-name",
  command: `reg query "${CONTROL}\\ComputerName" /s /v ComputerName`,
  // The active name comes first, then the next one: the subkeys in their order.
  quiet: { kind: "value", name: "ComputerName" },
  fix: "reboot",
  parse: parseComputerName,
};

function parseComputerName(raw: Raw): Reading<{ active: string; next: string }> {
  if (raw.rc !== 0) return unknown(`reg ended with ${raw.rc}`);
  const names = parseRegQuery(raw.out).values.filter((entry) => entry.name === "ComputerName" && entry.data !== "");
  const active = names.find((entry) => entry.key.endsWith("\\ComputerName\\ActiveComputerName"))?.data;
  const next = names.find((entry) => entry.key.endsWith("\\ComputerName\\ComputerName"))?.data;
  return active === undefined || next === undefined
    ? unknown("the answer lacks the active or the next computer name")
    : value({ active, next });
}

export interface Rename {
  readonly source: string;
  /** Empty: the source is to be deleted. */
  readonly target: string;
}

/**
 * Pairs of the value as reg prints it: parts joined by `\0`, which a path may hold too (C:\temp\0001). Each part is empty or starts with `\??\`,
 * so that only a `\0` before one of these, or at the end, is a separator. What is left without a partner is a deletion whose empty half reg did not print.
 * Undefined when a target has no source. Blank pairs are what is left of done work (setup.windows PR#150).
 */
export function parseRenames(data: string): Rename[] | undefined {
  const parts = data.trim().split(/\\0(?=$|\\0|(?:!|\*\d+)?\\\?\?\\)/);
  const pairs: Rename[] = [];
  for (let index = 0; index < parts.length; index += 2) {
    const source = dosPath(parts[index] ?? "");
    const target = dosPath(parts[index + 1] ?? "");
    if (source === "" && target !== "") return undefined;
    if (source !== "") pairs.push({ source, target });
  }
  return pairs;
}

// `\??\C:\x` names C:\x for the kernel; `!` or `*1` before it means "replace what is there" (MoveFileEx).
const dosPath = (path: string): string => path.replace(/^(?:!|\*\d+)/, "").replace(/^\\\?\?\\/, "");

const SYSTEM = /\\windows\\(?:system32|syswow64|winsxs)(?:\\|$)|\\drivers\\|\\driverstore(?:\\|$)/i;
// A path that holds another was not told apart from it.
const PLAIN_PATH = /^[a-z]:\\[^:?]*$/i;
const NOISE = /\\te?mp\\|^[a-z]:\\programdata\\|^[a-z]:\\config\.msi\\|\\tobedeleted\\/i;

/** A deletion where programs keep their rubbish is noise; a replacement, or anything of the system's, must happen before the layer is sealed. */
export const isNoise = ({ source, target }: Rename): boolean =>
  target === "" && PLAIN_PATH.test(source) && !SYSTEM.test(source) && NOISE.test(source);

function judgeRenames(answer: RegistryAnswer): Judgement {
  const pairs: Rename[] = [];
  for (const name of ["PendingFileRenameOperations", "PendingFileRenameOperations2"]) {
    const entry = valueNamed(answer, name);
    if (entry === undefined) continue;
    const parsed = entry.type === "REG_MULTI_SZ" ? parseRenames(entry.data) : undefined;
    if (parsed === undefined)
      return failed(`${SEED} ${name} (${CONTROL}\\Session Manager) does not hold pairs of files: ${entry.data.slice(0, 200)}`);
    pairs.push(...parsed);
  }
  const blocking = pairs.filter((rename) => !isNoise(rename));
  if (blocking.length > 0) {
    return pending(`${SEED} ${listed(blocking)} (${CONTROL}\\Session Manager, PendingFileRenameOperations).`);
  }
  return pairs.length === 0 ? ready : { state: "ready", notes: [`left to the next boot, harmless: ${listed(pairs)}`] };
}

function listed(renames: readonly Rename[]): string {
  const shown = renames
    .slice(0, 3)
    .map(({ source, target }) => (target === "" ? `${source} waits to be deleted` : `${source} waits to replace ${target}`));
  return shown.join("; ") + (renames.length > 3 ? `; and ${renames.length - 3} more` : "");
}

const rebootRequired: Fact<string[]> = {
  id: "reboot-required",
  command: "if [ -e /run/reboot-required ]; then echo required; cat /run/reboot-required.pkgs 2>/dev/null; true; else echo none; fi",
  quiet: { kind: "equals", text: "none" },
  fix: "reboot",
  parse: (raw) => {
    const [first, ...packages] = raw.out.trim().split(/\r?\n/);
    if (raw.rc !== 0) return unknown(`ended with ${raw.rc}: ${raw.err.trim().slice(0, 200)}`);
    if (first === "none" && packages.length === 0) return { kind: "absent" };
    return first === "required" ? value([...new Set(packages)]) : unknown("neither required nor none was said");
  },
};

// Exit 1 is both "a restart is needed" and, without the plug-in, "no such command": only the text tells them apart (rmmagent#8).
const needsRestarting: Fact<string> = {
  id: "dnf-needs-restarting",
  command: "dnf -q needs-restarting -r",
  quiet: { kind: "exitCode", codes: [0], present: ["eboot"] },
  requires: "/usr/bin/dnf",
  fix: "reboot",
  found: { codes: [1], text: "eboot" },
  parse: (raw) => {
    if (!/reboot/i.test(raw.out))
      return unknown(
        `dnf ended with ${raw.rc}: ${words(raw)}; install dnf-plugins-core (of dnf5: dnf5-plugins) in a step, or checks: { pendingReboot: "ignore" }`,
      );
    if (raw.rc === 0) return { kind: "absent" };
    return raw.rc === 1 ? value(raw.out.trim().slice(0, 400)) : unknown(`dnf ended with ${raw.rc}`);
  },
};

// zypper's own exit code 102, "a restart is needed" (ZYPPER_EXIT_INF_REBOOT_NEEDED).
const zypperReboot: Fact<string> = {
  id: "zypper-needs-rebooting",
  command: "zypper --non-interactive needs-rebooting",
  quiet: { kind: "exitCode", codes: [0], present: ["eboot"] },
  requires: "/usr/bin/zypper",
  fix: "reboot",
  found: { codes: [102], text: "eboot" },
  parse: (raw) => {
    if (!/reboot/i.test(raw.out)) return unknown(`zypper ended with ${raw.rc}: ${words(raw)}`);
    if (raw.rc === 0) return { kind: "absent" };
    return raw.rc === 102 ? value(raw.out.trim().slice(0, 400)) : unknown(`zypper ended with ${raw.rc}`);
  },
};

export const pendingReboot: Check = {
  id: "pendingReboot",
  title: "Restart after an installation",
  prompt: SEED,
  bit: { name: "reboot", value: 2 },
  policy: "fix",
  windows: {
    // The listing comes first: it is the proof that reg.exe answers, which makes the "not there" of the others believable.
    facts: [
      sessionManager,
      computerName,
      ...keys.map(({ fact }) => fact),
      ...updateExe.map(({ fact }) => fact),
      serverManager,
      updateRestart,
    ],
    judge: (look) => {
      const listing = look(sessionManager);
      const names = look(computerName);
      return joinJudgements([
        listing.kind === "value" ? judgeRenames(listing.value) : cannotTell(sessionManager, listing),
        names.kind !== "value"
          ? cannotTell(computerName, names)
          : names.value.active.toLowerCase() === names.value.next.toLowerCase()
            ? ready
            : pending(`${SEED} The computer is to be renamed from ${names.value.active} to ${names.value.next}.`),
        ...keys.map(({ fact, says }) =>
          judgeAbsent(fact, look, () => pending(`${SEED} ${says}: ${fact.command.replace("reg query ", "")} exists.`)),
        ),
        ...updateExe.map(({ key, fact }) =>
          judgeAbsent(fact, look, (answer) => {
            const entry = valueNamed(answer, "UpdateExeVolatile");
            return entry !== undefined && dword(entry) === 0
              ? ready
              : pending(`${SEED} An update's installer waits for it (${key}, UpdateExeVolatile).`);
          }),
        ),
        judgeAbsent(serverManager, look, (answer) => {
          const entry = valueNamed(answer, "RestartRequired");
          return entry !== undefined && dword(entry) === 0
            ? ready
            : pending(`${SEED} A role or feature waits for it (${SERVER_MANAGER}, RestartRequired).`);
        }),
        judgeAbsent(updateRestart, look, () => pending(`${SEED} Windows Update says so (Microsoft.Update.SystemInfo, RebootRequired).`)),
      ]);
    },
  },
  linux: {
    facts: [rebootRequired, needsRestarting, zypperReboot, kernel],
    judge: (look) =>
      joinJudgements([
        judgeAbsent(rebootRequired, look, (packages) =>
          pending(`${SEED} /run/reboot-required exists${packages.length > 0 ? `, asked for by ${packages.slice(0, 10).join(", ")}` : ""}.`),
        ),
        judgeAbsent(needsRestarting, look, (text) => pending(`${SEED} dnf needs-restarting says: ${text}`)),
        judgeAbsent(zypperReboot, look, (text) => pending(`${SEED} zypper needs-rebooting says: ${text}`)),
        judgeKernel(look),
      ]),
  },
};
