// The report as one page for a browser: no script, nothing loaded from anywhere, every text of a guest escaped. The story first (what was found, sample by sample,
// and what was done about it), the evidence behind it folded.
import { duration } from "../errors.ts";
import { type Html, html } from "./html.ts";
import type { Report, ReportCheck, ReportStep } from "./shape.ts";
import { STYLE } from "./style.ts";

export function reportPage(report: Report): string {
  const title = `${report.layer} ${report.version}`;
  const kind = report.order === "finalize" ? "Finalize report" : "Packaging report";
  return page(
    `${title}: ${kind.toLowerCase()}`,
    html`<header><p class="kicker">${kind}</p><h1>${report.layer} <span class="soft">version</span> ${report.version}</h1></header>
${verdictCard(report)}${factsCard(report)}${letThroughCard(report)}${samplesCard(report)}${checksCard(report)}${fixesCard(report)}${stepsCard(report)}${inventoryCards(report)}${picturesCard(report)}${problemsCard(report)}
<footer>Order ${report.nonce}, answered in boot ${report.bootIds.at(-1) ?? "none"}. Evidence ${report.evidence}. Report format ${report.format}.</footer>`,
  );
}

/** A whole document. */
export function page(title: string, body: Html): string {
  const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
  return `<!doctype html>
${
  html`<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${policy}"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer"><title>${title}</title><style>${{ markup: STYLE }}</style></head>
<body><main>
${body}
</main></body></html>
`.markup
}`;
}

/** A card with a heading, left out where it has nothing to say. */
export const card = (title: string, note: string, content: Html | undefined): Html | undefined =>
  content === undefined ? undefined : html`<section><h2>${title}${note !== "" && html`<small>${note}</small>`}</h2>${content}</section>\n`;

const TONES: Readonly<Record<string, string>> = {
  ready: "good",
  done: "good",
  pending: "wait",
  blocked: "wait",
  warned: "wait",
  reboot: "wait",
  running: "wait",
  failed: "bad",
  neverRan: "bad",
};
const tone = (state: string): string => TONES[state] ?? "note";
const WORDS: Readonly<Record<string, string>> = { neverRan: "never ran" };
const pill = (state: string): Html => html`<span class="pill ${tone(state)}">${WORDS[state] ?? state}</span>`;

const verdictCard = ({
  state,
  summary,
  sealed,
}: Report): Html => html`<section class="verdict ${tone(state)}"><div>${pill(state)}</div><div><p>${summary}</p>${
  sealed?.asSealed === false &&
  html`<p class="soft">The evidence, judged by this xenlayer, gives another verdict than when the version was sealed: the rules have changed since, or the evidence has. The verdict shown is that of the seal.</p>`
}</div></section>
`;

function factsCard(report: Report): Html {
  const { times, inventory } = report;
  const counts = report.kms.before === undefined ? "" : ` (remaining ${report.kms.before} before, ${report.kms.after ?? "unknown"} after)`;
  const entries: [string, string | undefined][] = [
    ["Sealed", report.sealed === undefined ? "not sealed" : moment(report.sealed.at)],
    ["Based on", report.basedOn],
    ["Guest", inventory?.system || report.os],
    ["VM tools", report.toolsVersion],
    ["Packaged", took(report.mode === "manual" ? "by hand" : "by install steps", times.packagingSeconds)],
    ["Finalized in", times.finalizingSeconds === undefined ? undefined : duration(times.finalizingSeconds * 1000)],
    ["Boots, attempts", `${report.boots}, ${report.attempts}`],
    ["BlockFinalize", `${report.blockFinalize}: ${report.bits.map(({ name, meaning }) => `${name} (${meaning})`).join(", ")}`],
    ["KMS", `${report.kms.message.replace(/^KMS: /, "")}${report.kms.message.includes("before") ? "" : counts}`],
    ["Office", report.office?.message.replace(/^Office: /, "")],
    ["Packaging machine", report.machine],
  ];
  return html`<section><dl>${entries
    .filter(([, value]) => value !== undefined && value !== "")
    .map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>\n`;
}

const took = (what: string, seconds: number | undefined): string => (seconds === undefined ? what : `${what}, ${duration(seconds * 1000)}`);
const moment = (iso: string): string => iso.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.\d+)?Z$/, "$1 $2 UTC");

const titleOf = (report: Report, id: string): string => report.checks.find((check) => check.id === id)?.title ?? id;

