// What must follow from what a stack does: with which sentences it may or must be refused, what it may remove, what it must leave as it is, and what is there
// when it has succeeded.
import type { Made } from "../testing.ts";
import type { Kept, Stack } from "./stack.ts";
import { entryText, type Seen, type StackName, type World } from "./world.ts";

/** Holder tokens of what the stack has made. */
export const tokens = (state: readonly Kept[]): Set<string> => new Set(state.map(({ made }) => String(made.outputs.holder)));

export const undeclared = (world: World, name: StackName) => {
  const declared = new Set(world.program(name).map((resource) => resource.name));
  return (kept: Kept) => kept.replaced || !declared.has(kept.name);
};

/** Entries that an operation of the stack may remove: of layers that it deletes, and what retention does not keep of what is released. */
export function released(
  world: World,
  name: StackName,
  { records, vdis }: Seen,
  held: ReadonlySet<string>,
  goes: true | ((kept: Kept) => boolean),
): Set<string> {
  const stack = world.stacks[name];
  const going = tokens(goes === true ? stack.state : stack.state.filter(goes));
  return new Set(
    records.flatMap((record) => {
      const all = [...record.versions];
      // A disk that somebody has destroyed: it is built again, as another.
      const gone = all.filter(([, { vdi }]) => !vdis.some(({ uuid }) => uuid === vdi));
      if (going.has(record.meta.holder) && !all.some(([, { vdi }]) => vdi !== undefined && world.usersOf(vdi).length > 0))
        return all.map(([, { id }]) => id);
      const wish = world.wishes[name].find(
        (one, at) => one?.name === record.meta.name || stack.live(`layer ${at}`)?.made.id === record.layerId,
      );
      const keeps = [record.meta.retention?.keep, ...(wish === undefined ? [] : [wish.keep])].filter((keep) => keep !== undefined);
      const keep = keeps.length === 0 ? undefined : Math.min(...keeps);
      const free = all
        .filter(
          ([, { state, released: since, holders }]) =>
            state === "Deployable" && (since !== undefined || Object.values(holders).some((token) => held.has(token))),
        )
        .sort(([, a], [, b]) => ((a.sealed?.at ?? "") < (b.sealed?.at ?? "") ? 1 : -1))
        .filter(([, { vdi }]) => vdi === undefined || world.usersOf(vdi).length === 0);
      const surplus = keep === undefined ? [] : free.slice(keep === 0 ? 0 : Math.min(keep, free.length));
      return [...surplus, ...gone, ...all.filter(([, { state }]) => state === "Deleting")].map(([, { id }]) => id);
    }),
  );
}

/** Whether a layer that goes has a version that a stranger's VM uses. */
export const used = (world: World, { records }: Seen, held: ReadonlySet<string>): boolean =>
  records.some(
    ({ meta, versions }) =>
      held.has(meta.holder) && [...versions.values()].some(({ vdi }) => vdi !== undefined && world.usersOf(vdi).length > 0),
  );

export interface Refusal {
  says: RegExp;
  /** It is an error when the operation succeeds. */
  must: boolean;
}

