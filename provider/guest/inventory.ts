// What is installed in a guest, for the report and for comparing two versions. No check: nothing is judged by it, and what can't be read is only said.
// Windows: the Uninstall keys in both views (what Settings lists) by `reg export`, whose UTF-16 loses no letter, and the driver store's own packages by pnputil;
// Linux: the packages of dpkg and rpm.
import type { GuestOs, Raw } from "./fact.ts";

export interface Installed {
  /** What tells it apart inside one guest: the product's key, the package with its architecture, the driver's published name. */
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly publisher: string;
}

export interface Inventory {
  /** The guest's own name for itself: "Windows 11 Enterprise 23H2 (22631.2506)". */
  readonly system: string;
  readonly software: readonly Installed[];
  readonly drivers: readonly Installed[];
  /** What could not be read; empty: the lists are whole. */
  readonly problems: readonly string[];
}

export interface Question {
  readonly id: string;
  /** Windows: one program; Linux: POSIX sh. */
  readonly command: string;
  /** The program writes the file of its answer by itself. */
  readonly writes?: true;
}

const UNINSTALL = "Microsoft\\Windows\\CurrentVersion\\Uninstall";

const exported = (id: string, key: string): Question => ({
  id,
  command: `reg export "${key}" out\\inventory\\${id}.out /y`,
  writes: true,
});

const windows: readonly Question[] = [
  { id: "system", command: `reg query "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"` },
  exported("software-64", `HKLM\\SOFTWARE\\${UNINSTALL}`),
  exported("software-32", `HKLM\\SOFTWARE\\WOW6432Node\\${UNINSTALL}`),
  { id: "drivers", command: "pnputil /enum-drivers" },
];

const linux: readonly Question[] = [
  {
    id: "system",
    command: `if [ -r /etc/os-release ]; then sed -n 's/^PRETTY_NAME=//p' /etc/os-release; else uname -s; fi
uname -r`,
  },
  {
    id: "software",
    command: `if [ -e /var/lib/dpkg/status ]; then dpkg-query -W -f '\${Package}:\${Architecture}\\t\${Version}\\t\${Maintainer}\\t\${db:Status-Abbrev}\\n' || exit 1; fi
if [ -d /var/lib/rpm ] || [ -d /usr/lib/sysimage/rpm ]; then
  if command -v rpm >/dev/null 2>&1; then rpm -qa --qf '%{NAME}.%{ARCH}\\t%{VERSION}-%{RELEASE}\\t%{VENDOR}\\tii\\n' || exit 1; fi
fi`,
  },
];

export const questions: Readonly<Record<GuestOs, readonly Question[]>> = { windows, linux };

/** A subroutine of a generated cmd script. */
export const cmdInventory = (): string => `
rem For the report only: what is installed.
:inventory
echo xenlayer: inventory
if not exist out\\inventory mkdir out\\inventory
${windows
  .map(({ id, command, writes }) => {
    const file = `out\\inventory\\${id}`;
    return `${command} >${writes === true ? "nul" : `${file}.out`} 2>${file}.err <nul
set rc=%errorlevel%
>${file}.rc echo %rc%`;
  })
  .join("\n")}
exit /b 0
`;

/** A function of a generated sh script; its commands lie in files of their own, as those of facts do. */
export const shInventory = (): string => `
inventory() { # for the report only: what is installed
  progress inventory
  mkdir -p out/inventory
  for question in ${linux.map(({ id }) => id).join(" ")}; do
    limited 300 sh "inventory/$question.sh" >"out/inventory/$question.out" 2>"out/inventory/$question.err" </dev/null
    echo $? >"out/inventory/$question.rc"
  done
}
`;

export type Answers = ReadonlyMap<string, Raw>;

const MAX_ENTRIES = 10_000;

export function readInventory(os: GuestOs, answers: Answers): Inventory {
  const problems: string[] = [];
  // A 32-bit Windows has no second view, and a guest may have neither: that the key is absent is no problem.
  const answered = (id: string, absentCode?: number): string => {
    const raw = answers.get(id);
    if (raw === undefined) problems.push(`${id}: no answer was kept`);
    else if (raw.rc !== 0 && raw.rc !== absentCode)
      problems.push(`${id}: ended with ${raw.rc}: ${oneLine(raw.err || raw.out) || "it said nothing"}`);
    else return raw.rc === 0 ? raw.out : "";
    return "";
  };
  const inventory =
    os === "windows"
      ? {
          system: windowsName(answered("system")),
          software: [...uninstallEntries(answered("software-64")), ...uninstallEntries(answered("software-32", 1), "32-bit ")],
          drivers: driverPackages(answered("drivers")),
        }
      : { system: linuxName(answered("system")), software: linuxPackages(answered("software")), drivers: [] };
  return { ...inventory, software: listed(inventory.software), drivers: listed(inventory.drivers), problems };
}

