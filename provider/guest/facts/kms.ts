// KMS: each layer is rearmed once, as the very last act, so that every image made from it gets a client id of its own.
// slmgr's labels are localised (the channel's name is not): a count that can't be read is an error and said so, never a guess.
// From the rearm to the next start slmgr.vbs /dlv prints the version of its service and ends with SL_REMAPPING_SP_PUB_TS_REARMED, "The security processor reported
// that the trusted data store was rearmed" (its QuitIfError: the number is printed and is the exit code, in every language; clong/DetectionLab#902 shows it). So it
// proves the rearm, and the count that is left can't be seen from the boot that rearms.
import { absent, type Raw, type Reading, unknown, value, words } from "../fact.ts";

const SLMGR = 'cscript //nologo "%SystemRoot%\\System32\\slmgr.vbs"';
export const KMS_COMMANDS = { show: `${SLMGR} /dlv`, rearm: `${SLMGR} /rearm` } as const;

/** What the generated scripts look for in the answer; plain text for `find`. */
export const KMS_TEXTS = {
  answered: " channel",
  client: "VOLUME_KMSCLIENT",
  count: "Remaining Windows rearm count: ",
  none: "Remaining Windows rearm count: 0",
  notApplicable: "Remaining Windows rearm count: 4294967295",
  rearmed: "0xC004D302",
} as const;

/** 0xC004D302 as cscript hands it on. */
export const KMS_REARMED = -1073425662;

export interface Licensing {
  /** VOLUME_KMSCLIENT, VOLUME_MAK, RETAIL, OEM_DM, TIMEBASED_EVAL, … */
  readonly channel: string;
  readonly status?: string;
  /** Absent where the channel has no count that matters here. */
  readonly rearmCount?: number;
}

/** `slmgr /dlv`. Absent: another channel than KMS client, so nothing to rearm. */
export function parseLicensing(raw: Raw): Reading<Licensing> {
  if (raw.rc !== 0) return unknown(`slmgr ended with ${raw.rc}: ${words(raw)}`);
  const channel = /\b([A-Z][A-Z0-9_]+)\s+channel\b/.exec(raw.out)?.[1];
  if (channel === undefined) return unknown(raw.out.trim() === "" ? "slmgr said nothing" : "slmgr's answer names no licence channel");
  const status = /^License Status:[ \t]{0,9}(\S.{0,80})/m.exec(raw.out)?.[1]?.trim();
  const about = { channel, ...(status === undefined ? {} : { status }) };
  if (channel !== "VOLUME_KMSCLIENT") return value(about);
  const count = /^Remaining Windows rearm count:\s*(\d{1,10})\s*$/m.exec(raw.out)?.[1];
  if (count === undefined)
    return unknown("the remaining rearm count is not in slmgr's answer (is this Windows localised? its labels are read in English only)");
  // 4294967295 is slmgr's "not applicable".
  return Number(count) === 0xffff_ffff
    ? unknown("slmgr says that a rearm count is not applicable (4294967295)")
    : value({ ...about, rearmCount: Number(count) });
}

export type KmsJudgement =
  | { state: "ready"; message: string; before?: number; after?: number }
  | { state: "notApplicable"; message: string }
  | { state: "failed"; message: string; before?: number; after?: number };

export interface KmsEvidence {
  readonly before?: Raw;
  readonly rearm?: Raw;
  readonly after?: Raw;
  /** The boot that has begun a rearm. */
  readonly boot?: string;
}

const REFUSED = "If you are using KMS licensing, the rearm count must be > 0";

const readOrMissing = (raw: Raw | undefined, what: string): Reading<Licensing> =>
  raw === undefined ? unknown(`slmgr /dlv ${what} was not run`) : parseLicensing(raw);

export function judgeKms(evidence: KmsEvidence): KmsJudgement {
  const before = readOrMissing(evidence.before, "before the rearm");
  if (before.kind !== "value") {
    return {
      state: "failed",
      message: `KMS: the rearm count could not be read before the rearm: ${before === absent || before.kind === "absent" ? "no answer" : before.error}`,
    };
  }
  if (before.value.rearmCount === undefined) {
    if (evidence.rearm !== undefined)
      return { state: "failed", message: `KMS: the guest was rearmed though its channel is ${before.value.channel}` };
    return { state: "notApplicable", message: `KMS: not applicable, the licence channel is ${before.value.channel}` };
  }
  const counts = { before: before.value.rearmCount };
  if (counts.before === 0) {
    return {
      state: "failed",
      message: `${REFUSED}: it is 0, so nothing was rearmed. Start from a base version that was rearmed less often`,
      ...counts,
    };
  }
  if (evidence.rearm === undefined) {
    const cut = evidence.boot === undefined ? "" : " to its end: it went down meanwhile, and one count may be spent; finalize it anew";
    return { state: "failed", message: `KMS: the guest was not rearmed${cut}`, ...counts };
  }
  // Of a program that works it says so; one that does not prints nothing and ends with 0 as well.
  if (evidence.rearm.rc === 0 && evidence.rearm.out.trim() === "")
    return { state: "failed", message: "KMS: slmgr /rearm said nothing", ...counts };
  if (evidence.rearm.rc !== 0) {
    return {
      state: "failed",
      message: `KMS: slmgr /rearm ended with ${evidence.rearm.rc}: ${words(evidence.rearm)}`,
      ...counts,
    };
  }
  if (evidence.after?.rc === KMS_REARMED && evidence.after.out.toUpperCase().includes(KMS_TEXTS.rearmed.toUpperCase()))
    return {
      state: "ready",
      message: `KMS: rearmed once, remaining count ${counts.before} before; Windows shows what is left after its next start`,
      ...counts,
    };
  const after = readOrMissing(evidence.after, "after the rearm");
  if (after.kind !== "value" || after.value.rearmCount === undefined) {
    return {
      state: "failed",
      message: `KMS: the rearm count could not be read after the rearm${after.kind === "error" ? `: ${after.error}` : ""}`,
      ...counts,
    };
  }
  const both = { ...counts, after: after.value.rearmCount };
  // Of a slmgr that answers before the next start: unchanged is believed, anything but one less or the same is not.
  if (both.after !== both.before - 1 && both.after !== both.before) {
    return {
      state: "failed",
      message: `KMS: one rearm should cost one count, but slmgr showed ${both.before} before and ${both.after} after`,
      ...both,
    };
  }
  return { state: "ready", message: `KMS: rearmed once, remaining count ${both.before} before and ${both.after} after`, ...both };
}
