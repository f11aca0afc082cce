// Windows' own programs: what a guest is asked with. Each answers in the form of the real one: texts, exit codes, streams, CRLF (guest.md 2, wine.md 3 and 5).
// What is not here is answered as an unknown command is: a fact that the model can't answer must be an error, never quiet.

import type { WindowsDescriptor } from "../descriptor.ts";
import type { Files } from "./files.ts";
import { pnputil, regExport } from "./inventory.ts";
import { NO_REARM_LEFT, ospp, ospprearm } from "./office.ts";
import { type Answer, argumentsOf, complained, type Process, said } from "./process.ts";
import { reg } from "./registry.ts";
import type { System } from "./system.ts";
import { type ScheduledTask, schtasks } from "./tasks.ts";
import { fsutil, manageBde } from "./volumes.ts";

export interface ProgramContext {
  readonly system: System;
  readonly files: Files;
  readonly descriptor: WindowsDescriptor;
  readonly process: Process;
  /** Images of the processes that run now, tasklist.exe itself among them. */
  processes(): string[];
  /** Names of inserted ISO images. */
  readonly cds: readonly string[];
  sleep(ms: number): Promise<void>;
  startTask(task: ScheduledTask, name: string): void;
  /** False: it is going down already. */
  power(how: "poweroff" | "reboot", delaySeconds: number): boolean;
}

type BuiltIn = (context: ProgramContext, args: readonly string[], rest: string) => Answer | undefined | Promise<Answer>;

const scQuery: BuiltIn = ({ system }, [verb = "", name = ""]) => {
  if (verb.toLowerCase() !== "query" || name === "") return complained("ERROR:  Unrecognized command\r\n", 1639);
  const service =
    name.toLowerCase() === "msiserver" ? "msiserver" : [...system.services].find((each) => each.toLowerCase() === name.toLowerCase());
  if (service === undefined) {
    return said(
      "[SC] EnumQueryServicesStatus:OpenService FAILED 1060:\r\n\r\nThe specified service does not exist as an installed service.\r\n\r\n",
      1060,
    );
  }
  const installer = service === "msiserver";
  const running = !installer || system.installerWorks || system.installerIdles;
  // While an installation runs the service accepts SHUTDOWN and nothing else (learn.microsoft.com, _MSIExecute mutex).
  const accepts =
    installer && system.installerWorks ? "NOT_STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN" : "STOPPABLE, NOT_PAUSABLE, ACCEPTS_SHUTDOWN";
  const state = running ? `4  RUNNING \r\n                                (${accepts})` : "1  STOPPED ";
  return said(
    `\r\nSERVICE_NAME: ${service} \r\n        TYPE               : 10  WIN32_OWN_PROCESS  \r\n        STATE              : ${state}\r\n        WIN32_EXIT_CODE    : ${running ? "0  (0x0)" : "1077  (0x435)"}\r\n` +
      "        SERVICE_EXIT_CODE  : 0  (0x0)\r\n        CHECKPOINT         : 0x0\r\n        WAIT_HINT          : 0x0\r\n",
  );
};

