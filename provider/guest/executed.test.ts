// Which facts are executed for real, and by what: each is asked in a guest where nothing is pending, and again where everything is that can be brought about.
// Windows: under Wine and in the model, whose answers have to mean the same. Linux: under dash and under busybox. EXECUTED.md is what came of it;
// `npx vitest run provider/guest/executed.test.ts -u` writes it anew.
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sandboxProblem } from "../../simulator/guests/sandbox.ts";
import { TestMachine } from "../../simulator/guests/testing.ts";
import { wineProblem } from "../../simulator/guests/wine/prefix.ts";
import { RELAYED } from "../../simulator/guests/wine/programs.ts";
import { FatVolume } from "../../simulator/storage/fat.ts";
import { checks, factsOf, sideOf } from "./checks.ts";
import type { Fact, GuestOs, Judgement, Look, Raw } from "./fact.ts";
import { decode } from "./payloadFiles.ts";

const windows = factsOf("windows").map(({ fact }) => fact);
const linux = factsOf("linux").map(({ fact }) => fact);
/** Where the programs are not of the machine that this runs on: what else a fact requires is asked nowhere, whether it happens to be there or not. */
const askedInLinux = linux.filter(({ requires }) => requires === undefined || requires === "/var/lib/dpkg/status");

const withoutWine = wineProblem();
const withoutLinux = sandboxProblem() ?? ["/usr/bin/dpkg", "/usr/bin/busybox"].find((path) => !existsSync(path));
for (const [system, problem] of [
  ["Windows", withoutWine],
  ["Linux", withoutLinux],
] as const) {
  if (problem === undefined) continue;
  if (process.env.CI === "true") throw new Error(`the facts of ${system} can't be executed: ${problem}`);
  console.warn(`\nThe facts of ${system} were NOT executed, and EXECUTED.md was not compared: ${problem}\n`);
}

/** Most milliseconds for a test on a slow machine that has other work, too: programs really run here. */
const REAL = 300_000;

const SERVICES = "HKLM\\SYSTEM\\CurrentControlSet\\Services";
const CURRENT = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion";
const CONTROL = "HKLM\\SYSTEM\\CurrentControlSet\\Control";
const set = (key: string, name: string, data: string | number): string =>
  `reg add "${key}" /v ${name} ${typeof data === "number" ? `/t REG_DWORD /d ${data}` : `/d "${data}"`} /f`;
const make = (key: string): string => `reg add "${key}" /f`;

