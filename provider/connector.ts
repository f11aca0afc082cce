// The connector as every resource gets it: a plain object made from the ConnectorConfig's inputs, so that checks can look at the pool already in the
// first preview (only `connectorId` is an output). Here: its shape, its credentials, and finding on the pool what it names.
import * as z from "zod";
import { type ErrorDetails, InputError } from "./errors.ts";
import type { CheckFailure, ConnectorCredentials, FrontContext, Known } from "./resource.ts";
import type { Xapi } from "./xapi/client.ts";
import type { Rec } from "./xapi/records.ts";

const nameOrUuid = z.string().trim().min(1).max(1000);

export const connectorShape = {
  address: z
    .union([nameOrUuid, z.array(nameOrUuid).min(1)])
    .describe(
      "Any member of the pool, or several: host, host:port or URL. The coordinator is found from there. Plain http only when written as http://.",
    ),
  username: z.string().min(1).optional().describe("Account on the pool; also XENLAYER_USERNAME or stack config `xenlayer:username`."),
  password: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Its password; also XENLAYER_PASSWORD (best where passwords rotate: not in the state, and what it says now counts), or stack config `xenlayer:password`.",
    )
    .meta({ secret: true }),
  tls: z
    .strictObject({
      verify: z.boolean().default(true).describe("false accepts any certificate: for tests only."),
      caCertificate: z.string().optional().describe("PEM of the authority that signed the hosts' certificates."),
      fingerprints: z.array(z.string()).optional().describe("SHA-256 fingerprints of the hosts' own certificates, one per host."),
    })
    .optional()
    .describe("How the hosts' certificates are verified; by default against the system's authorities."),
  template: nameOrUuid.describe(
    "name_label or uuid of the custom template that packaging machines are cloned from: no disk, at least one network card.",
  ),
  storageRepository: nameOrUuid.describe(
    "name_label or uuid of the storage repository that holds layers; it must be able to hold VHD disks.",
  ),
  network: nameOrUuid.optional().describe("name_label or uuid of the network of packaging machines; default: the template's."),
  toolsIso: nameOrUuid.optional().describe("name_label or uuid of the ISO with the VM tools, inserted into packaging machines."),
  folder: z.string().optional().describe("XenCenter folder of packaging machines, as /layers/packaging; default: the template's."),
  tags: z.array(z.string().min(1)).optional().describe("Tags of packaging machines, beside the template's and xenlayer's own."),
  transferOverTls: z.boolean().default(true).describe("false moves disks over plain http, for speed; refused where hosts are https-only."),
} as const;

/** What the other resources take. */
export const connectorInput = z
  .strictObject({
    ...connectorShape,
    connectorId: z.string().min(1).describe("The ConnectorConfig's connectorId: the owner of everything made through it."),
  })
  .describe("The connector: `connector.settings` of a ConnectorConfig.");
export type Connector = z.output<typeof connectorInput>;

/** Environment, then stack config, then input. */
export function credentials(ctx: FrontContext, connector: ConnectorCredentials): { username: string; password: string } {
  const username = process.env.XENLAYER_USERNAME ?? ctx.config.username ?? connector.username;
  const password = process.env.XENLAYER_PASSWORD ?? ctx.config.password ?? connector.password;
  const missing = (property: string, variable: string): CheckFailure => ({
    property,
    reason: `is required: set it, or the environment variable ${variable}, or stack config xenlayer:${property} (with --secret for the password)`,
  });
  if (username === undefined || password === undefined)
    throw new InputError([
      ...(username === undefined ? [missing("username", "XENLAYER_USERNAME")] : []),
      ...(password === undefined ? [missing("password", "XENLAYER_PASSWORD")] : []),
    ]);
  return { username, password };
}

/** A connector of which all but perhaps its connectorId is known: enough to look at the pool. */
export type Reachable = Omit<Connector, "connectorId"> & { connectorId?: string | undefined };

/** Whether enough is known in a preview to look at the pool: what is present and undefined is not known yet. */
export function reachable(connector: Known<Connector> | undefined): connector is Reachable {
  if (connector === undefined) return false;
  const { connectorId: _, ...settings } = connector;
  return [...Object.values(settings), ...Object.values(settings.tls ?? {})].every((value) => value !== undefined);
}

/** How a pool is reached now, which a diff asks: what the state holds may be an address or a password of before. */
export const currentOf = (want: Known<Connector> | undefined, old: Connector): Reachable => (reachable(want) ? want : old);

// Looked up once per connection as an operation has it: neither templates nor storage repositories change their name meanwhile.
const found = new WeakMap<Xapi, Map<string, Promise<unknown>>>();

