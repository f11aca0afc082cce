import { expect, it } from "vitest";
import { engineAddress, thisEngine } from "./engine.ts";

it.each([
  ["as the host gets it", ["node", "index.js", "127.0.0.1:41234"], "127.0.0.1:41234"],
  [
    "after the flags of a verbose engine",
    ["node", "index.js", "--logtostderr", "-v=9", "--tracing", "http://127.0.0.1:9411/", "127.0.0.1:41234"],
    "127.0.0.1:41234",
  ],
  ["not in another program's arguments", ["node", "cli.js", "doctor", "--address", "pool.example"], undefined],
  ["not where there are none", ["node"], undefined],
])("the engine's address is found %s", (_, argv, expected) => {
  expect(engineAddress(argv)).toBe(expected);
});

it("a process without an engine works on, and what it says goes nowhere", async () => {
  const engine = thisEngine();
  engine.log({ severity: "info", message: "nobody hears this", ephemeral: true });
  await engine.flush();
  expect(await engine.during(Promise.resolve(7))).toBe(7);
  expect(engine.signal.aborted).toBe(false);
});
