// Drivers of the boot disk that wait for a restart. Sealed in this state, the layer's image may stop with 0x7B at its first boot.
// Signals: xenbus_monitor's requests (win-xenbus src/xen/config.c, src/xenbus.inf), and NeedReboot of the tools before them (win-installer PVDevice.cs).
import { type Check, type Fact, joinJudgements, judgeAbsent, pending, ready } from "../fact.ts";
import { dword, type RegistryAnswer, registryValue } from "../registry.ts";

const SERVICES = "HKLM\\SYSTEM\\CurrentControlSet\\Services";
const SEED = "A reboot is pending to update drivers on the boot disk - please check and reboot the Packaging Machine.";

// The request keys are volatile, one a driver: gone after a restart.
const requests = registryValue("xenbus-requests", `${SERVICES}\\xenbus_monitor\\Request`, "Reboot", "reboot", true);

const legacy = ["xenbus", "xenvbd", "xenvif"].map((driver) => ({
  driver,
  fact: registryValue(`need-reboot-${driver}`, `${SERVICES}\\${driver}\\Status`, "NeedReboot", "reboot"),
}));

function wishesOf(answer: RegistryAnswer): string[] {
  // A request that cannot be read as a number counts: only an explicit 0 is "no".
  return answer.values.filter((entry) => entry.name.toLowerCase() === "reboot" && dword(entry) !== 0).map((entry) => lastPart(entry.key));
}

const lastPart = (key: string): string => key.slice(key.lastIndexOf("\\") + 1);

export const xenbusRequests: Fact<RegistryAnswer> = requests;

export const bootDiskDrivers: Check = {
  id: "bootDiskDrivers",
  title: "Drivers of the boot disk",
  prompt: SEED,
  bit: { name: "reboot", value: 2 },
  policy: "fix",
  windows: {
    facts: [requests, ...legacy.map(({ fact }) => fact)],
    judge: (look) =>
      joinJudgements([
        judgeAbsent(requests, look, (answer) => {
          if (answer.values.length === 0)
            return pending(`${SEED} xenbus_monitor answered without saying which driver asks; restart the guest.`);
          const drivers = wishesOf(answer);
          return drivers.length === 0
            ? ready
            : pending(`${SEED} Asked for by ${drivers.join(", ")} (${SERVICES}\\xenbus_monitor\\Request).`);
        }),
        ...legacy.map(({ driver, fact }) =>
          judgeAbsent(fact, look, () => pending(`${SEED} Driver ${driver} has set ${SERVICES}\\${driver}\\Status, NeedReboot.`)),
        ),
      ]),
  },
};