/** What makes a fact say something else, by commands that both Wine and the model carry out. */
const PENDING_WINDOWS: Readonly<Record<string, readonly string[]>> = {
  "xenbus-requests": [set(`${SERVICES}\\xenbus_monitor\\Request\\XENVBD`, "Reboot", 1)],
  "xenbus-request-key": [set(`${SERVICES}\\xenbus_monitor\\Parameters`, "RequestKey", "SYSTEM\\Elsewhere")],
  "need-reboot-xenbus": [set(`${SERVICES}\\xenbus\\Status`, "NeedReboot", "yes")],
  "need-reboot-xenvbd": [set(`${SERVICES}\\xenvbd\\Status`, "NeedReboot", "yes")],
  "need-reboot-xenvif": [set(`${SERVICES}\\xenvif\\Status`, "NeedReboot", "yes")],
  "boot-start-xenbus": [
    "if not exist %SystemRoot%\\System32\\drivers mkdir %SystemRoot%\\System32\\drivers",
    ">%SystemRoot%\\System32\\drivers\\xenbus.sys echo driver",
    set(`${SERVICES}\\xenbus`, "Start", 3),
  ],
  "boot-start-xenvbd": [
    ">%SystemRoot%\\System32\\drivers\\xenvbd.sys echo driver",
    set(`${SERVICES}\\xenvbd`, "Start", 0),
    set(`${SERVICES}\\xenvbd\\StartOverride`, "0", 3),
  ],
  "session-manager": [
    `reg add "${CONTROL}\\Session Manager" /v PendingFileRenameOperations /t REG_MULTI_SZ /d "\\??\\C:\\new.dll\\0!\\??\\C:\\Windows\\System32\\old.dll" /f`,
  ],
  "computer-name": [set(`${CONTROL}\\ComputerName\\ComputerName`, "ComputerName", "OTHER")],
  "cbs-reboot-pending": [make(`${CURRENT}\\Component Based Servicing\\RebootPending`)],
  "cbs-reboot-in-progress": [make(`${CURRENT}\\Component Based Servicing\\RebootInProgress`)],
  "windows-update-reboot": [set(`${CURRENT}\\WindowsUpdate\\Auto Update\\RebootRequired`, "5f3a6c1e-0c1b-4a54-9a0e-6d5f2b7c9e11", 1)],
  "domain-join": [make(`${SERVICES}\\Netlogon\\JoinDomain`)],
  "domain-spn": [make(`${SERVICES}\\Netlogon\\AvoidSpnSet`)],
  "sccm-reboot": [set("HKLM\\SOFTWARE\\Microsoft\\SMS\\Mobile Client\\Reboot Management\\RebootData", "RebootBy", 1)],
  "update-exe": [set("HKLM\\SOFTWARE\\Microsoft\\Updates", "UpdateExeVolatile", 1)],
  "update-exe-32": [set("HKLM\\SOFTWARE\\Wow6432Node\\Microsoft\\Updates", "UpdateExeVolatile", 1)],
  "server-manager": [set("HKLM\\SOFTWARE\\Microsoft\\ServerManager\\ServicingStorage\\ServerComponentCache", "RestartRequired", 1)],
  "msi-in-progress": [make(`${CURRENT}\\Installer\\InProgress`)],
  "run-once": [set(`${CURRENT}\\RunOnce`, "Layer", "C:\\once.cmd")],
  "tools-install": [set("HKLM\\SOFTWARE\\Citrix\\XenToolsInstaller", "InstallStatus", "NeedsReboot")],
  "tools-install-32": [set("HKLM\\SOFTWARE\\Wow6432Node\\Citrix\\XenToolsInstaller", "InstallStatus", "Installing")],
  "xenbus-auto-reboot": [set(`${SERVICES}\\xenbus_monitor\\Parameters`, "AutoReboot", 1)],
  "cbs-packages-pending": [make(`${CURRENT}\\Component Based Servicing\\PackagesPending\\Package_1`)],
  "cbs-servicing": [set(`${CURRENT}\\Component Based Servicing\\Interface`, "ServicingInProgress", 2)],
  "windows-setup": [set("HKLM\\SYSTEM\\Setup", "SystemSetupInProgress", 1)],
  "boot-execute": [
    `reg add "${CONTROL}\\Session Manager" /v BootExecute /t REG_MULTI_SZ /d "autocheck autochk /p \\??\\C:\\0autocheck autochk *" /f`,
  ],
  "sms-client": [">%SystemRoot%\\SMSCFG.INI echo [Configuration - Client Properties]", set(`${SERVICES}\\CcmExec`, "Start", 2)],
  "wem-key": [
    "mkdir %ProgramData%\\Microsoft\\Crypto\\RSA\\S-1-5-18",
    ">%ProgramData%\\Microsoft\\Crypto\\RSA\\S-1-5-18\\fb8cc9e38d3e60ab60c17cdfd6dd6d99_1 echo key",
  ],
  "fslogix-sessions": [make("HKLM\\SOFTWARE\\FSLogix\\Profiles\\Sessions\\S-1-5-21-1")],
  "pv-drivers": [
    set(`${CONTROL}\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}\\0042`, "InfSection", "XenBus_Inst"),
    set(`${CONTROL}\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}\\0042`, "ProviderName", "XenServer"),
    set(`${CONTROL}\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}\\0042`, "DriverVersion", "9.1.9.105"),
  ],
  "service-vda": [set(`${SERVICES}\\BrokerAgent`, "Start", 2)],
  "service-pvs": [set(`${SERVICES}\\BNDevice`, "Start", 2)],
  "service-xenbus": [],
  "mapped-drives": [make("HKCU\\Network\\H")],
  "temp-msi": ["if not exist %TEMP% mkdir %TEMP%", ">%TEMP%\\left.msi echo left"],
  "temp-exe": [">%TEMP%\\left.exe echo left"],
  "fast-start": [set(`${CONTROL}\\Session Manager\\Power`, "HiberbootEnabled", 1)],
};

/** Where Wine can't be compared with a Windows. */
const DIFFERENT: Readonly<Record<string, string>> = {
  // `if exist E:\` is false under Wine for the root of a drive.
  "drive-e": "a drive's root does not exist for cmd",
};

const PENDING_LINUX: Readonly<Record<string, string>> = {
  "reboot-required": "echo linux-image >/run/reboot-required.pkgs; : >/run/reboot-required",
  kernel: "mkdir -p /boot; : >/boot/vmlinuz-99.0.0-layer",
  // An fcntl lock, as dpkg takes one.
  "package-locks": `perl -e 'use Fcntl; open(my $f, "+>", "/var/lib/dpkg/lock") or die; my $l = pack("s s l! l! i", F_WRLCK, 0, 0, 0, 0); fcntl($f, F_SETLK, $l) or die; open(my $h, ">", "/run/held"); close $h; sleep 600' &
while [ ! -e /run/held ]; do :; done`,
  "package-managers": 'cp /usr/bin/sleep /var/dpkg; /var/dpkg 600 & while [ "$(cat /proc/$!/comm)" != dpkg ]; do :; done',
  "dpkg-audit":
    "printf 'Package: half\\nStatus: install ok half-configured\\nVersion: 1\\nArchitecture: all\\nMaintainer: A <a@example.test>\\nDescription: half\\n' >/var/lib/dpkg/status",
  "machine-identity": "echo 0123456789abcdef0123456789abcdef >/etc/machine-id",
};

