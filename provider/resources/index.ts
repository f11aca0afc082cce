// The resources, in the order of a layer's life. A new one: its file, a line here, `make schema`.
import type { Resource } from "../resource.ts";
import { connectorConfig } from "./connectorConfig.ts";
import { finalize } from "./finalize.ts";
import { osLayer } from "./osLayer.ts";
import { packagingDisk } from "./packagingDisk.ts";
import { packagingMachine } from "./packagingMachine.ts";
import { platformLayer } from "./platformLayer.ts";

export const resources: readonly Resource[] = [connectorConfig, osLayer, platformLayer, packagingDisk, packagingMachine, finalize];
