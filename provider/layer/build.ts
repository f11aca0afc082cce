// One build of a version: the disk cloned from its base, and taking a build away again (machine, payload disk, disk).
import type { Connector } from "../connector.ts";
import { storageOf } from "../connector.ts";
import { ConflictError, InputError, XapiError } from "../errors.ts";
import type { Context } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import { NULL_REF, type Rec } from "../xapi/records.ts";
import type { Base, Entry } from "./entry.ts";
import { boundMarks, findDisk, inFlightKey, isOurs, type Marks, marksFor, unfinishedCopies, withoutMarks } from "./marks.ts";
import type { LayerRecord } from "./record.ts";

export const GiB = 2 ** 30;
/** SM refuses chains longer than 30 (SR_BACKEND_FAILURE_109); images and snapshots above a version need room too. */
const MAX_DEPTH = 20;

export interface DiskRequest {
  connector: Connector;
  record: LayerRecord;
  version: string;
  entry: Entry;
  base: Base;
  fileName: string;
  sizeGiB?: number | undefined;
}

export const diskMarks = (record: LayerRecord, entry: Entry): Marks => ({
  connector: record.meta.connectorId,
  role: "disk",
  layer: record.layerId,
  version: entry.id,
  build: entry.build,
});

/** A short id in name_description survives a storage migration, which drops other_config (xapi.md 5.1). */
export const diskDescription = (record: LayerRecord, version: string, entry: Entry): string =>
  `xenlayer ${record.meta.name}/${version} ${record.layerId}/${entry.id}`;

/** The build's disk: found, or cloned from its base (copied across SRs, or when the chain has grown too long). */
export async function ensureDisk(ctx: Context, xapi: Xapi, request: DiskRequest): Promise<{ vdi: Rec<"VDI">; depth: number }> {
  const { record, entry, base, version } = request;
  const sr = await storageOf(xapi, request.connector);
  const vdis = await xapi.find("VDI", { SR: sr.$ref });
  const marks = diskMarks(record, entry);
  const source = vdis.find((vdi) => vdi.uuid === base.vdi) ?? (await xapi.get("VDI", base.vdi));
  if (source === undefined)
    throw new ConflictError(`the disk of base version ${base.name} (${base.vdi}) is gone`, {
      hint: "name another base with baseVersion or osVersion",
    });
  const baseDepth = base.depth ?? 0;
  const clones = source.SR === sr.$ref && baseDepth < MAX_DEPTH;
  const depth = clones ? baseDepth + 1 : 0;
  const existing = findDisk(vdis, marks);
  if (existing !== undefined) return { vdi: await grown(xapi, existing, request.sizeGiB), depth };

  const taken = vdis.find(
    (vdi) => vdi.name_label === request.fileName && isOurs(vdi, { role: "disk" }) && !isOurs(vdi, { version: entry.id }),
  );
  if (taken !== undefined)
    throw new InputError([
      { property: "fileName", reason: `"${request.fileName}" is taken by disk ${taken.uuid} in "${sr.name_label}", another version's` },
    ]);

  ctx.report(clones ? `cloning ${base.name}` : `copying ${base.name} to "${sr.name_label}"`);
  // A clone bears its source's marks until it gets its own: only the in-flight key tells it from a clone that somebody else made.
  const flight = inFlightKey(entry.build);
  for (const left of unfinishedCopies<"VDI">(vdis, source.uuid, entry.build)) await xapi.destroy("VDI", left.$ref);
  if (!(flight in source.other_config))
    await xapi.call("VDI.add_to_other_config", source.$ref, flight, new Date().toISOString()).catch(onlyDuplicate);
  const ref = clones
    ? await xapi.call<string>("VDI.clone", source.$ref)
    : await copied(ctx, xapi, source, sr, request, { ...marksFor(marks), [flight]: "" });
  const vdi = await xapi.record("VDI", ref);
  if (vdi === undefined) throw new ConflictError(`the new disk of version ${version} has been removed meanwhile`);
  await xapi.call("VDI.set_name_label", ref, request.fileName);
  await xapi.call("VDI.set_name_description", ref, diskDescription(record, version, entry));
  // Last: from here on it counts as made.
  const other_config = { ...withoutMarks(vdi.other_config), ...boundMarks(marks, vdi.uuid) };
  await xapi.call("VDI.set_other_config", ref, other_config);
  await xapi.call("VDI.remove_from_other_config", source.$ref, flight);
  return { vdi: await grown(xapi, { ...vdi, other_config, name_label: request.fileName }, request.sizeGiB), depth };
}

