// Finalize: proves that the version is ready, shuts the machine down, seals the disk as the version and removes the machine.
import * as z from "zod";
import { connectorInput, currentOf, reachable } from "../connector.ts";
import { checkPolicies } from "../guest/checks.ts";
import { ngenMode } from "../guest/order.ts";
import { freeToTake } from "../layer/lease.ts";
import { demandStorage, demandVersion, diskOf, openVersion } from "../layer/open.ts";
import { applyRetention } from "../layer/removal.ts";
import { driftOf, sealedRefusal, tellDoubts } from "../layer/sealed.ts";
import { objectName } from "../names.ts";
import { type CheckFailure, defineResource } from "../resource.ts";
import { changedSettings } from "../sealedWith.ts";
import { sealed, told } from "../sealing.ts";
import { connectFor } from "../session.ts";
import { waysIn } from "../waysIn.ts";

export const inputs = z.object({
  connector: connectorInput,
  disk: z.string().min(1).describe("Id of the PackagingDisk.").meta({ willReplaceOnChanges: true }),
  machine: z.string().min(1).describe("Id of the PackagingMachine."),
  version: objectName(100).describe("Name of the version; must be the disk's."),
  checks: checkPolicies.optional().describe("Policy per check: fix, block, warn or ignore."),
  ngen: ngenMode.default("execute-queued").describe("What is done about queued NGen work: wait, execute-queued or update-force."),
  kms: z.enum(["rearm", "none"]).default("none").describe("rearm: KMS is rearmed as the last act; refused at a remaining count of 0."),
  office: z
    .enum(["rearm", "none"])
    // No default: it would be a change of every state that is older than it.
    .optional()
    .describe(
      "rearm: an Office whose products are all licensed by KMS is rearmed once, just before KMS; refused where others are among them. Each Office has five. Default: none.",
    ),
  timeouts: z
    .strictObject({
      finalizeMinutes: z.number().positive().max(1440).default(120).describe("Until the guest must have reported and powered off."),
      rebootMax: z.number().int().min(0).max(10).default(3).describe("Restarts that pending work may cost."),
      sampleGapSeconds: z.number().min(15).max(600).default(15).describe("Between the two samples of every fact."),
    })
    .prefault({})
    .describe("Limits."),
  ...waysIn,
  comment: z.string().max(2000).optional().describe("Becomes an entry of the audit history."),
  onDelete: z
    .enum(["release", "destroy"])
    .default("release")
    .describe("release: the version stays in the layer; destroy: it is removed, once nothing uses it."),
});

export const outputs = z.object({
  versionId: z.string().describe("Id of the sealed version."),
  vdiUuid: z.string().describe("uuid of the sealed disk."),
  report: z.record(z.string(), z.unknown()).describe("Summary of the finalize report and the digest of the whole (getVersionReport)."),
  deltaGiB: z.number().optional().describe("What the version adds to its base, in GiB; absent where the storage repository can't tell."),
  sealedAt: z.string().describe("When it was sealed, ISO 8601."),
  holder: z.string().describe("Token of this hold on the version."),
});

export type Inputs = z.output<typeof inputs>;
export type Outputs = z.output<typeof outputs>;

const REARMS = [
  { property: "kms", byHand: "slmgr /rearm" },
  { property: "office", byHand: "OSPPREARM.EXE" },
] as const;

export const finalize = defineResource(connectFor, {
  type: "Finalize",
  description:
    "Seals a version: proves that every step ran, waits until the guest is provably ready, shuts it down, demands a fresh verdict, makes the disk the version and removes the machine. Deleting it releases the version to its layer.",
  inputs,
  outputs,

  async examine(ctx, want) {
    const failures: CheckFailure[] = [];
    if (want.disk !== undefined && want.machine !== undefined && want.disk !== want.machine)
      failures.push({ property: "machine", reason: "is the machine of another disk: link both by the id of the same version" });
    if (failures.length > 0 || !reachable(want.connector) || want.disk === undefined) return { failures };
    const opened = await openVersion(ctx, want.connector, want.disk);
    if (opened === undefined) return { failures };
    const { record, name, entry } = opened;
    if (want.version !== undefined && want.version !== name)
      failures.push({ property: "version", reason: `the disk is of version "${name}"` });
    for (const { property, byHand } of REARMS) {
      if (want[property] !== "rearm") continue;
      if (entry.base?.os === "linux") failures.push({ property, reason: "is for Windows; this layer's OS is Linux" });
      if (entry.state !== "Deployable" && entry.machine?.mode === "manual")
        failures.push({
          property,
          reason: `the machine is prepared by hand: run \`${byHand}\` there just before Shutdown For Finalize, and leave ${property} out`,
        });
    }
    if (entry.state === "Deployable")
      for (const property of changedSettings(entry, want))
        failures.push({ property, reason: sealedRefusal(record, name, entry, [`${property} changed`]) ?? "" });
    return { failures };
  },

  async diff(ctx, id, old, want) {
    const opened = await openVersion(ctx, currentOf(want.connector, old.connector), id);
    const vdi = opened?.entry.state === "Deployable" ? await diskOf(opened) : undefined;
    if (opened === undefined || (opened.entry.state === "Deployable" && vdi === undefined)) return { changes: true, replaces: ["disk"] };
    // An id that a preview doesn't know is another disk's.
    if (("disk" in want && want.disk !== old.disk) || (want.version !== undefined && want.version !== old.version))
      return { replaces: ["disk"] };
    const { entry } = opened;
    const asSealed = vdi !== undefined && vdi.uuid === entry.vdi && vdi.uuid === old.vdiUuid && driftOf(entry, vdi) === undefined;
    return asSealed && entry.holders.finalize === old.holder ? {} : { changes: true };
  },

  async create(ctx, wanted) {
    return { id: wanted.disk, outputs: await sealed(ctx, await demandVersion(ctx, wanted.connector, wanted.disk), wanted) };
  },

  async read(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    const vdi = opened?.entry.state === "Deployable" ? await diskOf(opened) : undefined;
    if (opened === undefined || vdi === undefined) {
      await demandStorage(await ctx.connect(state.connector), state.connector);
      return undefined;
    }
    const { xapi, record, name, entry } = opened;
    const drift = driftOf(entry, vdi);
    if (drift !== undefined) ctx.warn(`version ${name} of layer "${record.meta.name}" is not what was sealed any more: ${drift}`);
    else await tellDoubts(ctx, xapi, record, name, entry, vdi);
    return told(opened, entry, state.holder);
  },

  update: async (ctx, id, _old, wanted) => sealed(ctx, await demandVersion(ctx, wanted.connector, id), wanted),

  async delete(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined) return;
    const { record, name } = opened;
    await freeToTake(ctx, record, name);
    const destroys = state.onDelete === "destroy";
    await record.change(name, (entry) => {
      if (entry?.state !== "Deployable") return undefined;
      if (entry.holders.finalize === state.holder)
        return { ...entry, holders: {}, released: new Date().toISOString(), ...(destroys ? { destroyWhenFree: true } : {}) };
      // A run that was killed has released it and come no further.
      return entry.released !== undefined && record.hasFormer(name) ? entry : undefined;
    });
    const entry = record.versions.get(name);
    if (entry?.state !== "Deployable" || entry.released === undefined) return;
    if (!destroys) ctx.report(`${name} stays in layer ${record.meta.name}`);
    await applyRetention(ctx, record);
    await record.saveDocument(ctx.signal);
  },
});
