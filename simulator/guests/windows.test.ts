// The windows guest under the provider's own generated scripts, orders and verdicts: what the two halves of the product say to each other, without a wire between them.
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildOrder, type OrderRequest } from "../../provider/guest/order.ts";
import { type PayloadContent, readPayload, writePayload } from "../../provider/guest/payload.ts";
import { judgeFinalize, judgePackage, type Verdict } from "../../provider/guest/verdict.ts";
import { FatVolume } from "../storage/fat.ts";
import { TestMachine, type WindowsInput, windows } from "./testing.ts";

beforeAll(() => FatVolume.ready());

afterEach(() => TestMachine.removeAll());

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
    const before = machine.clock.now();
    const verdict = await carryOut(machine, { install: [step("VDA", '"%XENLAYER_FILES%\\setup.exe" /quiet')] });
    expect(verdict.summary).toBe("all 1 steps are done");
    expect(machine.file("Program Files/Citrix/VDA/version.txt")).toBe("2402");
    expect(verdict.steps[0]).toMatchObject({ exitCode: 0, logTail: "done" });
    expect(machine.clock.now() - before).toBeGreaterThan(90_000);
  });

  it("restarts for a step that asks for it and goes on with the next step", async () => {
    const machine = windows({
      programs: [
        { match: "first.exe", exitCode: 3010, pending: ["reboot", "driver-reboot", "pfro"] },
        { match: "second.exe", files: { "second.txt": "2" } },
      ],
    });
    const verdict = await carryOut(machine, { install: [step("first", "first.exe"), step("second", "second.exe")] });
    expect(verdict).toMatchObject({ state: "ready", boots: 2, steps: [{ exitCode: 3010 }, { exitCode: 0 }] });
    expect(machine.file("second.txt")).toBe("2");
    // The rename that waited was performed by the start.
    expect(machine.file("Windows/System32/drivers/etc/services")).toContain("replaced at the next start");
    expect(machine.file("Windows/System32/drivers/etc/services.new")).toBeUndefined();
    expect((await finalize(machine)).state).toBe("ready");
  });

  it("gives a step the guest's own PATH, in its own order", async () => {
    const verdict = await carryOut(windows(), { install: [step("path", "echo %PATH%")] });
    expect(verdict.steps[0]?.logTail).toBe("C:\\Windows\\system32;C:\\Windows");
  });

  it("answers a step that nothing is declared for as an unknown command", async () => {
    const machine = windows();
    const verdict = await carryOut(machine, { install: [step("VDA", "vdasetup.exe /quiet")] });
    expect(verdict).toMatchObject({ state: "failed", steps: [{ state: "failed", exitCode: 9009 }] });
    expect(verdict.steps[0]?.logTail.trim()).toBe(
      "'vdasetup.exe' is not recognized as an internal or external command,\noperable program or batch file.",
    );
  });

  it("reports a step that never ends when its time is over, and leaves the machine running under it", async () => {
    const machine = windows({ programs: [{ match: "hang.exe", never: true, files: { "half.txt": "" } }] });
    const order = buildOrder(request({ install: [step("hangs", "hang.exe", { timeoutMinutes: 2 })] }));
    machine.insert(await writePayload({ order }));
    const power = machine.boot().then(
      () => "went down",
      () => "was cut",
    );
    await machine.said("step 01 over its time and left running");
    const verdict = judgePackage(order, await readPayload(machine.payload()));
    expect(verdict).toMatchObject({ state: "failed", steps: [{ state: "failed", timedOut: true }] });
    machine.cut();
    expect(await power).toBe("was cut");
    expect(machine.file("half.txt")).toBeUndefined();
  });

  it("waits for a step over its time before it powers off; it has failed all the same", async () => {
    const machine = windows({ programs: [{ match: "late.exe", seconds: 900, msiSeconds: 60, files: { "late.txt": "whole" } }] });
    const verdict = await carryOut(machine, { install: [step("late", "late.exe", { timeoutMinutes: 2 })] });
    expect(verdict).toMatchObject({ state: "failed", steps: [{ state: "failed", timedOut: true, exitCode: 0 }] });
    expect(machine.file("late.txt")).toBe("whole");
    expect(machine.lines.join("\n")).not.toContain("interrupted");
  });

  it("hands a secret to its step, and the script deletes it", async () => {
    const machine = windows({ programs: [{ match: { regex: "join\\.exe \\S+ hunter2!$" }, output: "joined\n" }] });
    const install = [step("join", "join.exe user %PASSWORD%", { secretEnv: { PASSWORD: "hunter2!" } })];
    const verdict = await carryOut(machine, { install }, { secrets: { "01": { PASSWORD: "hunter2!" } } });
    expect(verdict.steps[0]).toMatchObject({ exitCode: 0, logTail: "joined" });
    expect(machine.payloadFile("xenlayer/secret/01.cmd")).toBeUndefined();
  });

  it("runs PowerShell steps as far as they start declared programs", async () => {
    const machine = windows({ programs: [{ match: "Install-Tools.exe -Quiet", exitCode: 0, output: "ok\n" }] });
    const install = [
      step("tools", "Write-Output \"hello $env:WHO\"\n& 'C:\\Tools\\Install-Tools.exe' -Quiet\n", {
        shell: "powershell",
        env: { WHO: "world" },
      }),
      step("unknown", "Get-Something -All\n", { shell: "powershell" }),
    ];
    const verdict = await carryOut(machine, { install });
    expect(verdict.steps[0]).toMatchObject({ exitCode: 0, logTail: "hello world\nok" });
    expect(verdict.steps[1]).toMatchObject({ exitCode: 1, state: "failed" });
    expect(verdict.steps[1]?.logTail).toContain("The term 'Get-Something' is not recognized");
  });

  it("starts an installer only when its file or its ISO is there", async () => {
    const program = { match: "vda.exe", requiresFile: "%XENLAYER_FILES%\\vda.exe" };
    const files = [{ name: "vda.exe", data: new Uint8Array([77, 90]) }];
    const install = [step("VDA", "%XENLAYER_FILES%\\vda.exe")];
    expect((await carryOut(windows({ programs: [program] }), { install })).steps[0]?.exitCode).toBe(9009);
    expect((await carryOut(windows({ programs: [program] }), { install }, { files })).state).toBe("ready");
    const iso = windows({ programs: [{ match: "tools.msi", requiresMedia: "guest-tools.iso" }] });
    iso.cds = ["guest-tools.iso"];
    expect((await carryOut(iso, { install: [step("tools", "msiexec /i D:\\tools.msi /qn")] })).state).toBe("ready");
  });

  it("does not power off while NGen or Windows Installer works", async () => {
    const machine = windows({ programs: [{ match: "net.exe", ngenSeconds: 240, msiSeconds: 30 }] });
    const verdict = await carryOut(machine, { install: [step("net", "net.exe")] });
    expect(verdict.state).toBe("ready");
    expect(machine.lines.some((line) => line.includes("waiting for") && line.includes("ngen-workers"))).toBe(true);
    expect(machine.lines.join("\n")).not.toContain("interrupted");
    expect(machine.file("XAPISIM/STATE.JSON")).toContain('"interrupted": []');
  });
});

