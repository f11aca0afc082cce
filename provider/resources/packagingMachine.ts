// PackagingMachine: the temporary VM that boots the packaging disk and runs the install steps.
import * as z from "zod";
import { connectorInput } from "../connector.ts";
import { stepInput } from "../guest/order.ts";

export const inputs = z.object({
  connector: connectorInput,
  disk: z.string().min(1).describe("Id of the PackagingDisk."),
  install: z.array(stepInput).max(90).default([]).describe("Steps in order."),
  cleanup: z
    .array(stepInput)
    .max(9)
    .default([])
    .describe("Steps after the others: remove installers, settings and files that don't belong into the layer."),
  files: z
    .record(z.string().regex(/^[A-Za-z0-9._ -]{1,100}$/, "letters, digits, blank, dot, hyphen, underscore"), z.string())
    .optional()
    .describe("Files for the steps: name to path. Steps find them in the folder XENLAYER_FILES."),
  media: z.array(z.string()).max(2).optional().describe("name_label or uuid of ISO images with installers."),
  mode: z
    .enum(["automatic", "manual"])
    .default("automatic")
    .describe("manual: an engineer installs at the machine and runs Shutdown For Finalize."),
  cpus: z.number().int().min(1).max(64).optional().describe("vCPUs; default: the template's. Needs vm-power-admin."),
  memoryGiB: z.number().positive().max(1024).optional().describe("Memory in GiB; default: the template's. Needs vm-power-admin."),
  network: z.string().optional().describe("name_label or uuid of the network; default: the connector's."),
  toolsIso: z.string().optional().describe("name_label or uuid of the ISO with the VM tools; default: the connector's."),
  timeouts: z
    .strictObject({
      bootMinutes: z.number().positive().max(240).default(15).describe("Until the guest's bootstrap must have been heard."),
      packageMinutes: z
        .number()
        .positive()
        .max(2880)
        .default(240)
        .describe("Until all steps must be done (manual mode: until the engineer is)."),
    })
    .prefault({})
    .describe("Limits of the waits."),
  onFailure: z
    .enum(["keep", "delete"])
    .default("keep")
    .describe("What becomes of the machine when a step fails: keep it for a look and resume, or delete it."),
});

export const outputs = z.object({
  versionId: z.string().describe("Id of the version."),
  vmUuid: z.string().describe("uuid of the VM (gone once the version is sealed)."),
  consoleUrl: z.string().describe("Where its console is."),
  ipAddresses: z.array(z.string()).describe("Addresses the guest's tools reported last."),
  toolsVersion: z.string().describe("Version of the VM tools that answered last; empty = none."),
  steps: z
    .array(z.object({ name: z.string(), exitCode: z.number(), seconds: z.number(), logDigest: z.string() }))
    .describe("What each step ended with: exit code, duration, SHA-256 of its log."),
  ready: z.boolean().describe("Whether every step is done."),
  holder: z.string().describe("Token of this hold on the version."),
});
