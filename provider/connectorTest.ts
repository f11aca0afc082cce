// The connector's test: everything the other resources will need of a pool, found out at once, each finding by property path.
// Used by ConnectorConfig (check and create) and by `xenlayer doctor`. It changes nothing, but for a probe disk where that is asked for.
import { randomBytes } from "node:crypto";
import type * as z from "zod";
import { type connectorShape, isoOf, networkOf, storageOf, templateOf } from "./connector.ts";
import { explain, InputError, XapiError } from "./errors.ts";
import { isDead, leaseIn, newLease } from "./layer/holder.ts";
import { isOurs, isOutgrown, MADE, marksFor, marksOf } from "./layer/marks.ts";
import type { Context } from "./resource.ts";
import type { Xapi } from "./xapi/client.ts";
import { CERTIFICATE_REFUSED } from "./xapi/codes.ts";
import type { Rec } from "./xapi/records.ts";

export interface Finding {
  property: string;
  severity: "error" | "warning" | "ok";
  message: string;
}

export interface ConnectorFacts {
  pool: string;
  product: string;
  apiVersion: string;
  coordinator: string;
  templateUuid: string;
  storageRepositoryUuid: string;
  networkUuid?: string;
  toolsIsoUuid?: string;
}

export type ConnectorSettings = z.output<z.ZodObject<typeof connectorShape>>;

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const PROBE_SIZE = 2 * MiB;
/** Less than this is an error: not even a small layer fits. */
const LEAST_FREE = GiB;
const LITTLE_FREE = 20 * GiB;

// vm-admin has them all, vm-operator lacks them (datamodel roles; xapi.md 4). In lower case, as XAPI names permissions.
const NEEDED = [
  "vdi.create",
  "vdi.clone",
  "vdi.copy",
  "vdi.resize",
  "vdi.destroy",
  "vdi.add_to_other_config",
  "vdi.set_name_label",
  "vm.clone",
  "vm.set_is_a_template",
  "vm.set_other_config",
  "vm.set_xenstore_data",
  "vm.start",
  "vm.destroy",
  "vbd.create",
  "http/put_import_raw_vdi",
  "http/get_export_raw_vdi",
];
const OPTIONAL: readonly { capability: string; permission: string; for: string }[] = [
  { capability: "memory", permission: "vm.set_memory_limits", for: "memoryGiB of packaging machines (vm-power-admin)" },
  { capability: "consoleScreenshot", permission: "http/get_vncsnapshot", for: "console screenshots of timeouts" },
];

export async function testConnector(
  ctx: Context,
  settings: ConnectorSettings,
  options: { probe?: boolean; connectorId?: string } = {},
): Promise<{ findings: Finding[]; facts: Partial<ConnectorFacts>; capabilities: string[] }> {
  const findings: Finding[] = [];
  const facts: Partial<ConnectorFacts> = {};
  const say = (severity: Finding["severity"], property: string, message: string) => findings.push({ property, severity, message });
  const attempt = async <T>(property: string, look: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await look();
    } catch (error) {
      if (error instanceof InputError) for (const failure of error.failures) say("error", failure.property, failure.reason);
      else say("error", property, explain(error));
      return undefined;
    }
  };

  const xapi = await attempt("address", () => ctx.connect(settings).catch((error: unknown) => Promise.reject(byProperty(error))));
  if (xapi === undefined) return { findings, facts, capabilities: [] };
  const { pool } = xapi;
  facts.pool = pool.uuid;
  facts.product = `${pool.productBrand} ${pool.productVersion}`.trim();
  facts.apiVersion = pool.apiVersion;
  facts.coordinator = pool.coordinator.name;
  say("ok", "address", `${facts.product}, API ${facts.apiVersion}, coordinator ${facts.coordinator}`);

  const session = await attempt("username", () => xapi.session());
  const may = (permission: string) => session?.is_local_superuser === true || session?.rbac_permissions.includes(permission) === true;
  if (session !== undefined) {
    const lacking = NEEDED.filter((permission) => !may(permission));
    if (lacking.length > 0)
      say("error", "username", `the account's role lacks ${lacking.join(", ")}: vm-admin is the least role that works`);
    else say("ok", "username", session.is_local_superuser ? "local superuser" : "the account's role has every permission that is needed");
  }
  const capabilities = OPTIONAL.filter(({ permission }) => may(permission)).map(({ capability }) => capability);
  for (const { permission, for: purpose } of OPTIONAL)
    if (session !== undefined && !may(permission)) say("warning", "username", `without ${permission}: no ${purpose}`);

  const template = await attempt("template", () => templateOf(xapi, settings));
  if (template !== undefined) {
    facts.templateUuid = template.uuid;
    const problems = await templateFindings(xapi, template);
    for (const problem of problems) say("error", "template", `template "${template.name_label}" ${problem}`);
    if (problems.length === 0) say("ok", "template", `"${template.name_label}": no disk, ${template.VIFs.length} network card(s)`);
  }

  const sr = await attempt("storageRepository", () => storageOf(xapi, settings));
  if (sr !== undefined) {
    facts.storageRepositoryUuid = sr.uuid;
    const free = sr.physical_size - sr.physical_utilisation;
    const text = `"${sr.name_label}" (${sr.type}): ${Math.floor(free / GiB)} GiB of ${Math.floor(sr.physical_size / GiB)} GiB free`;
    const attached = (await xapi.find("PBD", { SR: sr.$ref })).some((pbd) => pbd.currently_attached);
    if (!attached) say("error", "storageRepository", `"${sr.name_label}" is attached to no host: plug its PBD`);
    else if (free < LEAST_FREE) say("error", "storageRepository", `${text}: too little for any layer`);
    else say(free < LITTLE_FREE ? "warning" : "ok", "storageRepository", text);
  }

  if (settings.network !== undefined) {
    const network = await attempt("network", () => networkOf(xapi, settings.network as string));
    if (network !== undefined) {
      facts.networkUuid = network.uuid;
      say("ok", "network", `"${network.name_label}"`);
    }
  }
  if (settings.toolsIso !== undefined) {
    const iso = await attempt("toolsIso", () => isoOf(xapi, "toolsIso", settings.toolsIso as string));
    if (iso !== undefined) {
      facts.toolsIsoUuid = iso.uuid;
      say("ok", "toolsIso", `"${iso.name_label}"`);
    }
  }
  if (options.probe === true && sr !== undefined && !findings.some(({ severity }) => severity === "error")) {
    const done = await attempt("storageRepository", () => probe(ctx, xapi, sr, options.connectorId ?? "doctor"));
    if (done === true) say("ok", "storageRepository", "a probe disk was written, read back, compared and removed");
  }
  return { findings, facts, capabilities };
}

