import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { resources } from "./resources/index.ts";
import { packageSchema, schemaText } from "./schema.ts";

const checkout = dirname(dirname(fileURLToPath(import.meta.url)));

interface Described {
  description?: string;
  secret?: boolean;
  willReplaceOnChanges?: boolean;
}
interface ObjectSchema {
  properties: Record<string, Described>;
  required: string[];
}
interface PackageSchema {
  types: Record<string, ObjectSchema | { enum: { value: string }[] }>;
  resources: Record<
    string,
    ObjectSchema & Described & { inputProperties: Record<string, Described>; requiredInputs: string[]; isComponent?: boolean }
  >;
  functions: Record<string, Described & { inputs: ObjectSchema; outputs: ObjectSchema }>;
  config: { variables: Record<string, Described> };
}
const schema = packageSchema() as unknown as PackageSchema;
const of = (name: string) => {
  const found = schema.resources[`xenlayer:index:${name}`];
  if (found === undefined) throw new Error(`no ${name} in the schema`);
  return found;
};

describe("schema.json", () => {
  it("is what the definitions generate", async () => {
    expect(await readFile(join(checkout, "schema.json"), "utf8")).toBe(schemaText());
  });

  it("is accepted by Pulumi", async () => {
    const check = promisify(execFile)(join(checkout, ".ci/env"), ["pulumi", "schema", "check", join(checkout, "schema.json")]);
    const { stdout, stderr } = await check;
    expect(stdout + stderr).not.toMatch(/error|warning/i);
  });

  it("has every resource, and LayerVersion as a component", () => {
    const names = [...resources.map(({ type }) => type), "LayerVersion"].map((name) => `xenlayer:index:${name}`);
    expect(Object.keys(schema.resources)).toEqual(names.sort());
    expect(of("LayerVersion").isComponent).toBe(true);
    expect(Object.keys(schema.functions)).toEqual(
      ["getLayer", "getLayerVersions", "getVersionReport"].map((name) => `xenlayer:index:${name}`),
    );
  });

  it("describes every resource, function and property", () => {
    const silent: string[] = [];
    const look = (path: string, properties: Record<string, Described>) => {
      for (const [name, { description }] of Object.entries(properties)) if (description === undefined) silent.push(`${path}.${name}`);
    };
    for (const [token, resource] of Object.entries(schema.resources)) {
      if (resource.description === undefined) silent.push(token);
      look(token, resource.properties);
      look(`${token} (inputs)`, resource.inputProperties);
    }
    for (const [token, { description, inputs, outputs }] of Object.entries(schema.functions)) {
      if (description === undefined) silent.push(token);
      look(`${token} (inputs)`, inputs.properties);
      look(token, outputs.properties);
    }
    expect(silent).toEqual([]);
  });

  it("marks what is secret and what replaces", () => {
    const flagged = (properties: Record<string, Described>, flag: "secret" | "willReplaceOnChanges") =>
      Object.entries(properties).flatMap(([name, property]) => (property[flag] ? [name] : []));
    expect(flagged(of("ConnectorConfig").inputProperties, "secret")).toEqual(["password"]);
    expect(flagged(schema.config.variables, "secret")).toEqual(["password"]);
    for (const name of ["Connector", "Step"]) {
      const type = schema.types[`xenlayer:index:${name}`] as ObjectSchema;
      expect(flagged(type.properties, "secret")).toEqual(name === "Step" ? ["secretEnv"] : ["password"]);
    }
    expect(flagged(of("PackagingDisk").inputProperties, "willReplaceOnChanges")).toEqual(["layer"]);
  });

  it("requires of a program what has no default, and promises what has one", () => {
    expect(of("PlatformLayer").requiredInputs).toEqual(["connector", "name", "osLayer", "platform", "purpose"]);
    expect(of("PlatformLayer").required).toContain("description");
    expect(of("LayerVersion").requiredInputs).toEqual(["connector", "layer", "version"]);
  });
});
