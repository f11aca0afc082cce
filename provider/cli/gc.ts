// `xenlayer gc`: what of ours is on a pool, and what killed runs have left there. Promises: without --yes nothing is changed; with it only what is
// left behind goes, and only of the connectors that are named: a command line can't know whose layers it may touch.
import type { ParseArgsConfig } from "node:util";
import { collect } from "../layer/collect.ts";
import { gib, type Space, spaceLines, spaceOf } from "../layer/space.ts";
import { survey, type Thing } from "../layer/survey.ts";
import { ACCOUNT_USAGE, asJson, type Command, commandContext, count, POOL_USAGE, parsePoolOptions, UsageError } from "./command.ts";

const options = {
  connector: { type: "string", multiple: true },
  yes: { type: "boolean" },
  json: { type: "boolean" },
} as const satisfies ParseArgsConfig["options"];

export const gc: Command = {
  summary: "shows what of xenlayer's is on a pool, and removes what killed runs left",
  usage: `Usage: xenlayer gc --address HOST [--connector ID ... [--yes]] [options]

Shows what of xenlayer's is on a pool, whose it is, and what is unfinished. Removed is only
what bears in-flight marks and no live run works on; what is in doubt is named and left.
${ACCOUNT_USAGE}

${POOL_USAGE}
  --connector ID             only what was made through this connector; may be repeated
  --yes                      remove what is left behind, of the connectors that are given
  --json                     print as JSON

Exit code: 0 nothing is left behind (any more), 1 something failed, 2 not understood,
3 something is left behind, and --yes was not given.
`,
  async run(args, { out, err }) {
    const { values, pool } = await parsePoolOptions(args, options);
    const { connector: wanted, yes = false } = values;
    if (yes && wanted === undefined)
      throw new UsageError(["--yes needs --connector: whose leftovers may go? Without --yes the connectors are shown"]);
    const ctx = commandContext(values.json === true ? undefined : (line) => err(`${line}\n`));
    const xapi = await ctx.connect(pool);
    const inScope = (thing: Thing) => wanted === undefined || wanted.includes(thing.connector ?? "");
    const before = (await survey(xapi)).filter(inScope);
    const disks = before.flatMap(({ vdis }) => vdis);
    const spaceBefore = await spaceOf(xapi, disks);
    const { removed, failed } = yes ? await collect(ctx, xapi, wanted ?? []) : { removed: [], failed: [] };
    const after = yes ? (await survey(xapi)).filter(inScope) : before;
    const space = { before: spaceBefore, after: yes ? await spaceOf(xapi, disks) : spaceBefore };
    const left = after.filter(({ remains }) => remains !== undefined);
    if (values.json === true) {
      const told = { things: after.map(toldOf), removed: removed.map(toldOf), space };
      out(asJson({ ...told, failed: failed.map(({ thing, problem }) => ({ ...toldOf(thing), problem })) }));
    } else out(report(after, removed, failed, space, yes));
    if (failed.length > 0) return 1;
    return left.length === 0 ? 0 : yes ? 1 : 3;
  },
};

const belongsTo = ({ layer, version }: Thing): string => [layer, version].filter((part) => part !== undefined).join("/");
const bytesOf = ({ vdis }: Thing): number => vdis.reduce((sum, vdi) => sum + vdi.physical_utilisation, 0);
const objectsOf = ({ vdis, vms }: Thing) => [
  ...vdis.map(({ uuid, name_label }) => ({ class: "VDI", uuid, name_label })),
  ...vms.map(({ uuid, name_label }) => ({ class: "VM", uuid, name_label })),
];

function toldOf(thing: Thing): object {
  const { what, fate, why, connector, layer, version, since, lease } = thing;
  const held = lease === undefined ? undefined : { host: lease.host, pid: lease.pid, until: new Date(lease.until).toISOString() };
  return { what, fate, why, connector, layer, version, since, lease: held, bytes: bytesOf(thing), objects: objectsOf(thing) };
}

function report(
  things: readonly Thing[],
  removed: readonly Thing[],
  failed: readonly { thing: Thing; problem: string }[],
  space: { before: readonly Space[]; after: readonly Space[] },
  yes: boolean,
): string {
  const thin = space.before.some((sr) => sr.thin);
  const rows = things.map((thing) => [
    thing.fate,
    thing.what,
    belongsTo(thing),
    thing.connector ?? "",
    thing.since ?? "",
    thing.lease === undefined ? "" : `${thing.lease.host} ${thing.lease.pid} until ${new Date(thing.lease.until).toISOString()}`,
    thin && thing.vdis.length > 0 ? gib(bytesOf(thing)) : "",
    thing.why,
  ]);
  const table = aligned([["FATE", "WHAT", "LAYER/VERSION", "CONNECTOR", "SINCE", "LEASE", "SPACE", "WHY"], ...rows]);
  const left = things.filter(({ remains }) => remains !== undefined);
  const doubtful = things.filter(({ fate }) => fate === "in doubt").flatMap(objectsOf);
  const lines = [
    ...(rows.length === 0 ? ["Nothing of xenlayer's is here."] : table),
    "",
    ...doubtful.map((object) => `in doubt, left alone: ${object.class} ${object.uuid} "${object.name_label}"`),
    ...failed.map(({ thing, problem }) => `not removed: ${thing.what} ${belongsTo(thing)}: ${problem}`),
    ...(yes
      ? [`Removed: ${count(removed.length, "thing")}, ${gib(removed.reduce((sum, thing) => sum + bytesOf(thing), 0))} of disks.`]
      : [
          `Left behind: ${count(left.length, "thing")}.${left.length === 0 ? "" : " --connector ID --yes removes what is that connector's."}`,
        ]),
    ...(yes
      ? spaceLines(space.before, space.after)
      : space.after.filter((sr) => sr.thin).map((sr) => `"${sr.name}": ${gib(sr.usedBytes)} of ${gib(sr.sizeBytes)} used`)),
  ];
  return `${lines.join("\n")}\n`;
}

/** Columns as wide as they need to be; those that are empty throughout are left out. Names come from the pool: nothing of them moves a terminal's cursor. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const clean = rows.map((row) => row.map((cell) => cell.replace(/\p{Cc}/gu, "?")));
  const [head = [], ...body] = clean;
  const columns = head.map((_, at) => at).filter((at) => body.some((row) => row[at] !== ""));
  const width = (at: number) => Math.max(...clean.map((row) => row[at]?.length ?? 0));
  return clean.map((row) =>
    columns
      .map((at) => (row[at] ?? "").padEnd(width(at)))
      .join("  ")
      .trimEnd(),
  );
}
