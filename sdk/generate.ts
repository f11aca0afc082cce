// Writes the SDK's types and classes from the definitions: `npm run sdk` makes args.ts and resources.ts, which are committed and not edited.
// Promises: doc comments, defaults and optionality are the schemas' own; the text is formatted as the formatter would.
import { realpathSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type * as z from "zod";
import { layerVersion } from "../provider/layerVersion.ts";
import { resources } from "../provider/resources/index.ts";
import { functions } from "../provider/schema.ts";
import { type EnumShape, type ObjectShape, type Property, type Shape, Shapes } from "../provider/shapes.ts";

const WIDTH = 140;
const BY_HAND = "// Generated from the definitions in provider/ by sdk/generate.ts: `npm run sdk`. Not edited by hand.";

interface Read {
  type: string;
  description: string;
  inputs: Property[];
  /** Inputs, and what the provider adds. */
  all: Property[];
  made: Property[];
}

function readAll(): { shapes: Shapes; resources: Read[]; component: Read; functions: Read[] } {
  const shapes = new Shapes();
  const read = (type: string, description: string, from: { inputs: z.ZodObject; outputs: z.ZodObject }): Read => {
    const inputs = shapes.read(type, from.inputs);
    const made = shapes.read(type, from.outputs);
    return { type, description, inputs, made, all: [...inputs.filter(({ name }) => !made.some((other) => other.name === name)), ...made] };
  };
  return {
    resources: resources.map((resource) => read(resource.type, resource.description, resource)),
    component: read(layerVersion.type, layerVersion.description, layerVersion),
    functions: functions.map((fn) => read(fn.name, fn.description, fn)),
    shapes,
  };
}

/** sdk/args.ts: what classes and functions take, and the plain forms of what they give. */
export function argsText(): string {
  const { shapes, resources: list, component, functions: fns } = readAll();
  const blocks = [
    `${BY_HAND}\n/** What the classes and functions of this package take and give. */\nimport type * as pulumi from "@pulumi/pulumi";`,
    ...[...shapes.enums.values()].map(enumText),
    ...[...shapes.objects.values()].filter((shape) => isInput(shape.name, shapes, [...list, component, ...fns])).map(argsOf),
    ...[...shapes.objects.values()].map(plainOf),
    ...[...list, component].map(({ type, inputs }) => interfaceText(`Arguments of ${type}.`, `${type}Args`, inputs.map(argument))),
    ...fns.flatMap(({ type, inputs, made }) => {
      const name = type.charAt(0).toUpperCase() + type.slice(1);
      return [
        `${docText(`Arguments of ${type}.`, "")}\nexport type ${name}Args = pulumi.Unwrap<${name}OutputArgs>;`,
        interfaceText(`Arguments of ${type}Output.`, `${name}OutputArgs`, inputs.map(argument)),
        interfaceText(`Result of ${type}.`, `${name}Result`, made.map(plainProperty)),
      ];
    }),
  ];
  return `${blocks.join("\n\n")}\n`;
}

/** sdk/resources.ts: the classes of the resources, and which input of LayerVersion goes where. */
export function resourcesText(): string {
  const { shapes, resources: list } = readAll();
  const used = new Set(list.flatMap(({ all }) => all.flatMap(({ shape }) => names(shape))));
  const imports = [...used, ...list.map(({ type }) => `${type}Args`)].sort((a, b) => (a < b ? -1 : 1));
  const { parts, timeouts } = layerVersion;
  const constant = (doc: string, name: string, value: Readonly<Record<string, readonly string[]>>) =>
    [
      docText(doc, ""),
      `export const ${name} = {`,
      ...Object.entries(value).map(([key, list]) => `${listText(`  ${key}: `, list, "  ")},`),
      "} as const;",
    ].join("\n");
  return `${[
    [
      BY_HAND,
      "/** The resource classes. */",
      'import type * as pulumi from "@pulumi/pulumi";',
      importText(imports),
      'import { type ResourceShape, XenlayerResource } from "./dynamic.ts";',
    ].join("\n"),
    ...list.map((read) => classText(read, shapes)),
    constant("Which input of a LayerVersion goes to which of its parts.", "layerVersionParts", parts),
    constant("The same for its timeouts.", "layerVersionTimeouts", timeouts),
  ].join("\n\n")}\n`;
}

function classText({ type, description, inputs, all }: Read, shapes: Shapes): string {
  const given = new Set(inputs.flatMap(({ name, required }) => (required ? [name] : [])));
  const open = all.map(({ name }) => name).filter((name) => !given.has(name));
  const shape = `${type.charAt(0).toLowerCase()}${type.slice(1)}Shape`;
  const secrets = inputs.flatMap((property) => secretPaths(property, shapes)).map((path) => path.join("."));
  return [
    `const ${shape}: ResourceShape = {`,
    `  type: ${JSON.stringify(type)},`,
    `${listText("  outputs: ", open, "  ")},`,
    `${listText("  secrets: ", secrets, "  ")},`,
    "};",
    "",
    docText(description, ""),
    `export class ${type} extends XenlayerResource {`,
    ...all.flatMap((property) => [
      ...(property.description === "" ? [] : [docText(property.description, "  ")]),
      `  declare readonly ${property.name}: pulumi.Output<${plain(property.shape)}${property.always ? "" : " | undefined"}>;`,
    ]),
    "",
    `  constructor(name: string, args: ${type}Args, opts?: pulumi.CustomResourceOptions) {`,
    `    super(${shape}, name, args, opts);`,
    "  }",
    "}",
  ].join("\n");
}

function secretPaths({ name, shape, secret }: Property, shapes: Shapes): string[][] {
  if (secret) return [[name]];
  const inside = (inner: Shape): string[][] => {
    if (inner.kind === "array") return inside(inner.items).map((path) => ["*", ...path]);
    if (inner.kind !== "object") return [];
    return (shapes.objects.get(inner.name)?.properties ?? []).flatMap((property) => secretPaths(property, shapes));
  };
  return inside(shape).map((path) => [name, ...path]);
}

// Outputs alone have types of their own, which no program has to write.
function isInput(name: string, shapes: Shapes, all: Read[]): boolean {
  const reachable = new Set<string>();
  const walk = (shape: Shape): void => {
    for (const inner of names(shape)) {
      if (reachable.has(inner)) continue;
      reachable.add(inner);
      for (const property of shapes.objects.get(inner)?.properties ?? []) walk(property.shape);
    }
  };
  for (const { inputs } of all) for (const { shape } of inputs) walk(shape);
  return reachable.has(name);
}

function names(shape: Shape): string[] {
  if (shape.kind === "enum" || shape.kind === "object") return [shape.name];
  if (shape.kind === "array") return names(shape.items);
  if (shape.kind === "map") return names(shape.values);
  return shape.kind === "union" ? shape.of.flatMap(names) : [];
}

const argsOf = ({ name, description, properties }: ObjectShape): string =>
  interfaceText(description, `${name}Args`, properties.map(argument));
const plainOf = ({ name, description, properties }: ObjectShape): string => interfaceText(description, name, properties.map(plainProperty));

interface Member {
  doc: string;
  line: string;
}

const argument = ({ name, shape, description, required }: Property): Member => ({
  doc: description,
  line: required ? `${name}: pulumi.Input<${input(shape)}>;` : `${name}?: pulumi.Input<${input(shape)} | undefined>;`,
});

const plainProperty = ({ name, shape, description, always }: Property): Member => ({
  doc: description,
  line: always ? `${name}: ${plain(shape)};` : `${name}?: ${plain(shape)} | undefined;`,
});

function input(shape: Shape): string {
  switch (shape.kind) {
    case "array":
      return `pulumi.Input<${input(shape.items)}>[]`;
    case "map":
      return `Record<string, pulumi.Input<${input(shape.values)}>>`;
    case "union":
      return shape.of.map(input).join(" | ");
    case "object":
      return `${shape.name}Args`;
    default:
      return scalar(shape);
  }
}

function plain(shape: Shape): string {
  switch (shape.kind) {
    case "array":
      return `${shape.items.kind === "union" ? `(${plain(shape.items)})` : plain(shape.items)}[]`;
    case "map":
      return `Record<string, ${plain(shape.values)}>`;
    case "union":
      return shape.of.map(plain).join(" | ");
    case "object":
      return shape.name;
    default:
      return scalar(shape);
  }
}

function scalar(shape: Shape): string {
  if (shape.kind === "enum") return shape.name;
  if (shape.kind === "integer") return "number";
  return shape.kind === "any" ? "unknown" : shape.kind;
}

function interfaceText(doc: string, name: string, members: Member[]): string {
  const body = members.flatMap((member) => [...(member.doc === "" ? [] : [docText(member.doc, "  ")]), `  ${member.line}`]);
  return [...(doc === "" ? [] : [docText(doc, "")]), `export interface ${name} {`, ...body, "}"].join("\n");
}

function enumText({ name, values }: EnumShape): string {
  const literals = values.map((value) => JSON.stringify(value));
  const line = `export type ${name} = ${literals.join(" | ")};`;
  return line.length <= WIDTH ? line : `export type ${name} =\n${literals.map((literal) => `  | ${literal}`).join("\n")};`;
}

function docText(text: string, indent: string): string {
  const line = `${indent}/** ${text} */`;
  if (line.length <= WIDTH) return line;
  const lines: string[] = [];
  let current = "";
  for (const word of text.split(" ")) {
    if (`${indent} * ${current} ${word}`.length > WIDTH) {
      lines.push(current);
      current = word;
    } else current = current === "" ? word : `${current} ${word}`;
  }
  return [`${indent}/**`, ...[...lines, current].map((part) => `${indent} * ${part}`), `${indent} */`].join("\n");
}

const importText = (imports: string[]): string => {
  const line = `import type { ${imports.join(", ")} } from "./args.ts";`;
  return line.length <= WIDTH ? line : `import type {\n${imports.map((name) => `  ${name},`).join("\n")}\n} from "./args.ts";`;
};

function listText(before: string, list: readonly string[], indent: string): string {
  const items = list.map((item) => JSON.stringify(item));
  const line = `${before}[${items.join(", ")}]`;
  return line.length < WIDTH ? line : `${before}[\n${items.map((item) => `${indent}  ${item},`).join("\n")}\n${indent}]`;
}

// Run, not imported: from dist/sdk/generate.js of a checkout.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const sdk = join(dirname(dirname(dirname(realpathSync(process.argv[1])))), "sdk");
  await writeFile(join(sdk, "args.ts"), argsText());
  await writeFile(join(sdk, "resources.ts"), resourcesText());
}
