// pulumi-xenlayer: what programs import.
export type * from "./args.ts";
export { ConnectorConfig } from "./connectorConfig.ts";
export {
  getLayer,
  getLayerOutput,
  getLayerVersions,
  getLayerVersionsOutput,
  getVersionReport,
  getVersionReportOutput,
} from "./functions.ts";
export { LayerVersion } from "./layerVersion.ts";
export { PackagingDisk } from "./packagingDisk.ts";
export { Finalize, OsLayer, PackagingMachine, PlatformLayer } from "./resources.ts";
