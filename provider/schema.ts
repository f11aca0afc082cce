// Pulumi's package schema, generated from the zod schemas: `npm run schema` prints it, schema.json is what it printed last.
// Promises: nothing stands here that stands in a definition already; the text depends on the definitions alone (no version, no date).
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as z from "zod";
import { functionInputs, layerInfo, versionInfo, versionReport } from "./functions.ts";
import { layerVersion } from "./layerVersion.ts";
import { resources } from "./resources/index.ts";
import { type Property, type Shape, Shapes } from "./shapes.ts";

const PACKAGE = "xenlayer";
const token = (name: string): string => `${PACKAGE}:index:${name}`;

/** The functions, for all that is generated. */
export const functions: readonly { name: keyof typeof functionInputs; description: string; inputs: z.ZodObject; outputs: z.ZodObject }[] = [
  {
    name: "getLayer",
    description: "A layer as its record tells it now, by name or by id.",
    inputs: functionInputs.getLayer,
    outputs: layerInfo,
  },
  {
    name: "getLayerVersions",
    description: "The versions of a layer as they are now, in the order in which they were sealed.",
    inputs: functionInputs.getLayerVersions,
    outputs: z.object({ versions: z.array(versionInfo).describe("The versions.") }),
  },
  {
    name: "getVersionReport",
    description: "The whole finalize report of a sealed version, judged again from the evidence that is kept with it.",
    inputs: functionInputs.getVersionReport,
    outputs: versionReport,
  },
];

/** Where programs find the account of a pool when the connector doesn't say it. */
const config = {
  username: {
    type: "string",
    description: "Account on the pool, for connectors that name none.",
    defaultInfo: { environment: ["XENLAYER_USERNAME"] },
  },
  password: {
    type: "string",
    description: "Its password, for connectors that name none.",
    secret: true,
    defaultInfo: { environment: ["XENLAYER_PASSWORD"] },
  },
};

type Json = Record<string, unknown>;

export function packageSchema(): Json {
  const shapes = new Shapes();
  const resourceOf = (definition: { type: string; description: string; inputs: z.ZodObject; outputs: z.ZodObject }): Json => {
    const inputs = shapes.read(definition.type, definition.inputs);
    const made = shapes.read(definition.type, definition.outputs);
    const all = [...inputs.filter(({ name }) => !made.some((other) => other.name === name)), ...made];
    return {
      description: definition.description,
      ...object(all, ({ always }) => always),
      inputProperties: object(inputs, ({ required }) => required).properties,
      requiredInputs: object(inputs, ({ required }) => required).required,
    };
  };
  const entries = [
    ...resources.map((resource): [string, Json] => [token(resource.type), resourceOf(resource)]),
    [token(layerVersion.type), { isComponent: true, ...resourceOf(layerVersion) }] as [string, Json],
  ];
  const functionEntries = functions.map(({ name, description, inputs, outputs }): [string, Json] => [
    token(name),
    {
      description,
      inputs: { type: "object", ...object(shapes.read(name, inputs), ({ required }) => required) },
      outputs: { type: "object", ...object(shapes.read(name, outputs), ({ always }) => always) },
    },
  ]);
  const types = [
    ...[...shapes.objects.values()].map(({ name, description, properties }): [string, Json] => [
      token(name),
      { type: "object", ...(description === "" ? {} : { description }), ...object(properties, ({ required }) => required) },
    ]),
    ...[...shapes.enums.values()].map(({ name, values }): [string, Json] => [
      token(name),
      { type: "string", enum: values.map((value) => ({ value })) },
    ]),
  ];
  return {
    $schema: "https://raw.githubusercontent.com/pulumi/pulumi/master/pkg/codegen/schema/pulumi.json",
    name: PACKAGE,
    displayName: "xenlayer",
    description: "App Layering platform layers on XenServer as code: layer versions are built, checked and sealed straight on XAPI.",
    keywords: ["pulumi", "xenserver", "xcp-ng", "xapi", "app-layering", "category/infrastructure", "kind/native"],
    license: "Apache-2.0",
    meta: { moduleFormat: "(.*)" },
    config: { variables: config },
    provider: { description: "Where the account of a pool comes from when a connector names none.", inputProperties: config },
    types: sorted(types),
    resources: sorted(entries),
    functions: sorted(functionEntries),
    language: {
      nodejs: { packageName: "pulumi-xenlayer-sdk", respectSchemaVersion: true },
      python: { packageName: "pulumi_xenlayer", pyproject: { enabled: true }, respectSchemaVersion: true },
      go: { generateResourceContainerTypes: true, respectSchemaVersion: true },
      csharp: { rootNamespace: "Pulumi", respectSchemaVersion: true },
      java: { basePackage: "com.pulumi", buildFiles: "gradle" },
    },
  };
}

function object(properties: Property[], required: (property: Property) => boolean): { properties: Json; required: string[] } {
  return {
    properties: sorted(properties.map((property): [string, Json] => [property.name, typed(property)])),
    required: properties
      .filter(required)
      .map(({ name }) => name)
      .sort(),
  };
}

function typed({ shape, description, secret, replaces, default: fallback }: Property): Json {
  return {
    ...schemaType(shape),
    ...(description === "" ? {} : { description }),
    ...(fallback === undefined ? {} : { default: fallback }),
    ...(secret ? { secret: true } : {}),
    ...(replaces ? { willReplaceOnChanges: true } : {}),
  };
}

function schemaType(shape: Shape): Json {
  switch (shape.kind) {
    case "array":
      return { type: "array", items: schemaType(shape.items) };
    case "map":
      return { type: "object", additionalProperties: schemaType(shape.values) };
    case "union":
      return { oneOf: shape.of.map(schemaType) };
    case "enum":
    case "object":
      return { $ref: `#/types/${token(shape.name)}` };
    case "any":
      return { $ref: "pulumi.json#/Any" };
    default:
      return { type: shape.kind };
  }
}

const sorted = (entries: [string, Json][]): Json => Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));

export const schemaText = (): string => `${JSON.stringify(packageSchema(), null, 2)}\n`;

// Run, not imported.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) process.stdout.write(schemaText());
