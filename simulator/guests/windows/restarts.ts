// What Windows says by CIM and COM about a restart that is needed: Win32_PnPEntity and Microsoft.Update.SystemInfo (learn.microsoft.com), as far as a line of
// PowerShell can be told apart by what it asks for and which words it has for "none" and "some". These states have no other place in the model than its registry.
import { type Answer, complained, said } from "./process.ts";
import type { Registry } from "./registry.ts";

/**
 * `{ "Device": ["REG_SZ", "ROOT\\\\XENBUS\\\\0000"], "Problem": ["REG_DWORD", "14"], "WindowsUpdate": ["REG_DWORD", "1"] }`: of the model's own.
 * Problem 14 and `WindowsUpdate` 1 are over with the next start; `WindowsUpdate` 2: the object refuses to answer.
 */
export const RESTART_KEY = "HKLM\\SYSTEM\\XAPISIM\\Restart";

export function askRestart(registry: Registry, line: string): Answer | undefined {
  const number = (name: string): number => Number(registry.value(RESTART_KEY, name)?.data[0] ?? 0);
  const [none = "", some = ""] = [...line.matchAll(/\bWrite-Output -InputObject '([^']*)'/g)].map(([, text]) => text);
  if (/\bGet-CimInstance -ClassName Win32_PnPEntity\b.*ConfigManagerErrorCode/.test(line)) {
    const device = registry.value(RESTART_KEY, "Device")?.data[0];
    const asks = device !== undefined && number("Problem") === 14;
    return said(asks ? `${some}\r\n${device}\r\n` : `${none}\r\n`);
  }
  if (/\bNew-Object -ComObject Microsoft\.Update\.SystemInfo\)\.RebootRequired\b/.test(line)) {
    const state = number("WindowsUpdate");
    return state === 2 ? complained("", 3) : said(`${state === 1 ? some : none}\r\n`);
  }
  return undefined;
}

/** Windows starts. */
export function restarted(registry: Registry): void {
  if (Number(registry.value(RESTART_KEY, "Problem")?.data[0]) === 14) registry.deleteValue(RESTART_KEY, "Problem");
  if (Number(registry.value(RESTART_KEY, "WindowsUpdate")?.data[0]) === 1) registry.deleteValue(RESTART_KEY, "WindowsUpdate");
}
