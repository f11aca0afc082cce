// The generated sh scripts, executed for real under dash and, where it is installed, busybox. Only what would touch the machine is replaced:
// poweroff and reboot write down that they were called, sleep returns at once.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { factsOf } from "./checks.ts";
import { buildOrder, type Order, type OrderFact, type StepInput } from "./order.ts";
import { generateScripts, secretScript } from "./scripts.ts";

const has = (program: string): boolean => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
const shells = [["dash"], ...(has("busybox") ? [["busybox", "sh"]] : [])];
if (process.env.CI === "true" && shells.length < 2) throw new Error("busybox is missing: apt-get install busybox");

const folders: string[] = [];
afterEach(() => {
  // What a killed shell had started may still be writing.
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
});

class Machine {
  readonly root = mkdtempSync(join(tmpdir(), "xenlayer-sh-"));
  readonly bin = join(this.root, "bin");

  constructor(readonly shell: readonly string[]) {
    folders.push(this.root);
    mkdirSync(this.bin);
    for (const name of ["poweroff", "reboot"]) this.program(name, `echo ${name} >>"${this.root}/power"`);
    this.program("sleep", `echo "$1" >>"${this.root}/slept"`);
    // What runs a script here is what has to run the scripts that it starts.
    this.program(
      "sh",
      `exec ${shell
        .map((part) =>
          execFileSync("sh", ["-c", `command -v ${part} || echo ${part}`])
            .toString()
            .trim(),
        )
        .join(" ")} "$@"`,
    );
  }

