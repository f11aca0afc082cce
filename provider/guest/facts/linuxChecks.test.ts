// The checks of a Linux guest beside its package manager (facts.test.ts). Most of their commands are run for real in sh.test.ts; the answers here are in the form of
// the programs' own documentation (systemctl, cloud-init status, zypper), none captured on a real machine.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { factsOf } from "../checks.ts";
import { said } from "../testing.ts";
import { testRows } from "./testing.ts";

testRows("linux", {
  pendingReboot: [
    ["the newest kernel runs", {}, "ready"],
    ["an older kernel is still installed", { kernel: said("installed 6.1.0-9-amd64\nrunning 6.1.0-21-amd64\n") }, "ready"],
    [
      "a newer kernel waits",
      { kernel: said("newer 6.1.0-22-amd64\nrunning 6.1.0-9-amd64\n") },
      "pending",
      "the kernel 6.1.0-22-amd64 is installed and 6.1.0-9-amd64 runs",
    ],
    ["there is no kernel in /boot", { kernel: said("running 6.1.0-9-amd64\n") }, "ready"],
    ["uname says nothing", { kernel: said("") }, "failed", "it said nothing"],
    [
      "the kernels can't be sorted",
      { kernel: said("running 6\n", 3, "the kernels in /boot cannot be sorted") },
      "failed",
      "ended with 3: the kernels",
    ],
    [
      "zypper wants a restart",
      { "zypper-needs-rebooting": said("Core libraries have been updated.\nReboot is suggested.\n", 102) },
      "pending",
      "Reboot is suggested",
    ],
    ["zypper wants none", { "zypper-needs-rebooting": said("Reboot is probably not necessary.\n") }, "ready"],
    [
      "zypper is too old",
      { "zypper-needs-rebooting": said("", 2, "Unknown command 'needs-rebooting'") },
      "failed",
      "zypper ended with 2: Unknown command",
    ],
    ["zypper fails otherwise", { "zypper-needs-rebooting": said("Reboot?", 7) }, "failed", "zypper ended with 7"],
    ["a restart is asked for and nothing named", { "reboot-required": said("required\n") }, "pending", "/run/reboot-required exists."],
    ["the answer says more than it should", { "reboot-required": said("none\nlinux\n") }, "failed", "neither required nor none"],
    ["the question fails", { "reboot-required": said("none\n", 2, "odd") }, "failed", "ended with 2: odd"],
    ["dnf fails otherwise", { "dnf-needs-restarting": said("Reboot?", 3) }, "failed", "dnf ended with 3"],
  ],
  installer: [
    ["the list of locks is cut off", { "package-locks": said("held /var/lib/dpkg/lock 812 apt-get\n") }, "failed", "package-locks"],
    ["a line is none of a lock", { "package-locks": said("odd\nchecked\n") }, "failed", "package-locks"],
    ["the list of locks failed", { "package-locks": said("checked\n", 2) }, "failed", "package-locks"],
    ["dpkg says nothing", { "dpkg-audit": said("") }, "failed", "it said nothing"],
  ],
  startup: [
    ["there is neither systemd nor cloud-init", {}, "ready"],
    ["systemd is done", { systemd: said("state running\n") }, "ready", /^$/],
    ["systemd is still starting what waits for this script", { systemd: said("state starting\n") }, "ready"],
    ["a unit has failed", { systemd: said("state degraded\n") }, "ready", "systemd is degraded"],
    [
      "jobs run",
      { systemd: said("job apt-daily.service start\njob snapd.seeded.service start\nstate starting\n") },
      "pending",
      "systemd is at work on apt-daily.service start, snapd.seeded.service start",
    ],
    ["it is going down", { systemd: said("state stopping\n") }, "pending", '"stopping"'],
    ["it is in maintenance", { systemd: said("state maintenance\n") }, "pending", '"maintenance"'],
    [
      "systemctl says nothing",
      { systemd: said("", 2, "systemctl does not say the state of the system: ") },
      "failed",
      "ended with 2: systemctl does not say",
    ],
    ["its answer is cut off", { systemd: said("job apt-daily.service start\n") }, "failed", "systemd"],
    ["its answer is odd", { systemd: said("odd\nstate running\n") }, "failed", "systemd"],
    ["cloud-init is done", { "cloud-init": said("outside code 0 status: done\n") }, "ready", /^$/],
    ["cloud-init is disabled", { "cloud-init": said("outside code 0 status: disabled\n") }, "ready"],
    ["cloud-init runs", { "cloud-init": said("outside code 0 status: running\n") }, "pending", 'cloud-init says "running"'],
    [
      "cloud-init runs with errors",
      { "cloud-init": said("outside code 2 status: degraded running\n") },
      "pending",
      'cloud-init says "degraded running"',
    ],
    // code: cloudinit/cmd/status.py, 23.4: exit code 2 for recoverable errors, whatever the stage.
    ["cloud-init runs with warnings", { "cloud-init": said("outside code 2 status: running\n") }, "pending", 'cloud-init says "running"'],
    [
      "cloud-init has not begun and warns",
      { "cloud-init": said("outside code 2 status: not started\n") },
      "pending",
      'cloud-init says "not started"',
    ],
    [
      "cloud-init has not begun",
      { "cloud-init": said("outside code 0 status: not started\n") },
      "pending",
      'cloud-init says "not started"',
    ],
    ["cloud-init runs this very script", { "cloud-init": said("inside code 0 status: running\n") }, "ready"],
    [
      "cloud-init had recoverable errors (since 23.4)",
      { "cloud-init": said("outside code 2 status: degraded done\n") },
      "ready",
      "recoverable errors (status: degraded done)",
    ],
    [
      "cloud-init has crashed",
      { "cloud-init": said("outside code 1 status: error\n") },
      "pending",
      "cloud-init has failed (status: error, exit code 1)",
    ],
    ["cloud-init has crashed and says done", { "cloud-init": said("outside code 1 status: done\n") }, "pending", "exit code 1"],
    ["cloud-init says nothing", { "cloud-init": said("outside code 0 \n") }, "failed", "cloud-init"],
    ["cloud-init is broken", { "cloud-init": said("outside code 1 status: done\n", 5, "bad") }, "failed", "ended with 5: bad"],
  ],
  machineIdentity: [
    ["the machine has none of its own", {}, "ready"],
    [
      "it has",
      { "machine-identity": said("own /etc/machine-id\nown /etc/ssh/ssh_host_rsa_key\nchecked\n") },
      "pending",
      "All images would have the same /etc/machine-id, /etc/ssh/ssh_host_rsa_key: empty machine-id",
    ],
    ["the list is cut off", { "machine-identity": said("own /etc/machine-id\n") }, "failed", "machine-identity"],
    ["the list is odd", { "machine-identity": said("else /etc/machine-id\nchecked\n") }, "failed", "machine-identity"],
    ["the look failed", { "machine-identity": said("checked\n", 2) }, "failed", "ended with 2"],
    ["the answer is empty", { "machine-identity": said("") }, "failed", "it said nothing"],
  ],
  residue: [
    ["only its own disks are mounted", {}, "ready"],
    [
      "a share and an ISO are mounted",
      { mounts: said("/dev/xvda1 / ext4 rw 0 0\n//server/share /mnt cifs rw 0 0\n/dev/sr0 /media/cdrom iso9660 ro 0 0\n") },
      "pending",
      "Still mounted: //server/share on /mnt, /dev/sr0 on /media/cdrom; unmount it.",
    ],
    [
      "a share of the other kind",
      { mounts: said("/dev/xvda1 / ext4 rw 0 0\nserver:/x /mnt nfs4 rw 0 0\n") },
      "pending",
      "server:/x on /mnt",
    ],
    ["no root is shown", { mounts: said("proc /proc proc rw 0 0\n") }, "failed", "shows no root"],
    ["cat fails", { mounts: said("/dev/xvda1 / ext4 rw 0 0\n", 1) }, "failed", "cat ended with 1"],
  ],
});

