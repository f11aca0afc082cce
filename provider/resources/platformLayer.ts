// PlatformLayer: the layer and its record. Versions are made into it by PackagingDisk, PackagingMachine and Finalize.
import * as z from "zod";
import { connectorInput } from "../connector.ts";

// Ids as App Layering's own (app-layering.md 4.2: ctxal-sdk New-ALPlatformLayer, WSDL HypervisorTypes).
export const hypervisors = ["xenserver", "vsphere", "hyperv", "acropolis", "azure", "aws", "gcp", "otherHypervisor"] as const;
export const provisioningServices = ["none", "mcs", "pvs", "viewcomposer", "otherProvisioning"] as const;
export const connectionBrokers = ["none", "xendesktop", "xenapp", "view", "rds", "azurerdsh", "otherBroker"] as const;

export const inputs = z.object({
  connector: connectorInput,
  name: z.string().trim().min(1).max(200).describe("Name of the layer, unique among the connector's layers."),
  osLayer: z.string().min(1).describe("Id of the OS layer it belongs to for good (`os.layerId`)."),
  purpose: z.enum(["packaging", "publishing"]).describe("packaging: used while making layers; publishing: part of published images."),
  platform: z
    .strictObject({
      hypervisor: z.enum(hypervisors).describe("Hypervisor."),
      provisioningService: z
        .enum(provisioningServices)
        .optional()
        .describe("Provisioning service; required for publishing, `none` is a value."),
      connectionBroker: z.enum(connectionBrokers).optional().describe("Connection broker; required for publishing, `none` is a value."),
    })
    .describe("What the layer is for. packaging takes only the hypervisor, publishing requires all three."),
  description: z.string().max(1000).default("").describe("Free text."),
  icon: z
    .string()
    .optional()
    .describe(
      "Path of a PNG or JPG file (at most 1024 x 1024 pixels, 512 KiB), `builtin:windows`, `builtin:linux`, `builtin:layer`, or `layer:<layerId>`.",
    ),
  comment: z.string().max(2000).optional().describe("Becomes an entry of the audit history at create and at each change of it."),
  retention: z
    .strictObject({
      keep: z.number().int().min(0).max(1000).optional().describe("Released versions that are kept."),
      maxAgeDays: z.number().positive().optional().describe("Released versions older than this are removed."),
    })
    .optional()
    .describe("What becomes of versions that no program holds any more; default: they stay."),
});

export const outputs = z.object({
  layerId: z.string().describe("Id of the layer: the uuid of its record."),
  recordUuid: z.string().describe("uuid of the record's VDI."),
  holder: z.string().describe("Token of this hold on the layer."),
});
