// App Layering's bit mask BlockFinalize, by name: citrix/packer-plugin-citrix, provisioner/citrix/applayering/provisioner.go, and the messages of CTX222099.
import { OTHER_BIT } from "../guest/fact.ts";
import type { Report } from "./shape.ts";

const OTHER = { ...OTHER_BIT, meaning: "something is not ready that App Layering has no bit for" };

const BITS: readonly Report["bits"][number][] = [
  { value: 1, name: "icBypass", meaning: "a check was let through" },
  { value: 2, name: "icReboot", meaning: "a restart is pending" },
  { value: 4, name: "icInstaller", meaning: "an MSI installation runs" },
  { value: 8, name: "icNgen", meaning: "NGen runs" },
  { value: 16, name: "icRunOnce", meaning: "RunOnce entries are outstanding" },
  { value: 32, name: "icWinUpgrade", meaning: "a Windows upgrade is in progress" },
  { value: 64, name: "icNgenNeeded", meaning: "NGen is needed" },
  { value: 128, name: "icSmsCfgPresent", meaning: "SMSCFG.INI of the Configuration Manager client is present" },
  { value: 256, name: "icFsLogix", meaning: "FSLogix is in the way" },
  { value: 512, name: "icWemRsaKeyFile", meaning: "Workspace Environment Management's RSA key is present" },
  { value: 1024, name: "icDelTokens", meaning: "not explained by Citrix" },
  { value: 2048, name: "icKmsDirMissing", meaning: "the KMS directory is missing" },
  { value: 4096, name: "icKmsGpoMissing", meaning: "the KMS group policy is missing" },
  OTHER,
];

const NONE = { value: 0, name: "icNone", meaning: "finalize is allowed" };

/** The bits that are set; for 0 App Layering has a name, too. */
export function bitsOf(mask: number): Report["bits"] {
  return mask === 0 ? [NONE] : BITS.filter(({ value }) => (mask & value) !== 0);
}

/** The bit of a check. */
export const bitNamed = (value: number): Report["bits"][number] => BITS.find((bit) => bit.value === value) ?? OTHER;
