// What the files that a guest wrote on its payload disk say, and how much of each is asked for. What is missing or malformed is simply not there
// for the judge.
import { z } from "zod";
import type { Raw } from "./fact.ts";
import type { KmsEvidence } from "./facts/kms.ts";
import { OFFICE_PLACES, type OfficeEvidence } from "./facts/office.ts";
import { type Order, order } from "./order.ts";
import type { Reader } from "./payloadFiles.ts";

export interface StepReport {
  readonly id: string;
  readonly state: "none" | "running" | "done" | "reboot" | "failed";
  readonly rc?: number;
  /** The end of what the step printed. */
  readonly log: string;
  readonly logBytes: number;
  readonly started?: string;
  readonly finished?: string;
  /** How long it took as its guest counted it, which its clock has no part in; on Windows coarsely (it counts its looks). */
  readonly seconds?: number;
  readonly timedOut: boolean;
  readonly tries: number;
}

export type RoundReport = ReadonlyMap<string, Raw | "absent">;

export interface GuestReport {
  readonly nonce: string;
  readonly order: string;
  readonly boot: string;
  readonly boots: number;
  readonly state: string;
  readonly attempt: number;
  readonly round: string;
  readonly step: string;
  readonly blocked: readonly string[];
}

export interface PayloadReport {
  readonly order?: Order;
  readonly boots: readonly { n: number; id: string }[];
  readonly report?: GuestReport;
  readonly steps: readonly StepReport[];
  /** By round: a, b, c and earlier attempts (1-a, 1-b, …). */
  readonly rounds: ReadonlyMap<string, RoundReport>;
  readonly fixes: readonly { attempt: number; fix: string; rc: number }[];
  readonly kms: KmsEvidence;
  /** Absent: nothing was asked of Office. */
  readonly office?: OfficeEvidence;
  /** What is installed, as it was answered (inventory.ts); absent: nothing was asked, or not come to. */
  readonly inventory?: ReadonlyMap<string, Raw>;
  /** The steps of the packaging boots, whose payload disk was made anew for the finalize. */
  readonly packaging?: readonly StepReport[];
  /** By file name: what the console showed when a time limit was over. */
  readonly pictures?: ReadonlyMap<string, Uint8Array>;
  readonly problems: readonly string[];
}

const LIMIT = {
  report: 4096,
  boots: 65_536,
  order: 4 * 1024 * 1024,
  fact: 1024 * 1024,
  inventory: 8 * 1024 * 1024,
  packaging: 16 * 1024 * 1024,
  picture: 1024 * 1024,
  pictures: 4,
  log: 65_536,
  rounds: 64,
  list: 1000,
} as const;

