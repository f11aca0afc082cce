// The state of a modelled Windows: what a restart keeps and what it clears. The kept part lies in /XAPISIM/STATE.JSON on the system disk, so that it is part of
// the layer and is cloned with it; the rest lives as long as the boot.
import { z } from "zod";
import type { Clock } from "../../clock.ts";
import type { PendingKind, RegistryContent, Tools, WindowsDescriptor } from "../descriptor.ts";
import type { Files } from "./files.ts";
import { addDriver } from "./inventory.ts";
import { Ngen, ngenState } from "./ngen.ts";
import { Registry } from "./registry.ts";
import { RESTART_KEY, restarted } from "./restarts.ts";
import type { ScheduledTask } from "./tasks.ts";
import { VOLUME_KEY } from "./volumes.ts";

const STATE = { drive: "C", path: "XAPISIM/STATE.JSON" } as const;
const FORMAT = 1;

const state = z.object({
  format: z.literal(FORMAT),
  boots: z.int().nonnegative(),
  registry: z.record(z.string(), z.record(z.string(), z.array(z.string())).nullable()),
  services: z.array(z.string()),
  installed: z.array(z.string()),
  tools: z
    .object({
      version: z.string(),
      vendor: z.string(),
      drivers: z.record(z.string(), z.string()).optional(),
      runScript: z.boolean().optional(),
    })
    .nullable(),
  ngen: ngenState,
  kms: z.object({ rearmCount: z.int().nonnegative(), rearmed: z.boolean() }),
  office: z.object({ rearmCount: z.int().nonnegative(), frozen: z.boolean() }).optional(),
  pending: z.array(z.object({ kind: z.string(), reboots: z.int() })),
  tasks: z
    .record(z.string(), z.object({ command: z.string(), arguments: z.string(), atStart: z.boolean(), system: z.boolean() }))
    .default({}),
});

const CURRENT = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion";
const NT = "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";
const CONTROL = "HKLM\\SYSTEM\\CurrentControlSet\\Control";
const SERVICES = "HKLM\\SYSTEM\\CurrentControlSet\\Services";
const SYSTEM_DEVICES = `${CONTROL}\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}`;
const SESSION_MANAGER = `${CONTROL}\\Session Manager`;
const INSTALLER_IN_PROGRESS = `${CURRENT}\\Installer\\InProgress`;

const MSI_IDLE_MS = 600_000;

export class System {
  readonly registry: Registry;
  readonly services: Set<string>;
  readonly installed: string[];
  readonly ngen: Ngen;
  readonly kms: { rearmCount: number; rearmed: boolean };
  /** `frozen`: its grace timer stands still since a rearm. */
  readonly office: { rearmCount: number; frozen: boolean };
  readonly tasks: Map<string, ScheduledTask>;
  boots: number;
  tools: Tools | undefined;
  readonly bootedAt: number;
  readonly #pending: { kind: PendingKind; reboots: number }[];
  /** Windows Installer: works until then; its service stops ten minutes later. */
  #msiUntil = 0;
  #showsInstaller = false;
  readonly #clock: Clock;
  readonly #files: Files;
  readonly #descriptor: WindowsDescriptor;

  private constructor(descriptor: WindowsDescriptor, kept: z.output<typeof state> | undefined, files: Files, clock: Clock) {
    this.#clock = clock;
    this.#files = files;
    this.#descriptor = descriptor;
    this.bootedAt = clock.now();
    this.boots = (kept?.boots ?? 0) + 1;
    this.registry = Registry.fromJSON(kept === undefined ? initialRegistry(descriptor) : (kept.registry as RegistryContent));
    if (kept === undefined) this.registry.apply(descriptor.registry);
    this.services = new Set(kept?.services ?? []);
    this.installed = kept?.installed ?? [];
    this.kms = kept?.kms ?? { rearmCount: descriptor.kms.rearmCount, rearmed: false };
    this.office = kept?.office ?? { rearmCount: descriptor.office?.rearmCount ?? 0, frozen: false };
    const { frameworks, queuedSeconds } = descriptor.ngen;
    this.ngen = new Ngen(
      clock,
      frameworks,
      kept?.ngen ?? { queued: Object.fromEntries(frameworks.map((name) => [name, queuedSeconds])), interrupted: [] },
    );
    this.tasks = new Map(Object.entries(kept?.tasks ?? {}));
    this.#pending = (kept?.pending ?? []) as { kind: PendingKind; reboots: number }[];
    const tools = kept === undefined ? descriptor.tools || undefined : (kept.tools ?? undefined);
    if (tools !== undefined) this.setTools(tools);
  }