const tasklist: BuiltIn = ({ processes }, args) => {
  const given = args.map((argument) => argument.toLowerCase());
  const after = (name: string): string | undefined => (given.includes(name) ? args[given.indexOf(name) + 1] : undefined);
  const known = ["/fo", "/nh", "/fi"];
  if (
    given.some(
      (argument, index) => argument.startsWith("/") && !known.includes(argument) && !["/fo", "/fi"].includes(given[index - 1] ?? ""),
    )
  )
    return complained('ERROR: Invalid argument/option.\r\nType "TASKLIST /?" for usage.\r\n');
  const format = (after("/fo") ?? "table").toLowerCase();
  const [, wanted] = /^imagename\s+eq\s+(.+)$/i.exec(after("/fi") ?? "") ?? [];
  if (after("/fi") !== undefined && wanted === undefined) return complained("ERROR: The search filter cannot be recognized.\r\n");
  const rows = processes()
    .map((image, index) => ({
      image,
      pid: index === 0 ? 0 : index * 4 + (index > 3 ? 600 : 0),
      memory: index === 0 ? "8 K" : `${(index * 977) % 90}${index},${String((index * 313) % 1000).padStart(3, "0")} K`,
    }))
    .filter(({ image }) => wanted === undefined || image.toLowerCase() === wanted.toLowerCase());
  if (rows.length === 0) return said("INFO: No tasks are running which match the specified criteria.\r\n");
  if (format === "csv") {
    const head = given.includes("/nh") ? "" : '"Image Name","PID","Session Name","Session#","Mem Usage"\r\n';
    return said(head + rows.map(({ image, pid, memory }) => `"${image}","${pid}","Services","0","${memory}"\r\n`).join(""));
  }
  if (format !== "table") return complained("ERROR: Invalid value for /FO option.\r\n");
  const head = given.includes("/nh")
    ? "\r\n"
    : `\r\n${"Image Name".padEnd(25)} ${"PID".padStart(8)} ${"Session Name".padEnd(16)} ${"Session#".padStart(11)} ${"Mem Usage".padStart(12)}\r\n${"=".repeat(25)} ${"=".repeat(8)} ${"=".repeat(16)} ${"=".repeat(11)} ${"=".repeat(12)}\r\n`;
  return said(
    head +
      rows
        .map(
          ({ image, pid, memory }) =>
            `${image.slice(0, 25).padEnd(25)} ${String(pid).padStart(8)} ${"Services".padEnd(16)} ${"0".padStart(11)} ${memory.padStart(12)}\r\n`,
        )
        .join(""),
  );
};

const LICENCES: Readonly<Record<string, string>> = {
  VOLUME_KMSCLIENT: "Volume:GVLK",
  VOLUME_MAK: "Volume:MAK",
  RETAIL: "Retail",
  OEM_DM: "OEM:DM",
};
// slmgr.vbs hands an HRESULT on as its exit code (its QuitIfError, ShowErrorNum).
const REARMED = 0xc004d302 | 0;
const WITHOUT_TEXT = "On a computer running Microsoft Windows non-core edition, run 'slui.exe 0x2a 0xC004D302' to display the error text.";
const cscript: BuiltIn = ({ system, descriptor }, args) => {
  const [script = "", verb = ""] = args.filter((argument) => !argument.startsWith("//"));
  const office = ospp(descriptor, system, script, verb);
  if (office !== undefined) return office;
  if (!/(^|\\)slmgr\.vbs$/i.test(script)) return complained(`Input Error: Can not find script file "${script}".\r\n`);
  const { channel } = descriptor.kms;
  const version = `${descriptor.os.major ?? 10}.${descriptor.os.minor ?? 0}.${descriptor.os.build ?? 22631}`;
  // Until the restart (clong/DetectionLab#902: the version, then the error).
  if (system.kms.rearmed && /^\/(dlv|rearm)$/i.test(verb)) {
    const shown = /^\/dlv$/i.test(verb) ? `Software licensing service version: ${version}.1\r\n` : "";
    return said(`${shown}Error: 0xC004D302 ${WITHOUT_TEXT}\r\n`, REARMED);
  }
  if (/^\/rearm$/i.test(verb)) {
    if (system.kms.rearmCount === 0)
      return said(
        "Error: 0xC004D307 The maximum allowed number of re-arms has been exceeded. You must re-install the OS before trying to re-arm again. \r\n",
        NO_REARM_LEFT,
      );
    system.kms.rearmCount--;
    system.kms.rearmed = true;
    system.save();
    return said("Command completed successfully. \r\nPlease restart the system for the changes to take effect. \r\n");
  }
  if (!/^\/dl[iv]$/i.test(verb)) return said("Unrecognized option: slmgr.vbs\r\n", 0);
  const client = channel === "VOLUME_KMSCLIENT";
  const lines = [
    `Software licensing service version: ${version}.1`,
    "",
    `Name: Windows(R), ${descriptor.os.uname || "Enterprise"} edition`,
    `Description: Windows(R) Operating System, ${channel} channel`,
    "Activation ID: 73111121-5638-40f6-bc11-f1d7b0d64300",
    "Application ID: 55c92734-d682-4d71-983e-d6ec3f16059f",
    "Extended PID: 03612-03308-000-000001-03-1033-22631.0000-3272026",
    `Product Key Channel: ${LICENCES[channel] ?? channel}`,
    "Partial Product Key: 2YT43",
    `License Status: ${client ? "Initial grace period" : "Licensed"}`,
    `Remaining Windows rearm count: ${system.kms.rearmCount}`,
    `Remaining SKU rearm count: ${system.kms.rearmCount}`,
  ];
  return said(`${lines.join("\r\n")}\r\n`);
};

