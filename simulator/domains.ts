/**
 * Running domains: what VM.start leaves behind. A domain has a xenstore tree, boots the guest that its system disk holds (guests/), and shows in the database what xapi would
 * show of it: guest metrics, xenstore_data, consoles, power state (xen-api ocaml/xapi/xapi_xenops.ml). A disk that boots nothing gives a VM that runs for ever, silent.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Context, Pool } from "./context.ts";
import { attachVbd, detachVbd, sharingError } from "./devices.ts";
import { createGuestMetrics, destroyGuestMetrics, note, publishXenstore, showDomain, showHalted } from "./domainRecords.ts";
import { fail } from "./errors.ts";
import type { Ran, ScriptChannel } from "./guestAgent.ts";
import { type Guest, type GuestHost, guestOf } from "./guests/machine.ts";
import { Xenstore } from "./xenstore.ts";

/** Simulated durations, as on a small idle host. */
const ATTACH_DEVICE = 400;
const BUILD_DOMAIN = 1500;
const METRICS_APPEAR = 500;
/** xenopsd's wait for the guest to acknowledge, xapi's for it to be gone (xapi_globs.ml). */
const ACKNOWLEDGE = 60_000;
const SHUTDOWN = 1_200_000;

interface Domain {
  readonly vm: string;
  xenstore: Xenstore;
  readonly gone: AbortController;
  guest: Guest | undefined;
  request: ((kind: "poweroff" | "reboot") => void) | undefined;
  script: ((script: string) => Promise<Ran>) | undefined;
  /** What a clean_shutdown or clean_reboot asked for; what a guest does by itself follows the VM's actions_after_* instead. */
  requested: "poweroff" | "reboot" | undefined;
  resume: (() => void) | undefined;
  paused: Promise<void> | undefined;
}

export class Domains {
  private readonly domains = new Map<string, Domain>();
  private readonly pool: () => Pool;
  private nextId = 1;
  private closed = false;

  /** `pool` is asked when it is needed: the pool refers to its domains. */
  constructor(pool: () => Pool) {
    this.pool = pool;
  }

  /** Builds the domain of a halted VM on a host and lets its guest boot. What was attached is detached again when it fails or is cancelled. */
  async start(ctx: Context, vm: string, host: string, paused: boolean): Promise<void> {
    const { db, clock } = ctx;
    const record = db.get("VM", vm);
    destroyGuestMetrics(ctx, vm);
    const vbds = inOrder(ctx, vm);
    try {
      for (const [index, vbd] of vbds.entries()) {
        if (!db.get("VBD", vbd).empty) await clock.sleep(ATTACH_DEVICE, ctx.signal);
        const refused = sharingError(db, vbd);
        if (refused) throw refused;
        attachVbd(db, vbd);
        ctx.progress((0.6 * (index + 1)) / vbds.length);
      }
      await clock.sleep(BUILD_DOMAIN, ctx.signal);
    } catch (error) {
      for (const vbd of vbds) detachVbd(ctx, vbd);
      throw error;
    }
    for (const vif of record.VIFs) db.update("VIF", vif, { currently_attached: true });
    ctx.progress(0.9);
    const domain: Domain = {
      vm,
      xenstore: this.tree(vm),
      gone: new AbortController(),
      guest: undefined,
      request: undefined,
      script: undefined,
      requested: undefined,
      resume: undefined,
      paused: undefined,
    };
    if (paused) this.hold(domain);
    this.domains.set(vm, domain);
    showDomain(ctx, vm, host, this.nextId++, paused ? "Paused" : "Running");
    note(
      ctx,
      "VM_STARTED",
      vm,
      `VM '${record.name_label}' started on host: ${db.get("host", host).name_label} (uuid: ${db.get("host", host).uuid})`,
    );
    void this.run(domain).catch((error: unknown) => this.say(domain, `the domain ended badly: ${String(error)}`));
  }

  pause(vm: string): void {
    const domain = this.domains.get(vm);
    if (domain) this.hold(domain);
    this.pool().db.update("VM", vm, { power_state: "Paused" });
  }

  unpause(vm: string): void {
    const domain = this.domains.get(vm);
    this.pool().db.update("VM", vm, { power_state: "Running" });
    domain?.resume?.();
  }

