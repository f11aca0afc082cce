// The report of a version: its shape, from which report.schema.json and the SDK's types are generated. What stands in it was said by a guest, or is made of that:
// data of bounded size, to be escaped where it is shown.
import * as z from "zod";
import { policy } from "../guest/fact.ts";

const text = (description: string) => z.string().describe(description);
const whole = (description: string) => z.int().describe(description);

export const bit = z
  .strictObject({
    name: text("App Layering's name, such as `icReboot`."),
    value: whole("Its value in the mask."),
    meaning: text("What it says."),
  })
  .meta({ title: "ReportBit" });

const sample = z
  .strictObject({
    attempt: whole("The attempt that it belongs to: each fix or wait begins a new one."),
    round: z.enum(["a", "b", "c"]).describe("First and second look of an attempt; c is the last look before the power-off."),
    state: z.enum(["ready", "pending", "failed"]).describe("As judged by the full rules."),
    message: text("What blocks and what to do, or what was found harmless; may be empty."),
  })
  .meta({ title: "ReportSample" });

const fact = z
  .strictObject({
    id: text("Id of the fact."),
    command: text("What was run in the guest."),
    answer: z
      .enum(["said", "absent", "missing"])
      .describe("absent: the program does not exist in this guest; missing: no whole answer was kept."),
    exitCode: whole("Exit code of the program.").optional(),
    output: text("What it printed, its beginning."),
    quiet: z.boolean().describe("Whether the guest's own plain test found it quiet."),
    accepted: z.boolean().describe("Whether the order let it pass in the guest, to be judged outside."),
  })
  .meta({ title: "ReportFact" });

const check = z
  .strictObject({
    id: text("Id of the check, as in `checks` of a Finalize."),
    title: text("Its title."),
    policy: policy.describe("What was to be done about it."),
    verdict: z
      .enum(["ready", "pending", "failed", "warned", "ignored"])
      .describe("warned and ignored: not ready, and let through by policy."),
    message: text("What blocks and what to do; may be empty."),
    bit,
    samples: z.array(sample).describe("Every sample of every attempt that was kept, oldest first."),
    facts: z.array(fact).describe("What was asked, with the answers of the last sample."),
  })
  .meta({ title: "ReportCheck" });

const fix = z
  .strictObject({
    attempt: whole("The attempt after which it was done."),
    fix: text("What was done: `reboot`, `ngen-64-v4`."),
    exitCode: whole("Exit code; NGen's says little."),
  })
  .meta({ title: "ReportFix" });

const step = z
  .strictObject({
    id: text("Its number in the order."),
    name: text("Its name."),
    state: z.enum(["none", "running", "done", "reboot", "failed"]).describe("What became of it."),
    exitCode: whole("Exit code; absent: it has not ended.").optional(),
    timedOut: z.boolean().describe("Whether its time limit was over."),
    started: text("By the guest's clock and in its form.").optional(),
    finished: text("By the guest's clock and in its form.").optional(),
    seconds: whole("How long it ran, by the guest's clock.").optional(),
    log: text("The end of what it printed."),
    logBytes: whole("How much it printed in all."),
    asRecorded: z.boolean().describe("Whether the log is what the layer record knows it to have been when the step had ended.").optional(),
  })
  .meta({ title: "ReportStep" });

const installed = z
  .strictObject({
    id: text("What tells it apart inside one guest: product key, package with architecture, published name of a driver."),
    name: text("Its name."),
    version: text("Its version; may be empty."),
    publisher: text("Who made it; may be empty."),
  })
  .meta({ title: "ReportInstalled" });

const picture = z
  .strictObject({
    at: text("When, ISO 8601."),
    doing: text("What was waited for when the time was over."),
    file: text("Where the run that took it has kept it."),
    type: z.enum(["image/jpeg", "image/png"]).describe("Its form."),
    data: text("The picture in base64; absent: it was on another machine when the version was sealed, or is gone.").optional(),
  })
  .meta({ title: "ReportPicture" });

