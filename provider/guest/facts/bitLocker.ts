// An encrypted system volume can't become a layer: its key is bound to the packaging machine's own TPM. Windows 11 encrypts by itself where it finds one.
// manage-bde is asked for its exit code (0 protected, 1 not; learn.microsoft.com, manage-bde status, -protectionaserrorlevel), which needs no language; what it
// prints holds the percentage that is encrypted, without which the answer proves nothing. Servers without the feature lack the program.
import { type Check, type Fact, judgeAbsent, OTHER_BIT, pending, type Raw, type Reading, ready, unknown, value, words } from "../fact.ts";

const PROMPT = "The system volume is encrypted by BitLocker - please decrypt it on the Packaging Machine.";

export interface Encryption {
  readonly protected: boolean;
  readonly percent: number;
}

function parseManageBde(raw: Raw): Reading<Encryption> {
  const [, whole, part = "0"] = /:\s{1,20}(\d{1,3})(?:[.,](\d{1,3}))?\s?%/.exec(raw.out) ?? [];
  const percent = Number(`${whole}.${part}`);
  if ((raw.rc !== 0 && raw.rc !== 1) || whole === undefined || percent > 100)
    return unknown(`manage-bde ended with ${raw.rc}: ${words(raw)}`);
  return value({ protected: raw.rc === 0, percent });
}

const encryption: Fact<Encryption> = {
  id: "bitlocker",
  command: "manage-bde -status %SystemDrive% -protectionaserrorlevel",
  // "    Percentage Encrypted: 0.0%"; by itself exit code 1 says "not protected", which a volume may be that is encrypted.
  quiet: { kind: "exitCode", codes: [1], present: ["BitLocker"], oneOf: [" 0.0", " 0,0"] },
  requires: "%SystemRoot%\\System32\\manage-bde.exe",
  fix: "none",
  parse: parseManageBde,
};

export const bitLocker: Check = {
  id: "bitLocker",
  title: "BitLocker",
  prompt: PROMPT,
  bit: OTHER_BIT,
  policy: "block",
  windows: {
    facts: [encryption],
    judge: (look) =>
      judgeAbsent(encryption, look, (state) => {
        if (!state.protected && state.percent === 0) return ready;
        const how = state.protected ? "protected" : "encrypted without protection yet, as Windows 11 does by itself";
        return pending(
          `${PROMPT} It is ${how} (${state.percent} %): run manage-bde -off %SystemDrive% in a step and wait for its end.`,
          100 - state.percent,
        );
      }),
  },
};