interface Asked {
  quiet: ReadonlyMap<string, Raw | "absent">;
  pending: ReadonlyMap<string, Raw | "absent">;
}

const machines: TestMachine[] = [];
afterAll(() => {
  for (const machine of machines) machine.remove();
});

function answersIn(machine: TestMachine, facts: readonly Fact<unknown>[], round: string): Map<string, Raw | "absent"> {
  const volume = machine.payloadDisk === undefined ? undefined : FatVolume.open(machine.payloadDisk);
  const text = (name: string): string => decode(volume?.readFile(`${round}/${name}`) ?? new Uint8Array());
  return new Map(
    facts.map(({ id }) => {
      const rc = text(`${id}.rc`).trim();
      return [id, rc === "absent" ? "absent" : { out: text(`${id}.out`), err: text(`${id}.err`), rc: rc === "" ? -1 : Number(rc) }];
    }),
  );
}

async function askWindows(guest: "wine" | "windows"): Promise<Asked> {
  const ask = (round: string): string[] => [
    `mkdir E:\\${round}`,
    ...windows.flatMap(({ id, requires, command }) => [
      ...(requires === undefined ? [] : [`if not exist "${requires}" goto ${round}_absent_${id}`]),
      `${command} >E:\\${round}\\${id}.out 2>E:\\${round}\\${id}.err <nul`,
      `>E:\\${round}\\${id}.rc echo %errorlevel%`,
      `goto ${round}_next_${id}`,
      `:${round}_absent_${id}`,
      `>E:\\${round}\\${id}.rc echo absent`,
      `:${round}_next_${id}`,
    ]),
  ];
  const seeds = Object.values(PENDING_WINDOWS)
    .flat()
    .map((line) => (line.startsWith("reg ") ? `${line} >nul` : line));
  const lines = ["@echo off", "cd /d E:\\xenlayer", "mkdir out", ...ask("quiet"), ...seeds, ...ask("pending"), "shutdown /s /t 0"];
  const machine = new TestMachine({ guest, bootstrap: "xenlayer" });
  machines.push(machine);
  machine.insert({ "xenlayer/run.cmd": lines.map((line) => `${line}\r\n`).join("") });
  await machine.run();
  return { quiet: answersIn(machine, windows, "quiet"), pending: answersIn(machine, windows, "pending") };
}

async function askLinux(userland: "host" | "busybox"): Promise<Asked> {
  const ask = (round: string): string => `mkdir -p ${round}
${askedInLinux.map(({ id }) => `sh facts/${id}.sh >${round}/${id}.out 2>${round}/${id}.err; echo $? >${round}/${id}.rc`).join("\n")}`;
  const prepared = "mkdir -p /etc /var/lib/dpkg/info /var/lib/dpkg/updates; : >/var/lib/dpkg/status";
  const script = [prepared, ask("quiet"), ...Object.values(PENDING_LINUX), ask("pending"), "poweroff"].join("\n");
  const machine = new TestMachine({ guest: "linux", bootstrap: "xenlayer", userland });
  machines.push(machine);
  machine.insert({
    "xenlayer/run.sh": script,
    ...Object.fromEntries(askedInLinux.map(({ id, command }) => [`facts/${id}.sh`, `${command}\n`])),
  });
  await machine.run();
  return { quiet: answersIn(machine, askedInLinux, "quiet"), pending: answersIn(machine, askedInLinux, "pending") };
}

const readingOf = (fact: Fact<unknown>, raw: Raw | "absent" | undefined) =>
  raw === undefined ? undefined : raw === "absent" ? ({ kind: "absent" } as const) : fact.parse(raw);

/** What each check makes of the answers. */
function judgements(os: GuestOs, answers: ReadonlyMap<string, Raw | "absent">): Record<string, Judgement> {
  const look: Look = (fact) => {
    const raw = answers.get(fact.id);
    if (raw === undefined) throw new Error(`${fact.id} was not asked`);
    return raw === "absent" ? { kind: "absent" } : fact.parse(raw);
  };
  return Object.fromEntries(
    checks.flatMap((check) => {
      const side = sideOf(check, os);
      return side === undefined ? [] : [[check.id, side.judge(look, {})] as const];
    }),
  );
}

/** Programs that Wine has no more than a name for: their answers come from the model in both guests. */
const isModelled = ({ command }: Fact<unknown>): boolean =>
  /ngen\.exe/.test(command) || RELAYED.some((name) => name !== "find" && new RegExp(`^${name}\\b`).test(command));

