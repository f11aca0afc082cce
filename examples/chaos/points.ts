// Which points there are, and a sample of them that can be drawn again.
import { type Call, type MainPath, unitName, units } from "./core.ts";
import type { Way } from "./ways.ts";

/** The n-th call of a unit (of those that this may happen to), and what happens to it. */
export interface Point {
  at: number;
  n: number;
  way: Way;
}

export const pointName = ({ at, n, way }: Point): string => `${nameOf(at)}:${way.name}:${n}`;
const nameOf = (at: number): string => (units[at] === undefined ? "" : unitName(units[at]));

/** Every point of a way, or those at the calls that are told. */
export function pointsOf({ calls }: MainPath, way: Way, of: (call: Call) => boolean = () => true): Point[] {
  return calls.flatMap((unit, at) => {
    const { moments, at: fits } = way;
    if (moments !== undefined) return moments.in.test(nameOf(at)) ? Array.from({ length: moments.count }, (_, n) => ({ at, n, way })) : [];
    const possible = unit.filter(({ method }) => fits === undefined || fits.test(method));
    return possible.flatMap((call, n) => (of(call) ? [{ at, n, way }] : []));
  });
}

/** So many of them, in no order; the same ones for the same seed. */
export function sample<T>(all: readonly T[], count: number, seed: number): T[] {
  const random = randomOf(seed);
  const left = [...all];
  const drawn: T[] = [];
  while (drawn.length < count && left.length > 0) drawn.push(...left.splice(Math.floor(random() * left.length), 1));
  return drawn;
}

/** mulberry32 (Tommy Ettinger, public domain). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Runs all, so many at a time. */
export async function inParallel<T>(all: readonly T[], most: number, work: (one: T) => Promise<void>): Promise<void> {
  const left = [...all];
  const worker = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await work(one);
  };
  await Promise.all(Array.from({ length: most }, worker));
}
