/**
 * A simulated XenServer pool: a real server on a real port, for tests, demos and anyone who writes XAPI clients. What it does not do as XAPI does is listed in
 * DIFFERENCES.md; a message that it does not know how to do is refused by name.
 */
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { admin } from "./admin.ts";
import { event } from "./classes/event.ts";
import { host } from "./classes/host.ts";
import { message } from "./classes/message.ts";
import { network } from "./classes/network.ts";
import { PBD } from "./classes/PBD.ts";
import { role, subject } from "./classes/role.ts";
import { SR } from "./classes/SR.ts";
import { session } from "./classes/session.ts";
import { task } from "./classes/task.ts";
import { VBD } from "./classes/VBD.ts";
import { VDI } from "./classes/VDI.ts";
import { VIF } from "./classes/VIF.ts";
import { VM } from "./classes/VM.ts";
import { VTPM } from "./classes/VTPM.ts";
import { type Clock, realClock, type SteppedClock, steppedClock, virtualClock } from "./clock.ts";
import type { Pool } from "./context.ts";
import { Database } from "./database.ts";
import { classes, type Row } from "./datamodel.ts";
import { Dispatcher } from "./dispatch.ts";
import { Domains } from "./domains.ts";
import { Events } from "./events.ts";
import { type FaultRule, Faults } from "./faults.ts";
import type { Guest } from "./guests/machine.ts";
import { Log, type Request } from "./log.ts";
import { keepAllowedOperations } from "./operations.ts";
import { createPool, type PoolName } from "./pools.ts";
import { screenshots } from "./screenshot.ts";
import { Server } from "./server.ts";
import { Sessions } from "./sessions.ts";
import { keepSaved, loadState } from "./state.ts";
import { type Disk, DiskStore } from "./storage/disk.ts";
import { FatVolume } from "./storage/fat.ts";
import { Tasks } from "./tasks.ts";
import { testCertificate, testKey } from "./testCertificate.ts";
import { transfers } from "./transfers.ts";

export type { SteppedClock } from "./clock.ts";
export type { FaultRule } from "./faults.ts";
export type { DescriptorInput } from "./guests/descriptor.ts";
export { type GuestImage, makeGuestImage } from "./guests/image.ts";
export type { Request } from "./log.ts";
export type { Disk } from "./storage/disk.ts";

export interface SimulatorOptions {
  /** Which pool a new simulator has: one host with local storage, or three with shared storage and HA. */
  readonly pool?: PoolName;
  /** 0, the default, takes a free one. */
  readonly port?: number;
  /** Where the pool and its disks are kept over restarts; without it they go when the simulator closes. */
  readonly stateDir?: string;
  /** References, uuids and all else that is random follow from it. */
  readonly seed?: number;
  /** "virtual", the default: durations of guests and tasks take no time. "real": they do. "stepped": only the test moves the time. */
  readonly clock?: "real" | "virtual" | "stepped";
  /** How many times as fast a real clock goes. */
  readonly speed?: number;
  /** https, with the test certificate or one's own. */
  readonly tls?: boolean | { readonly key: string; readonly cert: string };
  /** Real milliseconds before each answer. */
  readonly latencyMs?: number;
}

export interface Simulator {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  /** PEM of the certificate, and its SHA-256 fingerprint, where TLS is on. */
  readonly ca: string | undefined;
  readonly fingerprint: string | undefined;
  readonly db: Database;
  readonly clock: Clock;
  readonly storage: DiskStore;
  readonly log: readonly Request[];
  readonly guestLog: readonly { readonly vm: string; readonly line: string }[];
  fault(rule: FaultRule): void;
  clearFaults(): void;
  /** The console of a running VM, by uuid. */
  console(vm: string): Pick<Guest, "type">;
  disk(vdi: string): Disk;
  /** Of root and all subjects; open sessions stay (xapi_session.ml, change_password). */
  changePassword(password: string): void;
  /** Serves another certificate from the next connection on; the open ones are dropped, as a restarted stunnel does. */
  renewCertificate(certificate: { readonly key: string; readonly cert: string }): void;
  /** How many sessions are open. */
  sessions(): number;
  /** Ends all sessions; answers how many there were. */
  expireSessions(): number;
  /**
   * Makes the next member the coordinator, as HA does: all connections drop. Sessions and tasks are gone, since they are not among what the hosts of a pool tell each
   * other of the database (xen-api ocaml/idl/datamodel.ml, PersistNothing; ocaml/database/db_xml.ml). Answers its URL.
   */
  moveCoordinator(): { url: string };
  /**
   * A host loses its power: its VMs end where they are, and are Halted once HA has declared it dead (xen-api ocaml/xapi/xapi_ha_vm_failover.ml); here that takes no
   * time. A coordinator is followed by the next member. Answers how it comes back.
   */
  failHost(host: string): () => void;
  /** All objects but sessions and tasks, by class and reference. */
  state(): Record<string, Record<string, Row>>;
  /** Moves a stepped clock. */
  advance(ms: number): Promise<void>;
  close(): Promise<void>;
}

const PASSWORD = "xapi-simulator";
const MEMBERS: Readonly<Record<PoolName, readonly string[]>> = { small: ["127.0.0.1"], ha: ["127.0.0.1", "127.0.0.2", "127.0.0.3"] };
const messages = { event, host, message, network, PBD, role, session, SR, subject, task, VBD, VDI, VIF, VM, VTPM };

