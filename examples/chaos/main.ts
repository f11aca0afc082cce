// `make chaos`: something goes wrong at calls of the main path, its bump and its destroy, through the core and through the real engine; a table of how it ended.
// POINTS: most points of each way (all: every one). ENGINE_POINTS: the same for the real engine, a third of POINTS where it is not told, as its runs take seconds; 0: none.
// SEED: draws the same points again. ONLY: ways whose name has this in it. POINT: one point, as it was named.
import { MainPath, unitName, units } from "./core.ts";
import { ENGINE_WAYS, EnginePath, engineOperations } from "./engine.ts";
import { inParallel, type Point, pointName, pointsOf, sample } from "./points.ts";
import { WAYS } from "./ways.ts";

const {
  POINTS = "12",
  ENGINE_POINTS,
  SEED = String(Math.floor(Math.random() * 2 ** 31)),
  ONLY = "",
  POINT = "",
  WORKERS = "2",
} = process.env;
const count = (text: string): number => (text === "all" ? Number.POSITIVE_INFINITY : Number(text));
const most = count(POINTS);
const mostOfEngine = ENGINE_POINTS === undefined ? Math.ceil(most / 3) : count(ENGINE_POINTS);
/** One point by itself is tried with what is quickest: the same unit again. */
const THEN = ["again", "again", "to the end", "destroy"] as const;
const say = (line: string): void => void process.stdout.write(`${line}\n`);

interface Row {
  operation: string;
  way: string;
  tried: number;
  converged: number;
  orphans: number;
}
const rows: Row[] = [];
const rowOf = (operation: string, way: string): Row => {
  const known = rows.find((row) => row.operation === operation && row.way === way);
  if (known !== undefined) return known;
  const row = { operation, way, tried: 0, converged: 0, orphans: 0 };
  rows.push(row);
  return row;
};

function note(operation: string, way: string, name: string, { problem, orphans }: { problem?: string; orphans: number }): void {
  const row = rowOf(operation, way);
  row.tried++;
  row.orphans += orphans;
  if (problem === undefined) row.converged++;
  else say(`${name} did not end as it would have without. Again: make chaos POINT=${name}\n  ${problem.replaceAll("\n", "\n  ")}`);
}

const wanted = (name: string): boolean => (POINT === "" ? name.includes(ONLY) : POINT.split(":").at(1) === name);
const chosen = <T>(all: readonly T[], most: number, name: (one: T) => string): T[] =>
  POINT === "" ? sample(all, most, Number(SEED)) : all.filter((one) => name(one) === POINT);

say(`SEED=${SEED} POINTS=${POINTS}`);
for (const pool of ["small", "ha"] as const) {
  const ways = WAYS.filter((way) => (way.pool ?? "small") === pool && wanted(way.name));
  if (ways.length === 0) continue;
  await using path = await MainPath.record(pool);
  const points = ways.flatMap((way) => chosen<Point>(pointsOf(path, way), most, pointName));
  say(`the core, pool "${pool}": ${points.length} points`);
  await inParallel(points, Number(WORKERS), async (point) => {
    const outcome = await path.point(point.at, point.n, point.way, POINT === "" ? THEN[point.n % THEN.length] : undefined);
    const { phase } = units[point.at] ?? { phase: "" };
    if (outcome.reached || outcome.problem !== undefined) note(`core, ${phase}`, point.way.name, pointName(point), outcome);
  });
}

const engineWays = ENGINE_WAYS.filter(({ name }) => wanted(name));
if (engineWays.length > 0 && mostOfEngine > 0) {
  await using path = await EnginePath.record();
  for (const way of engineWays) {
    const all = engineOperations.flatMap((operation) => Array.from({ length: path.calls(operation) }, (_, n) => ({ operation, n, way })));
    const name = ({ operation, n }: (typeof all)[number]): string => `${operation}:${way.name}:${n}`;
    const few = chosen(all, mostOfEngine, name);
    say(`the real engine, ${way.name}: ${few.length} points`);
    for (const point of few) {
      const outcome = await path.point(point.operation, point.n, way);
      if (outcome.reached || outcome.problem !== undefined) note(`engine, ${point.operation}`, way.name, name(point), outcome);
    }
  }
}

const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
say(line(["operation", "what goes wrong", "points", "converged", "orphans"]));
say(line(["---", "---", "---", "---", "---"]));
for (const { operation, way, tried, converged, orphans } of rows.sort((a, b) => (a.operation < b.operation ? -1 : 1)))
  say(line([operation, way, tried, converged, orphans]));
const [tried, converged, orphans] = (["tried", "converged", "orphans"] as const).map((key) => rows.reduce((sum, row) => sum + row[key], 0));
say(line(["all", "", tried ?? 0, converged ?? 0, orphans ?? 0]));
if (tried === 0)
  say(
    `no point is named ${POINT}; their names are like ${unitName(units[3] ?? { phase: "up", doing: "make", name: "disk" })}:killed-after:7`,
  );
process.exitCode = tried === converged && tried !== 0 ? 0 : 1;
