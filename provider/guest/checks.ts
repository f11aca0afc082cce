// The list of checks, in the order in which a report shows them. A new check: one file in facts/, one line here.
// KMS is not among them: it is no condition that can pass but the last act itself, with evidence of its own (facts/kms.ts).
import { z } from "zod";
import { type Check, type CheckSide, type Fact, type GuestOs, policy } from "./fact.ts";
import { bitLocker } from "./facts/bitLocker.ts";
import { bootDiskDrivers } from "./facts/bootDiskDrivers.ts";
import { fsLogix } from "./facts/fsLogix.ts";
import { installer } from "./facts/installer.ts";
import { machineIdentity } from "./facts/machineIdentity.ts";
import { ngen } from "./facts/ngen.ts";
import { ngenNeeded } from "./facts/ngenNeeded.ts";
import { pendingReboot } from "./facts/pendingReboot.ts";
import { platformSays } from "./facts/platformSays.ts";
import { pvDrivers } from "./facts/pvDrivers.ts";
import { residue } from "./facts/residue.ts";
import { runOnce } from "./facts/runOnce.ts";
import { servicing } from "./facts/servicing.ts";
import { smsConfig } from "./facts/smsConfig.ts";
import { startup } from "./facts/startup.ts";
import { systemVolume } from "./facts/systemVolume.ts";
import { vmTools } from "./facts/vmTools.ts";
import { wemKey } from "./facts/wemKey.ts";
import { windowsUpgrade } from "./facts/windowsUpgrade.ts";

export const checks: readonly Check[] = [
  bootDiskDrivers,
  pendingReboot,
  installer,
  ngen,
  ngenNeeded,
  runOnce,
  vmTools,
  servicing,
  windowsUpgrade,
  startup,
  systemVolume,
  bitLocker,
  smsConfig,
  wemKey,
  fsLogix,
  machineIdentity,
  pvDrivers,
  platformSays,
  residue,
];

export const checkId = z.enum([
  "bootDiskDrivers",
  "pendingReboot",
  "installer",
  "ngen",
  "ngenNeeded",
  "runOnce",
  "vmTools",
  "servicing",
  "windowsUpgrade",
  "startup",
  "systemVolume",
  "bitLocker",
  "smsConfig",
  "wemKey",
  "fsLogix",
  "machineIdentity",
  "pvDrivers",
  "platformSays",
  "residue",
]);
export type CheckId = z.output<typeof checkId>;

/** Policy per check, as a Finalize takes it: `{ pendingReboot: "block" }`; what is not named keeps its default. */
export const checkPolicies = z.partialRecord(checkId, policy).meta({
  keys: Object.fromEntries(checks.map(({ id, title, policy: usual }) => [id, `${title}. Default: \`${usual}\`.`])),
});
export type CheckPolicies = z.output<typeof checkPolicies>;

export const sideOf = (check: Check, os: GuestOs): CheckSide | undefined => (os === "windows" ? check.windows : check.linux);

export const policyOf = (check: Check, policies: CheckPolicies): z.output<typeof policy> =>
  (policies as Readonly<Record<string, z.output<typeof policy> | undefined>>)[check.id] ?? check.policy;

/** Every fact of a guest with the check that it belongs to, in the order in which a round gathers them. */
export function factsOf(os: GuestOs): { check: Check; fact: Fact<unknown> }[] {
  return checks.flatMap((check) => (sideOf(check, os)?.facts ?? []).map((fact) => ({ check, fact })));
}
