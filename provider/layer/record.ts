// The layer record: a small VDI whose other_config holds the layer's facts and one entry per version. It is the truth about a layer; Pulumi's state
// and this process are caches. Every write adds a key of the next generation: add_to_other_config is atomic and answers MAP_DUPLICATE_KEY to the
// second of two writers, so a write is compare-and-swap, and a run killed between the two calls of a write leaves the newer one to be read.
// A writer that fell behind by more than one generation would find its key free: a confirmed write looks whether what it follows is still there.
import { randomBytes } from "node:crypto";
import { ConflictError, ProviderError, XapiError } from "../errors.ts";
import type { Xapi } from "../xapi/client.ts";
import { OUTCOME_UNKNOWN } from "../xapi/codes.ts";
import { isGone } from "../xapi/pool.ts";
import type { Rec } from "../xapi/records.ts";
import { writeDocument } from "./document.ts";
import type { Audit, Entry, Lease, Meta } from "./entry.ts";
import { movedRecord, rebuild } from "./lostRecord.ts";
import { CLAIM, hasOwnUuid } from "./marks.ts";
import {
  AUDIT,
  auditKey,
  bearsMeta,
  describedLayer,
  generationOf,
  keysOf,
  META,
  RecordError,
  readKeys,
  type Slot,
  versionPrefix,
} from "./recordKeys.ts";
import { know } from "./restored.ts";

/** A layer that was there is gone. */
export class RecordGoneError extends ConflictError {}

export const randomId = (): string => randomBytes(16).toString("hex");

/** `<layer id>/<version id>`: what resources are linked by. */
export const versionId = (layerId: string, entryId: string): string => `${layerId}/${entryId}`;
export function splitVersionId(id: string): { layerId: string; entryId: string } | undefined {
  const match = /^([0-9a-f-]{36})\/([0-9a-f]{32})$/.exec(id);
  return match?.[1] === undefined || match[2] === undefined ? undefined : { layerId: match[1], entryId: match[2] };
}

export class LayerRecord {
  readonly xapi: Xapi;
  readonly layerId: string;
  vdi: Rec<"VDI">;
  /** Who removes the layer, as the last look or confirmed write has shown it. */
  removal: Lease | undefined;
  private metaSlot: Slot<Meta>;
  private slots: Map<string, Slot<Entry>>;
  private audits: Map<string, Audit>;

  private constructor(xapi: Xapi, vdi: Rec<"VDI">) {
    this.xapi = xapi;
    this.vdi = vdi;
    const parsed = readKeys(vdi);
    this.metaSlot = parsed.meta;
    this.slots = parsed.versions;
    this.audits = parsed.audits;
    this.removal = parsed.meta.value.removal;
    this.layerId = parsed.meta.value.uuid;
  }

  /** The record of a layer by its id; undefined = there is none (its SR could be asked). Missing marks are rebuilt from the document in its content. */
  static async open(xapi: Xapi, layerId: string, report?: (message: string) => void): Promise<LayerRecord | undefined> {
    let vdi = (await xapi.get("VDI", layerId)) ?? (await movedRecord(xapi, layerId));
    if (vdi === undefined) return undefined;
    if (!bearsMeta(vdi)) vdi = await rebuild(xapi, vdi, layerId, report);
    if (vdi === undefined) return undefined;
    const record = new LayerRecord(xapi, vdi);
    // The uuid of somebody's copy is no layer's id.
    return record.layerId === layerId ? record : undefined;
  }

  /** Of VDIs that were looked at anyway. Copies of records, and records that can't be read (`unreadable` hears of them), are left out. */
  static among(
    xapi: Xapi,
    vdis: readonly Rec<"VDI">[],
    unreadable: (vdi: Rec<"VDI">, error: RecordError) => void = () => {},
  ): LayerRecord[] {
    return vdis
      .filter((vdi) => bearsMeta(vdi) && !vdi.is_a_snapshot)
      .flatMap((vdi) => {
        try {
          const record = new LayerRecord(xapi, vdi);
          // A record that was migrated has a new uuid, for which its marks were rebuilt.
          return record.layerId === vdi.uuid || hasOwnUuid(vdi) ? [record] : [];
        } catch (error) {
          if (!(error instanceof RecordError)) throw error;
          unreadable(vdi, error);
          return [];
        }
      });
  }

  /** Records among these VDIs that have lost their marks (SR forget and introduce), by what their description says they are. */
  static unmarked(vdis: readonly Rec<"VDI">[]): string[] {
    return vdis.flatMap((vdi) => {
      const layerId = describedLayer(vdi);
      // What is still claimed has lost nothing: it is being made, or a killed run has left it half made.
      return layerId === undefined || vdi.is_a_snapshot || bearsMeta(vdi) || CLAIM in vdi.other_config ? [] : [layerId];
    });
  }

