// The system volume must be whole: a dirty bit, or a check that was ordered for the next start, would run chkdsk in every image.
// BootExecute is not localised and tells an ordered check (/p, /m) from a volume that was only left out of them (/k, chkntfs /x); further entries are programs of
// antivirus and defragmenters. fsutil's words are English only: in another language the answer is an error, and policy "ignore" is what is left.
import {
  type Check,
  cannotTell,
  type Fact,
  type Judgement,
  joinJudgements,
  pending,
  type Raw,
  type Reading,
  ready,
  unknown,
  value,
  words,
} from "../fact.ts";
import { type RegistryAnswer, registryListing, valueNamed } from "../registry.ts";

const PROMPT = "A check of the system volume is pending - please check and reboot the Packaging Machine.";
const SESSION_MANAGER = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager";

function parseDirty(raw: Raw): Reading<boolean> {
  if (raw.rc !== 0 && raw.rc !== 1) return unknown(`fsutil ended with ${raw.rc}: ${words(raw)}`);
  const [, not] = /\bis (not )?dirty\b/i.exec(raw.out) ?? [undefined, undefined];
  if (/\bis (not )?dirty\b/i.test(raw.out)) return value(not === undefined);
  return unknown(
    `fsutil does not say in English whether the volume is dirty: ${raw.out.trim().slice(0, 200) || "it said nothing"}; in another language, checks: { systemVolume: "ignore" }`,
  );
}

const dirty: Fact<boolean> = {
  id: "volume-dirty",
  command: "fsutil dirty query %SystemDrive%",
  quiet: { kind: "textAbsent", text: ["is dirty"], present: ["is not dirty"], anyCase: true },
  fix: "reboot",
  found: { codes: [0, 1], text: "is dirty" },
  parse: parseDirty,
};

const bootExecute: Fact<RegistryAnswer> = {
  ...registryListing("boot-execute", SESSION_MANAGER, ["autochk /p", "autochk /m"], "BootExecute", "reboot"),
  command: `reg query "${SESSION_MANAGER}" /v BootExecute`,
};

function judgeBootExecute(answer: RegistryAnswer): Judgement {
  // autochk's own argument may hold what reg separates by: \0 and a path never follow each other in it.
  const entries = (valueNamed(answer, "BootExecute")?.data ?? "").split("\\0").map((entry) => entry.trim());
  const ordered = entries.filter((entry) => /^autocheck\s+autochk\s+.*\/[pm]/i.test(entry));
  if (ordered.length > 0) return pending(`${PROMPT} ${SESSION_MANAGER}, BootExecute orders ${ordered.join(", ")}; restart the guest.`);
  const others = entries.filter((entry) => entry !== "" && !/^autocheck\s+autochk\b/i.test(entry));
  return others.length === 0 ? ready : { state: "ready", notes: [`runs at each start before Windows: ${others.join(", ").slice(0, 300)}`] };
}

export const systemVolume: Check = {
  id: "systemVolume",
  title: "System volume",
  prompt: PROMPT,
  bit: { name: "reboot", value: 2 },
  policy: "fix",
  windows: {
    facts: [dirty, bootExecute],
    judge: (look) => {
      const state = look(dirty);
      const execute = look(bootExecute);
      return joinJudgements([
        state.kind !== "value"
          ? cannotTell(dirty, state)
          : state.value
            ? pending(`${PROMPT} fsutil says that the system volume is dirty; restart the guest, so that it is checked.`)
            : ready,
        execute.kind !== "value" ? cannotTell(bootExecute, execute) : judgeBootExecute(execute.value),
      ]);
    },
  },
};