/** find "text" file: what lines hold the text. */
const find: BuiltIn = ({ files, process }, _args, rest) => {
  const quoted = /"((?:[^"]|"")*)"/.exec(rest);
  if (quoted === null) return complained("FIND: Parameter format not correct\r\n", 2);
  const text = (quoted[1] ?? "").replaceAll('""', '"');
  const others = argumentsOf(`${rest.slice(0, quoted.index)} ${rest.slice(quoted.index + quoted[0].length)}`);
  const switches = others.filter((each) => each.startsWith("/")).map((each) => each.toLowerCase());
  const names = others.filter((each) => !each.startsWith("/"));
  const fold = (line: string): string => (switches.includes("/i") ? line.toLowerCase() : line);
  const select = (content: string): string[] =>
    content
      .split(/\r?\n/)
      .filter((line, index, all) => (index < all.length - 1 || line !== "") && fold(line).includes(fold(text)) !== switches.includes("/v"));
  if (names.length === 0) {
    const lines = select(process.input ?? "");
    return said(switches.includes("/c") ? `${lines.length}\r\n` : lines.map((line) => `${line}\r\n`).join(""), lines.length > 0 ? 0 : 1);
  }
  let out = "";
  let found = 0;
  for (const name of names) {
    const content = files.readText(files.locate(name, process.cwd));
    if (content === undefined) return { out, err: `File not found - ${name.toUpperCase()}\r\n`, rc: 1 };
    const lines = select(content);
    found += lines.length;
    out += switches.includes("/c")
      ? `\r\n---------- ${name.toUpperCase()}: ${lines.length}\r\n`
      : `\r\n---------- ${name.toUpperCase()}\r\n${lines.map((line) => `${line}\r\n`).join("")}`;
  }
  return said(out, found > 0 ? 0 : 1);
};

const findstr: BuiltIn = ({ files, process }, args) => {
  const switches = args.filter((each) => /^\/[a-z]+$/i.test(each)).map((each) => each.toLowerCase());
  const literal = args.filter((each) => /^\/c:/i.test(each)).map((each) => each.slice(3));
  const others = args.filter((each) => !each.startsWith("/"));
  const wanted = literal.length > 0 ? literal : (others[0] ?? "").split(" ").filter((word) => word !== "");
  const names = literal.length > 0 ? others : others.slice(1);
  if (wanted.length === 0 || switches.some((each) => !["/i", "/l", "/v"].includes(each)))
    return complained("FINDSTR: Bad command line\r\n", 2);
  const fold = (text: string): string => (switches.includes("/i") ? text.toLowerCase() : text);
  let out = "";
  for (const content of names.length === 0 ? [process.input ?? ""] : names.map((name) => files.readText(files.locate(name, process.cwd)))) {
    if (content === undefined) return complained(`FINDSTR: Cannot open ${names[0] ?? ""}\r\n`);
    for (const line of content.split(/\r?\n/)) {
      if (line !== "" && wanted.some((word) => fold(line).includes(fold(word))) !== switches.includes("/v")) out += `${line}\r\n`;
    }
  }
  return said(out, out === "" ? 1 : 0);
};