  /** Asks the guest to shut down or reboot, and waits until it has. */
  async ask(ctx: Context, vm: string, kind: "poweroff" | "reboot"): Promise<void> {
    const domain = this.domains.get(vm) ?? fail("VM_BAD_POWER_STATE", vm, "running", "halted");
    if (!domain.request) {
      await ctx.clock.sleep(ACKNOWLEDGE, ctx.signal);
      if (!domain.request) fail("VM_FAILED_SHUTDOWN_ACKNOWLEDGMENT", vm);
    }
    const { xenstore } = domain;
    const done = () => !this.domains.has(vm) || (kind === "reboot" && domain.xenstore !== xenstore);
    domain.requested = kind;
    domain.request(kind);
    const late = new AbortController();
    const waited = ctx.clock.sleep(SHUTDOWN, AbortSignal.any([late.signal, ctx.signal])).then(
      () => true,
      () => false,
    );
    while (!done()) {
      if (await Promise.race([waited.then(() => true), this.changed().then(() => false)])) {
        if (ctx.signal.aborted) throw ctx.signal.reason;
        if (!done()) fail("VM_SHUTDOWN_TIMEOUT", vm, "1200.");
      }
    }
    late.abort();
  }

  /** The domain is gone at once, whatever its guest was doing. */
  destroy(vm: string): void {
    const domain = this.domains.get(vm);
    this.domains.delete(vm);
    domain?.gone.abort(new Error("the domain was destroyed"));
    showHalted(this.pool(), vm);
  }

  /** hard_reboot: a new domain in place of the old one. */
  async reset(ctx: Context, vm: string): Promise<void> {
    const host = ctx.db.get("VM", vm).resident_on;
    this.destroy(vm);
    await this.start(ctx, vm, host, false);
  }

  /** Pushes keys of VM.xenstore_data into the running domain. */
  pushXenstore(vm: string, data: Readonly<Record<string, string>>): void {
    const domain = this.domains.get(vm);
    if (!domain) return;
    for (const path of domain.xenstore.list("vm-data")) if (!(path in data) && path !== "vm-data") domain.xenstore.remove(path);
    for (const [path, value] of Object.entries(data)) if (shared(path)) domain.xenstore.put(path, value);
  }

  /** The way of a script into a running guest. */
  scripts(vm: string): ScriptChannel | undefined {
    const domain = this.domains.get(vm);
    return domain && { xenstore: domain.xenstore, run: domain.script };
  }

  guest(vm: string): Guest | undefined {
    return this.domains.get(vm)?.guest;
  }

  workDir(uuid: string): string {
    return join(this.pool().workDir, "guests", uuid);
  }

  /** What belongs to a VM outside the database. */
  forget(uuid: string): void {
    rmSync(this.workDir(uuid), { recursive: true, force: true });
  }

  /** Ends all guests: the simulator stops. */
  close(): void {
    this.closed = true;
    for (const domain of this.domains.values()) domain.gone.abort(new Error("the simulator is stopping"));
    this.domains.clear();
  }

  private async run(domain: Domain): Promise<void> {
    const { clock, db } = this.pool();
    const { vm } = domain;
    for (;;) {
      await domain.paused;
      await clock.sleep(METRICS_APPEAR, domain.gone.signal).catch(() => {});
      if (domain.gone.signal.aborted) return;
      createGuestMetrics(this.pool(), vm);
      publishXenstore(this.pool(), domain.vm, domain.xenstore);
      const outcome = await this.boot(domain);
      if (domain.gone.signal.aborted || this.closed) return;
      const record = db.get("VM", vm);
      const wanted = outcome === "reboot" ? record.actions_after_reboot : record.actions_after_shutdown;
      const again =
        outcome === "reboot"
          ? wanted === "restart" || domain.requested === "reboot"
          : domain.requested === undefined && (wanted === "restart" || this.protectedByHa(vm));
      domain.requested = undefined;
      domain.request = undefined;
      domain.script = undefined;
      if (!again) {
        this.domains.delete(vm);
        showHalted(this.pool(), vm);
        note(this.pool(), "VM_SHUTDOWN", vm, `VM '${record.name_label}' shutdown`);
        return;
      }
      await clock.sleep(BUILD_DOMAIN, domain.gone.signal).catch(() => {});
      if (domain.gone.signal.aborted) return;
      destroyGuestMetrics(this.pool(), vm);
      domain.xenstore = this.tree(vm);
      showDomain(this.pool(), vm, record.resident_on, this.nextId++, "Running");
      note(this.pool(), "VM_REBOOTED", vm, `VM '${record.name_label}' rebooted`);
    }
  }