export function read(disk: Reader, problems: readonly string[]): PayloadReport {
  const written = disk.text("order.json", LIMIT.order);
  const parsed = written === undefined ? undefined : parseOrder(written);
  if (written !== undefined && parsed === undefined) disk.problem("order.json is not an order of this version of xenlayer");
  const boots = (disk.text("out/boot.txt", LIMIT.boots) ?? "").split(/\r?\n/).flatMap((line) => {
    const [, n, id] = /^(\d{1,6}) ([\x21-\x7e]{1,100})\s*$/.exec(line) ?? [];
    return n === undefined || id === undefined ? [] : [{ n: Number(n), id }];
  });
  const report = parseReport(disk.text("out/report", LIMIT.report));
  const stepIds = disk
    .folders("out/steps")
    .filter((name) => /^\d{2,3}$/.test(name))
    .sort();
  const rounds = new Map<string, RoundReport>();
  const named = disk.folders("out/facts").filter((name) => /^(\d{1,3}-)?[a-z]$/.test(name));
  // The samples that are judged come first, before what earlier attempts have left can use up the limits.
  for (const name of named.sort((one, other) => one.length - other.length || (one < other ? -1 : 1)).slice(0, LIMIT.rounds)) {
    rounds.set(name, readRound(disk, name));
  }
  const fixes = (disk.text("out/fixes.txt", LIMIT.boots) ?? "")
    .split(/\r?\n/)
    .slice(0, LIMIT.list)
    .flatMap((line) => {
      const [, attempt, fix, rc] = /^(\d{1,6}) ([A-Za-z0-9:._-]{1,60}) rc=(-?\d{1,10})\s*$/.exec(line) ?? [];
      return attempt === undefined || fix === undefined ? [] : [{ attempt: Number(attempt), fix, rc: Number(rc) }];
    });
  const kms: { before?: Raw; rearm?: Raw; after?: Raw; boot?: string } = {};
  for (const name of ["before", "rearm", "after"] as const) {
    const raw = readRaw(disk, `out/kms/${name}`);
    if (raw !== undefined && raw !== "absent") kms[name] = raw;
  }
  const rearmBoot = disk.line("out/kms/started");
  if (rearmBoot !== undefined) kms.boot = rearmBoot;
  const office = readOffice(disk);
  const inventory = readInventory(disk);
  const packaging = readPackaging(disk);
  const pictures = readPictures(disk);
  return {
    ...(parsed === undefined ? {} : { order: parsed }),
    ...(office === undefined ? {} : { office }),
    ...(inventory.size === 0 ? {} : { inventory }),
    ...(packaging === undefined ? {} : { packaging }),
    ...(pictures.size === 0 ? {} : { pictures }),
    boots,
    ...(report === undefined ? {} : { report }),
    steps: stepIds.map((id) => readStep(disk, id)),
    rounds,
    fixes,
    kms,
    problems,
  };
}

function parseOrder(text: string): Order | undefined {
  try {
    return order.parse(JSON.parse(text));
  } catch {
    // Scribbled over by the guest: the provider judges by the order that it wrote itself.
    return undefined;
  }
}

const REPORT_STATES = ["done", "failed", "ready", "blocked"];

/** Lines key=value; each key once, all of them well-formed, or there is no report. */
export function parseReport(text: string | undefined): GuestReport | undefined {
  if (text === undefined) return undefined;
  const pairs = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    if (line.trim() === "") continue;
    const [, key, content] = /^([a-z]{1,20})=(.{0,2000})$/.exec(line) ?? [];
    if (key === undefined || content === undefined || pairs.has(key)) return undefined;
    pairs.set(key, content.trim());
  }
  const get = (key: string): string => pairs.get(key) ?? "";
  const number = (key: string): number => (/^\d{1,6}$/.test(get(key)) ? Number(get(key)) : -1);
  if (get("format") !== "1" || !REPORT_STATES.includes(get("state")) || number("boots") < 0) return undefined;
  return {
    nonce: get("nonce"),
    order: get("order"),
    boot: get("boot"),
    boots: number("boots"),
    state: get("state"),
    attempt: Math.max(0, number("attempt")),
    round: get("round"),
    step: get("step"),
    blocked: get("blocked")
      .split(" ")
      .filter((id) => /^[A-Za-z0-9-]{1,60}$/.test(id))
      .slice(0, LIMIT.list),
  };
}

function readRound(disk: Reader, round: string): RoundReport {
  const facts = new Map<string, Raw | "absent">();
  for (const name of disk.files(`out/facts/${round}`)) {
    const [, id] = /^([a-z0-9-]{1,60})\.rc$/.exec(name) ?? [];
    if (id === undefined) continue;
    const raw = readRaw(disk, `out/facts/${round}/${id}`);
    if (raw !== undefined) facts.set(id, raw);
  }
  return facts;
}

function readOffice(disk: Reader): OfficeEvidence | undefined {
  const status: Record<string, Raw | "absent"> = {};
  const rearm: Record<string, Raw> = {};
  for (const { id } of OFFICE_PLACES) {
    const asked = readRaw(disk, `out/office/${id}-status`);
    if (asked !== undefined) status[id] = asked;
    const done = readRaw(disk, `out/office/${id}-rearm`);
    if (done !== undefined && done !== "absent") rearm[id] = done;
  }
  const boot = disk.line("out/office/started");
  if (Object.keys(status).length + Object.keys(rearm).length === 0) return undefined;
  return { status, rearm, ...(boot === undefined ? {} : { boot }) };
}