  program(name: string, text: string): void {
    writeFileSync(join(this.bin, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(this.bin, name), 0o755);
  }

  /** A clock that is ahead by what `ahead` holds, in seconds: whoever writes there sets it. */
  settableClock(): string {
    const ahead = join(this.root, "ahead");
    writeFileSync(ahead, "0");
    const date = execFileSync("sh", ["-c", "command -v date"]).toString().trim();
    this.program("date", `exec ${date} -d "@$(($(${date} +%s) + $(cat ${ahead})))" "$@"`);
    return ahead;
  }

  insert(order: Order, secrets: Record<string, Record<string, string>> = {}): this {
    const scripts = [
      ...generateScripts(order),
      ...order.steps.flatMap((step) => (secrets[step.id] ? [secretScript(order, step, secrets[step.id] ?? {})] : [])),
    ];
    for (const { path, text } of [...scripts, { path: "reserve", text: "room" }]) this.write(path, text);
    return this;
  }

  write(path: string, text: string): void {
    const file = join(this.root, "xenlayer", path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  boot(script = "run.sh"): { status: number | null; output: string } {
    const run = spawnSync(this.shell[0] ?? "sh", [...this.shell.slice(1), `xenlayer/${script}`], {
      cwd: this.root,
      env: { PATH: `${this.bin}:${process.env.PATH}` },
      encoding: "utf8",
      timeout: 50_000,
    });
    return { status: run.status, output: run.stdout + run.stderr };
  }

  read(path: string): string | undefined {
    const file = join(this.root, path);
    return existsSync(file) ? readFileSync(file, "utf8") : undefined;
  }

  out(path: string): string | undefined {
    return this.read(`xenlayer/out/${path}`)?.trim();
  }

  report(): Record<string, string> {
    const lines = (this.out("report") ?? "").split("\n").map((line) => line.split(/=(.*)/s));
    return Object.fromEntries(lines.map(([key, content]) => [key, content]));
  }
}

const fast = { sampleGapSeconds: 15, pollSeconds: 2, flushSeconds: 15, msiWaitSeconds: 6, rebootMax: 2 };
const step = (run: string, more: Partial<StepInput> = {}): StepInput => ({ name: "A step", run, shell: "sh", ...more });

function packageOrder(install: StepInput[], facts: OrderFact[] = []): Order {
  return { ...buildOrder({ order: "package", os: "linux", layer: "plat", version: "1", install, limits: fast }), facts };
}

/** Facts that a test steers by files, in the forms that real ones have. */
const flag = (id: string, root: string, more: Partial<OrderFact> = {}): OrderFact => ({
  id,
  check: "pendingReboot",
  command: `if [ -e ${root}/${id} ]; then echo "there"; else echo none; fi`,
  quiet: { kind: "equals", text: "none" },
  fix: "reboot",
  ...more,
});

function finalizeOrder(facts: OrderFact[], more: Partial<Order> = {}): Order {
  const limits = { ...fast, msiWaitSeconds: 60 };
  return { ...buildOrder({ order: "finalize", os: "linux", layer: "plat", version: "1", limits }), facts, ...more };
}

describe.each(shells.map((shell) => [shell.join(" "), shell] as const))("under %s", (_name, shell) => {
  it("runs each step once, keeps what it printed, reports and powers off", () => {
    const machine = new Machine(shell);
    machine.insert(packageOrder([step("echo one; echo two >&2"), step(`echo x >>${machine.root}/second`)]));
    machine.boot();
    expect(machine.out("steps/01/log")).toBe("one\ntwo");
    expect([machine.out("steps/01/state"), machine.out("steps/01/rc"), machine.out("steps/02/state")]).toEqual(["done", "0", "done"]);
    expect(machine.report()).toMatchObject({ format: "1", order: "package", state: "done", boots: "1" });
    expect(machine.read("power")).toBe("poweroff\n");
    expect(machine.read("slept")).toBe("15\n");
    // Somebody starts the machine again to look at it: it is left alone.
    machine.boot();
    expect(machine.read("second")).toBe("x\n");
    expect(machine.read("power")).toBe("poweroff\n");
    expect(machine.out("boot.txt")?.split("\n")).toHaveLength(2);
  });

  it("stops at a step that ends with an unexpected code and names it", () => {
    const machine = new Machine(shell);
    machine.insert(packageOrder([step("exit 7"), step(`touch ${machine.root}/never`)]));
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "failed", step: "01" });
    expect([machine.out("steps/01/rc"), machine.out("steps/01/state")]).toEqual(["7", "failed"]);
    expect(machine.read("never")).toBeUndefined();
    expect(machine.read("power")).toBe("poweroff\n");
  });

  it("restarts after an exit code that asks for it and goes on with the next step", () => {
    const machine = new Machine(shell);
    machine.insert(packageOrder([step(`echo x >>${machine.root}/first; exit 194`), step("true")]));
    machine.boot();
    expect(machine.out("steps/01/state")).toBe("reboot");
    expect(machine.out("report")).toBeUndefined();
    expect(machine.read("power")).toBe("reboot\n");
    machine.boot();
    expect(machine.read("first")).toBe("x\n");
    expect([machine.out("steps/01/state"), machine.out("steps/02/state")]).toEqual(["done", "done"]);
    expect(machine.report()).toMatchObject({ state: "done", boots: "2" });
    expect(machine.read("power")).toBe("reboot\npoweroff\n");
  });

  it("runs a step again that the guest went down in, three times and no more", () => {
    const machine = new Machine(shell);
    machine.insert(packageOrder([step(`echo x >>${machine.root}/runs; kill -KILL "$(cat ${machine.root}/victim)"; kill -KILL $PPID`)]));
    machine.program("timeout", `case $* in *true*) exit 1 ;; esac; exit 1`);
    for (let boot = 1; boot <= 3; boot += 1) {
      // The shell that runs package.sh is what goes down with the guest.
      machine.write("../go.sh", `echo $$ >${machine.root}/victim\nexec ${shell.join(" ")} xenlayer/run.sh\n`);
      spawnSync("sh", [join(machine.root, "go.sh")], {
        cwd: machine.root,
        env: { PATH: `${machine.bin}:${process.env.PATH}` },
        timeout: 50_000,
      });
      expect(machine.out("steps/01/state")).toBe("running");
    }
    expect(machine.read("runs")).toBe("x\nx\nx\n");
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "failed", step: "01" });
    expect(machine.read("runs")).toBe("x\nx\nx\n");
  });

