// Guests that misbehave on a pool: each ends in an error that names the machine's version and what was last seen, the machine is kept, and the next `up` goes on.
import { afterAll, beforeAll, expect, it } from "vitest";
import { getVersionReport } from "./functions.ts";
import { halfMade, type OpenStage, openStage, Story, windowsGuest, withStage } from "./testing.ts";

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
  const layer = await story.layer("diskless");
  const disk = await layer.disk("1");
  const install = [{ name: "bad", run: once("exit /b 7"), shell: "cmd" }];
  const half = halfMade(await layer.machine(disk, { machine: { install } }).catch((failure: unknown) => failure));
  const { xapi } = await layer.record();
  const [payload] = await xapi.find("VDI", { name_label: "diskless 1 evidence" });
  for (const vbd of payload?.VBDs ?? []) await xapi.destroy("VBD", vbd);
  await xapi.destroy("VDI", payload?.$ref ?? "");
  const { made } = await stage.up(half, half.inputs);
  expect(made.outputs).toMatchObject({ ready: true, steps: [{ name: "bad", exitCode: 0 }] });
  await layer.drop({ disk, machine: made });
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