export const report = z
  .strictObject({
    format: z.literal(1).describe("Format of this report."),
    layer: text("Name of the layer."),
    version: text("Name of the version."),
    versionId: text("Id of the version."),
    basedOn: text("What the version is based on."),
    os: z.enum(["windows", "linux"]).describe("The guest's kind."),
    order: z.enum(["package", "finalize"]).describe("What the guest was last asked for."),
    mode: z.enum(["automatic", "manual"]).describe("Who installed: steps, or an engineer."),
    state: z.enum(["ready", "blocked", "failed", "neverRan"]).describe("The verdict."),
    summary: text("The verdict in one sentence."),
    sealed: z
      .strictObject({
        at: text("When it was sealed, ISO 8601."),
        digest: text("SHA-256 of the verdict that it was sealed by."),
        asSealed: z
          .boolean()
          .describe(
            "Whether the evidence, judged again, gives that very verdict: false after an upgrade of the rules, or when it was changed.",
          ),
      })
      .meta({ title: "ReportSeal" })
      .optional()
      .describe("Absent: the version is not sealed."),
    evidence: text("uuid of the disk that this was read from."),
    machine: text("Name of the packaging machine."),
    toolsVersion: text("Version of the VM tools, as they said it; may be empty."),
    nonce: text("The order that was answered."),
    boots: whole("Boots of the guest under this order."),
    bootIds: z.array(z.string()).describe("What tells the boots apart, oldest first; the last one has reported."),
    attempts: whole("How often the samples were begun anew."),
    times: z
      .strictObject({
        packagingAt: text("First order of the install steps.").optional(),
        packagedAt: text("All steps done.").optional(),
        finalizingAt: text("First order to finalize.").optional(),
        packagingSeconds: whole("From the first order to all steps done.").optional(),
        finalizingSeconds: whole("From the first order to finalize to the seal.").optional(),
      })
      .meta({ title: "ReportTimes" })
      .describe("By the provider's clock, ISO 8601."),
    blockFinalize: whole("App Layering's mask BlockFinalize: the bits of what is not ready, and bit 1 where something was let through."),
    bits: z.array(bit).describe("The mask's bits by name."),
    checks: z.array(check).describe("Every check with its samples."),
    letThrough: z
      .array(
        z
          .strictObject({
            check: text("Id of the check."),
            policy: policy.describe("Which policy let it through."),
            message: text("What it was."),
          })
          .meta({ title: "ReportBypass" }),
      )
      .describe("What was not ready and let through by policy."),
    fixes: z.array(fix).describe("What the guest did about what was pending."),
    kms: z
      .strictObject({
        state: z.enum(["ready", "notApplicable", "failed", "off"]).describe("What became of the rearm."),
        message: text("In one sentence."),
        before: whole("Remaining count before the rearm.").optional(),
        after: whole("Remaining count after it; Windows shows it after its next start only, and then it is absent here.").optional(),
      })
      .meta({ title: "ReportKms" })
      .describe("The KMS rearm."),
    office: z
      .strictObject({
        state: z.enum(["ready", "notApplicable", "failed", "off"]).describe("What became of the rearm."),
        message: text("In one sentence, with exit codes and what was printed."),
      })
      .meta({ title: "ReportOffice" })
      .optional()
      .describe("Office's own rearm; absent where nobody asked for it."),
    steps: z.array(step).describe("The install and clean-up steps."),
    inventory: z
      .strictObject({
        system: text("The guest's name for itself."),
        software: z.array(installed).describe("Installed software."),
        drivers: z.array(installed).describe("Driver packages that did not come with Windows."),
        problems: z.array(z.string()).describe("What could not be read."),
      })
      .meta({ title: "ReportInventory" })
      .optional()
      .describe("What is installed; absent: the guest was not ready to be asked."),
    pictures: z.array(picture).describe("The console, pictured when a time limit was over."),
    problems: z.array(z.string()).describe("What of the evidence could not be read."),
  })
  .meta({ title: "Report" });

export type Report = z.output<typeof report>;
export type ReportCheck = Report["checks"][number];
export type ReportStep = Report["steps"][number];