function letThroughCard(report: Report): Html | undefined {
  if (report.letThrough.length === 0) return undefined;
  return card(
    "Let through by policy",
    "not ready, and sealed all the same",
    html`<ul>${report.letThrough.map(({ check, policy, message }) => html`<li><b>${titleOf(report, check)}</b> <span class="pill wait">${policy}</span> ${message}</li>`)}</ul>`,
  );
}

const MARKS: Readonly<Record<string, string>> = { ready: "\u2713 ready", pending: "\u25cb pending", failed: "\u2717 failed" };
const LOOKS: Readonly<Record<string, string>> = { a: "1st look", b: "2nd look", c: "last look" };

/** Checks by samples: where something was not quiet, when, and that it came to rest. */
function samplesCard(report: Report): Html | undefined {
  const looks = [
    ...new Set(report.checks.flatMap(({ samples }) => samples.map(({ attempt, round }) => `${String(attempt).padStart(4, "0")} ${round}`))),
  ]
    .sort()
    .map((key) => ({ attempt: Number(key.slice(0, 4)), round: key.slice(5) }));
  if (looks.length === 0) return undefined;
  const attempts = [...new Set(looks.map(({ attempt }) => attempt))];
  const cell = ({ samples }: ReportCheck, { attempt, round }: (typeof looks)[number]): Html => {
    const found = samples.find((sample) => sample.attempt === attempt && sample.round === round);
    const first = round === "a" ? " first" : "";
    return found === undefined
      ? html`<td class="soft${first}">\u2013</td>`
      : html`<td class="${tone(found.state)}${first}"><span class="mark" title="${found.message}">${MARKS[found.state]}</span></td>`;
  };
  return card(
    "Samples",
    "each look asks every fact anew; both looks of an attempt have to be quiet",
    html`<div class="wide"><table class="samples"><thead><tr><th></th>${attempts.map((attempt) => {
      const span = looks.filter((look) => look.attempt === attempt).length;
      const after = report.fixes.filter((fix) => fix.attempt === attempt).map(({ fix }) => fix);
      return html`<th class="first" colspan="${span}">attempt ${attempt}${after.length > 0 && html`<br>then ${after.join(", ")}`}</th>`;
    })}</tr><tr><th>Check</th>${looks.map(({ round }) => html`<th class="${round === "a" ? "first" : ""}">${LOOKS[round]}</th>`)}</tr></thead><tbody>${report.checks.map(
      (check) => html`<tr><td>${check.title}</td>${looks.map((look) => cell(check, look))}</tr>`,
    )}</tbody></table></div>`,
  );
}

function checksCard(report: Report): Html | undefined {
  if (report.checks.length === 0) return undefined;
  const open = (check: ReportCheck): Html | false => check.verdict !== "ready" && html` open`;
  return card(
    "Checks",
    "open one for what was asked and answered",
    html`${report.checks.map(
      (check) =>
        html`<details${open(check)}><summary>${pill(check.verdict)}<b>${check.title}</b><span class="end">policy ${check.policy} \u00b7 ${check.bit.name}</span></summary><div class="body">${
          check.message !== "" && html`<p>${check.message}</p>`
        }${restlessSamples(check)}${check.facts.map(factRow)}</div></details>`,
    )}`,
  );
}

/** What was not quiet and came to rest is part of the story, also on paper. */
function restlessSamples({ samples, message }: ReportCheck): Html | undefined {
  const restless = samples.filter((sample) => sample.state !== "ready" && sample.message !== message);
  if (restless.length === 0) return undefined;
  return html`<ul>${restless.map((sample) => html`<li><span class="soft">attempt ${sample.attempt}, ${LOOKS[sample.round]}:</span> ${sample.message}</li>`)}</ul>`;
}

function factRow(fact: ReportCheck["facts"][number]): Html {
  const answer =
    fact.answer === "said"
      ? `exit code ${fact.exitCode ?? "unknown"}`
      : fact.answer === "absent"
        ? "not in this guest"
        : "no whole answer was kept";
  const quiet = fact.quiet
    ? html`<span class="pill good">quiet</span>`
    : html`<span class="pill ${fact.accepted ? "note" : "wait"}">${fact.accepted ? "not quiet, accepted" : "not quiet"}</span>`;
  return html`<details><summary><b>${fact.id}</b>${quiet}<span class="end">${answer}</span></summary><div class="body"><p><code>${fact.command}</code></p>${
    fact.output !== "" && html`<pre>${fact.output}</pre>`
  }</div></details>`;
}

