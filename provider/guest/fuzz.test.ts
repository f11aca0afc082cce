// Whole reports that a guest has spoilt: whatever bytes it writes, they are read within bounds, judged, and told; and nothing but a whole report, every fact of
// which is well-formed and quiet, is ever read as ready.
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { checks, factsOf } from "./checks.ts";
import type { Raw } from "./fact.ts";
import { FatVolume } from "./fat.ts";
import { buildOrder, type Order } from "./order.ts";
import { readPayload } from "./payload.ts";
import { licensing, officeRearmed, quietAnswers, quietPayload, rearmed } from "./testing.ts";
import { isQuiet, judgeFinalize } from "./verdict.ts";
import { verdict } from "./verdictReport.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const utf16 = (text: string): Uint8Array => new Uint8Array(Buffer.from(`\ufeff${text}`, "utf16le"));

type Files = Record<string, Uint8Array>;

const suffixed = <T>(of: Readonly<Record<string, T>>, name: string): Record<string, T> =>
  Object.fromEntries(Object.entries(of).map(([id, each]) => [`${id}-${name}`, each]));

/** What a quiet guest has written, file by file. */
function whole(order: Order): Files {
  const files: Files = { "order.json": encode(JSON.stringify(order)), "out/boot.txt": encode("1 1-4711\r\n") };
  for (const round of ["a", "b", "c"]) {
    for (const [id, raw] of quietAnswers(order.os)) {
      const path = `out/facts/${round}/${id}`;
      files[`${path}.rc`] = encode(raw === "absent" ? "absent\r\n" : `${raw.rc}\r\n`);
      if (raw === "absent") continue;
      files[`${path}.out`] = encode(raw.out);
      files[`${path}.err`] = encode(raw.err);
    }
  }
  const kms: Record<string, Raw> = order.kms.rearm
    ? { before: licensing("VOLUME_KMSCLIENT", 5), rearm: rearmed, after: licensing("VOLUME_KMSCLIENT", 4) }
    : {};
  for (const [name, raw] of Object.entries(kms)) {
    files[`out/kms/${name}.rc`] = encode(`${raw.rc}\r\n`);
    files[`out/kms/${name}.out`] = encode(raw.out);
    files[`out/kms/${name}.err`] = encode(raw.err);
  }
  if (order.kms.rearm) files["out/kms/started"] = encode("1-4711\r\n");
  if (order.office.rearm) {
    const { status, rearm, boot = "" } = officeRearmed;
    const all = { ...suffixed(status, "status"), ...suffixed(rearm, "rearm") };
    for (const [name, raw] of Object.entries(all)) {
      files[`out/office/${name}.rc`] = encode(raw === "absent" ? "absent\r\n" : `${raw.rc}\r\n`);
      if (raw === "absent") continue;
      files[`out/office/${name}.out`] = encode(raw.out);
      files[`out/office/${name}.err`] = encode(raw.err);
    }
    files["out/office/started"] = encode(`${boot}\r\n`);
  }
  const said = {
    format: 1,
    nonce: order.nonce,
    order: "finalize",
    boot: "1-4711",
    boots: 1,
    state: "ready",
    attempt: 1,
    round: "c",
    step: "",
    blocked: "",
  };
  files["out/report"] = encode(
    Object.entries(said)
      .map(([key, value]) => `${key}=${value}\r\n`)
      .join(""),
  );
  return files;
}

const onDisk = (files: Files): Promise<Uint8Array> =>
  FatVolume.format(8 * 1024 * 1024, "CIDATA", (volume) => {
    for (const [path, data] of Object.entries(files)) volume.write(`xenlayer/${path}`, data);
  });

const orderOf = (os: "windows" | "linux") =>
  buildOrder({ order: "finalize", os, layer: "plat", version: "1", kms: os === "windows", office: os === "windows" });
const orders = { windows: orderOf("windows"), linux: orderOf("linux") };
const judged = async (order: Order, files: Files) => judgeFinalize(order, await readPayload(await onDisk(files)));

beforeAll(async () => {
  for (const order of Object.values(orders)) expect((await judged(order, whole(order))).state).toBe("ready");
});

