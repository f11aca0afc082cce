// What the guests say is installed, under the provider's own finalize scripts and reader: the modelled Windows, and a real dpkg in the linux guest.
import { existsSync } from "node:fs";
import { afterEach, beforeAll, expect, it } from "vitest";
import { checks } from "../../provider/guest/checks.ts";
import { type Inventory, readInventory } from "../../provider/guest/inventory.ts";
import { buildOrder } from "../../provider/guest/order.ts";
import { readPayload, writePayload } from "../../provider/guest/payload.ts";
import { FatVolume } from "../storage/fat.ts";
import { sandboxProblem } from "./sandbox.ts";
import { TestMachine } from "./testing.ts";

beforeAll(() => FatVolume.ready());

afterEach(() => TestMachine.removeAll());

async function inventoryOf(machine: TestMachine, os: "windows" | "linux"): Promise<Inventory> {
  // Whether the guest is ready is another test's question.
  const policies = Object.fromEntries(checks.map(({ id }) => [id, "ignore"]));
  const order = buildOrder({ order: "finalize", os, layer: "XenServer", version: "2.4", policies });
  machine.insert(await writePayload({ order }));
  await machine.run();
  const { report, inventory } = await readPayload(machine.payload());
  expect(report?.state, JSON.stringify(report)).toBe("ready");
  return readInventory(os, inventory ?? new Map());
}

const UNINSTALL = "Microsoft\\Windows\\CurrentVersion\\Uninstall";

it("a modelled Windows lists its Uninstall keys and its driver store", async () => {
  const machine = new TestMachine({
    guest: "windows",
    bootstrap: "xenlayer",
    tools: { version: "9.4.0.146", drivers: { xenbus: "9.1.12.94", xenvif: "9.1.13.2" } },
    registry: {
      [`HKLM\\SOFTWARE\\${UNINSTALL}\\{A-1}`]: {
        DisplayName: ["REG_SZ", 'Agent "f\u00fcr" C:\\Agent'],
        DisplayVersion: ["REG_SZ", "2402.1"],
        Publisher: ["REG_SZ", "Vendor"],
        EstimatedSize: ["REG_DWORD", "0x1000"],
        Names: ["REG_MULTI_SZ", "a", "b"],
      },
      [`HKLM\\SOFTWARE\\${UNINSTALL}\\Expanded`]: { DisplayName: ["REG_EXPAND_SZ", `%ProgramFiles% ${"x".repeat(60)}`] },
      [`HKLM\\SOFTWARE\\WOW6432Node\\${UNINSTALL}\\Old`]: { DisplayName: ["REG_SZ", "Old"], DisplayVersion: ["REG_SZ", "1.0"] },
    },
  });
  expect(await inventoryOf(machine, "windows")).toEqual({
    system: "Windows 11 Enterprise (22631.1)",
    software: [
      { id: "Expanded", name: `%ProgramFiles% ${"x".repeat(60)}`, version: "", publisher: "" },
      { id: "{A-1}", name: 'Agent "f\u00fcr" C:\\Agent', version: "2402.1", publisher: "Vendor" },
      { id: "32-bit Old", name: "Old", version: "1.0", publisher: "" },
    ],
    drivers: [
      { id: "oem0.inf", name: "xenbus.inf", version: "9.1.12.94", publisher: "XenServer" },
      { id: "oem1.inf", name: "xenvif.inf", version: "9.1.13.2", publisher: "XenServer" },
    ],
    problems: [],
  });
});

it.skipIf(sandboxProblem() !== undefined || !existsSync("/usr/bin/dpkg-query"))(
  "a Linux guest lists its packages by its own dpkg",
  async () => {
    const status =
      "Package: agent\nStatus: install ok installed\nMaintainer: Vendor <a@example.test>\nArchitecture: amd64\nVersion: 1.2-3\n\n";
    const machine = new TestMachine({ guest: "linux", bootstrap: "xenlayer" });
    const disk = FatVolume.open(machine.systemDisk);
    disk?.writeFile("etc/os-release", 'PRETTY_NAME="Example Linux 1"\n');
    for (const [name, text] of Object.entries({
      status,
      available: "",
      "info/format": "1\n",
      "info/agent.list": "/.\n",
      "info/agent.md5sums": "",
    }))
      disk?.writeFile(`var/lib/dpkg/${name}`, text);
    disk?.makeFolder("var/lib/dpkg/updates");
    const found = await inventoryOf(machine, "linux");
    expect(found.problems).toEqual([]);
    expect(found.software).toEqual([{ id: "agent:amd64", name: "agent", version: "1.2-3", publisher: "Vendor <a@example.test>" }]);
    expect(found.system).toMatch(/^Example Linux 1, kernel \S+$/);
  },
);
