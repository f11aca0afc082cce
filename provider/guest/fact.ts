// What a fact and a check are. A fact is the raw answer of one built-in program; a check judges a few facts.
// Promise of the whole folder: a reading is `value`, `absent` or `error`, and an error, an empty answer or a missing answer is never "clean"
// (PendingReboot and Ansible's CBS test read a failed query as clean; guest.md 2.1).
import { z } from "zod";

export const guestOs = z.enum(["windows", "linux"]);
export type GuestOs = z.output<typeof guestOs>;

/** What one command said: streams as text, exit code. */
export interface Raw {
  readonly out: string;
  readonly err: string;
  readonly rc: number;
}

export type Reading<T> = { kind: "value"; value: T } | { kind: "absent" } | { kind: "error"; error: string };

export const value = <T>(of: T): Reading<T> => ({ kind: "value", value: of });
export const absent: Reading<never> = { kind: "absent" };
export const unknown = (error: string): Reading<never> => ({ kind: "error", error });

// The texts are put between double quotes of cmd's `find` and single quotes of sh: only characters that mean nothing in either.
const plainText = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[A-Za-z0-9 _.,:\\/()-]+$/);

/**
 * The only decisions a generated script takes. `exitCode`: the code is one of these (and the output holds every `present`, and one of `oneOf`).
 * `textAbsent`: exit code 0, the output holds every `present` (proof that the program answered) and none of `text` (`anyCase`: however it is written);
 * or the exit code is `orCode`: what is asked for is not there.
 * `equals`: exit code 0 and the output, without its last line break, is exactly this line.
 * `value`, of `reg query`: exit code 0 and what the last line of this name holds is one of `data`, or, without `data`, the same as in the line of this name before;
 * or the exit code is `orCode`.
 * Irreversible acts follow it (the rearms, the bootstrap's removal), so what the judge does not call ready is not quiet: a test goes through all judgements
 * (facts/testing.ts).
 */
export const quietTest = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("exitCode"),
    codes: z.array(z.int()).min(1).max(8),
    present: z.array(plainText).max(8).optional(),
    oneOf: z.array(plainText).min(1).max(8).optional(),
  }),
  z.strictObject({
    kind: z.literal("textAbsent"),
    text: z.array(plainText).max(16),
    present: z.array(plainText).min(1).max(8),
    anyCase: z.literal(true).optional(),
    orCode: z.int().positive().optional(),
  }),
  z.strictObject({ kind: z.literal("equals"), text: plainText }),
  z.strictObject({
    kind: z.literal("value"),
    name: plainText,
    data: z.array(plainText).min(1).max(8).optional(),
    orCode: z.int().positive().optional(),
  }),
]);
export type Quiet = z.output<typeof quietTest>;

/** When an answer that is not quiet is one: its exit code is one of these, and the output holds the text (however it is written). No restart mends a missing answer. */
export const foundTest = z.strictObject({ codes: z.array(z.int()).min(1).max(8), text: plainText.optional() });
type Found = z.output<typeof foundTest>;

/** What a script may do about a fact that is not quiet: nothing, wait for the worker to end, run NGen's queue, carry out RunOnce, restart the guest. */
export const fixKind = z.enum(["none", "wait", "ngen", "runOnce", "reboot"]);
export type FixKind = z.output<typeof fixKind>;

export interface Fact<T> {
  /** Also a file name on the payload disk: lower case, digits, hyphens. */
  readonly id: string;
  /** Windows: one external program, as typed in cmd. Linux: POSIX sh, run in a subshell with LC_ALL=C. */
  readonly command: string;
  readonly quiet: Quiet;
  /** The fact exists only where this file does; elsewhere the script writes `absent` as its exit code and counts it as quiet. */
  readonly requires?: string;
  /** Gathered only when this other fact of the same round is quiet: `ngen queue status` pauses the very work it asks about. */
  readonly after?: string;
  /** A program at work that nothing may interrupt: no restart and no power-off while it is not quiet. */
  readonly worker?: true;
  readonly fix: FixKind;
  /** Absent: exit code 0. */
  readonly found?: Found;
  readonly parse: (raw: Raw) => Reading<T>;
}

