// PackagingDisk: a new version of a layer, being edited. A clone of the base's disk in the same SR, a copy across SRs.
import * as z from "zod";
import { type Connector, connectorInput, reachable, storageOf } from "../connector.ts";
import { InputError } from "../errors.ts";
import { diskDescription, ensureDisk, GiB, removeBuild } from "../layer/build.ts";
import { type Base, type Content, differences, type Entry } from "../layer/entry.ts";
import { freeToTake, withLease } from "../layer/lease.ts";
import { baseOf, demandStorage, demandVersion, diskIsThere, latestSealed, openLayer, openVersion } from "../layer/open.ts";
import { LayerRecord, randomId, versionId } from "../layer/record.ts";
import { type Context, defineResource, holdsUnknown, type Known } from "../resource.ts";
import { connectFor } from "../session.ts";
import type { Xapi } from "../xapi/client.ts";

export const inputs = z.object({
  connector: connectorInput,
  layer: z.string().min(1).describe("Id of the platform layer (`layer.layerId`).").meta({ willReplaceOnChanges: true }),
  version: z.string().trim().min(1).max(100).describe("Name of the new version, unique in the layer."),
  baseVersion: z.string().optional().describe("Name of the version of this layer to start from; default: its latest sealed one."),
  osVersion: z.string().optional().describe("Name of a version of the OS layer to start afresh from (rebase)."),
  base: z
    .string()
    .optional()
    .describe("Resolved by xenlayer, shown for review: `<layer>/<version>` this version is based on. Don't set it."),
  fileName: z.string().trim().min(1).max(250).optional().describe("name_label of the disk; default: `<layer> <version>`."),
  format: z.enum(["vhd", "qcow2"]).default("vhd").describe("Disk format: what the storage repository can hold."),
  sizeGiB: z.number().positive().max(2040).optional().describe("Virtual size in GiB; can only grow. Default: the base's."),
  triggers: z.record(z.string(), z.string()).optional().describe("Digests by a name that people read; a changed one clones the disk anew."),
  comment: z.string().max(2000).optional().describe("Becomes an entry of the audit history."),
});

export const outputs = z.object({
  versionId: z.string().describe("Id of the version; the same as the resource's id."),
  vdiUuid: z.string().describe("uuid of the disk."),
  location: z.string().describe("Where it is: `<storage repository>/<name_label> (<uuid>)`."),
  basedOn: z.string().describe("What it is based on, as `plat/2.2` or `win11/1.0`."),
  holder: z.string().describe("Token of this hold on the version."),
});

type Inputs = z.output<typeof inputs>;
type Outputs = z.output<typeof outputs>;

