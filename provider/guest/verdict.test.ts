import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { PayloadReport, RoundReport, StepReport } from "./evidence.ts";
import type { Raw } from "./fact.ts";
import { buildOrder, type Order, type StepInput } from "./order.ts";
import * as fixture from "./testing.ts";
import { quietPayload, said } from "./testing.ts";
import { judgeFinalize, judgePackage } from "./verdict.ts";
import { verdict } from "./verdictReport.ts";

const finalize = (more: Partial<Parameters<typeof buildOrder>[0]> = {}): Order =>
  buildOrder({ order: "finalize", os: "windows", layer: "plat", version: "2.3", kms: true, ...more });
const order = finalize();

const inRound = (payload: PayloadReport, name: string, answers: Record<string, Raw | "absent" | undefined>): PayloadReport => {
  const round = new Map(payload.rounds.get(name) as RoundReport);
  for (const [id, raw] of Object.entries(answers)) {
    if (raw === undefined) round.delete(id);
    else round.set(id, raw);
  }
  return { ...payload, rounds: new Map([...payload.rounds, [name, round]]) };
};

describe("a finalize", () => {
  it.each(["windows", "linux"] as const)("is ready when all of the samples of a %s guest are quiet and its report is fresh", (os) => {
    const asked = finalize({ os });
    const judged = judgeFinalize(asked, quietPayload(asked));
    expect(judged).toMatchObject({ state: "ready", blockFinalize: 0, accept: [] });
    expect(judged.checks.every((check) => check.verdict === "ready" && check.samples.length === 3)).toBe(true);
    expect(verdict.parse(JSON.parse(JSON.stringify(judged)))).toEqual(judged);
  });

  const unanswered = ({ report: _report, ...rest }: PayloadReport): PayloadReport => rest;
  it.each<[string, PayloadReport, string]>([
    ["there is no report", unanswered(quietPayload(order)), "powered off without a report"],
    ["no boot was heard", unanswered(quietPayload(order, { boots: [] })), "no bootstrap was heard"],
    ["there is a report and no boot", quietPayload(order, { boots: [] }), "no boot was noted"],
    ["the report is of another order", quietPayload(order, { said: { nonce: "f".repeat(32) } }), "answers another order"],
    [
      "the report is of an earlier boot",
      quietPayload(order, {
        boots: [
          { n: 1, id: "1-4711" },
          { n: 2, id: "2-5" },
        ],
      }),
      "of an earlier one",
    ],
    ["the boots were miscounted", quietPayload(order, { said: { boots: 2 } }), "of an earlier one"],
    ["the report is of a package order", quietPayload(order, { said: { order: "package" } }), "package order"],
  ])("never ran when %s", (_what, payload, says) => {
    const judged = judgeFinalize(order, payload);
    expect(judged.state).toBe("neverRan");
    expect(judged.summary).toContain(says);
  });

  it.each(["a", "b", "c"])("is blocked by what is pending in sample %s alone, though the script says ready", (round) => {
    const judged = judgeFinalize(order, inRound(quietPayload(order), round, { "ngen-workers": fixture.processes("mscorsvw.exe") }));
    expect(judged).toMatchObject({ state: "blocked", blockFinalize: 8 + 64 });
    expect(judged.summary).toContain("mscorsvw.exe");
  });

  it("fails when a sample or an answer is missing, and tells a missing answer from a quiet one", () => {
    const whole = quietPayload(order);
    expect(judgeFinalize(order, { ...whole, rounds: new Map([...whole.rounds].filter(([name]) => name !== "b")) }).state).toBe("failed");
    const judged = judgeFinalize(order, inRound(whole, "b", { "cbs-reboot-pending": undefined }));
    expect(judged.state).toBe("failed");
    expect(judged.summary).toContain("cbs-reboot-pending");
    expect(judgeFinalize(order, inRound(whole, "a", { "session-manager": "absent" })).state).toBe("failed");
  });

  it("is sealed only if both agree: harmless by our rules and not quiet in the guest is accepted by the next order", () => {
    const noise = fixture.renames("\\??\\C:\\ProgramData\\Vendor\\scan.tmp", "");
    const judged = judgeFinalize(
      order,
      quietPayload(order, {
        answers: { "session-manager": noise },
        said: { state: "blocked", round: "b", blocked: ["session-manager"] },
        kms: { before: fixture.licensing("VOLUME_KMSCLIENT", 5) },
      }),
    );
    expect(judged).toMatchObject({ state: "blocked", accept: ["session-manager"], kms: { state: "off" } });
    expect(judged.summary).toContain("session-manager");
    const next = finalize({ accept: judged.accept });
    expect(next.accept.filter((id) => !order.accept.includes(id))).toEqual(["session-manager"]);
    expect(judgeFinalize(next, quietPayload(next, { answers: { "session-manager": noise } })).state).toBe("ready");
  });

  it("accepts nothing of a check that is not ready", () => {
    const judged = judgeFinalize(
      order,
      quietPayload(order, {
        answers: { "cbs-reboot-pending": fixture.keyThere("HKEY_LOCAL_MACHINE\\SOFTWARE") },
        said: { state: "blocked" },
      }),
    );
    expect(judged).toMatchObject({ state: "blocked", accept: [], blockFinalize: 2 });
  });

  it("lets through what policy warns of or ignores, and records it", () => {
    const policies = { pendingReboot: "warn", ngen: "ignore" } as const;
    const asked = finalize({ policies });
    const judged = judgeFinalize(
      asked,
      quietPayload(asked, {
        answers: { "cbs-reboot-pending": fixture.keyThere("HKEY_LOCAL_MACHINE\\SOFTWARE"), "ngen-workers": fixture.saysNothing },
      }),
      policies,
    );
    expect(judged).toMatchObject({ state: "ready", blockFinalize: 1 });
    const open = judged.checks.filter((check) => check.verdict !== "ready").map((check) => [check.id, check.verdict]);
    expect(open).toEqual([
      ["pendingReboot", "warned"],
      ["ngen", "ignored"],
    ]);
    expect(judged.summary).toContain("let through by policy: Restart after an installation, Microsoft NGen");
  });

  it("lets nothing through with a warning that could not be read", () => {
    for (const [policy, state] of [
      ["warn", "failed"],
      ["ignore", "ready"],
    ] as const) {
      const policies = { pvDrivers: policy };
      const asked = finalize({ policies });
      expect(judgeFinalize(asked, quietPayload(asked, { answers: { "pv-drivers": fixture.saysNothing } }), policies).state).toBe(state);
    }
  });

  it("warns by itself of what harms nobody, which is no bypass", () => {
    const judged = judgeFinalize(order, quietPayload(order, { answers: { "temp-msi": said("setup.msi\r\n") } }));
    expect(judged).toMatchObject({ state: "ready", blockFinalize: 0, summary: expect.stringContaining("warned of: Left behind") });
    expect(judged.checks.filter((check) => check.verdict === "warned").map(({ message }) => message)).toEqual([
      "Installers are left in %TEMP%: setup.msi; delete them.",
    ]);
  });

  it("says what does not fit the layer's platform", () => {
    const asked = finalize({ platform: { hypervisor: "xenserver", provisioningService: "pvs", connectionBroker: "none" } });
    const there = fixture.registryAnswer(
      "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\BrokerAgent",
      "Start    REG_DWORD    0x2",
    );
    const judged = judgeFinalize(asked, quietPayload(asked, { answers: { "service-vda": there } }));
    expect(judged.state).toBe("ready");
    expect(judged.checks.find(({ id }) => id === "platformSays")?.message).toBe(
      "Virtual Delivery Agent is installed, which the layer's platform does not name (service BrokerAgent, asked by service-vda). " +
        "The layer's platform needs Provisioning target device, which is not installed (service BNDevice, asked by service-pvs). " +
        "The layer's platform needs PV drivers of XenServer, which is not installed (service xenbus, asked by service-xenbus).",
    );
  });

  describe("with KMS", () => {
    const client = (count: number) => fixture.licensing("VOLUME_KMSCLIENT", count);
    it.each([
      ["is blocked at a count of 0", { before: client(0) }, { state: "blocked" as const, round: "" }, "it is 0"],
      [
        "is blocked when the rearm was done in an earlier boot",
        { before: client(5), rearm: fixture.rearmed, after: client(4), boot: "1-4710" },
        {},
        "earlier boot",
      ],
      [
        "is blocked when the guest went down while it was rearmed",
        { before: client(5), boot: "1-4710" },
        { state: "blocked" as const, blocked: ["kms"], round: "" },
        "one count may be spent",
      ],
      ["is blocked when the guest says ready and was not rearmed", { before: client(5) }, {}, "not rearmed"],
      [
        "is blocked when slmgr's labels can't be read",
        { before: fixture.licensing("VOLUME_KMSCLIENT", 5, "Verbleibend") },
        { state: "blocked" as const },
        "localised",
      ],
    ])("%s", (_what, kms, report, says) => {
      const judged = judgeFinalize(order, quietPayload(order, { kms, said: report }));
      expect(judged.state).toBe("blocked");
      expect(judged.summary).toContain(says);
      expect(judged.blockFinalize).not.toBe(0);
    });

    it("is ready without a rearm for another channel, and keeps the counts of a rearm", () => {
      expect(judgeFinalize(order, quietPayload(order, { kms: { before: fixture.licensing("RETAIL", 1) } }))).toMatchObject({
        state: "ready",
        kms: { state: "notApplicable" },
      });
      const { kms } = judgeFinalize(order, quietPayload(order));
      expect(kms).toMatchObject({ state: "ready", before: 1001 });
      expect(kms).not.toHaveProperty("after");
      const shown = { ...quietPayload(order).kms, after: client(1000) };
      expect(judgeFinalize(order, quietPayload(order, { kms: shown })).kms).toMatchObject({ before: 1001, after: 1000 });
    });

    it("is blocked when a guest was rearmed that nobody asked to be", () => {
      const off = finalize({ kms: false });
      expect(judgeFinalize(off, quietPayload(off, { kms: { rearm: fixture.rearmed } })).state).toBe("blocked");
    });
  });
});