  /** One boot: reads what the last one left, and does what Windows does with it as it starts. */
  static boot(descriptor: WindowsDescriptor, files: Files, clock: Clock): System {
    const text = files.readText(STATE);
    let kept: z.output<typeof state> | undefined;
    if (text !== undefined) {
      const parsed = state.safeParse(readJson(text));
      if (!parsed.success)
        throw new Error(
          `the guest's own state, /${STATE.path}, is damaged: ${parsed.error.issues[0]?.path.join(".")}: ${parsed.error.issues[0]?.message}`,
        );
      kept = parsed.data;
    }
    const system = new System(descriptor, kept, files, clock);
    system.#start();
    system.save();
    return system;
  }

  save(): void {
    const content: z.input<typeof state> = {
      format: FORMAT,
      boots: this.boots,
      registry: this.registry.toJSON() as Record<string, Record<string, string[]>>,
      services: [...this.services].sort(),
      installed: this.installed,
      tools: this.tools ?? null,
      ngen: this.ngen.toJSON(),
      kms: this.kms,
      office: this.office,
      pending: this.#pending,
      tasks: Object.fromEntries(this.tasks),
    };
    this.#files.makeFolder({ drive: "C", path: "XAPISIM" });
    this.#files.write(STATE, `${JSON.stringify(content, undefined, 1)}\n`);
  }

  setTools(tools: Tools): void {
    this.tools = tools;
    const [major = "0", minor = "0", micro = "0", build = "0"] = tools.version.split(".");
    const numbers = { MajorVersion: major, MinorVersion: minor, MicroVersion: micro, BuildVersion: build };
    this.registry.apply({
      "HKLM\\SOFTWARE\\Citrix\\XenTools": Object.fromEntries(Object.entries(numbers).map(([name, text]) => [name, ["REG_DWORD", text]])),
      [`${SERVICES}\\xenbus_monitor\\Parameters`]: {
        RequestKey: ["REG_SZ", `SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Request`],
      },
    });
    for (const driver of ["xenbus", "xenvbd", "xenvif", "xennet", "xeniface"]) {
      this.registry.apply({ [`${SERVICES}\\${driver}`]: { Start: ["REG_DWORD", "0x0"], Type: ["REG_DWORD", "0x1"] } });
      this.#files.addBuiltIn(`C:\\Windows\\System32\\drivers\\${driver}.sys`);
    }
    // One subkey a device of the class, told by the section of its INF (xenbus.inf, xeniface.inf).
    for (const [index, [driver, section]] of Object.entries({ xenbus: "XenBus_Inst", xeniface: "XenIface_Inst" }).entries()) {
      const version = tools.drivers?.[driver] ?? "9.1.12.94";
      this.registry.apply({
        [`${SYSTEM_DEVICES}\\001${index}`]: {
          InfSection: ["REG_SZ", section],
          ProviderName: ["REG_SZ", tools.vendor],
          DriverVersion: ["REG_SZ", version],
        },
      });
    }
    for (const [driver, version] of Object.entries(tools.drivers ?? {})) addDriver(this.registry, `${driver}.inf`, tools.vendor, version);
    for (const service of ["xenagent", "xenbus_monitor"]) this.services.add(service);
  }

  /** What a program leaves for the next start. `reboots`: so many starts until it is gone. */
  leavePending(kind: PendingKind, reboots: number): void {
    this.#pending.push({ kind, reboots });
    this.#show(kind);
  }

  workInstaller(seconds: number): void {
    if (seconds > 0) this.#msiUntil = Math.max(this.#msiUntil, this.#clock.now() + seconds * 1000);
  }

  get installerWorks(): boolean {
    return this.#clock.now() < this.#msiUntil;
  }

  get installerIdles(): boolean {
    return !this.installerWorks && this.#msiUntil > 0 && this.#clock.now() < this.#msiUntil + MSI_IDLE_MS;
  }

