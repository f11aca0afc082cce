// PV drivers that any user of the guest could attack: XSA-468 let every process reach the xenbus interface. The floor is the last vulnerable version of each vendor
// (xcp-ng/win-pv-drivers, extras/detect_xsa468.py). What XAPI says of it is of no use: PV_drivers_up_to_date is PV_drivers_detected by another name.
import { type Check, cannotTell, type Fact, OTHER_BIT, pending, type Raw, type Reading, ready, unknown, value, words } from "../fact.ts";
import { parseRegQuery } from "../registry.ts";

// Device class System, where both drivers are (xenbus.inf, xeniface.inf).
const CLASS = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e97d-e325-11ce-bfc1-08002be10318}";

const VULNERABLE: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  xenbus: { citrix: "9.1.11.114", xcpng: "9.0.9048", xenproject: "9.1.0.1" },
  xeniface: { citrix: "9.1.12.93", xcpng: "9.0.9048", xenproject: "9.1.0.0" },
};

export interface InstalledDriver {
  readonly name: string;
  readonly vendor: string;
  readonly version: string;
}

/** One subkey a device: the driver is told by its INF section (`XenBus_Inst`, `XenIface_Inst`), which no device of anybody else's has. */
function parseDrivers(raw: Raw): Reading<InstalledDriver[]> {
  if (raw.rc !== 0) return unknown(`reg ended with ${raw.rc}: ${words(raw)}`);
  const devices = new Map<string, Map<string, string>>();
  for (const { key, name, data } of parseRegQuery(raw.out).values) {
    const device = devices.get(key) ?? new Map<string, string>();
    devices.set(key, device.set(name.toLowerCase(), data.trim()));
  }
  if (![...devices.values()].some((device) => device.has("infsection")))
    return unknown("the answer lists no device, and every Windows has some of class System");
  return value(
    [...devices.values()].flatMap((device) => {
      const [, name] = /^(xenbus|xeniface)_/i.exec(device.get("infsection") ?? "") ?? [];
      return name === undefined
        ? []
        : [{ name: name.toLowerCase(), vendor: device.get("providername") ?? "", version: device.get("driverversion") ?? "" }];
    }),
  );
}

const installed: Fact<InstalledDriver[]> = {
  id: "pv-drivers",
  command: `reg query "${CLASS}" /s`,
  quiet: { kind: "textAbsent", text: ["XenBus_", "XenIface_"], present: ["InfSection"], anyCase: true },
  fix: "none",
  parse: parseDrivers,
};

function vendorOf(name: string): string | undefined {
  const plain = name.toLowerCase().replace(/[^a-z]/g, "");
  if (/^(citrix|xenserver|cloudsoftwaregroup)/.test(plain)) return "citrix";
  if (/^(xcpng|vates)/.test(plain)) return "xcpng";
  return plain.startsWith("xenproject") ? "xenproject" : undefined;
}

/** Undefined where one of them is no version. */
export function isAbove(version: string, floor: string): boolean | undefined {
  const [one, other] = [version, floor].map((text) => (/^\d{1,9}(\.\d{1,9}){1,3}$/.test(text) ? text.split(".").map(Number) : undefined));
  if (one === undefined || other === undefined) return undefined;
  for (let index = 0; index < 4; index++) {
    const difference = (one[index] ?? 0) - (other[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

export const pvDrivers: Check = {
  id: "pvDrivers",
  title: "Version of the PV drivers",
  prompt: "The PV drivers are vulnerable (XSA-468) - please install newer VM tools on the Packaging Machine.",
  bit: OTHER_BIT,
  policy: "warn",
  windows: {
    facts: [installed],
    judge: (look) => {
      const found = look(installed);
      if (found.kind !== "value") return cannotTell(installed, found);
      const old: string[] = [];
      const unsure: string[] = [];
      for (const { name, vendor, version } of found.value) {
        const floor = VULNERABLE[name]?.[vendorOf(vendor) ?? ""];
        const above = floor === undefined ? undefined : isAbove(version, floor);
        const text = `${name} ${version || "of no version"} of ${vendor || "no vendor"}`;
        if (above === undefined) unsure.push(text);
        else if (!above) old.push(`${text} (vulnerable up to ${floor})`);
      }
      if (old.length > 0)
        return pending(`PV drivers that any user of the guest can attack (XSA-468): ${old.join(", ")}; install newer VM tools.`);
      return unsure.length === 0
        ? ready
        : { state: "ready", notes: [`not known whether XSA-468 is mended in ${unsure.join(", ")}`.slice(0, 500)] };
    },
  },
};