describe("with Office's rearm", () => {
  const order = finalize({ kms: false, office: true });
  const done = fixture.officeRearmed;
  const { status } = done;

  it("is ready, and its summary says so", () => {
    const judged = judgeFinalize(order, quietPayload(order));
    expect(judged).toMatchObject({ state: "ready", office: { state: "ready" } });
    expect(judged.summary).toMatch(/; Office: rearmed once/);
  });

  it.each([
    [
      "nothing of it was asked",
      { status: {}, rearm: {} },
      {},
      "Office: the licences of Office16 (64-bit) could not be read before the rearm: it was not asked",
    ],
    ["it was rearmed in an earlier boot", { ...done, boot: "1-4710" }, {}, "in an earlier boot"],
    ["the script stopped at it", { status, rearm: {} }, { state: "blocked", blocked: ["office"] }, "was not rearmed"],
  ])("is blocked where %s", (_what, office, report, says) => {
    const judged = judgeFinalize(order, quietPayload(order, { office, said: report }));
    expect(judged).toMatchObject({ state: "blocked", office: { state: "failed" } });
    expect(judged.summary).toContain(says);
    expect(judged.blockFinalize).not.toBe(0);
  });

  it("is not what is told where something else blocks before it", () => {
    const judged = judgeFinalize(
      order,
      quietPayload(order, { office: { status, rearm: {} }, said: { state: "blocked", blocked: ["ngen"] } }),
    );
    expect(judged.office).toEqual({ state: "off", message: "Office: not reached" });
  });

  it("is blocked when it was rearmed and nobody asked", () => {
    const off = finalize({ kms: false });
    expect(judgeFinalize(off, quietPayload(off, { office: done })).summary).toBe(
      "Office: it was rearmed though the order does not ask for it",
    );
  });
});

