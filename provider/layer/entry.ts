// What a layer record holds, as data: the layer's own facts and one entry per version. Read back through zod: what is malformed or newer is an
// error that names the object, and nothing is deleted on doubt. Unknown keys of a later release are kept.
import * as z from "zod";

export const versionState = z.enum(["Editing", "Finalizing", "Deployable", "Deleting", "Broken"]);

/** What decides whether two versions of a name are the same: compared with new inputs, never with old inputs. */
const contentSchema = z.looseObject({
  format: z.literal(1),
  /** As given by the disk: one digest per step, file and medium by a name that people read. */
  triggers: z.record(z.string(), z.string()).optional(),
  /** As given by the machine. */
  parts: z.record(z.string(), z.string()).optional(),
  diskFormat: z.string().optional(),
  sizeGiB: z.number().optional(),
  /** OS layers: fingerprint of the source. */
  source: z.string().optional(),
});
export type Content = z.output<typeof contentSchema>;

const baseSchema = z.looseObject({
  /** The layer's id and the version's id. */
  layer: z.string(),
  id: z.string(),
  /** For people: `win11/1.0`. */
  name: z.string(),
  /** The version's own name: either may hold a slash. */
  version: z.string().optional(),
  vdi: z.string(),
  depth: z.number().optional(),
  /** Handed down from the OS layer. */
  os: z.enum(["windows", "linux"]).optional(),
  account: z.string().optional(),
  hardware: z.record(z.string(), z.string()).optional(),
});
export type Base = z.output<typeof baseSchema>;

const stepResult = z.looseObject({
  name: z.string(),
  exitCode: z.number().optional(),
  state: z.string(),
  seconds: z.number().optional(),
  logDigest: z.string().optional(),
});
export type StepResult = z.output<typeof stepResult>;

const pictureTaken = z.looseObject({ at: z.string(), doing: z.string(), file: z.string() });
export type PictureTaken = z.output<typeof pictureTaken>;

const machineSchema = z.looseObject({
  name: z.string(),
  /** Set before the first boot with this disk: from then on the disk may carry (part of) the steps. */
  begun: z.boolean(),
  /** Set when every step is done (manual mode: when the engineer's verdict is there). */
  packaged: z.boolean(),
  mode: z.enum(["automatic", "manual"]),
  nonce: z.string().optional(),
  order: z.enum(["package", "finalize"]).optional(),
  steps: z.array(stepResult),
  toolsVersion: z.string().optional(),
  ipAddresses: z.array(z.string()).optional(),
  vm: z.string().optional(),
  payload: z.string().optional(),
  /** An earlier run began with it. */
  resumed: z.boolean().optional(),
  /** It was deleted while its disk carried some of the steps. */
  removed: z.boolean().optional(),
  /** Facts that are noisy and harmless, found by earlier finalize boots. */
  accept: z.array(z.string()).optional(),
  /** Policies of the last finalize order. */
  policies: z.record(z.string(), z.string()).optional(),
  /** When what was first begun or done, ISO 8601. */
  times: z.object({ packagingAt: z.string(), packagedAt: z.string(), finalizingAt: z.string() }).partial().optional(),
  /** The console, pictured when a time limit was over; the last few. */
  pictures: z.array(pictureTaken).optional(),
});
export type Machine = z.output<typeof machineSchema>;

const sealedSchema = z.looseObject({
  at: z.string(),
  evidence: z.string().optional(),
  deltaGiB: z.number().optional(),
  report: z.record(z.string(), z.unknown()).optional(),
  /** What it was sealed with. */
  settings: z.record(z.string(), z.string()).optional(),
  policies: z.record(z.string(), z.string()).optional(),
  accept: z.array(z.string()).optional(),
  virtualSize: z.number(),
  physicalUtilisation: z.number().optional(),
});

export const leaseSchema = z.looseObject({
  run: z.string(),
  host: z.string(),
  /** Which machine, and which processes of it, `pid` is among; absent where that can't be told. */
  machine: z.string().optional(),
  pid: z.number(),
  started: z.string().optional(),
  until: z.number(),
});
export type Lease = z.output<typeof leaseSchema>;

