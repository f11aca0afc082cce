// Which programs run in a Windows guest, by `tasklist`. Image names are not localised, and the list always holds tasklist.exe itself:
// that line is the proof that the program answered (Wine's tasklist prints nothing and ends with 0).
import { type Fact, type FixKind, type Raw, type Reading, unknown, value, words } from "./fact.ts";

export interface Process {
  readonly image: string;
  readonly pid: number;
}

const ROW = /^"([^"]*)","(\d+)",/;

export function parseTasklist(raw: Raw): Reading<Process[]> {
  if (raw.rc !== 0) return unknown(`tasklist ended with ${raw.rc}: ${words(raw)}`);
  const processes: Process[] = [];
  for (const line of raw.out.split(/\r?\n/)) {
    const [, image, pid] = ROW.exec(line) ?? [];
    if (image !== undefined && pid !== undefined) processes.push({ image, pid: Number(pid) });
  }
  if (!processes.some((entry) => entry.image.toLowerCase() === "tasklist.exe"))
    return unknown("the list of processes lacks tasklist.exe itself");
  return value(processes);
}

export function processList(id: string, images: readonly string[], fix: FixKind): Fact<Process[]> {
  return {
    id,
    command: "tasklist /fo csv /nh",
    quiet: { kind: "textAbsent", text: [...images], present: ["tasklist.exe"], anyCase: true },
    worker: true,
    fix,
    parse: parseTasklist,
  };
}

export function running(processes: readonly Process[], images: readonly string[]): Process[] {
  const wanted = images.map((image) => image.toLowerCase());
  return processes.filter((entry) => wanted.includes(entry.image.toLowerCase()));
}

export const named = (processes: readonly Process[]): string =>
  processes.map((entry) => `${entry.image} (process ${entry.pid})`).join(", ");
