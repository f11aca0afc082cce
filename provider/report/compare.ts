// Two versions compared by what is installed in them. A product keeps its key through an update only if its vendor wants it so: what has another key and the same
// name is the same, and what has the same name but for the numbers in it, too, where that is true of one product only.
import type { Report } from "./shape.ts";

type Installed = NonNullable<Report["inventory"]>["software"][number];

export interface Changed {
  name: string;
  /** Its former name, where it has changed. */
  formerName?: string;
  from: string;
  to: string;
}

export interface Changes {
  added: Installed[];
  removed: Installed[];
  changed: Changed[];
}

export interface Comparison {
  layer: string;
  from: string;
  to: string;
  system: { from: string; to: string };
  toolsVersion: { from: string; to: string };
  software: Changes;
  drivers: Changes;
  /** Why the lists may not be whole. */
  problems: string[];
}

export function compareReports(from: Report, to: Report): Comparison {
  const listed = (report: Report): string[] => {
    const { version, inventory } = report;
    if (inventory === undefined) return [`version ${version}: nothing was listed by its guest`];
    return inventory.problems.map((problem) => `version ${version}: ${problem}`);
  };
  return {
    layer: to.layer,
    from: from.version,
    to: to.version,
    system: { from: from.inventory?.system ?? "", to: to.inventory?.system ?? "" },
    toolsVersion: { from: from.toolsVersion, to: to.toolsVersion },
    software: changesOf(from.inventory?.software ?? [], to.inventory?.software ?? []),
    // A driver's published name is a number of the driver store; its own is that of its file.
    drivers: changesOf(byFile(from.inventory?.drivers ?? []), byFile(to.inventory?.drivers ?? [])),
    problems: [...listed(from), ...listed(to)],
  };
}

const byFile = (drivers: readonly Installed[]): Installed[] => drivers.map((driver) => ({ ...driver, id: driver.name.toLowerCase() }));

const withoutNumbers = (name: string): string => name.toLowerCase().replace(/\d+(?:\.\d+)*/g, "#");

export function changesOf(before: readonly Installed[], after: readonly Installed[]): Changes {
  const removed = [...before];
  const added = [...after];
  const changed: Changed[] = [];
  // The surest first: what has been paired is out of the question for the rest.
  const keys: ((one: Installed) => string)[] = [
    ({ id, version }) => `${id} ${version}`,
    ({ name, version }) => `${name} ${version}`,
    ({ id }) => id,
    ({ name }) => name,
    ({ name }) => withoutNumbers(name),
  ];
  for (const key of keys) {
    const [left, right] = [grouped(removed, key), grouped(added, key)];
    for (const [text, [old, ...others]] of left) {
      const [now, ...more] = right.get(text) ?? [];
      if (old === undefined || now === undefined || others.length > 0 || more.length > 0) continue;
      removed.splice(removed.indexOf(old), 1);
      added.splice(added.indexOf(now), 1);
      if (old.name === now.name && old.version === now.version) continue;
      changed.push({ name: now.name, ...(old.name === now.name ? {} : { formerName: old.name }), from: old.version, to: now.version });
    }
  }
  return { added, removed, changed: changed.sort((a, b) => (a.name.toLowerCase() < b.name.toLowerCase() ? -1 : 1)) };
}

function grouped(entries: readonly Installed[], key: (one: Installed) => string): Map<string, Installed[]> {
  const groups = new Map<string, Installed[]>();
  for (const entry of entries) groups.set(key(entry), [...(groups.get(key(entry)) ?? []), entry]);
  return groups;
}
