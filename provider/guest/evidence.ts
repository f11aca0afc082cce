// What a guest wrote on its payload disk, read with bounds. Any bytes are taken for any file; what could not be read is listed among the problems,
// and what is missing or malformed is simply not there for the judge.
import { z } from "zod";
import type { Raw } from "./fact.ts";
import { OFFICE_PLACES, type OfficeEvidence } from "./facts/office.ts";
import type { FatVolume } from "./fat.ts";
import { type Order, order } from "./order.ts";

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
  readonly kms: { readonly before?: Raw; readonly rearm?: Raw; readonly after?: Raw /** The boot that rearmed. */; readonly boot?: string };
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
  small: 4096,
  boots: 65_536,
  order: 4 * 1024 * 1024,
  fact: 1024 * 1024,
  inventory: 8 * 1024 * 1024,
  packaging: 16 * 1024 * 1024,
  picture: 1024 * 1024,
  pictures: 4,
  log: 65_536,
  entries: 1000,
  rounds: 64,
  list: 1000,
  problems: 50,
} as const;

export class Reader {
  readonly #volume: FatVolume;
  readonly #problems: string[];
  // Files of a damaged or hostile volume may share their clusters: their sum is bounded, not only each.
  #budget = 64 * 1024 * 1024;

  constructor(volume: FatVolume, problems: string[]) {
    this.#volume = volume;
    this.#problems = problems;
  }

  text(path: string, limit: number): string | undefined {
    const data = this.bytes(path, limit);
    return data && decode(data);
  }

  bytes(path: string, limit: number): Uint8Array | undefined {
    const found = this.#read(path, limit, false);
    if (found === undefined) return undefined;
    if (found.size > limit) {
      this.problem(`${path} is longer than ${limit} bytes (${found.size}) and was not read`);
      return undefined;
    }
    if (found.data.length !== found.size) {
      this.problem(`${path} ends after ${found.data.length} of ${found.size} bytes`);
      return undefined;
    }
    return found.data;
  }

  tail(path: string, limit: number): { text: string; size: number } | undefined {
    const found = this.#read(path, limit, true);
    return found && { text: decode(found.data), size: found.size };
  }

  #read(path: string, limit: number, tail: boolean): { data: Uint8Array; size: number } | undefined {
    if (this.#budget <= 0) {
      this.problem("the payload disk holds more than xenlayer reads");
      return undefined;
    }
    const found = this.attempt(path, () => this.#volume.read(`xenlayer/${path}`, limit, tail));
    this.#budget -= 512 + (found?.data.length ?? 0);
    return found;
  }

  line(path: string): string | undefined {
    return this.text(path, LIMIT.small)?.trim().split(/\r?\n/)[0]?.trim();
  }

  has(path: string): boolean {
    return this.attempt(path, () => this.#volume.read(`xenlayer/${path}`, 0)) !== undefined;
  }

  folders(path: string): string[] {
    const entries = this.attempt(path, () => this.#volume.list(`xenlayer/${path}`, LIMIT.entries)) ?? [];
    return entries.filter((entry) => entry.directory).map((entry) => entry.name.toLowerCase());
  }

  files(path: string): string[] {
    const entries = this.attempt(path, () => this.#volume.list(`xenlayer/${path}`, LIMIT.entries)) ?? [];
    return entries.filter((entry) => !entry.directory).map((entry) => entry.name.toLowerCase());
  }

  problem(text: string): void {
    if (this.#problems.length < LIMIT.problems) this.#problems.push(text);
  }

  attempt<T>(what: string, run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      this.problem(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }
}

export function read(disk: Reader, problems: readonly string[]): PayloadReport {
  const written = disk.text("order.json", LIMIT.order);
  const parsed = written === undefined ? undefined : parseOrder(written);
  if (written !== undefined && parsed === undefined) disk.problem("order.json is not an order of this version of xenlayer");
  const boots = (disk.text("out/boot.txt", LIMIT.boots) ?? "").split(/\r?\n/).flatMap((line) => {
    const [, n, id] = /^(\d{1,6}) ([\x21-\x7e]{1,100})\s*$/.exec(line) ?? [];
    return n === undefined || id === undefined ? [] : [{ n: Number(n), id }];
  });
  const report = parseReport(disk.text("out/report", LIMIT.small));
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

/** UTF-16 by its mark or its zeros (reg export, wmic), else UTF-8, else some code page: its ASCII part is all that a parser looks at. */
export function decode(data: Uint8Array): string {
  if (data[0] === 0xff && data[1] === 0xfe) return clean(new TextDecoder("utf-16le").decode(data));
  if (data[0] === 0xfe && data[1] === 0xff) return clean(new TextDecoder("utf-16be").decode(data));
  const head = data.subarray(0, 512);
  const zeros = head.filter((byte, index) => index % 2 === 1 && byte === 0).length;
  if (head.length >= 4 && zeros > head.length / 4) return clean(new TextDecoder("utf-16le").decode(data));
  try {
    return clean(new TextDecoder("utf-8", { fatal: true }).decode(data));
  } catch {
    return clean(new TextDecoder("windows-1252").decode(data));
  }
}

// A zero or an escape sequence is never part of an answer and may do harm where a report is shown.
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
const clean = (text: string): string => text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g, "");