/**
 * The one object of a class that `wanted` names, by uuid or by name_label, matched case-sensitively as App Layering does.
 * Ambiguous names are refused with the candidates, near misses (case, blanks) are named.
 */
export function resolve<C extends "SR" | "VM" | "network" | "VDI">(
  xapi: Xapi,
  cls: C,
  property: string,
  wanted: string,
  fits: (record: Rec<C>) => string | undefined,
  word: string,
): Promise<Rec<C>> {
  const known = found.get(xapi) ?? new Map<string, Promise<unknown>>();
  found.set(xapi, known);
  const key = `${cls} ${property} ${wanted}`;
  const cached = known.get(key) as Promise<Rec<C>> | undefined;
  if (cached !== undefined) return cached;
  const looking = lookUp(xapi, cls, property, wanted, fits, word);
  known.set(key, looking);
  looking.catch(() => known.delete(key));
  return looking;
}

async function lookUp<C extends "SR" | "VM" | "network" | "VDI">(
  xapi: Xapi,
  cls: C,
  property: string,
  wanted: string,
  fits: (record: Rec<C>) => string | undefined,
  word: string,
): Promise<Rec<C>> {
  const refuse = (reason: string, details?: ErrorDetails) => new InputError([{ property, reason }], details);
  // Every one of the classes has name_label, which a generic key can't show.
  const byName = async () => (await xapi.find(cls as "VM", { name_label: wanted })) as unknown as Rec<C>[];
  const matches = isUuid(wanted) ? [await xapi.get(cls, wanted)].filter((match) => match !== undefined) : await byName();
  const fitting = matches.filter((match) => fits(match) === undefined);
  const [only] = fitting;
  if (only !== undefined && fitting.length === 1) return only;
  if (fitting.length > 1)
    throw refuse(
      `there are ${fitting.length} ${word}s named "${wanted}" (${fitting.map((match) => match.uuid).join(", ")}): give the uuid of the one you mean`,
    );
  const [unfit] = matches;
  if (unfit !== undefined) throw refuse(`${word} "${wanted}" can't be used: ${fits(unfit)}`);
  const all = await xapi.all(cls);
  const near = all.filter((record) => folded(record.name_label) === folded(wanted));
  const usable = all.filter((record) => fits(record) === undefined).map((record) => `"${record.name_label}"`);
  throw refuse(
    near.length > 0
      ? `there is no ${word} "${wanted}", but ${near.map((record) => `"${record.name_label}"`).join(", ")}: names are case-sensitive and blanks count`
      : `there is no ${word} "${wanted}"${usable.length === 0 ? "" : `; usable here: ${usable.slice(0, 8).join(", ")}${usable.length > 8 ? ", …" : ""}`}`,
  );
}

const folded = (name: string): string => name.toLowerCase().replace(/\s+/g, "");
const isUuid = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);

/** SR types that hold VHD (or QCOW2) disks; an ISO library or a raw device does not (XenServer's and XCP-ng's SM drivers). */
export function srProblem(sr: Rec<"SR">): string | undefined {
  if (sr.content_type === "iso" || sr.type === "iso" || sr.is_tools_sr) return "it is an ISO library";
  if (["udev", "rawhba", "file_udev"].includes(sr.type)) return `SRs of type ${sr.type} hold no VHD disks`;
  return undefined;
}

export const storageOf = (xapi: Xapi, connector: { storageRepository: string }): Promise<Rec<"SR">> =>
  resolve(xapi, "SR", "storageRepository", connector.storageRepository, srProblem, "storage repository");

export function templateProblem(vm: Rec<"VM">): string | undefined {
  if (vm.is_a_snapshot) return "it is a snapshot";
  if (!vm.is_a_template) return "it is a VM, not a template";
  if (vm.is_default_template || vm.other_config.default_template === "true")
    return "it is one of the pool's built-in templates: make a custom template from it";
  return undefined;
}

export const templateOf = (xapi: Xapi, connector: { template: string }): Promise<Rec<"VM">> =>
  resolve(xapi, "VM", "template", connector.template, templateProblem, "template");

export const networkOf = (xapi: Xapi, network: string): Promise<Rec<"network">> =>
  resolve(xapi, "network", "network", network, () => undefined, "network");

/** ISO images are VDIs in SRs of content type iso; that is told by the SR, here by what SM says of the VDI: user-visible and read-only. */
export const isoOf = (xapi: Xapi, property: string, iso: string): Promise<Rec<"VDI">> =>
  resolve(
    xapi,
    "VDI",
    property,
    iso,
    (vdi) => (/\.iso$/i.test(vdi.name_label) || vdi.is_tools_iso || vdi.read_only ? undefined : "it is no ISO image"),
    "ISO image",
  );
