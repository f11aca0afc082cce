// The parts that judgements are made of, at their edges: how parts join, what counts as read, how a guest's own quiet test is repeated, and the words of a verdict.
import { describe, expect, it } from "vitest";
import type { PayloadReport, StepReport } from "./evidence.ts";
import { absent, type Fact, failed, joinJudgements, judgeAbsent, pending, type Reading, ready, unknown, words } from "./fact.ts";
import { parseScQuery } from "./facts/installer.ts";
import { judgeKms, parseLicensing } from "./facts/kms.ts";
import { buildOrder, type OrderFact } from "./order.ts";
import { parseTasklist, running } from "./processes.ts";
import { dword, parseRegQuery, registryListing } from "./registry.ts";
import * as fixture from "./testing.ts";
import { quietPayload, said } from "./testing.ts";
import { isBypass, isQuiet, judgeFinalize, judgePackage } from "./verdict.ts";

describe("judgements join", () => {
  it("to what can't be known, then to what is under way, then to notes", () => {
    const notes = { state: "ready" as const, notes: ["a"] };
    expect(joinJudgements([ready, notes, pending("p"), failed("f1"), pending("q"), failed("f2")])).toEqual({
      state: "failed",
      message: "f1 f2",
    });
    expect(joinJudgements([ready, pending("p"), notes, pending("q", 40), pending("r", 60)])).toEqual({
      state: "pending",
      message: "p q r",
      percent: 40,
    });
    expect(joinJudgements([pending("p")])).toEqual({ state: "pending", message: "p" });
    expect(joinJudgements([ready, notes, { state: "ready", notes: ["b"] }])).toEqual({ state: "ready", notes: ["a", "b"] });
    expect(joinJudgements([ready, ready])).toEqual({ state: "ready" });
    expect(joinJudgements([])).toEqual({ state: "ready" });
  });

  it("from readings: absent is quiet, an error never is", () => {
    const fact = { id: "x", command: " ask\nmore" } as Fact<string>;
    const judge = (reading: Reading<string>) =>
      judgeAbsent(
        fact,
        () => reading as never,
        (text) => pending(text),
      );
    expect(judge(absent)).toEqual(ready);
    expect(judge({ kind: "value", value: "there" })).toEqual(pending("there"));
    expect(judge(unknown("odd"))).toEqual(failed('"x" could not be read, so the guest is not known to be ready: odd (asked with: ask)'));
  });

  it("and say what a program said", () => {
    expect([words(said("out", 1, "err")), words(said(" out \r\n")), words(said(" ")), words(said("x".repeat(500)))]).toEqual([
      "err",
      "out",
      "it said nothing",
      "x".repeat(200),
    ]);
  });
});

