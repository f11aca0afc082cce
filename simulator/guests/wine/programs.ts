// Which programs of a guest under Wine are Wine's own, and which are answered by the model of Windows: the list of DIFFERENCES.md.
// Of many programs Wine has only a name: they print nothing and end with 0, which would read as quiet. None of those is ever run here.
import { BUILT_IN } from "../windows/system32.ts";

/** Where the relay lies in the sandbox: a folder that the guest can't write. */
export const PROGRAMS_FOLDER = "/sbin";
/** Wine's own program beside a relay that stands in its place: `find.exe`, `wine-find.exe`. */
export const WINE_OWN_PREFIX = "wine-";

/** The model knows them too, but Wine does them for real. */
const WINES = new Set(["cmd", "hostname", "reg", "sc", "whoami"]);
/** In Wine a name without a program behind it (Wine 8.0, programs/*). */
const PRETENDED = [
  ...[
    "arp",
    "cacls",
    "certutil",
    "dism",
    "eject",
    "fc",
    "findstr",
    "fsutil",
    "icacls",
    "lodctr",
    "netsh",
    "powershell",
    "schtasks",
    "sdbinst",
    "secedit",
  ],
  ...["setx", "shutdown", "subst", "systeminfo", "tasklist", "unlodctr", "wevtutil", "where"],
];

/** Programs that ask the simulator, by their names without extension. */
export const RELAYED: readonly string[] = [...new Set([...BUILT_IN, ...PRETENDED])].filter((name) => !WINES.has(name)).sort();

export type Doer = "wine" | "model" | "nobody";

/** Who answers this command line of a relayed program. `payload`: it asks about files of the payload disk alone. */
export function doerOf(name: string, args: readonly string[], payload: boolean): Doer {
  const lower = args.map((argument) => argument.toLowerCase());
  const switched = lower.some((argument) => /^\/[a-z]+$/.test(argument));
  switch (name) {
    // Wine's find knows no switches, and takes three times as long; what is piped into it the model can't see.
    case "find":
      return switched || (payload && lower.length > 1) ? "model" : "wine";
    case "cscript":
      return lower.some((argument) => argument.endsWith("slmgr.vbs")) ? "model" : "wine";
    // A task that is registered with the model would not be started under Wine.
    case "schtasks":
      return "nobody";
    default:
      return name === "ngen" || BUILT_IN.includes(name) ? "model" : "nobody";
  }
}
