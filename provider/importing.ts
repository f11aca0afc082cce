// Importing: an image file, a VM's disk or a disk becomes a version of an OS layer.
// Promises: a half-imported disk is never gone on with; a version that is there is taken only when it came from the same source; what a failed import has
// begun is taken back.
import { stat } from "node:fs/promises";
import { resolve, storageOf, templateOf } from "./connector.ts";
import { ConflictError, explain, InputError } from "./errors.ts";
import { hardwareOf } from "./hardware.ts";
import { type ImageInfo, inspectImage, uploadBody } from "./image.ts";
import { diskDescription, diskMarks } from "./layer/build.ts";
import { removeStale } from "./layer/buildRemoval.ts";
import { anew, type Content, differences, type Entry } from "./layer/entry.ts";
import { abandon, withLease } from "./layer/lease.ts";
import { marksFor } from "./layer/marks.ts";
import { diskIsThere, mended } from "./layer/open.ts";
import { type LayerRecord, randomId } from "./layer/record.ts";
import { sealedRefusal } from "./layer/sealed.ts";
import { takenBack } from "./plan.ts";
import type { Context, Known } from "./resource.ts";
import type { Inputs } from "./resources/osLayer.ts";
import type { Xapi } from "./xapi/client.ts";
import { NULL_REF, type Rec } from "./xapi/records.ts";

export const SOURCES = ["file", "vm", "template", "vdi"] as const;

/** What the record keeps of a source, to tell a changed one. */
export const sourceOf = (source: Known<Inputs>["source"], info: ImageInfo | undefined): string | undefined =>
  info?.fingerprint ??
  (["vm", "template", "vdi"] as const).flatMap((kind) => (source?.[kind] === undefined ? [] : [`${kind} ${source[kind]}`]))[0];

export async function lookAtFile(
  path: string,
  format: string | undefined,
): Promise<{ info: ImageInfo; fileBytes: number } | { problem: string }> {
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
export async function sourceDisk(xapi: Xapi, source: Known<Inputs>["source"]): Promise<{ vdi: Rec<"VDI">; vm?: Rec<"VM"> }> {
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

export async function ensureVersion(ctx: Context, record: LayerRecord, wanted: Inputs): Promise<Entry> {
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
    if (whole !== existing || record.hasFormer(version)) await record.put(version, whole);
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
