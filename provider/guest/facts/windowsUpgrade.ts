// A Windows upgrade under way (App Layering's icWinUpgrade). HKLM\SYSTEM\Setup has the phase; its keys Upgrade and "Source OS (...)" stay for good after an upgrade
// and mean nothing. Setup's own programs are told by name: setup.exe alone could be anybody's.
import { type Check, cannotTell, joinJudgements, pending, ready } from "../fact.ts";
import { named, processList, running } from "../processes.ts";
import { dword, registryListing, valueNamed } from "../registry.ts";

const PROMPT = "A Windows upgrade is in progress - please check the Packaging Machine.";
const SETUP = "HKLM\\SYSTEM\\Setup";
const PHASES = ["SystemSetupInProgress", "OOBEInProgress"];
const WORKERS = ["SetupHost.exe", "SetupPrep.exe", "WindowsUpdateBox.exe", "Windows10UpgraderApp.exe"];

const setup = registryListing(
  "windows-setup",
  SETUP,
  PHASES.map((name) => `${name}    REG_DWORD    0x1`),
  "SystemSetupInProgress",
  "wait",
);
const workers = processList("upgrade-workers", WORKERS, "wait");

export const windowsUpgrade: Check = {
  id: "windowsUpgrade",
  title: "Windows upgrade",
  prompt: PROMPT,
  bit: { name: "winUpgrade", value: 32 },
  policy: "fix",
  windows: {
    facts: [setup, workers],
    judge: (look) => {
      const phase = look(setup);
      const processes = look(workers);
      const open =
        phase.kind === "value"
          ? PHASES.filter((name) => {
              const entry = valueNamed(phase.value, name);
              return entry !== undefined && dword(entry) !== 0;
            })
          : [];
      return joinJudgements([
        phase.kind !== "value"
          ? cannotTell(setup, phase)
          : open.length > 0
            ? pending(`${PROMPT} ${SETUP}, ${open.join(" and ")} is not 0: let Windows finish its set-up.`)
            : ready,
        processes.kind !== "value"
          ? cannotTell(workers, processes)
          : running(processes.value, WORKERS).length > 0
            ? pending(`${PROMPT} ${named(running(processes.value, WORKERS))} runs; let it finish.`)
            : ready,
      ]);
    },
  },
};