async function copied(
  ctx: Context,
  xapi: Xapi,
  source: Rec<"VDI">,
  sr: Rec<"SR">,
  request: DiskRequest,
  other_config: Record<string, string>,
): Promise<string> {
  const { fileName, record, version, entry } = request;
  const into = await xapi.call<string>("VDI.create", {
    name_label: fileName,
    name_description: diskDescription(record, version, entry),
    SR: sr.$ref,
    virtual_size: source.virtual_size,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: { ...other_config, "xenlayer:uuid": "being copied" },
  });
  await xapi.task("VDI.copy", [source.$ref, NULL_REF, NULL_REF, into], {
    signal: ctx.signal,
    onProgress: (fraction) => ctx.report(`copying ${request.base.name} to "${sr.name_label}" (${Math.floor(fraction * 100)} %)`),
  });
  return into;
}

async function grown(xapi: Xapi, vdi: Rec<"VDI">, sizeGiB: number | undefined): Promise<Rec<"VDI">> {
  const size = sizeGiB === undefined ? vdi.virtual_size : Math.ceil(sizeGiB * GiB);
  if (size <= vdi.virtual_size) return vdi;
  await xapi.task("VDI.resize", [vdi.$ref, size]);
  return { ...vdi, virtual_size: size };
}

function onlyDuplicate(error: unknown): void {
  if (!(error instanceof XapiError && error.code === "MAP_DUPLICATE_KEY")) throw error;
}

/** The machine of a build, wherever a run was killed: by the unique name it was cloned under. */
export async function findMachine(xapi: Xapi, machineName: string): Promise<Rec<"VM"> | undefined> {
  return (await xapi.find("VM", { name_label: machineName })).find((vm) => !vm.is_a_snapshot);
}

/**
 * Takes away the VM of a build. It is never stopped while a worker in it must not be interrupted: that is asked by the caller.
 * `halted`: the machine as it was seen a moment ago, which mostly saves looking for it.
 */
export async function removeMachine(ctx: Context, xapi: Xapi, machineName: string, halted?: Rec<"VM">): Promise<void> {
  if (halted !== undefined && (await destroyed(xapi, halted))) return;
  const vm = await findMachine(xapi, machineName);
  if (vm === undefined) return;
  ctx.report(`removing packaging machine "${machineName}"`);
  // What xenlayer blocks is not in the way; what somebody else has blocked may be.
  if (["destroy", "hard_shutdown"].some((operation) => operation in vm.blocked_operations))
    await xapi.call("VM.set_blocked_operations", vm.$ref, {});
  if (vm.power_state !== "Halted") await xapi.task("VM.hard_shutdown", [vm.$ref], { signal: ctx.signal }).catch(unlessHalted);
  await xapi.destroy("VM", vm.$ref);
}

/** False when it is not as it was any more. */
async function destroyed(xapi: Xapi, vm: Rec<"VM">): Promise<boolean> {
  try {
    await xapi.destroy("VM", vm.$ref);
    return true;
  } catch (error) {
    if (error instanceof XapiError && ["VM_BAD_POWER_STATE", "OPERATION_BLOCKED"].includes(error.code)) return false;
    throw error;
  }
}

function unlessHalted(error: unknown): void {
  if (!(error instanceof XapiError && error.code === "VM_BAD_POWER_STATE" && error.params.at(-1)?.toLowerCase() === "halted")) throw error;
}

/** Takes away everything of one build but what is sealed: machine, payload disks, disk and unfinished copies. */
export async function removeBuild(
  ctx: Context,
  xapi: Xapi,
  record: LayerRecord,
  entry: Entry,
  roles: readonly Marks["role"][] = ["payload", "disk"],
): Promise<void> {
  if (entry.machine !== undefined) await removeMachine(ctx, xapi, entry.machine.name);
  const vdis = await xapi.find("VDI", { SR: record.vdi.SR });
  for (const vdi of vdis) {
    const mine = isOurs(vdi, { connector: record.meta.connectorId, version: entry.id, build: entry.build });
    const wanted = roles.some((role) => isOurs(vdi, { role }));
    if (mine && wanted) await xapi.destroy("VDI", vdi.$ref);
  }
  if (!roles.includes("disk") || entry.base === undefined) return;
  for (const left of unfinishedCopies<"VDI">(vdis, entry.base.vdi, entry.build)) await xapi.destroy("VDI", left.$ref);
  const source = vdis.find((vdi) => vdi.uuid === entry.base?.vdi);
  if (source !== undefined && inFlightKey(entry.build) in source.other_config)
    await xapi.call("VDI.remove_from_other_config", source.$ref, inFlightKey(entry.build));
}

/** VMs that are not ours and have the disk attached or listed: what an image, or a person, uses. */
export async function usersOf(xapi: Xapi, vdi: Rec<"VDI">, ownMachine?: string): Promise<string[]> {
  if (vdi.VBDs.length === 0) return [];
  const users: string[] = [];
  for (const vbd of await xapi.find("VBD", { VDI: vdi.$ref })) {
    const vm = await xapi.record("VM", vbd.VM);
    if (vm === undefined || vm.is_control_domain || vm.name_label === ownMachine) continue;
    users.push(`${vm.is_a_template ? "template" : "VM"} "${vm.name_label}"`);
  }
  return users;
}