function readInventory(disk: Reader): Map<string, Raw> {
  const answers = new Map<string, Raw>();
  for (const name of disk.files("out/inventory")) {
    const [, id] = /^([a-z0-9-]{1,60})\.rc$/.exec(name) ?? [];
    // The file of a program that writes its own answer is missing where it had none to write.
    const raw = id === undefined ? undefined : readRaw(disk, `out/inventory/${id}`, LIMIT.inventory, "");
    if (id !== undefined && raw !== undefined && raw !== "absent") answers.set(id, raw);
  }
  return answers;
}

/** Written by the provider under the finalize order, and in the guest's hands since. */
const packagingFile = z.array(
  z.object({
    id: z.string().regex(/^\d{2,3}$/),
    state: z.enum(["none", "running", "done", "reboot", "failed"]),
    rc: z.int().exactOptional(),
    log: z.string().max(LIMIT.log * 2),
    logBytes: z.number().nonnegative(),
    started: z.string().max(40).exactOptional(),
    finished: z.string().max(40).exactOptional(),
    seconds: z.int().nonnegative().exactOptional(),
    timedOut: z.boolean(),
    tries: z.int(),
  }),
);
export const PACKAGING_FILE = "packaging.json";

function readPackaging(disk: Reader): StepReport[] | undefined {
  if (!disk.has(`files/${PACKAGING_FILE}`)) return undefined;
  const text = disk.text(`files/${PACKAGING_FILE}`, LIMIT.packaging);
  const parsed = packagingFile.safeParse(text === undefined ? undefined : parseJson(text));
  if (parsed.success) return parsed.data;
  disk.problem(`files/${PACKAGING_FILE} does not hold the steps of the packaging`);
  return undefined;
}

function readPictures(disk: Reader): Map<string, Uint8Array> {
  const names = disk.files("files").filter((name) => /^console-[0-9a-f]{16}\.(png|jpg)$/.test(name));
  const pictures = new Map<string, Uint8Array>();
  for (const name of names.slice(0, LIMIT.pictures)) {
    const data = disk.bytes(`files/${name}`, LIMIT.picture);
    if (data !== undefined) pictures.set(name, data);
  }
  return pictures;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** All three files, or no answer: a missing stream is not an empty one. */
function readRaw(disk: Reader, path: string, limit: number = LIMIT.fact, missing?: string): Raw | "absent" | undefined {
  const rc = disk.line(`${path}.rc`);
  if (rc === "absent") return "absent";
  if (rc === undefined || !/^-?\d{1,10}$/.test(rc)) return undefined;
  const out = disk.has(`${path}.out`) ? disk.text(`${path}.out`, limit) : missing;
  const err = disk.text(`${path}.err`, LIMIT.fact);
  return out === undefined || err === undefined ? undefined : { out, err, rc: Number(rc) };
}

const STEP_STATES = ["running", "done", "reboot", "failed"] as const;

function readStep(disk: Reader, id: string): StepReport {
  const path = `out/steps/${id}`;
  const said = disk.line(`${path}/state`);
  const rc = disk.line(`${path}/rc`);
  const log = disk.tail(`${path}/log`, LIMIT.log);
  const started = disk.line(`${path}/started`);
  const finished = disk.line(`${path}/finished`);
  const seconds = disk.line(`${path}/seconds`);
  const tries = disk.line(`${path}/tries`);
  return {
    id,
    state: STEP_STATES.find((state) => state === said) ?? "none",
    ...(rc !== undefined && /^-?\d{1,10}$/.test(rc) ? { rc: Number(rc) } : {}),
    log: log?.text ?? "",
    logBytes: log?.size ?? 0,
    ...(started === undefined ? {} : { started: started.slice(0, 40) }),
    ...(finished === undefined ? {} : { finished: finished.slice(0, 40) }),
    ...(seconds !== undefined && /^\d{1,6}$/.test(seconds) ? { seconds: Number(seconds) } : {}),
    timedOut: disk.has(`${path}/timeout`),
    tries: tries !== undefined && /^\d$/.test(tries) ? Number(tries) : 0,
  };
}
