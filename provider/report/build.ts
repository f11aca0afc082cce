// The report, built from what is kept: the evidence disk as it was read, and the layer record's entry. Pure, so that the same evidence gives the same report.
// The record is written by the provider alone: where a version is sealed, its verdict is the record's, and the evidence says how it came to that.
import { createHash } from "node:crypto";
import { type CheckPolicies, checks } from "../guest/checks.ts";
import type { PayloadReport, RoundReport, StepReport } from "../guest/evidence.ts";
import { OTHER_BIT } from "../guest/fact.ts";
import { secondsTaken } from "../guest/guestTime.ts";
import { readInventory } from "../guest/inventory.ts";
import type { Order } from "../guest/order.ts";
import { isQuiet, judgeFinalize, judgePackage, type Verdict } from "../guest/verdict.ts";
import { LOG_TAIL, lastLines } from "../guest/verdictSteps.ts";
import type { Entry, StepResult } from "../layer/entry.ts";
import { bitNamed, bitsOf } from "./bits.ts";
import type { Report, ReportCheck, ReportStep } from "./shape.ts";

export interface Evidence {
  layer: string;
  version: string;
  versionId: string;
  entry: Entry;
  /** uuid of the evidence disk. */
  disk: string;
  payload: PayloadReport;
  /** The order, where the guest has not left it readable: built anew. */
  order: Order;
  pictures: Report["pictures"];
}

const OUTPUT_LIMIT = 2000;
const STEP_LOG_LIMIT = 16_384;

export function buildReport({ layer, version, versionId, entry, disk, payload, order, pictures }: Evidence): Report {
  const { machine, sealed } = entry;
  const policies = (sealed?.policies ?? machine?.policies ?? {}) as CheckPolicies;
  const packages = order.order === "package" && order.mode === "automatic";
  const verdict = packages ? judgePackage(order, payload) : judgeFinalize(order, payload, policies);
  const told = sealed?.report as (Partial<Pick<Report, "state" | "summary" | "blockFinalize">> & { digest?: string }) | undefined;
  const mask = told?.blockFinalize ?? verdict.blockFinalize;
  const judged = packages ? [] : checksOf(order, payload, policies, verdict);
  return {
    format: 1,
    layer,
    version,
    versionId,
    basedOn: entry.base?.name ?? "",
    os: order.os,
    order: packages ? "package" : "finalize",
    mode: machine?.mode ?? order.mode,
    state: told?.state ?? verdict.state,
    summary: told?.summary ?? verdict.summary,
    ...(sealed === undefined
      ? {}
      : { sealed: { at: sealed.at, digest: told?.digest ?? "", asSealed: verdictDigest(verdict) === told?.digest } }),
    evidence: disk,
    machine: machine?.name ?? "",
    toolsVersion: machine?.toolsVersion ?? "",
    nonce: verdict.nonce,
    boots: verdict.boots,
    bootIds: payload.boots.slice(-100).map(({ id }) => id),
    attempts: verdict.attempts,
    times: timesOf(entry),
    blockFinalize: mask,
    bits: bitsOf(mask),
    checks: judged,
    letThrough: judged
      .filter((check) => check.verdict === "warned" || check.verdict === "ignored")
      .map(({ id, policy, message }) => ({ check: id, policy, message })),
    fixes: verdict.fixes.map(({ attempt, fix, rc }) => ({ attempt, fix, exitCode: rc })),
    kms: verdict.kms,
    ...(verdict.office === undefined ? {} : { office: verdict.office }),
    steps: stepsOf(order, payload, machine?.steps ?? []),
    ...(payload.inventory === undefined ? {} : { inventory: inventoryOf(order, payload.inventory) }),
    pictures,
    problems: verdict.problems,
  };
}

/** What a version is sealed by, in a form that can be compared later. */
export const verdictDigest = (verdict: Verdict): string => createHash("sha256").update(JSON.stringify(verdict)).digest("hex");

function checksOf(order: Order, payload: PayloadReport, policies: CheckPolicies, verdict: Verdict): ReportCheck[] {
  const earlier = earlierAttempts(order, payload, policies);
  const last = payload.rounds.get("c") ?? payload.rounds.get("b") ?? payload.rounds.get("a");
  return verdict.checks.map((check) => {
    const { samples, ...rest } = check;
    const attempt = Math.max(1, verdict.attempts);
    return {
      ...rest,
      bit: bitNamed(checks.find(({ id }) => id === check.id)?.bit.value ?? OTHER_BIT.value),
      samples: [
        ...earlier.flatMap((past) => past.samples(check.id)),
        ...samples.flatMap((entry) => (isRound(entry.round) ? [{ attempt, ...entry, round: entry.round }] : [])),
      ],
      facts: order.facts.filter((fact) => fact.check === check.id).map((fact) => factOf(order, fact, last)),
    };
  });
}

