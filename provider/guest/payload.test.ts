// The payload disk against programs that are not ours: mtools and fsck.vfat read what we write, and write what we read.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { parseReport } from "./evidence.ts";
import { FatVolume } from "./fat.ts";
import { buildOrder, type StepInput } from "./order.ts";
import { payloadFileProblem, readPayload, writePayload } from "./payload.ts";
import { decode } from "./payloadFiles.ts";
import { judgeFinalize, judgePackage } from "./verdict.ts";

const tools = ["mcopy", "mdir", "mlabel", "fsck.vfat"].filter(
  (program) => spawnSync("sh", ["-c", `PATH=$PATH:/usr/sbin:/sbin command -v ${program}`]).status !== 0,
);
if (process.env.CI === "true" && tools.length > 0) throw new Error(`${tools.join(", ")} missing: apt-get install mtools dosfstools`);

const folder = mkdtempSync(join(tmpdir(), "xenlayer-payload-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const step: StepInput = { name: "VDA", shell: "cmd", run: "echo hello", secretEnv: { TOKEN: "s3cret" } };
const order = buildOrder({ order: "package", os: "windows", layer: "plat", version: "1", install: [step] });
const content = {
  order,
  secrets: { "01": { TOKEN: "s3cret" } },
  files: [{ name: "A long name (1).msi", data: new Uint8Array(3_000_000).fill(7) }],
};

/** A payload that a guest has answered on, written with the same FAT code that mtools has checked. */
async function answered(files: Record<string, string | Uint8Array>): Promise<Uint8Array> {
  return FatVolume.format(4 * 1024 * 1024, "CIDATA", (volume) => {
    for (const [path, data] of Object.entries(files))
      volume.write(`xenlayer/${path}`, typeof data === "string" ? new TextEncoder().encode(data) : data);
  });
}

describe.skipIf(tools.length > 0)("read by mtools and fsck.vfat", () => {
  const image = join(folder, "payload.img");
  const run = (program: string, ...args: string[]): string =>
    execFileSync(program, args, {
      encoding: "utf8",
      env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, MTOOLS_SKIP_CHECK: "1" },
    });

  it("is a sound volume with the label CIDATA and all that an order needs", async () => {
    writeFileSync(image, await writePayload(content));
    expect(run("fsck.vfat", "-n", "-v", image)).not.toMatch(/error|differ|wrong|inconsisten/i);
    expect(run("mlabel", "-i", image, "-s", "::")).toContain("CIDATA");
    expect(run("mcopy", "-i", image, "::meta-data", "-")).toBe(`instance-id: xenlayer-${order.nonce}\n`);
    expect(run("mcopy", "-i", image, "::user-data", "-")).toMatch(/^rem cmd\r\n/);
    expect(JSON.parse(run("mcopy", "-i", image, "::xenlayer/order.json", "-"))).toEqual(order);
    expect(run("mcopy", "-i", image, "::xenlayer/secret/01.cmd", "-")).toContain("set TOKEN=s3cret");
    run("mcopy", "-n", "-i", image, "::xenlayer/files/A long name (1).msi", join(folder, "copy"));
    expect(readFileSync(join(folder, "copy")).equals(Buffer.from(content.files[0]?.data ?? []))).toBe(true);
  });

  it("gives back what a guest's own FAT code wrote", async () => {
    writeFileSync(image, await writePayload(content));
    const put = (path: string, text: string): void => {
      writeFileSync(join(folder, "part"), text, "latin1");
      run("mcopy", "-o", "-i", image, join(folder, "part"), `::xenlayer/out/${path}`);
    };
    run("mmd", "-i", image, "::xenlayer/out/steps", "::xenlayer/out/steps/01");
    put("boot.txt", "1 1-77\r\n");
    for (const [name, text] of [
      ["state", "done\r\n"],
      ["rc", "0\r\n"],
      ["log", "hello\r\n"],
      ["finished", "Mon 11/23/2026 10:00:00.00\r\n"],
    ] as const)
      put(`steps/01/${name}`, text);
    put(
      "report",
      `format=1\r\nnonce=${order.nonce}\r\norder=package\r\nboot=1-77\r\nboots=1\r\nstate=done\r\nattempt=0\r\nround=\r\nstep=\r\nblocked=\r\n`,
    );
    const report = await readPayload(readFileSync(image));
    expect(report.problems).toEqual([]);
    expect(report.steps).toEqual([
      { id: "01", state: "done", rc: 0, log: "hello\r\n", logBytes: 7, finished: "Mon 11/23/2026 10:00:00.00", timedOut: false, tries: 0 },
    ]);
    expect(judgePackage(order, report)).toMatchObject({ state: "ready", summary: "all 1 steps are done" });
  });
});

describe("writing", () => {
  it("keeps a Linux guest's bootstrap in user-data that cloud-init runs at every boot", async () => {
    const linux = buildOrder({ order: "finalize", os: "linux", layer: "l", version: "1" });
    const volume = await FatVolume.open(await writePayload({ order: linux }));
    const text = new TextDecoder().decode(volume.read("user-data", 4096)?.data);
    expect(text).toMatch(/^#cloud-config\n/);
    expect(text).toContain("[scripts-user, always]");
    expect(text).toContain('exec sh "$m/xenlayer/run.sh"');
    volume.close();
  });

  it("has a Linux guest's network by the names of its cards, which an image keeps, and leaves that of Windows alone", async () => {
    const read = async (os: "linux" | "windows") => {
      const volume = await FatVolume.open(await writePayload({ order: buildOrder({ order: "finalize", os, layer: "l", version: "1" }) }));
      const data = volume.read("network-config", 4096)?.data;
      volume.close();
      return data && new TextDecoder().decode(data);
    };
    expect(await read("linux")).toBe('version: 2\nethernets:\n  eth0:\n    match:\n      name: "e*"\n    dhcp4: true\n');
    expect(await read("windows")).toBeUndefined();
  });

  it("brings along what an earlier run has done, so that it is not done again", async () => {
    const done = { id: "01", state: "done" as const, rc: 3010, log: "was done", logBytes: 8, timedOut: false, tries: 1 };
    const report = await readPayload(await writePayload({ ...content, done: [done] }));
    expect(report.steps).toEqual([{ ...done, tries: 0 }]);
    expect(report.report).toBeUndefined();
    expect(judgePackage(order, report).state).toBe("neverRan");
  });

  it("refuses a step without its secret, and names that FAT, Windows or a shell would change", async () => {
    await expect(writePayload({ order })).rejects.toThrow('step "VDA" lacks the value of TOKEN');
    for (const name of ["a/b", "..", "nul", "COM1.txt", "a\u00fc", "x.", "a:b", ""]) expect(payloadFileProblem(name), name).toBeDefined();
    expect(payloadFileProblem("VDA_2402 (x64).exe")).toBeUndefined();
    await expect(
      writePayload({
        ...content,
        files: [
          { name: "A", data: new Uint8Array() },
          { name: "a", data: new Uint8Array() },
        ],
      }),
    ).rejects.toThrow("twice");
  });

  it("grows with its files", async () => {
    expect((await writePayload({ order, secrets: content.secrets })).length).toBe(32 * 1024 * 1024);
    expect((await writePayload({ ...content, files: [{ name: "big", data: new Uint8Array(40 * 1024 * 1024) }] })).length).toBeGreaterThan(
      64 * 1024 * 1024,
    );
  });
});

/** Counts how often it is read from. */
class CountedReads extends Uint8Array {
  reads = 0;
  override subarray(begin?: number, end?: number): Uint8Array<ArrayBuffer> {
    this.reads++;
    return new Uint8Array(this.buffer as ArrayBuffer, begin, (end ?? this.length) - (begin ?? 0));
  }
}

describe("reading what a guest wrote", () => {
  it("understands UTF-16, UTF-8 and code pages, and drops control characters", () => {
    const utf16 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "utf16le"));
    expect(decode(new Uint8Array([0xff, 0xfe, ...utf16("ok \u00fc\r\n")]))).toBe("ok \u00fc\r\n");
    expect(decode(utf16("1001\r\n"))).toBe("1001\r\n");
    expect(decode(new TextEncoder().encode("\u00fcber"))).toBe("\u00fcber");
    expect(decode(new Uint8Array([0x81, 0x62, 0x65, 0x72]))).toHaveLength(4);
    expect(decode(new TextEncoder().encode("a\u001b[31mb\u0000c"))).toBe("a[31mbc");
  });

  it("takes an answer only with all of its three files", async () => {
    const image = await answered({
      "out/facts/a/x.rc": "0\r\n",
      "out/facts/a/x.out": "yes",
      "out/facts/a/y.rc": "1",
      "out/facts/a/y.out": "",
      "out/facts/a/y.err": "",
      "out/facts/a/z.rc": "zero",
      "out/facts/a/z.out": "",
      "out/facts/a/z.err": "",
      "out/facts/a/w.rc": "absent",
    });
    const round = (await readPayload(image)).rounds.get("a");
    expect([...(round ?? [])]).toEqual([
      ["y", { out: "", err: "", rc: 1 }],
      ["w", "absent"],
    ]);
  });

  it("does not read what is too long, and says so", async () => {
    const image = await answered({
      "out/facts/a/x.rc": "0",
      "out/facts/a/x.out": "y".repeat(1024 * 1024 + 1),
      "out/facts/a/x.err": "",
      "out/report": "x".repeat(5000),
    });
    const report = await readPayload(image);
    expect(report.rounds.get("a")?.size).toBe(0);
    expect(report.report).toBeUndefined();
    expect(report.problems).toEqual(expect.arrayContaining([expect.stringContaining("out/report is longer than 4096 bytes")]));
  });

  it("keeps the end of a long log", async () => {
    const report = await readPayload(
      await answered({ "out/steps/01/log": `${"x".repeat(100_000)}the end`, "out/steps/01/state": "failed" }),
    );
    expect(report.steps[0]?.log.endsWith("the end")).toBe(true);
    expect([report.steps[0]?.log.length, report.steps[0]?.logBytes]).toEqual([65_536, 100_007]);
  });

  it.each([
    ["no bytes", new Uint8Array()],
    ["zeros", new Uint8Array(1024 * 1024)],
    ["a boot sector and nothing behind it", undefined],
  ])("finds no report on %s", async (_what, bytes) => {
    const image = bytes ?? (await answered({ "out/report": "format=1" })).subarray(0, 512);
    const report = await readPayload(image);
    expect(report.problems.length).toBeGreaterThan(0);
    expect(judgeFinalize(order, report).state).toBe("neverRan");
  });

  it("has no report from a text with a key twice, without a state, or of another format", () => {
    const fine = "format=1\nnonce=n\norder=finalize\nboot=b\nboots=1\nstate=ready\n";
    expect(parseReport(fine)).toMatchObject({ state: "ready", boots: 1 });
    for (const bad of [
      `${fine}state=ready\n`,
      fine.replace("ready", "fine"),
      fine.replace("format=1", "format=2"),
      fine.replace("boots=1", "boots=x"),
      `${fine}no key\n`,
      "",
    ])
      expect(parseReport(bad)).toBeUndefined();
  });

  it("survives a volume that was scribbled over, whatever was hit", async () => {
    const sound = await answered({
      "out/report": `format=1\nnonce=${order.nonce}\norder=package\nboot=b\nboots=1\nstate=done\n`,
      "out/boot.txt": "1 b\n",
      "out/steps/01/state": "done",
      "out/steps/01/rc": "0",
      "out/facts/a/x.rc": "1",
    });
    const area = fc.array(fc.tuple(fc.oneof(fc.nat(2048), fc.nat(sound.length - 1)), fc.uint8Array({ minLength: 1, maxLength: 64 })), {
      minLength: 1,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(area, async (hits) => {
        const image = sound.slice();
        for (const [offset, bytes] of hits) image.set(bytes.subarray(0, image.length - offset), offset);
        const report = await readPayload(image);
        expect(report.problems.length).toBeLessThanOrEqual(51);
      }),
      { numRuns: 150, seed: 7 },
    );
  });

  it.each([
    ["logs that are said to be longer than the volume", "log", 6, 10_000],
    ["folders whose entries never end", "folder", 100, 1_200_000],
  ])("does not walk in circles: %s", async (_what, circular, count, most) => {
    const many = Array.from({ length: count }, (_, index) => `out/steps/${String(index + 100)}/`);
    const image = await FatVolume.format(32 * 1024 * 1024, "CIDATA", (volume) => {
      for (const folder of many)
        if (circular === "log") volume.write(`xenlayer/${folder}log`, new Uint8Array(1));
        else volume.makeFolders(`xenlayer/${folder}`);
    });
    // FAT16, its first FAT: from each such chain's first cluster to one whose entry lies in another sector, and back.
    const view = new DataView(image.buffer);
    const fat = view.getUint16(14, true) * 512;
    const root = fat + view.getUint8(16) * view.getUint16(22, true) * 512;
    const data = root + view.getUint16(17, true) * 32;
    const clusterBytes = view.getUint8(13) * 512;
    const wanted = circular === "log" ? /^LOG {8}$/ : /^\d{3} {8}$/;
    for (let at = data; at < image.length; at += 32) {
      if (!wanted.test(Buffer.from(image.subarray(at, at + 11)).toString("latin1"))) continue;
      const first = view.getUint16(at + 26, true);
      view.setUint16(fat + first * 2, 6000, true);
      view.setUint16(fat + 6000 * 2, first, true);
      if (circular === "log") view.setUint32(at + 28, 0xffff_ffff, true);
      // Entries of files that were deleted, and none that says that no more follow.
      else
        for (const cluster of [first, 6000]) {
          const begin = data + (cluster - 2) * clusterBytes;
          for (let entry = begin; entry < begin + clusterBytes; entry += 32) image[entry] = 0xe5;
        }
    }
    const counted = new CountedReads(image);
    const report = await readPayload(counted);
    expect(report.steps.length).toBe(count);
    expect(report.problems).toContainEqual(expect.stringMatching(/the files are longer than the volume|a disk error/));
    expect(counted.reads).toBeLessThan(most);
  });

  it("takes any text for any file and never throws", async () => {
    const name = fc.constantFrom(
      "out/report",
      "out/boot.txt",
      "order.json",
      "out/fixes.txt",
      "out/steps/01/rc",
      "out/steps/01/state",
      "out/facts/a/ngen-workers.rc",
      "out/facts/a/ngen-workers.out",
      "out/kms/before.out",
      "out/kms/before.rc",
    );
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, fc.uint8Array({ maxLength: 300 })), async (files) => {
        const report = await readPayload(await answered(files));
        expect(judgePackage(order, report).state).toBe("neverRan");
      }),
      { numRuns: 60, seed: 11 },
    );
  });
});
