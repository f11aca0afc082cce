// A create or update is a plan: steps in order, each with what finds its result, what makes it and what takes it back.
// XAPI is the journal: a step whose result is found does not run, so a plan that was killed anywhere goes on when it is run again.
import { CleanupError, InitFailedError } from "./errors.ts";

export interface PlanContext {
  report: (message: string) => void;
  signal: AbortSignal;
}

// `run` and its siblings are properties, not methods: only so does TypeScript refuse a step that needs what no step before it gives.
export interface Step<Ctx, In extends object, Out extends object> {
  /** Shown while it runs: "Clone the base disk". */
  title: string;
  /** What an earlier run left; undefined = it has to run. */
  find: (ctx: Ctx, state: In) => Promise<Out | undefined>;
  /** Best one XAPI change. */
  run: (ctx: Ctx, state: In) => Promise<Out>;
  /** Takes back what `run` of this very run made; nothing there to take back is success. */
  undo?: (ctx: Ctx, state: In & Out) => Promise<void>;
}

/** Names what exists once the commit step is done, so that a later failure keeps it. */
export type Committed<State> = (state: State) => { id: string; outputs: Record<string, unknown> };

// The list is homogeneous only after erasure: each step's In is the sum of the Outs before it, which the builder's type has checked.
// biome-ignore lint/suspicious/noExplicitAny: the erased edge of Plan, see above
type AnyStep<Ctx> = Step<Ctx, any, any>;

export class Plan<Ctx extends PlanContext, In extends object, State extends object> {
  readonly steps: readonly AnyStep<Ctx>[];
  private readonly commitAt: number;
  private readonly committed: Committed<State> | undefined;

  private constructor(steps: readonly AnyStep<Ctx>[], commitAt: number, committed: Committed<never> | undefined) {
    this.steps = steps;
    this.commitAt = commitAt;
    this.committed = committed as Committed<State> | undefined;
  }

  static of<Ctx extends PlanContext, In extends object>(): Plan<Ctx, In, In> {
    return new Plan<Ctx, In, In>([], Number.POSITIVE_INFINITY, undefined);
  }

  step<Out extends object>(step: Step<Ctx, State, Out>): Plan<Ctx, In, State & Out> {
    return new Plan([...this.steps, step], this.commitAt, this.committed as Committed<never> | undefined);
  }

  /** The step after which the object counts as made: from here on failures keep everything and are told as "initialised with errors". */
  commit<Out extends object>(step: Step<Ctx, State, Out>, committed: Committed<State & Out>): Plan<Ctx, In, State & Out> {
    return new Plan([...this.steps, step], this.steps.length, committed as unknown as Committed<never>);
  }

  async run(ctx: Ctx, inputs: In): Promise<State> {
    let state: object = inputs;
    const made: Made<Ctx>[] = [];
    for (const [index, step] of this.steps.entries()) {
      const before = state;
      let running = false;
      try {
        ctx.signal.throwIfAborted();
        let out: object | undefined = await step.find(ctx, before);
        if (out === undefined) {
          ctx.report(`[${index + 1}/${this.steps.length}] ${step.title}`);
          running = true;
          out = await step.run(ctx, before);
          made.push({ step, state: { ...before, ...out } });
        }
        state = { ...before, ...out };
      } catch (error) {
        if (index > this.commitAt && this.committed !== undefined) {
          const { id, outputs } = this.committed(state as State);
          throw new InitFailedError(id, outputs, error);
        }
        throw await takenBack(error, (cleanup) =>
          this.undo({ ...ctx, signal: cleanup }, running ? { step, state: before } : undefined, made),
        );
      }
    }
    return state as State;
  }

  /** `failed`: the step that was running. It may have been done and only its answer lost: it is looked for once more. */
  private async undo(ctx: Ctx, failed: Made<Ctx> | undefined, made: Made<Ctx>[]): Promise<void> {
    const problems: unknown[] = [];
    if (failed?.step.undo !== undefined) {
      const late = await failed.step.find(ctx, failed.state).catch(() => undefined);
      if (late !== undefined) made.push({ step: failed.step, state: { ...failed.state, ...late } });
    }
    for (const { step, state } of made.reverse()) await step.undo?.(ctx, state).catch((problem: unknown) => problems.push(problem));
    if (problems.length > 0) throw new AggregateError(problems);
  }
}

interface Made<Ctx> {
  step: AnyStep<Ctx>;
  state: object;
}

/** Takes back what a failed operation has begun and gives the error to throw: a clean-up that fails is added to it, never put in its place. */
export async function takenBack(error: unknown, cleanup: (signal: AbortSignal) => Promise<void>): Promise<unknown> {
  try {
    // A signal of its own, so that Ctrl-C still cleans up.
    await cleanup(AbortSignal.timeout(60_000));
    return error;
  } catch (problem) {
    return new CleanupError(error, problem instanceof AggregateError ? problem.errors : [problem]);
  }
}
