// Taking away what a layer holds, and the layer: at its delete, by retention, and when an import that made it has failed. Promises: nothing goes that somebody
// uses; a version is said to go before anything of it does, so what a killed run leaves is known for what it is, and the next delete, up or gc ends it; of a run
// that removes a layer and one that begins a version in it, one gives way.
import { ConflictError, explain, ProviderError } from "../errors.ts";
import { takenBack } from "../plan.ts";
import type { Context } from "../resource.ts";
import type { Rec } from "../xapi/records.ts";
import { located, recordedDisk } from "./build.ts";
import { disksOf, removeBuild, usersOf } from "./buildRemoval.ts";
import type { Entry } from "./entry.ts";
import { isOwn, LEASE_MS, leftOf, newLease } from "./holder.ts";
import { demandFree, freeToTake, withoutLease } from "./lease.ts";
import { LayerRecord, RecordGoneError, versionId } from "./record.ts";
import { spaceLines, spaceOf } from "./space.ts";

/** Removes the layer with all its versions; refused, naming what uses it, while anything does or a version is being built. */
export async function removeLayer(ctx: Context, record: LayerRecord): Promise<void> {
  try {
    await freeToTake(ctx, record);
    await demandUnused(record);
    await close(record);
    for (const [name, entry] of record.versions) {
      ctx.report(`removing version ${name}`);
      await removeVersion(ctx, record, name, entry);
      await keepClosed(record);
    }
    await record.xapi.destroy("VDI", record.vdi.$ref);
  } catch (error) {
    // With it went all that is asked for.
    if (error instanceof RecordGoneError) return;
    throw await takenBack(error, () => reopen(record));
  }
}

/** Removes a layer that its maker could put no version into; it stays with whoever holds it, or has begun a version in it, meanwhile. */
export async function giveUpLayer(record: LayerRecord): Promise<void> {
  const { holder } = record.meta;
  try {
    await record.refresh();
    if (record.meta.holder !== holder || record.versions.size > 0) return;
    await close(record);
    await record.xapi.destroy("VDI", record.vdi.$ref);
  } catch (error) {
    await reopen(record);
    if (!(error instanceof ConflictError)) throw error;
  }
}

// Who removes a layer says so, then looks for versions, and for layers that belong to it; who begins one writes it, then looks whether the layer is being removed
// (lease.ts, platformLayer.ts). So at least one of the two sees the other and gives way. It is said by a lease: a removal whose run is dead is in nobody's way.
async function close(record: LayerRecord): Promise<void> {
  const looked = shown(record);
  await record.putMeta({ ...record.meta, removal: newLease() });
  await record.refresh();
  if (shown(record) !== looked) throw notRemoved(record, "another run has begun something in it at the same time");
  demandNone(record, await belonging(record));
}

const shown = (record: LayerRecord): string => JSON.stringify([...record.versions].sort());
const notRemoved = (record: LayerRecord, why: string): ConflictError =>
  new ConflictError(`layer "${record.meta.name}" is not removed: ${why}`, { hint: "destroy again" });

/** A lease that has become old, by whichever clock, may have let another run in. */
async function keepClosed(record: LayerRecord): Promise<void> {
  const whole = (): string => JSON.stringify(record.meta) + shown(record);
  const looked = whole();
  await record.refresh();
  if (whole() !== looked) throw notRemoved(record, "another run has begun something in it meanwhile");
  if (record.removal === undefined || leftOf(record.removal) < LEASE_MS / 2) await close(record);
}

async function reopen(record: LayerRecord): Promise<void> {
  const { removal, ...meta } = record.meta;
  // Another run's stays: this one has only waited for it.
  if (!isOwn(removal)) return;
  await record.putMeta(meta).catch((error: unknown) => {
    // Another run has it since.
    if (!(error instanceof ConflictError)) throw error;
  });
}

async function demandUnused(record: LayerRecord): Promise<void> {
  const uses: string[] = [];
  for (const [name, entry] of record.versions) {
    demandFree(record, name);
    const users = await usersOfVersion(record, entry);
    if (users.length > 0) uses.push(`version ${name} is used by ${users.join(", ")}`);
  }
  demandNone(record, [...uses, ...(await belonging(record))]);
}

/** Platform layers of an OS layer, wherever they are: a connector may have been given another SR since. */
async function belonging({ xapi, meta, layerId }: LayerRecord): Promise<string[]> {
  if (meta.kind !== "os") return [];
  const layers = LayerRecord.among(xapi, await xapi.all("VDI")).filter((other) => other.meta.osLayer === layerId);
  return layers.map((other) => `platform layer "${other.meta.name}" belongs to it`);
}

