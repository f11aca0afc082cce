// What the judges give. The report for people and programs is built of it (provider/report).
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
  /** As the guest counted them, whatever its clock said. */
  seconds: z.int().optional(),
  logTail: z.string(),
});
export type StepVerdict = z.output<typeof stepVerdict>;

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
  /** Office's own rearm; absent where nobody asked for it. */
  office: z.strictObject({ state: z.enum(["ready", "notApplicable", "failed", "off"]), message: z.string() }).optional(),
  /** Facts that are not quiet and are judged harmless: the next order accepts them. */
  accept: z.array(z.string()),
  problems: z.array(z.string()),
});
export type Verdict = z.output<typeof verdict>;
