// A version's report from the pool: the evidence kept with a sealed version, or, of one that is not sealed yet, what its machine has last written. Reads only.
import { ConflictError } from "../errors.ts";
import { buildOrder } from "../guest/order.ts";
import { fetchReport } from "../guestDisk.ts";
import { evidenceOf } from "../layer/build.ts";
import type { OpenedVersion } from "../layer/open.ts";
import { versionId } from "../layer/record.ts";
import type { Context } from "../resource.ts";
import { buildReport } from "./build.ts";
import { pictureOf } from "./pictures.ts";
import type { Report } from "./shape.ts";

export async function loadReport(ctx: Context, { xapi, record, name, entry }: OpenedVersion): Promise<Report> {
  const version = `version ${name} of layer "${record.meta.name}"`;
  const { sealed, machine } = entry;
  const open = sealed === undefined ? machine?.payload : undefined;
  const disk = open === undefined ? await evidenceOf(xapi, record, entry) : await xapi.get("VDI", open);
  if (disk === undefined) {
    const why =
      sealed === undefined
        ? "no machine has worked on it"
        : entry.base === undefined
          ? "it was imported, not packaged"
          : "its disk is gone";
    throw new ConflictError(`${version} has no evidence: ${why}`);
  }
  if (sealed === undefined && machine?.vm !== undefined) {
    const vm = await xapi.get("VM", machine.vm);
    if (vm !== undefined && vm.power_state !== "Halted")
      throw new ConflictError(
        `${version} has no report yet: machine "${vm.name_label}" is ${vm.power_state.toLowerCase()}, and writes on its evidence`,
        {
          hint: "ask again when it has powered off",
        },
      );
  }
  const payload = await fetchReport(ctx, xapi, disk);
  const os = entry.base?.os ?? "windows";
  const order = payload.order ?? buildOrder({ order: "finalize", os, layer: record.meta.name, version: name });
  return buildReport({
    layer: record.meta.name,
    version: name,
    versionId: versionId(record.layerId, entry.id),
    entry,
    disk: disk.uuid,
    payload,
    order,
    pictures: await Promise.all(
      (machine?.pictures ?? []).map((taken) => pictureOf(taken, sealed === undefined ? undefined : payload.pictures)),
    ),
  });
}
