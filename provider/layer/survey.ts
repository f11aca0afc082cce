// What of ours is on a pool, told by the records and marks alone: nothing is changed by looking. Promises: `left behind` is said only of what bears our
// in-flight marks, of which no live run can know, and which nobody uses; what is in doubt is named, with the reason, and is for people to judge.
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { copiesOf, isBeingCloned, usersOf } from "./buildRemoval.ts";
import { claims } from "./claim.ts";
import type { Entry, Lease } from "./entry.ts";
import { isOthers } from "./holder.ts";
import { isHeld } from "./lease.ts";
import {
  bearsMarks,
  flightsOf,
  hasOwnUuid,
  isCopy,
  isMachineCopy,
  isOfBuild,
  isOurs,
  isOutgrown,
  MACHINE_MARK,
  MADE,
  type Marks,
  machineMarksOf,
  marksOf,
  OPEN,
} from "./marks.ts";
import { LayerRecord } from "./record.ts";
import { bearsMeta } from "./recordKeys.ts";

/** `kept`: as it should be; `open`: unfinished, the next `up` goes on with it; `busy`: a live run is at work; `left behind`: may go; `in doubt`: not ours to judge. */
export type Fate = "kept" | "open" | "busy" | "left behind" | "in doubt";

export interface Thing {
  what: string;
  fate: Fate;
  why: string;
  connector?: string | undefined;
  /** By the layer's name where its record can be read. */
  layer?: string | undefined;
  version?: string | undefined;
  /** When it was begun, or sealed. */
  since?: string | undefined;
  lease?: Lease | undefined;
  vdis: Rec<"VDI">[];
  vms: Rec<"VM">[];
  /** What takes it away, where it may go. */
  remains?: Remains | undefined;
}

export type Remains =
  | { kind: "stale build" | "version" | "machine"; record: LayerRecord; version: string }
  | { kind: "layer"; record: LayerRecord }
  | { kind: "copies"; source: Rec<"VDI">; build: string }
  | { kind: "objects" };

interface Pool {
  xapi: Xapi;
  vdis: readonly Rec<"VDI">[];
  vms: readonly Rec<"VM">[];
  records: readonly LayerRecord[];
  /** Uuids of what has been told. */
  told: Set<string>;
}

export async function survey(xapi: Xapi): Promise<Thing[]> {
  // Machines first: whatever has one then is in its record, which is a VDI, by now.
  const vms = (await xapi.all("VM")).filter((vm) => !vm.is_control_domain);
  const vdis = await xapi.all("VDI");
  const things: Thing[] = [];
  const records = LayerRecord.among(xapi, vdis, (vdi, error) =>
    things.push({ ...doubt("layer record", error.message), connector: marksOf(vdi)?.connector, vdis: [vdi] }),
  );
  const pool: Pool = { xapi, vdis, vms, records, told: new Set(things.flatMap(({ vdis }) => vdis.map(({ uuid }) => uuid))) };
  for (const look of [ofRecords, ofCopies, ofLostBuilds, ofRecordsBegun, ofProbes, ofOthers]) {
    for (const thing of await look(pool)) {
      things.push(thing);
      for (const { uuid } of [...thing.vdis, ...thing.vms]) pool.told.add(uuid);
    }
  }
  return things;
}

const doubt = (what: string, why: string): Thing => ({ what, fate: "in doubt", why, vdis: [], vms: [] });
const of = (record: LayerRecord) => ({ connector: record.meta.connectorId, layer: record.meta.name });

/** Layers, their versions with all that belongs to them, and the builds that a version has left behind. */
async function ofRecords(pool: Pool): Promise<Thing[]> {
  const things: Thing[] = [];
  for (const record of pool.records) {
    things.push(ofLayer(record));
    for (const [version, entry] of record.versions) {
      const { stale = [] } = entry;
      things.push(...(await ofVersion(pool, record, version, entry)));
      for (const earlier of stale) {
        const parts = partsOf(pool, { ...entry, ...earlier, sealed: undefined });
        const remains: Remains = { kind: "stale build", record, version };
        things.push(await unlessUsed(pool, record, version, entry, { ...parts, what: "stale build", why: "made anew since", remains }));
      }
    }
  }
  return things;
}

