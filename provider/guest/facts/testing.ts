// For tables of judgements: a guest that is quiet but for a few answers, as one check judges it.
import { describe, expect, it } from "vitest";
import { checks, sideOf } from "../checks.ts";
import type { GuestOs, Judgement, Platform, Raw } from "../fact.ts";
import { buildOrder } from "../order.ts";
import { quietAnswers } from "../testing.ts";
import { isQuiet } from "../verdict.ts";

/** `says`: what the sentence holds; of a ready judgement, what its notes hold. */
export type Row = [title: string, answers: Record<string, Raw | "absent">, state: Judgement["state"], says?: string | RegExp];

export function judge(check: string, answers: Record<string, Raw | "absent">, os: GuestOs = "windows", platform: Platform = {}): Judgement {
  const all = new Map([...quietAnswers(os), ...Object.entries(answers)]);
  const side = checks.filter(({ id }) => id === check).map((entry) => sideOf(entry, os))[0];
  if (side === undefined) throw new Error(`no check ${check}`);
  const known = new Set(quietAnswers(os).keys());
  for (const id of Object.keys(answers)) if (!known.has(id)) throw new Error(`no fact ${id}`);
  return side.judge((fact) => {
    const raw = all.get(fact.id);
    if (raw === undefined) return { kind: "error", error: "not asked" };
    return raw === "absent" ? { kind: "absent" } : fact.parse(raw);
  }, platform);
}

/** Not ready, and yet quiet to the scripts. Of checks that only warn these gate nothing. */
const QUIET_ALL_THE_SAME: Readonly<Record<string, string>> = {
  "bootDiskDrivers: devices: the word among others": "the words are our own line's",
  "pendingReboot: Windows Update: the word among others": "the words are our own line's",
  "startup: its answer is odd": "the lines are our own script's",
  "ngen: no framework directory is found": "every Windows has one; a script does not ask for what is not there",
  "ngenNeeded: there is no .NET Framework": "as above",
  "installer: a running service does not say what it accepts": "sc prints it of every service that runs",
  "installer: the state is no state": "the states of a service are seven",
};

/** The facts that a script would not call quiet, which so keep it from what can't be undone. */
function loud(answers: Record<string, Raw | "absent">, os: GuestOs): string[] {
  const all = new Map([...quietAnswers(os), ...Object.entries(answers)]);
  const { facts, accept } = buildOrder({ order: "finalize", os, layer: "l", version: "1" });
  return facts.filter((fact) => !accept.includes(fact.id) && !isQuiet(fact, all.get(fact.id))).map(({ id }) => id);
}

export function testRows(os: GuestOs, tables: Record<string, Row[]>, platform: Platform = {}): void {
  describe.each(Object.entries(tables))(`%s on ${os}`, (check, rows) => {
    const gates = checks.find(({ id }) => id === check)?.policy !== "warn";
    it.each(rows)("when %s", (title, answers, state, says) => {
      const judgement = judge(check, answers, os, platform);
      expect(judgement.state, JSON.stringify(judgement)).toBe(state);
      if (gates && state !== "ready")
        expect(loud(answers, os).length > 0, "a quiet test sees it").toBe(QUIET_ALL_THE_SAME[`${check}: ${title}`] === undefined);
      const text = judgement.state === "ready" ? (judgement.notes ?? []).join("; ") : judgement.message;
      if (says !== undefined) expect(text).toEqual(typeof says === "string" ? expect.stringContaining(says) : expect.stringMatching(says));
    });
  });
}
