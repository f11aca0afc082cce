// What may go wrong at a call: who is killed, and what a pool does.
import type { FaultRule, SimulatorOptions } from "../../simulator/index.ts";
import type { World } from "./world.ts";

export interface Way {
  name: string;
  /** Which calls it may happen to; all where it is left out. */
  at?: RegExp;
  /** Arms the pool for the one call that fits `message`. Where it is not calls that count: for moment `n`, and `happened` is to be called then. */
  arm: (world: World, message: RegExp, n: number, happened: () => void) => void;
  pool?: SimulatorOptions["pool"];
  /** Which units it may happen in, so many times, where it is not calls that count. */
  moments?: { in: RegExp; count: number };
  /** The provider has an engine to lose. */
  engine?: boolean;
}

const TRANSFER = /^(PUT|GET) /;
const NO_TRANSFER = /^(?!PUT |GET |event\.|session\.)/;

const kills = (name: string, moment: Partial<FaultRule>, at?: RegExp): Way => ({
  name,
  ...(at === undefined ? {} : { at }),
  arm: ({ simulator, front }, message) => simulator.fault({ message, ...moment, happens: () => front.kill() }),
});

/** The provider's process is killed. To the core it is one whether its engine dies with it: nobody has heard an answer. */
export const KILLS: readonly Way[] = [
  kills("killed-before", { cut: true }),
  // What takes its time goes on in XAPI without whoever asked for it.
  kills("killed-during", {}, /^(Async\.|PUT |GET )/),
  kills("killed-after", { when: "after" }),
];

/** The engine is killed; its provider lives on for a while, beside the provider of the next run. */
export const ORPHANS: readonly Way[] = (["before", "after"] as const).map((when) => ({
  name: `orphaned-${when}`,
  engine: true,
  arm: (world, message) => world.simulator.fault({ message, when, happens: () => world.orphan() }),
}));

const fails = (name: string, fault: Partial<FaultRule>, at?: RegExp): Way => ({
  name,
  ...(at === undefined ? {} : { at }),
  arm: ({ simulator }, message) => simulator.fault({ message, ...fault }),
});

const moves = (name: string, fault: Partial<FaultRule>): Way => ({
  name,
  pool: "ha",
  at: NO_TRANSFER,
  arm: ({ simulator }, message) => simulator.fault({ message, ...fault, cut: true, happens: () => void simulator.moveCoordinator() }),
});

const NO_SPACE = { code: "SR_BACKEND_FAILURE_44", params: ["", "There is insufficient space", ""] };

export const FAULTS: readonly Way[] = [
  fails("connection-dropped", { cut: true }),
  fails("answer-lost", { cut: true, when: "after" }, NO_TRANSFER),
  fails("http-503", { http: 503 }),
  {
    name: "session-invalid",
    at: NO_TRANSFER,
    arm: ({ simulator }, message) =>
      simulator.fault({ message, code: "SESSION_INVALID", params: ["OpaqueRef:ended"], happens: () => void simulator.expireSessions() }),
  },
  moves("coordinator-moves-before", {}),
  moves("coordinator-moves-after", { when: "after" }),
  fails("too-many-pending-tasks", { code: "TOO_MANY_PENDING_TASKS", params: [] }, NO_TRANSFER),
  fails(
    "vdi-in-use",
    { code: "VDI_IN_USE", params: ["OpaqueRef:disk", "destroy"] },
    /^(Async\.)?VDI\.(destroy|clone|copy|resize|snapshot)$|^(PUT|GET) /,
  ),
  fails("sr-full", NO_SPACE, /^(Async\.)?VDI\.(create|clone|copy|resize|snapshot)$/),
  fails("import-fails", { code: "VDI_IO_ERROR", params: ["Device I/O errors"], when: "after" }, /^PUT /),
  // An upload that is cut in the middle, a download whose body ends early.
  fails("transfer-cut", { cut: { afterBytes: 300_000 } }, TRANSFER),
  {
    name: "host-fails",
    pool: "ha",
    moments: { in: /make-(machine|version)$/, count: 10 },
    // Of the changes that a running machine shows, not of calls.
    arm: (world, _message, n, happened) => {
      const { simulator } = world;
      let seen = 0;
      const stop = simulator.db.onChange(() => {
        const [, vm] =
          simulator.db.all("VM").find(([, { power_state, is_control_domain }]) => power_state === "Running" && !is_control_domain) ?? [];
        if (vm === undefined || seen++ < n * 4) return;
        stop();
        happened();
        setImmediate(() => world.mends.push(simulator.failHost(vm.resident_on)));
      });
    },
  },
];

export const WAYS: readonly Way[] = [...KILLS, ...ORPHANS, ...FAULTS];
