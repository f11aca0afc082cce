// A pool database that was restored from a backup (`xe pool-restore-database`) brings older marks back: a version that was sealed since is open in them, or not
// there at all, while its disk is what it is. The durable copy lies on the disk and is not set back. Promises: only what an older database explains is written
// back, for whoever removes a version takes its disk first; it is asked once for each version that an earlier run has left open, or that is missed.
import type { Context } from "../resource.ts";
import { readDocument } from "./document.ts";
import type { LayerRecord } from "./record.ts";

/** Versions that this process has written, or asked about: by their ids, or by what else they are missed as. */
const known = new Set<string>();
export const know = (version: string): void => void known.add(version);

/** Writes back the sealed versions that the marks of a record have forgotten. */
export async function recover(ctx: Context, record: LayerRecord, version: string): Promise<void> {
  if (known.has(version)) return;
  know(version);
  const { xapi } = record;
  const document = await readDocument(xapi, record.vdi, ctx.signal);
  if (document?.meta.uuid !== record.layerId) return;
  // What another run has sealed since the record was read is in the copy, too: only marks that are read after it can be older.
  await record.refresh();
  for (const [name, saved] of Object.entries(document.versions)) {
    const now = record.byId(saved.id);
    const other = now === undefined ? record.versions.get(name) : undefined;
    if (saved.state !== "Deployable" || saved.vdi === undefined || other !== undefined) continue;
    if (now?.entry.state === "Deployable" || now?.entry.state === "Deleting" || (await xapi.get("VDI", saved.vdi)) === undefined) continue;
    // Another run may do the same.
    const before = record.versions.get(name)?.state;
    if (!(await record.change(name, (entry) => (entry?.state === before ? saved : undefined)))) continue;
    if (now !== undefined && now.name !== name) await record.remove(now.name);
    ctx.warn(
      `version ${name} of layer "${record.meta.name}" was sealed, and its marks say otherwise: they are older, and have been rebuilt from its durable copy`,
    );
  }
}
