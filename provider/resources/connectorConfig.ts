// ConnectorConfig: where layers are built. Creating it tests everything the other resources will need, and reports all findings at once.
import { randomBytes } from "node:crypto";
import * as z from "zod";
import { connectorShape } from "../connector.ts";
import { type ConnectorFacts, type ConnectorSettings, leftProbes, testConnector } from "../connectorTest.ts";
import { ConflictError, InputError } from "../errors.ts";
import { claims } from "../layer/claim.ts";
import { collect } from "../layer/collect.ts";
import { hasOwnUuid, isOurs, marksOf } from "../layer/marks.ts";
import { LayerRecord } from "../layer/record.ts";
import { bearsMeta } from "../layer/recordKeys.ts";
import { type Context, defineResource, type Known } from "../resource.ts";
import { connectFor } from "../session.ts";

export const inputs = z.object({
  ...connectorShape,
  connectorId: z
    .string()
    .regex(/^[0-9a-f]{32}$/, "32 hexadecimal digits")
    .optional()
    .describe("The id of an earlier connector whose layers are taken over, e.g. after a lost state; default: a new one."),
});

export const outputs = z.object({
  connectorId: z.string().describe("The owner of everything made through this connector."),
  pool: z.string().describe("uuid of the pool."),
  product: z.string().describe("Product and version, as `XenServer 8.4.0`."),
  apiVersion: z.string().describe("XAPI's version, as `2.21`."),
  coordinator: z.string().describe("name_label of the pool's coordinator."),
  templateUuid: z.string().describe("uuid of the template."),
  storageRepositoryUuid: z.string().describe("uuid of the storage repository."),
  networkUuid: z.string().optional().describe("uuid of the network."),
  toolsIsoUuid: z.string().optional().describe("uuid of the tools ISO."),
  capabilities: z.array(z.string()).describe("What pool and account allow beyond the least: resize, snapshot-console, …"),
});

type Inputs = z.output<typeof inputs>;

export const connectorConfig = defineResource(connectFor, {
  type: "ConnectorConfig",
  description:
    "Where layers are built or published: a pool, an account, a template and a storage repository. Creating it tests all of them, down to a disk that is written and read back.",
  inputs,
  outputs,

  async examine(ctx, want) {
    const { connectorId: _, ...settings } = want;
    if (!complete(settings)) return { failures: [] };
    ctx.report("testing the connector");
    const { findings } = await testConnector(ctx, settings);
    for (const { severity, property, message } of findings) if (severity === "warning") ctx.warn(`${property}: ${message}`);
    ctx.report(findings.filter(({ severity }) => severity === "ok").map(({ message }) => message)[0] ?? "");
    return {
      failures: findings.filter(({ severity }) => severity === "error").map(({ property, message }) => ({ property, reason: message })),
    };
  },

  // Nothing here replaces: a connector is only how the pool is reached, what was made through it is told by its connectorId.
  diff: async (_ctx, _id, old, want) => (want.connectorId !== undefined && want.connectorId !== old.connectorId ? { changes: true } : {}),

  async create(ctx, wanted) {
    const connectorId = wanted.connectorId ?? randomBytes(16).toString("hex");
    return { id: connectorId, outputs: await tested(ctx, wanted, connectorId) };
  },

  async read(ctx, _id, state) {
    const xapi = await ctx.connect(state);
    const { pool, product: _product, ...facts } = pick(state);
    return {
      ...facts,
      pool,
      product: `${xapi.pool.productBrand} ${xapi.pool.productVersion}`.trim(),
      coordinator: xapi.pool.coordinator.name,
    };
  },

  async update(ctx, _id, old, wanted) {
    if (wanted.connectorId !== undefined && wanted.connectorId !== old.connectorId)
      throw new InputError([
        { property: "connectorId", reason: "can't be changed: it owns what was made through this connector; make another ConnectorConfig" },
      ]);
    return await tested(ctx, wanted, old.connectorId);
  },

  async delete(ctx, _id, state) {
    const connector = state.connectorId;
    const xapi = await ctx.connect(state);
    // What killed runs left behind before any state knew of it: the next run would take it away, and there is none.
    const { failed } = await collect(ctx, xapi, [connector]);
    // Everywhere: the connector may have been given another storage repository since.
    const vdis = await xapi.all("VDI");
    const layers = LayerRecord.among(xapi, vdis).filter((layer) => layer.meta.connectorId === connector);
    const named = new Map(layers.map((layer) => [layer.vdi.uuid, `layer "${layer.meta.name}"`]));
    for (const { thing, problem } of failed) named.set(problem, `what a killed run left, a ${thing.what} (${problem})`);
    for (const vdi of vdis) {
      if (isOurs(vdi, { connector, role: "layer" }) && !bearsMeta(vdi) && claims(xapi, vdi))
        named.set(vdi.uuid, `"${vdi.name_label}", which a run is making`);
      // Bound marks only: a copy that somebody made of one of our disks is theirs.
      if (isOurs(vdi, { connector, role: "disk" }) && hasOwnUuid(vdi) && !layers.some(({ layerId }) => layerId === marksOf(vdi)?.layer))
        named.set(vdi.uuid, `disk "${vdi.name_label}" (${vdi.uuid})`);
    }
    for (const left of leftProbes(vdis, connector)) await xapi.destroy("VDI", left.$ref);
    if (named.size === 0) return;
    const names = [...named.values()];
    throw new ConflictError(
      `the connector is not deleted: what was made through it exists: ${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`,
      {
        hint: "destroy the layers first; what a lost state left is taken over by a ConnectorConfig with this connectorId; where another stack has taken them over, `pulumi state delete` this connector",
      },
    );
  },
});

async function tested(ctx: Context, wanted: Inputs, connectorId: string): Promise<z.output<typeof outputs>> {
  ctx.report("testing the connector, with a probe disk");
  const { findings, facts, capabilities } = await testConnector(ctx, wanted, { probe: true, connectorId });
  const failures = findings.filter(({ severity }) => severity === "error").map(({ property, message }) => ({ property, reason: message }));
  if (failures.length > 0) throw new InputError(failures, { hint: "`npx xenlayer doctor` shows all findings" });
  // No error means that every fact was found.
  return { ...(facts as ConnectorFacts), connectorId, capabilities };
}

const complete = (settings: Known<ConnectorSettings>): settings is ConnectorSettings =>
  settings.address !== undefined && settings.template !== undefined && settings.storageRepository !== undefined;

function pick(state: z.output<typeof outputs>): z.output<typeof outputs> {
  const names = Object.keys(outputs.shape) as (keyof z.output<typeof outputs>)[];
  return Object.fromEntries(names.flatMap((name) => (state[name] === undefined ? [] : [[name, state[name]]]))) as z.output<typeof outputs>;
}