const oneLine = (text: string): string => text.replace(/\s+/g, " ").trim().slice(0, 200);

function listed(entries: readonly Installed[]): Installed[] {
  const order = ({ name, id }: Installed): string => `${name.toLowerCase()} ${id.toLowerCase()}`;
  return [...entries]
    .map(({ id, name, version, publisher }) => ({
      id: oneLine(id),
      name: oneLine(name),
      version: oneLine(version),
      publisher: oneLine(publisher),
    }))
    .sort((a, b) => (order(a) < order(b) ? -1 : 1))
    .slice(0, MAX_ENTRIES);
}

/** The text of a .reg file: a key in brackets, then its values; strings escaped, binary over several lines. */
export function uninstallEntries(text: string, prefix = ""): Installed[] {
  const entries: Installed[] = [];
  let key = "";
  let values = new Map<string, string>();
  const close = (): void => {
    const name = values.get("displayname");
    // What has no name is not shown by Windows either: patches, and parts of something else.
    if (name !== undefined && name !== "")
      entries.push({ id: `${prefix}${key}`, name, version: values.get("displayversion") ?? "", publisher: values.get("publisher") ?? "" });
  };
  for (const line of text.replace(/\\\r?\n\s*/g, "").split(/\r?\n/)) {
    const [, path] = /^\[(HKEY_.*)\]$/.exec(line) ?? [];
    if (path !== undefined) {
      close();
      key = path.slice(path.lastIndexOf("\\") + 1);
      values = new Map();
      continue;
    }
    const [, name, data] = /^"((?:[^"\\]|\\.)*)"=(.*)$/.exec(line) ?? [];
    if (name !== undefined && data !== undefined) values.set(unescaped(name).toLowerCase(), textOf(data));
  }
  close();
  return entries;
}

const unescaped = (text: string): string => text.replace(/\\(.)/g, "$1");

function textOf(data: string): string {
  const [, quoted] = /^"((?:[^"\\]|\\.)*)"$/.exec(data) ?? [];
  if (quoted !== undefined) return unescaped(quoted);
  // REG_EXPAND_SZ: UTF-16LE bytes in hexadecimal.
  const [, hex] = /^hex\(2\):([0-9a-f,]*)$/i.exec(data) ?? [];
  const bytes = hex === undefined ? [] : hex.split(",").filter((part) => part !== "");
  return new TextDecoder("utf-16le").decode(Uint8Array.from(bytes.map((part) => Number.parseInt(part, 16)))).replace(/\0+$/, "");
}

/**
 * Blocks of `pnputil /enum-drivers`. Their labels are localised and their order is not: published name, original name, provider, class, class GUID,
 * date and version, signer. Only the values are looked at, by their form.
 */
export function driverPackages(text: string): Installed[] {
  return text.split(/\r?\n\s*\r?\n/).flatMap((block) => {
    const values = block.split(/\r?\n/).flatMap((line) => /^\s*[^:\uff1a]+[:\uff1a]\s*(.+?)\s*$/.exec(line)?.[1] ?? []);
    const published = values.findIndex((value) => /^oem\d+\.inf$/i.test(value));
    const version = values.flatMap((value) => /^\d{1,2}\/\d{1,2}\/\d{4} (\d+(?:\.\d+)*)$/.exec(value)?.[1] ?? []).at(0);
    const [id, name, publisher] = values.slice(published, published + 3);
    if (published < 0 || id === undefined || name === undefined || version === undefined) return [];
    return [{ id, name, version, publisher: publisher ?? "" }];
  });
}

function windowsName(text: string): string {
  const value = (name: string): string => new RegExp(`^ {4}${name} {4}REG_\\w+ {4}(.+?)\\s*$`, "m").exec(text)?.[1] ?? "";
  const build = value("CurrentBuildNumber") || value("CurrentBuild");
  const revision = value("UBR");
  const number = Number(build) >= 22_000 ? value("ProductName").replace(/^Windows 10/, "Windows 11") : value("ProductName");
  const full = `${build}${/^0x[0-9a-f]+$/i.test(revision) ? `.${Number.parseInt(revision, 16)}` : ""}`;
  return oneLine(`${number} ${value("DisplayVersion")} ${full === "" ? "" : `(${full})`}`);
}

function linuxName(text: string): string {
  const [name = "", kernel = ""] = text.split("\n");
  return oneLine(`${name.replace(/^(["'])(.*)\1$/, "$2")}${kernel === "" ? "" : `, kernel ${kernel}`}`);
}

function linuxPackages(text: string): Installed[] {
  return text.split("\n").flatMap((line) => {
    const [id = "", version = "", publisher = "", state = ""] = line.split("\t");
    // "rc": removed, its configuration is left.
    if (id === "" || version === "" || !state.startsWith("ii")) return [];
    return [{ id, name: id.replace(/[:.][a-z0-9_]+$/, ""), version, publisher }];
  });
}