export const packagingDisk = defineResource(connectFor, {
  type: "PackagingDisk",
  description:
    "A new version of a platform layer, being edited: a clone of its base's disk in the same storage repository, a copy across storage repositories. It becomes the version when it is sealed by Finalize.",
  inputs,
  outputs,

  async examine(ctx, want, old) {
    if (!reachable(want.connector) || want.layer === undefined || want.version === undefined) return { failures: [] };
    const { xapi, record } = await openLayer(ctx, want.connector, "layer", want.layer, "platform");
    const { version } = want;
    const refuse = (property: string, reason: string) => ({ failures: [{ property, reason }] });
    const existing = record.versions.get(version);
    const exists = existing !== undefined && (await diskIsThere(xapi, existing));
    if (existing !== undefined && exists && existing.state === "Deployable") {
      const refusal = sealedRefusal(record, version, existing, want);
      if (refusal !== undefined) return refuse("version", refusal);
      if (old?.version !== version) ctx.report(`${version} exists: taken, not built`);
      return { failures: [], inputs: { base: existing.base?.name } };
    }
    if (want.baseVersion !== undefined && want.osVersion !== undefined)
      return refuse("osVersion", "give baseVersion or osVersion, not both");
    if (existing === undefined) {
      const rivals = newVersions.get(record.layerId) ?? new Set();
      newVersions.set(record.layerId, rivals.add(version));
      const other = [...rivals].find((name) => name !== version) ?? openRival(record, version);
      if (other !== undefined && want.baseVersion === undefined && want.osVersion === undefined)
        return refuse(
          "baseVersion",
          `"${other}" and "${version}" are both new in layer "${record.meta.name}": name what this one is based on (baseVersion or osVersion)`,
        );
    }
    const base = existing?.base !== undefined && !renamed(existing.base, want) ? existing.base : await resolveBase(ctx, xapi, record, want);
    const source = await xapi.get("VDI", base.vdi);
    if (source === undefined) return refuse("baseVersion", `the disk of ${base.name} (${base.vdi}) is gone`);
    if (want.sizeGiB !== undefined && want.sizeGiB * GiB < source.virtual_size)
      return refuse(
        "sizeGiB",
        `${want.sizeGiB} GiB is less than the ${Math.ceil(source.virtual_size / GiB)} GiB of ${base.name}: a disk can only grow`,
      );
    const sr = await storageOf(xapi, want.connector as Connector);
    if (want.format === "qcow2" && sr.sm_config["image-format"] !== "qcow2")
      return refuse("format", `"${sr.name_label}" (${sr.type}) holds vhd disks; qcow2 is for storage repositories made for it`);
    const need = source.SR === sr.$ref ? GiB : source.physical_utilisation;
    if (sr.physical_size - sr.physical_utilisation < need)
      return refuse(
        "connector.storageRepository",
        `"${sr.name_label}" has ${Math.floor((sr.physical_size - sr.physical_utilisation) / GiB)} GiB free, ${Math.ceil(need / GiB)} GiB are needed`,
      );
    if (existing !== undefined) {
      const step = existing.machine?.steps.find((result) => result.state !== "done");
      const changed = differences(existing.content, contentOf(want));
      ctx.report(
        changed.length > 0
          ? `${version} is cloned anew: ${changed.join(", ")}`
          : step === undefined
            ? `${version} is open`
            : `resumes at step ${step.name}`,
      );
    } else if (old?.version !== undefined && old.version !== version) ctx.report(`${old.version} stays in the layer`);
    return { failures: [], inputs: { base: base.name } };
  },

  async diff(ctx, id, old, want) {
    if (want.layer !== undefined && want.layer !== old.layer) return { replaces: ["layer"] };
    const opened = await openVersion(ctx, old.connector, id);
    if (opened === undefined || !(await diskIsThere(opened.xapi, opened.entry))) {
      ctx.report(`version ${old.version} is gone and will be built again on its base ${old.basedOn}`);
      return { changes: true, replaces: ["version"] };
    }
    const { record, entry } = opened;
    if (want.version !== undefined && want.version !== old.version && (entry.state === "Deployable" || record.versions.has(want.version)))
      return { replaces: ["version"] };
    if (entry.vdi === undefined || entry.holders.disk !== old.holder) return { changes: true };
    return {};
  },

  async create(ctx, wanted) {
    const { xapi, record } = await openLayer(ctx, wanted.connector, "layer", wanted.layer, "platform");
    const existing = record.versions.get(wanted.version);
    if (existing?.state === "Deployable" && (await diskIsThere(xapi, existing))) return await take(ctx, record, wanted, existing);
    const base =
      existing?.base !== undefined && !renamed(existing.base, wanted) ? existing.base : await resolveBase(ctx, xapi, record, wanted);
    return await build(ctx, xapi, record, wanted, base, existing);
  },

  async read(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined) {
      await demandStorage(await ctx.connect(state.connector), state.connector);
      return undefined;
    }
    const { xapi, record, name, entry } = opened;
    if (!(await diskIsThere(xapi, entry)) && entry.state !== "Editing") await demandStorage(xapi, state.connector);
    return await told(xapi, record, name, entry, state.holder);
  },

  async update(ctx, id, old, wanted) {
    const { xapi, record, name, entry } = await demandVersion(ctx, old.connector, id);
    if (entry.state === "Deployable") {
      const refusal = sealedRefusal(record, name, entry, wanted);
      if (refusal !== undefined) throw new InputError([{ property: "version", reason: refusal }]);
      return (await take(ctx, record, wanted, entry)).outputs;
    }
    if (wanted.version !== name) {
      // Open versions are renamed in place: a new key first, so that a killed run leaves both names and the next finds the build by its id.
      await record.put(wanted.version, entry);
      await record.remove(name);
      if (entry.vdi !== undefined) {
        const vdi = await xapi.get("VDI", entry.vdi);
        if (vdi !== undefined) await xapi.call("VDI.set_name_description", vdi.$ref, diskDescription(record, wanted.version, entry));
      }
    }
    const base = entry.base !== undefined && !renamed(entry.base, wanted) ? entry.base : await resolveBase(ctx, xapi, record, wanted);
    if (wanted.comment !== undefined && wanted.comment !== old.comment)
      await record.addAudit({ at: new Date().toISOString(), event: "version changed", version: wanted.version, comment: wanted.comment });
    return (await build(ctx, xapi, record, wanted, base, entry)).outputs;
  },

  async delete(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined) return;
    const { xapi, record, name, entry } = opened;
    if (entry.holders.disk !== state.holder) return;
    if (entry.state === "Deployable") {
      // Held by a crash between the machine's seal and Finalize's own hold: release it. Otherwise the version is Finalize's.
      if (entry.holders.finalize === undefined && entry.released === undefined)
        await record.put(name, { ...entry, holders: without(entry.holders, "disk"), released: new Date().toISOString() });
      return;
    }
    await freeToTake(ctx, record, name);
    const current = record.versions.get(name);
    if (current === undefined || current.holders.disk !== state.holder || current.state === "Deployable") return;
    ctx.report(`removing the open version ${name}`);
    await removeBuild(ctx, xapi, record, current);
    await record.remove(name);
  },
});

