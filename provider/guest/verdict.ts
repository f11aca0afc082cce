// What is made of a guest's answers. A version is sealed only if two agree: the script that took the samples, and this judge, which reads the raw facts again with
// the full rules. A report counts only with the nonce of our order and the guest's last boot; halted without one means "the check never ran" (App Layering's rule).
import { BOOTSTRAP_REMAINS } from "./bootstrap.ts";
import { type CheckPolicies, checkId, checks, policyOf, sideOf } from "./checks.ts";
import type { GuestReport, PayloadReport, RoundReport } from "./evidence.ts";
import { type Check, type CheckSide, type Fact, type Judgement, type Look, type Quiet, type Raw, unknown } from "./fact.ts";
import { judgeKms, type KmsJudgement } from "./facts/kms.ts";
import { judgeOffice } from "./facts/office.ts";
import type { Order, OrderFact } from "./order.ts";
import type { CheckVerdict, Verdict } from "./verdictReport.ts";
import { lastStep, stepMessage, stepVerdicts, succeeded } from "./verdictSteps.ts";

// What the two judges here give.
export type { CheckVerdict, StepVerdict, Verdict } from "./verdictReport.ts";

export function judgePackage(order: Order, payload: PayloadReport): Verdict {
  const steps = stepVerdicts(order, payload);
  const base = { ...empty(order, payload), steps };
  const fresh = freshReport(order, payload, "package");
  if (typeof fresh === "string") return { ...base, state: "neverRan", summary: `${fresh}${lastStep(steps)}` };
  const open = steps.find((step) => step.state !== "done");
  if (fresh.state === "done" && open === undefined) {
    const wrong = order.steps.find((step) => !succeeded(step, steps));
    return wrong === undefined
      ? { ...base, state: "ready", summary: `all ${steps.length} steps are done` }
      : { ...base, state: "failed", summary: `step "${wrong.name}" is reported as done without an exit code that says so` };
  }
  if (fresh.state === "blocked") {
    return {
      ...base,
      state: "blocked",
      summary: `the machine was left running because ${fresh.blocked.join(", ") || "an installer"} was still at work and must not be interrupted`,
    };
  }
  const failing = steps.find((step) => step.id === fresh.step) ?? open;
  return {
    ...base,
    state: "failed",
    summary: failing === undefined ? "the guest reports a failure and names no step" : stepMessage(order, failing, payload),
  };
}

export function judgeFinalize(order: Order, payload: PayloadReport, policies: CheckPolicies = {}): Verdict {
  const base = empty(order, payload);
  const fresh = freshReport(order, payload, "finalize");
  if (typeof fresh === "string") return { ...base, state: "neverRan", summary: fresh };
  const kms = kmsOf(order, payload, fresh);
  const office = officeOf(order, payload, fresh);
  const rearm = [kms, office].find((judged) => judged?.state === "failed");
  // Two samples always; the third where the script has taken it, and whenever the guest was rearmed after the second.
  const rounds = [
    "a",
    "b",
    ...(fresh.round === "c" || payload.kms.rearm !== undefined || office?.state === "ready" || fresh.state === "ready" ? ["c"] : []),
  ];
  // Evidence of an earlier release is read by what its order asked; an order of this one asks for every check.
  const asked = new Set(order.facts.map((fact) => fact.check));
  const judged = checks.flatMap((check) => (asked.has(check.id) ? judgeCheck(order, check, payload, rounds, policies) : []));
  const remains = fresh.blocked.includes(BOOTSTRAP_REMAINS);
  const stopping = judged.filter((check) => check.verdict === "pending" || check.verdict === "failed");
  const accept = harmless(order, judged, payload, rounds);
  const told = {
    ...base,
    checks: judged,
    kms,
    ...(office === undefined ? {} : { office }),
    accept,
    blockFinalize: bits(judged, rearm !== undefined || remains),
  };
  if (rearm !== undefined) return { ...told, state: "blocked", summary: rearm.message };
  const [first] = stopping;
  if (first !== undefined) {
    const more =
      stopping.length > 1
        ? ` (and ${stopping.length - 1} more: ${stopping
            .slice(1)
            .map((check) => check.title)
            .join(", ")})`
        : "";
    return {
      ...told,
      state: stopping.some((check) => check.verdict === "failed") ? "failed" : "blocked",
      summary: `${first.message}${more}`,
    };
  }
  if (remains) {
    return {
      ...told,
      state: "blocked",
      summary:
        "the bootstrap that was installed for this version alone could not be removed from it: see out/uninstall.txt on the payload disk, and run xenlayer\\bootstrap\\uninstall.cmd (uninstall.sh) of that disk in the guest",
    };
  }
  if (fresh.state !== "ready") {
    const blocked = fresh.blocked.join(", ") || "something";
    return {
      ...told,
      state: "blocked",
      summary: `the guest's own check found ${blocked} not quiet; xenlayer judges it harmless, so finalizing once more accepts it`,
    };
  }
  const titles = (list: readonly CheckVerdict[]): string => list.map((check) => check.title).join(", ");
  const through = judged.filter(isBypass);
  const warned = judged.filter((check) => check.verdict === "warned" && !isBypass(check));
  const noted = `${through.length > 0 ? `, let through by policy: ${titles(through)}` : ""}${warned.length > 0 ? `, warned of: ${titles(warned)}` : ""}`;
  return {
    ...told,
    state: "ready",
    summary: `${judged.length} checks, ${rounds.length} samples each${noted}${[kms, office].flatMap((done) => (done?.state === "ready" ? [`; ${done.message}`] : [])).join("")}`,
  };
}

