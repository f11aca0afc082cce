// What Windows' programs list of what is installed: `reg export`, and pnputil for the driver store.
// Forms: a .reg file as reg.exe writes it (UTF-16LE with its mark, CRLF, escaped strings, binary in lines of at most 80 characters); `pnputil /enum-drivers` of
// Windows 10 1607 and later (learn.microsoft.com, PnPUtil examples).
import { type Answer, complained, said } from "./process.ts";
import { fullKey, type Registry, type RegistryValue } from "./registry.ts";

const DRIVER_STORE = "HKLM\\SYSTEM\\DriverDatabase\\DriverPackages";
const CLASS_SYSTEM = "{4d36e97d-e325-11ce-bfc1-08002be10318}";

/** reg export KEY FILE [/y]; `write` answers whether there was room. */
export function regExport(
  registry: Registry,
  [key = "", file = "", ...options]: readonly string[],
  write: (file: string, data: Uint8Array) => boolean,
): Answer {
  if (fullKey(key) === undefined || file === "" || options.some((option) => !["/y", "/reg:64", "/reg:32"].includes(option.toLowerCase())))
    return complained('ERROR: Invalid syntax.\r\nType "REG EXPORT /?" for usage.\r\n', 1);
  const name = registry.keyName(key);
  if (name === undefined) return complained("ERROR: The system was unable to find the specified registry key or value.\r\n", 1);
  const blocks = [name, ...registry.below(key)].map((path) => `[${path}]\r\n${registry.values(path).map(line).join("")}\r\n`);
  const text = `\ufeffWindows Registry Editor Version 5.00\r\n\r\n${blocks.join("")}`;
  return write(file, new Uint8Array(Buffer.from(text, "utf16le")))
    ? said("The operation completed successfully.\r\n")
    : complained("ERROR: There is not enough space on the disk.\r\n", 1);
}

const line = (value: RegistryValue): string => {
  const name = value.name === "" ? "@" : `"${escaped(value.name)}"`;
  return `${wrapped(`${name}=${data(value)}`)}\r\n`;
};

const escaped = (text: string): string => text.replace(/[\\"]/g, "\\$&");
const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(",");
const utf16 = (text: string): Uint8Array => new Uint8Array(Buffer.from(`${text}\0`, "utf16le"));

function data({ type, data: [text = "", ...more] }: RegistryValue): string {
  const number = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? BigInt(text) : 0n;
  if (type === "REG_SZ") return `"${escaped(text)}"`;
  if (type === "REG_DWORD") return `dword:${BigInt.asUintN(32, number).toString(16).padStart(8, "0")}`;
  if (type === "REG_EXPAND_SZ") return `hex(2):${hex(utf16(text))}`;
  if (type === "REG_MULTI_SZ") return `hex(7):${hex(utf16([text, ...more].map((each) => `${each}\0`).join("")))}`;
  if (type === "REG_QWORD") {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt.asUintN(64, number));
    return `hex(b):${hex(bytes)}`;
  }
  return `${type === "REG_NONE" ? "hex(0)" : "hex"}:${hex(new Uint8Array(Buffer.from(text, "hex")))}`;
}

/** Only binary data is broken over lines, after a comma. */
function wrapped(text: string): string {
  if (!/=hex(\([0-9a-b]\))?:/.test(text) || text.length <= 80) return text;
  const [head = "", ...parts] = text.split(/(?<=,)/);
  const lines = [head];
  for (const part of parts) {
    const last = lines[lines.length - 1] ?? "";
    if (last.length + part.length > 77) {
      lines[lines.length - 1] = `${last}\\`;
      lines.push(`  ${part}`);
    } else lines[lines.length - 1] = `${last}${part}`;
  }
  return lines.join("\r\n");
}

/** Puts a driver package into the store; a newer one of the same name takes its place. */
export function addDriver(registry: Registry, inf: string, provider: string, version: string): void {
  const key = `${DRIVER_STORE}\\${inf}`;
  const published = registry.value(key, "")?.data[0] ?? `oem${registry.children(DRIVER_STORE).length}.inf`;
  registry.apply({ [key]: { "": ["REG_SZ", published], Provider: ["REG_SZ", provider], Version: ["REG_SZ", version] } });
}

export function pnputil(registry: Registry, args: readonly string[]): Answer {
  if (args.map((argument) => argument.toLowerCase()).join(" ") !== "/enum-drivers") return complained("Invalid command line.\r\n", 87);
  const blocks = registry.children(DRIVER_STORE).map((key) => {
    const value = (name: string): string => registry.value(key, name)?.data[0] ?? "";
    return [
      `Published Name:     ${value("")}`,
      `Original Name:      ${key.slice(key.lastIndexOf("\\") + 1)}`,
      `Provider Name:      ${value("Provider")}`,
      "Class Name:         System devices",
      `Class GUID:         ${CLASS_SYSTEM}`,
      `Driver Version:     05/14/2025 ${value("Version")}`,
      "Signer Name:        Microsoft Windows Hardware Compatibility Publisher",
      "",
      "",
    ].join("\r\n");
  });
  return said(`Microsoft PnP Utility\r\n\r\n${blocks.join("") || "No published driver packages were found on the system.\r\n"}`);
}
