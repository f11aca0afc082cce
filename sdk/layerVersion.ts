// LayerVersion: the component that most programs use. It wires the three resources and names what a version is made of.
import * as pulumi from "@pulumi/pulumi";
import type { LayerVersionArgs, StepResult } from "./args.ts";
import { PackagingDisk } from "./packagingDisk.ts";
import { Finalize, layerVersionParts, layerVersionTimeouts, PackagingMachine } from "./resources.ts";
import { triggersOf } from "./triggers.ts";

/**
 * A version of a platform layer from its steps to the seal: disk, machine and finalize in one. What changes in steps, files or media shows
 * by name in the preview; another `version` builds a new one beside the old.
 */
export class LayerVersion extends pulumi.ComponentResource {
  /** The version's disk. */
  readonly disk: PackagingDisk;
  /** The machine that runs the steps; gone once the version is sealed. */
  readonly machine: PackagingMachine;
  /** The seal. */
  readonly finalize: Finalize;

  /** Name of the version, known once it is sealed: `baseVersion` of the next one. */
  readonly version: pulumi.Output<string>;
  /** Id of the sealed version. */
  readonly versionId: pulumi.Output<string>;
  /** uuid of the sealed disk. */
  readonly vdiUuid: pulumi.Output<string>;
  /** What it is based on, as `plat/2.2` or `win11/1.0`. */
  readonly basedOn: pulumi.Output<string>;
  /** Where its disk is: `<storage repository>/<name_label> (<uuid>)`. */
  readonly location: pulumi.Output<string>;
  /** What each step ended with: exit code, duration, SHA-256 of its log. */
  readonly steps: pulumi.Output<StepResult[]>;
  /** Summary of the finalize report and the digest of the whole (getVersionReport). */
  readonly report: pulumi.Output<Record<string, unknown>>;
  /** What the version adds to its base, in GiB; absent where the storage repository can't tell. */
  readonly deltaGiB: pulumi.Output<number | undefined>;
  /** When it was sealed, ISO 8601. */
  readonly sealedAt: pulumi.Output<string>;

  constructor(name: string, args: LayerVersionArgs, opts?: pulumi.ComponentResourceOptions) {
    // The children hold the inputs: secrets among them are marked there.
    super("xenlayer:index:LayerVersion", name, {}, opts);
    const { disk, machine, finalize } = layerVersionParts;
    const { timeouts, ...rest } = args;
    const child = { parent: this };
    this.disk = new PackagingDisk(name, { ...pick(rest, disk), triggers: triggersOf(args) }, child);
    this.machine = new PackagingMachine(
      name,
      { ...pick(rest, without(machine)), ...limits(timeouts, layerVersionTimeouts.machine), disk: this.disk.id },
      child,
    );
    this.finalize = new Finalize(
      name,
      {
        ...pick(rest, without(finalize)),
        ...limits(timeouts, layerVersionTimeouts.finalize),
        disk: this.disk.id,
        machine: this.machine.id,
      },
      child,
    );
    this.version = this.finalize.version;
    this.versionId = this.finalize.versionId;
    this.vdiUuid = this.finalize.vdiUuid;
    this.basedOn = this.disk.basedOn;
    this.location = this.disk.location;
    this.steps = this.machine.steps;
    this.report = this.finalize.report;
    this.deltaGiB = this.finalize.deltaGiB;
    this.sealedAt = this.finalize.sealedAt;
    this.registerOutputs({ version: this.version, versionId: this.versionId, vdiUuid: this.vdiUuid, sealedAt: this.sealedAt });
  }
}

function pick<T extends object, K extends keyof T>(from: T, keys: readonly K[]): Pick<T, K> {
  return Object.fromEntries(keys.filter((key) => from[key] !== undefined).map((key) => [key, from[key]])) as Pick<T, K>;
}

const without = <K extends string>(keys: readonly K[]) => keys.filter((key) => key !== "timeouts") as Exclude<K, "timeouts">[];

type Limits<K extends string> = Partial<Record<K, pulumi.Input<number | undefined>>>;

/** Their part of the timeouts, each still an input of its own. */
function limits<K extends string>(timeouts: LayerVersionArgs["timeouts"], keys: readonly K[]): { timeouts?: pulumi.Input<Limits<K>> } {
  if (timeouts === undefined) return {};
  const mine = (known: object): Limits<K> => pick(known as Limits<K>, keys);
  if (pulumi.Output.isInstance(timeouts) || timeouts instanceof Promise)
    return { timeouts: pulumi.output(timeouts).apply((known) => mine(known ?? {})) as pulumi.Output<Limits<K>> };
  return { timeouts: mine(timeouts) };
}
