// Ownership marks: keys in other_config that say what made an object, for which layer and build, and in which role.
// Copies made by others carry them too (VM.clone, VDI.clone and VDI.copy copy the source's other_config; xapi.md 5.1), so a mark counts only
// together with the uuid it was written for; a copy of our own is told by the in-flight key that its source bore at that moment.
import type { Rec } from "../xapi/records.ts";

export const FORMAT = "1";
const PREFIX = "xenlayer:";

export type Role = "layer" | "disk" | "payload" | "machine" | "probe";

export interface Marks {
  connector: string;
  role: Role;
  /** The layer's id. */
  layer?: string;
  /** The version's id. */
  version?: string;
  /** One clone of the base: a changed build is another one. */
  build?: string;
}

const KEYS = ["connector", "role", "layer", "version", "build"] as const;

/** For a create call, whose uuid isn't known yet. */
export function marksFor(marks: Marks): Record<string, string> {
  const entries = KEYS.flatMap((key) => (marks[key] === undefined ? [] : [[`${PREFIX}${key}`, marks[key]] as const]));
  return { [`${PREFIX}format`]: FORMAT, ...Object.fromEntries(entries) };
}

/** For an object that exists: binds them to its uuid. */
export const boundMarks = (marks: Marks, uuid: string): Record<string, string> => ({ ...marksFor(marks), [`${PREFIX}uuid`]: uuid });

type Marked = { uuid: string; other_config: Record<string, string>; is_a_snapshot?: boolean };

/** The marks an object bears, be they its own or copied; undefined = none of ours, or of a format that this release doesn't know. */
export function marksOf(object: Marked): Marks | undefined {
  const read = (key: string) => object.other_config[`${PREFIX}${key}`];
  const connector = read("connector");
  const role = read("role") as Role | undefined;
  if (read("format") !== FORMAT || connector === undefined || role === undefined) return undefined;
  const marks: Marks = { connector, role };
  for (const key of ["layer", "version", "build"] as const) {
    const value = read(key);
    if (value !== undefined) marks[key] = value;
  }
  return marks;
}

/** Marks written for another object: this one is a copy of ours, made by somebody else or by a run that was killed. */
export const isCopy = (object: Marked): boolean => {
  const uuid = object.other_config[`${PREFIX}uuid`];
  return uuid !== undefined && uuid !== object.uuid;
};

/** Marks written for this very object, not only at its creation, when its uuid wasn't known yet. */
export const hasOwnUuid = (object: Marked): boolean => object.other_config[`${PREFIX}uuid`] === object.uuid;

export function isOurs(object: Marked, want: Partial<Marks>): boolean {
  const marks = marksOf(object);
  // Nothing of ours is a snapshot: somebody's backup is.
  if (marks === undefined || isCopy(object) || object.is_a_snapshot === true) return false;
  return KEYS.every((key) => want[key] === undefined || marks[key] === want[key]);
}

/** Put on the source before it is cloned and taken away after the copy has its own marks. */
export const inFlightKey = (build: string): string => `${PREFIX}copying:${build}`;

/** The same for a snapshot that is only taken to be read. */
export const lookKey = (build: string): string => `${PREFIX}looking:${build}`;

/** Everything of ours taken out of an other_config, e.g. of a clone before it gets its own marks. */
export function withoutMarks(otherConfig: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(otherConfig).filter(([key]) => !key.startsWith(PREFIX)));
}

/** Of all VDIs of an SR: the finished disk of this build. */
export function findDisk(vdis: readonly Rec<"VDI">[], marks: Marks): Rec<"VDI"> | undefined {
  return vdis.find((vdi) => isOurs(vdi, marks));
}

/** What a killed run left of its own copying; a snapshot with the key was made by somebody else at that moment. */
export function unfinishedCopies(vdis: readonly Rec<"VDI">[], sourceUuid: string, build: string): Rec<"VDI">[] {
  return vdis.filter((vdi) => {
    const copying = inFlightKey(build) in vdi.other_config && !vdi.is_a_snapshot;
    const looking = lookKey(build) in vdi.other_config && vdi.is_a_snapshot;
    return vdi.uuid !== sourceUuid && (copying || looking) && !hasOwnUuid(vdi);
  });
}
