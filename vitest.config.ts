import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{.ci,provider,sdk,simulator,examples,bench}/**/*.test.ts"],
    // vitest leaves a core to itself, which on two is half of all; it needs little.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