function fixesCard({ fixes }: Report): Html | undefined {
  if (fixes.length === 0) return undefined;
  return card(
    "What the guest did about it",
    "",
    html`<table><thead><tr><th>After attempt</th><th>Fix</th><th class="number">Exit code</th></tr></thead><tbody>${fixes.map(
      ({ attempt, fix, exitCode }) =>
        html`<tr><td>${attempt === 0 ? "before the first" : attempt}</td><td>${Object.hasOwn(FIXES, fix) ? FIXES[fix] : fix}</td><td class="number">${exitCode}</td></tr>`,
    )}</tbody></table>`,
  );
}

const FIXES: Readonly<Record<string, string>> = {
  reboot: "restarted",
  "ngen-64-v4": "ran NGen's queue in the foreground: Framework64 v4.0.30319",
  "ngen-32-v4": "ran NGen's queue in the foreground: Framework v4.0.30319",
  "ngen-64-v2": "ran NGen's queue in the foreground: Framework64 v2.0.50727",
  "ngen-32-v2": "ran NGen's queue in the foreground: Framework v2.0.50727",
};

function stepsCard({ steps }: Report): Html | undefined {
  if (steps.length === 0) return undefined;
  return card("Steps", "by the guest's clock", html`${steps.map(stepRow)}`);
}

function stepRow(step: ReportStep): Html {
  const code = step.exitCode === undefined ? "no exit code" : `exit code ${step.exitCode}`;
  const end = [...(step.seconds === undefined ? [] : [duration(step.seconds * 1000)]), code, ...(step.timedOut ? ["timed out"] : [])].join(
    " \u00b7 ",
  );
  return html`<details${step.state !== "done" && html` open`}><summary>${pill(step.state)}<b>${step.id} ${step.name}</b><span class="end">${end}</span></summary><div class="body">${step.started !== undefined && html`<p class="soft">${step.started} to ${step.finished ?? "(not ended)"}</p>`}${
    step.asRecorded === false &&
    html`<p><span class="pill bad">changed</span> This log is not what the layer record knows it to have been.</p>`
  }${step.log.trim() === "" ? html`<p class="soft">It printed nothing.</p>` : html`<pre>${step.log}</pre>`}${
    step.logBytes > step.log.length + 1024 && html`<p class="soft">The end of ${step.logBytes} bytes.</p>`
  }</div></details>`;
}

export type InstalledRow = NonNullable<Report["inventory"]>["software"][number];

export const installedTable = (rows: readonly InstalledRow[]): Html =>
  html`<table class="list"><thead><tr><th>Name</th><th>Version</th><th>Publisher</th></tr></thead><tbody>${rows.map(
    ({ name, version, publisher, id }) => html`<tr><td title="${id}">${name}</td><td>${version}</td><td>${publisher}</td></tr>`,
  )}</tbody></table>`;

const SHORT = 15;

function inventoryCards({ inventory }: Report): Html | undefined {
  if (inventory === undefined) return undefined;
  const list = (title: string, rows: readonly InstalledRow[]): Html | undefined =>
    rows.length === 0
      ? undefined
      : card(
          title,
          String(rows.length),
          rows.length <= SHORT
            ? installedTable(rows)
            : html`<details><summary><b>Show all</b></summary><div class="body">${installedTable(rows)}</div></details>`,
        );
  const problems =
    inventory.problems.length === 0 ? undefined : html`<ul>${inventory.problems.map((problem) => html`<li>${problem}</li>`)}</ul>`;
  return html`${list("Installed software", inventory.software)}${list("Driver packages", inventory.drivers)}${card("Not listed", "what of the inventory could not be read", problems)}`;
}

function picturesCard({ pictures }: Report): Html | undefined {
  if (pictures.length === 0) return undefined;
  return card(
    "Console",
    "pictured when a time limit was over",
    html`${pictures.map(
      ({ at, doing, file, type, data }) =>
        html`<figure>${data !== undefined && html`<img alt="Console of the guest" src="data:${type};base64,${data}">`}<figcaption>${moment(at)}, while waiting for ${doing}${
          data === undefined && html`: kept as <code>${file}</code> on the machine of that run`
        }</figcaption></figure>`,
    )}`,
  );
}

const problemsCard = ({ problems }: Report): Html | undefined =>
  card(
    "Not read",
    "what of the evidence could not be read",
    problems.length === 0 ? undefined : html`<ul>${problems.map((problem) => html`<li>${problem}</li>`)}</ul>`,
  );
