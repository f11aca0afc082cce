// The report that stays with a version: its shape, from which its JSON schema is made, and its text for a person.
import { z } from "zod";
import { checkId } from "./checks.ts";
import { policy } from "./fact.ts";

const sample = z.strictObject({ round: z.string(), state: z.enum(["ready", "pending", "failed"]), message: z.string() });

const checkVerdict = z.strictObject({
  id: checkId,
  title: z.string(),
  policy,
  /** `warned` and `ignored`: not ready, and let through by policy. */
  verdict: z.enum(["ready", "pending", "failed", "warned", "ignored"]),
  message: z.string(),
  samples: z.array(sample),
});
export type CheckVerdict = z.output<typeof checkVerdict>;

const stepVerdict = z.strictObject({
  id: z.string(),
  name: z.string(),
  state: z.enum(["none", "running", "done", "reboot", "failed"]),
  exitCode: z.int().optional(),
  timedOut: z.boolean(),
  started: z.string().optional(),
  finished: z.string().optional(),
  logTail: z.string(),
});
export type StepVerdict = z.output<typeof stepVerdict>;

/** The report that stays with a version; its JSON schema is this object's. */
export const verdict = z.strictObject({
  format: z.literal(1),
  order: z.enum(["package", "finalize"]),
  layer: z.string(),
  version: z.string(),
  nonce: z.string(),
  state: z.enum(["ready", "blocked", "failed", "neverRan"]),
  /** One sentence for an error or an output. */
  summary: z.string(),
  /** App Layering's BlockFinalize: the bits of what is not ready, and bit 1 where a policy let something through. */
  blockFinalize: z.int(),
  boots: z.int(),
  attempts: z.int(),
  checks: z.array(checkVerdict),
  steps: z.array(stepVerdict),
  fixes: z.array(z.strictObject({ attempt: z.int(), fix: z.string(), rc: z.int() })),
  kms: z.strictObject({
    state: z.enum(["ready", "notApplicable", "failed", "off"]),
    message: z.string(),
    before: z.int().optional(),
    after: z.int().optional(),
  }),
  /** Facts that are not quiet and are judged harmless: the next order accepts them. */
  accept: z.array(z.string()),
  problems: z.array(z.string()),
});
export type Verdict = z.output<typeof verdict>;

/** Plain text for a person; what a guest wrote stands in it as data, without control characters. */
export function reportText(report: Verdict): string {
  const lines = [
    `Layer ${report.layer}, version ${report.version}: ${report.order === "finalize" ? "finalize report" : "packaging report"}`,
    `${report.state}: ${report.summary}`,
  ];
  if (report.order === "finalize")
    lines.push(`BlockFinalize ${report.blockFinalize}; boots ${report.boots}; attempts ${report.attempts}; order ${report.nonce}`);
  for (const check of report.checks) {
    lines.push(
      "",
      `${check.title} (${check.id}, policy ${check.policy}): ${check.verdict}${check.message === "" ? "" : ` - ${check.message}`}`,
    );
    for (const entry of check.samples)
      lines.push(`  sample ${entry.round}: ${entry.state}${entry.message === "" ? "" : ` - ${entry.message}`}`);
  }
  if (report.order === "finalize") lines.push("", report.kms.message);
  for (const fix of report.fixes) lines.push(`fix in attempt ${fix.attempt}: ${fix.fix}, exit code ${fix.rc}`);
  for (const step of report.steps) {
    lines.push(
      "",
      `step ${step.id} ${step.name}: ${step.state}${step.exitCode === undefined ? "" : `, exit code ${step.exitCode}`}${step.timedOut ? ", timed out" : ""}`,
    );
    if (step.logTail !== "") lines.push(...step.logTail.split("\n").map((line) => `  | ${line}`));
  }
  for (const problem of report.problems) lines.push(`problem: ${problem}`);
  return `${lines.join("\n")}\n`;
}
