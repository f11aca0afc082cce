// The linux guest: real sh scripts in a real sandbox; what they write is read back from the FAT file systems.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildOrder, type OrderRequest } from "../../provider/guest/order.ts";
import { readPayload, writePayload } from "../../provider/guest/payload.ts";
import { judgeFinalize, judgePackage } from "../../provider/guest/verdict.ts";
import { realClock, virtualClock } from "../clock.ts";
import { FatVolume } from "../storage/fat.ts";
import type { DescriptorInput } from "./descriptor.ts";
import { sandboxProblem } from "./sandbox.ts";
import { TestMachine } from "./testing.ts";

const problem = sandboxProblem();
if (problem !== undefined) {
  if (process.env.CI === "true") throw new Error(`the linux guest can't be tested: ${problem}`);
  console.warn(`\nThe linux guest was NOT tested: ${problem}\n`);
}

beforeAll(() => FatVolume.ready());

afterEach(() => TestMachine.removeAll());

type LinuxInput = Extract<DescriptorInput, { guest: "linux" }>;

function linux(descriptor: Partial<LinuxInput> = {}, clock = virtualClock({ start: Date.UTC(2026, 10, 23, 8) })): TestMachine {
  return new TestMachine({ guest: "linux", bootstrap: "xenlayer", ...descriptor }, clock);
}

const scripts = (run: string): Record<string, string> => ({ "xenlayer/run.sh": run });

const request = (given: Partial<OrderRequest>): OrderRequest => ({ order: "package", os: "linux", layer: "tools", version: "1", ...given });

const step = (name: string, run: string, more = {}) => ({ name, run, shell: "sh" as const, ...more });

