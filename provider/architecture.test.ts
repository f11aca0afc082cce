// What may know what. A change here is a decision: the snapshots say who imports the parts that are to be replaceable.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const checkout = dirname(dirname(fileURLToPath(import.meta.url)));

interface Import {
  file: string;
  /** A package, or a path from the checkout's root. */
  target: string;
  kind: "static" | "types" | "at run time";
}

// As git knows them: what is ignored or not yet added is nobody's architecture.
const files = execFileSync("git", ["ls-files", "provider", "sdk", "simulator"], { cwd: checkout, encoding: "utf8" })
  .split("\n")
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"));
const isTest = (file: string): boolean => /(\.test|\/testing\w*)\.ts$|\/testing\//.test(file);

const STATEMENT = /^(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm;
const CALL = /(?:import|require|load|loadTheirs)\(\s*"([^"]+)"\s*\)/g;
const imports: Import[] = files
  .filter((file) => !isTest(file))
  .flatMap((file) => {
    const text = readFileSync(join(checkout, file), "utf8");
    const target = (name: string): string => (name.startsWith(".") ? join(dirname(file), name) : name);
    return [
      ...[...text.matchAll(STATEMENT)].map(
        ([, type, name = ""]): Import => ({ file, target: target(name), kind: type ? "types" : "static" }),
      ),
      ...[...text.matchAll(CALL)].map(([, name = ""]): Import => ({ file, target: target(name), kind: "at run time" })),
    ];
  });

const of = (name: string) => (target: string) => target === name || target.startsWith(`${name}/`);
const importers = (name: string): string[] => [...new Set(imports.filter(({ target }) => of(name)(target)).map(({ file }) => file))].sort();

it("sees the imports that there are", () => {
  expect(imports.length).toBeGreaterThan(300);
  expect(importers("node:crypto").length).toBeGreaterThan(3);
});

it("xen-api is known to the client alone", () => {
  expect(importers("xen-api")).toEqual(["provider/xapi/client.ts"]);
});

it("Pulumi's SDK is known to ours, its protocol to what talks to the engine", () => {
  expect(importers("@pulumi/pulumi").filter((file) => !file.startsWith("sdk/"))).toEqual(["provider/engine.ts"]);
  expect(importers("@grpc/grpc-js")).toEqual(["provider/engine.ts"]);
});

it("no other package is imported than these, and the special ones by few", () => {
  const packages = [...new Set(imports.map(({ target }) => target))]
    .filter((target) => !/^(node:|provider\/|sdk\/|simulator\/)/.test(target))
    .map((target) =>
      target
        .split("/")
        .slice(0, target.startsWith("@") ? 2 : 1)
        .join("/"),
    );
  expect([...new Set(packages)].sort()).toEqual(["@grpc/grpc-js", "@pulumi/pulumi", "js-fatfs", "ssh2", "undici", "xen-api", "zod"]);
  expect(importers("undici")).toEqual(["provider/xapi/transport.ts"]);
  expect(importers("ssh2")).toEqual(["provider/ssh.ts"]);
  expect(importers("js-fatfs").filter((file) => file.startsWith("provider/"))).toEqual(["provider/guest/fat.ts"]);
});

it("resources don't import one another", () => {
  const inside = imports.filter(({ file, target }) => /^provider\/resources\//.test(file) && /^provider\/resources\//.test(target));
  expect(inside.filter(({ file }) => file !== "provider/resources/index.ts")).toEqual([]);
});

it("provider and simulator know nothing of each other", () => {
  const across = imports.filter(
    ({ file, target }) =>
      (file.startsWith("simulator/") && /^(provider|sdk)\//.test(target)) ||
      (/^(provider|sdk)\//.test(file) && target.startsWith("simulator/")),
  );
  expect(across).toEqual([]);
});

it("the provider knows nothing of the SDK, which loads the provider only when it is needed", () => {
  expect(imports.filter(({ file, target }) => file.startsWith("provider/") && target.startsWith("sdk/"))).toEqual([]);
  // The generator is no part of what programs load.
  const loads = imports.filter(
    ({ file, target, kind }) =>
      file.startsWith("sdk/") && file !== "sdk/generate.ts" && target.startsWith("provider/") && kind === "static",
  );
  expect(loads).toEqual([]);
});

it("the core knows no front: nobody imports the dynamic front but the entry point", () => {
  expect(importers("provider/dynamic.ts")).toEqual(["provider/index.ts"]);
  expect(importers("provider/engine.ts")).toEqual(["provider/dynamic.ts"]);
});