// The scripts' own words, against programs of a test's own: what systemd and cloud-init say in each state, and what is left of it.
describe.each([["dash"], ["busybox sh"]])("under %s", (shell) => {
  const [program = "", ...first] = shell.split(" ");
  const ask = (id: string, name: string, text: string, by: readonly string[] = []): unknown => {
    const fact = factsOf("linux").find((entry) => entry.fact.id === id)?.fact;
    const bin = mkdtempSync(join(tmpdir(), "xenlayer-facts-"));
    try {
      writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
      const [command = "", ...args] = [...by.map((part) => join(bin, part)), program, ...first, "-c", fact?.command ?? ""];
      const run = spawnSync(command, args, {
        encoding: "utf8",
        env: { PATH: `${bin}:${process.env.PATH}`, LC_ALL: "C" },
      });
      return fact?.parse({ out: run.stdout, err: run.stderr, rc: run.status ?? -1 });
    } finally {
      rmSync(bin, { recursive: true });
    }
  };
  const systemctl = (state: string, ...jobs: string[]): string =>
    `case $1 in is-system-running) echo ${state} ;; list-jobs) printf '%s\\n' ${jobs.map((job) => `'${job}'`).join(" ")} ;; esac`;

  it.each([
    ["a quiet system", systemctl("running", ""), { kind: "value", value: { state: "running", jobs: [] } }],
    [
      "jobs of its own, and such that wait",
      systemctl(
        "starting",
        " 1 cloud-final.service start running",
        " 2 multi-user.target start waiting",
        " 3 xenlayer.service start running",
      ),
      { kind: "value", value: { state: "starting", jobs: [] } },
    ],
    [
      "a job of somebody else's",
      systemctl("starting", " 7 apt-daily.service start running"),
      { kind: "value", value: { state: "starting", jobs: ["apt-daily.service start"] } },
    ],
    ["a program that prints nothing", ":", { kind: "error" }],
  ])("systemd: %s", (_what, text, reading) => {
    expect(ask("systemd", "systemctl", text)).toMatchObject(reading);
  });

  it.each([
    ["done", "echo 'status: done'", { kind: "value", value: { inside: false, rc: 0, status: "done" } }],
    ["recoverable errors", "echo 'status: degraded done'; exit 2", { kind: "value", value: { rc: 2, status: "degraded done" } }],
    ["a program that prints nothing", ":", { kind: "error" }],
  ])("cloud-init: %s", (_what, text, reading) => {
    expect(ask("cloud-init", "cloud-init", text)).toMatchObject(reading);
  });

  it("cloud-init: what it runs itself is inside", () => {
    const runs = "case $1 in status) echo 'status: running' ;; *) \"$@\"; exit $? ;; esac";
    expect(ask("cloud-init", "cloud-init", runs)).toMatchObject({ value: { inside: false, status: "running" } });
    expect(ask("cloud-init", "cloud-init", runs, ["cloud-init"])).toMatchObject({ value: { inside: true, status: "running" } });
  });

  it("the kernel that runs is told from those that are installed", () => {
    expect(ask("kernel", "uname", "echo 6.1.0-9-amd64")).toEqual({ kind: "value", value: { running: "6.1.0-9-amd64" } });
  });
});