function empty(order: Order, payload: PayloadReport): Verdict {
  return {
    format: 1,
    order: order.order,
    layer: order.layer,
    version: order.version,
    nonce: order.nonce,
    state: "neverRan",
    summary: "",
    blockFinalize: 0,
    boots: payload.boots.length,
    attempts: payload.report?.attempt ?? 0,
    checks: [],
    steps: [],
    fixes: payload.fixes.slice(0, 200).map((fix) => ({ ...fix })),
    kms: { state: "off", message: order.kms.rearm ? "KMS: not reached" : "KMS: not asked for" },
    ...(order.office.rearm ? { office: { state: "off", message: "Office: not reached" } } : {}),
    accept: [],
    problems: [...payload.problems],
  };
}

/** The report if it answers this order in the guest's last boot; else why it does not. */
function freshReport(order: Order, payload: PayloadReport, kind: "package" | "finalize"): GuestReport | string {
  const { report } = payload;
  const last = payload.boots.at(-1);
  const unread = payload.problems.length > 0 ? ` (${payload.problems.slice(0, 3).join("; ")})` : "";
  if (report === undefined) {
    return last === undefined
      ? `the check never ran: no bootstrap was heard in the guest${unread}`
      : `the check never ran to its end: the guest booted ${payload.boots.length} time(s) and powered off without a report${unread}`;
  }
  if (report.nonce !== order.nonce) return "the check never ran: the report on the payload disk answers another order";
  if (report.order !== kind) return `the check never ran: the report answers a ${report.order || "nameless"} order, not ${kind}`;
  if (last === undefined) return `the check never ran: there is a report, but no boot was noted${unread}`;
  if (report.boot !== last.id || report.boots !== last.n || payload.boots.length !== last.n) {
    return "the check never ran in the guest's last boot: the report is of an earlier one";
  }
  return report;
}

function judgeCheck(
  order: Order,
  check: Check,
  payload: PayloadReport,
  rounds: readonly string[],
  policies: CheckPolicies,
): CheckVerdict[] {
  const side = sideOf(check, order.os);
  const id = checkId.safeParse(check.id);
  if (side === undefined || !id.success) return [];
  const samples = rounds.map((round) => {
    const judgement = judgeRound(side, order, payload.rounds.get(round));
    const message = shortened(judgement.state === "ready" ? (judgement.notes ?? []).join("; ") : judgement.message);
    return { round, state: judgement.state, message };
  });
  const chosen = policyOf(check, policies);
  // The last sample speaks for the whole where several are not ready: it is what was seen last.
  const worst = samples.findLast((entry) => entry.state === "failed") ?? samples.findLast((entry) => entry.state === "pending");
  // What was found can be let through with a warning; what could not be read at all only by ignoring it.
  const through = chosen === "ignore" ? "ignored" : chosen === "warn" && worst?.state === "pending" ? "warned" : undefined;
  return [
    {
      id: id.data,
      title: check.title,
      policy: chosen,
      verdict: worst === undefined ? "ready" : (through ?? (worst.state === "failed" ? "failed" : "pending")),
      message: worst?.message ?? samples.at(-1)?.message ?? "",
      samples,
    },
  ];
}

/** A message quotes what a guest wrote, which may be of any length. */
const shortened = (text: string): string => (text.length > 2000 ? `${text.slice(0, 2000)}...` : text);

function judgeRound({ judge }: CheckSide, order: Order, round: RoundReport | undefined): Judgement {
  if (round === undefined) return { state: "failed", message: "this sample was not taken" };
  const look: Look = (fact) => {
    const raw = round.get(fact.id);
    if (raw === undefined) return unknown("it was not asked in this sample, or its answer is damaged");
    if (raw === "absent") return fact.requires === undefined ? unknown("absent was said of what every guest has") : { kind: "absent" };
    return parse(fact, raw);
  };
  return judge(look, order.platform ?? {});
}

