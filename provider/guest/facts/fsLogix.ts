// FSLogix in a layer. App Layering's own reason (icFsLogix) is the altitude of its file system filter beside FSLogix's: there is no such filter here. What remains is
// that nobody's profile may be sealed with the machine: a session that FSLogix still knows has, or had, a profile disk attached.
import { type Check, cannotTell, pending, ready } from "../fact.ts";
import { registryContents } from "../registry.ts";

const SESSIONS = "HKLM\\SOFTWARE\\FSLogix\\Profiles\\Sessions";

const sessions = registryContents("fslogix-sessions", [SESSIONS], ["\\Sessions\\"], "none");

export const fsLogix: Check = {
  id: "fsLogix",
  title: "FSLogix",
  prompt: "FSLogix knows sessions of users - please log them off and remove them on the Packaging Machine.",
  bit: { name: "fsLogix", value: 256 },
  policy: "warn",
  windows: {
    facts: [sessions],
    judge: (look) => {
      const answer = look(sessions);
      if (answer.kind !== "value") return cannotTell(sessions, answer);
      const users = answer.value.keys.filter((key) => /\\Sessions\\./i.test(key)).map((key) => key.slice(key.lastIndexOf("\\") + 1));
      return users.length === 0
        ? ready
        : pending(`FSLogix knows sessions of ${users.slice(0, 3).join(", ")} (${SESSIONS}): log them off and delete their keys.`);
    },
  },
};
