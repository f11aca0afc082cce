import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { factsOf } from "../checks.ts";
import { buildOrder } from "../order.ts";
import * as fixture from "../testing.ts";
import { said } from "../testing.ts";
import { isQuiet } from "../verdict.ts";
import { judgeKms, parseLicensing } from "./kms.ts";
import { parseRenames } from "./pendingReboot.ts";
import { judge, type Row, testRows } from "./testing.ts";

const CBS = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing";

const windows: Record<string, Row[]> = {
  bootDiskDrivers: [
    ["nothing is asked for", {}, "ready"],
    ["the absence is said in German", { "xenbus-requests": fixture.notThereGerman }, "ready"],
    ["the absence is said by Wine, on stdout", { "xenbus-requests": fixture.notThereWine }, "ready"],
    [
      "xenbus_monitor has a request",
      { "xenbus-requests": fixture.xenbusRequest("XENVBD", "0x1") },
      "pending",
      "A reboot is pending to update drivers on the boot disk - please check and reboot the Packaging Machine. Asked for by XENVBD",
    ],
    ["a request was taken back", { "xenbus-requests": fixture.xenbusRequest("XENVBD", "0x0") }, "ready"],
    ["a request can't be read", { "xenbus-requests": fixture.xenbusRequest("XENNET", "(null)") }, "pending", "XENNET"],
    [
      "the tools of before have set NeedReboot",
      { "need-reboot-xenvif": fixture.keyThere("HKEY_LOCAL_MACHINE\\SYSTEM") },
      "pending",
      "xenvif",
    ],
    ["reg prints nothing and ends with 0", { "xenbus-requests": fixture.saysNothing }, "pending"],
    ["reg is missing", { "xenbus-requests": said("", 9009, "'reg' is not recognized") }, "failed", "xenbus-requests"],
  ],
  pendingReboot: [
    ["nothing is pending", {}, "ready"],
    [
      "servicing waits for a restart",
      { "cbs-reboot-pending": fixture.keyThere(`${CBS}\\RebootPending`) },
      "pending",
      /^A post-installation reboot is pending - please check and reboot the Packaging Machine\. .*RebootPending/,
    ],
    ["the key is there and empty, so that reg prints nothing", { "cbs-reboot-pending": fixture.saysNothing }, "pending", "RebootPending"],
    [
      "Windows Update waits for a restart",
      { "windows-update-reboot": fixture.keyThere("HKEY_LOCAL_MACHINE\\SOFTWARE") },
      "pending",
      "Windows Update",
    ],
    ["a domain is being joined", { "domain-join": fixture.keyThere("HKEY_LOCAL_MACHINE\\SYSTEM") }, "pending", "domain"],
    [
      "the computer is to be renamed",
      { "computer-name": fixture.computerNames("WIN11", "WIN11-A") },
      "pending",
      "renamed from WIN11 to WIN11-A",
    ],
    ["the names differ by case only", { "computer-name": fixture.computerNames("WIN11", "win11") }, "ready"],
    ["the names are not said", { "computer-name": fixture.notThere }, "failed", "computer-name"],
    ["reg prints nothing for the names", { "computer-name": fixture.saysNothing }, "failed", "computer-name"],
    [
      "a driver waits to be replaced",
      { "session-manager": fixture.renames("\\??\\C:\\Windows\\Temp\\x.tmp", "!\\??\\C:\\Windows\\System32\\drivers\\xenvbd.sys") },
      "pending",
      "C:\\Windows\\Temp\\x.tmp waits to replace C:\\Windows\\System32\\drivers\\xenvbd.sys",
    ],
    [
      "a file of the system waits to be deleted",
      { "session-manager": fixture.renames("\\??\\C:\\Windows\\WinSxS\\pending.xml", "") },
      "pending",
      "waits to be deleted",
    ],
    [
      "a program's file waits to be deleted",
      { "session-manager": fixture.renames("\\??\\C:\\Program Files\\VDA\\old.dll", "") },
      "pending",
      "old.dll",
    ],
    [
      "antivirus rubbish waits to be deleted (Toast-Notification-Script#40)",
      { "session-manager": fixture.renames("\\??\\C:\\ProgramData\\Vendor\\scan.tmp", "") },
      "ready",
    ],
    [
      "what an installer left in Temp waits to be deleted",
      { "session-manager": fixture.renames("\\??\\C:\\Users\\x\\AppData\\Local\\Temp\\is-1.tmp", "", "\\??\\C:\\Config.Msi\\1.rbf", "") },
      "ready",
    ],
    [
      "Firefox's own rubbish waits to be deleted (PatchMon#772)",
      { "session-manager": fixture.renames("\\??\\C:\\Program Files\\Mozilla Firefox\\tobedeleted\\moz1", "") },
      "ready",
    ],
    ["only empty strings are left (setup.windows PR#150)", { "session-manager": fixture.renames("", "") }, "ready"],
    [
      "a path holds what reg's own separator would tear",
      { "session-manager": fixture.renames("\\??\\C:\\Windows\\Temp\\0001\\a", "") },
      "ready",
    ],
    [
      "noise and a replacement together",
      { "session-manager": fixture.renames("\\??\\C:\\ProgramData\\a", "", "\\??\\C:\\b", "\\??\\C:\\c") },
      "pending",
      "C:\\b waits to replace C:\\c",
    ],
    ["the list does not pair up", { "session-manager": fixture.renames("", "\\??\\C:\\b") }, "failed", "pairs"],
    [
      "the second list holds the work",
      { "session-manager": fixture.sessionManagerWith("    PendingFileRenameOperations2    REG_MULTI_SZ    \\??\\C:\\a\\0\\??\\C:\\b") },
      "pending",
      "C:\\a",
    ],
    ["reg prints nothing where every Windows has a key", { "session-manager": fixture.saysNothing }, "failed", "BootExecute"],
    [
      "access is denied where every Windows has a key",
      { "session-manager": said("", 1, "ERROR: Access is denied.\r\n") },
      "failed",
      "session-manager",
    ],
    [
      "an old update's installer waits",
      { "update-exe": said("\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Updates\r\n    UpdateExeVolatile    REG_DWORD    0x2\r\n") },
      "pending",
      "UpdateExeVolatile",
    ],
    [
      "an old update's installer has finished",
      {
        "update-exe-32": said(
          "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Wow6432Node\\Microsoft\\Updates\r\n    UpdateExeVolatile    REG_DWORD    0x0\r\n",
        ),
      },
      "ready",
    ],
  ],
  installer: [
    ["the service idles after an installation", {}, "ready"],
    ["the service is stopped", { "msi-service": fixture.services.stopped }, "ready"],
    ["the service is stopped and said so in the old form", { "msi-service": fixture.services.stoppedOldForm }, "ready"],
    ["the service idles, said in French", { "msi-service": fixture.services.idleFrench }, "ready"],
    [
      "an installation runs",
      { "msi-service": fixture.services.busy },
      "pending",
      "An MSI install operation is in progress - please check the Packaging Machine. The service msiserver is at work: msiexec.exe (process 12)",
    ],
    ["the service is starting", { "msi-service": fixture.services.starting }, "pending"],
    ["there is no such service", { "msi-service": fixture.services.missing }, "failed", "msi-service"],
    ["sc prints nothing", { "msi-service": fixture.saysNothing }, "failed", "msi-service"],
    [
      "an installation was broken off",
      { "msi-in-progress": fixture.keyThere("HKEY_LOCAL_MACHINE\\SOFTWARE"), "servicing-workers": fixture.processes() },
      "pending",
      "broken off",
    ],
    [
      "an installation is under way",
      { "msi-in-progress": fixture.keyThere("HKEY_LOCAL_MACHINE\\SOFTWARE") },
      "pending",
      "msiexec.exe (process 12) runs",
    ],
    ["servicing is at work", { "servicing-workers": fixture.processes("TiWorker.exe") }, "pending", "TiWorker.exe (process 12)"],
    [
      "tasklist prints nothing and ends with 0, as under Wine",
      { "servicing-workers": fixture.saysNothing },
      "failed",
      "tasklist.exe itself",
    ],
  ],
  ngen: [
    ["no worker runs and each queue is stopped", {}, "ready"],
    [
      "a worker runs",
      { "ngen-workers": fixture.processes("mscorsvw.exe") },
      "pending",
      "A Microsoft NGen operation is in progress in the background. mscorsvw.exe (process 12) runs: you must let it complete, do not reboot to stop it.",
    ],
    [
      "a queue is running",
      { "ngen-queue-32-v4": fixture.queue("is running") },
      "pending",
      'Framework\\v4.0.30319: ngen queue status says "running"',
    ],
    ["a queue's pause is pending", { "ngen-queue-64-v4": fixture.queue("pause is pending") }, "pending", "pause is pending"],
    ["a queue is started and paused", { "ngen-queue-64-v4": fixture.queue("is started and paused") }, "pending"],
    ["ngen prints nothing", { "ngen-queue-64-v4": fixture.saysNothing }, "failed", "ngen-queue-64-v4"],
    [
      "no framework directory is found",
      Object.fromEntries(["64-v4", "32-v4", "64-v2", "32-v2"].map((id) => [`ngen-queue-${id}`, "absent"])),
      "failed",
      "no .NET Framework directory",
    ],
    ["tasklist prints nothing", { "ngen-workers": fixture.saysNothing }, "failed"],
  ],
};

