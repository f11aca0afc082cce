// What this package offers beside its resource classes: the provider, for the dynamic front and for programs that look at pools themselves.
import { dynamicFront } from "./dynamic.ts";
import { resources } from "./resources/index.ts";

/** Called by the text that Pulumi keeps with each resource (sdk/dynamic.ts): its name and arguments never change. */
export const dynamicProvider = dynamicFront(resources);

export { explain } from "./errors.ts";
export { getLayer, getLayerVersions, getVersionReport } from "./functions.ts";
export { disconnectAll } from "./xapi/client.ts";
