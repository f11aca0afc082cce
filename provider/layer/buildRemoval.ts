// Taking away a build of a version: its machine, its payload disk, its disk and the copies that a run has left unfinished. What goes is told by what is
// recorded, or by marks that can be nobody's copy; never by a description. Who else uses a disk is told here, too, and asked by the caller.
import { XapiError } from "../errors.ts";
import type { Context } from "../resource.ts";
import { until } from "../wait.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import type { Entry, Machine } from "./entry.ts";
import { flightsOf, inFlightKey, isMachineCopy, isOfBuild, lookKey, MACHINE_MARK, type Marks, marksOf, unfinishedCopies } from "./marks.ts";
import type { LayerRecord } from "./record.ts";

/** What a storage under load may take for a clone, which is mostly done in seconds. */
const CLONE_MS = 30 * 60_000;

type MachineId = Pick<Machine, "name" | "vm">;

/** The machine of a build, wherever a run was killed: by the unique name it was cloned under; under another one that somebody gave it, by its uuid. */
export async function findMachine(xapi: Xapi, { name, vm: uuid }: MachineId): Promise<Rec<"VM"> | undefined> {
  return (await machinesOf(xapi, { name, vm: uuid }))[0];
}

/** The same, and after it those that were begun beside it: the answer to a clone was lost, and it came late. They have neither mark nor work in them. */
async function machinesOf(xapi: Xapi, { name, vm: uuid }: MachineId): Promise<Rec<"VM">[]> {
  const named = (await xapi.find("VM", { name_label: name })).filter((vm) => !vm.is_a_snapshot);
  const known = named.find((vm) => vm.uuid === uuid) ?? named.find((vm) => !isMachineCopy(vm));
  const machine = known ?? (uuid === undefined ? undefined : await xapi.get("VM", uuid));
  const late = named.filter((vm) => vm.$ref !== machine?.$ref && vm.is_a_template && !(MACHINE_MARK in vm.other_config));
  return machine === undefined ? late : [machine, ...late];
}

/**
 * Takes away the VM of a build, running or not: who must not interrupt what is at work in it looks before.
 * `halted`: the machine as it was seen a moment ago, which mostly saves looking for it.
 */