const row = (fact: Fact<unknown>, os: GuestOs, by: string, seen: boolean): string =>
  `| ${fact.id} | ${factsOf(os).find((entry) => entry.fact.id === fact.id)?.check.id} | ${os} | ${by} | ${seen ? "yes" : "no"} |`;

describe.skipIf(withoutWine !== undefined)("the facts of Windows, under Wine and in the model", () => {
  let wine: Asked;
  let model: Asked;
  beforeAll(async () => {
    await FatVolume.ready();
    model = await askWindows("windows");
    // Once in some thousand commands Wine's cmd does not find a program that is there, and says so: asked again.
    for (let tries = 0; tries < 3; tries++) {
      wine = await askWindows("wine");
      if (![...wine.quiet.values(), ...wine.pending.values()].some((raw) => raw !== "absent" && raw.rc === 9009)) break;
    }
  }, REAL);

  it.each(windows.filter(({ id }) => DIFFERENT[id] === undefined).map((fact) => [fact.id, fact] as const))(
    "%s is read alike, when nothing is pending and when it is",
    (id, fact) => {
      for (const round of ["quiet", "pending"] as const) {
        const [one, other] = [readingOf(fact, wine[round].get(id)), readingOf(fact, model[round].get(id))];
        expect(one?.kind, JSON.stringify(one)).toBe(other?.kind);
        expect(one?.kind, JSON.stringify(one)).not.toBe("error");
      }
      if (PENDING_WINDOWS[id] === undefined) return;
      for (const asked of [wine, model]) expect(readingOf(fact, asked.pending.get(id))).not.toEqual(readingOf(fact, asked.quiet.get(id)));
    },
  );

  it("every check says the same of both, word by word", () => {
    for (const round of ["quiet", "pending"] as const) {
      const leave = ([id]: [string, Judgement]): boolean => !windowsChecksOf(Object.keys(DIFFERENT)).includes(id);
      const said = (asked: Asked) => Object.fromEntries(Object.entries(judgements("windows", asked[round])).filter(leave));
      expect(said(wine)).toEqual(said(model));
    }
  });
});

const windowsChecksOf = (facts: readonly string[]): string[] =>
  factsOf("windows")
    .filter(({ fact }) => facts.includes(fact.id))
    .map(({ check }) => check.id);

describe.skipIf(withoutLinux !== undefined)("the facts of Linux, under dash and busybox", () => {
  let dash: Asked;
  let busybox: Asked;
  beforeAll(async () => {
    await FatVolume.ready();
    dash = await askLinux("host");
    busybox = await askLinux("busybox");
  }, REAL);

  it.each(askedInLinux.map((fact) => [fact.id, fact] as const))("%s is read alike, when nothing is pending and when it is", (id, fact) => {
    for (const round of ["quiet", "pending"] as const) {
      const [one, other] = [readingOf(fact, dash[round].get(id)), readingOf(fact, busybox[round].get(id))];
      expect(one?.kind, JSON.stringify(one)).toBe(other?.kind);
      expect(one?.kind, JSON.stringify(one)).not.toBe("error");
    }
    if (PENDING_LINUX[id] === undefined) return;
    for (const asked of [dash, busybox]) expect(readingOf(fact, asked.pending.get(id))).not.toEqual(readingOf(fact, asked.quiet.get(id)));
  });

  it.skipIf(withoutWine !== undefined)("EXECUTED.md says which facts are executed for real", async () => {
    const inWine = windows.filter((fact) => !isModelled(fact) && DIFFERENT[fact.id] === undefined);
    const rows = [
      ...windows.map((fact) =>
        row(
          fact,
          "windows",
          isModelled(fact) ? "the model" : inWine.includes(fact) ? "Wine" : `nothing: ${DIFFERENT[fact.id]}`,
          fact.id in PENDING_WINDOWS,
        ),
      ),
      ...linux.map((fact) =>
        row(fact, "linux", askedInLinux.includes(fact) ? "dash and busybox" : `nothing: needs ${fact.requires}`, fact.id in PENDING_LINUX),
      ),
    ];
    const text = `# Facts executed for real

sh ${askedInLinux.length}, Wine ${inWine.length}, of all ${windows.length + linux.length}.

Each is asked by its own command in a guest of the simulator where nothing is pending, and again, where a test can bring that about, where it is ("seen pending").
Windows' facts are asked under Wine and in the model of Windows, and read and judged alike; what Wine lacks (\`ngen\`, \`tasklist\`, \`fsutil\`, licensing) the model answers in both.
None of them was asked in a real Windows so far. Written by \`npx vitest run provider/guest/executed.test.ts -u\`.

| fact | check | system | executed by | seen pending |
| --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
    await expect(text).toMatchFileSnapshot("EXECUTED.md");
  });
});
