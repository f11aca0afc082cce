// What a version was sealed with, beside its content: the settings of its Finalize.
import type { Entry } from "./layer/entry.ts";
import type { Known } from "./resource.ts";
import type { Inputs } from "./resources/finalize.ts";

/** What a seal was done with; another of it after the seal would be another version. */
export const settingsOf = ({ kms, office = NO_REARM, ngen, checks }: Inputs): Record<string, string> => ({
  kms,
  office,
  ngen,
  checks: policiesText(checks),
});

/** Of Office, also of a version that was sealed before anybody could ask for it. */
const NO_REARM = "none";

const policiesText = (checks: Known<Inputs>["checks"]): string => JSON.stringify(Object.entries(checks ?? {}).sort());

/** Properties that mean something else than what was sealed with. */
export function changedSettings({ sealed }: Entry, want: Known<Inputs>): string[] {
  const made: Record<string, string | undefined> = { office: NO_REARM, ...sealed?.settings };
  // There and undefined is not known yet.
  const unknown = (property: "checks" | "office"): boolean => property in want && want[property] === undefined;
  const wanted = {
    kms: want.kms,
    office: unknown("office") ? undefined : (want.office ?? NO_REARM),
    ngen: want.ngen,
    checks: unknown("checks") ? undefined : policiesText(want.checks),
  };
  return Object.entries(wanted).flatMap(([key, value]) =>
    value !== undefined && made[key] !== undefined && made[key] !== value ? [key] : [],
  );
}
