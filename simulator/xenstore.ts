/**
 * The xenstore tree of one domain, relative to /local/domain/N, with xenopsd's limits, and what xapi reads out of it (xen-api ocaml/xapi/xapi_guest_agent.ml,
 * xapi_xenops.ml): guest metrics and VM.xenstore_data.
 */
import type { Records } from "./records.ts";

const MAX_VALUE = 2048;
const MAX_PATH = 1024;
const MAX_TOTAL = 25 * 1024 * 1024;
/** What a guest may write; the rest of its tree belongs to the toolstack. */
const WRITABLE = /^(vm-data|data|attr|control|feature|drivers|device|error|messages|rrd)(\/|$)/;
/** Changes that make xapi look again; data/os_* alone does not, so the agent touches attr afterwards. */
const WATCHED = /^(attr|control|data\/ts|data\/service|data\/pvs_target|feature|vm-data|memory\/target|device)(\/|$)/;

export class Xenstore {
  private readonly nodes = new Map<string, string>();
  private readonly changed: (path: string) => void;
  private total = 0;

  /** `changed` is called after each write that xapi watches. */
  constructor(changed: (path: string) => void) {
    this.changed = changed;
  }

  /** A write by the guest; throws with xenstore's errno name where it is refused. */
  write(path: string, value: string): void {
    const clean = path.replace(/^\/+|\/+$/g, "");
    if (!WRITABLE.test(clean)) throw new Error(`EACCES: ${clean} is not the guest's to write`);
    if (Buffer.byteLength(value) > MAX_VALUE) throw new Error(`E2BIG: a value may have ${MAX_VALUE} bytes`);
    if (clean.length > MAX_PATH || !/^[\w@/:.-]+$/.test(clean)) throw new Error(`EINVAL: ${clean} is no path of xenstore`);
    const more = clean.length + value.length - (this.nodes.get(clean)?.length ?? -clean.length);
    if (this.total + more > MAX_TOTAL) throw new Error("ENOSPC: the domain's quota is used up");
    this.total += more;
    this.put(clean, value);
  }

  /** A write by the toolstack: no limits, parents are made as empty nodes. */
  put(path: string, value: string): void {
    const parts = path.split("/");
    for (let depth = 1; depth < parts.length; depth += 1) {
      const parent = parts.slice(0, depth).join("/");
      if (!this.nodes.has(parent)) this.nodes.set(parent, "");
    }
    if (this.nodes.get(path) === value) return;
    this.nodes.set(path, value);
    if (WATCHED.test(path)) this.changed(path);
  }

  read(path: string): string | undefined {
    return this.nodes.get(path.replace(/^\/+|\/+$/g, ""));
  }

  remove(path: string): void {
    for (const key of [...this.nodes.keys()]) if (key === path || key.startsWith(`${path}/`)) this.nodes.delete(key);
    if (WATCHED.test(path)) this.changed(path);
  }

  /** All paths at and below a prefix, in order. */
  list(prefix: string): string[] {
    const clean = prefix.replace(/^\/+|\/+$/g, "");
    return [...this.nodes.keys()].filter((path) => clean === "" || path === clean || path.startsWith(`${clean}/`)).sort();
  }

  entries(prefix: string): [string, string][] {
    return this.list(prefix).map((path) => [path, this.nodes.get(path) ?? ""]);
  }
}

/** The whole vm-data tree, directories too, as xapi puts it into VM.xenstore_data. */
export function xenstoreData(store: Xenstore): Record<string, string> {
  return { "vm-data": "", ...Object.fromEntries(store.entries("vm-data")), ...Object.fromEntries(store.entries("FIST")) };
}

type Metrics = Partial<Records["VM_guest_metrics"]>;

/** The fields of VM_guest_metrics that follow from the tree (xapi_guest_agent.ml, get_initial_guest_metrics). */
export function guestMetrics(store: Xenstore): Metrics {
  const pick = (pairs: readonly (readonly [string, string])[]) => {
    const found: Record<string, string> = {};
    for (const [path, key] of pairs) {
      const value = store.read(path);
      if (value !== undefined) found[key] = value;
    }
    return found;
  };
  const drivers = pick([
    ["attr/PVAddons/MajorVersion", "major"],
    ["attr/PVAddons/MinorVersion", "minor"],
    ["attr/PVAddons/MicroVersion", "micro"],
    ["attr/PVAddons/BuildVersion", "build"],
  ]);
  for (const [path, value] of store.entries("drivers")) if (path !== "drivers") drivers[path] = value;
  const os = pick([
    ["data/os_name", "name"],
    ["data/os_uname", "uname"],
    ["data/os_distro", "distro"],
    ["data/os_majorver", "major"],
    ["data/os_minorver", "minor"],
    ["attr/os/spmajor", "spmajor"],
    ["attr/os/spminor", "spminor"],
  ]);
  const other: Record<string, string> = {};
  for (const [path, value] of store.entries("control")) if (path !== "control") other[path.slice("control/".length)] = value;
  const ts = store.read("data/ts");
  if (ts !== undefined) other["data-ts"] = ts;
  const services: Record<string, string> = {};
  for (const [path, value] of store.entries("data/service"))
    if (path !== "data/service") services[path.slice("data/service/".length)] = value;
  const connected = connectedFrontEnd(store);
  return {
    os_version: os,
    PV_drivers_version: drivers,
    PV_drivers_detected: connected,
    PV_drivers_up_to_date: connected,
    networks: networks(store),
    other,
    services,
    netbios_name: pick([
      ["data/host_name_dns", "host_name"],
      ["data/domain", "domain"],
    ]),
  };
}

/** PV drivers are detected when some device's front-end has reached xenbus state 4; a guest that never shows its devices counts by what its agent says. */
function connectedFrontEnd(store: Xenstore): boolean {
  const states = store.entries("device").filter(([path]) => /^device\/v(bd|if)\/\d+\/state$/.test(path));
  if (states.length > 0) return states.some(([, state]) => state === "4");
  return store.list("attr/PVAddons").length > 0 || store.list("drivers").length > 1;
}

/** attr/vif/N/ipv4/M and ipv6/M become "N/ip", "N/ipv4/M", "N/ipv6/M". */
function networks(store: Xenstore): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [path, value] of store.entries("attr/vif")) {
    const match = /^attr\/vif\/(\d+)\/(ipv4|ipv6)\/(\d+)$/.exec(path);
    if (!match) continue;
    const [, device, family, index] = match;
    if (family === "ipv4" && index === "0") found[`${device}/ip`] = value;
    found[`${device}/${family}/${index}`] = value;
  }
  return found;
}
