// The ways in which an order gets into a guest that has no bootstrap of ours, or one that somebody else's runs: carried out by the guests of the simulator, the Linux
// ones for real, the Windows ones by the model of cmd, schtasks, the storage cmdlets and cloudbase-init.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { DescriptorInput } from "../../simulator/guests/descriptor.ts";
import { sandboxProblem } from "../../simulator/guests/sandbox.ts";
import { PAYLOAD_UUID, TestMachine } from "../../simulator/guests/testing.ts";
import { FatVolume } from "../../simulator/storage/fat.ts";
import { bootstrapFiles, INSTALLED, installCommand, PAYLOAD_KEY, payloadSerial } from "./bootstrap.ts";
import { userData } from "./noCloud.ts";
import { buildOrder, type Order, type StepInput } from "./order.ts";
import { readPayload, writePayload } from "./payload.ts";
import { judgeFinalize, judgePackage } from "./verdict.ts";

beforeAll(() => FatVolume.ready());
const machines: TestMachine[] = [];
afterEach(() => {
  for (const machine of machines.splice(0)) machine.remove();
});

function machineOf(descriptor: DescriptorInput): TestMachine {
  const machine = new TestMachine(descriptor);
  machines.push(machine);
  return machine;
}

type WindowsInput = Extract<DescriptorInput, { guest: "windows" }>;
const windows = (more: Partial<WindowsInput> = {}): TestMachine =>
  machineOf({
    guest: "windows",
    bootstrap: "none",
    ngen: { frameworks: ["Framework64/v4.0.30319"] },
    programs: [{ match: "restarts.exe", exitCode: 3010, files: { "restarted.txt": "1" } }],
    ...more,
  });
const linux = (bootstrap: "none" | "cloud-init"): TestMachine => machineOf({ guest: "linux", bootstrap });

const steps = {
  windows: [
    { name: "one", run: "restarts.exe", shell: "cmd" },
    { name: "two", run: "if not exist C:\\restarted.txt exit /b 7", shell: "cmd" },
  ],
  linux: [
    { name: "one", run: "mkdir -p /opt; : >/opt/restarted; exit 194", shell: "sh" },
    { name: "two", run: "test -e /opt/restarted", shell: "sh" },
  ],
} satisfies Record<string, StepInput[]>;

const packageOrder = (os: "windows" | "linux"): Order => buildOrder({ order: "package", os, layer: "l", version: "1", install: steps[os] });
const finalizeOrder = (os: "windows" | "linux"): Order => buildOrder({ order: "finalize", os, layer: "l", version: "1" });

async function insert(machine: TestMachine, order: Order): Promise<void> {
  machine.insert(await writePayload({ order }));
}

async function packaged(machine: TestMachine, order: Order): Promise<void> {
  expect(judgePackage(order, await readPayload(machine.payload()))).toMatchObject({ state: "ready", boots: 2 });
}

async function finalized(machine: TestMachine, os: "windows" | "linux"): Promise<void> {
  const order = finalizeOrder(os);
  await insert(machine, order);
  await machine.run();
  expect(judgeFinalize(order, await readPayload(machine.payload()))).toMatchObject({ state: "ready" });
}

/** Boots, has somebody type a command at the console, and comes back when the order has gone all the way. */
async function typedInto(machine: TestMachine, command: string, restarts = false): Promise<string> {
  machine.lines.length = 0;
  const power = machine.boot();
  await machine.said("no bootstrap");
  const typed = await machine.guest?.type(command);
  if (restarts) await machine.guest?.type("reboot");
  if ((await power) === "reboot") await machine.run();
  return typed?.output ?? "";
}

/** Finalizes a machine that its bootstrap can't be removed from. */
async function remains(machine: TestMachine, os: "windows" | "linux", files: readonly string[]): Promise<void> {
  for (const file of files) FatVolume.open(machine.systemDisk)?.writeFile(file, "x");
  const order = finalizeOrder(os);
  await insert(machine, order);
  await machine.run();
  const verdict = judgeFinalize(order, await readPayload(machine.payload()));
  expect(verdict).toMatchObject({ state: "blocked", summary: expect.stringContaining("could not be removed") });
  expect(verdict.blockFinalize).not.toBe(0);
  expect(machine.payloadFile("xenlayer/out/uninstall.txt")).toContain("xenlayer's bootstrap could not be removed");
}