export async function removeMachine(ctx: Context, xapi: Xapi, machine: MachineId, halted?: Rec<"VM">): Promise<void> {
  if (halted !== undefined && (await destroyed(xapi, halted))) return;
  for (const vm of await machinesOf(xapi, machine)) {
    ctx.report(`removing packaging machine "${vm.name_label}"`);
    // What xenlayer blocks is not in the way; what somebody else has blocked may be.
    if (["destroy", "hard_shutdown"].some((operation) => operation in vm.blocked_operations))
      await xapi.call("VM.set_blocked_operations", vm.$ref, {});
    if (vm.power_state !== "Halted") await xapi.task("VM.hard_shutdown", [vm.$ref], { signal: ctx.signal }).catch(unlessHalted);
    await xapi.destroy("VM", vm.$ref);
  }
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

/**
 * Takes away everything of one build: machine, payload disks, disk and unfinished copies; and what is left of a build that it followed.
 * `seen`: disksOf the entry, a moment ago.
 */
export async function removeBuild(
  ctx: Context,
  xapi: Xapi,
  record: LayerRecord,
  entry: Entry,
  { roles = ["payload", "disk"], seen }: { roles?: readonly Marks["role"][]; seen?: readonly Rec<"VDI">[] | undefined } = {},
): Promise<void> {
  const vdis = seen ?? (await disksOf(xapi, record, entry));
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
export async function disksOf(xapi: Xapi, record: LayerRecord, entry: Entry): Promise<Rec<"VDI">[]> {
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
    if (source !== undefined) await removeUnfinished(ctx, xapi, source, entry.build, vdis);
  }
  const all = [...vdis];
  for (const uuid of roles.flatMap((role) => recorded[role] ?? [])) {
    const elsewhere = vdis.some((vdi) => vdi.uuid === uuid) ? undefined : await xapi.get("VDI", uuid);
    if (elsewhere !== undefined) all.push(elsewhere);
  }
  for (const vdi of all) {
    const goes = roles.some((role) => {
      // By uuid also where a disk has lost its marks.
      if (recorded[role] === vdi.uuid) return true;
      return isOfBuild(vdi, { ...build, role }, recorded[role]);
    });
    if (goes) await xapi.destroy("VDI", vdi.$ref);
  }
}

/** Takes away the copies that a run has left unfinished, then the key that tells them. */
export async function removeUnfinished(
  ctx: Context,
  xapi: Xapi,
  source: Rec<"VDI">,
  build: string,
  vdis: readonly Rec<"VDI">[],
): Promise<void> {
  await removeCopies(ctx, xapi, source, build, vdis);
  for (const key of [inFlightKey(build), lookKey(build)])
    if (key in source.other_config) await xapi.call("VDI.remove_from_other_config", source.$ref, key);
}

/** Takes away the copies of its own that a run has left unfinished; what may be somebody's is named and stays. */
export async function removeCopies(
  ctx: Context,
  xapi: Xapi,
  source: Rec<"VDI">,
  build: string,
  vdis: readonly Rec<"VDI">[],
): Promise<void> {
  const seen = [...vdis];
  if (flightsOf(source).some(([at]) => at === build) && (await ended(ctx, xapi, source)))
    seen.push(...(await xapi.find("VDI", { SR: source.SR })).filter(({ uuid }) => !vdis.some((vdi) => vdi.uuid === uuid)));
  const { own, doubtful } = await copiesOf(xapi, source, build, seen);
  for (const left of own) await xapi.destroy("VDI", left.$ref);
  if (doubtful.length > 0)
    ctx.warn(
      `of ${doubtful.map(({ name_label, uuid }) => `"${name_label}" (${uuid})`).join(", ")} some were cloned by a run that was killed, and some by somebody else: which can't be told, so they stay; remove those that nobody needs`,
    );
}

/** Whether a disk is being cloned now, or a snapshot made of it: what comes of it is there when that has ended. */
export const isBeingCloned = ({ current_operations }: Rec<"VDI">): boolean =>
  Object.values(current_operations).some((operation) => operation === "clone" || operation === "snapshot");

/** A call goes on when its client is gone: waits for the clone that an earlier run may have asked for, and tells whether there was one. */
async function ended(ctx: Context, xapi: Xapi, source: Rec<"VDI">): Promise<boolean> {
  if (!isBeingCloned(source)) return false;
  await until({
    for: `the clone of "${source.name_label}" (${source.uuid}) that an earlier run has begun`,
    look: () => xapi.record("VDI", source.$ref),
    judge: (vdi) =>
      vdi === undefined || !isBeingCloned(vdi) ? { state: "ready", value: true } : { state: "pending", message: "the storage is at work" },
    subscribe: (wake) => xapi.watch([`VDI/${source.$ref}`], () => wake()),
    timeoutMs: CLONE_MS,
    signal: ctx.signal,
    report: ctx.report,
  });
  return true;
}

/**
 * Whose the disks are that bear the key of a copying. Whoever cloned the source while it had the key, and runs that die leave it there for days, has made one
 * that looks like ours. Ours have no VM; a copy into a disk of our own making bears its build's marks; and there are no more of them than builds were at it.
 */
export async function copiesOf(
  xapi: Xapi,
  source: Rec<"VDI">,
  build: string,
  vdis: readonly Rec<"VDI">[],
): Promise<{ own: Rec<"VDI">[]; doubtful: Rec<"VDI">[] }> {
  const found: Rec<"VDI">[] = [];
  for (const copy of unfinishedCopies(vdis, source, build)) if ((await usersOf(xapi, copy)).length === 0) found.push(copy);
  const marked = found.filter((copy) => marksOf(copy)?.build === build);
  const alike = marked.length > 0 ? marked : found;
  // Each build that was at it, then and now, accounts for one.
  const builds = new Set(
    flightsOf(source).flatMap(([at]) => (alike.some((copy) => flightsOf(copy).some(([its]) => its === at)) ? [at] : [])),
  );
  return alike.length <= (marked.length > 0 ? 1 : builds.size) ? { own: alike, doubtful: [] } : { own: [], doubtful: alike };
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
