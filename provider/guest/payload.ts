// The payload disk: a small FAT volume that carries an order into a guest and everything the guest says back out.
// What a guest wrote is hostile: readPayload bounds every size and count, takes any bytes for any file, and never throws; what it could not read
// is listed among the problems, and what is missing is simply not there for the judge.

import { bootstrapFiles, PAYLOAD_LABEL } from "./bootstrap.ts";
import { type PayloadReport, read, type StepReport } from "./evidence.ts";
import { FatVolume } from "./fat.ts";
import { networkConfig, userData } from "./noCloud.ts";
import type { Order } from "./order.ts";
import { Reader } from "./payloadFiles.ts";
import { generateScripts, secretScript } from "./scripts.ts";

// What the two functions here take and give.
export type { GuestReport, PayloadReport, StepReport } from "./evidence.ts";

const MIB = 1024 * 1024;
const RESERVE_BYTES = 256 * 1024;
/** Of a payload disk, in bytes: large enough for any finalize order. */
export const LEAST_PAYLOAD = 32 * MIB;

export interface PayloadContent {
  order: Order;
  /** By step id. */
  secrets?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  files?: readonly { name: string; data: Uint8Array }[];
  /** Steps that an earlier boot series has done: kept as evidence and not run again. */
  done?: readonly StepReport[];
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A file name that FAT, Windows and a shell all take as it is. */
const FILE_NAME = /^(?!\.)[A-Za-z0-9 ._()+@=-]{1,200}(?<![. ])$/;

export function payloadFileProblem(name: string): string | undefined {
  if (!FILE_NAME.test(name)) return `"${name}" can't be a file of the payload disk: letters, digits, blanks and ._()+@=- only, at most 200`;
  return /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(name) ? `"${name}" is a device name on Windows` : undefined;
}

/** The whole raw image, as large as its content asks for and never under the least. */
export async function writePayload(content: PayloadContent): Promise<Uint8Array> {
  const given = content.order;
  const entries: { path: string; data: Uint8Array }[] = [
    { path: "meta-data", data: utf8(`instance-id: xenlayer-${given.nonce}\n`) },
    { path: "user-data", data: utf8(userData(given.os)) },
    ...(given.os === "linux" ? [{ path: "network-config", data: utf8(networkConfig) }] : []),
    { path: "xenlayer/order.json", data: utf8(`${JSON.stringify(given, null, 2)}\n`) },
    { path: "xenlayer/reserve", data: new Uint8Array(RESERVE_BYTES) },
    ...bootstrapFiles(given.os).map(({ path, data }) => ({ path: `xenlayer/bootstrap/${path}`, data })),
    ...generateScripts(given).map(({ path, text }) => ({ path: `xenlayer/${path}`, data: utf8(text) })),
  ];
  for (const step of given.steps) {
    const values = content.secrets?.[step.id];
    if (step.secretNames === undefined) continue;
    const missing = step.secretNames.filter((name) => values?.[name] === undefined);
    if (values === undefined || missing.length > 0)
      throw new Error(`write the payload disk: step "${step.name}" lacks the value of ${missing.join(", ")}`);
    const script = secretScript(given, step, values);
    entries.push({ path: `xenlayer/${script.path}`, data: utf8(script.text) });
  }
  const names = new Set<string>();
  for (const { name, data } of content.files ?? []) {
    const problem =
      payloadFileProblem(name) ?? (names.has(name.toLowerCase()) ? `"${name}" is there twice (FAT does not tell case)` : undefined);
    if (problem !== undefined) throw new Error(`write the payload disk: ${problem}`);
    names.add(name.toLowerCase());
    entries.push({ path: `xenlayer/files/${name}`, data });
  }
  entries.push(...(content.done ?? []).flatMap(stepEvidence));
  // Each file may leave most of a cluster unused (32 KiB at most on FAT16), and the guest needs room for what it says.
  const bytes = entries.reduce((sum, { data }) => sum + data.length, 0) + entries.length * 4096;
  const size = Math.max(LEAST_PAYLOAD, (Math.ceil((bytes * 1.02) / MIB) + 24) * MIB);
  if (size > 2000 * MIB)
    throw new Error("write the payload disk: its files are larger than the 2 GB that FAT16 holds; put them on an ISO and name it in media");
  return FatVolume.format(size, PAYLOAD_LABEL, (volume) => {
    for (const { path, data } of entries) volume.write(path, data);
    for (const folder of ["xenlayer/out/facts/", "xenlayer/files/"]) volume.makeFolders(folder);
  });
}

function stepEvidence(step: StepReport): { path: string; data: Uint8Array }[] {
  const file = (name: string, text: string | undefined) =>
    text === undefined ? [] : [{ path: `xenlayer/out/steps/${step.id}/${name}`, data: utf8(text) }];
  return [
    ...file("state", "done\n"),
    ...file("rc", step.rc === undefined ? undefined : `${step.rc}\n`),
    ...file("log", step.log),
    ...file("started", step.started),
    ...file("finished", step.finished),
  ];
}

export async function readPayload(image: Uint8Array): Promise<PayloadReport> {
  const problems: string[] = [];
  try {
    const volume = await FatVolume.open(image);
    try {
      return read(new Reader(volume, problems), problems);
    } finally {
      volume.close();
    }
  } catch (error) {
    // FatFs runs on bytes that a guest wrote: whatever it throws means that nothing can be read, which is judged as "never ran".
    problems.push(`the payload disk can't be read: ${error instanceof Error ? error.message : String(error)}`);
    return { boots: [], steps: [], rounds: new Map(), fixes: [], kms: {}, problems };
  }
}
