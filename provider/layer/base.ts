// Which version a new one starts from: what the program names, else the layer's latest sealed version, else the OS layer's latest. What was resolved
// once is kept while the version's name stays: a newer version elsewhere changes nothing that is reviewed, open or sealed already.
import { InputError } from "../errors.ts";
import type { Context } from "../resource.ts";
import type { Base, Entry } from "./entry.ts";
import { baseOf, latestSealed } from "./open.ts";
import { LayerRecord } from "./record.ts";

export interface BaseWish {
  layer?: string | undefined;
  baseVersion?: string | undefined;
  osVersion?: string | undefined;
}

/** Whether the inputs name another base than the recorded one. */
export function isRenamed(base: Base, { layer, baseVersion, osVersion }: BaseWish): boolean {
  const name = base.version ?? base.name.slice(base.name.indexOf("/") + 1);
  if (baseVersion !== undefined) return base.layer !== layer || name !== baseVersion;
  return osVersion !== undefined && (base.layer === layer || name !== osVersion);
}

/** `reviewed`: the base as the last check has shown it. */
export async function chooseBase(
  ctx: Context,
  record: LayerRecord,
  want: BaseWish,
  existing: Entry | undefined,
  reviewed: string | undefined,
): Promise<Base> {
  if (existing?.base !== undefined && !isRenamed(existing.base, want)) return existing.base;
  if (want.baseVersion !== undefined) return named(record, "baseVersion", want.baseVersion);
  const latest = latestSealed(record);
  const os = record.meta.osLayer === undefined ? undefined : await LayerRecord.open(record.xapi, record.meta.osLayer, ctx.warn);
  if (want.osVersion !== undefined) return named(await demanded(os, record), "osVersion", want.osVersion);
  const shown = reviewed === undefined ? undefined : [record, ...(os === undefined ? [] : [os])].flatMap((of) => ofName(of, reviewed))[0];
  if (shown !== undefined) return shown;
  if (latest === undefined) {
    const first = latestSealed(await demanded(os, record));
    if (os === undefined || first === undefined)
      throw new InputError([{ property: "layer", reason: `OS layer "${os?.meta.name}" has no sealed version to start from` }]);
    return baseOf(os, first.name, first.entry);
  }
  const newest = os === undefined ? undefined : latestSealed(os);
  if (os !== undefined && newest !== undefined && (newest.entry.sealed?.at ?? "") > (latest.entry.sealed?.at ?? ""))
    ctx.report(`${os.meta.name} ${newest.name} exists, base stays ${record.meta.name}/${latest.name}`);
  return baseOf(record, latest.name, latest.entry);
}

async function demanded(os: LayerRecord | undefined, record: LayerRecord): Promise<LayerRecord> {
  if (os !== undefined) return os;
  throw new InputError([{ property: "layer", reason: `the OS layer of "${record.meta.name}" (${record.meta.osLayer}) is gone` }]);
}

function named(of: LayerRecord, property: string, version: string): Base {
  const entry = of.versions.get(version);
  if (entry?.state === "Deployable") return baseOf(of, version, entry);
  const sealed = [...of.versions].filter(([, other]) => other.state === "Deployable").map(([name]) => name);
  throw new InputError([
    {
      property,
      reason: `layer "${of.meta.name}" has no sealed version "${version}"; it has ${sealed.length === 0 ? "none" : sealed.join(", ")}`,
    },
  ]);
}

const ofName = (of: LayerRecord, wanted: string): Base[] =>
  [...of.versions]
    .filter(([name, entry]) => entry.state === "Deployable" && entry.vdi !== undefined && `${of.meta.name}/${name}` === wanted)
    .map(([name, entry]) => baseOf(of, name, entry));
