import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

const LONG = /\/(sdk\/(dynamic|program)|examples\/(chaos\/(chaos|engine)|new-version)|provider\/model)\.test\.ts$/;

/** vitest begins with the largest files: whichever runs for long and is small would run last, and alone. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return [true, false].flatMap((long) => sorted.filter(({ moduleId }) => LONG.test(moduleId) === long));
  }
}

export default defineConfig({
  test: {
    include: ["{.ci,provider,sdk,simulator,examples,bench}/**/*.test.ts"],
    sequence: { sequencer: LongestFirst },
    // vitest leaves a core to itself, which on two is half of all; it needs little.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