describe("an answer is read", () => {
  it("of reg: lines outside of any key, and of no form, are nothing", () => {
    expect(parseRegQuery("    A    REG_SZ    x\r\nHKEY_LOCAL_MACHINE\\K\r\n    B    REG_SZ    y\r\n    C    REG_SZ\r\nodd\r\n")).toEqual({
      keys: ["HKEY_LOCAL_MACHINE\\K"],
      values: [
        { key: "HKEY_LOCAL_MACHINE\\K", name: "B", type: "REG_SZ", data: "y" },
        { key: "HKEY_LOCAL_MACHINE\\K", name: "C", type: "REG_SZ", data: "" },
      ],
    });
  });

  it("of reg: a number only where its type and its form say so", () => {
    const entry = (type: string, data: string) => dword({ key: "K", name: "N", type, data });
    expect([entry("REG_DWORD", "0x1f"), entry("REG_SZ", "0x1"), entry("REG_DWORD", "1"), entry("REG_DWORD", "(null)")]).toEqual([
      31,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it("of reg: a listing needs its proof, as a value or as a key, and exit code 0", () => {
    const { parse } = registryListing("x", "K", [], "Proof", "none");
    const kinds = (out: string, rc = 0) => parse(said(out, rc)).kind;
    expect(kinds("HKEY_LOCAL_MACHINE\\K\r\n    Proof    REG_SZ    y\r\n")).toBe("value");
    expect(kinds("HKEY_LOCAL_MACHINE\\K\r\nHKEY_LOCAL_MACHINE\\K\\Proof\r\n")).toBe("value");
    expect(kinds("HKEY_LOCAL_MACHINE\\K\\Proof\\Below\r\n")).toBe("error");
    expect(kinds("HKEY_LOCAL_MACHINE\\K\r\n    Proof    REG_SZ    y\r\n", 5)).toBe("error");
  });

  it("of tasklist: rows only, with itself among them, whatever its case", () => {
    expect(parseTasklist(said('"a.exe","4",\r\nodd\r\n"TaskList.EXE","8",\r\n'))).toEqual({
      kind: "value",
      value: [
        { image: "a.exe", pid: 4 },
        { image: "TaskList.EXE", pid: 8 },
      ],
    });
    expect(parseTasklist(said('"a.exe","4",\r\n')).kind).toBe("error");
    expect(parseTasklist(said('"tasklist.exe","4",\r\n', 1, "denied"))).toEqual(unknown("tasklist ended with 1: denied"));
    expect(
      running(
        [
          { image: "TiWorker.EXE", pid: 3 },
          { image: "other.exe", pid: 4 },
        ],
        ["tiworker.exe"],
      ),
    ).toEqual([{ image: "TiWorker.EXE", pid: 3 }]);
  });

  it("of sc: only with exit code 0 or 1060", () => {
    expect(parseScQuery({ ...fixture.services.idle, rc: 2 }).kind).toBe("error");
    expect(parseScQuery(fixture.services.idle)).toMatchObject({ kind: "value", value: { state: 4 } });
    expect(parseScQuery(said(fixture.services.idle.out.replace("4  RUNNING", "7  PAUSED")))).toMatchObject({ value: { state: 7 } });
  });

  it("of slmgr: only with exit code 0, a channel, and a count that is one", () => {
    const dlv = fixture.licensing("VOLUME_KMSCLIENT", 5);
    expect(parseLicensing({ ...dlv, rc: 1 })).toMatchObject({ kind: "error", error: expect.stringContaining("slmgr ended with 1") });
    expect(parseLicensing(said("Error: 0xC004F074\r\n"))).toEqual(unknown("slmgr's answer names no licence channel"));
    expect(parseLicensing(said(" "))).toEqual(unknown("slmgr said nothing"));
    expect(parseLicensing(said("Windows(R), VOLUME_MAK channel\r\n"))).toEqual({ kind: "value", value: { channel: "VOLUME_MAK" } });
    const after = judgeKms({ before: dlv, rearm: fixture.rearmed, after: said("", 1, "broken") });
    expect(after.message).toBe("KMS: the rearm count could not be read after the rearm: slmgr ended with 1: broken");
    expect(judgeKms({ before: dlv, rearm: fixture.rearmed, after: fixture.licensing("RETAIL", 4) }).message).toBe(
      "KMS: the rearm count could not be read after the rearm",
    );
  });
});

describe("a guest's quiet test, repeated", () => {
  const of = (quiet: OrderFact["quiet"], more: Partial<OrderFact> = {}): OrderFact => ({
    id: "x",
    check: "c",
    command: "x",
    quiet,
    fix: "none",
    ...more,
  });
  const text = { kind: "textAbsent" as const, text: ["bad", "worse"], present: ["one", "two"] };
  it.each<[string, OrderFact, ReturnType<typeof said> | "absent", boolean]>([
    ["all that has to be there is, and nothing else", of(text), said("one two"), true],
    ["one of them is missing", of(text), said("one"), false],
    ["one that must not be there is", of(text), said("one two worse"), false],
    ["the program failed", of(text), said("one two", 1), false],
    ["the case differs", of(text), said("ONE two"), false],
    ["the case may differ", of({ ...text, anyCase: true }), said("ONE two"), true],
    ["the case of what must not be there may differ", of({ ...text, anyCase: true }), said("one two BAD"), false],
    ["its code says that there is nothing", of({ ...text, orCode: 1 }), said("", 1), true],
    ["another code does not", of({ ...text, orCode: 1 }), said("", 2), false],
    ["nothing is said with code 0", of({ ...text, orCode: 1 }), said(""), false],
    ["the line is the one", of({ kind: "equals", text: "none" }), said("none\r\n"), true],
    ["the line is another", of({ kind: "equals", text: "none" }), said("none of it"), false],
    ["the line is the one and the program failed", of({ kind: "equals", text: "none" }), said("none", 1), false],
    [
      "the code is one of these, with its proof",
      of({ kind: "exitCode", codes: [0, 1], present: ["yes", "and"] }),
      said("yes and", 1),
      true,
    ],
    ["half of the proof", of({ kind: "exitCode", codes: [0, 1], present: ["yes", "and"] }), said("yes", 1), false],
    ["another code", of({ kind: "exitCode", codes: [0, 1] }), said("", 2), false],
    ["one of the words is there", of({ kind: "exitCode", codes: [1], present: ["yes"], oneOf: ["a", "b"] }), said("yes b", 1), true],
    ["none of the words is there", of({ kind: "exitCode", codes: [1], oneOf: ["a", "b"] }), said("yes", 1), false],
    ["the value is one of these", of({ kind: "value", name: "N", data: ["0x0", "0x1"] }), said("K\r\n    N    REG_DWORD    0x1\r\n"), true],
    [
      "the value only begins like one",
      of({ kind: "value", name: "N", data: ["0x0", "0x1"] }),
      said("    N    REG_DWORD    0x10\r\n"),
      false,
    ],
    ["another value is one of these", of({ kind: "value", name: "N", data: ["0x1"] }), said("    NN    REG_DWORD    0x1\r\n"), false],
    ["the value is not there, which its code says", of({ kind: "value", name: "N", data: ["0x1"], orCode: 1 }), said("", 1), true],
    [
      "the program failed otherwise",
      of({ kind: "value", name: "N", data: ["0x1"], orCode: 1 }),
      said("    N    REG_DWORD    0x1", 2),
      false,
    ],
    ["both values are the same", of({ kind: "value", name: "N" }), said("    N    REG_SZ    One\r\n\r\n    N    REG_SZ    ONE\r\n"), true],
    ["the values differ", of({ kind: "value", name: "N" }), said("    N    REG_SZ    One\r\n    N    REG_SZ    One-2\r\n"), false],
    ["there is one value alone", of({ kind: "value", name: "N" }), said("    N    REG_SZ    One\r\n"), false],
    ["both values are empty", of({ kind: "value", name: "N" }), said("    N    REG_SZ    \r\n    N    REG_SZ    \r\n"), false],
    ["there is none of it where there may be none", of(text, { requires: "x" }), "absent", true],
    ["there is none of it where there has to be", of(text), "absent", false],
  ])("%s", (_what, fact, raw, quiet) => {
    expect(isQuiet(fact, raw)).toBe(quiet);
  });
});

describe("a verdict", () => {
  const order = buildOrder({ order: "finalize", os: "windows", layer: "plat", version: "1" });
  const judged = (answers: Record<string, ReturnType<typeof said> | "absent">, more: Partial<PayloadReport> = {}) =>
    judgeFinalize(order, quietPayload(order, { answers, ...more }));

  it("takes no absence of what every guest has", () => {
    expect(judged({ "cbs-reboot-pending": "absent" })).toMatchObject({
      state: "failed",
      summary: expect.stringContaining("absent was said of what every guest has"),
    });
  });

  it("is failed when one part could not be read, and blocked when all could", () => {
    const open = { "cbs-reboot-pending": fixture.saysNothing };
    expect(judged(open).state).toBe("blocked");
    expect(judged({ ...open, "msi-service": fixture.saysNothing }).state).toBe("failed");
    expect(judged({ ...open, "msi-service": fixture.services.busy }).summary).toMatch(/ \(and 1 more: Installation in progress\)$/);
    expect(judged(open).summary).not.toContain("more:");
  });

  it("says how much it has looked at, and takes the third sample wherever one has to be", () => {
    const whole = quietPayload(order);
    expect(judgeFinalize(order, whole).summary).toMatch(/^\d+ checks, 3 samples each$/);
    const two = new Map([...whole.rounds].filter(([name]) => name !== "c"));
    const rounds = (state: string, round: string, kms: PayloadReport["kms"] = {}) =>
      judgeFinalize(order, { ...quietPayload(order, { said: { state, round, blocked: ["x"] } }), rounds: two, kms }).checks[0]?.samples
        .length;
    expect([
      rounds("blocked", "b"),
      rounds("blocked", "c"),
      rounds("ready", "b"),
      rounds("blocked", "b", { rearm: fixture.rearmed }),
    ]).toEqual([2, 3, 3, 3]);
  });

  it("names what could not be read of a disk", () => {
    const silent = (problems: string[]) => {
      const { report: _, ...rest } = quietPayload(order, { boots: [], problems });
      return judgeFinalize(order, rest).summary;
    };
    expect(silent([])).toBe("the check never ran: no bootstrap was heard in the guest");
    expect(silent(["one", "two", "three", "four"])).toBe("the check never ran: no bootstrap was heard in the guest (one; two; three)");
  });

  it("cuts what a guest wrote at length", () => {
    const long = `Warning: ${"x".repeat(5000)}`;
    const linux = buildOrder({ order: "finalize", os: "linux", layer: "plat", version: "1" });
    const verdict = judgeFinalize(linux, quietPayload(linux, { answers: { "package-locks": said(`held ${long}\nchecked\n`) } }));
    expect(verdict.checks.find(({ id }) => id === "installer")?.message).toMatch(/^.{2000}\.\.\.$/);
  });

  it("accepts what was not quiet in one sample only, as what was not in any", () => {
    const noise = fixture.renames("\\??\\C:\\ProgramData\\Vendor\\scan.tmp", "");
    const whole = quietPayload(order, { said: { state: "blocked", round: "b", blocked: ["session-manager"] } });
    const once = new Map([...whole.rounds, ["a", new Map([...(whole.rounds.get("a") ?? []), ["session-manager", noise] as const])]]);
    expect(judgeFinalize(order, { ...whole, rounds: once })).toMatchObject({ state: "blocked", accept: ["session-manager"] });
  });

  it("tells a bypass from a warning by itself", () => {
    const check = { id: "residue" as const, title: "", message: "", samples: [], policy: "warn" as const, verdict: "warned" as const };
    expect([
      isBypass(check),
      isBypass({ ...check, policy: "ignore", verdict: "ignored" }),
      isBypass({ ...check, policy: "ignore", verdict: "ready" }),
    ]).toEqual([false, true, false]);
  });

  it("shows when a step ran, and only what is known of it", () => {
    const asked = buildOrder({
      order: "package",
      os: "windows",
      layer: "plat",
      version: "1",
      install: [{ name: "A", shell: "cmd", run: "a" }],
    });
    const step: StepReport = { id: "01", state: "failed", log: "", logBytes: 0, timedOut: false, tries: 1 };
    const shown = (more: Partial<StepReport>, report: Partial<NonNullable<PayloadReport["report"]>> = {}) =>
      judgePackage(asked, {
        ...quietPayload(asked, { said: { order: "package", state: "failed", round: "", step: "01", ...report } }),
        steps: [{ ...step, ...more }],
      });
    expect(shown({}).steps[0]).not.toHaveProperty("exitCode");
    for (const key of ["started", "finished", "seconds"]) expect(Object.keys(shown({}).steps[0] ?? {})).not.toContain(key);
    const times = { started: "s", finished: "f", seconds: 5 };
    expect(shown({ rc: 7, ...times }).steps[0]).toMatchObject({ exitCode: 7, ...times });
    expect(shown({ rc: 7 }).summary).toBe('step "A" ended with exit code 7 (expected 0, 3010, 1641, 194); it printed nothing');
    expect(shown({ tries: 2 }).summary).toContain("has no exit code");
    // Reported as done, but its time was over.
    expect(shown({ state: "done", rc: 0, timedOut: true }, { state: "done", step: "" }).state).toBe("failed");
    const none = buildOrder({ order: "package", os: "windows", layer: "plat", version: "1" });
    expect(judgePackage(none, quietPayload(none, { said: { order: "package", state: "failed", round: "", step: "" } })).summary).toBe(
      "the guest reports a failure and names no step",
    );
    const { report: _, ...gone } = quietPayload(asked);
    expect(judgePackage(asked, { ...gone, steps: [{ ...step, state: "reboot" }] }).summary).toContain(
      'step "A" was waiting for its restart',
    );
    expect(judgePackage(asked, { ...gone, steps: [{ ...step, state: "done" }] }).summary).not.toContain('"A"');
  });

  it("names Office only where its rearm was asked for", () => {
    const asked = buildOrder({ order: "finalize", os: "windows", layer: "plat", version: "1", office: true });
    const { report: _, ...silent } = quietPayload(asked);
    expect(judgeFinalize(asked, silent).office).toEqual({ state: "off", message: "Office: not reached" });
    for (const each of [judgeFinalize(order, quietPayload(order)), judgeFinalize(order, silent)])
      expect(Object.keys(each)).not.toContain("office");
    expect(judgeFinalize(asked, quietPayload(asked)).office?.state).toBeDefined();
  });

  it("looks at each step's own exit code", () => {
    const install = ["A", "B"].map((name) => ({ name, shell: "cmd" as const, run: name }));
    const asked = buildOrder({ order: "package", os: "windows", layer: "plat", version: "1", install });
    const done = (id: string, rc: number): StepReport => ({ id, rc, state: "done", log: "", logBytes: 0, timedOut: false, tries: 1 });
    const steps = [done("01", 0), done("02", 5)];
    expect(judgePackage(asked, { ...quietPayload(asked, { said: { order: "package", state: "done", round: "" } }), steps }).summary).toBe(
      'step "B" is reported as done without an exit code that says so',
    );
  });

  it("says of KMS what was not come to, and what nobody asked for", () => {
    const asked = buildOrder({ order: "finalize", os: "windows", layer: "plat", version: "1", kms: true });
    const { report: _, ...silent } = quietPayload(asked);
    expect(judgeFinalize(asked, silent).kms).toEqual({ state: "off", message: "KMS: not reached" });
    expect(judged({}).kms).toEqual({ state: "off", message: "KMS: not asked for" });
    // Ready without a rearm that was asked for is no "not reached".
    const kms = { before: fixture.licensing("VOLUME_KMSCLIENT", 5) };
    expect(judgeFinalize(asked, quietPayload(asked, { kms }))).toMatchObject({ state: "blocked", kms: { state: "failed", before: 5 } });
  });
});
