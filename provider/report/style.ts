// The look of the report page: one column, readable in light and dark, by colour-blind readers (every state has its word), and on paper.

export const STYLE = `
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1b2330; --soft: #5b6675; --line: #e2e6ec; --code: #f2f4f7; --link: #1f5fbf;
  --good: #16794a; --good-soft: #e3f4ea; --wait: #96610a; --wait-soft: #fdf1d9; --bad: #b3261e; --bad-soft: #fce8e6; --note: #4a5568; --note-soft: #e9edf2; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12161c; --card: #1a2029; --ink: #e4e9f0; --soft: #97a3b3; --line: #2c3542; --code: #141a22; --link: #8ab4f8;
  --good: #6fd39b; --good-soft: #163526; --wait: #f0c064; --wait-soft: #3a2d10; --bad: #ff9a92; --bad-soft: #45201d; --note: #b4bfcd; --note-soft: #2a323e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 32px 20px 64px; }
header { margin-bottom: 20px; }
.kicker { color: var(--soft); font-size: 13px; letter-spacing: .02em; margin: 0 0 2px; }
h1 { font-size: 27px; line-height: 1.25; margin: 0 0 10px; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 0 0 12px; font-weight: 650; }
h2 small { color: var(--soft); font-weight: 400; font-size: 13.5px; margin-left: 6px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; margin: 0 0 16px; }
.verdict { display: flex; gap: 14px; align-items: flex-start; border-left: 5px solid var(--tone, var(--note)); }
.verdict p { margin: 2px 0 0; overflow-wrap: anywhere; }
.pill { display: inline-block; padding: 1px 9px; border-radius: 99px; font-size: 12.5px; font-weight: 600; white-space: nowrap; color: var(--tone, var(--note)); background: var(--tone-soft, var(--note-soft)); }
.verdict .pill { font-size: 15px; padding: 3px 13px; }
.good { --tone: var(--good); --tone-soft: var(--good-soft); } .wait { --tone: var(--wait); --tone-soft: var(--wait-soft); }
.bad { --tone: var(--bad); --tone-soft: var(--bad-soft); } .note { --tone: var(--note); --tone-soft: var(--note-soft); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(225px, 1fr)); gap: 12px 22px; margin: 0; }
dt { color: var(--soft); font-size: 12.5px; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12.5px; }
th, td { padding: 7px 10px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child > td { border-bottom: 0; }
td { overflow-wrap: anywhere; } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.list th:first-child { width: 50%; } .list th { width: 25%; } .changes th:first-child { width: 110px; } .changes th:nth-child(2) { width: 44%; }
.wide { overflow-x: auto; }
.samples td, .samples th { text-align: center; padding: 7px 6px; overflow-wrap: normal; } .samples td:first-child, .samples th:first-child { text-align: left; padding-left: 0; }
.samples .first { border-left: 1px solid var(--line); }
.mark { color: var(--tone); font-weight: 600; white-space: nowrap; font-size: 13px; }
details { border-top: 1px solid var(--line); padding: 9px 0; } details:first-of-type { margin-top: 10px; } details:last-child { padding-bottom: 0; }
details details { border: 0; padding: 4px 0; margin: 0; }
summary { cursor: pointer; display: flex; gap: 10px; align-items: baseline; flex-wrap: wrap; }
summary::before { content: "\\25B8"; color: var(--soft); width: .8em; flex: none; } details[open] > summary::before { content: "\\25BE"; }
summary::-webkit-details-marker { display: none; }
summary:focus-visible { outline: 2px solid var(--link); outline-offset: 3px; border-radius: 3px; }
summary b { font-weight: 600; overflow-wrap: anywhere; } summary .end { margin-left: auto; color: var(--soft); font-size: 13px; font-variant-numeric: tabular-nums; }
.body { padding: 6px 0 4px 1.4em; } .body p { margin: 0 0 8px; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: 13.5px; }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 6px; padding: 9px 12px; margin: 4px 0 10px; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 360px; overflow-y: auto; }
ul { margin: 0; padding-left: 1.2em; } li { overflow-wrap: anywhere; }
figure { margin: 0 0 14px; } figure img { max-width: 100%; border: 1px solid var(--line); border-radius: 6px; } figcaption { color: var(--soft); font-size: 13.5px; }
footer { color: var(--soft); font-size: 12.5px; overflow-wrap: anywhere; }
@media (max-width: 640px) { main { padding: 20px 12px 40px; } section { padding: 14px; } .verdict { flex-direction: column; gap: 8px; } }
@media print {
  :root { color-scheme: light; --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --code: #fff; --good: #16794a; --wait: #96610a; --bad: #b3261e; --note: #333;
    --good-soft: #fff; --wait-soft: #fff; --bad-soft: #fff; --note-soft: #fff; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; } section { border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: 10px 0; }
  .pill { border: 1px solid currentColor; } pre { max-height: none; } tr, summary, figure { break-inside: avoid; } h2 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; } summary::before { content: none !important; }
}
`;