const ping: BuiltIn = async ({ sleep }, args) => {
  const at = args.findIndex((argument) => argument.toLowerCase() === "-n");
  const count = at < 0 ? 4 : Number(args[at + 1]);
  const address = args.filter((_, index) => at < 0 || (index !== at && index !== at + 1)).at(-1);
  if (!(count > 0) || address === undefined) return said("Bad value for option -n, valid range is from 1 to 4294967295.\r\n", 1);
  await sleep((count - 1) * 1000);
  const local = /^(127\.0\.0\.1|localhost)$/i.test(address);
  if (!local) return said(`Ping request could not find host ${address}. Please check the name and try again.\r\n`, 1);
  const reply = `Reply from 127.0.0.1: bytes=32 time<1ms TTL=128\r\n`;
  return said(`\r\nPinging 127.0.0.1 with 32 bytes of data:\r\n${reply.repeat(Math.min(count, 4))}`);
};

const timeout: BuiltIn = async ({ process, sleep }, args) => {
  if (process.input !== undefined) return complained("ERROR: Input redirection is not supported, exiting the process immediately.\r\n");
  const seconds = Number(args.find((argument) => /^\d+$/.test(argument)));
  if (Number.isNaN(seconds)) return complained("ERROR: Invalid syntax. Default option is not allowed more than '1' time(s).\r\n");
  await sleep(seconds * 1000);
  return said(`\r\nWaiting for ${seconds} seconds, press a key to continue ...\r\n`);
};

const shutdown: BuiltIn = ({ power }, args) => {
  const given = args.map((argument) => argument.toLowerCase().replace(/^-/, "/"));
  const seconds = given.includes("/t") ? Number(given[given.indexOf("/t") + 1]) : 30;
  const how =
    given.includes("/r") || given.includes("/g")
      ? "reboot"
      : given.includes("/s") || given.includes("/p") || given.includes("/sg")
        ? "poweroff"
        : undefined;
  if (how === undefined || Number.isNaN(seconds))
    return said("Usage: shutdown [/i | /l | /s | /sg | /r | /g | /a | /p | /h | /e | /o] [/hybrid] [/soft] [/fw] [/f]\r\n", 1);
  return power(how, given.includes("/p") ? 0 : seconds) ? said("") : complained("A system shutdown is in progress.(1115)\r\n", 1115);
};

/** ngen.exe lies in a folder of its own for each framework, and nowhere on the path. */
export function frameworkOf(program: string): string | undefined {
  return /^C:\\Windows\\Microsoft\.NET\\(Framework(?:64)?\\v[0-9.]+)\\ngen(?:\.exe)?$/i.exec(program)?.[1]?.replace("\\", "/");
}

const PROGRAMS: Readonly<Record<string, BuiltIn>> = {
  reg: ({ system, files, process }, args) => {
    system.refresh();
    const [verb = "", ...rest] = args;
    if (verb.toLowerCase() !== "export") return reg(system.registry, args);
    return regExport(system.registry, rest, (file, data) => files.write(files.locate(file, process.cwd), data));
  },
  pnputil: ({ system }, args) => pnputil(system.registry, args),
  sc: scQuery,
  tasklist,
  cscript,
  fsutil: ({ system, files, cds }, args) => fsutil(system.registry, files, cds, args),
  "manage-bde": ({ system }, args) => manageBde(system.registry, args),
  find,
  findstr,
  ping,
  timeout,
  shutdown,
  schtasks: ({ system, files, process, startTask }, args) =>
    schtasks(
      {
        tasks: system.tasks,
        read: (path) => files.read(files.locate(path, process.cwd)),
        start: startTask,
        save: () => system.save(),
      },
      args,
    ),
  hostname: ({ descriptor }) => said(`${descriptor.hostName}\r\n`),
  whoami: () => said("nt authority\\system\r\n"),
};

export const BUILT_IN = [...Object.keys(PROGRAMS), "cmd", "powershell"];

/** A program of Windows by its name or its full path, or Office's; undefined: there is none. */
export function builtIn(program: string): BuiltIn | undefined {
  if (/\\OSPPREARM(\.exe)?$/i.test(program)) return ({ descriptor, system }) => ospprearm(descriptor, system, program);
  const [, name] = /^(?:C:\\Windows\\System32\\)?([a-z-]+)(?:\.exe)?$/i.exec(program) ?? [];
  return name !== undefined && Object.hasOwn(PROGRAMS, name.toLowerCase()) ? PROGRAMS[name.toLowerCase()] : undefined;
}