// New versions this process was asked to check, per layer: two in one program must name their bases, whatever order they come in.
const newVersions = new Map<string, Set<string>>();

const openRival = (record: LayerRecord, version: string): string | undefined =>
  [...record.versions].find(([name, entry]) => name !== version && entry.state !== "Deployable" && entry.state !== "Deleting")?.[0];

function contentOf(want: Known<Inputs>): Partial<Content> {
  return {
    ...(want.triggers === undefined || holdsUnknown(want.triggers) ? {} : { triggers: want.triggers as Record<string, string> }),
    ...(want.format === undefined ? {} : { diskFormat: want.format }),
    ...(want.sizeGiB === undefined ? {} : { sizeGiB: want.sizeGiB }),
  };
}

function sealedRefusal(record: LayerRecord, version: string, entry: Entry, want: Known<Inputs>): string | undefined {
  const changed = differences(entry.content, contentOf(want));
  if (entry.base !== undefined && renamed(entry.base, want)) changed.push(`the base changed from ${entry.base.name}`);
  if (changed.length === 0) return undefined;
  return `version ${version} of layer "${record.meta.name}" was sealed ${entry.sealed?.at ?? ""}, and ${changed.join(", ")}: give a new version`;
}

/** Whether the inputs name another base than the recorded one. */
function renamed(base: Base, want: Known<Inputs>): boolean {
  const name = base.name.slice(base.name.indexOf("/") + 1);
  if (want.baseVersion !== undefined) return base.layer !== want.layer || name !== want.baseVersion;
  return want.osVersion !== undefined && (base.layer === want.layer || name !== want.osVersion);
}

async function resolveBase(ctx: Context, xapi: Xapi, record: LayerRecord, want: Known<Inputs>): Promise<Base> {
  const named = (of: LayerRecord, property: string, version: string): Base => {
    const entry = of.versions.get(version);
    if (entry?.state === "Deployable") return baseOf(of, version, entry);
    const sealed = [...of.versions].filter(([, other]) => other.state === "Deployable").map(([name]) => name);
    throw new InputError([
      {
        property,
        reason: `layer "${of.meta.name}" has no sealed version "${version}"; it has ${sealed.length === 0 ? "none" : sealed.join(", ")}`,
      },
    ]);
  };
  if (want.baseVersion !== undefined) return named(record, "baseVersion", want.baseVersion);
  const latest = latestSealed(record);
  if (want.osVersion === undefined && latest !== undefined) {
    const os = record.meta.osLayer === undefined ? undefined : await LayerRecord.open(xapi, record.meta.osLayer);
    const newest = os === undefined ? undefined : latestSealed(os);
    if (os !== undefined && newest !== undefined && (newest.entry.sealed?.at ?? "") > (latest.entry.sealed?.at ?? ""))
      ctx.report(`${os.meta.name} ${newest.name} exists, base stays ${record.meta.name}/${latest.name}`);
    return baseOf(record, latest.name, latest.entry);
  }
  const os = record.meta.osLayer === undefined ? undefined : await LayerRecord.open(xapi, record.meta.osLayer, ctx.warn);
  if (os === undefined)
    throw new InputError([{ property: "layer", reason: `the OS layer of "${record.meta.name}" (${record.meta.osLayer}) is gone` }]);
  if (want.osVersion !== undefined) return named(os, "osVersion", want.osVersion);
  const first = latestSealed(os);
  if (first === undefined)
    throw new InputError([{ property: "layer", reason: `OS layer "${os.meta.name}" has no sealed version to start from` }]);
  return baseOf(os, first.name, first.entry);
}

