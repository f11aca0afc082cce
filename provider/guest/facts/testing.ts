// For tables of judgements: a guest that is quiet but for a few answers, as one check judges it.
import { describe, expect, it } from "vitest";
import { checks, sideOf } from "../checks.ts";
import type { GuestOs, Judgement, Platform, Raw } from "../fact.ts";
import { quietAnswers } from "../testing.ts";

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

export function testRows(os: GuestOs, tables: Record<string, Row[]>, platform: Platform = {}): void {
  describe.each(Object.entries(tables))(`%s on ${os}`, (check, rows) => {
    it.each(rows)("when %s", (_title, answers, state, says) => {
      const judgement = judge(check, answers, os, platform);
      expect(judgement.state, JSON.stringify(judgement)).toBe(state);
      const text = judgement.state === "ready" ? (judgement.notes ?? []).join("; ") : judgement.message;
      if (says !== undefined) expect(text).toEqual(typeof says === "string" ? expect.stringContaining(says) : expect.stringMatching(says));
    });
  });
}
