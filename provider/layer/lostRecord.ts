// A layer record that is not where it was, or not what it was: a storage migration gives it a new uuid and drops its marks, and an SR that is
// forgotten and introduced again gives it back without them. A moved one is found by its description; marks are rebuilt from the document in its content.
import { ConflictError, ProviderError, XapiError } from "../errors.ts";
import { until } from "../wait.ts";
import type { Xapi } from "../xapi/client.ts";
import { OUTCOME_UNKNOWN } from "../xapi/codes.ts";
import type { Rec } from "../xapi/records.ts";
import { type Document, readDocument } from "./document.ts";
import type { Entry, Lease } from "./entry.ts";
import { elapsed, isOthers, LEASE_MS, leaseIn, type Moment, newLease, now } from "./holder.ts";
import { boundMarks, hasOwnUuid } from "./marks.ts";
import {
  auditKeys,
  bearsMeta,
  generationOf,
  keysOf,
  META,
  REBUILD,
  RecordError,
  recordDescription,
  recordName,
  versionPrefix,
} from "./recordKeys.ts";

/** A storage migration gives a new uuid and drops other_config, but keeps the description (xapi.md 5.1 pool_migrate). */
export async function movedRecord(xapi: Xapi, layerId: string): Promise<Rec<"VDI"> | undefined> {
  const found = await xapi.find("VDI", { name_description: recordDescription(layerId) });
  const candidates = found.filter((vdi) => !vdi.is_a_snapshot && (!bearsMeta(vdi) || hasOwnUuid(vdi)));
  if (candidates.length > 1)
    throw new RecordError(`the record of layer ${layerId} is gone, and several disks say that they are it: ${listed(candidates)}`, {
      hint: "remove, or describe otherwise, those that are copies",
    });
  return candidates[0];
}

const listed = (vdis: readonly Rec<"VDI">[]): string => vdis.map(({ uuid, name_label }) => `${uuid} ("${name_label}")`).join(", ");

/** In this process; its resources look at one record at the same time. */
const underWay = new Map<string, Promise<Rec<"VDI"> | undefined>>();

/** The record with the marks that its document tells; what neither bears marks nor holds a document of this layer is left alone. Undefined: it has gone. */
export function rebuild(
  xapi: Xapi,
  vdi: Rec<"VDI">,
  layerId: string,
  report: (message: string) => void = () => {},
): Promise<Rec<"VDI"> | undefined> {
  const going = underWay.get(vdi.$ref) ?? rebuilt(xapi, vdi, layerId, report).finally(() => underWay.delete(vdi.$ref));
  underWay.set(vdi.$ref, going);
  return going;
}

async function rebuilt(xapi: Xapi, vdi: Rec<"VDI">, layerId: string, report: (message: string) => void): Promise<Rec<"VDI"> | undefined> {
  const document = await readDocument(xapi, vdi);
  if (document === undefined)
    throw new RecordError(
      `VDI ${vdi.uuid} ("${vdi.name_label}") should be the record of layer ${layerId}, but neither its marks nor its content can be read`,
      {
        hint: "restore it from a backup, or remove it and its disks by hand",
      },
    );
  // Somebody has restored, or copied, another record over it.
  if (document.meta.uuid !== layerId)
    throw new RecordError(
      `VDI ${vdi.uuid} ("${vdi.name_label}") should be the record of layer ${layerId}, but its content is that of layer ${document.meta.uuid} ("${document.meta.name}")`,
      { hint: "restore its own content from a backup, or remove it and its disks by hand" },
    );
  const begun = await begin(xapi, vdi, report);
  // Only with that said is looked: another run may have done it since this one has looked first, and gone on.
  const found = begun === undefined ? undefined : await xapi.record("VDI", vdi.$ref);
  if (begun !== undefined && found !== undefined && !bearsMeta(found)) {
    // SRs without metadata of their own (files, NFS) give names back empty.
    const [label, description] = [recordName(document.meta.name), recordDescription(layerId)];
    if (found.name_label !== label) await xapi.call("VDI.set_name_label", found.$ref, label);
    if (found.name_description !== description) await xapi.call("VDI.set_name_description", found.$ref, description);
    const versions = await lasting(xapi, document);
    for (const [key, value] of keysFor({ ...document, versions }, found)) {
      if (elapsed(begun) > LEASE_MS / 2)
        throw new ConflictError(`the marks of layer "${document.meta.name}" could not be rebuilt in time`, {
          hint: "run `pulumi up` again",
        });
      await add(xapi, found.$ref, key, value);
    }
    report(`layer "${document.meta.name}": its marks were gone and have been rebuilt from its durable copy`);
  }
  return await ended(xapi, vdi.$ref);
}

