// A private root in which a linux guest's scripts run for real: bubblewrap, unprivileged, without network, with the host's /usr read-only and nothing else of it.
// Promises: what runs inside can write only to the guest's own folders; it dies with the guest, and with this process; its output is bounded.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { Writable } from "node:stream";

export interface SandboxFolders {
  /** The guest's / */
  root: string;
  /** Its own commands: /sbin, first on PATH. */
  commands: string;
  /** Further folders that the guest may write: a host folder by the guest's. As mounts they can't be replaced by links. */
  shared: readonly { host: string; guest: string }[];
  /** No file may become larger. */
  mostBytes: number;
  /** Its /run, as long as one boot; without it each command has one of its own. */
  run?: string;
  /** A file that stands for /proc/sys/kernel/random/boot_id. */
  bootId: string;
  /** Files laid over the host's read-only ones: a host path by the path that it covers. */
  covers: readonly { host: string; guest: string }[];
}

export interface Ended {
  /** 128 + number for a signal, as a shell says it. */
  rc: number;
}

export interface Started {
  ended: Promise<Ended>;
  input: Writable;
  process: number | undefined;
}

const MOST_BYTES = 4 * 1024 * 1024;

/** Why no sandbox can be made on this machine; undefined when it can. */
export function sandboxProblem(): string | undefined {
  const { status, error, stderr } = spawnSync("bwrap", [...ISOLATION, "--ro-bind", "/usr", "/usr", ...LINKS, "--proc", "/proc", "true"], {
    timeout: 10_000,
  });
  if (error !== undefined) return "bubblewrap is missing (Debian: apt-get install bubblewrap)";
  return status === 0 ? undefined : `bubblewrap does not work here: ${stderr.toString().trim().slice(0, 300)}`;
}

const ISOLATION = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--uid", "0", "--gid", "0", "--clearenv"];

const LINKS = ["--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"];

export class Sandbox {
  readonly #folders: SandboxFolders;
  readonly #hostName: string;
  readonly #children = new Set<ChildProcess>();
  #closed = false;

  constructor(folders: SandboxFolders, hostName: string) {
    this.#folders = folders;
    this.#hostName = hostName;
  }

  /** Runs a command; output is handed on as it comes, the first few MiB of it. */
  async run(command: readonly string[], cwd: string, output: (text: string) => void): Promise<Ended> {
    const { ended, input } = this.start(command, cwd, output);
    input.end();
    return ended;
  }

  /** The same, for one that is talked to while it runs. `process`: the host's number of what all its processes descend from. */
  start(command: readonly string[], cwd: string, output: (text: string) => void): Started {
    if (this.#closed) throw new Error("the guest has gone down");
    const limited = ["sh", "-c", `ulimit -c 0; ulimit -f ${Math.ceil(this.#folders.mostBytes / 512)}; exec "$@"`, "sh", ...command];
    const child = spawn("bwrap", [...this.#arguments(cwd), "--", ...limited], {
      stdio: "pipe",
      env: {},
      argv0: "bwrap",
    });
    this.#children.add(child);
    let bytes = 0;
    const decoder = new TextDecoder();
    const take = (data: Buffer): void => {
      bytes += data.length;
      if (bytes <= MOST_BYTES) output(decoder.decode(data, { stream: true }));
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    // Nobody has to listen to what is said.
    child.stdin.on("error", () => {});
    const ended = new Promise<Ended>((resolve, reject) => {
      child.once("error", (error) => {
        this.#children.delete(child);
        reject(error);
      });
      child.once("close", (code, signal) => {
        this.#children.delete(child);
        resolve({ rc: code ?? 128 + (signal === "SIGKILL" ? 9 : 15) });
      });
    });
    return { ended, input: child.stdin, process: child.pid };
  }

  /** Ends all that runs: with bubblewrap's own process goes the PID namespace with everything in it. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(
      [...this.#children].map(
        (child) =>
          new Promise<void>((resolve) => {
            child.once("close", () => resolve());
            if (child.exitCode !== null || child.signalCode !== null) resolve();
            child.kill("SIGKILL");
          }),
      ),
    );
  }

  #arguments(cwd: string): string[] {
    const { root, commands, shared, bootId, covers, run } = this.#folders;
    const proc = ["--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--ro-bind", bootId, "/proc/sys/kernel/random/boot_id"];
    return [
      ...ISOLATION,
      ...["--hostname", this.#hostName],
      ...["--bind", root, "/", "--ro-bind", "/usr", "/usr", "--ro-bind", commands, "/sbin"],
      // Debian's awk and others are links through here.
      ...["--ro-bind-try", "/etc/alternatives", "/etc/alternatives"],
      // As host's root, bubblewrap leaves /proc/sys writable for a process without any capability: kernel settings belong to uid 0.
      ...proc,
      ...(existsSync("/proc/sysrq-trigger") ? ["--ro-bind", "/dev/null", "/proc/sysrq-trigger"] : []),
      ...["--dev", "/dev", "--tmpfs", "/tmp", ...(run === undefined ? ["--tmpfs", "/run"] : ["--bind", run, "/run"])],
      ...shared.flatMap(({ host, guest }) => ["--bind", host, guest]),
      ...covers.flatMap(({ host, guest }) => ["--ro-bind", host, guest]),
      ...[
        "--setenv",
        "PATH",
        "/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/bin",
        "--setenv",
        "HOME",
        "/root",
        "--setenv",
        "LC_ALL",
        "C",
      ],
      ...["--chdir", cwd],
    ];
  }
}