testRows("windows", windows);

const linux: Record<string, Row[]> = {
  pendingReboot: [
    ["nothing is pending", {}, "ready"],
    [
      "a package asks for a restart",
      { "reboot-required": said("required\nlinux-image-6.1\nlibc6\nlibc6\n") },
      "pending",
      "asked for by linux-image-6.1, libc6",
    ],
    ["the answer is empty", { "reboot-required": said("") }, "failed"],
    [
      "dnf wants a restart",
      {
        "dnf-needs-restarting": said(
          "Core libraries or services have been updated:\n  * kernel\nReboot is required to fully utilize these updates.\n",
          1,
        ),
      },
      "pending",
      "Reboot is required",
    ],
    [
      "dnf wants none",
      { "dnf-needs-restarting": said("No core libraries or services have been updated.\nReboot should not be necessary.\n") },
      "ready",
    ],
    [
      "dnf lacks the plug-in, which also ends with 1 (rmmagent#8)",
      { "dnf-needs-restarting": said("", 1, "No such command: needs-restarting.") },
      "failed",
      'No such command: needs-restarting.; install dnf-plugins-core (of dnf5: dnf5-plugins) in a step, or checks: { pendingReboot: "ignore" }',
    ],
    ["dnf prints nothing", { "dnf-needs-restarting": said("") }, "failed"],
  ],
  installer: [
    ["nothing is under way", {}, "ready"],
    [
      "dpkg's lock is held",
      { "package-locks": said("held /var/lib/dpkg/lock 812 apt-get\nchecked\n") },
      "pending",
      "/var/lib/dpkg/lock 812 apt-get",
    ],
    ["the locks can't be seen", { "package-locks": said("", 2, "/proc/locks cannot be read") }, "failed", "/proc/locks cannot be read"],
    ["apt runs", { "package-managers": said("running apt-get /proc/812\nchecked\n") }, "pending", "apt-get"],
    [
      "packages are half configured",
      { "dpkg-audit": said("The following packages are only half configured:\n foo\n") },
      "pending",
      "half configured",
    ],
    ["dpkg is missing though its data are there", { "dpkg-audit": said("", 3, "sh: dpkg: not found") }, "failed", "not found"],
    ["there is no dpkg at all", { "dpkg-audit": "absent" }, "ready"],
  ],
};

