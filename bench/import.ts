// Import of disk image files: what its time follows, how fast it is beside curl, and what it takes of memory.
import { execFile } from "node:child_process";
import { randomFillSync } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Process } from "./processes.ts";
import { median, type Row, range } from "./table.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
/** Data lies in runs, spread evenly over the disk. */
const RUN = 16 * MiB;
const ROUNDS = { sparse: 3, warm: 3, dense: 15 };
const SPARSE = [
  [10, 0.25],
  [10, 1],
  [100, 0.25],
  [100, 1],
] as const;

interface Access {
  address: string;
  username: string;
  password: string;
}

export async function importRows(progress: (line: string) => void): Promise<Row[]> {
  const dir = await mkdtemp(join(tmpdir(), "xenlayer-bench-"));
  const simulator = new Process("simulator.js", { seed: 1, stateDir: join(dir, "pool") });
  try {
    const access = await simulator.ask<Access>("access");
    return [...(await sparse(dir, access, progress)), await memory(dir, access), ...(await dense(dir, access, progress))];
  } finally {
    await simulator.end();
    await rm(dir, { recursive: true, force: true });
  }
}

async function sparse(dir: string, access: Access, progress: (line: string) => void): Promise<Row[]> {
  const provider = new Process("provider.js", access);
  try {
    const images: { virtual: number; data: number; path: string; seconds: number[] }[] = [];
    for (const [virtual, data] of SPARSE) images.push({ virtual, data, path: await image(dir, virtual * GiB, data * GiB), seconds: [] });
    await provider.ask("import", images[0]?.path);
    for (let round = 1; round <= ROUNDS.sparse; round++) {
      progress(`import of sparse files: round ${round} of ${ROUNDS.sparse}`);
      for (const { path, seconds } of images) seconds.push(await provider.ask<number>("import", path));
    }
    const time = (virtual: number, data: number) =>
      median(images.find((each) => each.virtual === virtual && each.data === data)?.seconds ?? []);
    const ratios = (a: number, b: number, by: "virtual" | "data") =>
      by === "virtual"
        ? median([0.25, 1].map((data) => time(a, data) / time(b, data)))
        : median([10, 100].map((virtual) => time(virtual, a) / time(virtual, b)));
    const size = ratios(100, 10, "virtual");
    const data = ratios(1, 0.25, "data");
    const rows = images.map(({ virtual, data: gib, seconds }) => ({
      figure: `import, ${virtual} GiB disk with ${gib} GiB of data`,
      measured: range(seconds, (value) => `${value.toFixed(2)} s`),
      aim: "",
      met: undefined,
    }));
    return [
      ...rows,
      {
        figure: "import: 10 times the virtual size takes",
        measured: `${size.toFixed(2)} times as long`,
        aim: "about 1 (below 1.5)",
        met: size < 1.5,
      },
      { figure: "import: 4 times the data takes", measured: `${data.toFixed(2)} times as long`, aim: "at most 4 (below 5)", met: data < 5 },
    ];
  } finally {
    await provider.end();
  }
}

async function memory(dir: string, access: Access): Promise<Row> {
  const provider = new Process("provider.js", access);
  try {
    const growth = (await provider.ask<number>("growth", await image(dir, 100 * GiB, GiB))) / MiB;
    return {
      figure: "import, 100 GiB disk with 1 GiB of data: growth of the provider's memory",
      measured: `${growth.toFixed(0)} MiB`,
      aim: "below 64 MiB",
      met: growth < 64,
    };
  } finally {
    await provider.end();
  }
}

/** The same file by the provider and by curl, in turns. A raw file goes as a VHD stream and by curl as it is; a VHD file is the same bytes for both. */
async function dense(dir: string, access: Access, progress: (line: string) => void): Promise<Row[]> {
  const provider = new Process("provider.js", access);
  try {
    const raw = await image(dir, GiB, GiB);
    const vhd = join(dir, "dense.vhd");
    await provider.ask("convert", raw, vhd);
    const rows: Row[] = [];
    for (const [format, path] of [
      ["raw", raw],
      ["vhd", vhd],
    ] as const) {
      const ratios: number[] = [];
      const ours = () => provider.ask<number>("import", path);
      const theirs = () => curl(provider, access, path, format);
      // Until the code on both sides is compiled.
      for (let round = 1; round <= ROUNDS.warm; round++) {
        await ours();
        await theirs();
      }
      for (let round = 1; round <= ROUNDS.dense; round++) {
        // Whichever comes first may find the machine in another mood.
        const first = round % 2 === 1 ? await ours() : await theirs();
        const second = round % 2 === 1 ? await theirs() : await ours();
        const ratio = round % 2 === 1 ? second / first : first / second;
        progress(`import of dense ${format}: round ${round} of ${ROUNDS.dense}, ${ratio.toFixed(2)} of curl's throughput`);
        ratios.push(ratio);
      }
      rows.push({
        figure: `import of 1 GiB of dense data, ${format} file: throughput relative to \`curl -T\``,
        measured: range(ratios, (value) => value.toFixed(2)),
        aim: "at least 0.9",
        met: median(ratios) >= 0.9,
      });
    }
    return rows;
  } finally {
    await provider.end();
  }
}

/** Seconds that `curl -T` takes to put the file on a disk of its own. */
async function curl(provider: Process, { address, username, password }: Access, path: string, format: string): Promise<number> {
  const vdi = await provider.ask<string>("disk", GiB);
  const from = performance.now();
  // Without Expect: XAPI answers before the body anyway.
  const options = ["--silent", "--show-error", "--fail", "--user", `${username}:${password}`, "--header", "Expect:"];
  await promisify(execFile)("curl", [...options, "--upload-file", path, `${address}/import_raw_vdi?vdi=${vdi}&format=${format}`]);
  const seconds = (performance.now() - from) / 1000;
  await provider.ask("destroy", vdi);
  return seconds;
}

async function image(dir: string, size: number, data: number): Promise<string> {
  const path = join(dir, `${size / MiB}-${data / MiB}.img`);
  const file = await open(path, "w");
  try {
    await file.truncate(size);
    const run = Buffer.alloc(RUN);
    const runs = data / RUN;
    for (let index = 0; index < runs; index++)
      await file.write(randomFillSync(run), 0, RUN, Math.floor(((size / runs) * index) / RUN) * RUN);
    await file.sync();
  } finally {
    await file.close();
  }
  return path;
}