describe.each(["windows", "linux"] as const)("a report of a %s guest", (os) => {
  const order = orders[os];
  const quiet = whole(order);
  const paths = Object.keys(quiet).filter((path) => path !== "order.json");
  /** Streams of errors may hold anything: nobody judges by them alone. */
  const judgedBy = paths.filter((path) => !path.endsWith(".err"));

  const spoilt = fc.oneof(
    { weight: 2, arbitrary: fc.constant(undefined) },
    fc.uint8Array({ maxLength: 200 }),
    fc.string({ maxLength: 60 }).map(encode),
    fc
      .constantFrom("", "\0\0\0", "0", "1", "absent", "-1", "9009", "ready", "state=ready\nstate=ready\n", "\u00fc\u0416\u4e2d", "\ufffd")
      .map(encode),
    fc.string({ maxLength: 40 }).map(utf16),
    fc.constant(new Uint8Array(1_100_000).fill(65)),
  );

  it("of which one file is gone, cut or scribbled over is ready only if that file still says that all is quiet", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...judgedBy), fc.oneof(spoilt, fc.nat(400)), async (path, change) => {
        const files = { ...quiet };
        const before = quiet[path] as Uint8Array;
        const data = typeof change === "number" ? before.subarray(0, Math.min(change, Math.max(0, before.length - 1))) : change;
        if (data === undefined) delete files[path];
        else files[path] = data;
        const result = await judged(order, files);
        expect(verdict.safeParse(JSON.parse(JSON.stringify(result))).success).toBe(true);
        if (result.state !== "ready") return;
        const [, round, id] = /^out\/facts\/([abc])\/(.+)\.(?:rc|out)$/.exec(path) ?? [];
        const report = await readPayload(await onDisk(files));
        // Else it was the report, the boots or a rearm: these say the same as before, but for blanks and what stands behind it.
        if (round === undefined || id === undefined) {
          expect([result.kms.state, result.office?.state]).toEqual(os === "windows" ? ["ready", "ready"] : ["off", undefined]);
          return;
        }
        const fact = order.facts.find((entry) => entry.id === id);
        const raw = report.rounds.get(round)?.get(id);
        const parsed =
          raw === undefined
            ? "missing"
            : raw === "absent"
              ? "absent"
              : factsOf(os)
                  .find((entry) => entry.fact.id === id)
                  ?.fact.parse(raw).kind;
        expect([id, parsed === "missing" || parsed === "error"]).toEqual([id, false]);
        expect(
          fact === undefined ||
            isQuiet(fact, raw) ||
            result.checks.some(({ id: check, verdict: v }) => check === fact.check && v !== "failed"),
        ).toBe(true);
      }),
      { numRuns: 120, seed: 21 },
    );
  });

  it("of which many files are spoilt at once is told and never ready without them", async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom(...paths), spoilt, { maxKeys: 30 }), async (changes) => {
        const files = { ...quiet };
        for (const [path, data] of Object.entries(changes)) {
          if (data === undefined) delete files[path];
          else files[path] = data;
        }
        const result = await judged(order, files);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
        expect(result.checks.map(({ message }) => message).join("") + result.summary).not.toMatch(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/);
        expect(result.summary.length).toBeLessThan(6000);
        const missing = ["a", "b", "c"].some((round) =>
          order.facts.some(({ id }) => `out/facts/${round}/${id}.rc` in quiet && files[`out/facts/${round}/${id}.rc`] === undefined),
        );
        if (missing) expect(result.state).not.toBe("ready");
      }),
      { numRuns: 40, seed: 22 },
    );
  });

  it("is of this order, this boot and this finalize alone", async () => {
    const text = new TextDecoder().decode(quiet["out/report"]);
    const as = async (from: string, to: string) => (await judged(order, { ...quiet, "out/report": encode(text.replace(from, to)) })).state;
    // Replayed from another order, cloned with another machine, of an earlier boot, of the packaging.
    expect(await as(order.nonce, "f".repeat(32))).toBe("neverRan");
    expect(await as("boot=1-4711", "boot=1-4710")).toBe("neverRan");
    expect(await as("boots=1", "boots=2")).toBe("neverRan");
    expect(await as("order=finalize", "order=package")).toBe("neverRan");
    expect(await as("state=ready", "state=blocked")).toBe("blocked");
    expect((await judged(order, { ...quiet, "out/boot.txt": encode("1 1-4711\n2 2-4712\n") })).state).toBe("neverRan");
    // A clock that jumps changes nothing: no time of the guest's is believed.
    const other = whole({ ...order, nonce: "0".repeat(32) });
    expect((await judged(order, other)).state).toBe("neverRan");
  });
});

it("whatever stands on the disk, reading it ends", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), fc.nat(64), async (bytes, at) => {
      const image = await onDisk(whole(orders.linux));
      image.set(bytes, Math.min(at * 512, image.length - bytes.length));
      const report = await readPayload(image).catch((error: unknown) => error);
      if (report instanceof Error) return;
      const result = judgeFinalize(orders.linux, report as Awaited<ReturnType<typeof readPayload>>);
      expect(["ready", "blocked", "failed", "neverRan"]).toContain(result.state);
    }),
    { numRuns: 40, seed: 23 },
  );
});

it("no answer of one fact makes up for another's: each fact alone, unread, keeps the guest from being ready", () => {
  for (const order of Object.values(orders)) {
    for (const { id } of order.facts) {
      const payload = quietPayload(order);
      const round = new Map(payload.rounds.get("b"));
      round.delete(id);
      const result = judgeFinalize(order, { ...payload, rounds: new Map([...payload.rounds, ["b", round]]) });
      expect([id, result.state]).toEqual([id, "failed"]);
    }
  }
  expect(checks.length).toBe(19);
});