async function templateFindings(xapi: Xapi, template: Rec<"VM">): Promise<string[]> {
  const problems: string[] = [];
  const disks = template.VBDs.length === 0 ? [] : (await xapi.find("VBD", { VM: template.$ref })).filter((vbd) => vbd.type === "Disk");
  // App Layering's InvalidVmTemplate: a disk of the template would come along with every clone.
  if (disks.length > 0) problems.push(`has ${disks.length === 1 ? "a disk" : `${disks.length} disks`}: remove it, layers bring their own`);
  if (/<disk\b/.test(template.other_config.disks ?? ""))
    problems.push("makes a disk when it is provisioned (other_config:disks): remove that key");
  if (template.VIFs.length === 0) problems.push("has no network card: add one");
  if (template.ha_restart_priority !== "" && (await xapi.all("pool"))[0]?.ha_enabled)
    problems.push(
      `has the HA restart priority "${template.ha_restart_priority}": HA would restart packaging machines that power themselves off`,
    );
  return problems;
}

/** Probe disks that killed runs left: this connector's, a dead process's, and any that has been there for longer than a probe lives. */
export const leftProbes = (vdis: readonly Rec<"VDI">[], connectorId: string): Rec<"VDI">[] =>
  vdis.filter((vdi) => isOurs(vdi, { role: "probe" }) && (marksOf(vdi)?.connector === connectorId || isOrphan(vdi) || isOutgrown(vdi)));

// A first create has no id yet that its next run would know: a probe is told to be left by its process, as a lease is.
const RUN = "xenlayer:run";

function isOrphan(vdi: Rec<"VDI">): boolean {
  const lease = leaseIn(vdi.other_config[RUN]);
  return lease !== undefined && isDead(lease);
}

const PROBE = "xenlayer probe";

// Round trip through the file API: what layers are moved with.
async function probe(ctx: Context, xapi: Xapi, sr: Rec<"SR">, connectorId: string): Promise<boolean> {
  const left = async () => leftProbes(await xapi.find("VDI", { name_label: PROBE, SR: sr.$ref }), connectorId);
  for (const { $ref } of await left()) await xapi.destroy("VDI", $ref);
  const data = randomBytes(PROBE_SIZE);
  let ref: string | undefined;
  try {
    ref = await xapi.call<string>("VDI.create", {
      name_label: PROBE,
      name_description: "written and read back to test the connector; may be removed",
      SR: sr.$ref,
      virtual_size: PROBE_SIZE,
      type: "user",
      sharable: false,
      read_only: false,
      other_config: {
        ...marksFor({ connector: connectorId, role: "probe" }),
        [MADE]: new Date().toISOString(),
        [RUN]: JSON.stringify(newLease()),
      },
    });
    await xapi.put(
      ref,
      {
        format: "raw",
        length: data.length,
        stream: async function* () {
          yield data;
        },
      },
      { signal: ctx.signal },
    );
    let at = 0;
    for await (const part of await xapi.getDisk(ref, { format: "raw", signal: ctx.signal })) {
      if (at < data.length && !data.subarray(at, at + part.length).equals(part.subarray(0, data.length - at)))
        throw new InputError([
          { property: "storageRepository", reason: `"${sr.name_label}" returned other bytes than were written to a probe disk` },
        ]);
      at += part.length;
    }
    if (at < data.length)
      throw new InputError([{ property: "storageRepository", reason: `only ${at} of ${data.length} bytes of a probe disk came back` }]);
    return true;
  } finally {
    // Without an answer it may be there all the same.
    const mine = ref === undefined ? await left().catch(() => []) : [{ $ref: ref }];
    for (const { $ref } of mine) await xapi.destroy("VDI", $ref);
  }
}

function byProperty(error: unknown): unknown {
  if (!(error instanceof XapiError)) return error;
  const property = /^SESSION_AUTH|^RBAC/.test(error.code) ? "password" : error.code === CERTIFICATE_REFUSED ? "tls" : "address";
  return new InputError([{ property, reason: explain(error) }], { cause: error });
}
