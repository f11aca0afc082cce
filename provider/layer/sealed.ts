// What holds for a version once it is sealed: it may be taken by programs that mean the same content, never changed; and XAPI keeps no client from writing
// to a disk (VDI.set_read_only is refused), so what can be seen without reading it is compared with what was sealed.
import type { Context } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import type { Entry } from "./entry.ts";
import type { LayerRecord } from "./record.ts";

/** The sentence for new inputs that mean another content than what was sealed; undefined when there is no change. */
export function sealedRefusal(record: LayerRecord, version: string, entry: Entry, changed: readonly string[]): string | undefined {
  if (changed.length === 0) return undefined;
  return `version ${version} of layer "${record.meta.name}" was sealed ${entry.sealed?.at ?? ""}, and ${changed.join(", ")}: give a new version`;
}

/** Why a disk is not any more what was sealed; undefined = nothing speaks against it. */
export function driftOf({ sealed }: Entry, vdi: Rec<"VDI">): string | undefined {
  return sealed === undefined || vdi.virtual_size === sealed.virtualSize
    ? undefined
    : `its disk ${vdi.uuid} has ${vdi.virtual_size} bytes, sealed were ${sealed.virtualSize}`;
}

/** Signs of writing that may have another cause: told, and nothing is done. */
export async function tellDoubts(
  ctx: Context,
  xapi: Xapi,
  record: LayerRecord,
  version: string,
  entry: Entry,
  vdi: Rec<"VDI">,
): Promise<void> {
  const { physicalUtilisation = vdi.physical_utilisation } = entry.sealed ?? {};
  const what = `version ${version} of layer "${record.meta.name}"`;
  // The storage may have merged a parent into it (SM's leaf coalescing), so this is no proof.
  if (vdi.physical_utilisation > physicalUtilisation)
    ctx.warn(
      `${what} takes ${vdi.physical_utilisation} bytes, sealed were ${physicalUtilisation}: has somebody written to disk ${vdi.uuid}?`,
    );
  if (vdi.VBDs.length === 0) return;
  for (const vbd of await xapi.find("VBD", { VDI: vdi.$ref })) {
    if (!vbd.currently_attached || vbd.mode !== "RW") continue;
    const vm = await xapi.record("VM", vbd.VM);
    if (vm !== undefined && !vm.is_control_domain)
      ctx.warn(`${what} is being written to by VM "${vm.name_label}": give that VM a clone of disk ${vdi.uuid} instead`);
  }
}
