// Taking away what killed runs have left behind. Promises: only what a survey calls left behind, looked at again right before it goes, and only of the
// connectors that are named; a failure is told and the rest is gone on with; what goes, goes by the code that any run removes it with.
import { ConflictError, explain, ProviderError } from "../errors.ts";
import type { Context } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import { removeMachine, removeStale, removeUnfinished } from "./buildRemoval.ts";
import { removed } from "./claim.ts";
import type { Entry } from "./entry.ts";
import { isHeld, withLease } from "./lease.ts";
import { marksOf } from "./marks.ts";
import { removeLayer, removeVersion } from "./removal.ts";
import { survey, type Thing } from "./survey.ts";

export interface Collected {
  removed: Thing[];
  /** What was left behind and is still there, with the reason. */
  failed: { thing: Thing; problem: string }[];
}

export async function collect(ctx: Context, xapi: Xapi, connectors: readonly string[]): Promise<Collected> {
  const look = async () =>
    (await survey(xapi)).filter((thing) => thing.remains !== undefined && connectors.includes(thing.connector ?? ""));
  const collected: Collected = { removed: [], failed: [] };
  const tried = new Set<string>();
  // Each time anew: what was left may have gone with another, or have been taken up by a run; and when the last version has gone its layer may go.
  for (;;) {
    const thing = (await look()).find((now) => !tried.has(keyOf(now)));
    if (thing === undefined) return collected;
    tried.add(keyOf(thing));
    ctx.report(`removing ${thing.what} ${[thing.layer, thing.version].filter((part) => part !== undefined).join("/")}`.trimEnd());
    try {
      await remove(ctx, xapi, thing);
      collected.removed.push(thing);
    } catch (error) {
      if (!(error instanceof ProviderError) || ctx.signal.aborted) throw error;
      collected.failed.push({ thing, problem: explain(error) });
    }
  }
}

const keyOf = ({ what, vdis, vms, remains, version }: Thing): string =>
  JSON.stringify([what, version, remains?.kind === "copies" ? remains.build : [...vdis, ...vms].map(({ uuid }) => uuid)]);

async function remove(ctx: Context, xapi: Xapi, { remains, vdis, vms }: Thing): Promise<void> {
  switch (remains?.kind) {
    case "stale build": {
      const { record, version } = remains;
      // A run that has taken it up since takes them away itself.
      if (isHeld(record, version)) return;
      const stillStale = (entry: Entry | undefined) => (entry?.stale === undefined ? undefined : entry);
      await withLease(ctx, record, version, stillStale, async (held) => {
        await removeStale({ ...ctx, signal: held.signal }, xapi, record, held.entry);
        return { result: true, finish: ({ stale: _, ...entry }) => entry as Entry };
      });
      return;
    }
    case "version": {
      const entry = remains.record.versions.get(remains.version);
      if (entry?.state === "Deleting") await removeVersion(ctx, remains.record, remains.version, entry);
      return;
    }
    case "layer":
      return await removeLayer(ctx, remains.record);
    case "machine":
      for (const { name_label, uuid } of vms) await removeMachine(ctx, xapi, { name: name_label, vm: uuid });
      return;
    case "copies":
      return await removeUnfinished(ctx, xapi, remains.source, remains.build, [remains.source, ...vdis]);
    case "objects":
      // The disk last: it is what tells that the others belong to nobody.
      for (const { name_label, uuid } of vms) await removeMachine(ctx, xapi, { name: name_label, vm: uuid });
      for (const vdi of vdis.toSorted((a, b) => Number(isDisk(a)) - Number(isDisk(b)))) {
        if (marksOf(vdi)?.role !== "layer") await xapi.destroy("VDI", vdi.$ref);
        else if (!(await removed(xapi, [vdi])))
          throw new ConflictError(`"${vdi.name_label}" is being made a layer's record by a run that was only slow`);
      }
  }
}

const isDisk = ({ other_config }: Thing["vdis"][number]): boolean => other_config["xenlayer:role"] === "disk";