function parse<T>(fact: Fact<T>, raw: Raw) {
  try {
    return fact.parse(raw);
  } catch (error) {
    // No parser is known to throw; if one does, its fact is not known, which is never clean.
    return unknown(`its answer can't be parsed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The quiet test as a script does it. */
export function isQuiet(fact: OrderFact, raw: Raw | "absent" | undefined): boolean {
  if (raw === undefined) return false;
  if (raw === "absent") return fact.requires !== undefined;
  const { quiet } = fact;
  const anyCase = quiet.kind === "textAbsent" && quiet.anyCase === true;
  const holds = (text: string): boolean => (anyCase ? raw.out.toLowerCase().includes(text.toLowerCase()) : raw.out.includes(text));
  if (quiet.kind === "equals") return raw.rc === 0 && raw.out.trimEnd() === quiet.text;
  if (quiet.kind === "exitCode")
    return quiet.codes.includes(raw.rc) && (quiet.present ?? []).every(holds) && (quiet.oneOf ?? [""]).some(holds);
  if (raw.rc !== 0 && raw.rc === quiet.orCode) return true;
  if (quiet.kind === "value") return raw.rc === 0 && isValueQuiet(quiet, raw.out);
  return raw.rc === 0 && quiet.present.every(holds) && !quiet.text.some(holds);
}

function isValueQuiet({ name, data }: Quiet & { kind: "value" }, out: string): boolean {
  const lines = out.split(/\r?\n/).map((line) => line.split(/[ \t]+/).filter((word) => word !== ""));
  const [before = "", last = ""] = ["", "", ...lines.filter(([first]) => first === name).map((words) => words[2] ?? "")].slice(-2);
  return data === undefined ? last !== "" && last.toLowerCase() === before.toLowerCase() : data.includes(last);
}

function harmless(order: Order, judged: readonly CheckVerdict[], payload: PayloadReport, rounds: readonly string[]): string[] {
  const fine = new Set<string>(judged.filter((check) => check.verdict === "ready").map((check) => check.id));
  return order.facts
    .filter(
      (fact) =>
        fine.has(fact.check) &&
        !order.accept.includes(fact.id) &&
        rounds.some((round) => !isQuiet(fact, payload.rounds.get(round)?.get(fact.id))),
    )
    .map((fact) => fact.id);
}

function kmsOf(order: Order, payload: PayloadReport, report: GuestReport): Verdict["kms"] {
  if (!order.kms.rearm) {
    return payload.kms.rearm === undefined
      ? { state: "off", message: "KMS: not asked for" }
      : { state: "failed", message: "KMS: the guest was rearmed though the order does not ask for it" };
  }
  const judged: KmsJudgement = judgeKms(payload.kms);
  const counts = {
    ...("before" in judged && judged.before !== undefined ? { before: judged.before } : {}),
    ...("after" in judged && judged.after !== undefined ? { after: judged.after } : {}),
  };
  // Not rearmed because something else blocks first: that is what has to be said.
  if (
    judged.state === "failed" &&
    payload.kms.rearm === undefined &&
    report.state !== "ready" &&
    !report.blocked.includes("kms") &&
    judged.before !== undefined &&
    judged.before > 0
  ) {
    return { state: "off", message: "KMS: not reached", ...counts };
  }
  // A boot after the rearm spends it: images would share the client id.
  if (judged.state === "ready" && payload.kms.boot !== report.boot) {
    return {
      state: "failed",
      message: "KMS: the guest was rearmed in an earlier boot than the one that reports, which spends the rearm; finalize it anew",
      ...counts,
    };
  }
  return { state: judged.state, message: judged.message, ...counts };
}

function officeOf(order: Order, { office }: PayloadReport, report: GuestReport): Verdict["office"] {
  const touched = Object.keys(office?.rearm ?? {}).length > 0;
  if (!order.office.rearm)
    return touched ? { state: "failed", message: "Office: it was rearmed though the order does not ask for it" } : undefined;
  const judged = judgeOffice(office ?? { status: {}, rearm: {} });
  // Something else blocks first, and that is what has to be said: the script names what it stopped at.
  if (judged.state === "failed" && !touched && report.state !== "ready" && !report.blocked.includes("office"))
    return { state: "off", message: "Office: not reached" };
  // Whether a start thaws what the rearm has frozen is not documented.
  if (judged.state === "ready" && office?.boot !== report.boot)
    return { state: "failed", message: "Office: it was rearmed in an earlier boot than the one that reports; finalize it anew" };
  return judged;
}

/** Not ready, and let through by another policy than the check's own. */
export const isBypass = ({ id, policy, verdict }: CheckVerdict): boolean =>
  (verdict === "warned" || verdict === "ignored") && checks.find((check) => check.id === id)?.policy !== policy;

function bits(judged: readonly CheckVerdict[], refused: boolean): number {
  let mask = 0;
  for (const entry of judged) {
    const bit = checks.find((check) => check.id === entry.id)?.bit.value ?? 0;
    if (entry.verdict === "pending" || entry.verdict === "failed") mask |= bit;
    if (isBypass(entry)) mask |= 1;
  }
  // App Layering has no bit for the rearm itself (its KMS bits, 2048 and 4096, mean missing files) nor for our bootstrap. A refusal must not read as 0.
  return refused && mask === 0 ? 2 : mask;
}