const tasksOf = (machine: TestMachine): unknown => (JSON.parse(machine.file("XAPISIM/STATE.JSON") ?? "{}") as { tasks?: unknown }).tasks;

describe("the bootstrap that the payload disk carries, on Windows", () => {
  const INSTALL = "E:\\xenlayer\\bootstrap\\install.cmd";

  it("runs the order when it is installed and at each start, and is gone from the sealed layer", async () => {
    const machine = windows();
    const order = packageOrder("windows");
    await insert(machine, order);
    const said = await typedInto(machine, INSTALL);
    expect(said).toContain('SUCCESS: The scheduled task "xenlayer" has successfully been created.');
    await packaged(machine, order);
    expect(tasksOf(machine)).toMatchObject({ xenlayer: { atStart: true, system: true } });

    await finalized(machine, "windows");
    expect(tasksOf(machine)).toEqual({});
    expect(machine.file("Windows/xenlayer/bootstrap.cmd")).toBeUndefined();
    expect(machine.file("Windows/xenlayer/transient")).toBeUndefined();
  });

  it("stays where an OS layer is to keep it, until it is uninstalled", async () => {
    const machine = windows();
    await insert(machine, packageOrder("windows"));
    // What an OS layer keeps stays kept, whoever installs it once more for a layer.
    await typedInto(machine, `cmd /d /c "${INSTALL} keep" & cmd /d /c "${INSTALL}"`);
    await finalized(machine, "windows");
    expect(tasksOf(machine)).toMatchObject({ xenlayer: {} });
    expect(machine.file("Windows/xenlayer/bootstrap.cmd")).toContain("CIDATA");

    // What runs already goes on to its end.
    await insert(machine, finalizeOrder("windows"));
    await typedInto(machine, "E:\\xenlayer\\bootstrap\\uninstall.cmd");
    expect(tasksOf(machine)).toEqual({});
    expect(machine.file("Windows/xenlayer/bootstrap.cmd")).toBeUndefined();
  });

  describe("where Windows keeps new disks offline", () => {
    const tools = { version: "9.4.0" };
    const offline = (more: Partial<WindowsInput> = {}): TestMachine => {
      const machine = windows({ newDisks: "offline", bootstrap: "cloud-init", tools, ...more });
      machine.told = { [PAYLOAD_KEY]: payloadSerial(PAYLOAD_UUID) };
      machine.otherDisk = machine.store.create("other", 2 ** 25);
      FatVolume.format(machine.otherDisk, { label: "CIDATA", partitioned: "none" });
      return machine;
    };
    const online = (machine: TestMachine): string[] => machine.lines.filter((line) => line.includes("online"));

    it.each<[string, Partial<WindowsInput>]>([
      ["", {}],
      [", where another vendor's drivers have left a class without an instance", { tools: { ...tools, otherVendors: ["Citrix"] } }],
    ])("brings the payload disk online by its serial number, and no other%s", async (_where, more) => {
      const machine = offline(more);
      const order = packageOrder("windows");
      await insert(machine, order);
      await machine.run();
      await packaged(machine, order);
      await finalized(machine, "windows");
      expect(new Set(online(machine))).toEqual(new Set(["disk 2 is brought online"]));
      expect(machine.lines.filter((line) => line.includes("left open"))).toEqual([]);
    });

    it.each<[string, Partial<WindowsInput>, Record<string, string>]>([
      ["nobody has told which it is", {}, {}],
      ["another was told", {}, { [PAYLOAD_KEY]: "0".repeat(16) }],
      ["nothing shows it xenstore", { tools: false }, { [PAYLOAD_KEY]: payloadSerial(PAYLOAD_UUID) }],
    ])("leaves all as they are where %s", async (_what, more, told) => {
      const machine = offline(more);
      machine.told = told;
      await insert(machine, packageOrder("windows"));
      const power = machine.boot().catch(() => "cut");
      await machine.said("user data ended with 1002");
      machine.cut();
      expect(await power).toBe("cut");
      expect(online(machine)).toEqual([]);
      expect(machine.lines.filter((line) => line.includes("left open"))).toEqual([]);
      expect(await readPayload(machine.payload())).toMatchObject({ boots: [] });
    });
  });

  it("is not sealed where it can't be removed, and stays whole, so that the next order is run", async () => {
    const own = "Windows/xenlayer/bootstrap.cmd";
    const machine = windows({ bootstrap: "xenlayer" });
    await remains(machine, "windows", ["Windows/xenlayer/transient", own, "Windows/System32/Tasks/xenlayer"]);
    expect(machine.file("Windows/xenlayer/transient")).toBe("x");
    expect(machine.file(own)).toBe("x");
  });

  it("gives up looking where there is no payload disk", async () => {
    const machine = windows();
    await insert(machine, packageOrder("windows"));
    await typedInto(machine, `${INSTALL} keep`);
    const without = machine.payloadDisk;
    machine.payloadDisk = undefined;
    const power = machine.boot().catch(() => "cut");
    await machine.said("task xenlayer ended with 0");
    machine.cut();
    expect(await power).toBe("cut");
    machine.payloadDisk = without;
  });

  it("is refused where its definition can't be read", async () => {
    const machine = windows();
    await insert(machine, packageOrder("windows"));
    const power = machine.boot();
    await machine.said("no bootstrap");
    await machine.guest?.type("echo x>E:\\xenlayer\\bootstrap\\task.xml");
    expect(await machine.guest?.type(INSTALL)).toMatchObject({ rc: 1, output: expect.stringContaining("run this as administrator") });
    await machine.guest?.type("shutdown /s /t 0");
    await power;
  });
});