const isRound = (name: string): name is "a" | "b" | "c" => name === "a" || name === "b" || name === "c";

/** Attempts before the last one, whose samples were put aside as `1-a`, `1-b`: judged as they were, to be shown. */
function earlierAttempts(order: Order, payload: PayloadReport, policies: CheckPolicies) {
  const numbers = new Set([...payload.rounds.keys()].flatMap((name) => /^(\d{1,3})-[ab]$/.exec(name)?.[1] ?? []));
  return [...numbers]
    .map(Number)
    .sort((a, b) => a - b)
    .map((attempt) => {
      const rounds = new Map<string, RoundReport>();
      for (const name of ["a", "b"]) {
        const round = payload.rounds.get(`${attempt}-${name}`);
        if (round !== undefined) rounds.set(name, round);
      }
      // As a guest would have reported that had stopped there.
      const stopped = payload.report === undefined ? {} : { report: { ...payload.report, state: "blocked", round: "b" } };
      const then = judgeFinalize(order, { ...payload, ...stopped, rounds, kms: {} }, policies);
      const samples = (id: string): ReportCheck["samples"] =>
        (then.checks.find((check) => check.id === id)?.samples ?? []).flatMap((entry) =>
          isRound(entry.round) && rounds.has(entry.round) ? [{ attempt, ...entry, round: entry.round }] : [],
        );
      return { attempt, samples };
    });
}

function factOf(order: Order, fact: Order["facts"][number], round: RoundReport | undefined): ReportCheck["facts"][number] {
  const raw = round?.get(fact.id);
  const asked = { id: fact.id, command: fact.command, quiet: isQuiet(fact, raw), accepted: order.accept.includes(fact.id) };
  if (raw === undefined) return { ...asked, answer: "missing", output: "" };
  if (raw === "absent") return { ...asked, answer: "absent", output: "" };
  const said = [raw.out, raw.err].map((part) => part.trim()).filter((part) => part !== "");
  return { ...asked, answer: "said", exitCode: raw.rc, output: beginning(said.join("\n")) };
}

const beginning = (text: string): string =>
  text.length <= OUTPUT_LIMIT ? text : `${text.slice(0, OUTPUT_LIMIT)}\n... (${text.length - OUTPUT_LIMIT} more characters)`;

/** Of the packaging boots; their names, and what their output was, are the record's. */
function stepsOf(order: Order, payload: PayloadReport, recorded: readonly StepResult[]): ReportStep[] {
  const reports: readonly StepReport[] = payload.packaging ?? payload.steps;
  return reports.map((step, index) => {
    const known = recorded[index];
    const seconds = secondsTaken(step);
    const digest = createHash("sha256").update(lastLines(step.log, LOG_TAIL)).digest("hex");
    return {
      id: step.id,
      name: known?.name ?? order.steps.find(({ id }) => id === step.id)?.name ?? `step ${step.id}`,
      state: step.state,
      ...(step.rc === undefined ? {} : { exitCode: step.rc }),
      timedOut: step.timedOut,
      ...(step.started === undefined ? {} : { started: step.started }),
      ...(step.finished === undefined ? {} : { finished: step.finished }),
      ...(seconds === undefined ? {} : { seconds }),
      log: step.log.slice(-STEP_LOG_LIMIT),
      logBytes: step.logBytes,
      ...(known?.logDigest === undefined ? {} : { asRecorded: known.logDigest === digest }),
    };
  });
}

function inventoryOf(order: Order, answers: NonNullable<PayloadReport["inventory"]>): NonNullable<Report["inventory"]> {
  const { system, software, drivers, problems } = readInventory(order.os, answers);
  return { system, software: [...software], drivers: [...drivers], problems: [...problems] };
}

function timesOf({ machine, sealed }: Entry): Report["times"] {
  const { packagingAt, packagedAt, finalizingAt } = machine?.times ?? {};
  const packagingSeconds = between(packagingAt, packagedAt);
  const finalizingSeconds = between(finalizingAt, sealed?.at);
  return {
    ...(packagingAt === undefined ? {} : { packagingAt }),
    ...(packagedAt === undefined ? {} : { packagedAt }),
    ...(finalizingAt === undefined ? {} : { finalizingAt }),
    ...(packagingSeconds === undefined ? {} : { packagingSeconds }),
    ...(finalizingSeconds === undefined ? {} : { finalizingSeconds }),
  };
}

function between(from: string | undefined, to: string | undefined): number | undefined {
  const seconds = Math.round((Date.parse(to ?? "") - Date.parse(from ?? "")) / 1000);
  return Number.isNaN(seconds) || seconds < 0 ? undefined : seconds;
}
