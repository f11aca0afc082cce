import { describe, expect, it } from "vitest";
import { buildOrder, order, type StepInput, stepDigests } from "./order.ts";

const step: StepInput = { name: "VDA", shell: "cmd", run: "setup.exe /quiet\r\n", env: { A: "1", B: "2" }, secretEnv: { TOKEN: "secret" } };

describe("an order", () => {
  it("survives being written and read", () => {
    const built = buildOrder({ order: "package", os: "windows", layer: "plat", version: "2.3", install: [step] });
    expect(order.parse(JSON.parse(JSON.stringify(built)))).toEqual(built);
  });

  it("holds no secret value", () => {
    expect(JSON.stringify(buildOrder({ order: "package", os: "windows", layer: "plat", version: "2.3", install: [step] }))).not.toContain(
      '"secret"',
    );
  });

  it("has a new nonce each time", () => {
    const build = () => buildOrder({ order: "finalize", os: "linux", layer: "plat", version: "2.3" }).nonce;
    expect(build()).not.toBe(build());
  });

  it("numbers clean-up steps after the installation", () => {
    const built = buildOrder({
      order: "package",
      os: "windows",
      layer: "l",
      version: "1",
      install: [step],
      cleanup: [{ ...step, name: "Tidy" }],
    });
    expect(built.steps.map(({ id, name, phase, script }) => [id, name, phase, script])).toEqual([
      ["01", "VDA", "install", "steps/01.cmd"],
      ["02", "Tidy", "cleanup", "steps/02.cmd"],
    ]);
  });

  it("has no steps where an engineer works: nobody would run them, or delete their secrets", () => {
    const built = buildOrder({
      order: "package",
      os: "windows",
      layer: "l",
      version: "1",
      mode: "manual",
      install: [step],
      cleanup: [step],
    });
    expect(built.steps).toEqual([]);
  });

  it("mends by default, only stops with block, and gates on nothing with warn or ignore", () => {
    const built = buildOrder({
      order: "finalize",
      os: "windows",
      layer: "l",
      version: "1",
      policies: { pendingReboot: "block", bootDiskDrivers: "warn", ngen: "ignore" },
      accept: ["msi-in-progress", "no-such-fact"],
    });
    const fixes = new Map(built.facts.map((fact) => [fact.id, fact.fix]));
    expect([fixes.get("cbs-reboot-pending"), fixes.get("xenbus-requests"), fixes.get("msi-service")]).toEqual(["none", "none", "wait"]);
    expect(built.accept).toEqual(expect.arrayContaining(["xenbus-requests", "ngen-workers", "msi-in-progress"]));
    expect(built.accept).not.toContain("cbs-reboot-pending");
    expect(built.accept).not.toContain("no-such-fact");
  });

  it("never rearms a Linux guest", () => {
    expect(buildOrder({ order: "finalize", os: "linux", layer: "l", version: "1", kms: true }).kms).toEqual({ rearm: false });
  });
});

describe("a step's digest", () => {
  const digest = (change: Partial<StepInput> = {}) => stepDigests([{ ...step, ...change }])[0]?.digest;

  it.each([
    ["line ends", { run: "setup.exe /quiet" }],
    ["the order of variables", { env: { B: "2", A: "1" } }],
    ["a rotated secret", { secretEnv: { TOKEN: "other" } }],
    ["the time limit", { timeoutMinutes: 90 }],
    ["defaults written out", { expectExit: [0], rebootExit: [194, 3010, 1641] }],
    ["its name", { name: "Citrix VDA" }],
  ] satisfies [string, Partial<StepInput>][])("does not change with %s", (_what, change) => {
    expect(digest(change)).toBe(digest());
  });

  it.each([
    ["its text", { run: "setup.exe /verysilent" }],
    ["its shell", { shell: "powershell" }],
    ["a value", { env: { A: "1", B: "3" } }],
    ["a further secret", { secretEnv: { TOKEN: "secret", KEY: "k" } }],
    ["the codes of success", { expectExit: [0, 1] }],
    ["the codes of a restart", { rebootExit: [] }],
  ] satisfies [string, Partial<StepInput>][])("changes with %s", (_what, change) => {
    expect(digest(change)).not.toBe(digest());
  });

  it("tells a clean-up step from an installation", () => {
    expect(stepDigests([], [step])).not.toEqual(stepDigests([step]));
  });
});
