// Wine's own Windows: a prefix made once on a machine, from which each boot of a guest gets a copy. Wine puts 690 MB of programs and libraries into a prefix;
// all but 2 MB of that are copies of what lies below /usr, so that here they are links to it, which no guest can write through: its /usr is read-only.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sandbox, sandboxProblem } from "../sandbox.ts";
import { PROGRAMS_FOLDER, RELAYED, WINE_OWN_PREFIX } from "./programs.ts";

/** Where a guest's prefix is mounted, and what Wine is told by its environment. */
export const PREFIX_MOUNT = "/prefix";
const NATIVE = RELAYED.map((name) => `${name}.exe`).join(",");
export const WINE_ENVIRONMENT: Readonly<Record<string, string>> = {
  WINEPREFIX: PREFIX_MOUNT,
  WINEDEBUG: "-all",
  // No dialogs about .NET and a browser; and Wine takes its own program for one of these names, wherever it lies, unless it is told so.
  WINEDLLOVERRIDES: `mscoree,mshtml=;${NATIVE}=n`,
  USER: "Administrator",
  LC_ALL: "C.UTF-8",
};

/** Of what is made here. */
const FORMAT = 1;

/** Why no guest can run under Wine on this machine; undefined when it can. */
export function wineProblem(): string | undefined {
  if (process.arch !== "x64") return `the guest is for x86-64, this machine is ${process.arch}`;
  const { status, error, stdout } = spawnSync("wine", ["--version"], { timeout: 10_000, env: { ...process.env, WINEDEBUG: "-all" } });
  if (error !== undefined || status !== 0) return "Wine is missing (Debian: apt-get install --no-install-recommends wine)";
  const [, major] = /^wine-(\d+)\./.exec(stdout.toString()) ?? [];
  if (Number(major) < 8) return `Wine 8 or later is needed, this is ${stdout.toString().trim()}`;
  return libraries().length === 0 ? "Wine's libraries are in none of the folders where distributions keep them" : sandboxProblem();
}

/** Folders of files that a new prefix holds copies of. */
function libraries(): string[] {
  const roots = ["/usr/lib/x86_64-linux-gnu/wine", "/usr/lib64/wine", "/usr/lib/wine"].filter((path) =>
    existsSync(join(path, "x86_64-windows")),
  );
  return [...roots.flatMap((root) => ["x86_64-windows", "i386-windows"].map((name) => join(root, name))), "/usr/share/wine/nls"].filter(
    (path) => roots.length > 0 && existsSync(path),
  );
}

let template: Promise<string> | undefined;

/** The prefix to be copied, made once for a user and a version of Wine. */
export function winePrefix(): Promise<string> {
  template ??= kept().catch((error: unknown) => {
    template = undefined;
    throw error;
  });
  return template;
}

async function kept(): Promise<string> {
  const [library = ""] = libraries();
  const { size, mtimeMs } = statSync(join(library, "kernel32.dll"));
  const key = createHash("sha256")
    .update(JSON.stringify([FORMAT, library, size, mtimeMs, RELAYED]))
    .digest("hex")
    .slice(0, 16);
  const place = join(tmpdir(), `xapi-wine-${process.getuid?.() ?? "user"}-${key}`);
  if (isOurs(place)) {
    if (isWhole(place)) return place;
    // Something tidies up that folder, file by file.
    rmSync(place, { recursive: true, force: true });
  }
  const folder = mkdtempSync(join(tmpdir(), "xapi-wine-new-"));
  try {
    const prefix = await make(folder);
    try {
      renameSync(prefix, place);
    } catch (error) {
      // Another process was faster.
      if (!isOurs(place)) throw error;
    }
    return place;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** In a folder that everybody may write nobody else's is taken. */
function isOurs(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  return stat?.isDirectory() === true && (process.getuid === undefined || stat.uid === process.getuid());
}

const isWhole = (prefix: string): boolean =>
  ["system.reg", "user.reg", "drive_c/windows/system32/kernel32.dll"].every((name) => existsSync(join(prefix, name)));

async function make(folder: string): Promise<string> {
  const prefix = join(folder, "prefix");
  mkdirSync(prefix);
  const sandbox = new Sandbox(
    { ...rootIn(folder), shared: [{ host: prefix, guest: PREFIX_MOUNT }], mostBytes: 2 ** 30, covers: [] },
    "WINE",
  );
  const { rc } = await sandbox.run(
    ["sh", "-c", `${exported()}\n{ wineboot -i; winecfg -v win10; wineserver -k; wineserver -w; } >/dev/null 2>&1 </dev/null`],
    "/",
    () => {},
  );
  if (!isWhole(prefix)) throw new Error(`Wine did not make a prefix in ${prefix} (wineboot ended with ${rc})`);
  share(join(prefix, "drive_c"), libraries());
  // The whole of the sandbox as a drive is nothing that a guest needs.
  rmSync(join(prefix, "dosdevices/z:"), { force: true });
  relay(join(prefix, "drive_c/windows/system32"));
  return prefix;
}

/** The empty system around a prefix: bubblewrap's root with what has to be there to be mounted on. */
export function rootIn(folder: string): { root: string; commands: string; bootId: string } {
  const at = { root: join(folder, "root"), commands: join(folder, "sbin"), bootId: join(folder, "boot_id") };
  for (const path of [at.root, at.commands]) {
    rmSync(path, { recursive: true, force: true });
    mkdirSync(path, { recursive: true });
  }
  for (const name of ["usr", "sbin", "proc", "dev", "tmp", "run", "etc/alternatives", "root", PREFIX_MOUNT.slice(1)])
    mkdirSync(join(at.root, name), { recursive: true });
  for (const name of ["bin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(at.root, name));
  // Without a file that says so fontconfig complains that there are none.
  mkdirSync(join(at.root, "etc/fonts"), { recursive: true });
  writeFileSync(join(at.root, "etc/fonts/fonts.conf"), "<fontconfig><cachedir>/tmp/fontconfig</cachedir></fontconfig>\n");
  writeFileSync(at.bootId, "00000000-0000-4000-8000-000000000000\n");
  return at;
}

export const exported = (): string =>
  Object.entries(WINE_ENVIRONMENT)
    .map(([name, text]) => `export ${name}='${text}'`)
    .join("\n");

/** Links instead of copies; and folders instead of links, which Wine makes for a user's documents. */
function share(folder: string, from: readonly string[]): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink()) {
      rmSync(path);
      mkdirSync(path);
    } else if (entry.isDirectory()) share(path, from);
    else {
      const original = from.map((library) => join(library, entry.name)).find((each) => existsSync(each) && sameContent(each, path));
      if (original === undefined) continue;
      rmSync(path);
      symlinkSync(realpathSync(original), path);
    }
  }
}

const sameContent = (one: string, other: string): boolean =>
  statSync(one).size === statSync(other).size && readFileSync(one).equals(readFileSync(other));

/** Puts the relay in the place of programs that Wine lacks or only pretends to have; its own stay beside them under another name. */
function relay(system32: string): void {
  for (const name of RELAYED) {
    const folder = name === "powershell" ? join(system32, "WindowsPowerShell/v1.0") : system32;
    mkdirSync(folder, { recursive: true });
    const path = join(folder, `${name}.exe`);
    if (existsSync(path)) symlinkSync(realpathSync(path), join(folder, `${WINE_OWN_PREFIX}${name}.exe`));
    rmSync(path, { force: true });
    symlinkSync(`${PROGRAMS_FOLDER}/relay.exe`, path);
  }
  writeFileSync(join(system32, "slmgr.vbs"), "' What this script says comes from the simulator: cscript.exe asks it.\r\n");
}