export const entrySchema = z.looseObject({
  format: z.literal(1),
  id: z.string(),
  build: z.string(),
  state: versionState,
  vdi: z.string().optional(),
  /** Reference of the SR that the build is made in. */
  sr: z.string().optional(),
  /** Which type an SR has, as it was met: that never changes, so it need not be asked again. */
  srType: z.object({ sr: z.string(), type: z.string() }).optional(),
  base: baseSchema.optional(),
  fileName: z.string().optional(),
  content: contentSchema,
  holders: z.record(z.string(), z.string()),
  /** No program holds it any more: retention may remove it. */
  released: z.string().optional(),
  destroyWhenFree: z.boolean().optional(),
  machine: machineSchema.optional(),
  sealed: sealedSchema.optional(),
  lease: leaseSchema.optional(),
  /** Earlier builds of this version that are still to be taken away. */
  stale: z
    .array(
      z.looseObject({
        id: z.string(),
        build: z.string(),
        sr: z.string().optional(),
        vdi: z.string().optional(),
        machine: machineSchema.optional(),
      }),
    )
    .optional(),
  /** OS layers: facts that packaging machines are compared with; handed down through bases. */
  hardware: z.record(z.string(), z.string()).optional(),
  /** Links in the copy-on-write chain below this version's disk, counted from the last full copy. */
  depth: z.number().optional(),
  createdAt: z.string(),
});
export type Entry = z.output<typeof entrySchema>;

export const metaSchema = z.looseObject({
  format: z.literal(1),
  /** The uuid of the record that this was written for: a copy of the record is no layer. */
  uuid: z.string(),
  connectorId: z.string(),
  kind: z.enum(["os", "platform"]),
  name: z.string(),
  description: z.string(),
  holder: z.string(),
  /** Platform layers: the id of their OS layer. */
  osLayer: z.string().optional(),
  purpose: z.string().optional(),
  platform: z.record(z.string(), z.string()).optional(),
  retention: z.object({ keep: z.number().optional(), maxAgeDays: z.number().optional() }).optional(),
  account: z.string().optional(),
  os: z.enum(["windows", "linux"]).optional(),
  sourceHypervisor: z.string().optional(),
  comment: z.string().optional(),
  icon: z.string().optional(),
  /** Of a run that removes the layer: nothing is begun in it while that lives. */
  removal: leaseSchema.optional(),
  createdAt: z.string(),
});
export type Meta = z.output<typeof metaSchema>;

export const auditSchema = z.looseObject({
  at: z.string(),
  event: z.string(),
  version: z.string().optional(),
  comment: z.string().optional(),
});
export type Audit = z.output<typeof auditSchema>;

/** An entry whose disk is to be made anew: what it was is remembered until that has been taken away. */
export function anew(before: Entry, change: Partial<Entry> & { build: string }): Entry {
  const { machine, vdi, sealed: _sealed, stale = [], released: _released, destroyWhenFree: _destroy, depth: _depth, ...rest } = before;
  const left = { id: before.id, build: before.build, sr: before.sr, vdi, machine };
  return { ...(rest as Entry), state: "Editing", ...change, stale: [...stale, left] };
}

/** Sentences that say how new inputs differ from what a version was made of; empty = equal. */
export function differences(made: Content, wanted: Partial<Content>): string[] {
  const said: string[] = [];
  for (const [key, word] of [
    ["triggers", ""],
    ["parts", ""],
  ] as const) {
    const before = made[key];
    const after = wanted[key];
    if (after === undefined || (before === undefined && key === "triggers" && Object.keys(after).length === 0)) continue;
    const names = new Set([...Object.keys(before ?? {}), ...Object.keys(after)]);
    for (const name of names) {
      const [a, b] = [before?.[name], after[name]];
      if (a === b) continue;
      said.push(`${word}${name} ${a === undefined ? "was added" : b === undefined ? "was removed" : "changed"}`);
    }
  }
  if (wanted.diskFormat !== undefined && made.diskFormat !== undefined && wanted.diskFormat !== made.diskFormat)
    said.push(`format changed from ${made.diskFormat} to ${wanted.diskFormat}`);
  if (wanted.sizeGiB !== undefined && wanted.sizeGiB !== made.sizeGiB) said.push(`sizeGiB changed to ${wanted.sizeGiB}`);
  if (wanted.source !== undefined && made.source !== undefined && wanted.source !== made.source) said.push("the source changed");
  return [...new Set(said)];
}