async function take(ctx: Context, record: LayerRecord, wanted: Inputs, entry: Entry): Promise<{ id: string; outputs: Outputs }> {
  const refusal = sealedRefusal(record, wanted.version, entry, wanted);
  if (refusal !== undefined) throw new InputError([{ property: "version", reason: refusal }]);
  const holder = randomId();
  const held: Entry = { ...entry, holders: { ...entry.holders, disk: holder } };
  delete held.released;
  await record.put(wanted.version, held);
  ctx.report(`${wanted.version} exists: taken, not built`);
  return { id: versionId(record.layerId, entry.id), outputs: await told(record.xapi, record, wanted.version, held, holder) };
}

async function build(
  ctx: Context,
  xapi: Xapi,
  record: LayerRecord,
  wanted: Inputs,
  base: Base,
  existing: Entry | undefined,
): Promise<{ id: string; outputs: Outputs }> {
  const { version } = wanted;
  const holder = randomId();
  const content: Content = { format: 1, ...contentOf(wanted) };
  // What is there and open is resumed when it was made of the same; what was sealed and has lost its disk is built again on its recorded base.
  const changed =
    existing !== undefined &&
    (existing.state === "Deployable" || existing.base?.id !== base.id || differences(existing.content, content).length > 0);
  const fileName = wanted.fileName ?? `${record.meta.name} ${version}`;
  if (existing !== undefined && changed) {
    await freeToTake(ctx, record, version);
    ctx.report(`${version} is cloned anew`);
    await removeBuild(ctx, xapi, record, existing);
  }
  const entry = await withLease<Entry>(
    ctx,
    record,
    version,
    (before) => {
      const kept =
        before === undefined || before.state === "Deployable"
          ? { id: randomId(), createdAt: new Date().toISOString(), holders: {} }
          : before;
      const { machine: _machine, vdi: _vdi, sealed: _sealed, ...rest } = kept as Entry;
      const fresh: Entry = {
        ...rest,
        format: 1,
        state: "Editing",
        build: randomId(),
        base,
        content,
        fileName,
        holders: { ...rest.holders, disk: holder },
      };
      return before !== undefined && !changed
        ? { ...before, content: { ...before.content, ...content }, fileName, holders: { ...before.holders, disk: holder } }
        : fresh;
    },
    async (held) => {
      const request = { connector: wanted.connector, record, version, entry: held.entry, base, fileName, sizeGiB: wanted.sizeGiB };
      try {
        const { vdi, depth } = await ensureDisk({ ...ctx, signal: held.signal }, xapi, request);
        return { result: { ...held.entry, vdi: vdi.uuid, depth }, finish: (current) => ({ ...current, vdi: vdi.uuid, depth }) };
      } catch (error) {
        // Nothing is left of what this run began; an open version that was there before stays open.
        if (existing === undefined && !ctx.signal.aborted) {
          await removeBuild(ctx, xapi, record, held.entry);
          await record.remove(version);
        }
        throw error;
      }
    },
  );
  if (existing === undefined && wanted.comment !== undefined)
    await record.addAudit({ at: entry.createdAt, event: "version added", version, comment: wanted.comment });
  return { id: versionId(record.layerId, entry.id), outputs: await told(xapi, record, version, entry, holder) };
}

async function told(xapi: Xapi, record: LayerRecord, version: string, entry: Entry, holder: string): Promise<Outputs> {
  const uuid = entry.vdi ?? "";
  const sr = (await xapi.record("SR", record.vdi.SR))?.name_label ?? "";
  return {
    versionId: versionId(record.layerId, entry.id),
    vdiUuid: uuid,
    location: `${sr}/${entry.fileName ?? version} (${uuid})`,
    basedOn: entry.base?.name ?? "",
    holder,
  };
}

const without = (holders: Record<string, string>, key: string): Record<string, string> =>
  Object.fromEntries(Object.entries(holders).filter(([name]) => name !== key));