function demandNone({ meta }: LayerRecord, uses: readonly string[]): void {
  if (uses.length > 0)
    throw new ConflictError(`layer "${meta.name}" is not deleted: ${uses.join("; ")}`, { hint: "remove what uses it, then destroy again" });
}

/** Disk, evidence, machine and entry of one version. */
export async function removeVersion(
  ctx: Context,
  record: LayerRecord,
  name: string,
  entry: Entry,
  disks?: readonly Rec<"VDI">[],
): Promise<void> {
  const seen = disks ?? (await disksOf(record.xapi, record, entry));
  const going = await condemned(record, name, entry, seen);
  await removeBuild(ctx, record.xapi, record, going, { seen });
  await record.remove(name);
}

/** Said first, and by compare-and-swap: a run that takes the version at this moment has it, or finds it gone. */
async function condemned(record: LayerRecord, name: string, entry: Entry, seen: readonly Rec<"VDI">[]): Promise<Entry> {
  if (entry.state === "Deleting") return entry;
  const going: Entry = { ...withoutLease(await located(record.xapi, record, entry, seen)), state: "Deleting" };
  await record.put(name, going);
  return going;
}

/** What has the version's disk, wherever that was moved, other than the machine it was packaged with. */
async function usersOfVersion(record: LayerRecord, entry: Entry, seen?: readonly Rec<"VDI">[]): Promise<string[]> {
  const { xapi } = record;
  const vdi = await recordedDisk(xapi, record, entry, seen);
  return vdi === undefined ? [] : await usersOf(xapi, vdi, entry.machine);
}

/** Versions that no program holds, beyond what the layer's retention keeps; never one that something uses or is based on while open. */
export async function applyRetention(ctx: Context, record: LayerRecord): Promise<void> {
  const { keep, maxAgeDays } = record.meta.retention ?? {};
  const all = [...record.versions].filter(([, entry]) => entry.state === "Deployable" && entry.released !== undefined);
  const newestFirst = all.sort(([, a], [, b]) => ((a.sealed?.at ?? "") < (b.sealed?.at ?? "") ? 1 : -1));
  const oldest = maxAgeDays === undefined ? Number.NEGATIVE_INFINITY : Date.now() - maxAgeDays * 86_400_000;
  const kept = newestFirst.filter(([, entry]) => entry.destroyWhenFree !== true).slice(0, keep);
  const surplus = newestFirst.filter((version) => !kept.includes(version) || Date.parse(version[1].sealed?.at ?? "") < oldest);
  const begun = [...record.versions].filter(([, entry]) => entry.state === "Deleting");
  const going = [...begun, ...surplus];
  const before = going.length === 0 ? [] : await spaceOf(record.xapi, [record.vdi]);
  let removed = 0;
  for (const [name, entry] of going)
    try {
      if (await removeReleased(ctx, record, name, entry)) removed++;
    } catch (error) {
      // What the user asked for is done; this is tried again with the layer's next change.
      if (!(error instanceof ProviderError) || ctx.signal.aborted) throw error;
      ctx.warn(
        `version ${name} of layer "${record.meta.name}" can't be removed now, its layer's next change tries again: ${explain(error)}`,
      );
    }
  if (removed > 0) for (const line of spaceLines(before, await spaceOf(record.xapi, [record.vdi]))) ctx.report(`retention: ${line}`);
}

/** Whether it has gone: what somebody uses stays. */
async function removeReleased(ctx: Context, record: LayerRecord, name: string, entry: Entry): Promise<boolean> {
  // Not by the disk: a storage migration gives the version another one, and who is based on it still names the former.
  const id = versionId(record.layerId, entry.id);
  const open = () =>
    [...record.versions]
      .filter(([, other]) => other.state !== "Deployable" && other.state !== "Deleting" && other.base?.id === id)
      .map(([other]) => `open version ${other}`);
  const seen = await disksOf(record.xapi, record, entry);
  const users = await usersOfVersion(record, entry, seen);
  const stays = (uses: readonly string[]): boolean => {
    if (uses.length === 0) return false;
    const becomes = entry.destroyWhenFree === true ? "it is released now and destroyed when it is free" : "it stays for now";
    ctx.warn(`version ${name} of layer "${record.meta.name}" is used by ${uses.join(", ")}: ${becomes}`);
    return true;
  };
  if (stays([...users, ...open()])) return false;
  const going = await condemned(record, name, entry, seen);
  if (entry !== going) {
    // Another run may have begun to build on it since the record was read; from here on none does.
    await record.refresh();
    if (stays(open())) {
      await record.put(name, entry);
      return false;
    }
  }
  ctx.report(`retention: removing version ${name}`);
  await removeVersion(ctx, record, name, going, seen);
  await record.addAudit({ at: new Date().toISOString(), event: "version removed by retention", version: name });
  return true;
}