testRows("linux", linux);

it("says what is left to the next boot and harmless", () => {
  expect(judge("pendingReboot", { "session-manager": fixture.renames("\\??\\C:\\ProgramData\\Vendor\\scan.tmp", "") })).toEqual({
    state: "ready",
    notes: ["left to the next boot, harmless: C:\\ProgramData\\Vendor\\scan.tmp waits to be deleted"],
  });
});

it("reads renames in pairs, with the marks of MoveFileEx taken off", () => {
  const renames = (text: string) => parseRenames(text)?.map(({ source, target }) => [source, target]);
  expect(renames(String.raw`\??\C:\a\0!\??\C:\b\0\??\C:\c\0\0`)).toEqual([
    ["C:\\a", "C:\\b"],
    ["C:\\c", ""],
  ]);
  expect(renames(String.raw`*1\??\C:\a\0\0\??\C:\temp\0001\x`)).toEqual([
    ["C:\\a", ""],
    ["C:\\temp\\0001\\x", ""],
  ]);
  expect(renames(String.raw`\0\??\C:\b`)).toBeUndefined();
  expect(renames("")).toEqual([]);
});

it.each(["windows", "linux"] as const)("asks a %s guest by tests that its quiet answers pass, and that no empty answer passes", (os) => {
  const answers = fixture.quietAnswers(os);
  for (const fact of buildOrder({ order: "finalize", os, layer: "l", version: "1" }).facts) {
    expect([fact.id, isQuiet(fact, answers.get(fact.id))]).toEqual([fact.id, true]);
    expect([fact.id, isQuiet(fact, fixture.saysNothing)]).toEqual([fact.id, false]);
    expect([fact.id, isQuiet(fact, undefined)]).toEqual([fact.id, false]);
  }
});

