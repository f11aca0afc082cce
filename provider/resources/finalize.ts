// Finalize: proves that the version is ready, shuts the machine down, seals the disk as the version and removes the machine.
import * as z from "zod";
import { connectorInput } from "../connector.ts";
import { checkPolicies } from "../guest/checks.ts";
import { ngenMode } from "../guest/order.ts";

export const inputs = z.object({
  connector: connectorInput,
  disk: z.string().min(1).describe("Id of the PackagingDisk.").meta({ willReplaceOnChanges: true }),
  machine: z.string().min(1).describe("Id of the PackagingMachine."),
  version: z.string().trim().min(1).max(100).describe("Name of the version; must be the disk's."),
  checks: checkPolicies.optional().describe("Policy per check: fix, block, warn or ignore."),
  ngen: ngenMode.default("execute-queued").describe("What is done about queued NGen work: wait, execute-queued or update-force."),
  kms: z.enum(["rearm", "none"]).default("none").describe("rearm: KMS is rearmed as the last act; refused at a remaining count of 0."),
  timeouts: z
    .strictObject({
      finalizeMinutes: z.number().positive().max(1440).default(120).describe("Until the guest must have reported and powered off."),
      rebootMax: z.number().int().min(0).max(10).default(3).describe("Restarts that pending work may cost."),
      sampleGapSeconds: z.number().min(15).max(600).default(15).describe("Between the two samples of every fact."),
    })
    .prefault({})
    .describe("Limits."),
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
