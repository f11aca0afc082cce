// A comparison for a terminal and for a browser.
import type { Changes, Comparison } from "./compare.ts";
import { type Html, html } from "./html.ts";
import { card, page } from "./page.ts";

const isEmpty = ({ added, removed, changed }: Changes): boolean => added.length + removed.length + changed.length === 0;

export function comparisonText(comparison: Comparison): string {
  const { layer, from, to, system, toolsVersion, software, drivers, problems } = comparison;
  const lines = [`Layer ${layer}: version ${from} compared with ${to}`];
  if (system.from !== system.to) lines.push(`guest: ${system.from || "unknown"} -> ${system.to || "unknown"}`);
  if (toolsVersion.from !== toolsVersion.to) lines.push(`VM tools: ${toolsVersion.from || "none"} -> ${toolsVersion.to || "none"}`);
  for (const [title, changes] of [
    ["Installed software", software],
    ["Driver packages", drivers],
  ] as const) {
    lines.push("", `${title}:${isEmpty(changes) ? " no change" : ""}`);
    for (const { name, version } of changes.added) lines.push(`  + ${name} ${version}`.trimEnd());
    for (const { name, version } of changes.removed) lines.push(`  - ${name} ${version}`.trimEnd());
    for (const change of changes.changed) {
      const former = change.formerName === undefined ? "" : ` (was ${change.formerName})`;
      lines.push(`  ~ ${change.name}${former} ${change.from || "unknown"} -> ${change.to || "unknown"}`);
    }
  }
  if (problems.length > 0) lines.push("", ...problems.map((problem) => `not compared: ${problem}`));
  return `${lines.join("\n")}\n`;
}

export function comparisonPage(comparison: Comparison): string {
  const { layer, from, to, system, toolsVersion, software, drivers, problems } = comparison;
  const facts: [string, { from: string; to: string }][] = [
    ["Guest", system],
    ["VM tools", toolsVersion],
  ];
  return page(
    `${layer}: ${from} and ${to}`,
    html`<header><p class="kicker">Comparison of two versions</p><h1>${layer} ${from} <span class="soft">and</span> ${to}</h1></header>
<section><dl>${facts.map(
      ([name, fact]) =>
        html`<div><dt>${name}</dt><dd>${fact.from || "unknown"}${fact.from !== fact.to && ` \u2192 ${fact.to || "unknown"}`}</dd></div>`,
    )}</dl></section>
${changesCard("Installed software", software)}${changesCard("Driver packages", drivers)}${card(
  "Not compared",
  "",
  problems.length === 0 ? undefined : html`<ul>${problems.map((problem) => html`<li>${problem}</li>`)}</ul>`,
)}`,
  );
}

function changesCard(title: string, changes: Changes): Html | undefined {
  if (isEmpty(changes)) return card(title, "", html`<p class="soft">No change.</p>`);
  const row = (word: string, tone: string, name: string, from: string, to: string): Html =>
    html`<tr><td><span class="pill ${tone}">${word}</span></td><td>${name}</td><td>${from}</td><td>${to}</td></tr>`;
  const { added, removed, changed } = changes;
  return card(
    title,
    `${added.length} added, ${removed.length} removed, ${changed.length} changed`,
    html`<table class="changes"><thead><tr><th></th><th>Name</th><th>Before</th><th>After</th></tr></thead><tbody>${added.map(
      ({ name, version }) => row("added", "good", name, "", version || "yes"),
    )}${removed.map(({ name, version }) => row("removed", "bad", name, version || "yes", ""))}${changed.map(
      ({ name, formerName, from, to }) =>
        row(
          "changed",
          "wait",
          name,
          formerName === undefined ? from : `${formerName} ${from}`,
          formerName === undefined ? to : `${name} ${to}`,
        ),
    )}</tbody></table>`,
  );
}