/** Without the open versions of which nothing is there: they were taken away after the copy was written, and nobody would ever take them out again. */
async function lasting(xapi: Xapi, { meta, versions }: Document): Promise<Document["versions"]> {
  const settled = ({ state }: Entry): boolean => state === "Deployable" || state === "Deleting";
  if (Object.values(versions).every(settled)) return versions;
  const vdis = await xapi.all("VDI");
  const names = new Set((await xapi.all("VM")).map(({ name_label }) => name_label));
  const isThere = ({ id, vdi, machine, stale }: Entry): boolean =>
    stale !== undefined ||
    (machine !== undefined && names.has(machine.name)) ||
    // Also under the uuid that a migration has given it.
    vdis.some(({ uuid, name_description }) => uuid === vdi || name_description.endsWith(` ${meta.uuid}/${id}`));
  return Object.fromEntries(Object.entries(versions).filter(([, entry]) => settled(entry) || isThere(entry)));
}

// One by one: XAPI takes no request of more than 300 KiB (xen-api ocaml/xapi-consts/constants.ml), and a document may be larger.
function keysFor(document: Document, { uuid, other_config }: Rec<"VDI">): [key: string, value: string][] {
  const { meta, versions, audit } = document;
  // The uuid first: without it, what a killed run leaves would pass for a record that was never finished. The facts last: with them it is whole.
  const { "xenlayer:uuid": own = uuid, ...marks } = boundMarks({ connector: meta.connectorId, role: "layer", layer: meta.uuid }, uuid);
  const all: [string, string][] = [
    ["xenlayer:uuid", own],
    ...Object.entries(marks),
    ...Object.entries(versions).map(([name, entry]): [string, string] => [`${versionPrefix(name)}1`, JSON.stringify(entry)]),
    ...Object.entries(auditKeys(audit)),
    [`${META}1`, JSON.stringify(meta)],
  ];
  return all.filter(([key]) => !(key in other_config));
}

// One run at a time: of two the slower would bring back what the faster has changed, or taken away, since it was done.
/** When this run has said that it does it; undefined: another has done it, or the record has gone. */
async function begin(xapi: Xapi, vdi: Rec<"VDI">, report: (message: string) => void): Promise<Moment | undefined> {
  for (let seen: Rec<"VDI"> | undefined = vdi; ; seen = await xapi.record("VDI", vdi.$ref)) {
    if (seen === undefined || bearsMeta(seen)) return undefined;
    const { generation, lease } = lastOf(seen);
    if (isOthers(lease)) await doneOrDead(xapi, seen, report);
    else {
      const since = now();
      // Of two that take it up at the same time one is told that it came second.
      if (await add(xapi, vdi.$ref, `${REBUILD}${generation + 1}`, JSON.stringify(newLease()))) return since;
    }
  }
}

function lastOf(vdi: Rec<"VDI">): { generation: number; lease: Lease | undefined } {
  const generation = Math.max(0, ...keysOf(vdi, REBUILD).map(generationOf));
  return { generation, lease: leaseIn(vdi.other_config[`${REBUILD}${generation}`]) };
}

async function doneOrDead(xapi: Xapi, { $ref, name_label }: Rec<"VDI">, report: (message: string) => void): Promise<void> {
  await until<Rec<"VDI"> | undefined, true>({
    for: `the marks of "${name_label}" to be rebuilt by another run`,
    look: () => xapi.record("VDI", $ref),
    judge: (vdi) => {
      const lease = vdi === undefined || bearsMeta(vdi) ? undefined : lastOf(vdi).lease;
      if (lease === undefined || !isOthers(lease)) return { state: "ready", value: true };
      const by = `a run on ${lease.host} (process ${lease.pid})`;
      return { state: "pending", message: `the marks of "${name_label}" are being rebuilt by ${by}; waiting for it` };
    },
    subscribe: (wake) => xapi.watch([`VDI/${$ref}`], () => wake()),
    timeoutMs: 2 * LEASE_MS,
    relookMs: 5000,
    report,
  });
}

/** The record, with nothing said any more of who rebuilds it: beside its facts that means nothing, so it may stay. */
async function ended(xapi: Xapi, ref: string): Promise<Rec<"VDI"> | undefined> {
  const vdi = await xapi.record("VDI", ref);
  for (const key of keysOf(vdi, REBUILD))
    await xapi.call("VDI.remove_from_other_config", ref, key).catch((error: unknown) => {
      if (!(error instanceof ProviderError)) throw error;
    });
  return vdi;
}

/** Whether the key says this; false: it is there and says something else. */
async function add(xapi: Xapi, ref: string, key: string, value: string): Promise<boolean> {
  try {
    await xapi.call("VDI.add_to_other_config", ref, key, value);
    return true;
  } catch (error) {
    if (!(error instanceof XapiError) || !["MAP_DUPLICATE_KEY", OUTCOME_UNKNOWN].includes(error.code)) throw error;
    const there = (await xapi.record("VDI", ref))?.other_config[key];
    if (there === undefined) throw error;
    return there === value;
  }
}