function ofLayer(record: LayerRecord): Thing {
  const { kind, createdAt: since, removal } = record.meta;
  const why = `${kind} layer${removal === undefined ? "" : ", its removal was begun"}`;
  const thing: Thing = { ...of(record), what: "layer", fate: "kept", why, since, vdis: [record.vdi], vms: [] };
  if (isOthers(removal)) return { ...thing, fate: "busy", lease: removal };
  // With versions in it an up may want it as it is.
  return removal === undefined || record.versions.size > 0 ? thing : { ...thing, fate: "left behind", remains: { kind: "layer", record } };
}

async function ofVersion(pool: Pool, record: LayerRecord, version: string, entry: Entry): Promise<Thing[]> {
  const { vdis, vms } = partsOf(pool, entry);
  const thing = { ...of(record), what: "version", version, vdis };
  if (entry.state === "Deleting") {
    const remains: Remains = { kind: "version", record, version };
    const deleted = { what: "version", why: "its removal was begun", since: entry.released, vdis, vms, remains };
    return [await unlessUsed(pool, record, version, entry, deleted)];
  }
  if (entry.state === "Deployable") {
    const why = vdis.some(({ uuid }) => uuid === entry.vdi)
      ? entry.released === undefined
        ? "sealed"
        : "sealed, released"
      : "its disk is gone";
    const sealed: Thing = { ...thing, fate: "kept", why, since: entry.sealed?.at, vms: [] };
    if (vms.length === 0) return [sealed];
    const remains: Remains = { kind: "machine", record, version };
    const left = { what: "packaging machine", why: "its version is sealed", since: entry.sealed?.at, vdis: [], vms, remains };
    return [sealed, await unlessUsed(pool, record, version, entry, left)];
  }
  const [fate, why] = isHeld(record, version)
    ? (["busy", "a run is at work on it"] as const)
    : (["open", "the next up goes on with it"] as const);
  return [{ ...thing, fate, why, since: entry.createdAt, lease: entry.lease, vms }];
}

/** All objects of a build: by what is recorded, by the machine's unique name, and by marks where nothing is recorded. */
function partsOf(
  { vdis, vms, told }: Pool,
  entry: Pick<Entry, "id" | "build" | "vdi" | "machine"> & Partial<Entry>,
): Pick<Thing, "vdis" | "vms"> {
  const recorded = { disk: entry.vdi, payload: entry.sealed?.evidence ?? entry.machine?.payload };
  return {
    vdis: vdis.filter((vdi) => {
      if (told.has(vdi.uuid)) return false;
      if (vdi.uuid === recorded.disk || vdi.uuid === recorded.payload) return true;
      return (["disk", "payload"] as const).some((role) => isOfBuild(vdi, { role, version: entry.id, build: entry.build }, recorded[role]));
    }),
    vms:
      entry.machine === undefined
        ? []
        : vms.filter((vm) => vm.name_label === entry.machine?.name && !vm.is_a_snapshot && !isMachineCopy(vm)),
  };
}

/** What may go, unless a run is at work on its version, its machine runs, or somebody uses a disk of it. */
async function unlessUsed(
  { xapi }: Pool,
  record: LayerRecord,
  version: string,
  { lease, machine }: Pick<Entry, "lease" | "machine">,
  thing: Omit<Thing, "fate">,
): Promise<Thing> {
  const whole = { ...thing, ...of(record), version, lease };
  const { remains: _, ...rest } = whole;
  if (isHeld(record, version)) return { ...rest, fate: "busy", why: `${thing.why}; a run is at work on its version` };
  const running = thing.vms.find((vm) => vm.power_state !== "Halted");
  if (running !== undefined)
    return { ...rest, fate: "in doubt", why: `machine "${running.name_label}" is ${running.power_state}: shut it down first` };
  const [vm] = thing.vms;
  const own = vm === undefined ? machine : { name: vm.name_label, vm: vm.uuid };
  for (const vdi of thing.vdis) {
    const users = await usersOf(xapi, vdi, own);
    if (users.length > 0) return { ...rest, fate: "in doubt", why: `disk "${vdi.name_label}" is used by ${users.join(", ")}` };
  }
  return { ...whole, fate: "left behind" };
}