describe.skipIf(problem !== undefined)("a linux guest", () => {
  it("runs the script at each boot, and what it writes lands on the system disk at the restart", async () => {
    const machine = linux();
    machine.insert(
      scripts(`
mkdir -p /opt/tool /etc
if [ -e /opt/tool/first ]; then echo second boot; echo 2 >/opt/tool/second; rm /etc/removed; poweroff; exit 9; fi
echo 1 >/opt/tool/first; echo gone >/etc/removed; reboot; echo "never said"; echo late >/opt/tool/late`),
    );
    expect(await machine.boot()).toBe("reboot");
    expect(machine.file("opt/tool/first")).toBe("1\n");
    expect(machine.file("etc/removed")).toBe("gone\n");
    expect(await machine.boot()).toBe("poweroff");
    expect(machine.lines).toContain("second boot");
    expect(machine.lines.join("\n")).not.toContain("never said");
    expect(machine.file("opt/tool/second")).toBe("2\n");
    expect(machine.file("opt/tool/late")).toBeUndefined();
    expect(machine.file("etc/removed")).toBeUndefined();
  });

  it("has a boot id of its own at each boot", async () => {
    const machine = linux();
    machine.insert(scripts("cat /proc/sys/kernel/random/boot_id >>out.txt; hostname >>out.txt; poweroff"));
    await machine.boot();
    await machine.boot();
    const [first, name, second] = (machine.payloadFile("out.txt") ?? "").split("\n");
    expect(first).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(second).not.toBe(first);
    expect(name).toBe("PACKAGING");
  });

  it("can't touch the host: no file of it to write, no network, no kernel setting, no other process", async () => {
    const host = mkdtempSync(join(tmpdir(), "xapi-host-"));
    const secret = join(host, "secret");
    writeFileSync(secret, "host's own");
    const machine = linux();
    machine.insert(
      scripts(`
for path in ${secret} /usr/bin/sh-new /usr/lib/x /proc/sys/vm/swappiness /sbin/reboot /etc/../../../../${secret}; do
  if (echo broken >"$path") 2>/dev/null; then echo "wrote $path"; fi
done
cat ${secret} 2>/dev/null
ls /proc | grep -c '^[0-9]' >out.txt
ls /sys /home /var/lib/dpkg 2>/dev/null
cat /proc/net/dev | grep -v lo: | wc -l >>out.txt
ln -s ${secret} /stolen
ln -s ${secret} stolen
poweroff`),
    );
    await machine.boot();
    const [processes, interfaces] = (machine.payloadFile("out.txt") ?? "").split("\n").map(Number);
    expect(processes).toBeLessThan(12);
    // The two lines of its heading.
    expect(interfaces).toBe(2);
    expect(readFileSync(secret, "utf8")).toBe("host's own");
    expect(machine.lines.filter((line) => line.startsWith("wrote") || line.includes("host's own"))).toEqual([]);
    expect(machine.payloadFile("stolen")).toBeUndefined();
    expect(machine.file("stolen")).toBeUndefined();
    expect(machine.lines.join("\n")).toContain("/stolen does not reach the disk: it is neither a file nor a folder");
    rmSync(host, { recursive: true });
  });

  it("tells names that FAT can't hold", async () => {
    const machine = linux();
    machine.insert(scripts("mkdir -p /srv; echo a >'/srv/a:b'; echo b >/srv/Readme; echo c >/srv/README; poweroff"));
    await machine.boot();
    expect(machine.lines.join("\n")).toContain("/srv/a:b does not reach the disk: FAT can't hold this name");
    expect(machine.lines.join("\n")).toMatch(/\/srv\/(Readme|README) does not reach the disk: FAT does not tell upper from lower case/);
  });

  it("is killed with its domain, and what it had not synced is lost", async () => {
    const machine = linux({}, realClock({ speed: 1000 }));
    machine.insert(scripts("mkdir -p /data; echo kept >/data/kept; sync; echo lost >/data/lost; echo ready; while :; do :; done"));
    const power = machine.boot().catch((error: Error) => error.message);
    await machine.said("ready");
    machine.cut();
    expect(await power).toBe("the domain is gone");
    expect(machine.file("data/kept")).toBe("kept\n");
    expect(machine.file("data/lost")).toBeUndefined();
  });

  it("shows its progress on the payload volume while it runs, and in xenstore where VM tools are", async () => {
    const machine = linux({ tools: { version: "8.4.0" }, os: { name: "Debian GNU/Linux 12", major: 12, uname: "6.1.0" } });
    machine.insert(
      scripts(
        "mkdir -p xenlayer/out; echo 1 >xenlayer/out/boot.txt; xenstore-write vm-data/xenlayer/progress 'n 1 1 at work'; xenstore-read vm-data/xenlayer/progress; echo waiting; while :; do :; done",
      ),
    );
    const power = machine.boot();
    await machine.said("waiting");
    await machine.until(() => machine.xenstore.get("vm-data/xenlayer/progress") === "n 1 1 at work");
    expect(machine.payloadFile("xenlayer/out/boot.txt")).toBe("1\n");
    expect(machine.lines).toContain("n 1 1 at work");
    expect(machine.xenstore.get("attr/PVAddons/MajorVersion")).toBe("8");
    expect(machine.xenstore.get("data/os_name")).toBe("Debian GNU/Linux 12");
    machine.request("poweroff");
    expect(await power).toBe("poweroff");
  });

  it("sleeps in simulated time", async () => {
    const machine = linux();
    machine.insert(scripts("sleep 7200; sleep 0.5; echo slept; poweroff"));
    const before = machine.clock.now();
    await machine.boot();
    expect(machine.lines).toContain("slept");
    expect(machine.clock.now() - before).toBeGreaterThan(7_200_000);
  });

  it("answers a person at the console, who may shut it down too", async () => {
    const machine = linux({ bootstrap: "none" });
    const power = machine.boot();
    await machine.said("no bootstrap");
    expect(await machine.guest?.type("echo hello; echo x >/x; exit 3")).toEqual({ rc: 3, output: "hello\n" });
    await machine.guest?.type("shutdown -h now");
    expect(await power).toBe("poweroff");
    expect(machine.file("x")).toBe("x\n");
  });

  it("takes the payload disk as cloud-init does", async () => {
    const machine = linux({ bootstrap: "cloud-init" });
    machine.insert({
      "meta-data": "instance-id: i\n",
      "user-data": "#cloud-config\nruncmd: [sh /run/xenlayer-payload/xenlayer/run.sh]\n",
      ...scripts("echo ran; poweroff"),
    });
    await machine.boot();
    expect(machine.lines).toContain("ran");
    const foreign = linux({ bootstrap: "cloud-init" });
    foreign.insert({ "user-data": "#cloud-config\n", ...scripts("echo ran; poweroff") });
    foreign.boot().catch(() => {});
    await foreign.said("meta-data names no instance-id");
  });

  it("carries out the provider's own orders: steps with a restart, a secret, a failure, and a finalize", async () => {
    const machine = linux({ tools: { version: "8.4.0" } });
    const install = [
      step("first", 'mkdir -p /opt; cp "$XENLAYER_FILES/tool" /opt/tool; exit 194'),
      step("second", 'test -e /opt/tool || exit 5; printf "secret has %s characters" "$(printf %s "$TOKEN" | wc -c)"', {
        secretEnv: { TOKEN: "hunter2" },
      }),
    ];
    const order = buildOrder(request({ install }));
    machine.insert(
      await writePayload({
        order,
        secrets: { "02": { TOKEN: "hunter2" } },
        files: [{ name: "tool", data: new TextEncoder().encode("tool 1\n") }],
      }),
    );
    await machine.run();
    const packaged = judgePackage(order, await readPayload(machine.payload()));
    expect(packaged).toMatchObject({
      state: "ready",
      boots: 2,
      steps: [{ exitCode: 194 }, { exitCode: 0, logTail: "secret has 7 characters" }],
    });
    expect(machine.file("opt/tool")).toBe("tool 1\n");
    expect(machine.payloadFile("xenlayer/secret/02.sh")).toBeUndefined();
    expect(machine.xenstore.get("vm-data/xenlayer/progress")).toMatch(new RegExp(`^${order.nonce} 2 \\d+ power off$`));

    const last = buildOrder(request({ order: "finalize" }));
    machine.insert(await writePayload({ order: last }));
    await machine.run();
    expect(judgeFinalize(last, await readPayload(machine.payload()))).toMatchObject({ state: "ready", attempts: 1 });
  });

  it("leaves nothing running and nothing mounted", async () => {
    const machine = linux();
    machine.insert(scripts("sleep 100000 & (while :; do :; done) & poweroff"));
    expect(await machine.boot()).toBe("poweroff");
    expect(existsSync(join(machine.root, "work/root/opt"))).toBe(false);
    expect(readFileSync("/proc/mounts", "utf8")).not.toContain(machine.root);
  });
});

