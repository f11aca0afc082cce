// A layer record that is not where it was, or not what it was: a storage migration gives it a new uuid and drops its marks, and an SR that is
// forgotten and introduced again gives it back without them. A moved one is found by its description; marks are rebuilt from the document in its content.
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { readDocument } from "./document.ts";
import { boundMarks, hasOwnUuid, marksOf } from "./marks.ts";
import { auditKeys, bearsMeta, META, RecordError, recordDescription, recordName, versionPrefix } from "./recordKeys.ts";

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

/** The record with the marks that its document tells; what neither bears marks nor holds a document of this layer is left alone. */
export async function rebuild(xapi: Xapi, vdi: Rec<"VDI">, layerId: string, report?: (message: string) => void): Promise<Rec<"VDI">> {
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
  // Another run may have done the same since this one looked, and gone on.
  const now = await xapi.record("VDI", vdi.$ref);
  if (now === undefined || bearsMeta(now)) return now ?? vdi;
  const marks = { connector: document.meta.connectorId, role: "layer" as const, layer: layerId };
  const other = {
    ...now.other_config,
    ...(marksOf(now) === undefined ? boundMarks(marks, now.uuid) : {}),
    [`${META}1`]: JSON.stringify(document.meta),
    ...Object.fromEntries(Object.entries(document.versions).map(([name, entry]) => [`${versionPrefix(name)}1`, JSON.stringify(entry)])),
    ...auditKeys(document.audit),
  };
  // SRs without metadata of their own (files, NFS) give names back empty.
  const [label, description] = [recordName(document.meta.name), recordDescription(layerId)];
  if (now.name_label !== label) await xapi.call("VDI.set_name_label", now.$ref, label);
  if (now.name_description !== description) await xapi.call("VDI.set_name_description", now.$ref, description);
  await xapi.call("VDI.set_other_config", now.$ref, other);
  report?.(`layer "${document.meta.name}": its marks were gone and have been rebuilt from its durable copy`);
  return { ...now, name_label: label, name_description: description, other_config: other };
}
