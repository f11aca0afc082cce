// Guests that misbehave on a pool: each ends in an error that names the machine's version and what was last seen, the machine is kept, and the next `up` goes on.
import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FatVolume } from "../simulator/storage/fat.ts";
import { explain } from "./errors.ts";
import { getVersionReport } from "./functions.ts";
import { survey } from "./layer/survey.ts";
import type { ConnectorCredentials } from "./resource.ts";
import { connectFor } from "./session.ts";
import { changes, halfMade, killedAt, type OpenStage, openStage, Story, type StoryLayer, windowsGuest, withStage } from "./testing.ts";

let stage: OpenStage;
let story: Story;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage, windowsGuest);
});
afterAll(() => stage?.close());

/** Misbehaves the first time only: what it needed has been mended when the next `up` runs the step again. */
const once = (...lines: string[]): string => ["if exist C:\\once.txt exit /b 0", "echo 1 >C:\\once.txt", ...lines].join("\n");
const HOME = "%XENLAYER_HOME%";

it.each<[string, string, RegExp]>([
  [
    "powers off early",
    once("shutdown /s /t 0", "ping -n 60 127.0.0.1 >nul"),
    /the guest booted 1 time\(s\) and powered off without a report; step "bad" was under way/,
  ],
  ["forgets its boots", once(`echo 7 9-9 >"${HOME}\\out\\boot.txt"`), /the report is of an earlier one/],
  [
    "writes another order and another boot",
    once(`echo {} >"${HOME}\\order.json"`, `del "${HOME}\\out\\boot.txt"`),
    /there is a report, but no boot was noted/,
  ],
  [
    "fills the payload disk",
    once(`for /l %%i in (1,1,60) do copy "%XENLAYER_FILES%\\a.bin" "${HOME}\\out\\steps\\%%i.bin"`, "exit /b 7"),
    /step "bad" (ended with exit code 7|has no exit code \(was the payload disk full\?\))|powered off without a report/,
  ],
])("one that %s", async (what, run, says) => {
  const layer = await story.layer(`one that ${what}`);
  const disk = await layer.disk("1");
  const install = [
    { name: "bad", run, shell: "cmd" },
    { name: "good", run: "agent.exe", shell: "cmd" },
  ];
  const files = what.startsWith("fills") ? { files: { "a.bin": await stage.image({ guest: "windows", bootstrap: "none" }, 8) } } : {};
  const error = (await layer.machine(disk, { machine: { install, ...files } }).catch((failure: unknown) => failure)) as Error;
  expect(error.message).toMatch(/^version 1 is not packaged: /);
  expect(error.message).toMatch(says);
  expect(error.message).toMatch(/Hint: machine "one that .* is kept, halted/);
  const half = halfMade(error);
  const machine = (await stage.up(half, half.inputs)).made;
  expect(machine.outputs).toMatchObject({
    ready: true,
    steps: [
      { name: "bad", exitCode: 0 },
      { name: "good", exitCode: 0 },
    ],
  });
  await layer.drop({ disk, machine });
  await stage.destroy(layer.made);
});

it("one that restarts for ever is given up after three times, and the machine is kept", async () => {
  const layer = await story.layer("restless");
  const disk = await layer.disk("1");
  const restless = { name: "restless", run: "shutdown /r /t 0\nping -n 600 127.0.0.1 >nul", shell: "cmd" };
  const error = (await layer.machine(disk, { machine: { install: [restless] } }).catch((failure: unknown) => failure)) as Error;
  expect(error.message).toMatch(/the guest went down 3 times while step "restless" ran/);
  await layer.drop({ disk, machine: halfMade(error) });
  await stage.destroy(layer.made);
});

it("one whose payload disk somebody has taken away is prepared anew", async () => {
  const before = stage.pool();
  const layer = await story.layer("diskless");
  const disk = await layer.disk("1");
  const install = [{ name: "bad", run: once("exit /b 7"), shell: "cmd" }];
  const half = halfMade(await layer.machine(disk, { machine: { install } }).catch((failure: unknown) => failure));
  await deletePayload(layer);
  expect(await killedAt(stage, { message: /VDI\.create$/, after: true }, () => stage.up(half, half.inputs))).toBe(true);
  const { made } = await stage.up(half, half.inputs);
  expect(made.outputs).toMatchObject({ ready: true, steps: [{ name: "bad", exitCode: 0 }] });
  await layer.drop({ disk, machine: made });
  await stage.destroy(layer.made);
  expect(changes(before, stage.pool())).toEqual([]);
});

/** As a person does it: detached, then deleted. */
async function deletePayload(layer: StoryLayer): Promise<void> {
  const { xapi } = await layer.record();
  const [payload] = await xapi.find("VDI", { name_label: `${layer.made.outputs.name} 1 evidence` });
  for (const vbd of payload?.VBDs ?? []) await xapi.destroy("VBD", vbd);
  await xapi.destroy("VDI", payload?.$ref ?? "");
}

it("one whose payload disk is taken away before the seal gets another of the size that it needs, and keeps it", async () => {
  const before = stage.pool();
  const layer = await story.layer("replaced");
  const disk = await layer.disk("1");
  const machine = await layer.machine(disk);
  const { xapi } = await layer.record();
  // Somebody's copy stays what it is: somebody's.
  const [payload] = await xapi.find("VDI", { name_label: "replaced 1 evidence" });
  const copy = await xapi.call<string>("VDI.clone", payload?.$ref);
  await xapi.call("VDI.set_name_label", copy, "a copy");
  await deletePayload(layer);
  // The run that makes the other dies before it is recorded; so it does when it was sent its order.
  expect(await killedAt(stage, { message: /VDI\.create$/, after: true }, () => layer.seal(disk, "1"))).toBe(true);
  const sent = { message: Object.assign(/(?:)/, { test: afterTransfer(/VDI\.add_to_other_config$/) }) };
  expect(await killedAt(stage, sent, () => layer.seal(disk, "1"))).toBe(true);
  const seal = await layer.seal(disk, "1");
  const evidence = stage.sim.db.all("VDI").filter(([, { name_label }]) => name_label === "replaced 1 evidence");
  expect(evidence.map(([, { uuid, virtual_size }]) => [uuid, virtual_size])).toEqual([
    [(await layer.entry("1")).sealed?.evidence, 32 * 2 ** 20],
  ]);
  await layer.drop({ disk, machine, seal });
  await stage.destroy(layer.made);
  await (await connectFor(stage.front, story.connector as unknown as ConnectorCredentials)).call("VDI.destroy", copy);
  expect(changes(before, stage.pool())).toEqual([]);
});

it("one whose payload disk was taken away leaves none where the run that makes another dies, and all is destroyed", async () => {
  const before = stage.pool();
  const layer = await story.layer("given up");
  const disk = await layer.disk("1");
  const machine = await layer.machine(disk);
  await deletePayload(layer);
  expect(await killedAt(stage, { message: /VDI\.create$/, after: true }, () => layer.seal(disk, "1"))).toBe(true);
  const { xapi } = await layer.record();
  expect((await survey(xapi)).filter(({ fate }) => fate === "in doubt" || fate === "left behind")).toEqual([]);
  await layer.drop({ disk, machine });
  await stage.destroy(layer.made);
  expect(changes(before, stage.pool())).toEqual([]);
});

it("what its steps have printed is kept, however much, and when the run dies that sends the finalize order", async () => {
  const layer = await story.layer("wordy");
  const disk = await layer.disk("1");
  const machine = await layer.machine(disk, { machine: { install: [{ name: "says", run: "echo hello\nagent.exe", shell: "cmd" }] } });
  const payload = stage.sim.db.all("VDI").find(([, { name_label }]) => name_label === "wordy 1 evidence")?.[1].uuid ?? "";
  const volume = FatVolume.open(stage.sim.disk(payload));
  for (let id = 2; id < 80; id++) volume?.writeFile(`xenlayer/out/steps/${String(id).padStart(2, "0")}/log`, '"\n'.repeat(32_768));
  volume?.close();
  const sent = { message: Object.assign(/(?:)/, { test: afterTransfer(/VDI\.add_to_other_config$/) }) };
  expect(await killedAt(stage, sent, () => layer.seal(disk, "1"))).toBe(true);
  const seal = await layer.seal(disk, "1");
  const { connector } = story;
  const { report } = await getVersionReport(stage.front, { connector, versionId: String(seal.outputs.versionId) });
  expect(report.steps[0]).toMatchObject({ name: "says", exitCode: 0, log: expect.stringContaining("hello") });
  expect(report.steps).toHaveLength(79);
  await layer.drop({ disk, machine, seal });
  await stage.destroy(layer.made);
});

/** Calls of this name, once something has been sent to a disk. */
function afterTransfer(call: RegExp): (name: string) => boolean {
  let sent = false;
  return (name) => {
    sent ||= name.startsWith("PUT ");
    return sent && call.test(name);
  };
}

it("one that loses its payload disk while it works, and is shut down then, says so; the next up prepares another", async () => {
  const layer = await story.layer("bereft");
  const disk = await layer.disk("1");
  const install = [{ name: "waits", run: once("never.exe"), shell: "cmd" }];
  const working = layer.machine(disk, { machine: { install } }).catch((failure: unknown) => failure);
  const begun = (): boolean => FatVolume.open(stage.sim.disk(String(disk.outputs.vdiUuid)))?.exists("once.txt") === true;
  while (!begun()) await new Promise((resolve) => setImmediate(resolve));
  const { xapi } = await layer.record();
  const [vm] = (await xapi.all("VM")).filter(({ name_label }) => name_label.startsWith("bereft 1 packaging"));
  const [payload] = await xapi.find("VDI", { name_label: "bereft 1 evidence" });
  for (const vbd of payload?.VBDs ?? []) {
    await xapi.call("VBD.unplug", vbd);
    await xapi.destroy("VBD", vbd);
  }
  await xapi.destroy("VDI", payload?.$ref ?? "");
  await xapi.task("VM.hard_shutdown", [vm?.$ref]);
  const error = await working;
  expect(explain(error)).toMatch(
    /^the payload disk of packaging machine "bereft 1 packaging \w+" is gone, and with it what the guest has reported\. Hint: run `pulumi up` again/,
  );
  const half = halfMade(error);
  const { made } = await stage.up(half, half.inputs);
  expect(made.outputs).toMatchObject({ ready: true, steps: [{ name: "waits", exitCode: 0 }] });
  await layer.drop({ disk, machine: made });
  await stage.destroy(layer.made);
});

it.each([
  ["the steps are done", "not packaged"],
  ["it was finalized", "not ready to be finalized"],
])("one that has scribbled over its payload disk when %s proves nothing, and does it again", async (when, says) => {
  const layer = await story.layer(`scribbler when ${when}`);
  const disk = await layer.disk("1");
  const scribble = (): void => {
    const [, payload] = stage.sim.db.all("VDI").find(([, { name_label }]) => name_label === `${layer.made.outputs.name} 1 evidence`) ?? [];
    stage.sim.disk(payload?.uuid ?? "").write(0, new Uint8Array(1 << 20).fill(0xa5));
  };
  const scribbling = async (work: () => Promise<unknown>): Promise<Error> => {
    // As it reads the disk of the machine that has powered off; of a finalize, the second time (the first is for what the steps have printed).
    const after = when === "it was finalized" ? 1 : 0;
    stage.sim.fault({ message: /^GET .*export_raw_vdi/, after, happens: scribble });
    const error = await work().then(
      () => new Error("it went well"),
      (failure: Error) => failure,
    );
    stage.sim.clearFaults();
    return error;
  };
  let machine: Awaited<ReturnType<typeof layer.machine>>;
  let error: Error;
  if (says === "not packaged") {
    error = await scribbling(() => layer.machine(disk));
    const half = halfMade(error);
    machine = (await stage.up(half, half.inputs)).made;
  } else {
    machine = await layer.machine(disk);
    error = await scribbling(() => layer.seal(disk, "1"));
  }
  expect(explain(error)).toMatch(new RegExp(`^version 1 is ${says}: the check never ran: .*the payload disk can't be read`));
  expect(explain(error)).toMatch(/Hint: machine "scribbler when .* is kept, halted/);
  const seal = await layer.seal(disk, "1");
  expect(seal.outputs.report).toMatchObject({ state: "ready" });
  await layer.drop({ disk, machine, seal });
  await stage.destroy(layer.made);
});

it("a guest's text is shown as text: no control characters, no end", async () => {
  const layer = await story.layer("loud");
  const disk = await layer.disk("1");
  const red = String.fromCharCode(27);
  const loud = { name: "loud", run: `for /l %%i in (1,1,300) do echo ${red}[31mred %%i ${"x".repeat(500)}\nexit /b 9`, shell: "cmd" };
  const error = (await layer.machine(disk, { machine: { install: [loud] } }).catch((failure: unknown) => failure)) as Error;
  expect(error.message).toContain("red 300");
  expect(error.message).not.toContain(red);
  expect(error.message.length).toBeLessThan(6000);
  await layer.drop({ disk, machine: halfMade(error) });
  await stage.destroy(layer.made);
});

it("a guest whose clock is set by years, with a restart between, is sealed as if nothing had been", async () => {
  const layer = await story.layer("other years");
  const install = ["date 01-01-2001\nexit /b 3010", "date 01-01-2099\ntime 23:59:59\nagent.exe", "date 01-01-1999"];
  const made = await layer.version("1", { machine: { install: install.map((run, at) => ({ name: `${at}`, run, shell: "cmd" })) } });
  const steps = made.machine.outputs.steps as { exitCode: number; seconds: number }[];
  expect(steps.map(({ exitCode, seconds }) => [exitCode, seconds >= 0 && seconds < 600])).toEqual([
    [3010, true],
    [0, true],
    [0, true],
  ]);
  expect(made.seal.outputs.sealedAt).toBeDefined();
  await layer.drop(made);
  await stage.destroy(layer.made);
});

it("one that restarts for ever while it is finalized is left running when the time is over, with what was last seen; mended, it is sealed", async () => {
  await withStage(async (linux) => {
    const guest = await Story.begin(linux, {
      guest: "linux",
      bootstrap: "xenlayer",
      bootSeconds: 1,
      shutdownSeconds: 1,
      tools: { version: "9.4.0" },
    });
    const layer = await guest.layer("loop");
    const disk = await layer.disk("1");
    const wants = "/etc/systemd/system/multi-user.target.wants";
    const run = `mkdir -p ${wants}\necho 'ExecStart=sleep 5; [ ! -e ${wants}/loop.service ] || reboot' >${wants}/loop.service`;
    const machine = await layer.machine(disk, { machine: { install: [{ name: "loop", run, shell: "sh" }] } });
    const error = (await layer
      .seal(disk, "1", { seal: { timeouts: { finalizeMinutes: 0.05 } } })
      .catch((failure: unknown) => failure)) as Error;
    expect(error.message).toMatch(
      /^gave up waiting for "loop 1 packaging \w+" to be ready for finalizing after \d+ s; last seen: .+; machine "loop 1 packaging \w+" is left running/,
    );
    rmSync(dirname(/pictured in (.+?\.(?:png|jpg))\)/.exec(error.message)?.[1] ?? "/nowhere/x"), { recursive: true, force: true });
    const [, vm] = linux.sim.db.all("VM").find(([, { name_label }]) => name_label.startsWith("loop 1 packaging")) ?? [];
    expect(vm?.power_state).toBe("Running");
    // Whoever looks at its console, some restarts later.
    const starts = (): number => linux.sim.guestLog.filter(({ line }) => line.startsWith("Linux started")).length;
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    for (const enough = starts() + 2; starts() < enough; ) await turn();
    const mended = () =>
      linux.sim
        .console(vm?.uuid ?? "")
        .type(`rm ${wants}/loop.service`)
        .then(
          ({ rc }) => rc === 0,
          () => false,
        );
    while (!(await mended())) await turn();
    const seal = await layer.seal(disk, "1");
    expect(seal.outputs.report).toMatchObject({ state: "ready" });
    expect(Number((seal.outputs.report as { boots: number }).boots)).toBeGreaterThan(1);
    await layer.drop({ disk, machine, seal });
    await guest.end(layer);
  });
});

it("one that was never heard is not, whatever its template or an earlier start has left in xenstore", async () => {
  await withStage(async (own) => {
    const silent = await Story.begin(own, { guest: "windows", bootstrap: "none" });
    const layer = await silent.layer("cloned");
    const disk = await layer.disk("1");
    const { xapi } = await layer.record();
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    for (const [key, text] of [
      ["progress", `${"f".repeat(32)} 1 9 ready`],
      ["order", "x".repeat(2000)],
    ])
      await xapi.call("VM.add_to_xenstore_data", template?.$ref ?? "", `vm-data/xenlayer/${key}`, text);
    const error = (await layer
      .machine(disk, { machine: { timeouts: { bootMinutes: 0.002 } } })
      .catch((failure: unknown) => failure)) as Error;
    expect(error.message).toMatch(/^nothing was heard from the bootstrap in packaging machine "cloned 1 packaging \w+"/);
    rmSync(dirname(/pictured in (.+?\.(?:png|jpg))\)/.exec(error.message)?.[1] ?? "/nowhere/x"), { recursive: true, force: true });
    expect(own.told.join("\n")).not.toMatch(/all samples are quiet|at work/);
    await layer.drop({ disk, machine: halfMade(error) });
    await silent.end(layer);
  });
});

