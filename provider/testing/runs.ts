// For tests: the provider in another process, as far as its memory goes.
import { vi } from "vitest";
import type { Made, Stage } from "../testing.ts";

type Json = Record<string, unknown>;

export interface Run {
  /** check and create. */
  create(type: string, inputs: Json): Promise<Made>;
  /** check, diff and, where they say so, update. */
  up(made: Made, inputs?: Json): Promise<{ replaces: string[]; changes: boolean; made: Made }>;
  refresh(made: Made): Promise<Made | undefined>;
  destroy(made: Made): Promise<void>;
  close(): Promise<void>;
}

/** Nothing of this process's memory, nor of another run's, is shared. */
export async function anotherRun({ front }: Stage): Promise<Run> {
  vi.resetModules();
  const [{ resources }, { disconnectAll }] = await Promise.all([import("../resources/index.ts"), import("../xapi/client.ts")]);
  const of = (type: string) => {
    const found = resources.find((candidate) => candidate.type === type);
    if (found === undefined) throw new Error(type);
    return found;
  };
  const checked = async (type: string, news: Json, olds?: Json): Promise<Json> => {
    const { inputs, failures } = await of(type).check(front, olds, news);
    if (failures.length > 0) throw new Error(`check of ${type}: ${failures.map(({ reason }) => reason).join("; ")}`);
    return inputs;
  };
  return {
    async create(type, news) {
      const inputs = await checked(type, news);
      return { type, inputs, ...(await of(type).create(front, inputs)) };
    },
    async up(made, news = made.inputs) {
      const inputs = await checked(made.type, news, made.inputs);
      const { changes = false, replaces = [] } = await of(made.type).diff(front, made.id, made.outputs, inputs);
      if (replaces.length > 0 || !changes) return { changes: replaces.length > 0, replaces, made };
      return { changes, replaces, made: { ...made, ...(await of(made.type).update(front, made.id, made.outputs, inputs)) } };
    },
    async refresh(made) {
      const seen = await of(made.type).read(front, made.id, made.outputs);
      return seen === undefined ? undefined : { ...made, outputs: seen.outputs };
    },
    destroy: (made) => of(made.type).delete(front, made.id, made.outputs),
    close: disconnectAll,
  };
}
