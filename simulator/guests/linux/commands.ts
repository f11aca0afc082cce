// The few commands that a linux guest has of its own, first on its PATH: what would touch the machine goes to the simulator through a spool folder.
// They are sh scripts. Each puts a request there under a name of its own, complete at once by a rename; those that wait read a FIFO beside it.

import { spawnSync } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";

/** Where it is mounted in the guest. */
export const GUEST_FOLDER = "/run/xapisim";

/** Where the payload disk is, for a guest that can mount nothing. */
export const PAYLOAD_MOUNT = "/run/xenlayer-payload";
const PAYLOAD_DEVICE = "/dev/xvdb";

const spool = `${GUEST_FOLDER}/spool`;

/** Puts a request there and waits until it is answered. $1: its kind, $2: its text. */
const ASK = `ask() {
  f=$(mktemp -u "${spool}/XXXXXXXXXX") || exit 1
  mkfifo "$f.wake" || exit 1
  printf '%s\\n' "$2" >"$f.new" && mv "$f.new" "$f.$1"
  read -r answer <"$f.wake"
  rm -f "$f.wake"
}`;

/** Nothing of the guest runs on after it. */
const power = (how: string): string => `printf '%s\\n' ${how} >"${spool}/$$.new" && mv "${spool}/$$.new" "${spool}/$$.power"
kill -KILL -1
exit 0`;

const halting = `case "$*" in *--help*) echo "usage: $0"; exit 0 ;; esac`;

const xenstore = `${GUEST_FOLDER}/xenstore`;

// Paths as xenstored takes them; a leading slash or /local/domain/N is not known here.
const checkPath = `check() {
  case $1 in
    '' | /* | *[!A-Za-z0-9_@/-]*) echo "xenstore: $1: Invalid argument" >&2; exit 1 ;;
  esac
}`;

const TOOLS: Readonly<Record<string, string>> = {
  "xenstore-write": `${checkPath}
[ $# -ge 2 ] || { echo "Usage: xenstore-write PATH VALUE [...]" >&2; exit 2; }
while [ $# -ge 2 ]; do
  check "$1"
  if [ "\${#2}" -gt 2048 ]; then echo "xenstore-write: could not write path $1" >&2; exit 1; fi
  mkdir -p "${xenstore}/$1" && printf '%s' "$2" >"${xenstore}/$1/.new.$$" && mv "${xenstore}/$1/.new.$$" "${xenstore}/$1/.value" || exit 1
  shift 2
done
printf 'written\\n' >"${spool}/$$.new" && mv "${spool}/$$.new" "${spool}/$$.xenstore"`,
  "xenstore-read": `${checkPath}
for path; do
  check "$path"
  [ -e "${xenstore}/$path/.value" ] || { echo "xenstore-read: couldn't read path $path" >&2; exit 1; }
  cat "${xenstore}/$path/.value"
  echo
done`,
  "xenstore-exists": `${checkPath}
check "$1"
[ -e "${xenstore}/$1" ]`,
  "xenstore-list": `${checkPath}
check "$1"
[ -d "${xenstore}/$1" ] || { echo "xenstore-list: could not list path $1" >&2; exit 1; }
ls -1 "${xenstore}/$1"`,
};

const COMMANDS: Readonly<Record<string, string>> = {
  reboot: `${halting}\n${power("reboot")}`,
  poweroff: `${halting}\n${power("poweroff")}`,
  halt: `${halting}\n${power("poweroff")}`,
  shutdown: `how=poweroff
for argument; do
  case $argument in
    -r | --reboot) how=reboot ;;
    -c) echo "shutdown: nothing is scheduled" >&2; exit 1 ;;
  esac
done
${power("$how")}`,
  // On a merged system /usr/sbin/reboot and its like are links to it: it goes by its name.
  systemctl: `case \${0##*/} in
  reboot) exec /sbin/reboot ;;
  poweroff | halt) exec /sbin/poweroff ;;
  shutdown) exec /sbin/shutdown "$@" ;;
esac
case $1 in
  reboot) exec reboot ;;
  poweroff | halt) exec poweroff ;;
esac
unit=/etc/systemd/system/$2
wanted=/etc/systemd/system/multi-user.target.wants
case $1 in
  daemon-reload) exit 0 ;;
  enable)
    [ -e "$unit" ] || { echo "Failed to enable unit: Unit file $2 does not exist." >&2; exit 1; }
    mkdir -p "$wanted" && cp "$unit" "$wanted/$2"
    exit
    ;;
  disable) rm -f "$wanted/$2"; exit 0 ;;
esac
echo "System has not been booted with systemd as init system (PID 1). Can't operate." >&2
exit 1`,
  // The payload disk is a folder here. What mounts it gets a link to that.
  blkid: `[ "$1 $2" = "-L CIDATA" ] && [ -d ${PAYLOAD_MOUNT} ] && { echo ${PAYLOAD_DEVICE}; exit 0; }
exit 2`,
  mountpoint: `for last; do :; done
[ -L "$last" ]`,
  mount: `for last; do :; done
case " $* " in
  *" ${PAYLOAD_DEVICE} "*) rmdir "$last" && ln -s ${PAYLOAD_MOUNT} "$last"; exit ;;
esac
echo "mount: $last: permission denied." >&2
exit 32`,
  // Simulated time: a guest that waits keeps nobody waiting. What is not a plain number of seconds waits for real.
  sleep: `case $# in 1) ;; *) exec /usr/bin/sleep "$@" ;; esac
case $1 in '' | *[!0-9.]* | *.*.*) exec /usr/bin/sleep "$@" ;; esac
${ASK}
ask sleep "$1"`,
  sync: `${ASK}\nask sync all`,
};

/** Scripts by name. Without VM tools there is no xenstore. */
export function guestCommands(tools: boolean): Record<string, string> {
  const all = tools ? { ...COMMANDS, ...TOOLS } : COMMANDS;
  return Object.fromEntries(Object.entries(all).map(([name, text]) => [name, `#!/bin/sh\n${text}\n`]));
}

export const BUSYBOX = "/usr/bin/busybox";

/** What busybox has a program for: first on PATH they make the small userland of Alpine and its like. */
export function applets(): string[] {
  const { stdout, error } = spawnSync(BUSYBOX, ["--list"], { encoding: "utf8" });
  return error === undefined ? stdout.split("\n").filter((name) => /^[A-Za-z0-9._+-]+$/.test(name)) : [];
}

/** Programs of the host's /usr that these commands are laid over, for scripts that call them by their paths: [the host's file, our command]. */
export function coveredPrograms(): [string, string][] {
  const covered = new Map<string, string>();
  for (const name of ["reboot", "poweroff", "halt", "shutdown"]) {
    for (const path of [`/usr/sbin/${name}`, `/usr/bin/${name}`]) {
      if (!existsSync(path)) continue;
      const real = realpathSync(path);
      const file = real.split("/").at(-1) ?? name;
      if (real.startsWith("/usr/")) covered.set(real, file in COMMANDS ? file : name);
    }
  }
  return [...covered];
}