/** Copies that were begun and never finished, by the keys on what they were copied from; and keys that were forgotten there. */
async function ofCopies({ xapi, vdis, records }: Pool): Promise<Thing[]> {
  const things: Thing[] = [];
  for (const source of vdis) {
    // A copy bears the keys of its source, too; what they were put on bears its own marks, or (a payload disk) is no snapshot.
    if (isCopy(source) || source.is_a_snapshot) continue;
    for (const [build, since] of flightsOf(source)) {
      const { own, doubtful } = await copiesOf(xapi, source, build, vdis);
      const copies = [...own, ...doubtful];
      const owner = ownerOf(records, build);
      const about = owner === undefined ? { connector: marksOf(source)?.connector } : { ...of(owner.record), version: owner.version };
      const what = copies.length === 0 ? "in-flight key" : "unfinished copy";
      const thing: Thing = {
        ...about,
        what,
        fate: "left behind",
        why: `of "${source.name_label}" (${source.uuid})`,
        since,
        vdis: copies,
        vms: [],
      };
      if (owner !== undefined && isHeld(owner.record, owner.version))
        things.push({ ...thing, fate: "busy", why: `${thing.why}; a run is at work on its version`, lease: owner.entry.lease });
      else if (isBeingCloned(source)) things.push({ ...thing, fate: "busy", why: `${thing.why}, which is being cloned now` });
      else if (doubtful.length > 0)
        things.push({
          ...thing,
          fate: "in doubt",
          why: `${thing.why}, but some were cloned by somebody else: remove those that nobody needs`,
        });
      else things.push({ ...thing, remains: { kind: "copies", source, build } });
    }
  }
  return things;
}

function ownerOf(records: readonly LayerRecord[], build: string): { record: LayerRecord; version: string; entry: Entry } | undefined {
  for (const record of records)
    for (const [version, entry] of record.versions)
      if (entry.build === build || entry.stale?.some((earlier) => earlier.build === build)) return { record, version, entry };
  return undefined;
}

/** Objects of builds that no version knows: a run that had lost its lease made them, or did not live to take them away. */
async function ofLostBuilds(pool: Pool): Promise<Thing[]> {
  const { vdis, vms, told } = pool;
  const builds = new Map<string, { marks: Marks; vdis: Rec<"VDI">[]; vms: Rec<"VM">[] }>();
  const add = (marks: Marks | undefined, found: Partial<Pick<Thing, "vdis" | "vms">>) => {
    if (marks?.build === undefined || marks.layer === undefined) return;
    const known = builds.get(marks.build) ?? { marks, vdis: [], vms: [] };
    builds.set(marks.build, { marks, vdis: [...known.vdis, ...(found.vdis ?? [])], vms: [...known.vms, ...(found.vms ?? [])] });
  };
  for (const vdi of vdis)
    if (!told.has(vdi.uuid) && (isOurs(vdi, { role: "disk" }) || isOurs(vdi, { role: "payload" }))) add(marksOf(vdi), { vdis: [vdi] });
  for (const vm of vms) if (!told.has(vm.uuid) && !vm.is_a_snapshot && !isMachineCopy(vm)) add(machineMarksOf(vm), { vms: [vm] });
  const things: Thing[] = [];
  for (const [build, lost] of builds) things.push(await lostBuild(pool, build, lost));
  return things;
}

