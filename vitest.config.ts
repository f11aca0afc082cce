import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{.ci,provider,sdk,simulator,examples,bench}/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