/** With which sentences an up may, or must, be refused as the pool is now. */
export function expected(world: World, stack: Stack, name: StackName, { records, vdis }: Seen): Refusal[] {
  const refusals: Refusal[] = [];
  const may = (says: RegExp) => refusals.push({ says, must: false });
  const going = tokens(stack.state.filter(undeclared(world, name)));
  if (used(world, { records, vdis }, going)) may(/is not deleted: .*is used by/);
  for (const [at, wish] of world.wishes[name].entries()) {
    if (wish === undefined) continue;
    const kept = stack.live(`layer ${at}`);
    const named = records.find(({ meta }) => meta.name === wish.name);
    const record = records.find(({ layerId }) => layerId === kept?.made.id) ?? named;
    if (record !== undefined && named !== undefined && named !== record) may(/a layer ".*" exists/);
    // Whoever has made a layer of that name meanwhile, or has the disk's name.
    if (record !== named) may(/is taken by disk/);
    const mine = record?.versions.get(wish.version);
    const label = `${wish.name} ${wish.version}`;
    if (vdis.some((vdi) => vdi.name_label === label && vdi.other_config["xenlayer:version"] !== mine?.id)) may(/is taken by disk/);
    const present = mine?.vdi !== undefined && vdis.some(({ uuid }) => uuid === mine.vdi);
    if (mine?.state === "Deployable" && present) {
      if (mine.content.triggers?.steps !== wish.steps) refusals.push({ says: /was sealed .* changed: give a new version/, must: true });
      continue;
    }
    if (wish.steps === "fails") refusals.push({ says: /exit code 1603/, must: true });
    const others = [...(record?.versions ?? [])].filter(([version]) => version !== wish.version);
    if (others.some(([, { state, holders }]) => state !== "Deployable" && holders.disk !== undefined)) may(/are both new in layer/);
    const isGone = (vdi: string | undefined) => vdi !== undefined && !vdis.some(({ uuid }) => uuid === vdi);
    if (isGone(mine?.base?.vdi) || others.some(([, { vdi }]) => isGone(vdi))) may(/the disk of .*is gone/);
  }
  return refusals;
}

/** Entries that are none of this stack's business are as they were. */
export function untouched(
  world: World,
  name: StackName,
  before: Seen,
  after: Seen,
  held: ReadonlySet<string>,
  mayGo: ReadonlySet<string>,
  destroys = false,
): string[] {
  const now = new Map(after.records.flatMap(({ versions }) => [...versions.values()].map((entry) => [entry.id, entry])));
  const wished = (version: string) => !destroys && world.wishes[name].some((wish) => wish?.version === version);
  return before.records.flatMap(({ meta, versions }) =>
    [...versions].flatMap(([version, entry]) => {
      if (wished(version) || mayGo.has(entry.id) || Object.values(entry.holders).some((token) => held.has(token))) return [];
      const is = now.get(entry.id);
      if (held.has(meta.holder) && is === undefined) return [];
      return is !== undefined && entryText(is) === entryText(entry)
        ? []
        : [`${meta.name} ${version} was ${entryText(entry)} and is ${is === undefined ? "gone" : entryText(is)}`];
    }),
  );
}

/** After an up that succeeded, the pool holds what the program says, held by the stack. */
export function fulfilled(world: World, name: StackName, { records, vdis }: Seen): string[] {
  const stack = world.stacks[name];
  return world.wishes[name].flatMap((wish, at) => {
    if (wish === undefined) return [];
    const made = (what: string): Made | undefined => stack.live(`${what} ${at}`)?.made;
    const record = records.find(({ layerId }) => layerId === made("layer")?.id);
    const entry = record?.versions.get(wish.version);
    const what = `${wish.name} ${wish.version} of stack ${name}`;
    if (record === undefined || entry === undefined) return [`${what} is not there`];
    const holders = { disk: made("disk"), machine: made("machine"), finalize: made("seal") };
    const lost = Object.entries(holders).filter(([key, one]) => entry.holders[key] !== one?.outputs.holder);
    const machine = world.stage.sim.db.all("VM").filter(([, vm]) => vm.name_label === entry.machine?.name);
    return [
      ...(record.meta.name === wish.name ? [] : [`the layer of ${what} is named ${record.meta.name}`]),
      ...(record.meta.holder === made("layer")?.outputs.holder ? [] : [`the layer of ${what} is not held`]),
      ...(entry.state === "Deployable" ? [] : [`${what} is ${entry.state}`]),
      ...(entry.content.triggers?.steps === wish.steps ? [] : [`${what} has the steps ${entry.content.triggers?.steps}`]),
      ...(entry.released === undefined ? [] : [`${what} is released`]),
      ...lost.map(([key]) => `${what} is not held by its ${key}`),
      ...machine.map(() => `the machine of ${what} is left`),
      ...(entry.lease === undefined ? [] : [`the lease of ${what} is left`]),
      ...vdis
        .filter(({ other_config }) => `xenlayer:copying:${entry.build}` in other_config)
        .map(({ name_label }) => `"${name_label}" is left as being copied for ${what}`),
    ];
  });
}
