// Functions: looks at a pool while a program runs, in the program's own process. They change nothing.
import * as pulumi from "@pulumi/pulumi";
import type {
  GetLayerArgs,
  GetLayerOutputArgs,
  GetLayerResult,
  GetLayerVersionsArgs,
  GetLayerVersionsOutputArgs,
  GetLayerVersionsResult,
  GetVersionReportArgs,
  GetVersionReportOutputArgs,
  GetVersionReportResult,
} from "./args.ts";
import { refusal } from "./refusal.ts";

/** A layer as its record tells it now, by name or by id. */
export function getLayer(args: GetLayerArgs): Promise<GetLayerResult> {
  return ask("getLayer", args);
}

/** A layer as its record tells it now, by name or by id. */
export function getLayerOutput(args: GetLayerOutputArgs): pulumi.Output<GetLayerResult> {
  return asked("getLayer", args);
}

/** The versions of a layer as they are now, in the order in which they were sealed. */
export function getLayerVersions(args: GetLayerVersionsArgs): Promise<GetLayerVersionsResult> {
  return ask("getLayerVersions", args);
}

/** The versions of a layer as they are now, in the order in which they were sealed. */
export function getLayerVersionsOutput(args: GetLayerVersionsOutputArgs): pulumi.Output<GetLayerVersionsResult> {
  return asked("getLayerVersions", args);
}

/** The whole finalize report of a sealed version, judged again from the evidence that is kept with it. */
export function getVersionReport(args: GetVersionReportArgs): Promise<GetVersionReportResult> {
  return ask("getVersionReport", args);
}

/** The whole finalize report of a sealed version, judged again from the evidence that is kept with it. */
export function getVersionReportOutput(args: GetVersionReportOutputArgs): pulumi.Output<GetVersionReportResult> {
  return asked("getVersionReport", args);
}

interface Results {
  getLayer: GetLayerResult;
  getLayerVersions: GetLayerVersionsResult;
  getVersionReport: GetVersionReportResult;
}

// The password in the arguments makes their Output a secret; no result holds one.
const asked = <F extends keyof Results>(name: F, args: object): pulumi.Output<Results[F]> =>
  pulumi.unsecret(pulumi.output(args).apply((known) => ask(name, known))) as pulumi.Output<Results[F]>;

let asking = 0;

async function ask<F extends keyof Results>(name: F, args: object): Promise<Results[F]> {
  // Only programs that ask pay for loading the provider.
  const provider = await import("../provider/index.ts");
  asking++;
  try {
    const front = {
      report: () => undefined,
      warn: (message: string) => void pulumi.log.warn(message),
      signal: new AbortController().signal,
      config: {
        username: pulumi.runtime.getConfig("xenlayer:username"),
        password: pulumi.runtime.getConfig("xenlayer:password"),
      },
    };
    return (await provider[name](front, args)) as Results[F];
  } catch (error) {
    throw refusal(`${name}: ${provider.explain(error)}`);
  } finally {
    asking--;
    // A program ends when nothing keeps it: not even a session.
    if (asking === 0) await provider.disconnectAll();
  }
}
