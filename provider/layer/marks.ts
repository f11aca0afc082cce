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

/** A machine's marks are one key, with a JSON object in it: one call. */
export const MACHINE_MARK = `${PREFIX}mark`;

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

/** The marks of a machine, as whoever cloned it may bear them too; undefined = none, or none that this release can read. */
export function machineMarksOf(object: Marked): Marks | undefined {
  try {
    const { format, connector, role, layer, version, build } = JSON.parse(object.other_config[MACHINE_MARK] ?? "") as Record<
      string,
      unknown
    >;
    if (String(format) !== FORMAT || role !== "machine") return undefined;
    const known = Object.entries({ connector, layer, version, build });
    if (known.some(([, value]) => typeof value !== "string")) return undefined;
    return { role, ...(Object.fromEntries(known) as Record<"connector" | "layer" | "version" | "build", string>) };
  } catch {
    return undefined;
  }
}

/** A machine's mark names the reference it was written for: VM.clone, VM.copy and an import of an export give another, and keep the name that is asked for. */
export function isMachineCopy({ $ref, other_config }: Rec<"VM">): boolean {
  try {
    const { ref } = JSON.parse(other_config[MACHINE_MARK] ?? "") as Record<string, unknown>;
    return ref !== undefined && ref !== $ref;
  } catch {
    return false;
  }
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

/** On a payload disk that was made in the place of one that is gone: the uuid of that. A copy of the one that is gone does not bear it. */
export const REPLACES = `${PREFIX}replaces`;

/**
 * Whether a disk is the build's in this role, beside the one that is recorded. Marks without a uuid of their own may be a copy's: they count where nothing else is
 * recorded, or where the disk was made in the place of what is.
 */
export const isOfBuild = (object: Marked, want: Partial<Marks>, recorded: string | undefined): boolean =>
  isOurs(object, want) && (hasOwnUuid(object) || recorded === undefined || object.other_config[REPLACES] === recorded);

/** Put on the source before it is cloned and taken away after the copy has its own marks. */
export const inFlightKey = (build: string): string => `${PREFIX}copying:${build}`;

/** The same for a snapshot that is only taken to be read. */
export const lookKey = (build: string): string => `${PREFIX}looking:${build}`;

/** When something was made that no lease tells of: while it is young, its run may be at work on it. */
export const MADE = `${PREFIX}made`;
/** On what is to become a layer's record, until it has its facts: which run makes it. */
export const CLAIM = `${PREFIX}claim`;
const YOUNG_MS = 3_600_000;

export const isOutgrown = (object: Marked): boolean => Date.now() - Date.parse(object.other_config[MADE] ?? "") > YOUNG_MS;

/** Whether it bears anything that starts as our marks do, in whatever format. */
export const bearsMarks = (object: Marked): boolean => Object.keys(object.other_config).some((key) => key.startsWith(PREFIX));

/** The builds that an object bears in-flight keys of, with what they say: when the copying began. */
export const flightsOf = (object: Marked): [build: string, since: string][] =>
  Object.entries(object.other_config).flatMap(([key, value]) => {
    const [, build] = /^xenlayer:(?:copying|looking):(.+)$/.exec(key) ?? [];
    return build === undefined ? [] : [[build, value]];
  });

/** On a disk until it is sealed. Alone it says, whatever became of its layer's record, that nobody can have the disk as a version. */
export const OPEN = `${PREFIX}open`;

/** Everything of ours taken out of an other_config, e.g. of a clone before it gets its own marks. */
export function withoutMarks(otherConfig: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(otherConfig).filter(([key]) => !key.startsWith(PREFIX)));
}

/** Of all VDIs of an SR: the finished disk of this build. */
export function findDisk(vdis: readonly Rec<"VDI">[], marks: Marks): Rec<"VDI"> | undefined {
  return vdis.find((vdi) => isOurs(vdi, marks));
}

/**
 * What a killed run left of its own copying. A copy bears the key that its source bore at that moment; once the copying has ended, and the source bears the key
 * no more, such a copy is somebody else's. A snapshot with the copying key was made by somebody else at that moment.
 */
export function unfinishedCopies(vdis: readonly Rec<"VDI">[], source: Rec<"VDI">, build: string): Rec<"VDI">[] {
  const [copying, looking] = [inFlightKey(build), lookKey(build)];
  return vdis.filter((vdi) => {
    const key = vdi.is_a_snapshot ? looking : copying;
    return vdi.uuid !== source.uuid && key in vdi.other_config && key in source.other_config && !hasOwnUuid(vdi);
  });
}
