// The page as a browser has it: what hostile evidence says is text, nothing is loaded or run, and it is readable in light, in dark and on paper.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { buildOrder } from "../guest/order.ts";
import { quietPayload, said } from "../guest/testing.ts";
import type { Entry } from "../layer/entry.ts";
import { buildReport } from "./build.ts";
import { html } from "./html.ts";
import { reportPage } from "./page.ts";
import type { Report } from "./shape.ts";

const EVIL = `"><script>document.title="taken"</script><img src=x onerror="document.title='taken'"><b>'&amp;\u202e`;

/** A finalize in whose evidence every text is hostile. */
function hostileReport(): Report {
  const order = buildOrder({ order: "finalize", os: "windows", layer: EVIL, version: "2.3", kms: true });
  const noisy = said(EVIL, 1, EVIL);
  const payload = quietPayload(order, {
    answers: { "msi-service": noisy, "session-manager": noisy },
    packaging: [{ id: "01", state: "done", rc: 0, log: EVIL, logBytes: 9, started: EVIL, finished: EVIL, timedOut: false, tries: 1 }],
    inventory: new Map([["system", said(`    ProductName    REG_SZ    ${EVIL}`)]]),
    fixes: ["reboot", "constructor", "markup"].map((fix) => ({ attempt: 1, fix, rc: 0 })),
    problems: [EVIL],
  });
  const entry = {
    base: { name: EVIL },
    machine: { name: EVIL, mode: "automatic", toolsVersion: EVIL, steps: [{ name: EVIL, state: "done", logDigest: "" }] },
  } as unknown as Entry;
  const pictures = [{ at: EVIL, doing: EVIL, file: EVIL, type: "image/jpeg" as const }];
  return buildReport({ layer: EVIL, version: "2.3", versionId: "v", entry, disk: EVIL, payload, order, pictures });
}

it("escapes each value of a template but what the tag itself has made", () => {
  expect(html`<p title="${`"'`}">${"<b>"}${html`<i>${"&"}</i>`}${[html`<u></u>`, "<"]}${undefined}${false}${0}</p>`.markup).toBe(
    '<p title="&quot;&#39;">&lt;b&gt;<i>&amp;</i><u></u>&lt;0</p>',
  );
});

it("holds no markup of a guest, no script, and nothing that is loaded", () => {
  const page = reportPage(hostileReport());
  expect(page).not.toContain("<script");
  expect(page).not.toContain("<img src=x");
  expect(page).not.toContain("\u202e");
  expect(page).not.toMatch(/(?:src|href)="(?!data:)/);
  expect(page.split("&lt;script&gt;").length).toBeGreaterThan(10);
  expect(page).toContain("<td>constructor</td>");
});

const browser = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"].find((name) => {
  try {
    execFileSync(name, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
});
if (browser === undefined) {
  if (process.env.CI === "true") throw new Error("the report page can't be tested: no chromium, no google-chrome on PATH");
  console.warn("\nThe report page was NOT tested in a browser: no chromium, no google-chrome on PATH\n");
}

describe.skipIf(browser === undefined)("in a browser", () => {
  const dir = mkdtempSync(join(tmpdir(), "xenlayer-page-"));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, "report.html");
  const open = (...options: string[]): string =>
    execFileSync(
      browser ?? "",
      [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        `--user-data-dir=${join(dir, "profile")}`,
        ...options,
        pathToFileURL(file).href,
      ],
      { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: 60_000, env: { ...process.env, HOME: dir } },
    );

  it("has each part once, runs nothing of a guest, and loads nothing", () => {
    writeFileSync(file, reportPage(hostileReport()));
    const dom = open("--dump-dom");
    expect(dom).not.toContain("<title>taken");
    // The parser has found no element that we have not written; older browsers leave angle brackets in attributes as they are.
    expect(dom.replace(/="[^"]*"/g, "")).not.toMatch(/<(script|img|b>')/i);
    for (const heading of ["Samples", "Checks", "What the guest did about it", "Steps", "Console", "Not read", "Not listed"])
      expect(dom.split(`<h2>${heading}`)).toHaveLength(2);
  });

  it("is drawn in light and in dark, within a narrow window too, and printed with what is folded", () => {
    writeFileSync(file, reportPage(hostileReport()));
    const picture = (name: string, ...options: string[]): Buffer => {
      open(`--screenshot=${join(dir, name)}`, ...options);
      return readFileSync(join(dir, name));
    };
    const light = picture("light.png", "--window-size=1100,900");
    const dark = picture("dark.png", "--window-size=1100,900", "--blink-settings=preferredColorScheme=0");
    const narrow = picture("narrow.png", "--window-size=500,900");
    for (const png of [light, dark, narrow]) expect(png.toString("hex", 0, 4)).toBe("89504e47");
    expect(light.equals(dark)).toBe(false);
    open(`--print-to-pdf=${join(dir, "report.pdf")}`);
    expect(statSync(join(dir, "report.pdf")).size).toBeGreaterThan(20_000);
  });
});