  it("hands values on as data, whatever they hold, and deletes secrets when their step has ended", () => {
    const machine = new Machine(shell);
    const hostile = `it's $(touch ${machine.root}/pwned) \`touch ${machine.root}/pwned\` "$HOME" \\ ; & | * \n second line`;
    const order = packageOrder([
      step(
        `printf %s "$PLAIN" >${machine.root}/plain; printf %s "$TOKEN" >${machine.root}/token; ls "$XENLAYER_HOME/secret" >${machine.root}/listing`,
        {
          name: "it's `touch x`; $(touch y)",
          env: { PLAIN: hostile },
          secretEnv: { TOKEN: `s${hostile}` },
        },
      ),
      step("env | grep -c -e ^TOKEN= -e ^PLAIN= || true"),
    ]);
    machine.insert(order, { "01": { TOKEN: `s${hostile}` } });
    machine.boot();
    expect(machine.read("plain")).toBe(hostile);
    expect(machine.read("token")).toBe(`s${hostile}`);
    expect(machine.read("listing")).toBe("01.sh\n");
    expect(machine.read("pwned")).toBeUndefined();
    expect(readdirSync(join(machine.root, "xenlayer/secret"))).toEqual([]);
    expect(machine.out("steps/02/log")).toBe("0");
  });

