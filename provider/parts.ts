// What a version is made of, as its machine's inputs say it: a digest for each part, under a name that people read.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type StepInput, stepDigests } from "./guest/order.ts";
import { differences, type Entry, type Machine } from "./layer/entry.ts";
import { holdsUnknown, type Known } from "./resource.ts";
import type { Inputs } from "./resources/packagingMachine.ts";

export type Parts = Record<string, string>;

/** One digest per step, file and medium, under the names that LayerVersion's triggers use too; undefined while some are not known yet. */
export async function partsOf(want: Known<Inputs>): Promise<Parts | undefined> {
  const { install, cleanup, files, media } = want;
  if (install === undefined || cleanup === undefined || holdsUnknown([install, cleanup, files, media])) return undefined;
  const parts: Parts = {};
  const steps = [...stepDigests(install as StepInput[]), ...stepDigests([], cleanup as StepInput[])];
  for (const { name, digest } of stepDigests(install as StepInput[])) parts[`install "${name}"`] = digest;
  for (const { name, digest } of stepDigests([], cleanup as StepInput[])) parts[`cleanup "${name}"`] = digest;
  // The same steps in another order may install something else.
  if (steps.length > 1) parts["order of steps"] = steps.map(({ name }) => name).join(", ");
  for (const [name, path] of Object.entries(files ?? {}))
    if (path !== undefined)
      parts[`file "${name}"`] = createHash("sha256")
        .update(await readFile(path))
        .digest("hex")
        .slice(0, 32);
  for (const iso of media ?? []) parts[`media "${iso}"`] = iso;
  return parts;
}

/** What is asked for and is not in a sealed version. */
export function sealedChanges(entry: Entry, parts: Parts | undefined, mode: Machine["mode"] | undefined): string[] {
  const changed = parts === undefined ? [] : differences(entry.content, { parts });
  const before = entry.machine?.mode ?? mode;
  return mode === undefined || before === mode ? changed : [...changed, `mode changed from ${before} to ${mode}`];
}