describe("a machine that is prepared by hand", () => {
  it("has Shutdown For Finalize on its desktop, which says what blocks, and is no part of the layer", async () => {
    const machine = windows({ bootstrap: "xenlayer", programs: [{ match: "driver.exe", pending: ["driver-reboot"] }] });
    FatVolume.open(machine.systemDisk)?.writeFile("Users/Public/Desktop/desktop.ini", "");
    const order = buildOrder({ order: "package", os: "windows", layer: "l", version: "1", mode: "manual" });
    await insert(machine, order);
    const icon = "Users/Public/Desktop/Shutdown For Finalize.cmd";
    const click = () => machine.guest?.type('"C:\\Users\\Public\\Desktop\\Shutdown For Finalize.cmd"');

    let power = machine.boot();
    await machine.said("run Shutdown For Finalize on the desktop");
    await machine.guest?.type("driver.exe");
    await click();
    await machine.until(() => machine.payloadFile("xenlayer/out/report")?.includes("state=blocked") === true);
    expect(machine.file(icon)).toContain("finalize.cmd");
    await machine.guest?.type("shutdown /r /t 0");
    expect(await power).toBe("reboot");

    machine.lines.length = 0;
    power = machine.boot();
    await machine.said("run Shutdown For Finalize on the desktop");
    await click();
    expect(await power).toBe("poweroff");
    expect(judgeFinalize(order, await readPayload(machine.payload()))).toMatchObject({ state: "ready" });
    expect(machine.file(icon)).toBeUndefined();
  });
});

describe("cloudbase-init", () => {
  it("installs it for this layer alone and leaves the later starts to it", async () => {
    const machine = windows({ bootstrap: "cloud-init" });
    const order = packageOrder("windows");
    await insert(machine, order);
    await machine.run();
    await packaged(machine, order);
    expect(machine.lines.filter((line) => line.startsWith("cloudbase-init: "))).toEqual(
      Array.from({ length: 2 }, () => "cloudbase-init: user data ended with 1002"),
    );
    await finalized(machine, "windows");
    expect(tasksOf(machine)).toEqual({});
    expect(machine.file("Windows/xenlayer/bootstrap.cmd")).toBeUndefined();
  });
});

