// What stacks and strangers do to a pool, one command at a time, each with what must follow from it. A command that is not killed must succeed, or be refused
// with the sentence that fits what is there; a killed one may leave anything that is unfinished, but takes nothing away that it was not to remove.
import { changes, killedAt } from "../testing.ts";
import { expected, fulfilled, released, tokens, undeclared, untouched, used } from "./expectations.ts";
import { type Act, stranger } from "./strangers.ts";
import type { StackName, Steps, Wish, World } from "./world.ts";

export interface Kill {
  /** Calls that are made before. */
  skip: number;
  after: boolean;
}

export type Change =
  | { version: string }
  | { steps: Steps }
  | { keep: number | undefined }
  | { name: string }
  | { wished: boolean }
  | { nothing: true };

export type Command =
  | { do: "up"; stack: StackName; layer: 0 | 1; change: Change; replace: boolean; kill: Kill | undefined }
  | { do: "destroy"; stack: StackName; kill: Kill | undefined }
  | { do: "refresh"; stack: StackName }
  | { do: "lose the state"; stack: StackName }
  | { do: "stranger"; act: Act; which: number };

/** Does it; answers all that is wrong afterwards. */
export async function run(world: World, command: Command): Promise<string[]> {
  switch (command.do) {
    case "up": {
      const wishes = world.wishes[command.stack];
      wishes[command.layer] = changed(wishes[command.layer], command.layer, command.change);
      const again = (name: string) => command.replace && /^(disk|machine|seal)/.test(name) && name.endsWith(String(command.layer));
      return await up(world, command.stack, again, command.kill);
    }
    case "destroy":
      return await destroy(world, command.stack, command.kill);
    case "refresh":
      return await refresh(world, command.stack);
    case "lose the state":
      world.stacks[command.stack].state = [];
      return [];
    case "stranger":
      return await stranger(world, command.act, command.which);
  }
}

function changed(wish: Wish | undefined, layer: 0 | 1, change: Change): Wish | undefined {
  if (wish === undefined) return { name: `L${layer}`, version: "version" in change ? change.version : "1", steps: "agent" };
  if ("wished" in change) return change.wished ? wish : undefined;
  return { ...wish, ...change };
}

/** The stack's operation, perhaps killed; the error it ended with. */
async function operated(world: World, kill: Kill | undefined, work: () => Promise<void>): Promise<{ killed: boolean; error?: string }> {
  let error: string | undefined;
  const caught = () =>
    work().catch((thrown: unknown) => {
      error = String(thrown instanceof Error ? thrown.message : thrown);
    });
  const killed = kill !== undefined && (await killedAt(world.stage, kill, caught));
  if (kill === undefined) await caught();
  return error === undefined ? { killed } : { killed, error };
}

export async function up(world: World, name: StackName, replace: (name: string) => boolean, kill: Kill | undefined): Promise<string[]> {
  const stack = world.stacks[name];
  const before = await world.look();
  const held = tokens(stack.state);
  const refusals = expected(world, stack, name, before);
  const mayGo = released(world, name, before, held, undeclared(world, name));
  const { killed, error } = await operated(world, kill, () => stack.up(world.program(name), replace));
  const after = await world.look();
  const wrongs = [...world.wrongs(after, mayGo), ...world.learn(after), ...untouched(world, name, before, after, held, mayGo)];
  if (killed) return wrongs;
  if (error !== undefined)
    return refusals.some(({ says }) => says.test(error)) ? wrongs : [...wrongs, `up of stack ${name} failed: ${error}`];
  const must = refusals.filter((refusal) => refusal.must).map(({ says }) => `up of stack ${name} should have been refused with ${says}`);
  return [...wrongs, ...must, ...fulfilled(world, name, after), ...(await settled(world, name))];
}

export async function destroy(world: World, name: StackName, kill: Kill | undefined): Promise<string[]> {
  const stack = world.stacks[name];
  const before = await world.look();
  const held = tokens(stack.state);
  const mayGo = released(world, name, before, held, true);
  const inUse = used(world, before, held);
  const { killed, error } = await operated(world, kill, () => stack.destroy());
  const after = await world.look();
  const wrongs = [...world.wrongs(after, mayGo), ...untouched(world, name, before, after, held, mayGo, true)];
  if (killed) return wrongs;
  if (error === undefined) {
    const left = after.records.filter(({ meta }) => held.has(meta.holder)).map(({ meta }) => `layer ${meta.name} is left by destroy`);
    return [...wrongs, ...left, ...(inUse ? ["destroy should have been refused: a version is in use"] : [])];
  }
  return inUse && /is not deleted: .*is used by/.test(error) ? wrongs : [...wrongs, `destroy of stack ${name} failed: ${error}`];
}

async function refresh(world: World, name: StackName): Promise<string[]> {
  const stack = world.stacks[name];
  const before = await world.look();
  const { error } = await operated(world, undefined, () => stack.refresh());
  if (error !== undefined) return [`refresh of stack ${name} failed: ${error}`];
  const after = await world.look();
  return [...world.wrongs(after, new Set()), ...untouched(world, name, before, after, new Set(), new Set())];
}

/** A second up of what is there changes nothing. */
async function settled(world: World, name: StackName): Promise<string[]> {
  // dom0 holds a disk for a moment after a transfer.
  const before = world.stage.pool();
  const { error } = await operated(world, undefined, () => world.stacks[name].up(world.program(name)));
  if (error !== undefined) return [`the second up of stack ${name} failed: ${error}`];
  return changes(before, world.stage.pool()).map((line) => `the second up of stack ${name} changed something: ${line}`);
}
