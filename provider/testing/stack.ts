// What the engine does with a program's resources, for tests that drive the core as a front does: check, diff, create, update and replace in order of
// dependency (create-first), deletes at the end and in reverse. State is kept as the engine keeps it: what was made, half made, or replaced and still to be
// deleted; nothing of what was killed under way.
import type { Made, Stage } from "../testing.ts";

type Json = Record<string, unknown>;

/** A resource of a program; its inputs are asked for when those before it are made. */
export interface Declared {
  name: string;
  type: string;
  inputs: (made: (name: string) => Made) => Json;
}

export interface Kept {
  name: string;
  made: Made;
  /** "initialised with errors": the next up updates it, whatever diff says, until a refresh has dropped the note. */
  half: boolean;
  /** Its successor is made: it goes at the end of this up, or of the next. */
  replaced: boolean;
}

export class Stack {
  readonly stage: Stage;
  state: Kept[];

  constructor(stage: Stage, state: Kept[] = []) {
    this.stage = stage;
    this.state = state;
  }

  /** `replace`: names of resources to make anew without asking diff (--replace, taint). */
  async up(program: readonly Declared[], replace: (name: string) => boolean = () => false): Promise<void> {
    this.beginRun();
    const made = (name: string): Made => {
      const kept = this.live(name);
      if (kept === undefined) throw new Error(`the program has no resource ${name}`);
      return kept.made;
    };
    for (const { name, type, inputs } of program) {
      const kept = this.live(name);
      const news = inputs(made);
      if (kept === undefined) await this.create(name, type, news);
      else if (replace(name)) await this.replaceBy(kept, type, news);
      else await this.update(kept, type, news);
    }
    const declared = new Set(program.map(({ name }) => name));
    for (const kept of [...this.state].reverse()) if (kept.replaced || !declared.has(kept.name)) await this.delete(kept);
  }

  async destroy(): Promise<void> {
    this.beginRun();
    for (const kept of [...this.state].reverse()) await this.delete(kept);
  }

  async refresh(): Promise<void> {
    this.beginRun();
    for (const kept of [...this.state]) {
      if (kept.replaced) continue;
      const made = await this.stage.refresh(kept.made);
      if (made === undefined) this.drop(kept);
      else Object.assign(kept, { made, half: false });
    }
  }

  live(name: string): Kept | undefined {
    return this.state.find((kept) => kept.name === name && !kept.replaced);
  }

  // Each run of a program is a process of its own.
  private beginRun(): void {
    this.stage.front.program = {};
  }

  private async create(name: string, type: string, news: Json): Promise<void> {
    await this.keeping(
      async () => void this.state.push({ name, made: await this.stage.create(type, news), half: false, replaced: false }),
      (made) => void this.state.push({ name, made, half: true, replaced: false }),
    );
  }

  private async replaceBy(kept: Kept, type: string, news: Json): Promise<void> {
    // In its place, so that the state stays in order of dependency.
    const succeed = (made: Made, half: boolean) =>
      this.state.splice(this.state.indexOf(kept), 1, { ...kept, replaced: true }, { name: kept.name, made, half, replaced: false });
    await this.keeping(
      async () => void succeed(await this.stage.create(type, news), false),
      (made) => void succeed(made, true),
    );
  }

  private async update(kept: Kept, type: string, news: Json): Promise<void> {
    let replaces = false;
    await this.keeping(
      async () => {
        const up = await this.stage.up(kept.made, news);
        replaces = up.replaces.length > 0;
        if (replaces) return;
        const { made } = up;
        const forced = kept.half && !up.changes;
        const outputs = forced
          ? (await this.stage.resource(type).update(this.stage.front, made.id, made.outputs, made.inputs)).outputs
          : made.outputs;
        Object.assign(kept, { made: { ...made, outputs }, half: false });
      },
      (made) => void Object.assign(kept, { made, half: true }),
    );
    if (replaces) await this.replaceBy(kept, type, news);
  }

  private async delete(kept: Kept): Promise<void> {
    await this.stage.destroy(kept.made);
    this.drop(kept);
  }

  private drop(kept: Kept): void {
    this.state = this.state.filter((other) => other !== kept);
  }

  private async keeping(work: () => Promise<void>, keep: (made: Made) => void): Promise<void> {
    try {
      await work();
    } catch (error) {
      const { made } = error as { made?: Made };
      if (made !== undefined) keep(made);
      throw error;
    }
  }
}
