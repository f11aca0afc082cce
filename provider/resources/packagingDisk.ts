// PackagingDisk: a new version of a layer, being edited. A clone of the base's disk in the same SR, a copy across SRs.
import * as z from "zod";
import { connectorInput } from "../connector.ts";

export const inputs = z.object({
  connector: connectorInput,
  layer: z.string().min(1).describe("Id of the platform layer (`layer.layerId`).").meta({ willReplaceOnChanges: true }),
  version: z.string().trim().min(1).max(100).describe("Name of the new version, unique in the layer."),
  baseVersion: z.string().optional().describe("Name of the version of this layer to start from; default: its latest sealed one."),
  osVersion: z.string().optional().describe("Name of a version of the OS layer to start afresh from (rebase)."),
  base: z
    .string()
    .optional()
    .describe("Resolved by xenlayer, shown for review: `<layer>/<version>` this version is based on. Don't set it."),
  fileName: z.string().trim().min(1).max(250).optional().describe("name_label of the disk; default: `<layer> <version>`."),
  format: z.enum(["vhd", "qcow2"]).default("vhd").describe("Disk format: what the storage repository can hold."),
  sizeGiB: z.number().positive().max(2040).optional().describe("Virtual size in GiB; can only grow. Default: the base's."),
  triggers: z.record(z.string(), z.string()).optional().describe("Digests by a name that people read; a changed one clones the disk anew."),
  comment: z.string().max(2000).optional().describe("Becomes an entry of the audit history."),
});

export const outputs = z.object({
  versionId: z.string().describe("Id of the version; the same as the resource's id."),
  vdiUuid: z.string().describe("uuid of the disk."),
  location: z.string().describe("Where it is: `<storage repository>/<name_label> (<uuid>)`."),
  basedOn: z.string().describe("What it is based on, as `plat/2.2` or `win11/1.0`."),
  holder: z.string().describe("Token of this hold on the version."),
});