  /** While Windows Installer works it shows so in the registry too. */
  refresh(): void {
    if (this.installerWorks) {
      this.registry.createKey(INSTALLER_IN_PROGRESS, true);
      this.#showsInstaller = true;
    } else if (this.#showsInstaller) {
      // One that somebody else has made stays.
      if (!this.#pending.some(({ kind }) => kind === "msi")) this.registry.deleteKey(INSTALLER_IN_PROGRESS);
      this.#showsInstaller = false;
    }
  }

  /** The power goes. What was at work is broken off: NGen leaves native images that may not load, Windows Installer an installation to be resumed. */
  down(): string[] {
    const harm = this.ngen
      .interrupt()
      .map((framework) => `NGen was interrupted while it worked for ${framework}: its native images may be damaged`);
    if (this.installerWorks) {
      harm.push("Windows Installer was interrupted: an installation is left half-way");
      this.#pending.push({ kind: "msi", reboots: 99 });
      this.#msiUntil = 0;
    }
    this.save();
    return harm;
  }

  #start(): void {
    this.registry.forgetVolatile();
    for (const key of [
      `${CURRENT}\\Component Based Servicing\\RebootPending`,
      `${CURRENT}\\Component Based Servicing\\RebootInProgress`,
      `${CURRENT}\\WindowsUpdate\\Auto Update\\RebootRequired`,
      `${SERVICES}\\xenbus_monitor\\Request`,
      `${SERVICES}\\Netlogon\\JoinDomain`,
      `${SERVICES}\\Netlogon\\AvoidSpnSet`,
      INSTALLER_IN_PROGRESS,
    ]) {
      this.registry.deleteKey(key);
    }
    for (const driver of ["xenbus", "xenvbd", "xenvif"]) this.registry.deleteValue(`${SERVICES}\\${driver}\\Status`, "NeedReboot");
    for (const key of ["HKLM\\SOFTWARE\\Microsoft\\Updates", "HKLM\\SOFTWARE\\Wow6432Node\\Microsoft\\Updates"])
      this.registry.deleteValue(key, "UpdateExeVolatile");
    this.#renameFiles();
    this.#checkVolume();
    restarted(this.registry);
    const name = this.registry.value(`${CONTROL}\\ComputerName\\ComputerName`, "ComputerName")?.data[0] ?? this.#descriptor.hostName;
    // Made anew at each start from the other one.
    this.registry.setValue(`${CONTROL}\\ComputerName\\ActiveComputerName`, "ComputerName", "REG_SZ", [name], true);
    this.kms.rearmed = false;
    this.registry.createKey(`${NT}\\Winlogon\\AutoLogonChecked`, true);
    for (const pending of this.#pending.splice(0)) {
      if (pending.reboots > 1) this.leavePending(pending.kind, pending.reboots - 1);
    }
  }

