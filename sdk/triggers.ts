// What a version is made of, as digests by names that people read: a changed one shows in the preview as `install "VDA"` and has the disk
// cloned anew. Promises: the same names and digests as the provider's own (provider/resources/packagingMachine.ts); of a secret only its name
// counts; what preview can't know yet leaves the others known, as far as a program gives lists and not outputs of lists.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import * as pulumi from "@pulumi/pulumi";
import type { LayerVersionArgs, StepArgs } from "./args.ts";
import { refusal } from "./refusal.ts";

type Digests = Record<string, pulumi.Input<string>>;

export function triggersOf(args: Pick<LayerVersionArgs, "install" | "cleanup" | "files" | "media">): pulumi.Input<Digests> {
  const { install = [], cleanup = [], files = {}, media = [] } = args;
  const open = [install, cleanup].every(areOpen) && !isLater(files) && Array.isArray(media) && !media.some(isLater);
  if (open) return digests(install as StepArgs[], cleanup as StepArgs[], files as Digests, media as string[]);
  return pulumi
    .all([install, cleanup, files, media])
    .apply((known) => pulumi.output(digests(...(known as unknown as [StepArgs[], StepArgs[], Digests, string[]]))));
}

const isLater = (value: unknown): boolean => pulumi.Output.isInstance(value) || value instanceof Promise;

/** Whether number and names of the steps are there, whatever the rest of them is. */
const areOpen = (steps: unknown): boolean =>
  Array.isArray(steps) && steps.every((step: StepArgs) => !isLater(step) && typeof step.name === "string");

function digests(install: readonly StepArgs[], cleanup: readonly StepArgs[], files: Digests, media: readonly string[]): Digests {
  const all: Digests = {};
  const add = (name: string, digest: pulumi.Input<string>): void => {
    let unique = name;
    for (let n = 2; unique in all; n++) unique = `${name} (${n})`;
    all[unique] = digest;
  };
  for (const step of install) add(`install "${String(step.name)}"`, ofStep(step, "install"));
  for (const step of cleanup) add(`cleanup "${String(step.name)}"`, ofStep(step, "cleanup"));
  // The same steps in another order may install something else.
  if (install.length + cleanup.length > 1) add("order of steps", [...install, ...cleanup].map(({ name }) => String(name)).join(", "));
  for (const [name, path] of Object.entries(files))
    add(
      `file "${name}"`,
      pulumi.output(path).apply((known) => ofFile(name, known)),
    );
  // What an ISO library holds is not this program's to read: its name counts.
  for (const iso of media) add(`media "${iso}"`, iso);
  return all;
}

function ofStep(step: StepArgs, phase: "install" | "cleanup"): pulumi.Output<string> {
  const { secretEnv, ...open } = step;
  return pulumi.all([open, namesOf(secretEnv)]).apply(async ([known, names]) => {
    const { stepDigests, stepInput } = await import("../provider/guest/order.ts");
    const parsed = stepInput.safeParse({ ...known, secretEnv: Object.fromEntries(names.map((name) => [name, ""])) });
    // The provider's check says what is wrong with it, by property.
    if (!parsed.success) return "not a valid step";
    const [digest] = phase === "install" ? stepDigests([parsed.data]) : stepDigests([], [parsed.data]);
    return digest?.digest ?? "";
  });
}

function namesOf(secretEnv: StepArgs["secretEnv"]): pulumi.Output<string[]> | string[] {
  if (!isLater(secretEnv)) return Object.keys(secretEnv ?? {});
  return pulumi.unsecret(pulumi.output(secretEnv).apply((known) => Object.keys(known ?? {})));
}

async function ofFile(name: string, path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash);
  } catch (error) {
    throw refusal(`file "${name}" of a layer version can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  return hash.digest("hex").slice(0, 32);
}