describe("packaging", () => {
  const install: StepInput[] = [
    { name: "Tools", shell: "cmd", run: "setup", expectExit: [0], rebootExit: [3010] },
    { name: "VDA", shell: "cmd", run: "vda" },
  ];
  const asked = buildOrder({ order: "package", os: "windows", layer: "plat", version: "2.3", install });
  const step = (id: string, more: Partial<StepReport> = {}): StepReport => ({
    id,
    state: "done",
    rc: 0,
    log: "",
    logBytes: 0,
    timedOut: false,
    tries: 1,
    ...more,
  });
  const payload = (steps: StepReport[], reported: Partial<NonNullable<PayloadReport["report"]>> = {}): PayloadReport => ({
    ...quietPayload(asked, { said: { order: "package", state: "done", round: "", ...reported } }),
    steps,
  });

  it("is ready when each step has ended as it should", () => {
    expect(judgePackage(asked, payload([step("01", { rc: 3010 }), step("02")]))).toMatchObject({
      state: "ready",
      steps: [
        { name: "Tools", exitCode: 3010 },
        { name: "VDA", exitCode: 0 },
      ],
    });
  });

  it.each([
    [
      "names the step, its code and the end of its log",
      [step("01"), step("02", { state: "failed", rc: 1603, log: "line\nFatal error" })],
      { state: "failed", step: "02" },
      ['step "VDA" ended with exit code 1603 (expected 0, 3010, 1641, 194)', "Fatal error"],
    ],
    [
      "says what 9009 is",
      [step("01", { state: "failed", rc: 9009 })],
      { state: "failed", step: "01" },
      ["cmd knows no such command", "printed nothing"],
    ],
    [
      "tells a step that never ends",
      [step("01", { state: "failed", rc: 124, timedOut: true })],
      { state: "failed", step: "01" },
      ['"Tools" did not end within 60 minutes'],
    ],
    [
      "tells a step that takes the guest down",
      [step("01", { state: "failed", rc: undefined as never, tries: 3 })].map(({ rc, ...rest }) => rest),
      { state: "failed", step: "01" },
      ["went down 3 times"],
    ],
    ["believes no report of success without the steps", [step("01")], {}, ['step "VDA" has no exit code']],
    ["believes no step without its exit code", [step("01", { rc: 5 }), step("02")], {}, ["reported as done without an exit code"]],
  ] satisfies [string, StepReport[], object, string[]][])("%s", (_what, steps, reported, says) => {
    const judged = judgePackage(asked, payload(steps, reported));
    expect(judged.state).toBe("failed");
    for (const text of says) expect(judged.summary).toContain(text);
  });

  it("says which step was under way when the guest powered off by itself", () => {
    const { report, ...rest } = payload([step("01"), step("02", { state: "running" })]);
    expect(report).toBeDefined();
    expect(judgePackage(asked, rest)).toMatchObject({ state: "neverRan", summary: expect.stringContaining('step "VDA" was under way') });
  });

  it("says what was still at work when the machine was left running", () => {
    expect(judgePackage(asked, payload([step("01", { state: "reboot" })], { state: "blocked", blocked: ["ngen-workers"] }))).toMatchObject({
      state: "blocked",
      summary: expect.stringContaining("ngen-workers"),
    });
  });
});

