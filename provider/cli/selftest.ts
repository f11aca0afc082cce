// `xenlayer selftest`: gives a script that asks a real machine all that a finalize asks, and turns what comes back into a fixture. Promises: nothing is sent anywhere;
// what is there already is not written over; exit code 1 when an answer can't be read, which is the news that it is made for.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ParseArgsConfig } from "node:util";
import { explain, InputError } from "../errors.ts";
import { type GuestOs, guestOs } from "../guest/fact.ts";
import { FatVolume } from "../guest/fat.ts";
import { type Fixture, fixtureOf, type ReadBack, selftestScripts } from "../guest/selftest.ts";
import { type Command, count, parseOptions, UsageError } from "./command.ts";

const options = {
  os: { type: "string" },
  out: { type: "string" },
  image: { type: "string" },
  read: { type: "string" },
  where: { type: "string" },
} as const satisfies ParseArgsConfig["options"];

export const selftest: Command = {
  summary: "captures what a real machine answers to the questions of a finalize",
  usage: `Usage: xenlayer selftest --os windows|linux [--out FOLDER | --image FILE]
       xenlayer selftest --os windows|linux --read FOLDER|FILE --where TEXT [--out FILE]

Gives a script that asks a machine all that a finalize asks. Run it there as administrator
(root); it changes nothing. Bring its folder "out", or the disk, back and read it.

  --os OS        windows or linux
  --out FOLDER   writes the script into a folder; without it, it is printed
  --image FILE   writes it onto a disk image (raw, FAT, label SELFTEST) to be attached to a VM
  --read PATH    reads what came back: the folder with "out" in it, or the disk image
  --where TEXT   what machine that was; becomes the fixture's provenance
  --out FILE     with --read: writes the fixture as JSON; without it, a table is printed

Exit code: 0 done, 1 an answer is missing or can't be read, 2 not understood.
`,
  async run(args, { out }) {
    const values = parseOptions(args, options);
    const os = guestOs.safeParse(values.os);
    const problems = [
      ...(os.success ? [] : ["--os is windows or linux"]),
      ...(values.read !== undefined && values.where === undefined ? ["--where is missing: what machine was it?"] : []),
      ...(values.read !== undefined && values.image !== undefined ? ["--image and --read exclude each other"] : []),
    ];
    if (!os.success || problems.length > 0) throw new UsageError(problems);
    try {
      if (values.read === undefined) {
        out(await given(os.data, values));
        return 0;
      }
      const fixture = fixtureOf(os.data, values.where ?? "", await reader(values.read));
      if (values.out !== undefined) created(values.out, `${JSON.stringify(fixture, null, 2)}\n`);
      const bad = fixture.facts.filter(({ reading }) => /^(?:no answer|error)/.test(reading));
      out(
        `${values.out === undefined ? table(fixture) : `${values.out}\n`}${count(fixture.facts.length, "fact")}, ${bad.length} not understood.\n`,
      );
      return bad.length === 0 ? 0 : 1;
    } catch (error) {
      if (!isFileError(error)) throw error;
      throw new InputError([{ property: "", reason: explain(error) }]);
    }
  },
};

async function given(os: GuestOs, { out, image }: { out?: string | undefined; image?: string | undefined }): Promise<string> {
  const scripts = selftestScripts(os);
  const [main] = scripts;
  const how = `run ${main?.path} there as ${os === "windows" ? "administrator" : "root"}`;
  if (image !== undefined) {
    const data = await FatVolume.format(64 * 2 ** 20, "SELFTEST", (volume) => {
      for (const { path, text } of scripts) volume.write(path, new TextEncoder().encode(text));
    });
    created(image, data);
    return `${image}: attach it to a VM and ${how}\n`;
  }
  if (out === undefined) return scripts.map(({ path, text }) => (scripts.length === 1 ? text : `# --- ${path}\n${text}`)).join("\n");
  for (const { path, text } of scripts) created(join(out, path), text);
  return `${out}: copy it to a machine and ${how}\n`;
}

function created(path: string, data: string | Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, data, { flag: "wx" });
}

async function reader(path: string): Promise<ReadBack> {
  if (statSync(path).isDirectory()) {
    const folder = existsSync(join(path, "out")) ? join(path, "out") : path;
    return (name) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name)) : undefined);
  }
  const volume = await FatVolume.open(readFileSync(path));
  return (name) => volume.read(`out/${name}`, MOST_BYTES)?.data;
}

const MOST_BYTES = 64 * 2 ** 20;

const isFileError = (error: unknown): boolean => error instanceof Error && (error.name === "FatError" || "code" in error);

function table({ facts, provenance }: Fixture): string {
  const width = Math.max(...facts.map(({ id }) => id.length));
  const lines = facts.map(({ id, quiet, reading }) => `${quiet ? "quiet" : "LOUD "}  ${id.padEnd(width)}  ${reading.slice(0, 160)}`);
  return `${provenance.where}\n${lines.join("\n")}\n`;
}
