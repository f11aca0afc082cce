import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { argsText, resourcesText } from "./generate.ts";

it.each([
  ["args.ts", argsText],
  ["resources.ts", resourcesText],
])("%s is what the definitions generate", async (file, generate) => {
  expect(await readFile(new URL(file, import.meta.url), "utf8")).toBe(generate());
});