it("has fact ids that are unique and file names everywhere, and depends only on facts gathered before", () => {
  for (const os of ["windows", "linux"] as const) {
    const ids = factsOf(os).map(({ fact }) => fact.id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { fact } of factsOf(os)) {
      expect(fact.id).toMatch(/^[a-z0-9-]{1,60}$/);
      if (fact.after !== undefined) expect(ids.indexOf(fact.after)).toBeLessThan(ids.indexOf(fact.id));
    }
  }
});

describe("KMS", () => {
  const client = (count: number | string, label?: string) => fixture.licensing("VOLUME_KMSCLIENT", count, label);
  it.each([
    [
      "believes what Windows says of the rearm until its next start, and makes up no count",
      { before: client(3), rearm: fixture.rearmed, after: fixture.trustedStoreRearmed },
      "ready",
      "KMS: rearmed once, remaining count 3 before; Windows shows what is left after its next start",
    ],
    [
      "fails when slmgr ends as after a rearm and does not say so",
      { before: client(3), rearm: fixture.rearmed, after: { ...fixture.trustedStoreRearmed, out: "" } },
      "failed",
      "could not be read after the rearm",
    ],
    [
      "fails when slmgr shows another error after the rearm",
      { before: client(3), rearm: fixture.rearmed, after: said("Error: 0xC004D301", -1073425663) },
      "failed",
      "could not be read after the rearm",
    ],
    [
      "does not take the words of a rearm for the rearm",
      { before: client(3), rearm: said("Error: 0xC004D302", -1073425662), after: fixture.trustedStoreRearmed },
      "failed",
      "slmgr /rearm ended with -1073425662",
    ],
    ["says that a rearm was broken off", { before: client(3), boot: "1-4711" }, "failed", "one count may be spent"],
    [
      "rearms a KMS client once and shows both counts",
      { before: client(1001), rearm: fixture.rearmed, after: client(1000) },
      "ready",
      "1001 before and 1000 after",
    ],
    [
      "believes a count that is not shown before the next boot",
      { before: client(5), rearm: fixture.rearmed, after: client(5) },
      "ready",
      "5 before",
    ],
    ["refuses a count of 0", { before: client(0) }, "failed", "it is 0"],
    ["does not apply to a retail key", { before: fixture.licensing("RETAIL", 1001) }, "notApplicable", "RETAIL"],
    ["does not apply to a MAK", { before: fixture.licensing("VOLUME_MAK", 1001) }, "notApplicable", "VOLUME_MAK"],
    [
      "finds a rearm of another channel wrong",
      { before: fixture.licensing("VOLUME_MAK", 5), rearm: fixture.rearmed },
      "failed",
      "though its channel",
    ],
    [
      "can't read a localised label and says so",
      { before: client(1001, "Verbleibende Anzahl von Windows-Rearm-Vorg\u00e4ngen") },
      "failed",
      "localised",
    ],
    ["takes slmgr's not-applicable for an error", { before: client(4294967295) }, "failed", "4294967295"],
    ["takes silence for an error", { before: fixture.saysNothing }, "failed", "said nothing"],
    ["takes a missing answer for an error", {}, "failed", "not run"],
    ["fails when slmgr does", { before: client(3), rearm: said("Error: 0xC004D307", -1073425657) }, "failed", "0xC004D307"],
    [
      "believes no rearm that says nothing",
      { before: client(3), rearm: fixture.saysNothing, after: client(3) },
      "failed",
      "slmgr /rearm said nothing",
    ],
    ["fails when it was not rearmed", { before: client(3) }, "failed", "not rearmed"],
    [
      "fails when more than one count is gone",
      { before: client(3), rearm: fixture.rearmed, after: client(1) },
      "failed",
      "3 before and 1 after",
    ],
    ["fails when the count can't be read afterwards", { before: client(3), rearm: fixture.rearmed }, "failed", "after the rearm"],
  ] as const)("%s", (_title, evidence, state, says) => {
    const judged = judgeKms(evidence);
    expect(judged.state, judged.message).toBe(state);
    expect(judged.message).toContain(says);
  });

  it("reads channel, status and count", () => {
    expect(parseLicensing(client(1001))).toEqual({
      kind: "value",
      value: { channel: "VOLUME_KMSCLIENT", status: "Licensed", rearmCount: 1001 },
    });
  });
});

