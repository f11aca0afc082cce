// OsLayer: the base of platform layers. One version disk per `version`; a new `version` adds one, older ones stay.
import * as z from "zod";
import { connectorInput, currentOf, reachable, storageOf } from "../connector.ts";
import { InputError } from "../errors.ts";
import { ensureVersion, lookAtFile, SOURCES, sourceDisk, sourceOf } from "../importing.ts";
import { GiB } from "../layer/build.ts";
import { differences, type Entry, type Meta } from "../layer/entry.ts";
import { ensureLayer, findLayer, holdLayer, renameLayer } from "../layer/layers.ts";
import { demandStorage, diskIsThere, diskOf, openLayer } from "../layer/open.ts";
import { LayerRecord, RecordGoneError, randomId, versionId } from "../layer/record.ts";
import { recordName } from "../layer/recordKeys.ts";
import { applyRetention, giveUpLayer, removeLayer } from "../layer/removal.ts";
import { driftOf, sealedRefusal } from "../layer/sealed.ts";
import { objectName } from "../names.ts";
import { takenBack } from "../plan.ts";
import { type CheckFailure, type Context, defineResource, holdsUnknown } from "../resource.ts";
import { connectFor } from "../session.ts";

export const inputs = z.object({
  connector: connectorInput,
  name: objectName(200).describe("Name of the OS layer, unique among the connector's layers."),
  version: objectName(100).describe("Name of the version that `source` becomes. Another name adds a version; the older ones stay."),
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

export type Inputs = z.output<typeof inputs>;
type Outputs = z.output<typeof outputs>;

export const osLayer = defineResource(connectFor, {
  type: "OsLayer",
  description:
    "An OS layer: the base of platform layers. Each `version` is one disk, taken from an image file, a VM, a template or a disk; a new `version` adds one and the older ones stay.",
  inputs,
  outputs,

  async examine(ctx, want, old) {
    const failures: CheckFailure[] = [];
    const kinds = want.source === undefined ? [] : SOURCES.filter((kind) => want.source !== undefined && kind in want.source);
    if (want.source !== undefined && kinds.length !== 1)
      failures.push({
        property: "source",
        reason: `give exactly one of ${SOURCES.join(", ")}${kinds.length === 0 ? "" : `, not ${kinds.join(" and ")}`}`,
      });
    if (want.source?.format !== undefined && want.source.file === undefined && !("file" in want.source))
      failures.push({ property: "source.format", reason: "is only for source.file" });
    if (failures.length > 0) return { failures };
    const image = want.source?.file === undefined ? undefined : await lookAtFile(want.source.file, want.source.format);
    if (image !== undefined && "problem" in image) return { failures: [{ property: "source.file", reason: image.problem }] };
    if (!reachable(want.connector) || want.name === undefined || want.version === undefined) return { failures };
    const xapi = await ctx.connect(want.connector);
    const record = await findLayer(xapi, want.connector, want.name, ctx.warn);
    if (record !== undefined && record.meta.kind !== "os")
      return { failures: [{ property: "name", reason: `a platform layer is named "${want.name}"` }] };
    // Without one of the former name it is this very layer: a run that renamed it was killed before it could tell.
    const renamed = record !== undefined && old?.name !== undefined && old.name !== want.name;
    if (renamed && (await findLayer(xapi, want.connector, old.name ?? "")) !== undefined)
      return { failures: [{ property: "name", reason: `a layer "${want.name}" exists: choose another name` }] };
    const existing = record?.versions.get(want.version);
    if (record !== undefined && existing?.state === "Deployable" && (await diskIsThere({ xapi, record, entry: existing }))) {
      const source = want.source === undefined || holdsUnknown(want.source) ? undefined : sourceOf(want.source, image?.info);
      const refusal = sealedRefusal(record, want.version, existing, differences(existing.content, source === undefined ? {} : { source }));
      if (refusal !== undefined) failures.push({ property: "version", reason: refusal });
      else if (old?.version !== want.version) ctx.report(`${want.version} exists: taken, not imported`);
      return { failures };
    }
    if (old?.version !== undefined && old.version !== want.version) ctx.report(`${old.version} stays in the layer`);
    const known = want.source !== undefined && want.source.file === undefined && !holdsUnknown(want.source);
    const from = known ? (await sourceDisk(xapi, want.source)).vdi : undefined;
    const need = image?.info.virtualSize ?? from?.virtual_size ?? GiB;
    const sr = await storageOf(xapi, want.connector);
    // Allocated data counts on thin SRs; what is known of a file before reading it is its own size.
    const free = sr.physical_size - sr.physical_utilisation;
    if (free < Math.min(need, image?.fileBytes ?? from?.physical_utilisation ?? need))
      failures.push({
        property: "connector.storageRepository",
        reason: `"${sr.name_label}" has ${Math.floor(free / GiB)} GiB free, the image needs ${Math.ceil(need / GiB)} GiB: free some space, or name another storage repository`,
      });
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
    const entry = record.versions.get(want.version ?? old.version);
    const vdi = entry?.state === "Deployable" ? await diskOf({ xapi, record, entry }) : undefined;
    // Moved or renamed by somebody, or its removal begun: the update sees to it.
    const moved = vdi !== undefined && (vdi.uuid !== entry?.vdi || (want.version === old.version && vdi.uuid !== old.vdiUuid));
    const whole =
      vdi !== undefined && !moved && record.vdi.name_label === recordName(record.meta.name) && record.meta.removal === undefined;
    return whole && record.meta.holder === old.holder ? {} : { changes: true };
  },

  create,

  async read(ctx, id, state) {
    const xapi = await ctx.connect(state.connector);
    const record = await LayerRecord.open(xapi, id, ctx.warn);
    const entry = record?.versions.get(state.version);
    if (record === undefined) {
      await demandStorage(xapi, state.connector);
      return undefined;
    }
    const vdi = entry === undefined ? undefined : await diskOf({ xapi, record, entry });
    if (entry === undefined || vdi === undefined) return { ...told(record, entry, state.holder), vdiUuid: "" };
    const drift = driftOf(entry, vdi);
    if (drift !== undefined)
      ctx.warn(`version ${state.version} of layer "${record.meta.name}" is not what was imported any more: ${drift}`);
    return { ...told(record, entry, state.holder), vdiUuid: vdi.uuid };
  },

  async update(ctx, id, _old, wanted) {
    const { record } = await openLayer(ctx, wanted.connector, "name", id, "os");
    if (wanted.name !== record.meta.name) await renameLayer(ctx, record, wanted.name);
    const entry = await ensureVersion(ctx, record, wanted);
    const holder = await holdLayer(ctx, record, metaOf(wanted));
    // Removals that a killed run has begun.
    await applyRetention(ctx, record);
    await record.saveDocument(ctx.signal);
    return told(record, entry, holder);
  },

  async delete(ctx, id, state) {
    const record = await LayerRecord.open(await ctx.connect(state.connector), id, ctx.warn);
    if (record === undefined || record.meta.holder !== state.holder) return;
    await removeLayer(ctx, record);
  },
});

async function create(ctx: Context, wanted: Inputs): Promise<{ id: string; outputs: Outputs }> {
  const xapi = await ctx.connect(wanted.connector);
  const createdAt = new Date().toISOString();
  const meta = {
    format: 1 as const,
    uuid: "",
    connectorId: wanted.connector.connectorId,
    kind: "os" as const,
    name: wanted.name,
    description: "",
    holder: randomId(),
    createdAt,
  };
  const { record, made } = await ensureLayer(ctx, xapi, wanted.connector, { ...meta, ...metaOf(wanted) });
  if (record.meta.kind !== "os") throw new InputError([{ property: "name", reason: `a platform layer is named "${wanted.name}"` }]);
  try {
    const entry = await ensureVersion(ctx, record, wanted);
    // Last: a create that fails must not take the layer from the resource that has it.
    const holder = made ? record.meta.holder : await holdLayer(ctx, record, metaOf(wanted));
    await record.saveDocument(ctx.signal);
    return { id: record.layerId, outputs: told(record, entry, holder) };
  } catch (error) {
    // The run that made the layer has failed and taken it back while this one waited for it: now it is this one's to make.
    if (!made && error instanceof RecordGoneError) return await create(ctx, wanted);
    // Nothing is left of a layer whose first version could not be made; but what a run without engine began, the next may have found already.
    if (!made || ctx.signal.aborted) throw error;
    throw await takenBack(error, () => giveUpLayer(record));
  }
}

const metaOf = (wanted: Inputs): Partial<Meta> => ({
  description: wanted.description,
  sourceHypervisor: wanted.sourceHypervisor,
  account: wanted.account,
  os: wanted.os,
});

function told(record: LayerRecord, entry: Entry | undefined, holder: string): Outputs {
  return {
    layerId: record.layerId,
    versionId: entry === undefined ? "" : versionId(record.layerId, entry.id),
    vdiUuid: entry?.vdi ?? "",
    sizeGiB: Math.round(((entry?.sealed?.virtualSize ?? 0) / GiB) * 1000) / 1000,
    hardware: entry?.hardware ?? {},
    holder,
  };
}
