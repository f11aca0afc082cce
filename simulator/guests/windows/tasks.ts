// Windows' task scheduler as far as schtasks.exe shows it: tasks made from a definition (/xml), kept over restarts, run at start-up or on demand.
// The texts are schtasks' own (learn.microsoft.com, schtasks create, run, delete).
import { type Answer, complained, said } from "./process.ts";

export interface ScheduledTask {
  readonly command: string;
  readonly arguments: string;
  /** It has a BootTrigger that is enabled. */
  readonly atStart: boolean;
  /** Its principal is the system account. */
  readonly system: boolean;
}

interface Scheduler {
  readonly tasks: Map<string, ScheduledTask>;
  /** Undefined: there is no such file. */
  read(path: string): Uint8Array | undefined;
  start(task: ScheduledTask, name: string): void;
  save(): void;
}

export function schtasks(scheduler: Scheduler, args: readonly string[]): Answer {
  const verb = args[0]?.toLowerCase();
  const after = (option: string): string | undefined => args[args.findIndex((each) => each.toLowerCase() === option) + 1];
  const named = args.some((each) => each.toLowerCase() === "/tn") ? after("/tn") : undefined;
  if (named === undefined)
    return complained("ERROR: Invalid syntax. Mandatory option 'tn' is missing.\r\nType \"SCHTASKS /?\" for usage.\r\n");
  const name = named.replace(/^\\/, "");
  const key = [...scheduler.tasks.keys()].find((each) => each.toLowerCase() === name.toLowerCase());
  if (verb === "/create") {
    const forced = args.some((each) => each.toLowerCase() === "/f");
    const file = args.some((each) => each.toLowerCase() === "/xml") ? after("/xml") : undefined;
    const data = file === undefined ? undefined : scheduler.read(file);
    if (data === undefined) return complained("ERROR: The system cannot find the file specified.\r\n");
    const task = definedBy(data);
    if (typeof task === "string") return complained(`ERROR: The task XML is malformed.\r\n${task}\r\n`);
    // Nobody is there to be asked whether it may be replaced.
    if (key !== undefined && !forced) return said(`WARNING: The task name "${name}" already exists. Do you want to replace it (Y/N)? `, 1);
    scheduler.tasks.set(key ?? name, task);
    scheduler.save();
    return said(`SUCCESS: The scheduled task "${name}" has successfully been created.\r\n`);
  }
  const task = key === undefined ? undefined : scheduler.tasks.get(key);
  if (key === undefined || task === undefined) return complained("ERROR: The system cannot find the file specified.\r\n");
  if (verb === "/run") {
    scheduler.start(task, key);
    return said(`SUCCESS: Attempted to run the scheduled task "${name}".\r\n`);
  }
  // What it runs goes on.
  if (verb === "/delete") {
    scheduler.tasks.delete(key);
    scheduler.save();
    return said(`SUCCESS: The scheduled task "${name}" was successfully deleted.\r\n`);
  }
  if (verb === "/query")
    return said(`\r\nFolder: \\\r\nTaskName                                 Next Run Time          Status         \r\n${name}\r\n`);
  return complained(`ERROR: Invalid argument/option - '${args[0] ?? ""}'.\r\nType "SCHTASKS /?" for usage.\r\n`);
}

/** A task, or what is wrong with its definition. */
function definedBy(data: Uint8Array): ScheduledTask | string {
  const wide = data[0] === 0xff && data[1] === 0xfe;
  const text = new TextDecoder(wide ? "utf-16le" : "utf-8").decode(data);
  const encoding = /^<\?xml[^>]*encoding="([^"]+)"/.exec(text)?.[1]?.toUpperCase();
  if (encoding !== undefined && (encoding === "UTF-16") !== wide) return "(1,40)::ERROR: unable to switch the encoding";
  const of = (tag: string): string | undefined =>
    new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(text)?.[1]?.replaceAll("&quot;", '"').replaceAll("&amp;", "&");
  const command = of("Command");
  if (command === undefined || !/<Task [^>]*xmlns="http:\/\/schemas\.microsoft\.com\/windows\/2004\/02\/mit\/task"/.test(text))
    return "(1,2)::ERROR: one root element";
  const [, trigger] = /<BootTrigger(?:\s*\/>|>([\s\S]*?)<\/BootTrigger>)/.exec(text) ?? [];
  return {
    command,
    arguments: of("Arguments") ?? "",
    atStart: /<BootTrigger[\s/>]/.test(text) && !/<Enabled>false</.test(trigger ?? ""),
    system: of("UserId") === "S-1-5-18",
  };
}
