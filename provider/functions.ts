// What moves on after an `up` is read by functions: outputs of resources never change because of a later one.
import * as z from "zod";
import { connectorInput, reachable } from "./connector.ts";
import { InputError } from "./errors.ts";
import type { Entry } from "./layer/entry.ts";
import { findLayer } from "./layer/layers.ts";
import { diskOf, openLayer, openVersion } from "./layer/open.ts";
import { type LayerRecord, versionId } from "./layer/record.ts";
import { driftOf } from "./layer/sealed.ts";
import { loadReport } from "./report/load.ts";
import { reportPage } from "./report/page.ts";
import { report } from "./report/shape.ts";
import { reportText } from "./report/text.ts";
import type { Context, FrontContext } from "./resource.ts";
import { connectFor } from "./session.ts";

export const functionInputs = {
  getLayer: z.object({
    connector: connectorInput,
    name: z.string().optional().describe("Name of the layer."),
    layerId: z.string().optional().describe("Its id; one of the two."),
  }),
  getLayerVersions: z.object({ connector: connectorInput, layer: z.string().describe("Id of the layer.") }),
  getVersionReport: z.object({ connector: connectorInput, versionId: z.string().describe("Id of the version.") }),
};

export const layerInfo = z.object({
  layerId: z.string().describe("Id of the layer."),
  name: z.string().describe("Its name."),
  kind: z.enum(["os", "platform"]).describe("OS layer or platform layer."),
  description: z.string().describe("Free text."),
  osLayer: z.string().optional().describe("Id of the OS layer of a platform layer."),
  purpose: z.string().optional().describe("packaging or publishing."),
  platform: z.record(z.string(), z.string()).describe("Hypervisor, provisioning service, connection broker."),
  createdAt: z.string().describe("When it was created, ISO 8601."),
  versions: z.array(z.string()).describe("Names of its versions."),
  audit: z
    .array(
      z.object({
        at: z.string().describe("When, ISO 8601."),
        event: z.string().describe("What happened, such as `version sealed`."),
        version: z.string().optional().describe("The version that it happened to; absent: the layer as a whole."),
        comment: z.string().optional().describe("The program's comment."),
      }),
    )
    .describe("The audit history, oldest first."),
});

export const versionInfo = z.object({
  versionId: z.string().describe("Id of the version."),
  version: z.string().describe("Its name."),
  state: z.string().describe("Editing, Finalizing, Deployable, Deleting or Broken."),
  vdiUuid: z.string().describe("uuid of its disk."),
  basedOn: z.string().describe("What it is based on."),
  sealedAt: z.string().optional().describe("When it was sealed, ISO 8601."),
  released: z.boolean().describe("Whether no program holds it any more."),
  deltaGiB: z.number().optional().describe("What it adds to its base, in GiB."),
});

export const versionReport = z.object({
  versionId: z.string().describe("Id of the version."),
  text: z.string().describe("The report for people."),
  html: z.string().describe("The same as one page for a browser: no scripts, and nothing is loaded by it."),
  report: report.describe("The whole report, as report.schema.json has it."),
});

const contextOf = (ctx: FrontContext): Context => ({ ...ctx, connect: (connector) => connectFor(ctx, connector) });

export async function getLayer(front: FrontContext, args: unknown): Promise<z.output<typeof layerInfo>> {
  const { connector, name, layerId } = functionInputs.getLayer.parse(args);
  const ctx = contextOf(front);
  if ((name === undefined) === (layerId === undefined)) throw new InputError([{ property: "name", reason: "give name or layerId" }]);
  const record =
    layerId === undefined
      ? await findLayer(await ctx.connect(connector), connector, name ?? "")
      : (await openLayer(ctx, connector, "layerId", layerId)).record;
  if (record === undefined) throw new InputError([{ property: "name", reason: `there is no layer "${name}" on this pool` }]);
  return layerOf(record);
}

export async function getLayerVersions(front: FrontContext, args: unknown): Promise<{ versions: z.output<typeof versionInfo>[] }> {
  const { connector, layer } = functionInputs.getLayerVersions.parse(args);
  const { xapi, record } = await openLayer(contextOf(front), connector, "layer", layer);
  const versions: z.output<typeof versionInfo>[] = [];
  for (const [name, entry] of record.versions) {
    const vdi = entry.state === "Deployable" ? await diskOf({ xapi, record, entry }) : undefined;
    const broken = entry.state === "Deployable" && (vdi === undefined || driftOf(entry, vdi) !== undefined);
    versions.push(versionOf(record, name, broken ? { ...entry, state: "Broken" } : entry));
  }
  return { versions: versions.sort((a, b) => ((a.sealedAt ?? "~") < (b.sealedAt ?? "~") ? -1 : 1)) };
}

export async function getVersionReport(front: FrontContext, args: unknown): Promise<z.output<typeof versionReport>> {
  const { connector, versionId: id } = functionInputs.getVersionReport.parse(args);
  const ctx = contextOf(front);
  if (!reachable(connector)) throw new InputError([{ property: "connector", reason: "is required" }]);
  const opened = await openVersion(ctx, connector, id, "versionId");
  if (opened === undefined) throw new InputError([{ property: "versionId", reason: `there is no version ${id}` }]);
  const whole = await loadReport(ctx, opened);
  return { versionId: id, text: reportText(whole), html: reportPage(whole), report: whole };
}

function layerOf(record: LayerRecord): z.output<typeof layerInfo> {
  const { name, kind, description, osLayer, purpose, platform, createdAt } = record.meta;
  return {
    layerId: record.layerId,
    name,
    kind,
    description,
    ...(osLayer === undefined ? {} : { osLayer }),
    ...(purpose === undefined ? {} : { purpose }),
    platform: platform ?? {},
    createdAt,
    versions: [...record.versions.keys()].sort(),
    audit: record.audit.map(({ at, event, version, comment }) => ({
      at,
      event,
      ...(version === undefined ? {} : { version }),
      ...(comment === undefined ? {} : { comment }),
    })),
  };
}

function versionOf(record: LayerRecord, name: string, entry: Entry): z.output<typeof versionInfo> {
  return {
    versionId: versionId(record.layerId, entry.id),
    version: name,
    state: entry.state,
    vdiUuid: entry.vdi ?? "",
    basedOn: entry.base?.name ?? "",
    ...(entry.sealed === undefined ? {} : { sealedAt: entry.sealed.at }),
    released: entry.released !== undefined,
    ...(entry.sealed?.deltaGiB === undefined ? {} : { deltaGiB: entry.sealed.deltaGiB }),
  };
}
