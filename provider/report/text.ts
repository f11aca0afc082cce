// The report for a terminal: what was found, sample by sample, and what each step printed last. No control characters: the reader of the evidence has dropped them.
import { duration } from "../errors.ts";
import type { Report, ReportCheck } from "./shape.ts";

const LOG_LINES = 20;

export function reportText(report: Report): string {
  const lines = [
    `Layer ${report.layer}, version ${report.version}: ${report.order === "finalize" ? "finalize report" : "packaging report"}`,
    `${report.state}: ${report.summary}`,
    ...sealLines(report),
  ];
  const guest = [report.inventory?.system ?? "", report.toolsVersion === "" ? "" : `VM tools ${report.toolsVersion}`].filter(
    (part) => part !== "",
  );
  if (guest.length > 0) lines.push(guest.join(", "));
  if (report.order === "finalize")
    lines.push(
      `BlockFinalize ${report.blockFinalize} (${report.bits.map(({ name }) => name).join(", ")}); boots ${report.boots}; attempts ${report.attempts}; order ${report.nonce}`,
    );
  const took = Object.entries({ packaging: report.times.packagingSeconds, finalizing: report.times.finalizingSeconds }).flatMap(
    ([what, seconds]) => (seconds === undefined ? [] : [`${what} took ${duration(seconds * 1000)}`]),
  );
  if (took.length > 0) lines.push(took.join("; "));
  for (const check of report.checks) lines.push("", ...checkLines(check));
  if (report.order === "finalize") lines.push("", report.kms.message, ...(report.office === undefined ? [] : [report.office.message]));
  for (const fix of report.fixes) lines.push(`fix in attempt ${fix.attempt}: ${fix.fix}, exit code ${fix.exitCode}`);
  for (const step of report.steps) {
    const code = step.exitCode === undefined ? "" : `, exit code ${step.exitCode}`;
    const time = step.seconds === undefined ? "" : `, ${duration(step.seconds * 1000)}`;
    lines.push("", `step ${step.id} ${step.name}: ${step.state}${code}${step.timedOut ? ", timed out" : ""}${time}`);
    if (step.asRecorded === false) lines.push("  (this log is not what the layer record knows of it)");
    const log = step.log.trimEnd();
    if (log !== "")
      lines.push(
        ...log
          .split(/\r?\n/)
          .slice(-LOG_LINES)
          .map((line) => `  | ${line}`),
      );
  }
  if (report.inventory !== undefined) {
    const { software, drivers, problems } = report.inventory;
    lines.push(
      "",
      `installed: ${software.length} programs or packages, ${drivers.length} driver packages (listed by --format json and html)`,
    );
    for (const problem of problems) lines.push(`not listed: ${problem}`);
  }
  for (const { at, doing, file, data } of report.pictures)
    lines.push(
      "",
      `console at ${at}, while waiting for ${doing}: ${file} (${data === undefined ? "on the machine of that run" : "shown by --format html"})`,
    );
  for (const problem of report.problems) lines.push(`problem: ${problem}`);
  return `${lines.join("\n")}\n`;
}

function sealLines({ sealed, basedOn }: Report): string[] {
  const base = basedOn === "" ? "" : `, based on ${basedOn}`;
  if (sealed === undefined) return [`not sealed${base}`];
  const other =
    "the evidence, judged by this xenlayer, gives another verdict than when it was sealed: the rules have changed, or the evidence has";
  return [`sealed ${sealed.at}${base}`, ...(sealed.asSealed ? [] : [other])];
}

function checkLines({ id, title, policy, verdict, message, samples }: ReportCheck): string[] {
  const head = `${title} (${id}, policy ${policy}): ${verdict}${message === "" ? "" : ` - ${message}`}`;
  // Quiet samples say nothing more; where one was not quiet, the whole story is told.
  if (samples.every((sample) => sample.state === "ready")) return [head];
  return [
    head,
    ...samples.map(
      (sample) =>
        `  attempt ${sample.attempt}, sample ${sample.round}: ${sample.state}${sample.message === "" ? "" : ` - ${sample.message}`}`,
    ),
  ];
}
