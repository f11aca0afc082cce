// A Windows guest whose clock is set: by a step, by time synchronisation at a start, by hours and by years, forward and back. The provider's scripts count what they
// wait for themselves, so that nothing is given up early, waited for in vain, or read as ready that is not.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildOrder, type OrderRequest } from "../../provider/guest/order.ts";
import { readPayload, writePayload } from "../../provider/guest/payload.ts";
import { judgeFinalize, judgePackage } from "../../provider/guest/verdict.ts";
import { FatVolume } from "../storage/fat.ts";
import { TestMachine, type WindowsInput, windows } from "./testing.ts";
import { CLOCK_KEY } from "./windows/wallClock.ts";

beforeAll(() => FatVolume.ready());

afterEach(() => TestMachine.removeAll());

async function carryOut(machine: TestMachine, given: Partial<OrderRequest>) {
  const order = buildOrder({ order: "package", os: "windows", layer: "XenServer", version: "2.4", ...given });
  machine.insert(await writePayload({ order }));
  const before = machine.clock.now();
  await machine.run();
  const payload = await readPayload(machine.payload());
  const verdict = order.order === "package" ? judgePackage(order, payload) : judgeFinalize(order, payload);
  return { verdict, payload, took: machine.clock.now() - before };
}

const step = (name: string, ...lines: string[]) => ({ name, run: lines.join("\n"), shell: "cmd" as const, timeoutMinutes: 2 });

describe("the model's clock", () => {
  it("is shown and set as cmd does, refuses what is no time, and a restart keeps it", async () => {
    const machine = windows({ tools: { version: "9.4.0" } });
    const power = machine.boot();
    await machine.said("bootstrap: no payload disk");
    const type = async (command: string) => (await machine.guest?.type(command))?.output;
    expect(await type("date /t")).toBe("Mon 11/23/2026 \r\n");
    expect(await type("date 02-29-2028&time 23:59:58")).toBe("");
    expect(await type("echo %DATE% %TIME%")).toMatch(/^Tue 02\/29\/2028 23:59:5\d\.\d\d\r\n$/);
    expect(await type("time")).toMatch(/^The current time is: 23:59:5/);
    for (const [what, text] of [
      ["date", "02-30-2028"],
      ["date", "2028"],
      ["time", "24:00"],
      ["time", "now"],
    ] as const)
      expect(await machine.guest?.type(`${what} ${text}`)).toEqual({ rc: 1, output: `The system cannot accept the ${what} entered.\r\n` });
    machine.request("reboot");
    expect(await power).toBe("reboot");
    const again = machine.boot();
    await machine.until(() => machine.lines.filter((line) => line.includes("no payload disk")).length === 2);
    expect(await type("echo %DATE%")).toBe("Wed 03/01/2028\r\n");
    machine.request("poweroff");
    await again;
  });
});

it.each([
  ["years back", "date 01-01-2001"],
  ["years ahead", "date 01-01-2099"],
  ["some hours back", "time 00:00"],
  ["some hours ahead", "time 23:00"],
])("a step is given its time and no more when its clock is set %s meanwhile", async (_where, set) => {
  const machine = windows({
    programs: [
      { match: "slow.exe", seconds: 90 },
      { match: "hang.exe", seconds: 200 },
    ],
  });
  const { verdict, payload, took } = await carryOut(machine, { install: [step("slow", set, "slow.exe"), step("hangs", set, "hang.exe")] });
  expect(verdict).toMatchObject({ state: "failed", steps: [{ exitCode: 0, timedOut: false }, { timedOut: true }] });
  expect(took).toBeLessThan(600_000);
  expect(payload.steps[0]?.seconds).toBeGreaterThanOrEqual(85);
  expect(payload.steps[0]?.seconds).toBeLessThan(100);
});

it("a finalize waits as long as without, when its clock is found years ahead at one start and years back at the next", async () => {
  const programs = [{ match: "late.exe", msiSeconds: 20, pending: ["reboot" as const] }];
  const finalize = (...starts: string[]) => {
    const registry: NonNullable<WindowsInput["registry"]> = {
      "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\RunOnce": { late: ["REG_SZ", "late.exe"] },
      [CLOCK_KEY]: { Starts: ["REG_MULTI_SZ", ...starts] },
    };
    return carryOut(windows({ programs, registry }), { order: "finalize", policies: { runOnce: "fix" } });
  };
  const [plain, jumping] = [await finalize("0"), await finalize("315360000", "-315360000")];
  expect(jumping.verdict).toMatchObject({ state: "ready", boots: 2 });
  expect(jumping.payload.fixes).toEqual(plain.payload.fixes);
  expect(Math.abs(jumping.took - plain.took)).toBeLessThan(5_000);
});
