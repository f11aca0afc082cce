// What a guest says is installed. Provenance: .reg text and pnputil's blocks are composed from learn.microsoft.com and from reg.exe's own layout; the Russian labels
// of pnputil are as public captures show them; dpkg and rpm lines are of their documented formats.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Raw } from "./fact.ts";
import { driverPackages, type Inventory, questions, readInventory, uninstallEntries } from "./inventory.ts";
import { said } from "./testing.ts";

const lines = (...all: string[]): string => `${all.join("\r\n")}\r\n`;
const UNINSTALL = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall";

const software = lines(
  "Windows Registry Editor Version 5.00",
  "",
  `${UNINSTALL}]`,
  "",
  `${UNINSTALL}\\{1D8E6291-B0D5-35EC-8441-6616F567A0F7}]`,
  '"DisplayName"="Citrix \\"VDA\\" C:\\\\x"',
  '"DisplayVersion"="2402.0.100"',
  '"Publisher"="Cloud Software Group, Inc."',
  '"EstimatedSize"=dword:00001388',
  "",
  `${UNINSTALL}\\Expanded]`,
  '"DisplayName"=hex(2):50,00,\\',
  "  72,00,6f,00,67,00,00,00",
  '"displayversion"="1"',
  "",
  `${UNINSTALL}\\KB5034441]`,
  '"ParentKeyName"="OperatingSystem"',
);

const drivers = lines(
  "Microsoft PnP Utility",
  "",
  "Published Name:     oem1.inf",
  "Original Name:      xenbus.inf",
  "Provider Name:      XenServer",
  "Class Name:         System devices",
  "Class GUID:         {4d36e97d-e325-11ce-bfc1-08002be10318}",
  "Driver Version:     05/14/2025 9.1.11.115",
  "Signer Name:        Microsoft Windows Hardware Compatibility Publisher",
  "",
  "\u041e\u043f\u0443\u0431\u043b\u0438\u043a\u043e\u0432\u0430\u043d\u043d\u043e\u0435 \u0438\u043c\u044f:     oem2.inf",
  "\u0418\u0441\u0445\u043e\u0434\u043d\u043e\u0435 \u0438\u043c\u044f:      xenvif.inf",
  "\u0418\u043c\u044f \u043f\u043e\u0441\u0442\u0430\u0432\u0449\u0438\u043a\u0430:      XenServer",
  "\u0412\u0435\u0440\u0441\u0438\u044f \u0434\u0440\u0430\u0439\u0432\u0435\u0440\u0430:     05/14/2025 9.1.12.1",
);

