// What this package offers beside its resource classes: the provider, for the fronts and for programs that look at pools themselves.
export { type DynamicConfig, type DynamicProvider, dynamicFront } from "./dynamic.ts";
