// What should not be sealed and harms nobody: mapped drives, an inserted ISO image, installers left behind, and fast start-up. Only said ("Remove any settings,
// configurations, files, mapped drives, or applications that you do not want to include").
// Mapped drives are those of whom the script runs as: the account of the steps, or the engineer. Of a CD drive only its file system is known, by a name that is not
// localised (CDFS, UDF); drive letters beyond F: are not looked at.
import {
  type Check,
  cannotTell,
  type Fact,
  type Judgement,
  joinJudgements,
  judgeAbsent,
  OTHER_BIT,
  pending,
  type Raw,
  type Reading,
  ready,
  unknown,
  value,
  words,
} from "../fact.ts";
import { filesThere } from "../files.ts";
import { dword, registryContents, registryFlag, valueNamed } from "../registry.ts";

const mapped = registryContents("mapped-drives", ["HKCU\\Network"], ["\\Network\\"], "none");
const installers = [filesThere("temp-msi", "%TEMP%\\*.msi"), filesThere("temp-exe", "%TEMP%\\*.exe")];
// Shut down by `shutdown /s`, this machine is off for good; an image's users get a hibernated kernel, which a changed disk must never wake up.
const fastStart = registryFlag(
  "fast-start",
  "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Power",
  "HiberbootEnabled",
  "none",
);

function parseVolume(raw: Raw): Reading<string> {
  const [, system] = /\b(NTFS|FAT|FAT32|exFAT|ReFS|CDFS|UDF)\b/.exec(raw.out) ?? [];
  if (raw.rc !== 0 || system === undefined) return unknown(`fsutil ended with ${raw.rc}: ${words(raw)}`);
  return value(system);
}

const drives = ["D", "E", "F"].map((letter): { letter: string; fact: Fact<string> } => ({
  letter,
  fact: {
    id: `drive-${letter.toLowerCase()}`,
    command: `fsutil fsinfo volumeinfo ${letter}:\\`,
    quiet: { kind: "textAbsent", text: ["CDFS", "UDF"], present: [":"] },
    requires: `${letter}:\\`,
    fix: "none",
    parse: parseVolume,
  },
}));

function judgeMapped(keys: readonly string[]): Judgement {
  const letters = keys.flatMap((key) => /\\Network\\([^\\]{1,20})$/i.exec(key)?.[1] ?? []);
  return letters.length === 0
    ? ready
    : pending(`Mapped drives are left (HKCU\\Network): ${letters.slice(0, 10).join(", ")}; remove them with net use /delete.`);
}

const PROMPT = "Something is left that the layer should not hold - please check the Packaging Machine.";

const mounts: Fact<string[]> = {
  id: "mounts",
  command: "cat /proc/mounts",
  quiet: { kind: "textAbsent", text: [" cifs ", " nfs ", " nfs4 ", " iso9660 ", " udf "], present: [" / "] },
  fix: "none",
  parse: (raw) => {
    const lines = raw.out.split("\n").map((line) => line.split(" "));
    if (raw.rc !== 0 || !lines.some(([, place]) => place === "/")) return unknown(`cat ended with ${raw.rc} and shows no root`);
    return value(
      lines.flatMap(([from = "", place = "", type = ""]) =>
        /^(cifs|nfs4?|iso9660|udf)$/.test(type) ? [`${from.slice(0, 100)} on ${place.slice(0, 100)}`] : [],
      ),
    );
  },
};

export const residue: Check = {
  id: "residue",
  title: "Left behind",
  prompt: PROMPT,
  bit: OTHER_BIT,
  policy: "warn",
  windows: {
    facts: [mapped, ...drives.map(({ fact }) => fact), ...installers, fastStart],
    judge: (look) => {
      const network = look(mapped);
      return joinJudgements([
        network.kind === "value" ? judgeMapped(network.value.keys) : cannotTell(mapped, network),
        ...drives.map(({ letter, fact }) =>
          judgeAbsent(fact, look, (system) =>
            /^(CDFS|UDF)$/.test(system) ? pending(`An ISO image is inserted in drive ${letter}: (${system}); eject it.`) : ready,
          ),
        ),
        ...installers.map((fact) =>
          judgeAbsent(fact, look, (names) => pending(`Installers are left in %TEMP%: ${names.slice(0, 5).join(", ")}; delete them.`)),
        ),
        judgeAbsent(fastStart, look, (answer): Judgement => {
          const enabled = valueNamed(answer, "HiberbootEnabled");
          if (enabled === undefined) return cannotTell(fastStart, "the answer lacks HiberbootEnabled");
          return dword(enabled) === 0
            ? ready
            : {
                state: "ready",
                notes: ["fast start-up is on (HiberbootEnabled): users' shutdowns hibernate the kernel where the hypervisor lets them"],
              };
        }),
      ]);
    },
  },
  linux: {
    facts: [mounts],
    judge: (look) => {
      const found = look(mounts);
      if (found.kind !== "value") return cannotTell(mounts, found);
      return found.value.length === 0 ? ready : pending(`Still mounted: ${found.value.slice(0, 5).join(", ")}; unmount it.`);
    },
  },
};
