// PlatformLayer: the layer and its record. Versions are made into it by PackagingDisk, PackagingMachine and Finalize.
import * as z from "zod";
import { connectorInput, currentOf, reachable } from "../connector.ts";
import { InputError } from "../errors.ts";
import { loadIcon } from "../icon.ts";
import type { Meta } from "../layer/entry.ts";
import { ensureLayer, findLayer, holdLayer, renameLayer } from "../layer/layers.ts";
import { demandFree } from "../layer/lease.ts";
import { demandStorage, openLayer } from "../layer/open.ts";
import { LayerRecord, randomId } from "../layer/record.ts";
import { recordName } from "../layer/recordKeys.ts";
import { applyRetention, giveUpLayer, removeLayer } from "../layer/removal.ts";
import { objectName } from "../names.ts";
import { takenBack } from "../plan.ts";
import { type CheckFailure, type Context, defineResource, type Known } from "../resource.ts";
import { connectFor } from "../session.ts";

// Ids as App Layering's own (app-layering.md 4.2: ctxal-sdk New-ALPlatformLayer, WSDL HypervisorTypes).
export const hypervisors = ["xenserver", "vsphere", "hyperv", "acropolis", "azure", "aws", "gcp", "otherHypervisor"] as const;
export const provisioningServices = ["none", "mcs", "pvs", "viewcomposer", "otherProvisioning"] as const;
export const connectionBrokers = ["none", "xendesktop", "xenapp", "view", "rds", "azurerdsh", "otherBroker"] as const;

