// Taking away a build of a version: its machine, its payload disk, its disk and the copies that a run has left unfinished. What goes is told by what is
// recorded, or by marks that can be nobody's copy; who else uses a disk is told here, too, and asked by the caller.
import { XapiError } from "../errors.ts";
import type { Context } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { evidenceOf, movedDisk } from "./build.ts";
import type { Entry, Machine } from "./entry.ts";
import { hasOwnUuid, inFlightKey, isMachineCopy, isOurs, lookKey, type Marks, unfinishedCopies } from "./marks.ts";
import type { LayerRecord } from "./record.ts";

type MachineId = Pick<Machine, "name" | "vm">;

/** The machine of a build, wherever a run was killed: by the unique name it was cloned under; under another one that somebody gave it, by its uuid. */
export async function findMachine(xapi: Xapi, { name, vm: uuid }: MachineId): Promise<Rec<"VM"> | undefined> {
  const named = (await xapi.find("VM", { name_label: name })).filter((vm) => !vm.is_a_snapshot);
  const known = named.find((vm) => vm.uuid === uuid) ?? named.find((vm) => !isMachineCopy(vm));
  return known ?? (uuid === undefined ? undefined : await xapi.get("VM", uuid));
}

/**
 * Takes away the VM of a build. It is never stopped while a worker in it must not be interrupted: that is asked by the caller.
 * `halted`: the machine as it was seen a moment ago, which mostly saves looking for it.
 */
export async function removeMachine(ctx: Context, xapi: Xapi, machine: MachineId, halted?: Rec<"VM">): Promise<void> {
  if (halted !== undefined && (await destroyed(xapi, halted))) return;
  const vm = await findMachine(xapi, machine);
  if (vm === undefined) return;
  ctx.report(`removing packaging machine "${vm.name_label}"`);
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

/** Takes away everything of one build: machine, payload disks, disk and unfinished copies; and what is left of a build that it followed. */
export async function removeBuild(
  ctx: Context,
  xapi: Xapi,
  record: LayerRecord,
  entry: Entry,
  roles: readonly Marks["role"][] = ["payload", "disk"],
): Promise<void> {
  const vdis = await disksOf(xapi, record, entry);
  await removeParts(ctx, xapi, record, entry, roles, vdis);
  await removeEarlier(ctx, xapi, record, entry, vdis);
}

/** Takes away the builds that this one followed. */
export async function removeStale(ctx: Context, xapi: Xapi, record: LayerRecord, entry: Entry): Promise<void> {
  if (entry.stale === undefined) return;
  await removeEarlier(ctx, xapi, record, entry, await disksOf(xapi, record, entry));
}

async function removeEarlier(ctx: Context, xapi: Xapi, record: LayerRecord, entry: Entry, vdis: readonly Rec<"VDI">[]): Promise<void> {
  for (const { id, build, vdi, machine } of entry.stale ?? []) {
    const { machine: _machine, vdi: _vdi, sealed: _sealed, stale: _stale, ...rest } = entry;
    const earlier: Entry = { ...(rest as Entry), id, build };
    if (vdi !== undefined) earlier.vdi = vdi;
    if (machine !== undefined) earlier.machine = machine;
    await removeParts(ctx, xapi, record, earlier, ["payload", "disk"], vdis);
  }
}

/** All disks of the SRs that a build may be in: a connector may have been given another SR since the layer was made. */
async function disksOf(xapi: Xapi, record: LayerRecord, entry: Entry): Promise<Rec<"VDI">[]> {
  const vdis: Rec<"VDI">[] = [];
  for (const SR of new Set([record.vdi.SR, entry.sr ?? record.vdi.SR, ...(entry.stale ?? []).map(({ sr }) => sr ?? record.vdi.SR)]))
    vdis.push(...(await xapi.find("VDI", { SR })));
  return vdis;
}

async function removeParts(
  ctx: Context,
  xapi: Xapi,
  record: LayerRecord,
  entry: Entry,
  roles: readonly Marks["role"][],
  vdis: readonly Rec<"VDI">[],
): Promise<void> {
  // With the seal it went, whatever its name was.
  if (entry.machine !== undefined)
    await removeMachine(ctx, xapi, entry.sealed === undefined ? entry.machine : { name: entry.machine.name });
  const recorded: Partial<Record<Marks["role"], string | undefined>> = {
    disk: entry.vdi,
    payload: entry.sealed?.evidence ?? entry.machine?.payload,
  };
  const build = { connector: record.meta.connectorId, version: entry.id, build: entry.build };
  const sources = [...(roles.includes("disk") && entry.base !== undefined ? [entry.base.vdi] : []), recorded.payload];
  for (const uuid of sources) {
    if (uuid === undefined) continue;
    const source = vdis.find((vdi) => vdi.uuid === uuid) ?? (await xapi.get("VDI", uuid));
    if (source !== undefined) await removeUnfinished(xapi, source, entry.build, vdis);
  }
  const all = [...vdis];
  for (const uuid of roles.flatMap((role) => recorded[role] ?? [])) {
    const elsewhere = vdis.some((vdi) => vdi.uuid === uuid) ? undefined : await xapi.get("VDI", uuid);
    if (elsewhere !== undefined) all.push(elsewhere);
  }
  const moved = [
    roles.includes("disk") ? await movedDisk(xapi, record, entry, all) : undefined,
    roles.includes("payload") && !all.some(({ uuid }) => uuid === recorded.payload) ? await evidenceOf(xapi, record, entry) : undefined,
  ].filter((vdi) => vdi !== undefined);
  for (const vdi of [...all, ...moved]) {
    const goes = roles.some((role) => {
      // By uuid also where a disk has lost its marks. Marks without a uuid of their own may be a copy's: they count while nothing else is recorded.
      if (recorded[role] === vdi.uuid || moved.includes(vdi)) return true;
      return isOurs(vdi, { ...build, role }) && (hasOwnUuid(vdi) || recorded[role] === undefined);
    });
    if (goes) await xapi.destroy("VDI", vdi.$ref);
  }
}

/** Takes away the copies that a run has left unfinished, then the key that tells them. */
export async function removeUnfinished(xapi: Xapi, source: Rec<"VDI">, build: string, vdis: readonly Rec<"VDI">[]): Promise<void> {
  for (const left of unfinishedCopies(vdis, source, build)) await xapi.destroy("VDI", left.$ref);
  for (const key of [inFlightKey(build), lookKey(build)])
    if (key in source.other_config) await xapi.call("VDI.remove_from_other_config", source.$ref, key);
}

/** VMs that are not ours and have the disk attached or listed: what an image, or a person, uses. */
export async function usersOf(xapi: Xapi, vdi: Rec<"VDI">, own?: MachineId): Promise<string[]> {
  if (vdi.VBDs.length === 0) return [];
  const users: string[] = [];
  for (const vbd of await xapi.find("VBD", { VDI: vdi.$ref })) {
    const vm = await xapi.record("VM", vbd.VM);
    if (vm === undefined || vm.is_control_domain || (own !== undefined && (vm.uuid === own.vm || vm.name_label === own.name))) continue;
    users.push(`${vm.is_a_template ? "template" : "VM"} "${vm.name_label}"`);
  }
  return users;
}