describe("no mutated report reads as ready unless every fact is well-formed and quiet", () => {
  const text = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.constant(""),
    fc.constant("The .NET Runtime Optimization Service is running"),
    fc.constant('"tasklist.exe","1",'),
    fc.constant("msiserver"),
  );
  const raw = fc.record({ out: text, err: text, rc: fc.oneof(fc.constantFrom(0, 1, 2, 5, 9009, -1), fc.integer()) });

  it.each(["windows", "linux"] as const)("on %s, when an answer of some sample becomes something else", (os) => {
    const asked = finalize({ os });
    const whole = quietPayload(asked);
    const ids = asked.facts.map((fact) => fact.id);
    fc.assert(
      fc.property(fc.constantFrom("a", "b", "c"), fc.constantFrom(...ids), fc.option(raw, { nil: undefined }), (round, id, answer) => {
        const judged = judgeFinalize(asked, inRound(whole, round, { [id]: answer }));
        if (judged.state !== "ready") return;
        // What is read as quiet says so by its exit code, or holds the proof that it was asked and answered.
        const proof = answer !== undefined && (answer.rc === 1 || (answer.rc === 0 && answer.out !== ""));
        expect([id, proof], JSON.stringify(answer)).toEqual([id, true]);
      }),
      { numRuns: 3000, seed: 3 },
    );
  });

  it("when the report itself is mutated", () => {
    const fields = fc.record({
      nonce: fc.constantFrom(order.nonce, "0".repeat(32), ""),
      order: fc.constantFrom("finalize", "package", ""),
      boot: fc.constantFrom("1-4711", "1-4710", ""),
      boots: fc.constantFrom(0, 1, 2),
      state: fc.constantFrom("ready", "blocked", "done", "failed"),
    });
    fc.assert(
      fc.property(fields, (changed) => {
        const judged = judgeFinalize(order, quietPayload(order, { said: changed }));
        const fresh =
          changed.nonce === order.nonce &&
          changed.order === "finalize" &&
          changed.boot === "1-4711" &&
          changed.boots === 1 &&
          changed.state === "ready";
        expect(judged.state === "ready").toBe(fresh);
      }),
      { numRuns: 300, seed: 5 },
    );
  });

  it("when a whole sample says nothing with exit code 0", () => {
    const silent = new Map(order.facts.map((fact) => [fact.id, said("")] as const));
    const judged = judgeFinalize(order, { ...quietPayload(order), rounds: new Map(["a", "b", "c"].map((name) => [name, silent])) });
    expect(judged.checks.map((check) => check.verdict)).not.toContain("ready");
  });
});
