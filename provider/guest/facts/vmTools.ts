// The VM tools' own installation. It goes on over several restarts, and its monitor may restart the guest by itself: neither may happen in an image.
// Signals: InstallStatus of the installer's agent (win-installer InstallAgent.cs, 2018; both views of the registry), and xenbus_monitor's AutoReboot, by which it
// restarts the guest as long as that is above RebootCount (win-xenbus src/monitor/monitor.c).
import { type Check, type Fact, type Judgement, joinJudgements, judgeAbsent, pending, ready } from "../fact.ts";
import { dword, type RegistryAnswer, registryFlag, registryValue, valueNamed } from "../registry.ts";

const MONITOR = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\xenbus_monitor\\Parameters";

const installStatus = ["HKLM\\SOFTWARE\\Citrix\\XenToolsInstaller", "HKLM\\SOFTWARE\\Wow6432Node\\Citrix\\XenToolsInstaller"].map(
  (key, index): { key: string; fact: Fact<RegistryAnswer> } => ({
    key,
    fact: {
      ...registryValue(index === 0 ? "tools-install" : "tools-install-32", key, "InstallStatus", "reboot"),
      quiet: { kind: "textAbsent", text: [], present: ["InstallStatus    REG_SZ    Installed"], orCode: 1 },
    },
  }),
);

const autoReboot = registryFlag("xenbus-auto-reboot", MONITOR, "AutoReboot", "none");

function judgeInstall(key: string, answer: RegistryAnswer): Judgement {
  const status = valueNamed(answer, "InstallStatus")?.data.trim();
  if (status === "Installed") return ready;
  const where = `(${key}, InstallStatus)`;
  if (status === "NeedsReboot") return pending(`The VM tools' installation waits for a restart ${where}.`);
  if (status === "Failed") return pending(`The VM tools' installation has failed ${where}; look at its log and install them again.`);
  return pending(
    `The VM tools' installation says ${status === undefined ? "nothing" : `"${status.slice(0, 100)}"`} ${where}; let it finish.`,
  );
}

export const vmTools: Check = {
  id: "vmTools",
  title: "VM tools",
  prompt: "The VM tools' installation is not complete - please check the Packaging Machine.",
  bit: { name: "reboot", value: 2 },
  policy: "fix",
  windows: {
    facts: [...installStatus.map(({ fact }) => fact), autoReboot],
    judge: (look) =>
      joinJudgements([
        ...installStatus.map(({ key, fact }) => judgeAbsent(fact, look, (answer) => judgeInstall(key, answer))),
        judgeAbsent(autoReboot, look, (answer) => {
          const entry = valueNamed(answer, "AutoReboot");
          return entry !== undefined && dword(entry) === 0
            ? ready
            : pending(
                `xenbus_monitor may restart images by itself: ${MONITOR}, AutoReboot is ${entry?.data ?? "unreadable"}; set it to 0 in a step.`,
              );
        }),
      ]),
  },
};
