// What makes a Linux machine itself and would be alike in all images: machine-id (systemd takes it for DHCP, the journal and more) and the host keys of SSH.
// Only said: an image that is used once may keep them.
import { type Check, type Fact, judgeAbsent, OTHER_BIT, pending, unknown, value, words } from "../fact.ts";

const ids: Fact<string[]> = {
  id: "machine-identity",
  command: [
    "[ -d /etc ] || exit 2",
    'if [ -s /etc/machine-id ] && [ "$(cat /etc/machine-id)" != uninitialized ]; then echo "own /etc/machine-id"; fi',
    'for f in /etc/ssh/ssh_host_*_key; do if [ -e "$f" ]; then echo "own $f"; fi; done',
    "echo checked",
  ].join("\n"),
  quiet: { kind: "equals", text: "checked" },
  fix: "none",
  parse: (raw) => {
    const lines = raw.out.trim().split(/\r?\n/);
    const last = lines.pop();
    if (raw.rc !== 0 || last !== "checked" || !lines.every((line) => line.startsWith("own /")))
      return unknown(`ended with ${raw.rc}: ${words(raw)}`);
    return lines.length === 0 ? { kind: "absent" } : value(lines.map((line) => line.slice("own ".length, 204)));
  },
};

export const machineIdentity: Check = {
  id: "machineIdentity",
  title: "The machine's own identity",
  prompt: "The machine's own identity would be in all images - please remove it on the Packaging Machine.",
  bit: OTHER_BIT,
  policy: "warn",
  linux: {
    facts: [ids],
    judge: (look) =>
      judgeAbsent(ids, look, (files) =>
        pending(
          `All images would have the same ${files.slice(0, 6).join(", ")}: empty machine-id and delete the host keys of SSH in a clean-up step.`,
        ),
      ),
  },
};
