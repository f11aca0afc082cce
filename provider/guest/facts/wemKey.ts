// The RSA key of the WEM agent (App Layering's icWemRsaKeyFile; docs.citrix.com, layer integrity issues): each machine needs one of its own.
import { type Check, judgeAbsent, pending } from "../fact.ts";
import { filesThere } from "../files.ts";

const SAYS = "The RSA key of the WEM agent is still present";
const FOLDER = "%ProgramData%\\Microsoft\\Crypto\\RSA\\S-1-5-18";

// The name begins with the agent's key container; the rest is the machine's GUID.
const keys = filesThere("wem-key", `${FOLDER}\\fb8cc9e38d3e60ab60c17cdfd6dd6d99_*`);

export const wemKey: Check = {
  id: "wemKey",
  title: "WEM agent",
  prompt: `${SAYS} - please delete it on the Packaging Machine.`,
  bit: { name: "wemRsaKeyFile", value: 512 },
  policy: "block",
  windows: {
    facts: [keys],
    judge: (look) =>
      judgeAbsent(keys, look, (names) => pending(`${SAYS}: delete ${names.slice(0, 3).join(", ")} in ${FOLDER} in a clean-up step.`)),
  },
};