describe("finalize", () => {
  it("finds a quiet machine ready", async () => {
    const verdict = await finalize(windows());
    expect(verdict).toMatchObject({ state: "ready", boots: 1, attempts: 1, blockFinalize: 0 });
  });

  it("restarts for what is pending and finds it gone", async () => {
    const machine = windows({ programs: [{ match: "x.exe", pending: ["reboot", "windows-update", "driver-reboot", "rename"] }] });
    await carryOut(machine, { install: [step("x", "x.exe")] });
    // The power-off after the steps has cleared it: pending once more, by hand this time.
    const blocked = windows({ programs: [{ match: "x.exe", pending: ["reboot"], pendingReboots: 3 }] });
    await carryOut(blocked, { install: [step("x", "x.exe")] });
    expect((await finalize(machine)).state).toBe("ready");
    const verdict = await finalize(blocked);
    expect(verdict).toMatchObject({ state: "ready", boots: 3 });
    expect(verdict.fixes.map(({ fix }) => fix).filter((fix) => fix === "reboot")).toHaveLength(2);
  });

  it("restarts for a new computer name that is there since this very start", async () => {
    const machine = windows();
    const order = buildOrder(request({ order: "finalize" }));
    const name = order.facts.find(({ id }) => id === "computer-name");
    if (name === undefined) throw new Error("no such fact");
    const key = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\ComputerName\\ComputerName";
    const renames = {
      ...name,
      id: "renames",
      command: `reg add "${key}" /v ComputerName /d OTHER /f`,
      quiet: { kind: "exitCode" as const, codes: [0] },
    };
    machine.insert(await writePayload({ order: { ...order, facts: [renames, name] } }));
    await machine.run();
    const payload = await readPayload(machine.payload());
    expect(payload.report).toMatchObject({ state: "ready", boots: 2 });
    expect(payload.fixes.filter(({ fix }) => fix === "reboot")).toHaveLength(1);
  });

  it("restarts for nothing that it could not ask; another look may answer", async () => {
    const machine = windows();
    const order = buildOrder(request({ order: "finalize", ngen: "wait" }));
    const dirty = order.facts.find(({ id }) => id === "volume-dirty");
    if (dirty === undefined) throw new Error("no such fact");
    const inGerman = { ...dirty, command: "cmd /d /c echo Volume - C: ist NICHT fehlerhaft" };
    machine.insert(await writePayload({ order: { ...order, facts: [inGerman] } }));
    await machine.run();
    const payload = await readPayload(machine.payload());
    expect(payload.report).toMatchObject({ state: "blocked", boots: 1, attempt: 3, blocked: ["volume-dirty"] });
    expect(payload.fixes).toEqual([]);
    const check = judgeFinalize(order, payload).checks.find(({ id }) => id === "systemVolume");
    expect(check?.message).toMatch(/in another language, checks: \{ systemVolume: "ignore" \}/);
  });

  it("is blocked by what no restart clears", async () => {
    const machine = windows({ programs: [{ match: "x.exe", pending: ["driver-reboot"], pendingReboots: 99 }] });
    await carryOut(machine, { install: [step("x", "x.exe")] });
    const verdict = await finalize(machine);
    expect(verdict.state).toBe("blocked");
    expect(verdict.summary).toContain("A reboot is pending to update drivers on the boot disk");
    expect(verdict.summary).toContain("XENVBD");
  });

  it("runs NGen's queue in the foreground", async () => {
    const machine = windows({ ngen: { frameworks: ["Framework/v4.0.30319", "Framework64/v4.0.30319"], queuedSeconds: 900 } });
    const verdict = await finalize(machine);
    expect(verdict.state).toBe("ready");
    expect(verdict.fixes.map(({ fix }) => fix)).toEqual(["ngen-64-v4", "ngen-32-v4"]);
    expect(machine.file("XAPISIM/STATE.JSON")).toContain('"Framework64/v4.0.30319": 0');
  });

  it("waits for NGen where the order says so, and is blocked when that takes too long", async () => {
    const ngen = { frameworks: ["Framework64/v4.0.30319"], queuedSeconds: 400 };
    expect((await finalize(windows({ ngen }), { ngen: "wait" })).state).toBe("ready");
    const slow = windows({ ngen: { ...ngen, queuedSeconds: 20_000 } });
    const order = buildOrder(request({ order: "finalize", ngen: "wait", limits: { ngenWaitSeconds: 300, msiWaitSeconds: 60 } }));
    const before = slow.clock.now();
    slow.insert(await writePayload({ order }));
    const power = slow.boot().then(
      () => "went down",
      () => "was cut",
    );
    await slow.said("left running");
    // The limit is of all that it waits, and its looks are part of that.
    expect(slow.clock.now() - before).toBeGreaterThan(200_000);
    expect(slow.clock.now() - before).toBeLessThan(400_000);
    slow.cut();
    expect(await power).toBe("was cut");
    const verdict = judgeFinalize(order, await readPayload(slow.payload()));
    expect(verdict.state).toBe("blocked");
    expect(verdict.summary).toContain("A Microsoft NGen operation is in progress in the background.");
    expect(slow.lines.join("\n")).toContain("NGen was interrupted while it worked for Framework64/v4.0.30319");
  });

  it("is blocked while a Windows Installer at work was broken off", async () => {
    const machine = windows({ programs: [{ match: "x.exe", pending: ["msi"], pendingReboots: 9 }] });
    await carryOut(machine, { install: [step("x", "x.exe")] });
    const verdict = await finalize(machine, { limits: { msiWaitSeconds: 60 } });
    expect(verdict.state).toBe("blocked");
    expect(verdict.summary).toContain("An MSI install operation is in progress");
  });

  it("rearms KMS once, as the last act", async () => {
    const machine = windows({ kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 2 } });
    const verdict = await finalize(machine, { kms: true });
    expect(verdict).toMatchObject({ state: "ready", kms: { state: "ready", before: 2 } });
    expect(verdict.kms.message).toBe("KMS: rearmed once, remaining count 2 before; Windows shows what is left after its next start");
    expect(machine.file("XAPISIM/STATE.JSON")).toContain('"rearmCount": 1');
  });

  it("rearms nothing a second time in one order, whatever becomes of the first", async () => {
    const machine = windows({ kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 5 } });
    const order = buildOrder(request({ order: "finalize", kms: true }));
    machine.insert(await writePayload({ order }));
    const cut = machine.boot().catch(() => {});
    await machine.said("rearming KMS");
    machine.cut();
    await cut;
    const before = /"rearmCount": \d/.exec(machine.file("XAPISIM/STATE.JSON") ?? "")?.[0];
    await machine.run();
    const verdict = judgeFinalize(order, await readPayload(machine.payload()));
    expect(verdict).toMatchObject({ state: "blocked", summary: expect.stringMatching(/^KMS: .*(went down meanwhile|in an earlier boot)/) });
    expect(machine.file("XAPISIM/STATE.JSON")).toContain(before);
  });

  it("stops when slmgr does not rearm", async () => {
    const machine = windows({ kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 2 } });
    const order = buildOrder(request({ order: "finalize", kms: true }));
    // Rearmed by somebody else meanwhile: to slmgr it is done, and the restart is what it waits for.
    const [first] = order.facts;
    if (first === undefined) throw new Error("no fact");
    const spent = { ...first, command: 'cscript //nologo "%SystemRoot%\\System32\\slmgr.vbs" /rearm' };
    const quiet = { kind: "exitCode" as const, codes: [0, -1073425662] };
    machine.insert(await writePayload({ order: { ...order, facts: [{ ...spent, quiet }] } }));
    await machine.run();
    const payload = await readPayload(machine.payload());
    expect(payload.report).toMatchObject({ state: "blocked", blocked: ["kms"] });
    expect(judgeFinalize(order, payload).summary).toMatch(/^KMS: slmgr \/rearm ended with -1073425662/);
    expect(machine.file("XAPISIM/STATE.JSON")).toContain('"rearmCount": 1');
  });

  it("is refused at a rearm count of 0, before anything else", async () => {
    const verdict = await finalize(windows({ kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 0 } }), { kms: true });
    expect(verdict).toMatchObject({ state: "blocked", kms: { state: "failed", before: 0 }, attempts: 0 });
  });

  it("rearms nothing on another licence channel", async () => {
    const machine = windows({ kms: { channel: "RETAIL", rearmCount: 5 } });
    expect(await finalize(machine, { kms: true })).toMatchObject({ state: "ready", kms: { state: "notApplicable" } });
    expect(machine.file("XAPISIM/STATE.JSON")).toContain('"rearmCount": 5');
  });
});

