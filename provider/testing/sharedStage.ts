// For tests: one pool with an OS layer for all tests of a file.
import { afterAll, expect } from "vitest";
import type { ConnectorCredentials } from "../resource.ts";
import { connectFor } from "../session.ts";
import { changes, type OpenStage, openStage, type Stage, Story, type StoryLayer, windowsGuest } from "../testing.ts";
import type { Xapi } from "../xapi/client.ts";

export interface SharedStage {
  stage: OpenStage;
  story: Story;
  xapi: Xapi;
  /** A layer of its own for one test; afterwards nothing of it may be left. */
  withLayer(name: string, body: (layer: StoryLayer) => Promise<void>): Promise<void>;
  /** What was told while something was done. */
  told(work: () => Promise<unknown>, on?: Stage): Promise<string>;
}

/** Endpoint protection has something to delete at every boot, for ever: noisy to the guest's plain tests, harmless to the full rules. */
export const scannedGuest = {
  ...windowsGuest,
  programs: [...windowsGuest.programs, { match: "scanner.exe", pending: ["temp-file" as const], pendingReboots: 99 }],
};

/** Opened at once, and closed after the tests of the file that calls it. */
export async function sharedStage(guest?: Parameters<typeof Story.begin>[1]): Promise<SharedStage> {
  const stage = await openStage();
  afterAll(() => stage.close());
  const story = await Story.begin(stage, guest);
  return {
    stage,
    story,
    xapi: await reach(stage, story),
    async withLayer(name, body) {
      const before = stage.pool();
      const layer = await story.layer(name);
      await body(layer);
      await stage.destroy(layer.made);
      expect(changes(before, stage.pool())).toEqual([]);
    },
    async told(work, on = stage) {
      const from = on.told.length;
      await work();
      return on.told.slice(from).join("\n");
    },
  };
}

/** The pool as the program of a story has it. */
export const reach = (on: Stage, { connector }: Story): Promise<Xapi> => connectFor(on.front, connector as unknown as ConnectorCredentials);

/** The error that something must end with. */
export async function failing(work: Promise<unknown>): Promise<unknown> {
  const result = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (result === undefined) throw new Error("it should have failed");
  return result;
}