  private async boot(domain: Domain): Promise<"poweroff" | "reboot"> {
    const { db, clock, storage } = this.pool();
    const vm = db.get("VM", domain.vm);
    const vbds = inOrder(this.pool(), domain.vm).map((ref) => db.get("VBD", ref));
    const disks = vbds
      .filter((vbd) => vbd.type === "Disk" && storage.has(db.find("VDI", vbd.VDI)?.uuid ?? ""))
      .map((vbd) => ({
        userdevice: vbd.userdevice,
        serial: db.get("VDI", vbd.VDI).uuid.slice(0, 16),
        disk: storage.open(db.get("VDI", vbd.VDI).uuid),
        bootable: vbd.bootable,
        readOnly: vbd.mode === "RO",
      }));
    const system = disks[0];
    const workDir = this.workDir(vm.uuid);
    mkdirSync(workDir, { recursive: true });
    const { xenstore } = domain;
    const host: GuestHost = {
      vm: { uuid: vm.uuid, name: vm.name_label },
      disks,
      cds: vbds
        .filter((vbd) => vbd.type === "CD" && !vbd.empty)
        .map((vbd) => ({ userdevice: vbd.userdevice, name: db.find("VDI", vbd.VDI)?.name_label ?? "" })),
      clock,
      xenstore: {
        write: (path, value) => xenstore.write(path, value),
        read: (path) => xenstore.read(path),
        list: (prefix) => xenstore.list(prefix),
      },
      onRequest: (handler) => {
        domain.request = handler;
      },
      onScript: (handler) => {
        domain.script = handler;
      },
      signal: domain.gone.signal,
      workDir,
      log: (line) => this.say(domain, line),
    };
    try {
      domain.guest = system ? guestOf(system.disk) : undefined;
      if (domain.guest) return await domain.guest.boot(host);
      this.say(domain, system ? "nothing boots from the system disk" : "no disk to boot from");
    } catch (error) {
      if (!domain.gone.signal.aborted) this.say(domain, `the guest hangs: ${error instanceof Error ? error.message : String(error)}`);
    }
    domain.guest = undefined;
    return new Promise((resolve) => domain.gone.signal.addEventListener("abort", () => resolve("poweroff"), { once: true }));
  }

  /** HA takes a shutdown from inside for a failure and starts a protected VM again (pool.ha_reboot_vm_on_internal_shutdown). */
  private protectedByHa(vm: string): boolean {
    const { db } = this.pool();
    const pool = db.all("pool")[0]?.[1];
    const { ha_always_run, ha_restart_priority } = db.get("VM", vm);
    return Boolean(pool?.ha_enabled && pool.ha_reboot_vm_on_internal_shutdown && ha_always_run && ha_restart_priority === "restart");
  }

  /** A domain's tree at its start: only keys below vm-data/ and FIST/ of VM.xenstore_data get there, others are dropped without a word. */
  private tree(vm: string): Xenstore {
    let scheduled = false;
    const store: Xenstore = new Xenstore(() => {
      const domain = this.domains.get(vm);
      if (scheduled || domain?.xenstore !== store) return;
      scheduled = true;
      queueMicrotask(() => {
        scheduled = false;
        if (this.domains.get(vm)?.xenstore === store) publishXenstore(this.pool(), domain.vm, domain.xenstore);
      });
    });
    for (const [path, value] of Object.entries(this.pool().db.get("VM", vm).xenstore_data)) if (shared(path)) store.put(path, value);
    return store;
  }

  private hold(domain: Domain): void {
    domain.paused = new Promise((resolve) => {
      domain.resume = resolve;
      domain.gone.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  private changed(): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.pool().db.onChange(() => {
        stop();
        resolve();
      });
    });
  }

  private say(domain: Domain, line: string): void {
    const uuid = this.pool().db.find("VM", domain.vm)?.uuid ?? "";
    this.pool().guestLog.push({ vm: uuid, line });
  }
}

const shared = (path: string) => path.startsWith("vm-data/") || path.startsWith("FIST/");

/** The VBDs of a VM in the order of their positions. */
function inOrder({ db }: Pick<Pool, "db">, vm: string): string[] {
  return [...db.get("VM", vm).VBDs].sort((a, b) => Number(db.get("VBD", a).userdevice) - Number(db.get("VBD", b).userdevice));
}