describe("Office's rearm", () => {
  const office = (given: Partial<NonNullable<WindowsInput["office"]>> = {}): TestMachine => windows({ office: given });
  const left = (machine: TestMachine): unknown => JSON.parse(machine.file("XAPISIM/STATE.JSON") ?? "").office;

  it("is done once, just before Windows' own, and its licences are not looked at again", async () => {
    const machine = office();
    const verdict = await finalize(machine, { office: true, kms: true });
    expect(verdict).toMatchObject({ state: "ready", office: { state: "ready" }, kms: { state: "ready" } });
    expect(verdict.summary).toContain("Office: rearmed once (Office16 (64-bit), exit code 0: Microsoft Office rearm successful.)");
    // ospp.vbs would have set its grace timer going.
    expect(left(machine)).toEqual({ rearmCount: 4, frozen: true });
    const said = machine.lines.filter((line) => /rearming/.test(line));
    expect(said).toEqual([expect.stringContaining("rearming Office"), expect.stringContaining("rearming KMS")]);
  });

  it.each<[string, Partial<NonNullable<WindowsInput["office"]>>]>([
    ["32-bit Office 2013", { version: 15, bits: 32 }],
    ["Office 2010, which has its program elsewhere", { version: 14, bits: 32 }],
  ])("finds %s", async (_what, given) => {
    const machine = office(given);
    expect(await finalize(machine, { office: true })).toMatchObject({ state: "ready", office: { state: "ready" } });
    expect(left(machine)).toEqual({ rearmCount: 4, frozen: true });
  });

  it("that fails ends the finalize with a sentence, before Windows' own is spent", async () => {
    const machine = office({ rearmCount: 0 });
    const verdict = await finalize(machine, { office: true, kms: true });
    expect(verdict).toMatchObject({ state: "blocked", office: { state: "failed" }, kms: { state: "off" } });
    expect(verdict.summary).toMatch(/^Office: OSPPREARM.EXE of Office16 \(64-bit\) ended with -\d+: ERROR CODE: 0xC004D307/);
    expect(machine.file("XAPISIM/STATE.JSON")).toContain('"rearmCount": 1001');
  });

  it("is refused before anything else where other products would be reset with it", async () => {
    const licences = [
      { name: "Office16ProPlusVL_KMS_Client", channel: "VOLUME_KMSCLIENT" },
      { name: "Office16VisioProR_Retail", channel: "RETAIL" },
    ];
    const machine = office({ licences });
    const verdict = await finalize(machine, { office: true });
    expect(verdict).toMatchObject({ state: "blocked", attempts: 0, office: { state: "failed" } });
    expect(verdict.summary).toContain("has products of KMS and of others (RETAIL)");
    expect(left(machine)).toMatchObject({ rearmCount: 5 });
  });

  it("leaves other channels, a machine without Office, and one that nobody asked for as they are", async () => {
    const retail = office({ licences: [{ name: "Office16ProPlusR_Retail", channel: "RETAIL" }] });
    expect(await finalize(retail, { office: true })).toMatchObject({ state: "ready", office: { state: "notApplicable" } });
    expect(left(retail)).toMatchObject({ rearmCount: 5 });
    expect(await finalize(windows(), { office: true })).toMatchObject({ state: "ready", office: { state: "notApplicable" } });
    const unasked = office();
    const verdict = await finalize(unasked);
    expect(verdict.state).toBe("ready");
    expect(verdict.office).toBeUndefined();
    expect(left(unasked)).toEqual({ rearmCount: 5, frozen: false });
  });
});