export type Judgement =
  | { state: "ready"; notes?: string[] }
  | { state: "pending"; message: string; percent?: number }
  | { state: "failed"; message: string };

/** Reads a fact of the round under judgement; its type is the fact's own. */
export type Look = <T>(fact: Fact<T>) => Reading<T>;

/** What the layer says it is: ids of App Layering (reference of PlatformLayer); absent where it says nothing. */
export const platform = z.strictObject({
  hypervisor: z.string().max(60).optional(),
  provisioningService: z.string().max(60).optional(),
  connectionBroker: z.string().max(60).optional(),
});
export type Platform = z.output<typeof platform>;

export interface CheckSide {
  readonly facts: readonly Fact<unknown>[];
  readonly judge: (look: Look, platform: Platform) => Judgement;
}

export const policy = z.enum(["fix", "block", "warn", "ignore"]);
export type Policy = z.output<typeof policy>;

/** For what App Layering has no bit: above all of its own, so that 0 goes on to mean "finalize allowed". */
export const OTHER_BIT = { name: "other", value: 65_536 } as const;

export interface Check {
  readonly id: string;
  readonly title: string;
  /** What the person at the machine is told, in the words of Shutdown For Finalize. */
  readonly prompt: string;
  /** App Layering's word for it in the bit mask `BlockFinalize` (app-layering.md 7.2). */
  readonly bit: { readonly name: string; readonly value: number };
  readonly policy: Policy;
  readonly windows?: CheckSide;
  readonly linux?: CheckSide;
}

/** Joins the judgements of parts: what can't be known fails the whole, what is under way makes it pending, notes are kept. */
export function joinJudgements(parts: readonly Judgement[]): Judgement {
  const failed = parts.filter((part) => part.state === "failed");
  if (failed.length > 0) return { state: "failed", message: failed.map((part) => part.message).join(" ") };
  const pending = parts.filter((part) => part.state === "pending");
  if (pending.length > 0) {
    const percent = pending.find((part) => part.percent !== undefined)?.percent;
    return { state: "pending", message: pending.map((part) => part.message).join(" "), ...(percent === undefined ? {} : { percent }) };
  }
  const notes = parts.flatMap((part) => (part.state === "ready" ? (part.notes ?? []) : []));
  return notes.length > 0 ? { state: "ready", notes } : { state: "ready" };
}

export const ready: Judgement = { state: "ready" };
export const pending = (message: string, percent?: number): Judgement => ({
  state: "pending",
  message,
  ...(percent === undefined ? {} : { percent }),
});
export const failed = (message: string): Judgement => ({ state: "failed", message });

/** A reading that has to be quiet by being absent; anything else is said by `found`, an error by the fact's own words. */
export function judgeAbsent<T>(fact: Fact<T>, look: Look, found: (value: T) => Judgement): Judgement {
  const reading = look(fact);
  if (reading.kind === "absent") return ready;
  if (reading.kind === "error") return cannotTell(fact, reading);
  return found(reading.value);
}

/** `why`: a reading that is no value, or what is wrong with one. */
export function cannotTell(fact: Fact<unknown>, why: string | Reading<unknown>): Judgement {
  const error = typeof why === "string" ? why : why.kind === "error" ? why.error : "it is not there, and every guest has it";
  return failed(`"${fact.id}" could not be read, so the guest is not known to be ready: ${error} (asked with: ${firstLine(fact.command)})`);
}

/** What a program said, for a message. */
export const words = ({ out, err }: Raw): string => (err || out).trim().slice(0, 200) || "it said nothing";

const firstLine = (text: string): string => text.trim().split("\n")[0] ?? "";