export const inputs = z.object({
  connector: connectorInput,
  name: objectName(200).describe("Name of the layer, unique among the connector's layers."),
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

type Inputs = z.output<typeof inputs>;
type Outputs = z.output<typeof outputs>;

export const platformLayer = defineResource(connectFor, {
  type: "PlatformLayer",
  description:
    "A platform layer: the software and settings that images need on one hypervisor, provisioning service and connection broker. It owns its versions: deleting it removes them.",
  inputs,
  outputs,

  async examine(ctx, want, old) {
    const failures = platformFailures(want);
    if (want.icon !== undefined) {
      const { problem } = await loadIcon(want.icon);
      if (problem !== undefined) failures.push({ property: "icon", reason: problem });
      const other = layerOfIcon(want.icon);
      if (other !== undefined && reachable(want.connector)) await openLayer(ctx, want.connector, "icon", other);
    }
    if (old?.osLayer !== undefined && want.osLayer !== undefined && old.osLayer !== want.osLayer)
      failures.push({ property: "osLayer", reason: BOUND });
    if (failures.length > 0 || !reachable(want.connector) || want.name === undefined) return { failures };
    const xapi = await ctx.connect(want.connector);
    const existing = await findLayer(xapi, want.connector, want.name, ctx.warn);
    if (existing !== undefined && existing.meta.kind !== "platform")
      failures.push({ property: "name", reason: `an OS layer is named "${want.name}"` });
    // Without one of the former name it is this very layer: a run that renamed it was killed before it could tell.
    else if (
      existing !== undefined &&
      old?.name !== undefined &&
      old.name !== want.name &&
      (await findLayer(xapi, want.connector, old.name)) !== undefined
    )
      failures.push({ property: "name", reason: `a layer "${want.name}" exists: choose another name` });
    else if (existing !== undefined && want.osLayer !== undefined && existing.meta.osLayer !== want.osLayer)
      failures.push({ property: "osLayer", reason: `layer "${want.name}" exists; ${BOUND}` });
    if (want.osLayer !== undefined && failures.length === 0) {
      const os = await openLayer(ctx, want.connector, "osLayer", want.osLayer, "os");
      if (
        want.purpose === "packaging" &&
        want.platform?.hypervisor !== undefined &&
        want.platform.hypervisor === os.record.meta.sourceHypervisor
      )
        ctx.warn(`a layer for packaging on ${want.platform.hypervisor}, where the OS comes from, is not needed`);
    }
    return { failures };
  },

  async diff(ctx, id, old, want) {
    const connector = currentOf(want.connector, old.connector);
    const xapi = await ctx.connect(connector);
    const record = await LayerRecord.open(xapi, id, ctx.warn);
    if (record === undefined) {
      await demandStorage(xapi, connector);
      return { changes: true, replaces: ["name"] };
    }
    // Renamed by somebody, or its removal begun: the update sees to it.
    const asMade = record.vdi.name_label === recordName(record.meta.name) && record.meta.removal === undefined;
    return asMade && record.meta.holder === old.holder ? {} : { changes: true };
  },

  async create(ctx, wanted) {
    const { xapi } = await openLayer(ctx, wanted.connector, "osLayer", wanted.osLayer, "os");
    const createdAt = new Date().toISOString();
    const meta = {
      format: 1 as const,
      connectorId: wanted.connector.connectorId,
      kind: "platform" as const,
      name: wanted.name,
      description: "",
      holder: randomId(),
      createdAt,
      uuid: "",
    };
    const audit = wanted.comment === undefined ? [] : [{ at: createdAt, event: "layer created", comment: wanted.comment }];
    const content = { icon: await iconOf(wanted), audit };
    const { record, made } = await ensureLayer(ctx, xapi, wanted.connector, { ...meta, ...metaOf(wanted) }, content);
    if (record.meta.kind !== "platform" || record.meta.osLayer !== wanted.osLayer)
      throw new InputError([{ property: "osLayer", reason: `layer "${wanted.name}" exists; ${BOUND}` }]);
    if (!made) ctx.report(`layer ${wanted.name} exists: taken over`);
    const outputs = made ? told(record, record.meta.holder) : await taken(ctx, record, wanted);
    // Who removes the OS layer says so, then looks for its layers (layer/removal.ts): one of the two sees the other.
    try {
      const { record: os } = await openLayer(ctx, wanted.connector, "osLayer", wanted.osLayer, "os");
      demandFree(os);
    } catch (error) {
      throw made ? await takenBack(error, () => giveUpLayer(record)) : error;
    }
    return { id: record.layerId, outputs };
  },

  async read(ctx, id, state) {
    const xapi = await ctx.connect(state.connector);
    const record = await LayerRecord.open(xapi, id, ctx.warn);
    if (record !== undefined) return told(record, state.holder);
    await demandStorage(xapi, state.connector);
    return undefined;
  },

  async update(ctx, id, old, wanted) {
    if (wanted.osLayer !== old.osLayer) throw new InputError([{ property: "osLayer", reason: BOUND }]);
    const { record } = await openLayer(ctx, wanted.connector, "name", id, "platform");
    if (wanted.name !== record.meta.name) await renameLayer(ctx, record, wanted.name);
    return await taken(ctx, record, wanted);
  },

  async delete(ctx, id, state) {
    const record = await LayerRecord.open(await ctx.connect(state.connector), id, ctx.warn);
    if (record === undefined || record.meta.holder !== state.holder) return;
    await removeLayer(ctx, record);
  },
});

/** The layer as these inputs mean it, held by whoever asks. */
async function taken(ctx: Context, record: LayerRecord, wanted: Inputs): Promise<Outputs> {
  const before = record.meta.icon;
  const icon = wanted.icon === before ? undefined : await iconOf(wanted);
  const holder = await holdLayer(ctx, record, metaOf(wanted));
  await record.noteComment("layer changed", undefined, wanted.comment);
  await applyRetention(ctx, record);
  await record.saveDocument(ctx.signal, icon);
  return told(record, holder);
}

async function iconOf({ icon }: Inputs): Promise<Uint8Array> {
  const loaded = icon === undefined ? {} : await loadIcon(icon);
  if (loaded.problem !== undefined) throw new InputError([{ property: "icon", reason: loaded.problem }]);
  return loaded.bytes ?? new Uint8Array();
}

const layerOfIcon = (icon: string): string | undefined => (icon.startsWith("layer:") ? icon.slice("layer:".length) : undefined);

const BOUND = "a layer belongs to its OS layer for good: make another layer";

// "packaging takes only the hypervisor; publishing requires all three" (App Layering's Create Platform Layer wizard, Platform Types).
function platformFailures({ purpose, platform }: Known<Inputs>): CheckFailure[] {
  if (platform === undefined) return [];
  const others = ["provisioningService", "connectionBroker"] as const;
  if (purpose === "packaging")
    return others
      .filter((name) => platform[name] !== undefined)
      .map((name) => ({
        property: `platform.${name}`,
        reason: "a layer for packaging takes only the hypervisor; remove it, or make the purpose publishing",
      }));
  if (purpose !== "publishing") return [];
  return others
    .filter((name) => !(name in platform))
    .map((name) => ({ property: `platform.${name}`, reason: "is required for publishing; `none` is a value" }));
}

function metaOf(wanted: Inputs): Partial<Meta> {
  return {
    description: wanted.description,
    osLayer: wanted.osLayer,
    purpose: wanted.purpose,
    platform: Object.fromEntries(Object.entries(wanted.platform).flatMap(([name, id]) => (id === undefined ? [] : [[name, id]]))),
    retention: wanted.retention,
    icon: wanted.icon,
    comment: wanted.comment,
  };
}

const told = (record: LayerRecord, holder: string): Outputs => ({ layerId: record.layerId, recordUuid: record.vdi.uuid, holder });