async function lostBuild(
  pool: Pool,
  build: string,
  { marks, ...parts }: { marks: Marks; vdis: Rec<"VDI">[]; vms: Rec<"VM">[] },
): Promise<Thing> {
  const record = pool.records.find(({ layerId }) => layerId === marks.layer);
  const entry = record?.byId(marks.version ?? "");
  const about = {
    what: "lost build",
    connector: marks.connector,
    layer: record?.meta.name ?? marks.layer,
    version: entry?.name ?? marks.version,
  };
  const left = (why: string): Thing => ({ ...doubt(about.what, why), ...about, ...parts });
  // A storage repository that is away takes the record with it.
  if (record === undefined) return left("its layer's record is not on this pool, or can't be read");
  if (ownerOf(pool.records, build) !== undefined) return left("a second one of its kind: somebody's copy?");
  const ofRole = (role: Marks["role"]) => parts.vdis.filter((vdi) => marksOf(vdi)?.role === role);
  const [disks, payloads] = [ofRole("disk"), ofRole("payload")];
  if (disks.length > 1 || payloads.length > 1 || parts.vms.length > 1)
    return left("there are several of its kind: which is somebody's copy?");
  const since = disks[0]?.other_config[OPEN];
  // A disk that is bound and not open has been sealed once.
  if (disks.some((disk) => hasOwnUuid(disk) && !(OPEN in disk.other_config)))
    return left("it was sealed, and its layer's record doesn't know it");
  if (disks.length === 0 && parts.vms.length === 0) return left("it may be the evidence of a version that its layer's record doesn't know");
  const [machine] = parts.vms;
  if (
    machine !== undefined &&
    !(machine.name_label.startsWith(`${record.meta.name} `) && machine.name_label.endsWith(` packaging ${build.slice(0, 8)}`))
  )
    return left("a machine of another name than it was made with: somebody's copy?");
  const thing = {
    ...about,
    ...parts,
    since,
    why: `no version of layer "${record.meta.name}" knows it`,
    remains: { kind: "objects" } as const,
  };
  return { ...(await unlessUsed(pool, record, about.version ?? "", entry?.entry ?? {}, thing)), version: about.version };
}

/** Records that a killed run has begun: nothing refers to a layer yet that has no facts. */
async function ofRecordsBegun({ xapi, vdis, told }: Pool): Promise<Thing[]> {
  return vdis
    .filter((vdi) => !told.has(vdi.uuid) && isOurs(vdi, { role: "layer" }) && !bearsMeta(vdi) && !hasOwnUuid(vdi))
    .map((vdi) => {
      const about = { connector: marksOf(vdi)?.connector, since: vdi.other_config[MADE], vdis: [vdi], vms: [] };
      const thing: Thing = { ...about, what: "half-made record", fate: "left behind", why: `"${vdi.name_label}"` };
      if (vdis.some((other) => marksOf(other)?.layer === vdi.uuid))
        return { ...thing, fate: "in doubt", why: `${thing.why} bears no facts, but disks are marked as its layer's` };
      return claims(xapi, vdi)
        ? { ...thing, fate: "busy", why: `${thing.why}; a run is making it` }
        : { ...thing, remains: { kind: "objects" } };
    });
}

async function ofProbes({ vdis }: Pool): Promise<Thing[]> {
  return vdis
    .filter((vdi) => isOurs(vdi, { role: "probe" }))
    .map((vdi): Thing => {
      const about = { what: "probe disk", connector: marksOf(vdi)?.connector, since: vdi.other_config[MADE], vdis: [vdi], vms: [] };
      return isOutgrown(vdi)
        ? { ...about, fate: "left behind", why: "no probe lives for an hour", remains: { kind: "objects" } }
        : { ...about, fate: "busy", why: "a test may be at work" };
    });
}

/** All else that bears marks of ours, or says that it is ours. */
async function ofOthers({ vdis, vms, told }: Pool): Promise<Thing[]> {
  const unmarked = new Set(LayerRecord.unmarked(vdis));
  const disks = vdis
    .filter((vdi) => !told.has(vdi.uuid) && (bearsMarks(vdi) || unmarked.has(vdi.uuid)))
    .map((vdi): Thing => {
      const whose = vdi.is_a_snapshot ? "a snapshot that somebody made" : isCopy(vdi) ? "a copy that somebody made" : undefined;
      const lost = unmarked.has(vdi.uuid) ? "a layer record that has lost its marks: the next up or refresh rebuilds them" : undefined;
      const why = lost ?? whose ?? "marks that can't be read: damaged, or of a newer release";
      return { ...doubt("disk", why), connector: marksOf(vdi)?.connector, vdis: [vdi] };
    });
  const machines = vms
    .filter((vm) => !told.has(vm.uuid) && MACHINE_MARK in vm.other_config)
    .map((vm): Thing => {
      const marks = machineMarksOf(vm);
      const why =
        marks === undefined ? "marks that can't be read: damaged, or of a newer release" : "a copy or snapshot that somebody made";
      return { ...doubt("machine", why), connector: marks?.connector, vms: [vm] };
    });
  return [...disks, ...machines];
}