describe.skipIf(sandboxProblem() !== undefined)("the bootstrap that the payload disk carries, on Linux", () => {
  const INSTALL = "sh xenlayer/bootstrap/install.sh";

  it("runs the order at each start, and is gone from the sealed layer", async () => {
    const machine = linux("none");
    const order = packageOrder("linux");
    await insert(machine, order);
    expect(await typedInto(machine, INSTALL, true)).toContain("xenlayer's bootstrap is installed.");
    await packaged(machine, order);
    expect(machine.file("etc/systemd/system/xenlayer.service")).toContain("ExecStart=/bin/sh /opt/xenlayer/bootstrap.sh");

    await finalized(machine, "linux");
    for (const left of [
      "etc/systemd/system/xenlayer.service",
      "etc/systemd/system/multi-user.target.wants/xenlayer.service",
      "opt/xenlayer/bootstrap.sh",
    ])
      expect(machine.file(left), left).toBeUndefined();
    expect(machine.file("opt/restarted")).toBe("");
  });

  it("stays where an OS layer is to keep it", async () => {
    const machine = linux("none");
    await insert(machine, packageOrder("linux"));
    // What an OS layer keeps stays kept, whoever installs it once more for a layer.
    await typedInto(machine, `${INSTALL} keep; ${INSTALL}`, true);
    await finalized(machine, "linux");
    expect(machine.file("opt/xenlayer/bootstrap.sh")).toContain("CIDATA");
  });

  it("is not sealed where it can't be removed, and stays whole, so that the next order is run", async () => {
    const machine = linux("cloud-init");
    // What stands there can't be removed as a file.
    await remains(machine, "linux", ["opt/xenlayer/transient", "etc/systemd/system/xenlayer.service/busy"]);
    expect(machine.file("opt/xenlayer/transient")).toBe("x");
  });

  it("is installed by one command line of whoever can log in", async () => {
    const machine = linux("none");
    const order = packageOrder("linux");
    await insert(machine, order);
    expect(await typedInto(machine, installCommand("linux"), true)).toContain(INSTALLED);
    await packaged(machine, order);
  });

  it("is run by cloud-init at every boot, restarts included", async () => {
    const machine = linux("cloud-init");
    const order = packageOrder("linux");
    await insert(machine, order);
    await machine.run();
    await packaged(machine, order);
    await finalized(machine, "linux");
  });

  it("is run once a boot where cloud-init and an installed bootstrap both find the disk", async () => {
    const machine = linux("cloud-init");
    const volume = FatVolume.open(machine.systemDisk);
    const unit = bootstrapFiles("linux").find(({ path }) => path === "xenlayer.service")?.data ?? "";
    volume?.writeFile("opt/xenlayer/bootstrap.sh", bootstrapFiles("linux").find(({ path }) => path === "bootstrap.sh")?.data ?? "");
    volume?.writeFile("etc/systemd/system/multi-user.target.wants/xenlayer.service", unit);
    const order = packageOrder("linux");
    await insert(machine, order);
    await machine.run();
    await packaged(machine, order);
  });
});

describe("what is generated", () => {
  it("asks of cloud-init only what the order needs: nothing of a new instance goes into the layer", () => {
    const text = userData("linux");
    expect(text).toContain(
      "cloud_init_modules: [growpart, resizefs]\ncloud_config_modules: [runcmd]\ncloud_final_modules:\n  - [scripts-user, always]\n",
    );
    // A literal block of YAML: each line of the script is indented.
    expect(
      text
        .split("  - |\n")[1]
        ?.split("\n")
        .filter((line) => line !== "" && !line.startsWith("    ")),
    ).toEqual([]);
  });

  it("is plain text that cmd reads everywhere, and a task definition as schtasks writes one", () => {
    for (const { path, data } of bootstrapFiles("windows")) {
      const bytes = Buffer.from(data);
      const text = path.endsWith(".xml") ? bytes.toString("utf16le") : bytes.toString("latin1");
      expect(text.replaceAll("\r\n", ""), path).not.toMatch(/[\r\n]/);
      if (path.endsWith(".xml")) expect(text).toMatch(/^\ufeff<\?xml version="1.0" encoding="UTF-16"\?>/);
      else
        expect(
          [...text].every((character) => character <= "~"),
          path,
        ).toBe(true);
    }
    expect(userData("windows")).toMatch(/^rem cmd\r\n/);
  });
});
