// What runs at a Linux guest's start besides the payload's script itself: what cloud-init makes of user-data, and the units that are enabled. Told as commands for
// the sandbox; both write what they remember into the guest's root, before anything of the guest runs in it.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const WANTED = "etc/systemd/system/multi-user.target.wants";

/** ExecStart of each enabled unit. The disk is FAT and holds no links: `systemctl enable` of this guest copies the unit. */
export function enabledUnits(root: string): { unit: string; command: string }[] {
  const folder = join(root, WANTED);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".service"))
    .sort()
    .flatMap((unit) => {
      const command = /^ExecStart=(.+)$/m.exec(readFileSync(join(folder, unit), "utf8"))?.[1];
      return command === undefined ? [] : [{ unit, command }];
    });
}

/**
 * cloud-init (cc_runcmd.py, cc_scripts_user.py): runcmd is written as a script once an instance, and the final stage runs it once an instance too, unless user-data
 * gives scripts-user the frequency "always". The script's path in the guest; undefined: it has had its turn.
 */
export function cloudInitScript(root: string, metaData: string, userData: string): string | undefined {
  const instance = /^instance-id:[ \t]*([\w.-]+)/m.exec(metaData)?.[1] ?? "nocloud";
  const folder = join("var/lib/cloud/instances", instance);
  const script = join(folder, "scripts/runcmd");
  const done = join(root, folder, "sem/config_scripts_user");
  for (const name of ["scripts", "sem"]) mkdirSync(join(root, folder, name), { recursive: true });
  if (!existsSync(join(root, script))) writeFileSync(join(root, script), `#!/bin/sh\n${runcmdOf(userData).join("\n")}\n`, { mode: 0o700 });
  if (existsSync(done) && !/\[\s*scripts-user\s*,\s*always\s*\]/.test(userData)) return undefined;
  writeFileSync(done, "");
  return `/${script}`;
}

/** Of YAML only what such user-data is written in: a list of plain lines or literal blocks, or `[a, b]` of plain texts. */
function runcmdOf(userData: string): string[] {
  const [, flow, block] = /^runcmd:[ \t]*(?:\[(.*)\][ \t]*$|\n((?:[ \t]+.*\n?|\n)*))/m.exec(userData) ?? [];
  if (flow !== undefined) return flow.split(",").map((each) => each.trim());
  const commands: string[] = [];
  for (const line of (block ?? "").split("\n")) {
    const [, item] = /^ {0,2}- (.*)$/.exec(line) ?? [];
    if (item === undefined) {
      if (commands.length > 0) commands[commands.length - 1] += `${line.replace(/^ {4}/, "")}\n`;
    } else commands.push(item === "|" ? "" : item);
  }
  return commands;
}