const busybox = existsSync("/usr/bin/busybox");
if (!busybox && process.env.CI === "true") throw new Error("busybox is missing: apt-get install busybox");

// An fcntl lock as dpkg takes one: flock(1) would neither make nor see it.
const holdLock = `perl -e 'use Fcntl; open(my $f, "+>", $ARGV[0]) or die; my $l = pack("s s l! l! i", F_WRLCK, 0, 0, 0, 0); fcntl($f, F_SETLK, $l) or die; open(my $held, ">", "/run/held"); close $held; sleep 600' `;

const userlands: ("host" | "busybox")[] = busybox ? ["host", "busybox"] : ["host"];
describe.skipIf(problem !== undefined).each(userlands)("a linux guest with the userland of %s", (userland) => {
  it("is told what blocks, restarts, and is ready when the restart has cleared /run and the lock is gone with its holder", async () => {
    const machine = linux({ userland });
    const order = buildOrder(request({ order: "finalize", mode: "manual" }));
    machine.insert(await writePayload({ order }));
    const typed = async (command: string) => (await machine.guest?.type(command)) ?? { rc: -1, output: "" };
    const first = machine.boot();
    await machine.said("run.sh ended");
    expect((await typed("exec readlink /proc/self/exe")).output.trim().split("/").at(-1)).toBe(
      userland === "busybox" ? "busybox" : "readlink",
    );
    await typed("touch /run/reboot-required; echo linux-image >/run/reboot-required.pkgs");
    const pending = await typed("sh xenlayer/finalize.sh");
    expect(pending.rc).toBe(1);
    expect(pending.output).toContain("A post-installation reboot is pending");
    const locked = await typed(
      `rm /run/reboot-required; mkdir -p /var/lib/dpkg; ${holdLock} /var/lib/dpkg/lock & while [ ! -e /run/held ]; do :; done; sh xenlayer/finalize.sh`,
    );
    expect(locked.rc).toBe(1);
    expect(locked.output).toContain("An MSI install operation is in progress");
    expect(machine.payloadFile("xenlayer/out/facts/b/package-locks.out")).toMatch(/^held \/var\/lib\/dpkg\/lock \d+ perl\nchecked\n$/);
    await typed("touch /run/reboot-required; reboot");
    expect(await first).toBe("reboot");
    const second = machine.boot();
    await machine.until(() => machine.lines.filter((line) => line.includes("run.sh ended")).length === 2);
    await typed("sh xenlayer/finalize.sh");
    expect(await second).toBe("poweroff");
    expect(judgeFinalize(order, await readPayload(machine.payload()))).toMatchObject({ state: "ready", boots: 2 });
  });
});
