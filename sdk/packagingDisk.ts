// PackagingDisk, refused where a program makes the same version twice: two resources would build and delete one thing.
import * as pulumi from "@pulumi/pulumi";
import type { PackagingDiskArgs } from "./args.ts";
import { refusal } from "./refusal.ts";
import * as generated from "./resources.ts";

/** A new version of a layer, being edited: a clone of the base's disk. */
export class PackagingDisk extends generated.PackagingDisk {
  constructor(name: string, args: PackagingDiskArgs, opts?: pulumi.CustomResourceOptions) {
    super(name, { ...args, layer: claimed(name, args) }, opts);
  }
}

interface Claims {
  /** As given: an Output is the same one wherever a program uses it. */
  given: { layer: unknown; version: unknown; by: string }[];
  /** As known later: `layer` and `version` behind different Outputs. */
  known: Map<string, string>;
}

// Per run of a program: one process may run several, in tests and with the Automation API.
const claims = new WeakMap<object, Claims>();

function claimed(name: string, { layer, version }: PackagingDiskArgs): pulumi.Input<string> {
  const stack = pulumi.runtime.getStackResource();
  if (stack === undefined) return layer;
  const mine: Claims = claims.get(stack) ?? { given: [], known: new Map() };
  claims.set(stack, mine);

  const twin = mine.given.find((other) => other.layer === layer && other.version === version);
  if (twin !== undefined) throw twice(name, twin.by, typeof version === "string" ? version : "of the same name");
  mine.given.push({ layer, version, by: name });

  const claim = ([knownLayer, knownVersion]: [string, string]): string => {
    const key = JSON.stringify([knownLayer, knownVersion]);
    const by = mine.known.get(key);
    if (by !== undefined) throw twice(name, by, knownVersion);
    mine.known.set(key, name);
    return knownLayer;
  };
  if (typeof layer === "string" && typeof version === "string") return claim([layer, version]);
  return pulumi.all([layer, version]).apply(claim);
}

const twice = (name: string, by: string, version: string): Error =>
  refusal(
    `"${name}" makes version ${version} of a layer that "${by}" makes already in this program: use its outputs, or give another version`,
  );
