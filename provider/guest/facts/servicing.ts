// Windows servicing at work beside the restart that it may ask for (pendingReboot.ts): packages that wait for their turn, and its own flag.
// PackagesPending may be there and empty: its subkeys count (packer-plugin-windows-update). ServicingInProgress is undocumented: 0 idle, 1 a restart is pending
// (which RebootPending says too), 2 at work, as Ansible's win_updates has found; anything else is new and waited for.
import { type Check, cannotTell, type Fact, joinJudgements, judgeAbsent, pending, ready } from "../fact.ts";
import { dword, type RegistryAnswer, registryContents, registryValue, valueNamed } from "../registry.ts";

const CBS = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing";
const PROMPT = "Windows servicing is at work - please check the Packaging Machine.";

const packages = registryContents("cbs-packages-pending", [`${CBS}\\PackagesPending`], ["\\PackagesPending\\"], "reboot");

const inProgress: Fact<RegistryAnswer> = {
  ...registryValue("cbs-servicing", `${CBS}\\Interface`, "ServicingInProgress", "wait"),
  quiet: { kind: "value", name: "ServicingInProgress", data: ["0x0", "0x1"], orCode: 1 },
};

export const servicing: Check = {
  id: "servicing",
  title: "Windows servicing",
  prompt: PROMPT,
  bit: { name: "installer", value: 4 },
  policy: "fix",
  windows: {
    facts: [packages, inProgress],
    judge: (look) => {
      const waiting = look(packages);
      return joinJudgements([
        waiting.kind !== "value" ? cannotTell(packages, waiting) : judgePackages(waiting.value.keys),
        judgeAbsent(inProgress, look, (answer) => {
          const entry = valueNamed(answer, "ServicingInProgress");
          const state = entry === undefined ? undefined : dword(entry);
          return state === 0 || state === 1
            ? ready
            : pending(`${PROMPT} ${CBS}\\Interface, ServicingInProgress is ${entry?.data ?? "unreadable"}; let it finish.`);
        }),
      ]);
    },
  },
};

function judgePackages(keys: readonly string[]) {
  const names = keys.filter((key) => /\\PackagesPending\\/i.test(key)).map((key) => key.slice(key.lastIndexOf("\\") + 1));
  if (names.length === 0) return ready;
  const more = names.length > 3 ? ` and ${names.length - 3} more` : "";
  return pending(`${PROMPT} ${names.slice(0, 3).join(", ")}${more} wait for a restart (${CBS}\\PackagesPending).`);
}
