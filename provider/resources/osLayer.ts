// OsLayer: the base of platform layers. One version disk per `version`; a new `version` adds one, older ones stay.
import * as z from "zod";
import { connectorInput } from "../connector.ts";

export const inputs = z.object({
  connector: connectorInput,
  name: z.string().trim().min(1).max(200).describe("Name of the OS layer, unique among the connector's layers."),
  version: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .describe("Name of the version that `source` becomes. Another name adds a version; the older ones stay."),
  source: z
    .strictObject({
      file: z.string().optional().describe("Path of a VHD, raw or QCOW2 disk image; streamed sparsely."),
      format: z
        .enum(["raw", "vhd", "qcow2"])
        .optional()
        .describe("Format of `file`; default: found out. A file that is not what this says is refused."),
      vm: z.string().optional().describe("name_label or uuid of a halted VM whose first disk is copied."),
      template: z.string().optional().describe("name_label or uuid of a template whose first disk is copied."),
      vdi: z.string().optional().describe("name_label or uuid of a disk that is copied."),
    })
    .describe("Where the operating system comes from: exactly one of file, vm, template, vdi."),
  description: z.string().max(1000).default("").describe("Free text."),
  account: z
    .string()
    .max(200)
    .optional()
    .describe("The account that created the OS: shown when somebody must log in to a packaging machine."),
  sourceHypervisor: z
    .enum(["xenserver", "vsphere", "hyperv", "acropolis", "azure", "aws", "otherHypervisor"])
    .default("xenserver")
    .describe("The hypervisor that the OS was installed on."),
  os: z.enum(["windows", "linux"]).default("windows").describe("Which guest side is used for packaging and finalizing."),
});

export const outputs = z.object({
  layerId: z.string().describe("Id of the layer: the uuid of its record."),
  versionId: z.string().describe("Id of this version."),
  vdiUuid: z.string().describe("uuid of this version's disk."),
  sizeGiB: z.number().describe("Virtual size of the disk in GiB."),
  hardware: z
    .record(z.string(), z.string())
    .describe("Facts packaging machines are compared with: firmware, secureBoot, vtpm, vcpus, memoryGiB, nics."),
  holder: z.string().describe("Token of this hold on the layer; a later hold makes an earlier one's delete harmless."),
});