describe("what the guest says and hears", () => {
  it("is never heard of without a bootstrap, and goes only when its domain goes", async () => {
    const machine = windows({ bootstrap: "none" });
    machine.insert(await writePayload({ order: buildOrder(request({ install: [] })) }));
    const power = machine.boot().catch((error: Error) => error.message);
    await machine.said("no bootstrap");
    expect(machine.payloadFile("xenlayer/out/boot.txt")).toBeUndefined();
    machine.cut();
    expect(await power).toBe("the domain is gone");
  });

  it("is silent without VM tools, and reports once an installer has brought them", async () => {
    const program = { match: "tools.exe", exitCode: 3010, pending: ["driver-reboot" as const], installsTools: { version: "9.4.0.146" } };
    const machine = windows({ programs: [program, { match: "next.exe" }] });
    const order = buildOrder(request({ install: [step("tools", "tools.exe"), step("next", "next.exe")] }));
    machine.insert(await writePayload({ order }));
    expect(await machine.boot()).toBe("reboot");
    expect([...machine.xenstore.keys()]).toEqual([]);
    expect(await machine.boot()).toBe("poweroff");
    expect(machine.xenstore.get("attr/PVAddons/MajorVersion")).toBe("9");
    expect(machine.xenstore.get("attr/PVAddons/BuildVersion")).toBe("146");
    expect(machine.xenstore.get("drivers/0")).toMatch(/^XenServer XENBUS 9\.1\.12\.\d+ $/);
    expect(machine.xenstore.get("data/os_name")).toBe("Microsoft Windows 11 Enterprise|C:\\Windows|\\Device\\Harddisk0\\Partition2");
    expect(machine.xenstore.get("vm-data/xenlayer/progress")).toMatch(new RegExp(`^${order.nonce} 2 \\d+ step 02 done$`));
  });

  it("obeys clean_shutdown with VM tools and ignores it without", async () => {
    const with_ = windows({ tools: { version: "9.4.0" } });
    const power = with_.boot();
    await with_.said("bootstrap: no payload disk");
    with_.request("reboot");
    expect(await power).toBe("reboot");
    const without = windows();
    const silent = without.boot().catch(() => "cut");
    await without.said("bootstrap: no payload disk");
    without.request("poweroff");
    without.cut();
    expect(await silent).toBe("cut");
  });

  it("takes the payload disk as cloudbase-init does: with meta-data and a user-data that calls it", async () => {
    const machine = windows({ bootstrap: "cloud-init" });
    expect((await carryOut(machine, { install: [step("x", "echo hello")] })).state).toBe("ready");
    const foreign = windows({ bootstrap: "cloud-init" });
    foreign.insert({ "meta-data": "instance-id: other\n", "user-data": "#cloud-config\n", "xenlayer/run.cmd": "" });
    foreign.boot().catch(() => {});
    await foreign.said("user-data does not run xenlayer/run.cmd");
  });

  it("hangs with a sentence in its log when the descriptor is malformed", async () => {
    const machine = new TestMachine('{ "guest": "windows", "bootstrap": "xenlayer", "bootSecond": 3 }');
    machine.boot().catch(() => {});
    await machine.said('is refused: (root): Unrecognized key: "bootSecond"');
  });

  it("starts from the same state after the power was cut, and remembers what was interrupted", async () => {
    const machine = windows({ ngen: { frameworks: ["Framework64/v4.0.30319"], queuedSeconds: 100_000 } });
    const power = machine.boot().catch(() => "cut");
    await machine.said("bootstrap: no payload disk");
    machine.cut();
    expect(await power).toBe("cut");
    machine.boot().catch(() => {});
    await machine.said("boot 2");
    const { output } = await typed(machine, "%windir%\\Microsoft.NET\\Framework64\\v4.0.30319\\ngen.exe display");
    expect(output).toContain("(StatusPending)");
    expect(output).toContain("(StatusError)");
  });
});