describe("a Windows guest's inventory", () => {
  it("lists what has a name in the Uninstall keys, escapes undone, binary strings read", () => {
    expect(uninstallEntries(software)).toEqual([
      {
        id: "{1D8E6291-B0D5-35EC-8441-6616F567A0F7}",
        name: 'Citrix "VDA" C:\\x',
        version: "2402.0.100",
        publisher: "Cloud Software Group, Inc.",
      },
      { id: "Expanded", name: "Prog", version: "1", publisher: "" },
    ]);
  });

  it("lists driver packages by their values, whatever the labels' language", () => {
    expect(driverPackages(drivers)).toEqual([
      { id: "oem1.inf", name: "xenbus.inf", version: "9.1.11.115", publisher: "XenServer" },
      { id: "oem2.inf", name: "xenvif.inf", version: "9.1.12.1", publisher: "XenServer" },
    ]);
    expect(driverPackages("Microsoft PnP Utility\r\n\r\nNo published driver packages were found on the system.\r\n")).toEqual([]);
  });

  it.each([
    [
      "Windows 11, which calls itself Windows 10 in its registry,",
      [
        "ProductName    REG_SZ    Windows 10 Enterprise",
        "DisplayVersion    REG_SZ    23H2",
        "CurrentBuildNumber    REG_SZ    22631",
        "UBR    REG_DWORD    0x9ca",
      ],
      "Windows 11 Enterprise 23H2 (22631.2506)",
    ],
    ["the first Windows 11", ["ProductName    REG_SZ    Windows 10 Pro", "CurrentBuild    REG_SZ    22000"], "Windows 11 Pro (22000)"],
    [
      "Windows 10",
      ["ProductName    REG_SZ    Windows 10 Pro", "CurrentBuild    REG_SZ    19045", "UBR    REG_DWORD    (null)"],
      "Windows 10 Pro (19045)",
    ],
    ["a Windows that says no build", ["ProductName    REG_SZ    Windows Server 2025"], "Windows Server 2025"],
  ])("names %s with its build and patch", (_what, values, name) => {
    const key = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";
    expect(read({ system: said(lines("", key, ...values.map((value) => `    ${value}`))) }).system).toBe(name);
  });

  it("says what it could not read, and takes a missing second view for none", () => {
    const whole = { system: said(""), "software-64": said(software), drivers: said(drivers), "software-32": said("", 1, "ERROR: no key") };
    expect(read(whole).problems).toEqual([]);
    expect(read(whole).software).toHaveLength(2);
    const { drivers: _, ...less } = whole;
    expect(read({ ...less, "software-64": said("", 5, "Access is\r\ndenied.") }).problems).toEqual([
      "software-64: ended with 5: Access is denied.",
      "drivers: no answer was kept",
    ]);
  });
});

it("lists what is installed by name, whatever its case", () => {
  const named = (...names: string[]): string =>
    names.map((name, at) => `[HKEY_LOCAL_MACHINE\\K\\${at}]\r\n"DisplayName"="${name}"\r\n`).join("");
  expect(read({ "software-64": said(named("beta", "Alpha", "GAMMA", "alpha")) }).software.map(({ name }) => name)).toEqual([
    "Alpha",
    "alpha",
    "beta",
    "GAMMA",
  ]);
});

it("lists a Linux guest's packages of dpkg and rpm, without what was removed", () => {
  const packages = [
    "bash:amd64\t5.2-1\tMaintainers\tii ",
    "old:amd64\t1\tx\trc ",
    "none:amd64\t\tx\tii ",
    "glibc.x86_64\t2.34-1.el9\tRed Hat\tii",
  ].join("\n");
  const answers = new Map([
    ["system", said('"Debian GNU/Linux 12 (bookworm)"\n6.1.0-18-amd64\n')],
    ["software", said(packages)],
  ]);
  expect(readInventory("linux", answers)).toEqual({
    system: "Debian GNU/Linux 12 (bookworm), kernel 6.1.0-18-amd64",
    software: [
      { id: "bash:amd64", name: "bash", version: "5.2-1", publisher: "Maintainers" },
      { id: "glibc.x86_64", name: "glibc", version: "2.34-1.el9", publisher: "Red Hat" },
    ],
    drivers: [],
    problems: [],
  });
});

it("reads any text without an error, and never more than it keeps", () => {
  const piece = fc.oneof(fc.string(), fc.constantFrom(...software.split("\r\n"), ...drivers.split("\r\n"), "", "\\", "[HKEY_", '"=', "\t"));
  const text = fc.array(piece, { maxLength: 40 }).map((parts) => parts.join("\r\n"));
  fc.assert(
    fc.property(fc.constantFrom("windows" as const, "linux" as const), text, fc.integer({ min: -1, max: 2 }), (os, out, rc) => {
      const found = readInventory(os, new Map(questions[os].map(({ id }) => [id, said(out, rc, out)])));
      for (const { id, name, version, publisher } of [...found.software, ...found.drivers]) {
        expect(name).not.toBe("");
        for (const part of [id, name, version, publisher]) expect(part.length).toBeLessThanOrEqual(200);
      }
    }),
    { numRuns: 300 },
  );
});

function read(answers: Record<string, Raw>): Inventory {
  return readInventory("windows", new Map(Object.entries(answers)));
}
