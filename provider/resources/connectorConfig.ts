// ConnectorConfig: where layers are built. Creating it tests everything the other resources will need, and reports all findings at once.
import * as z from "zod";
import { connectorShape } from "../connector.ts";

export const inputs = z.object({
  ...connectorShape,
  connectorId: z
    .string()
    .regex(/^[0-9a-f]{32}$/, "32 hexadecimal digits")
    .optional()
    .describe("The id of an earlier connector whose layers are taken over, e.g. after a lost state; default: a new one."),
});

export const outputs = z.object({
  connectorId: z.string().describe("The owner of everything made through this connector."),
  pool: z.string().describe("uuid of the pool."),
  product: z.string().describe("Product and version, as `XenServer 8.4.0`."),
  apiVersion: z.string().describe("XAPI's version, as `2.21`."),
  coordinator: z.string().describe("name_label of the pool's coordinator."),
  templateUuid: z.string().describe("uuid of the template."),
  storageRepositoryUuid: z.string().describe("uuid of the storage repository."),
  networkUuid: z.string().optional().describe("uuid of the network."),
  toolsIsoUuid: z.string().optional().describe("uuid of the tools ISO."),
  capabilities: z.array(z.string()).describe("What pool and account allow beyond the least: resize, snapshot-console, …"),
});