async function typed(machine: TestMachine, command: string): Promise<{ rc: number; output: string }> {
  if (machine.guest === undefined) throw new Error("nothing runs");
  return machine.guest.type(command);
}

describe("manual mode", () => {
  it("does nothing by itself; the person at the console installs, is told what blocks, restarts, and shuts down for finalize", async () => {
    const machine = windows({ programs: [{ match: "vda.exe", exitCode: 3010, pending: ["reboot"], output: "installed\n" }] });
    const order = buildOrder(request({ order: "finalize", mode: "manual" }));
    machine.insert(await writePayload({ order }));
    const first = machine.boot();
    await machine.said("run.cmd ended");
    expect(await typed(machine, "vda.exe /quiet")).toEqual({ rc: 3010, output: "installed\r\n" });
    const blocked = await typed(machine, "E:\\xenlayer\\finalize.cmd");
    expect(blocked.rc).toBe(1);
    expect(blocked.output).toContain("A post-installation reboot is pending - please check and reboot the Packaging Machine.");
    await typed(machine, "shutdown /r /t 0");
    expect(await first).toBe("reboot");
    const second = machine.boot();
    await machine.said("boot 2");
    await machine.said("run.cmd ended");
    await typed(machine, "E:\\xenlayer\\finalize.cmd");
    expect(await second).toBe("poweroff");
    const verdict = judgeFinalize(order, await readPayload(machine.payload()));
    expect(verdict).toMatchObject({ state: "ready", boots: 2 });
  });
});
