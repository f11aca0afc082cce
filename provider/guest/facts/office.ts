// Office's own rearm, beside Windows': a grace timer and a client id that every image of the layer would share otherwise. Opt-in, once, just before Windows' own.
// learn.microsoft.com, "Rearm a volume licensed version of Office that's included in an operating system image": a rearm resets the timer to 30 days and the client id, and freezes
// the timer "until either an Office application is run, or the ospp.vbs script is run". So ospp.vbs is asked before the rearm and never after it. Five rearms are all there are, one
// more after an activation by a KMS host; how many are left is not told by any of Office's programs.
import { absent, type Raw, type Reading, unknown, value, words } from "../fact.ts";

/** Where OSPPREARM.EXE may lie: with ospp.vbs since Office 2013 (Office16 is 2016 and all later ones, click-to-run too); Office 2010 has it among the common files. */
export interface OfficePlace {
  /** In names of files on the payload disk and of variables. */
  readonly id: string;
  readonly title: string;
  readonly rearm: string;
  readonly ospp: string;
}

const ROOTS = [
  { suffix: "", bits: "64-bit", root: "%ProgramFiles%" },
  { suffix: "-x86", bits: "32-bit", root: "%ProgramFiles(x86)%" },
];

export const OFFICE_PLACES: readonly OfficePlace[] = ["16", "15", "14"].flatMap((version) =>
  ROOTS.map(({ suffix, bits, root }) => {
    const folder = `${root}\\Microsoft Office\\Office${version}`;
    return {
      id: `${version}${suffix}`,
      title: `Office${version} (${bits})`,
      rearm: `${version === "14" ? `${root}\\Common Files\\Microsoft Shared\\OfficeSoftwareProtectionPlatform` : folder}\\OSPPREARM.EXE`,
      ospp: `${folder}\\OSPP.VBS`,
    };
  }),
);

/** What the generated scripts look for; plain text for `find`. ospp.vbs has its labels in English on every Windows. */
export const OFFICE_TEXTS = {
  answered: "---Exiting---",
  channel: "VOLUME_KMSCLIENT",
  rearmed: "Microsoft Office rearm successful",
} as const;

const NO_KEYS = "<No installed product keys detected>";

/** `ospp.vbs /dstatus`: the licence channels of the products that have a key, each once. */
export function parseOfficeStatus(raw: Raw): Reading<readonly string[]> {
  if (raw.rc !== 0) return unknown(`ospp.vbs /dstatus ended with ${raw.rc}: ${words(raw)}`);
  if (!raw.out.includes(OFFICE_TEXTS.answered)) return unknown(`ospp.vbs /dstatus did not come to its end: ${words(raw)}`);
  const described = [...raw.out.matchAll(/^LICENSE DESCRIPTION:(.{0,200})$/gm)].map(([, text = ""]) => text);
  const channels = described.map((text) => /,\s*(\S.{0,60}?)\s+channel\s*$/.exec(text)?.[1]);
  const odd = described[channels.indexOf(undefined)];
  if (odd !== undefined) return unknown(`ospp.vbs /dstatus names no licence channel in "${odd.trim()}"`);
  if (channels.length === 0 && !raw.out.includes(NO_KEYS)) return unknown(`ospp.vbs /dstatus names no licence: ${words(raw)}`);
  return value([...new Set(channels as string[])].sort());
}

export interface OfficeEvidence {
  /** By the id of a place. */
  readonly status: Readonly<Record<string, Raw | "absent">>;
  readonly rearm: Readonly<Record<string, Raw>>;
  /** The boot that rearmed. */
  readonly boot?: string | undefined;
}

export interface OfficeJudgement {
  readonly state: "ready" | "notApplicable" | "failed";
  readonly message: string;
}

const failed = (message: string): OfficeJudgement => ({ state: "failed", message: `Office: ${message}` });

export function judgeOffice({ status, rearm }: OfficeEvidence): OfficeJudgement {
  const rearmed: string[] = [];
  const spared: string[] = [];
  for (const { id, title } of OFFICE_PLACES) {
    const said = status[id];
    const reading = said === undefined ? unknown("it was not asked") : said === "absent" ? absent : parseOfficeStatus(said);
    const done = rearm[id];
    if (reading.kind === "error") return failed(`the licences of ${title} could not be read before the rearm: ${reading.error}`);
    const channels = reading.kind === "value" ? reading.value : [];
    const others = channels.filter((channel) => channel !== OFFICE_TEXTS.channel);
    const client = channels.length > others.length;
    if (!client || others.length > 0) {
      if (done !== undefined) return failed(`${title} was rearmed though its licence channels are ${channels.join(", ") || "none"}`);
      if (client)
        return failed(
          `${title} has products of KMS and of others (${others.join(", ")}), which one rearm would all reset; rearm the right ones by their SKU ids in a clean-up step (OSPPREARM.EXE <id>) and leave office out`,
        );
      if (reading.kind === "value") spared.push(`${title}: ${channels.join(", ") || "no product key"}`);
      continue;
    }
    if (done === undefined) return failed(`${title} was not rearmed`);
    // A program that is only pretended prints nothing and ends with 0.
    if (done.rc !== 0 || !done.out.includes(OFFICE_TEXTS.rearmed))
      return failed(`OSPPREARM.EXE of ${title} ended with ${done.rc}: ${words(done)}. ${FIVE}`);
    rearmed.push(`${title}, exit code 0: ${words(done)}`);
  }
  if (rearmed.length > 0) return { state: "ready", message: `Office: rearmed once (${rearmed.join("; ")})` };
  return {
    state: "notApplicable",
    message: `Office: not applicable, ${spared.length === 0 ? "none is installed in its usual folders" : `nothing is licensed by KMS (${spared.join("; ")})`}`,
  };
}

const FIVE =
  "Office can be rearmed five times, and once more when a KMS host has activated it: start from a base version that was rearmed less often";