  /** Before that, autochk has done what was ordered of it, and left the volume clean. */
  #checkVolume(): void {
    const ordered = this.registry.value(SESSION_MANAGER, "BootExecute")?.data ?? [];
    const kept = ordered.filter((entry) => !/^autocheck autochk .*\/[pm]/i.test(entry));
    this.registry.setValue(SESSION_MANAGER, "BootExecute", "REG_MULTI_SZ", kept);
    this.registry.deleteValue(VOLUME_KEY, "Dirty");
  }

  /** The session manager performs PendingFileRenameOperations before anything else starts (MoveFileEx, MOVEFILE_DELAY_UNTIL_REBOOT). */
  #renameFiles(): void {
    const pairs = this.registry.value(SESSION_MANAGER, "PendingFileRenameOperations")?.data ?? [];
    const place = (path: string) => this.#files.locate(path.replace(/^!/, "").replace(/^\\\?\?\\/, ""));
    for (let index = 0; index + 1 < pairs.length; index += 2) {
      const [source = "", target = ""] = [pairs[index], pairs[index + 1]];
      if (source === "" || !this.#files.exists(place(source))) continue;
      if (target === "") this.#files.remove(place(source));
      else {
        this.#files.remove(place(target));
        this.#files.move(place(source), place(target));
      }
    }
    this.registry.deleteValue(SESSION_MANAGER, "PendingFileRenameOperations");
  }

  #show(kind: PendingKind): void {
    const { registry } = this;
    if (kind === "reboot") registry.createKey(`${CURRENT}\\Component Based Servicing\\RebootPending`);
    else if (kind === "windows-update") {
      const update = "5f3a6c1e-0c1b-4a54-9a0e-6d5f2b7c9e11";
      registry.setValue(`${CURRENT}\\WindowsUpdate\\Auto Update\\RebootRequired`, update, "REG_DWORD", ["0x1"]);
    } else if (kind === "driver-reboot")
      registry.setValue(`${SERVICES}\\xenbus_monitor\\Request\\XENVBD`, "Reboot", "REG_DWORD", ["0x1"], true);
    else if (kind === "msi") registry.createKey(INSTALLER_IN_PROGRESS);
    else if (kind === "device") {
      registry.setValue(RESTART_KEY, "Device", "REG_SZ", ["PCI\\VEN_5853&DEV_0001\\0"]);
      registry.setValue(RESTART_KEY, "Problem", "REG_DWORD", ["14"]);
    } else if (kind === "update") registry.setValue(RESTART_KEY, "WindowsUpdate", "REG_DWORD", ["1"]);
    else if (kind === "rename") {
      registry.setValue(`${CONTROL}\\ComputerName\\ComputerName`, "ComputerName", "REG_SZ", [`${this.#descriptor.hostName}-2`]);
    } else {
      const before = registry.value(SESSION_MANAGER, "PendingFileRenameOperations")?.data ?? [];
      const file = "\\??\\C:\\Windows\\System32\\drivers\\etc\\services";
      // A replacement that must happen, or what endpoint protection asks for all day: rubbish to be deleted.
      const pair = kind === "pfro" ? [`${file}.new`, `!${file}`] : ["\\??\\C:\\Windows\\Temp\\scan-1.tmp", ""];
      registry.setValue(SESSION_MANAGER, "PendingFileRenameOperations", "REG_MULTI_SZ", [...before, ...pair]);
    }
  }
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The few keys that every Windows has and that a guest is asked for. */
function initialRegistry({ os, hostName }: WindowsDescriptor): RegistryContent {
  return {
    [CURRENT]: { ProgramFilesDir: ["REG_SZ", "C:\\Program Files"] },
    [`${CURRENT}\\Component Based Servicing`]: { Version: ["REG_SZ", `${os.major ?? 10}.${os.minor ?? 0}.${os.build ?? 22631}.1`] },
    [`${CURRENT}\\WindowsUpdate\\Auto Update`]: {},
    [`${CURRENT}\\Installer`]: {},
    [`${CURRENT}\\RunOnce`]: {},
    [NT]: {
      ProductName: ["REG_SZ", os.name],
      EditionID: ["REG_SZ", os.uname],
      CurrentBuildNumber: ["REG_SZ", String(os.build ?? 22631)],
      UBR: ["REG_DWORD", "0x1"],
      CurrentMajorVersionNumber: ["REG_DWORD", `0x${(os.major ?? 10).toString(16)}`],
      CurrentMinorVersionNumber: ["REG_DWORD", `0x${(os.minor ?? 0).toString(16)}`],
    },
    [SESSION_MANAGER]: { BootExecute: ["REG_MULTI_SZ", "autocheck autochk *"], ProtectionMode: ["REG_DWORD", "0x1"] },
    "HKLM\\SYSTEM\\Setup": {
      SystemSetupInProgress: ["REG_DWORD", "0x0"],
      OOBEInProgress: ["REG_DWORD", "0x0"],
      SetupType: ["REG_DWORD", "0x0"],
    },
    [`${SYSTEM_DEVICES}\\0000`]: {
      DriverDesc: ["REG_SZ", "PCI Bus"],
      InfSection: ["REG_SZ", "PCI_DRV"],
      DriverVersion: ["REG_SZ", "10.0.22621.1"],
    },
    [`${SESSION_MANAGER}\\Power`]: { HiberbootEnabled: ["REG_DWORD", "0x0"] },
    [`${CONTROL}\\ComputerName\\ComputerName`]: { ComputerName: ["REG_SZ", hostName] },
    [`${SERVICES}\\Netlogon`]: { Start: ["REG_DWORD", "0x3"] },
    [`${SERVICES}\\msiserver`]: { Start: ["REG_DWORD", "0x3"] },
  };
}