// The stamps are all of the guest's clock that counts anywhere: the guest has them as if its clock had been set while the step ran.
it("a guest that changes its clock is sealed by what it said, and no step took a year or less than nothing", async () => {
  await withStage(async (linux) => {
    const guest = await Story.begin(linux, { guest: "linux", bootstrap: "xenlayer", bootSeconds: 5, shutdownSeconds: 2 });
    const layer = await guest.layer("clock");
    const stamped = (name: string, id: string, year: number) => ({
      name,
      run: `echo ${year}-01-01T00:00:00Z >"$XENLAYER_HOME/out/steps/${id}/started"`,
      shell: "sh",
    });
    const install = [stamped("forward", "01", 1999), stamped("back", "02", 2999), { name: "plain", run: "true", shell: "sh" }];
    const made = await layer.version("1", { machine: { install } });
    expect(made.machine.outputs).toMatchObject({ ready: true });
    const { connector } = guest;
    const { report } = await getVersionReport(linux.front, { connector, versionId: String(made.seal.outputs.versionId) });
    const { steps, times } = report;
    expect(steps.map(({ name, seconds = Number.NaN }) => [name, seconds >= 0 && seconds < 600])).toEqual([
      ["forward", true],
      ["back", true],
      ["plain", true],
    ]);
    expect(times.packagingSeconds).toBeLessThan(86_400);
    expect(times.finalizingSeconds).toBeGreaterThanOrEqual(0);
  });
});
