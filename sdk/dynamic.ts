// What all resource classes of this package are: dynamic resources whose provider is a constant text that loads the package when it runs.
// So the state holds no code that could grow old and no secret: a later release of the package works on what an earlier one made.
import * as pulumi from "@pulumi/pulumi";

const MODULE = "xenlayer";

/** What a class knows of its resource beyond its types; generated. */
export interface ResourceShape {
  /** The name in Pulumi's schema: `OsLayer`. */
  type: string;
  /** Properties that the provider sets, always or where a program leaves them out. */
  outputs: readonly string[];
  /** Paths of secrets, as `connector.password`; `*` stands for each element of a list. */
  secrets: readonly string[];
}

export abstract class XenlayerResource extends pulumi.dynamic.Resource {
  protected constructor(shape: ResourceShape, name: string, args: object, opts: pulumi.CustomResourceOptions = {}) {
    const given: pulumi.Inputs = { ...args };
    for (const path of shape.secrets.map((secret) => secret.split("."))) {
      // A secret inside a list makes the engine hide the whole list, and reviewers see no step of it. There the provider's check marks the
      // secrets alone, before anything is stored; what is read by id sees no check.
      const mark =
        path.includes("*") && opts.id === undefined
          ? (value: unknown) => pulumi.unsecret(pulumi.output(value))
          : (value: unknown) => pulumi.secret(value);
      Object.assign(given, marked(given, path, mark));
    }
    // Outputs must be declared, or the class never gets them.
    const outputs = Object.fromEntries(shape.outputs.map((output) => [output, undefined]));
    // The provider's hint for status lines. As a promise: an Output would make this resource depend on its parent, and a component waits for
    // its children.
    const urn = pulumi.createUrn(name, `pulumi-nodejs:dynamic/${MODULE}:${shape.type}`, opts.parent);
    const hints = { __urn: (urn as unknown as { promise(): Promise<string> }).promise() };
    const secrets = shape.secrets.filter((path) => !path.includes("."));
    super(
      providerOf(shape.type),
      name,
      { ...outputs, ...given, ...hints },
      secrets.length === 0 ? opts : pulumi.mergeOptions(opts, { additionalSecretOutputs: secrets }),
      MODULE,
      shape.type,
    );
  }
}

const providers = new Map<string, pulumi.dynamic.ResourceProvider>();

/** One object a type: Pulumi serialises each object once. */
export function providerOf(type: string): pulumi.dynamic.ResourceProvider {
  const known = providers.get(type);
  if (known !== undefined) return known;
  const made = thin(type);
  providers.set(type, made);
  return made;
}

// Pulumi stores this text twice with every resource, and shows an update of every resource when it changes: small, and left alone.
// The host calls configure before anything else but doesn't wait for it before other calls, so all it does is done when it returns.
// `import` is hidden in a Function because TypeScript would turn it into `require` in CommonJS programs; it resolves from the program's folder.
function thin(type: string): pulumi.dynamic.ResourceProvider {
  const provider = {
    configure(this: Record<string, unknown>, request: pulumi.dynamic.ConfigureRequest) {
      const load = () => new Function("name", "return import(name)")("pulumi-xenlayer/provider");
      for (const method of ["check", "diff", "create", "read", "update", "delete"])
        this[method] = async (...values: unknown[]) => (await load()).dynamicProvider(type, request.config)[method](...values);
      return Promise.resolve();
    },
  };
  // The other methods exist once configure has run.
  return provider as unknown as pulumi.dynamic.ResourceProvider;
}

/** The value with what lies at the path marked, however deep in promises and outputs it lies. */
function marked(value: unknown, path: readonly string[], mark: (value: unknown) => unknown): unknown {
  const [key, ...rest] = path;
  if (value === undefined || value === null) return value;
  if (key === undefined) return mark(value);
  if (pulumi.Output.isInstance(value) || value instanceof Promise)
    return pulumi.output(value).apply((known: unknown) => pulumi.output(marked(known, path, mark)));
  if (Array.isArray(value)) return key === "*" ? value.map((item) => marked(item, rest, mark)) : value;
  if (typeof value !== "object" || !(key in value)) return value;
  return { ...value, [key]: marked((value as Record<string, unknown>)[key], rest, mark) };
}
