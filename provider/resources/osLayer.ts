// OsLayer: the base of platform layers. One version disk per `version`; a new `version` adds one, older ones stay.
import { stat } from "node:fs/promises";
import * as z from "zod";
import { connectorInput, currentOf, reachable, resolve, storageOf, templateOf } from "../connector.ts";
import { ConflictError, explain, InputError } from "../errors.ts";
import { hardwareOf } from "../hardware.ts";
import { type ImageInfo, inspectImage, uploadBody } from "../image.ts";
import { diskDescription, diskMarks, GiB, removeStale } from "../layer/build.ts";
import { anew, type Content, differences, type Entry, type Meta } from "../layer/entry.ts";
import { createLayer, findLayer, holdLayer, removeLayer, renameLayer } from "../layer/layers.ts";
import { abandon, withLease } from "../layer/lease.ts";
import { marksFor } from "../layer/marks.ts";
import { demandStorage, diskIsThere, mended, openLayer } from "../layer/open.ts";
import { LayerRecord, randomId, versionId } from "../layer/record.ts";
import { sealedRefusal } from "../layer/sealed.ts";
import { takenBack } from "../plan.ts";
import { type CheckFailure, type Context, defineResource, holdsUnknown, type Known } from "../resource.ts";
import { connectFor } from "../session.ts";
import type { Xapi } from "../xapi/client.ts";
import { NULL_REF, type Rec } from "../xapi/records.ts";

export const inputs = z.object({
  connector: connectorInput,
  name: z.string().trim().min(1).max(200).describe("Name of the OS layer, unique among the connector's layers."),
  version: z
    .string()
    .trim()
    .min(1)
    .max(100)
    .describe("Name of the version that `source` becomes. Another name adds a version; the older ones stay."),
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

type Inputs = z.output<typeof inputs>;
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
    if (record !== undefined && old?.name !== undefined && old.name !== want.name)
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
    const whole = entry?.state === "Deployable" && (await diskIsThere({ xapi, record, entry }));
    return whole && record.meta.holder === old.holder ? {} : { changes: true };
  },

  async create(ctx, wanted) {
    const xapi = await ctx.connect(wanted.connector);
    const existing = await findLayer(xapi, wanted.connector, wanted.name);
    if (existing !== undefined && existing.meta.kind !== "os")
      throw new InputError([{ property: "name", reason: `a platform layer is named "${wanted.name}"` }]);
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
    const record = existing ?? (await createLayer(ctx, xapi, wanted.connector, { ...meta, ...metaOf(wanted) }));
    try {
      const entry = await ensureVersion(ctx, record, wanted);
      // Last: a create that fails must not take the layer from the resource that has it.
      const holder = existing === undefined ? record.meta.holder : await holdLayer(record, metaOf(wanted));
      await record.saveDocument(ctx.signal);
      return { id: record.layerId, outputs: told(record, entry, holder) };
    } catch (error) {
      // Nothing is left of a layer whose first version could not be made.
      if (existing !== undefined) throw error;
      throw await takenBack(error, (signal) => removeLayer({ ...ctx, signal }, record));
    }
  },

  async read(ctx, id, state) {
    const xapi = await ctx.connect(state.connector);
    const record = await LayerRecord.open(xapi, id, ctx.warn);
    const entry = record?.versions.get(state.version);
    if (record === undefined) {
      await demandStorage(xapi, state.connector);
      return undefined;
    }
    if (entry === undefined) return { ...told(record, undefined, state.holder), vdiUuid: "", sizeGiB: 0 };
    return told(record, entry, state.holder);
  },

  async update(ctx, id, _old, wanted) {
    const { record } = await openLayer(ctx, wanted.connector, "name", id, "os");
    if (wanted.name !== record.meta.name) await renameLayer(record, wanted.name);
    const entry = await ensureVersion(ctx, record, wanted);
    const holder = await holdLayer(record, metaOf(wanted));
    await record.saveDocument(ctx.signal);
    return told(record, entry, holder);
  },

  async delete(ctx, id, state) {
    const record = await LayerRecord.open(await ctx.connect(state.connector), id, ctx.warn);
    if (record === undefined || record.meta.holder !== state.holder) return;
    await removeLayer(ctx, record);
  },
});

const SOURCES = ["file", "vm", "template", "vdi"] as const;

/** What the record keeps of a source, to tell a changed one. */
const sourceOf = (source: Known<Inputs>["source"], info: ImageInfo | undefined): string | undefined =>
  info?.fingerprint ??
  (["vm", "template", "vdi"] as const).flatMap((kind) => (source?.[kind] === undefined ? [] : [`${kind} ${source[kind]}`]))[0];

async function lookAtFile(path: string, format: string | undefined): Promise<{ info: ImageInfo; fileBytes: number } | { problem: string }> {
  try {
    const info = await inspectImage(path);
    if (info.problem !== undefined) return { problem: `${path} can't be used: ${info.problem}` };
    if (format !== undefined && format !== info.format) return { problem: `${path} is ${info.format}, not ${format}` };
    return { info, fileBytes: (await stat(path)).size };
  } catch (error) {
    return { problem: explain(error) };
  }
}