export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const temporary = options.stateDir === undefined ? mkdtempSync(join(tmpdir(), "xapi-simulator-")) : undefined;
  const workDir = temporary ?? options.stateDir ?? "";
  mkdirSync(workDir, { recursive: true });
  const db = new Database({ seed: options.seed ?? 0 });
  const clock = makeClock(options);
  await FatVolume.ready();
  const storage = new DiskStore(join(workDir, "disks"));
  const sessions = new Sessions(db);
  const authorities = new Map<string, string>();
  const useTls = options.tls === true ? { key: testKey, cert: testCertificate } : options.tls || undefined;
  const domains: Domains = new Domains(() => pool);
  const log = new Log();
  const pool: Pool = {
    db,
    clock,
    storage,
    domains,
    sessions,
    tasks: new Tasks(db, clock),
    events: new Events(db, sessions),
    faults: new Faults(),
    log,
    guestLog: [],
    password: PASSWORD,
    workDir,
    endpoint: (ref) => ({ authority: authorities.get(ref) ?? db.get("host", ref).address, tls: useTls !== undefined }),
  };
  keepAllowedOperations(db);
  if (!loadState(pool)) createPool(pool, options.pool ?? "small", MEMBERS[options.pool ?? "small"]);
  const saving = temporary === undefined ? keepSaved(pool) : undefined;

  const dispatcher = new Dispatcher(pool, messages);
  const actions = { ...transfers, ...screenshots };
  const { servers, port } = await listen(pool, options.port ?? 0, (ref) => {
    const shared = { pool, dispatcher, actions, tls: useTls, latencyMs: options.latencyMs ?? 0 };
    return new Server(ref, { ...shared, admin: (request, reply) => admin(simulator)(request, reply) });
  });
  for (const [ref, { address }] of db.all("host")) authorities.set(ref, `${address}:${port}`);
  let certificate = useTls;
  const urlOf = (ref: string) => `${useTls ? "https" : "http"}://${authorities.get(ref)}`;
  const coordinator = () => db.all("pool")[0] ?? ["", undefined];

  const simulator: Simulator = {
    url: urlOf(coordinator()[1]?.master ?? ""),
    username: "root",
    get password() {
      return pool.password;
    },
    get ca() {
      return certificate?.cert;
    },
    get fingerprint() {
      return certificate && new X509Certificate(certificate.cert).fingerprint256;
    },
    db,
    clock,
    storage,
    log: log.entries,
    guestLog: pool.guestLog,
    fault: (rule) => pool.faults.add(rule),
    clearFaults: () => pool.faults.clear(),
    console: (vm) => domains.guest(db.refOf("VM", vm)) ?? noConsole(vm),
    disk: (vdi) => storage.open(vdi),
    changePassword: (password) => {
      pool.password = password;
    },
    renewCertificate: (renewed) => {
      certificate = renewed;
      for (const server of servers) server.renew(renewed);
    },
    sessions: () => sessions.count,
    expireSessions: () => sessions.endAll(),
    moveCoordinator: () => {
      const [ref, record] = coordinator();
      const hosts = db.refs("host");
      const next = hosts[(hosts.indexOf(record?.master ?? "") + 1) % hosts.length] ?? "";
      db.update("pool", ref, { master: next });
      for (const server of servers) server.disconnect();
      sessions.endAll();
      pool.tasks.dropAll();
      return { url: urlOf(next) };
    },
    failHost: (host) => {
      const { metrics } = db.get("host", host);
      const switched = (on: boolean) => {
        db.update("host_metrics", metrics, { live: on });
        db.update("host", host, { enabled: on });
      };
      switched(false);
      for (const [ref, vm] of db.all("VM")) if (vm.resident_on === host && !vm.is_control_domain) domains.destroy(ref);
      if (coordinator()[1]?.master === host) simulator.moveCoordinator();
      return () => switched(true);
    },
    state: () => {
      const kept = [...classes.keys()].filter((name) => name !== "session" && name !== "task");
      return Object.fromEntries(
        kept.map((name) => [name, Object.fromEntries([...db.stored(name)].map(([ref, stored]) => [ref, stored.record]))]),
      );
    },
    advance: (ms) =>
      "advance" in clock ? (clock as SteppedClock).advance(ms) : Promise.reject(new Error("only a stepped clock can be moved")),
    close: async () => {
      domains.close();
      pool.events.close();
      await Promise.all(servers.map((server) => server.close()));
      clock.close();
      saving?.close();
      storage.close();
      if (temporary !== undefined) rmSync(temporary, { recursive: true, force: true });
    },
  };
  return simulator;
}

function makeClock(options: SimulatorOptions): Clock {
  if (options.clock === "real") return realClock({ speed: options.speed ?? 1 });
  return options.clock === "stepped" ? steppedClock() : virtualClock();
}

function noConsole(vm: string): never {
  throw new Error(`VM ${vm} has no console: it is not running, or nothing has booted from its disk`);
}

/** How many free ports are tried until one is free on the addresses of all hosts. */
const PORT_TRIES = 20;

/** One listener a host, all on the same port: a client that follows HOST_IS_SLAVE keeps the port and changes the address. */
async function listen(pool: Pool, wanted: number, make: (host: string) => Server): Promise<{ servers: Server[]; port: number }> {
  for (let attempt = 1; ; attempt += 1) {
    const servers: Server[] = [];
    let port = wanted;
    try {
      for (const [ref, { address }] of pool.db.all("host")) {
        const server = make(ref);
        port = await server.listen(port, address);
        servers.push(server);
      }
      return { servers, port };
    } catch (error) {
      await Promise.all(servers.map((server) => server.close()));
      if (wanted !== 0 || attempt === PORT_TRIES || (error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
}
