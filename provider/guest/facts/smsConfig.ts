// The identity of a Configuration Manager client (App Layering's icSmsCfgPresent): the client is set to run and its SMSCFG.INI is still there, so that all images
// would be one client. The file is what is looked for; a client that is disabled or not installed will not use it.
import { type Check, type Fact, judgeAbsent, pending, ready } from "../fact.ts";
import { dword, type RegistryAnswer, registryValue, valueNamed } from "../registry.ts";

const SAYS = "Software Center client is configured to run and SMSCFG.INI is still present";
const DISABLED = 4;

const client: Fact<RegistryAnswer> = {
  ...registryValue("sms-client", "HKLM\\SYSTEM\\CurrentControlSet\\Services\\CcmExec", "Start", "none"),
  quiet: { kind: "textAbsent", text: [], present: ["Start    REG_DWORD    0x4"], orCode: 1 },
  requires: "%SystemRoot%\\SMSCFG.INI",
};

export const smsConfig: Check = {
  id: "smsConfig",
  title: "Configuration Manager client",
  prompt: `${SAYS} - please delete it on the Packaging Machine.`,
  bit: { name: "smsCfgPresent", value: 128 },
  policy: "block",
  windows: {
    facts: [client],
    judge: (look) =>
      judgeAbsent(client, look, (answer) => {
        const start = valueNamed(answer, "Start");
        return start !== undefined && dword(start) === DISABLED
          ? ready
          : pending(
              `${SAYS}: all images would be one client. Stop the service CcmExec and delete %SystemRoot%\\SMSCFG.INI in a clean-up step.`,
            );
      }),
  },
};