  it.each([
    ["with timeout(1)", undefined],
    ["without it", "exit 127"],
  ])("ends a step that takes too long, %s", (_how, replacement) => {
    const machine = new Machine(shell);
    rmSync(join(machine.bin, "sleep"));
    if (replacement !== undefined) machine.program("timeout", replacement);
    const order = packageOrder([step("echo begun; exec sleep 600", { timeoutMinutes: 1 / 60 })]);
    machine.insert({ ...order, wait: { pollSeconds: 1, flushSeconds: 0 } });
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "failed", step: "01" });
    expect([machine.out("steps/01/rc"), machine.out("steps/01/timeout"), machine.out("steps/01/log")?.split("\n")[0]]).toEqual([
      "124",
      "1",
      "begun",
    ]);
  });

  const YEARS = 5 * 365 * 86_400;
  it.each([
    ["over its time", "back", (ahead: string) => `echo -${YEARS} >${ahead}; exec sleep 600`, "1"],
    ["in its time", "forward", (ahead: string) => `echo ${YEARS} >${ahead}; exit 124`, undefined],
  ])("tells a step %s from others though its clock is set %s meanwhile", (_what, _where, run, timeout) => {
    const machine = new Machine(shell);
    const ahead = machine.settableClock();
    rmSync(join(machine.bin, "sleep"));
    const order = packageOrder([step(run(ahead), { timeoutMinutes: 1 / 60 })]);
    machine.insert({ ...order, wait: { pollSeconds: 1, flushSeconds: 0 } });
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "failed", step: "01" });
    expect([machine.out("steps/01/rc"), machine.out("steps/01/timeout")]).toEqual(["124", timeout]);
    expect(Number(machine.out("steps/01/seconds"))).toBeLessThan(50);
    expect(machine.out("steps/01/started")?.slice(0, 4)).not.toBe(machine.out("steps/01/finished")?.slice(0, 4));
  });

  it("takes the clock for the time of a step where the kernel does not tell how long it runs", () => {
    const machine = new Machine(shell);
    const ahead = machine.settableClock();
    machine.insert(packageOrder([step(`echo 33 >${ahead}`)]));
    machine.write("package.sh", machine.read("xenlayer/package.sh")?.replaceAll("/proc/uptime", "/nowhere/uptime") ?? "");
    expect(machine.boot().output).not.toContain("nowhere");
    expect(Number(machine.out("steps/01/seconds"))).toBeGreaterThanOrEqual(33);
  });

  it("does not restart or power off while an installer works, and leaves the machine running when it does not end", () => {
    const machine = new Machine(shell);
    const worker = flag("busy", machine.root, { worker: true, fix: "wait" });
    machine.insert(packageOrder([step(`touch ${machine.root}/busy`)], [worker]));
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "blocked", blocked: " busy" });
    expect(machine.read("power")).toBeUndefined();
    expect(machine.read("slept")).toBe("2\n2\n2\n");
  });

  it("takes two samples and a last one, with the gap between them, when all is quiet", () => {
    const machine = new Machine(shell);
    machine.insert(
      finalizeOrder([flag("reboot-wanted", machine.root), { ...flag("not-here", machine.root), requires: "/nowhere/at/all" }]),
    );
    machine.boot();
    expect(machine.report()).toMatchObject({ order: "finalize", state: "ready", attempt: "1", round: "c" });
    for (const round of ["a", "b", "c"]) {
      expect([machine.out(`facts/${round}/reboot-wanted.out`), machine.out(`facts/${round}/reboot-wanted.rc`)]).toEqual(["none", "0"]);
      expect(machine.out(`facts/${round}/not-here.rc`)).toBe("absent");
    }
    expect(machine.read("slept")).toBe("15\n15\n");
    expect(machine.read("power")).toBe("poweroff\n");
    expect(machine.read("xenlayer/reserve")).toBeUndefined();
  });

  it("mends what a restart mends and then finds the guest ready", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "reboot-wanted"), "");
    machine.insert(finalizeOrder([flag("reboot-wanted", machine.root)]));
    machine.boot();
    expect(machine.read("power")).toBe("reboot\n");
    expect(machine.out("report")).toBeUndefined();
    rmSync(join(machine.root, "reboot-wanted"));
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "ready", attempt: "2", boots: "2" });
    expect(machine.out("fixes.txt")).toBe("1 reboot rc=0");
    expect(machine.out("facts/1-a/reboot-wanted.out")).toBe("there");
    expect(machine.out("facts/a/reboot-wanted.out")).toBe("none");
  });

  it("restarts no more often than the order allows, then says what blocks", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "reboot-wanted"), "");
    machine.insert(finalizeOrder([flag("reboot-wanted", machine.root)]));
    machine.boot();
    machine.boot();
    const last = machine.boot();
    expect(machine.read("power")).toBe("reboot\nreboot\npoweroff\n");
    expect(machine.report()).toMatchObject({ state: "blocked", blocked: " reboot-wanted", boots: "3" });
    expect(last.output).toContain("A post-installation reboot is pending - please check and reboot the Packaging Machine.");
  });

  it("never restarts for what policy only blocks on, and gates on nothing that it accepts", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "wanted"), "");
    writeFileSync(join(machine.root, "noise"), "");
    machine.insert(finalizeOrder([flag("wanted", machine.root, { fix: "none" }), flag("noise", machine.root)], { accept: ["noise"] }));
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "blocked", blocked: " wanted" });
    expect(machine.read("power")).toBe("poweroff\n");
    expect(machine.out("facts/b/noise.out")).toBe("there");
  });

  it("waits for work that ends by itself, and starts over with two quiet samples", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "work"), "");
    // The worker is done by the time of the first wait.
    machine.program("sleep", `echo "$1" >>"${machine.root}/slept"; [ "$1" = 2 ] && rm -f "${machine.root}/work"; true`);
    machine.insert(finalizeOrder([flag("work", machine.root, { fix: "wait" })]));
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "ready", attempt: "2", boots: "1" });
  });

  it("waits as long as it should and finds the guest ready though its clock is set at every wait and at every restart", () => {
    const machine = new Machine(shell);
    const ahead = machine.settableClock();
    for (const fact of ["work", "wanted"]) writeFileSync(join(machine.root, fact), "");
    const jump = (seconds: number) => `echo $(($(cat ${ahead}) + ${seconds})) >${ahead}`;
    machine.program("sleep", `echo "$1" >>"${machine.root}/slept"; ${jump(-YEARS)}; [ "$1" = 2 ] && rm -f "${machine.root}/work"; true`);
    machine.program("reboot", `echo reboot >>"${machine.root}/power"; rm -f "${machine.root}/wanted"; ${jump(3 * YEARS)}`);
    machine.insert(finalizeOrder([flag("work", machine.root, { fix: "wait" }), flag("wanted", machine.root)]));
    machine.boot();
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "ready", attempt: "3", boots: "2" });
    expect(machine.read("power")).toBe("reboot\npoweroff\n");
    expect(machine.read("slept")).toBe("15\n2\n15\n1\n15\n15\n");
  });

  it("is not content with one quiet sample", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "work"), "");
    machine.program("sleep", `echo "$1" >>"${machine.root}/slept"; [ "$1" = 15 ] && rm -f "${machine.root}/work"; true`);
    machine.insert(finalizeOrder([flag("work", machine.root, { fix: "none" })]));
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "ready", attempt: "2" });
    expect(machine.out("facts/1-b/work.out")).toBe("none");
  });

  it.each([
    ["a program that is missing", "exit 127", {}],
    [
      "a plug-in that is missing, with the exit code of a restart",
      "echo No such command; exit 1",
      { found: { codes: [1], text: "eboot" } },
    ],
  ])("does not restart for %s, and looks again", (_what, command, more) => {
    const machine = new Machine(shell);
    machine.insert(finalizeOrder([flag("asked", machine.root, { command, ...more })]));
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "blocked", blocked: " asked", attempt: "3" });
    expect(machine.read("power")).toBe("poweroff\n");
  });

  it("restarts for what a plug-in finds, by its own exit code", () => {
    const machine = new Machine(shell);
    machine.insert(finalizeOrder([flag("asked", machine.root, { command: "echo Reboot; exit 1", found: { codes: [1], text: "eboot" } })]));
    machine.boot();
    expect(machine.read("power")).toBe("reboot\n");
  });

  it("gives up waiting after its limit", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "work"), "");
    machine.insert(finalizeOrder([flag("work", machine.root, { fix: "wait" })]));
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "blocked", blocked: " work", attempt: "4" });
  });

  it("waits no longer in all its boots together, nor once more before it leaves the machine running", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "wanted"), "");
    machine.program("reboot", `rm -f "${machine.root}/wanted"; : >"${machine.root}/work"`);
    machine.insert(finalizeOrder([flag("work", machine.root, { fix: "wait", worker: true }), flag("wanted", machine.root)]));
    machine.boot();
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "blocked", blocked: " work", attempt: "4", boots: "2" });
    expect(machine.read("slept")).toBe("15\n1\n15\n2\n15\n2\n15\n");
    expect(machine.read("power")).toBeUndefined();
  });

  it("does not ask what would disturb a worker, and does not take the silence for rest", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "work"), "");
    machine.insert(
      finalizeOrder([flag("work", machine.root, { fix: "none" }), flag("queue", machine.root, { fix: "none", after: "work" })]),
    );
    machine.boot();
    expect(machine.report()).toMatchObject({ state: "blocked", blocked: " work queue" });
    expect(machine.out("facts/b/queue.rc")).toBeUndefined();
  });

  it("reads a program that says nothing, fails or is missing as not quiet", () => {
    const machine = new Machine(shell);
    const facts: OrderFact[] = [
      { ...flag("silent", machine.root), command: "true", fix: "none" },
      { ...flag("failing", machine.root), command: "echo none; exit 3", fix: "none" },
      { ...flag("missing", machine.root), command: "no-such-program", fix: "none" },
      {
        ...flag("unproved", machine.root),
        command: "echo anything",
        quiet: { kind: "textAbsent", text: ["worker"], present: ["proof"] },
        fix: "none",
      },
      {
        ...flag("present", machine.root),
        command: "echo 'Proof WORKER'",
        quiet: { kind: "textAbsent", text: ["worker"], present: ["proof"], anyCase: true },
        fix: "none",
      },
      {
        ...flag("fine", machine.root),
        command: "echo 'Proof'; exit 1",
        quiet: { kind: "exitCode", codes: [0, 1], present: ["Proof"] },
        fix: "none",
      },
    ];
    machine.insert(finalizeOrder(facts));
    machine.boot();
    expect(machine.report().blocked).toBe(" silent failing missing unproved present");
    expect(machine.out("facts/b/missing.rc")).toBe("127");
  });

  it("by hand: does nothing at boot; says what blocks and leaves the machine on; powers off when ready", () => {
    const machine = new Machine(shell);
    writeFileSync(join(machine.root, "wanted"), "");
    machine.insert(finalizeOrder([flag("wanted", machine.root)], { mode: "manual", order: "package" }));
    machine.boot();
    expect(machine.out("report")).toBeUndefined();
    const first = machine.boot("finalize.sh");
    expect(first.status).toBe(1);
    expect(first.output).toContain("A post-installation reboot is pending");
    expect(machine.read("power")).toBeUndefined();
    rmSync(join(machine.root, "wanted"));
    machine.boot("finalize.sh");
    expect(machine.report()).toMatchObject({ order: "finalize", state: "ready", boots: "1", attempt: "2" });
    expect(machine.read("power")).toBe("poweroff\n");
  });

  it("says how far it is to the hypervisor when the guest's tools are there", () => {
    const machine = new Machine(shell);
    machine.program("xenstore-write", `echo "$@" >>"${machine.root}/xenstore"`);
    const order = packageOrder([step("true")]);
    machine.insert(order).boot();
    expect(machine.read("xenstore")?.split("\n")[0]).toBe(`vm-data/xenlayer/progress ${order.nonce} 1 1 step 01 running`);
  });

  it.each(factsOf("linux").map(({ fact }) => [fact.id, fact] as const))(
    "gets an answer from the real command of %s that its parser knows",
    (_id, fact) => {
      const run = spawnSync(shell[0] ?? "sh", [...shell.slice(1), "-c", fact.command], {
        encoding: "utf8",
        env: { PATH: process.env.PATH, LC_ALL: "C" },
      });
      const reading = fact.parse({ out: run.stdout, err: run.stderr, rc: run.status ?? -1 });
      const applies = fact.requires === undefined || existsSync(fact.requires);
      expect(reading.kind === "error", JSON.stringify(reading)).toBe(!applies);
    },
  );
});

