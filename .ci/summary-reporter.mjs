// A vitest reporter that ends the run with one plain line, "N passed, N failed, N skipped", for people and for CI.
// What fails outside a test (a file that does not load, a hook, an unhandled error) counts as a failure of its own.

import { writeSync } from "node:fs";

// biome-ignore lint/style/noDefaultExport: vitest takes a reporter file's default export
export default class SummaryReporter {
  onTestRunEnd(modules, unhandledErrors, reason) {
    const count = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      if (module.errors().length > 0) count.failed++;
      for (const suite of module.children.allSuites()) {
        if (suite.errors().length > 0) count.failed++;
      }
      for (const test of module.children.allTests()) count[test.result().state]++;
    }
    count.failed += count.pending; // begun and never ended: the run was cut short
    if (reason === "failed" && count.failed === 0) count.failed = 1;
    // At exit, since the default reporter writes its own summary later than this call.
    process.once("exit", () => {
      writeSync(1, `\n${count.passed} passed, ${count.failed} failed${count.skipped > 0 ? `, ${count.skipped} skipped` : ""}\n`);
    });
  }
}
