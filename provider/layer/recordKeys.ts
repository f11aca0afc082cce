// How a layer record says what it holds: the keys of its other_config, and the name and description it has. A key that can't be read makes the whole
// record untrustworthy; of two generations of a key the newer counts.
import * as z from "zod";
import { ProviderError } from "../errors.ts";
import type { Rec } from "../xapi/records.ts";
import { type Audit, auditSchema, type Entry, entrySchema, type Meta, metaSchema } from "./entry.ts";

export const META = "xenlayer:meta:";
const VERSION = "xenlayer:version:";
export const AUDIT = "xenlayer:audit:";
/** On a record whose marks are being rebuilt: by which run, in a new generation for each that takes it up. */
export const REBUILD = "xenlayer:rebuild:";

/** Something on the pool bears our marks but can't be trusted; it is named and left alone. */
export class RecordError extends ProviderError {
  readonly kind = "conflict";
}

export interface Slot<T> {
  generation: number;
  value: T;
}

export const recordName = (layer: string): string => `${layer} (layer record)`;
export const recordDescription = (layerId: string): string => `xenlayer layer ${layerId}`;
const DESCRIPTION = /^xenlayer layer ([0-9a-f-]{36})$/;
/** The id of the layer whose record this VDI says it is. */
export const describedLayer = (vdi: Rec<"VDI">): string | undefined => DESCRIPTION.exec(vdi.name_description)?.[1];

/** A VDI that holds a layer's facts, be it the record or somebody's copy of it: a copy bears all that its source bore, under a uuid of its own. */
export const bearsMeta = (vdi: Rec<"VDI">): boolean => Object.keys(vdi.other_config).some((key) => key.startsWith(META));

export const auditKey = (entry: Audit, index: number): string => `${AUDIT}${entry.at}-${String(index).padStart(4, "0")}`;
/** Audit entries as a record's other_config holds them from the start. */
export const auditKeys = (audit: readonly Audit[]): Record<string, string> =>
  Object.fromEntries(audit.map((entry, index) => [auditKey(entry, index), JSON.stringify(entry)]));
export const versionPrefix = (name: string): string => `${VERSION}${encodeURIComponent(name)}:`;
export const generationOf = (key: string): number => Number(key.slice(key.lastIndexOf(":") + 1));
export const keysOf = (vdi: Rec<"VDI"> | undefined, prefix: string): string[] =>
  Object.keys(vdi?.other_config ?? {}).filter((key) => key.startsWith(prefix));
const generationSchema = z.number().int().positive();

/** What the keys of a record say, with the generation of each. */
export function readKeys(vdi: Rec<"VDI">): { meta: Slot<Meta>; versions: Map<string, Slot<Entry>>; audits: Map<string, Audit> } {
  let meta: Slot<Meta> | undefined;
  const versions = new Map<string, Slot<Entry>>();
  const audits = new Map<string, Audit>();
  const understood = <T>(key: string, read: () => T): T => {
    try {
      return read();
    } catch (error) {
      const shown = key.length > 200 ? `${key.slice(0, 200)}…` : key;
      throw new RecordError(`layer record ${vdi.uuid} ("${vdi.name_label}"): key ${shown} can't be read`, {
        hint: "it may come from a newer release of xenlayer, or from somebody else; nothing was changed",
        cause: error instanceof z.ZodError ? new Error(z.prettifyError(error)) : error,
      });
    }
  };
  for (const [key, text] of Object.entries(vdi.other_config)) {
    const slot = <T>(known: Slot<T> | undefined, schema: { parse: (value: unknown) => T }): Slot<T> => {
      const generation = understood(key, () => generationSchema.parse(generationOf(key)));
      if (known !== undefined && generation <= known.generation) return known;
      return { generation, value: understood(key, () => schema.parse(JSON.parse(text))) };
    };
    if (key.startsWith(META)) meta = slot(meta, metaSchema);
    else if (key.startsWith(VERSION)) {
      const name = understood(key, () => decodeURIComponent(key.slice(VERSION.length, key.lastIndexOf(":"))));
      versions.set(name, slot(versions.get(name), entrySchema));
    } else if (key.startsWith(AUDIT))
      audits.set(
        key,
        understood(key, () => auditSchema.parse(JSON.parse(text))),
      );
  }
  if (meta === undefined) throw new RecordError(`VDI ${vdi.uuid} ("${vdi.name_label}") is no layer record: it bears no xenlayer:meta key`);
  return { meta, versions, audits };
}
