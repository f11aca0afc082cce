// The windows guest under the provider's own generated scripts, orders and verdicts: what the two halves of the product say to each other, without a wire between them.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildOrder, type OrderRequest } from "../../provider/guest/order.ts";
import { type PayloadContent, readPayload, writePayload } from "../../provider/guest/payload.ts";
import { judgeFinalize, judgePackage, type Verdict } from "../../provider/guest/verdict.ts";
import { FatVolume } from "../storage/fat.ts";
import type { DescriptorInput } from "./descriptor.ts";
import { TestMachine } from "./testing.ts";

beforeAll(() => FatVolume.ready());

const machines: TestMachine[] = [];
afterEach(() => {
  for (const machine of machines.splice(0)) machine.remove();
});

type WindowsInput = Extract<DescriptorInput, { guest: "windows" }>;

function windows(descriptor: Partial<WindowsInput> = {}): TestMachine {
  const machine = new TestMachine({ guest: "windows", bootstrap: "xenlayer", ...descriptor });
  machines.push(machine);
  return machine;
}

const request = (given: Partial<OrderRequest>): OrderRequest => ({
  order: "package",
  os: "windows",
  layer: "XenServer",
  version: "2.4",
  ...given,
});

async function carryOut(machine: TestMachine, given: Partial<OrderRequest>, more: Omit<PayloadContent, "order"> = {}): Promise<Verdict> {
  const order = buildOrder(request(given));
  machine.insert(await writePayload({ order, ...more }));
  await machine.run();
  const payload = await readPayload(machine.payload());
  return order.order === "package" ? judgePackage(order, payload) : judgeFinalize(order, payload);
}

const finalize = (machine: TestMachine, given: Partial<OrderRequest> = {}) => carryOut(machine, { order: "finalize", ...given });

const step = (name: string, run: string, more = {}) => ({ name, run, shell: "cmd" as const, ...more });

describe("packaging", () => {
  it("runs each step, writes what it declares into the disk's own file system, and powers off", async () => {
    const machine = windows({
      programs: [{ match: "setup.exe /quiet", seconds: 90, output: "done\n", files: { "Program Files/Citrix/VDA/version.txt": "2402" } }],
    });
    const verdict = await carryOut(machine, { install: [step("VDA", '"%XENLAYER_FILES%\\setup.exe" /quiet')] });
    expect(verdict.summary).toBe("all 1 steps are done");
    expect(machine.file("Program Files/Citrix/VDA/version.txt")).toBe("2402");
    expect(verdict.steps[0]).toMatchObject({ exitCode: 0, logTail: "done" });
  });
});
void finalize;