/** The disk that an existing object gives: a halted VM's or a template's first one, or a VDI. */
async function sourceDisk(xapi: Xapi, source: Known<Inputs>["source"]): Promise<{ vdi: Rec<"VDI">; vm?: Rec<"VM"> }> {
  if (source?.vdi !== undefined) return { vdi: await resolve(xapi, "VDI", "source.vdi", source.vdi, () => undefined, "disk") };
  const [property, name] = source?.vm !== undefined ? ["source.vm", source.vm] : ["source.template", source?.template ?? ""];
  const asTemplate = property === "source.template";
  const fits = (vm: Rec<"VM">) =>
    vm.is_control_domain || vm.is_a_snapshot
      ? "it is no VM of a user"
      : vm.is_a_template !== asTemplate
        ? `it is ${vm.is_a_template ? "a template" : "a VM"}`
        : vm.power_state !== "Halted"
          ? `it is ${vm.power_state}: shut it down first`
          : undefined;
  const vm = await resolve(xapi, "VM", property, name, fits, asTemplate ? "template" : "VM");
  const disks = (await xapi.find("VBD", { VM: vm.$ref })).filter((vbd) => vbd.type === "Disk" && !vbd.empty);
  const [first] = disks.sort((a, b) => Number(a.userdevice) - Number(b.userdevice));
  const vdi = first === undefined ? undefined : await xapi.record("VDI", first.VDI);
  if (vdi === undefined) throw new InputError([{ property, reason: `"${vm.name_label}" has no disk` }]);
  return { vdi, vm };
}

async function ensureVersion(ctx: Context, record: LayerRecord, wanted: Inputs): Promise<Entry> {
  const { xapi } = record;
  const { version, source } = wanted;
  const image = source.file === undefined ? undefined : await lookAtFile(source.file, source.format);
  if (image !== undefined && "problem" in image) throw new InputError([{ property: "source.file", reason: image.problem }]);
  const content: Content = { format: 1, source: sourceOf(source, image?.info) };
  const existing = record.versions.get(version);
  if (existing?.state === "Deployable" && (await diskIsThere({ xapi, record, entry: existing }))) {
    const refusal = sealedRefusal(record, version, existing, differences(existing.content, content));
    if (refusal !== undefined) throw new InputError([{ property: "version", reason: refusal }]);
    const whole = await mended(ctx, { xapi, record, name: version, entry: existing });
    if (whole !== existing) await record.put(version, whole);
    return whole;
  }
  const sr = await storageOf(xapi, wanted.connector);
  const begun = (before: Entry | undefined): Entry | undefined => {
    // Sealed by the run that was waited for.
    if (before?.state === "Deployable" && (existing?.state !== "Deployable" || before.build !== existing.build)) return undefined;
    return {
      format: 1,
      id: before?.id ?? randomId(),
      build: randomId(),
      state: "Editing",
      sr: sr.$ref,
      content,
      holders: {},
      createdAt: before?.createdAt ?? new Date().toISOString(),
      ...(before === undefined ? {} : { stale: anew(before, { build: "" }).stale }),
    };
  };
  const made = await withLease<Entry>(ctx, record, version, begun, async (held) => {
    const work = { ...ctx, signal: held.signal };
    // A disk that a killed run left may hold half of the image: it is made anew, not continued.
    await removeStale(work, xapi, record, held.entry);
    try {
      const { vdi, hardware } = await imported(work, record, wanted, held.entry, sr, image?.info);
      const at = new Date().toISOString();
      const { stale: _, ...rest } = held.entry;
      const sealed: Entry = {
        ...(rest as Entry),
        state: "Deployable",
        vdi: vdi.uuid,
        depth: 0,
        hardware,
        sealed: { at, virtualSize: vdi.virtual_size },
      };
      return { result: sealed, finish: () => sealed };
    } catch (error) {
      throw await takenBack(error, (signal) => abandon({ ...ctx, signal }, record, version, held));
    }
  });
  return made ?? (await ensureVersion(ctx, record, wanted));
}

async function imported(
  ctx: Context,
  record: LayerRecord,
  wanted: Inputs,
  entry: Entry,
  sr: Rec<"SR">,
  info: ImageInfo | undefined,
): Promise<{ vdi: Rec<"VDI">; hardware: Record<string, string> }> {
  const { xapi } = record;
  const { version, source } = wanted;
  const from = info === undefined ? await sourceDisk(xapi, source) : undefined;
  const what = source.file ?? from?.vdi.name_label ?? "";
  const marks = diskMarks(record, entry);
  const ref = await xapi.call<string>("VDI.create", {
    name_label: `${record.meta.name} ${version}`,
    name_description: diskDescription(record, version, entry),
    SR: sr.$ref,
    virtual_size: info?.virtualSize ?? from?.vdi.virtual_size ?? 0,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: marksFor(marks),
  });
  const progress = (fraction: number) => ctx.report(`importing ${what} (${Math.floor(fraction * 100)} %)`);
  ctx.report(`importing ${what}`);
  if (info !== undefined && source.file !== undefined)
    await xapi.put(ref, await uploadBody(source.file, info), { signal: ctx.signal, onProgress: progress });
  else if (from !== undefined)
    await xapi.task("VDI.copy", [from.vdi.$ref, NULL_REF, NULL_REF, ref], { signal: ctx.signal, onProgress: progress });
  const vdi = await xapi.record("VDI", ref);
  if (vdi === undefined) throw new ConflictError(`the disk of version ${version} has been removed while it was imported`);
  await xapi.call("VDI.add_to_other_config", ref, "xenlayer:uuid", vdi.uuid);
  const like = from?.vm ?? (await templateOf(xapi, wanted.connector));
  return { vdi, hardware: hardwareOf(like) };
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
