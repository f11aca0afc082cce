// Commands that Windows has been told to run once, at the next logon of an administrator: installations that are not finished. No restart clears them without
// somebody logging on, so the default is to stop and name them, as App Layering does (and its Packer plug-in, unless told otherwise); policy `fix` carries them out.
// Noise is not known: browser updaters put entries here too, and what they do is as unfinished as any other.
import { type Check, cannotTell, pending, ready } from "../fact.ts";
import { registryContents } from "../registry.ts";

const PROMPT = "A RunOnce script is outstanding - please check the Packaging Machine.";
const VIEWS = ["HKLM\\SOFTWARE", "HKLM\\SOFTWARE\\Wow6432Node"].map((view) => `${view}\\Microsoft\\Windows\\CurrentVersion`);

/** Carried out by policy `fix`, in this order. RunOnceEx has a form of its own (sections, DLL entry points) and is Explorer's to carry out. */
export const RUN_ONCE_KEYS = VIEWS.map((view) => `${view}\\RunOnce`);
const keys = [...RUN_ONCE_KEYS, ...VIEWS.map((view) => `${view}\\RunOnceEx`)];

export const runOnceEntries = registryContents("run-once", keys, ["\\RunOnce"], "runOnce");

export const runOnce: Check = {
  id: "runOnce",
  title: "RunOnce",
  prompt: PROMPT,
  bit: { name: "runOnce", value: 16 },
  policy: "block",
  windows: {
    facts: [runOnceEntries],
    judge: (look) => {
      const answer = look(runOnceEntries);
      if (answer.kind !== "value") return cannotTell(runOnceEntries, answer);
      const entries = answer.value.values.map(({ key, name, data }) => `${shortKey(key)}, ${name}: ${data.slice(0, 120)}`);
      // A section of RunOnceEx is outstanding whatever it holds.
      const sections = answer.value.keys.filter((key) => /\\RunOnceEx\\./i.test(key)).map(shortKey);
      const open = [...entries, ...sections];
      if (open.length === 0) return ready;
      const more = open.length > 3 ? `; and ${open.length - 3} more` : "";
      return pending(
        `${PROMPT} ${open.slice(0, 3).join("; ")}${more}. Log on once as an administrator, or let xenlayer run them: checks: { runOnce: "fix" }.`,
      );
    },
  },
};

const shortKey = (key: string): string => key.replace(/^HKEY_LOCAL_MACHINE/i, "HKLM");
