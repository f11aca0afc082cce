// What one look at a machine under orders means: a table, over records as XAPI gives them. The rest of guestRun.ts is tested with guests (lifeGuest.test.ts).
import { expect, it } from "vitest";
import { explain } from "./errors.ts";
import { demandHalted, judgeRun } from "./guestRun.ts";
import type { Rec } from "./xapi/records.ts";

const nonce = "0123456789abcdef0123456789abcdef";
const run = {
  vmName: "plat 1 packaging",
  nonce,
  bootMinutes: 15,
  steps: [
    { id: "01", name: "Target device" },
    { id: "02", name: "Broker agent" },
  ],
  facts: [
    { id: "cbs-reboot-pending", check: "pendingReboot" },
    { id: "msi-service", check: "installer" },
    { id: "ngen-workers", check: "ngen" },
    { id: "ngen-queue-64-v4", check: "ngen" },
  ],
};
const vm = (power_state: string, progress?: string): Rec<"VM"> =>
  ({
    name_label: "plat 1 packaging",
    power_state,
    xenstore_data: progress === undefined ? {} : { "vm-data/xenlayer/progress": progress },
  }) as unknown as Rec<"VM">;
const look = (seen: Rec<"VM"> | undefined, more: { heard?: boolean; overdue?: boolean; manual?: string } = {}) => {
  const { heard = false, overdue = false, manual } = more;
  return judgeRun({ ...run, manual }, { vm: seen, heard, overdue });
};

it.each([
  ["it is off: what it left can be read", look(vm("Halted")), { state: "ready", value: true }],
  ["off, though nothing was ever heard", look(vm("Halted"), { overdue: true }), { state: "ready" }],
  ["it boots", look(vm("Running")), { state: "pending", message: "booting; nothing heard from its bootstrap yet" }],
  [
    "it was heard without tools",
    look(vm("Running"), { heard: true, overdue: true }),
    { message: "the guest is at work (it has no tools to say more)" },
  ],
  [
    "it tells its progress",
    look(vm("Running", `${nonce} 1 7 step 02 running`)),
    { state: "pending", message: "[2/2] Broker agent: running" },
  ],
  [
    "it restarts after a step",
    look(vm("Running", `${nonce} 1 8 restart for step 02`)),
    { message: "[2/2] Broker agent: restarting the guest" },
  ],
  ["of a step that was not ordered", look(vm("Running", `${nonce} 1 7 step 09 running`)), { message: "step 09 running" }],
  ["a check is under way", look(vm("Running", `${nonce} 1 7 check b ngen`)), { message: "[3/3] Microsoft NGen: second sample" }],
  ["of a check that was not ordered", look(vm("Running", `${nonce} 1 7 check b constructor`)), { message: "check b constructor" }],
  [
    "NGen and Windows Installer are at work",
    look(vm("Running", `${nonce} 1 7 waiting for msi-service ngen-workers ngen-queue-64-v4`)),
    { message: "waiting, not ready yet: Installation in progress (msi-service); Microsoft NGen (ngen-workers, ngen-queue-64-v4)" },
  ],
  [
    "a restart is pending",
    look(vm("Running", `${nonce} 1 7 restart for cbs-reboot-pending`)),
    { message: "restarting the guest because of Restart after an installation (cbs-reboot-pending)" },
  ],
  [
    "NGen's queue is run",
    look(vm("Running", `${nonce} 1 7 fix ngen 32-v4`)),
    { message: "running NGen's queue in the foreground: Framework\\v4.0.30319" },
  ],
  ["NGen's framework is none that we know", look(vm("Running", `${nonce} 1 7 fix ngen x`)), { message: "fix ngen x" }],
  [
    "it can't be stopped",
    look(vm("Running", `${nonce} 1 7 left running: ngen-workers`)),
    { message: "left running, still at work: Microsoft NGen (ngen-workers)" },
  ],
  [
    "what it waits for is no fact of ours",
    look(vm("Running", `${nonce} 1 7 waiting for godot`)),
    { message: "waiting, not ready yet: godot" },
  ],
  ["its words are those of an object", look(vm("Running", `${nonce} 1 7 toString`)), { message: "toString" }],
  ["with per cent", look(vm("Running", `${nonce} 2 8 fix ngen 40%`)), { message: "fix ngen", percent: 40 }],
  ["with more than all of it", look(vm("Running", `${nonce} 2 8 fix ngen 400%`)), { message: "fix ngen 400%" }],
  [
    "of another order",
    look(vm("Running", `${"f".repeat(32)} 1 1 step 02 running`)),
    { message: "booting; nothing heard from its bootstrap yet" },
  ],
  [
    "what it says is no progress",
    look(vm("Running", `${nonce} 1 1 \u001b[31mred`)),
    { message: "booting; nothing heard from its bootstrap yet" },
  ],
  ["what it says is long", look(vm("Running", `${nonce} 1 1 ${"x".repeat(500)}`)), { message: "x".repeat(200) }],
  [
    "an engineer is at work",
    look(vm("Running"), { manual: "install by hand", overdue: true, heard: true }),
    { message: "install by hand" },
  ],
  ["somebody has paused it", look(vm("Paused")), { state: "pending", message: "the machine is paused: resume it" }],
  ["or suspended it", look(vm("Suspended"), { overdue: true }), { state: "pending", message: "the machine is suspended: resume it" }],
] as const)("%s", (_what, verdict, expected) => {
  expect(verdict).toMatchObject(expected);
});

it("is no use waiting for a machine that is gone, or for a bootstrap that has had its time", () => {
  const [gone, silent] = [look(undefined), look(vm("Running"), { overdue: true })];
  expect(gone.state === "failed" && explain(gone.error)).toBe(
    'packaging machine "plat 1 packaging" has been deleted while it worked. Hint: run `pulumi up` again: it will be made anew',
  );
  expect(silent.state === "failed" && explain(silent.error)).toMatch(
    /^nothing was heard from the bootstrap in packaging machine "plat 1 packaging" within 15 min of its start\. Hint: the OS layer must run xenlayer\/run\.cmd/,
  );
});

it("writes an order only under a machine that is off", () => {
  demandHalted(vm("Halted"));
  expect(() => demandHalted(vm("Running"))).toThrow('packaging machine "plat 1 packaging" is running, and not by an order of xenlayer');
});