  /** Turns a fresh record VDI, which nobody else knows, into the layer's record. */
  static async write(xapi: Xapi, vdi: Rec<"VDI">, meta: Meta): Promise<LayerRecord> {
    const other_config = { ...vdi.other_config, [`${META}1`]: JSON.stringify(meta) };
    await xapi.call("VDI.set_other_config", vdi.$ref, other_config);
    return new LayerRecord(xapi, { ...vdi, other_config });
  }

  get meta(): Meta {
    return this.metaSlot.value;
  }
  get versions(): ReadonlyMap<string, Entry> {
    return new Map([...this.slots].map(([name, slot]) => [name, slot.value]));
  }
  get audit(): Audit[] {
    return [...this.audits.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
  }

  byId(entryId: string): { name: string; entry: Entry } | undefined {
    for (const [name, slot] of this.slots) if (slot.value.id === entryId) return { name, entry: slot.value };
    return undefined;
  }

  async refresh(): Promise<void> {
    const vdi = await this.xapi.get("VDI", this.vdi.uuid);
    if (vdi === undefined) throw this.gone();
    const parsed = readKeys(vdi);
    this.vdi = vdi;
    this.metaSlot = parsed.meta;
    this.slots = parsed.versions;
    this.audits = parsed.audits;
    this.removal = parsed.meta.value.removal;
  }

  private gone(): RecordGoneError {
    return new RecordGoneError(`the record of layer "${this.meta.name}" has been removed meanwhile`, { hint: "run `pulumi up` again" });
  }

  /** A run that was killed in the middle of a write has left the former entry, too; the next write takes it away. */
  hasFormer(name: string): boolean {
    return keysOf(this.vdi, versionPrefix(name)).length > 1;
  }

  async putMeta(meta: Meta): Promise<void> {
    await this.swap(META, this.metaSlot.generation, JSON.stringify(meta), `layer "${this.meta.name}"`, true, (generation) => {
      this.metaSlot = { generation, value: meta };
      this.removal = meta.removal;
    });
  }

  /**
   * Compare-and-swap of one version's entry; a ConflictError means that another run wrote in between. `confirmed: false` is for who holds the
   * version's lease and has had a write confirmed since.
   */
  async put(name: string, entry: Entry, { confirmed = true } = {}): Promise<void> {
    const generation = this.slots.get(name)?.generation ?? 0;
    const what = `version ${name} of layer "${this.meta.name}"`;
    know(entry.id);
    await this.swap(versionPrefix(name), generation, JSON.stringify(entry), what, confirmed, (written) => {
      this.slots.set(name, { generation: written, value: entry });
    });
  }

  /** Changes an entry as `next` says of what is there by now, however many runs do so at once; false: it says that there is nothing to change. */
  async change(name: string, next: (entry: Entry | undefined) => Entry | undefined): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      const entry = next(this.versions.get(name));
      if (entry === undefined) return false;
      try {
        await this.put(name, entry);
        return true;
      } catch (error) {
        if (!(error instanceof ConflictError) || tries === 5) throw error;
        await this.refresh();
      }
    }
  }

  /** Takes a version out of the record. The caller holds its lease, or nobody can. */
  async remove(name: string): Promise<void> {
    const slot = this.slots.get(name);
    if (slot === undefined) return;
    const prefix = versionPrefix(name);
    const keys = new Set([...keysOf(this.vdi, prefix), `${prefix}${slot.generation}`]);
    for (const key of [...keys].sort((a, b) => generationOf(a) - generationOf(b)))
      await this.xapi.call("VDI.remove_from_other_config", this.vdi.$ref, key).catch((error: unknown) => {
        // With the record, by another run that removes its layer, everything in it has gone.
        if (!isGone(error, this.vdi.$ref)) throw error;
      });
    const other_config = Object.fromEntries(Object.entries(this.vdi.other_config).filter(([key]) => !keys.has(key)));
    this.vdi = { ...this.vdi, other_config };
    this.slots.delete(name);
  }

  async addAudit(entry: Audit): Promise<void> {
    // Keys are sorted as text: entries of one instant stay in the order in which they were written.
    const sameTime = [...this.audits.keys()].filter((other) => other.startsWith(`${AUDIT}${entry.at}-`)).length;
    const key = `${auditKey(entry, sameTime)}-${randomBytes(4).toString("hex")}`;
    await this.xapi.call("VDI.add_to_other_config", this.vdi.$ref, key, JSON.stringify(entry)).catch(ignoreOwnDuplicate);
    this.audits.set(key, entry);
  }

  /** A comment of a program becomes an audit entry once, however often the program runs. */
  async noteComment(event: string, version: string | undefined, comment: string | undefined): Promise<void> {
    if (comment === undefined) return;
    const last = this.audit.findLast(
      (entry) => entry.version === version && entry.comment !== undefined && kindOf(entry.event) === kindOf(event),
    );
    if (last?.comment === comment) return;
    await this.addAudit({ at: new Date().toISOString(), event, ...(version === undefined ? {} : { version }), comment });
  }

  /**
   * Writes the durable copy; called at each commit point (created, sealed, released, deleted). `icon`: where that changes, too. Other runs may have sealed
   * versions since this one has read the record, or do so while it writes: who writes last has looked after it, and found in the record what it wrote.
   */
  async saveDocument(signal?: AbortSignal, icon?: Uint8Array): Promise<void> {
    const whole = () => ({ meta: this.meta, versions: Object.fromEntries(this.versions), audit: this.audit });
    await this.refresh();
    for (let tries = 1; ; tries++) {
      const document = whole();
      await writeDocument(this.xapi, this.vdi, document, { signal, icon: tries === 1 ? icon : undefined });
      await this.refresh();
      // Whoever goes on changing it writes it, too.
      if (tries === 5 || JSON.stringify(whole()) === JSON.stringify(document)) return;
    }
  }

  private async swap(
    prefix: string,
    generation: number,
    value: string,
    what: string,
    confirmed: boolean,
    written: (generation: number) => void,
  ): Promise<void> {
    const key = `${prefix}${generation + 1}`;
    const raced = (cause?: unknown) =>
      new ConflictError(`${what} was changed by another run at the same time`, { hint: "run `pulumi up` again", cause });
    let seen: Rec<"VDI"> | undefined;
    try {
      await this.xapi.call("VDI.add_to_other_config", this.vdi.$ref, key, value);
    } catch (error) {
      if (isGone(error, this.vdi.$ref)) throw this.gone();
      if (!(error instanceof XapiError) || !["MAP_DUPLICATE_KEY", OUTCOME_UNKNOWN].includes(error.code)) throw error;
      seen = await this.xapi.get("VDI", this.vdi.uuid);
      if (seen?.other_config[key] === undefined) throw error;
      if (seen.other_config[key] !== value) throw raced(error);
    }
    if (confirmed) {
      seen ??= await this.xapi.record("VDI", this.vdi.$ref);
      if (seen === undefined) throw this.gone();
      const later = keysOf(seen, prefix).some((other) => generationOf(other) > generation + 1);
      // Whoever writes the next generation takes this one away before the one after, and a version made anew under the name says something else: when
      // it is still there as it was, nobody was faster.
      const known = `${prefix}${generation}`;
      if (later || (generation > 0 && seen.other_config[known] !== this.vdi.other_config[known])) {
        await this.xapi.call("VDI.remove_from_other_config", this.vdi.$ref, key);
        throw raced();
      }
      this.removal = readKeys(seen).meta.value.removal;
    }
    const older = keysOf(this.vdi, prefix).filter((other) => generationOf(other) <= generation);
    this.vdi = { ...this.vdi, other_config: { ...this.vdi.other_config, [key]: value } };
    written(generation + 1);
    await this.tidied(older);
  }

  // The write counts, so no failure of this is one of the write: who takes it for one would take back what others have seen. The next write tries again.
  private async tidied(older: readonly string[]): Promise<void> {
    try {
      for (const old of older.toSorted((one, other) => generationOf(one) - generationOf(other))) {
        await this.xapi.call("VDI.remove_from_other_config", this.vdi.$ref, old);
        const { [old]: _, ...rest } = this.vdi.other_config;
        this.vdi = { ...this.vdi, other_config: rest };
      }
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
    }
  }
}

// "version sealed" and "version changed" are said by different resources, each with a comment of its own; what a seal let through is said beside it.
const kindOf = (event: string): string => {
  if (event.startsWith("checks")) return "checks";
  return /^version (added|changed)$/.test(event) ? "disk" : event.startsWith("layer") ? "layer" : "seal";
};

// The key of an audit entry is random: a duplicate is our own call, repeated after a lost answer.
function ignoreOwnDuplicate(error: unknown): void {
  if (!(error instanceof XapiError && error.code === "MAP_DUPLICATE_KEY")) throw error;
}