it("sees a package manager's lock as fcntl holds it, and only while it is held", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "xenlayer-lock-")), "lock");
  folders.push(dirname(file));
  writeFileSync(file, "");
  const fact = factsOf("linux").find((entry) => entry.fact.id === "package-locks")?.fact;
  const command =
    fact?.command
      .replaceAll("/var/lib/dpkg/lock-frontend", file)
      .replace(/ \/(var|usr)\/lib\/[^ ;]+/g, "")
      .replace(" /var/cache/apt/archives/lock", "") ?? "";
  const ask = () => fact?.parse({ out: execFileSync("dash", ["-c", command], { encoding: "utf8" }), err: "", rc: 0 });
  expect(ask()).toEqual({ kind: "absent" });
  const program =
    'use Fcntl; open(my $f, "+<", $ARGV[0]) or die; my $l = pack("s s l! l! i", F_WRLCK, 0, 0, 0, 0); fcntl($f, F_SETLK, $l) or die; $| = 1; print "held\\n"; <STDIN>;';
  const holder = spawn("perl", ["-e", program, file]);
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  expect(ask()).toEqual({ kind: "value", value: [`${file} ${holder.pid} perl`] });
  const ended = new Promise((resolve) => holder.once("close", resolve));
  holder.stdin.end();
  await ended;
  expect(ask()).toEqual({ kind: "absent" });
});
