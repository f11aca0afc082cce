// What is made of Office's answers. Provenance: the texts are documented ones (office.ts); the forms of /dstatus were also seen in public logs of English, Chinese and Japanese Windows.
import { describe, expect, it } from "vitest";
import type { Raw } from "../fact.ts";
import { judgeOffice, OFFICE_PLACES, type OfficeEvidence, parseOfficeStatus } from "./office.ts";

const said = (out: string, rc = 0, err = ""): Raw => ({ out, err, rc });
const RULE = "---------------------------------------\r\n";
const licence = (channel: string): string =>
  `SKU ID: d450596f-894d-49e0-966a-fd39ed4c4c64\r\nLICENSE NAME: Office 16, Office16ProPlusVL edition\r\nLICENSE DESCRIPTION: Office 16, ${channel} channel\r\nLICENSE STATUS:  ---LICENSED--- \r\nLast 5 characters of installed product key: WFG99\r\n${RULE}`;
const status = (...channels: string[]): Raw =>
  said(
    `---Processing--------------------------\r\n${RULE}${channels.map(licence).join("") || "<No installed product keys detected>\r\n"}${RULE}---Exiting-----------------------------\r\n`,
  );
const rearmed = said("Microsoft Office rearm successful.\r\n");
const nothing = Object.fromEntries(OFFICE_PLACES.map(({ id }) => [id, "absent" as const]));

const KMS = "VOLUME_KMSCLIENT";

it("reads each licence channel once, whatever Windows' language", () => {
  expect(parseOfficeStatus(status(KMS, "RETAIL(Grace)", KMS))).toEqual({ kind: "value", value: ["RETAIL(Grace)", KMS] });
  expect(parseOfficeStatus(said(`Microsoft (R) Windows Script Host Version 5.812\r\n版权所有\r\n${status(KMS).out}`))).toEqual({
    kind: "value",
    value: [KMS],
  });
  expect(parseOfficeStatus(status())).toEqual({ kind: "value", value: [] });
});

it.each([
  ["nothing was printed", said(""), "did not come to its end: it said nothing"],
  ["it ended with an error", said("", 1, "Input Error: Can not find script file"), "ended with 1: Input Error"],
  ["it broke off", said(status(KMS).out.replace(/---Exiting.*/, "")), "did not come to its end"],
  ["it names neither a licence nor their absence", said(status().out.replace(/<.*>/, "ERROR CODE: 0x8007007B")), "names no licence"],
  ["a licence has no channel", said(status(KMS).out.replace(", VOLUME_KMSCLIENT channel", "")), 'names no licence channel in "Office 16"'],
])("knows nothing where %s", (_what, raw, error) => {
  expect(parseOfficeStatus(raw)).toMatchObject({ kind: "error", error: expect.stringContaining(error) });
});

describe("a rearm", () => {
  const of16 = (raw: Raw | "absent", done?: Raw): OfficeEvidence => ({
    status: { ...nothing, "16": raw },
    rearm: done === undefined ? {} : { "16": done },
  });

  // Judged in the test, not in the table: it is what may be wrong.
  it.each<[string, OfficeEvidence, string, string]>([
    [
      "is told with its exit code and its words",
      of16(status(KMS), rearmed),
      "ready",
      "Office: rearmed once (Office16 (64-bit), exit code 0: Microsoft Office rearm successful.)",
    ],
    [
      "does not apply where no Office is",
      { status: nothing, rearm: {} },
      "notApplicable",
      "Office: not applicable, none is installed in its usual folders",
    ],
    ["does not apply to other channels", of16(status("RETAIL")), "notApplicable", "nothing is licensed by KMS (Office16 (64-bit): RETAIL)"],
    ["does not apply without a product key", of16(status()), "notApplicable", "(Office16 (64-bit): no product key)"],
    [
      "is refused where it would reset others, too",
      of16(status(KMS, "VOLUME_MAK")),
      "failed",
      "Office: Office16 (64-bit) has products of KMS and of others (VOLUME_MAK)",
    ],
    ["has to be done", of16(status(KMS)), "failed", "Office: Office16 (64-bit) was not rearmed"],
    [
      "fails by its exit code",
      of16(status(KMS), said("Microsoft Office rearm successful.", -1073425657, "ERROR CODE: 0xC004D307")),
      "failed",
      "ended with -1073425657: ERROR CODE: 0xC004D307. Office can be rearmed five times",
    ],
    ["fails when nothing is said", of16(status(KMS), said("")), "failed", "ended with 0: it said nothing"],
    ["fails when something else is said", of16(status(KMS), said("Please wait")), "failed", "ended with 0: Please wait"],
    ["of another channel is a fault", of16(status("RETAIL"), rearmed), "failed", "was rearmed though its licence channels are RETAIL"],
    [
      "of mixed channels is a fault",
      of16(status(KMS, "RETAIL"), rearmed),
      "failed",
      "was rearmed though its licence channels are RETAIL, VOLUME_KMSCLIENT",
    ],
    ["of what is not there is a fault", of16("absent", rearmed), "failed", "was rearmed though its licence channels are none"],
    [
      "is not believed where the licences were not read",
      of16(said(""), rearmed),
      "failed",
      "Office: the licences of Office16 (64-bit) could not be read before the rearm: ospp.vbs",
    ],
    ["is not believed where a place was not looked at", { status: {}, rearm: {} }, "failed", "it was not asked"],
  ])("%s", (_what, evidence, state, words) => {
    const judged = judgeOffice(evidence);
    expect(judged.state).toBe(state);
    expect(judged.message).toContain(words);
  });

  it("of two is told of both, and fails with either", () => {
    const two = { ...nothing, "16": status(KMS), "15-x86": status(KMS), "14": status("RETAIL") };
    expect(judgeOffice({ status: two, rearm: { "16": rearmed, "15-x86": rearmed } })).toMatchObject({
      state: "ready",
      message: expect.stringMatching(/Office16 \(64-bit\), .*; Office15 \(32-bit\), /),
    });
    expect(judgeOffice({ status: two, rearm: { "16": rearmed } })).toMatchObject({
      state: "failed",
      message: "Office: Office15 (32-bit) was not rearmed",
    });
    expect(judgeOffice({ status: { ...nothing, "15": status("RETAIL"), "14": status("VOLUME_MAK") }, rearm: {} }).message).toContain(
      "(Office15 (64-bit): RETAIL; Office14 (64-bit): VOLUME_MAK)",
    );
  });
});

it("looks where each Office has its programs", () => {
  expect(OFFICE_PLACES).toHaveLength(6);
  expect(OFFICE_PLACES).toEqual(
    expect.arrayContaining([
      {
        id: "16",
        title: "Office16 (64-bit)",
        rearm: "%ProgramFiles%\\Microsoft Office\\Office16\\OSPPREARM.EXE",
        ospp: "%ProgramFiles%\\Microsoft Office\\Office16\\OSPP.VBS",
      },
      {
        id: "14-x86",
        title: "Office14 (32-bit)",
        rearm: "%ProgramFiles(x86)%\\Common Files\\Microsoft Shared\\OfficeSoftwareProtectionPlatform\\OSPPREARM.EXE",
        ospp: "%ProgramFiles(x86)%\\Microsoft Office\\Office14\\OSPP.VBS",
      },
    ]),
  );
});