describe("whatever a guest answers", () => {
  const facts = (["windows", "linux"] as const).flatMap((os) => factsOf(os).map(({ fact }) => [fact.id, fact] as const));
  const piece = fc.constantFrom(
    "HKEY_LOCAL_MACHINE\\A",
    "    B    REG_DWORD    0x1",
    "BootExecute",
    "    ",
    "\\0",
    "\\??\\",
    "STATE : 4 RUNNING",
    "msiserver",
    '"tasklist.exe","1",',
    "checked",
    "required",
    ":",
    "(",
    "VOLUME_KMSCLIENT channel",
    "\r\n",
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(piece).map((pieces) => pieces.join("")),
    fc.array(piece).map((pieces) => pieces.join("\n")),
  );

  it.each(facts)("the parser of %s gives a value, absent or an error, and never throws", (_id, fact) => {
    fc.assert(
      fc.property(text, text, fc.integer(), (out, err, rc) => {
        expect(["value", "absent", "error"]).toContain(fact.parse({ out, err, rc }).kind);
        expect(["value", "absent", "error"]).toContain(parseLicensing({ out, err, rc }).kind);
      }),
      { numRuns: 50, seed: 13 },
    );
  });

  it.each(facts)("the parser of %s is done with much of it", (_id, fact) => {
    for (const out of [
      " ".repeat(1 << 18),
      "a ".repeat(1 << 17),
      `License Status:${" ".repeat(1 << 18)}`,
      "\\0".repeat(1 << 17),
      "A".repeat(1 << 18),
      "\n".repeat(1 << 18),
    ]) {
      for (const rc of [0, 1]) expect(["value", "absent", "error"]).toContain(fact.parse({ out, err: "", rc }).kind);
      expect(parseLicensing({ out, err: "", rc: 0 }).kind).toBe("error");
    }
  });
});
