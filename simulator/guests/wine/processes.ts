// The Windows processes of a sandbox, as the host's /proc shows them: what a tasklist has to list.
import { readdirSync, readFileSync } from "node:fs";

/** Image names of all that descends from a process and is a Windows program: Wine shows its path in the command line. */
export function windowsProcesses(ancestor: number): string[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    // The program's name, in parentheses, may hold anything.
    const parent = / \S (\d+) /.exec(read(`/proc/${name}/stat`).replace(/^.*\)/s, ""))?.[1];
    if (parent !== undefined) parents.set(Number(name), Number(parent));
  }
  const descends = (process: number | undefined): boolean =>
    process !== undefined && (process === ancestor || descends(parents.get(process)));
  return [...parents.keys()]
    .filter(descends)
    .sort((a, b) => a - b)
    .flatMap((process) => {
      const [program = ""] = read(`/proc/${process}/cmdline`).split("\0");
      const image = /([^\\/]+\.exe)$/i.exec(program)?.[1];
      return image === undefined ? [] : [image];
    });
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // it has ended meanwhile
  }
}
