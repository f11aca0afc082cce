// What the codes of failed calls mean, which of them pass by themselves, and what the reader can do: the only table of retries.
// client.ts and session.ts act on it and nothing else retries a call. Codes are XAPI's (xen-api ocaml/xapi-consts/api_errors.ml),
// Node's (ECONNREFUSED), and a few of our own where neither has a word; those are exported below.

export interface Retry {
  /** Attempts in all. */
  tries: number;
  delayMs: number;
  /** Only for these methods: elsewhere the same code is an answer, not a passing state. */
  only?: RegExp;
}

export interface Code {
  means: string;
  hint?: string;
  retry?: Retry;
  /** The session can't be used any more: log in (somewhere) again. The call that was told so has not been done. */
  relogin?: true;
  /** The request never left this machine, or was refused before XAPI looked at it: repeating it is safe for every method. */
  unsent?: true;
  /** The connection broke in the middle: a call that changes something may have been done or not. */
  unclear?: true;
  /** Another address of the pool may do better. */
  address?: true;
}

/** The connection broke after a call was sent that is not safe to repeat. */
export const OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN";
export const CERTIFICATE_REFUSED = "CERTIFICATE_REFUSED";
export const NOT_A_XAPI = "NOT_A_XAPI";
export const NOT_TLS = "NOT_TLS";
export const UNREADABLE_REPLY = "UNREADABLE_REPLY";
export const REDIRECT_REFUSED = "REDIRECT_REFUSED";
export const TASK_VANISHED = "TASK_VANISHED";
export const TRANSFER_FAILED = "TRANSFER_FAILED";
export const TRANSFER_INCOMPLETE = "TRANSFER_INCOMPLETE";

const SECOND = 1000;
/** A path that lasts: a toolstack restart, a coordinator that moves. */
const restart: Retry = { tries: 24, delayMs: 5 * SECOND };
const brief: Retry = { tries: 10, delayMs: SECOND };
const noSpace: Code = { means: "there is not enough space on the storage repository", hint: "free some space, or use another one" };
const unplugged: Code = { means: "the storage repository is not available", hint: "check that it is attached (XenCenter: repair the SR)" };
const unreachable = "check the address and port, that the host is up, and that nothing between here and there blocks it";

const table: Record<string, Code> = {
  // The session and where the pool's coordinator is.
  SESSION_INVALID: { means: "the session has ended", relogin: true, retry: { tries: 3, delayMs: 0 } },
  HOST_IS_SLAVE: {
    means: "this host is a pool member; another one is the coordinator",
    relogin: true,
    address: true,
    retry: { tries: 6, delayMs: 2 * SECOND },
  },
  HOST_STILL_BOOTING: { means: "the host's toolstack is starting", relogin: true, address: true, retry: restart },
  HOST_ITS_OWN_SLAVE: {
    means: "the host is in emergency mode: it can't tell who the coordinator is",
    hint: "see `xe host-is-in-emergency-mode` on that host, and its /etc/xensource/pool.conf",
    address: true,
  },
  HOST_IN_EMERGENCY_MODE: { means: "the host is in emergency mode: it can't reach the coordinator", address: true },
  SESSION_AUTHENTICATION_FAILED: {
    means: "wrong username or password",
    hint: "check `username` and `password` (XENLAYER_USERNAME, XENLAYER_PASSWORD)",
  },
  SESSION_AUTHORIZATION_FAILED: {
    means: "the account is known, but has no access to this pool",
    hint: "add it (or a group of it) as a subject of the pool, and give it the role vm-admin",
  },
  RBAC_PERMISSION_DENIED: { means: "the account's role does not allow this", hint: "vm-admin is the least role that xenlayer works with" },
  // What passes by itself.
  TOO_MANY_PENDING_TASKS: { means: "the pool is busy with other work", retry: { tries: 12, delayMs: 5 * SECOND } },
  OTHER_OPERATION_IN_PROGRESS: {
    means: "something else works on the same object",
    hint: "wait until it has ended (see the pool's tasks), then run again",
    retry: { tries: 6, delayMs: 5 * SECOND },
  },
  VDI_IN_USE: {
    means: "the disk is attached to a machine, or being copied or transferred",
    hint: "wait until the copy has ended (see the pool's tasks: what a killed run began goes on), or detach it from the machine that has it; then run again",
    // dom0's own attachment outlives a transfer for a moment (import_raw_vdi.ml, sm_fs_ops.ml); Xen Orchestra waits here too.
    retry: { tries: 8, delayMs: SECOND, only: /^(Async\.)?VDI\.(destroy|data_destroy)$|^(PUT|GET) / },
  },
  SR_BACKEND_FAILURE_24: {
    means: "the storage says that the disk is in use",
    retry: { tries: 4, delayMs: 2 * SECOND, only: /VDI\.destroy$/ },
  },
  VM_CALL_PLUGIN_RATE_LIMIT: { means: "the guest agent was called too often", retry: { tries: 3, delayMs: 10 * SECOND } },
  // What the reader can change.
  HANDLE_INVALID: { means: "the object is gone" },
  UUID_INVALID: { means: "there is no such object" },
  MAP_DUPLICATE_KEY: { means: "the key is there already" },
  NO_HOSTS_AVAILABLE: {
    means: "no host can start this machine",
    hint: "no enabled host has the memory, the storage and the network that it needs",
  },
  HOST_NOT_ENOUGH_FREE_MEMORY: { means: "the host has too little free memory", hint: "free some, or give the machine less (`memoryGiB`)" },
  SR_HAS_NO_PBDS: { means: "the storage repository is attached to no host", hint: "plug its PBD (XenCenter: repair the SR)" },
  // Who finds it says it in its own way: XAPI (datamodel_errors.ml), SM's drivers (SRNoSpace), and SM when a thin volume can't grow to be attached (LVMProvisionAttach).
  SR_FULL: noSpace,
  SR_BACKEND_FAILURE_44: noSpace,
  SR_BACKEND_FAILURE_180: noSpace,
  SR_BACKEND_FAILURE_46: { means: "the storage does not find the disk" },
  SR_BACKEND_FAILURE_47: unplugged,
  // XAPI's own word, where no storage plugin has the SR (storage_utils.ml).
  SR_NOT_ATTACHED: unplugged,
  SR_UNHEALTHY: { means: "the storage repository says that it is not well", hint: "see its storage, and the pool's alerts" },
  SR_BACKEND_FAILURE_79: { means: "the storage refuses this disk size", hint: "VHD disks have 2 MiB to 2040 GiB" },
  SR_BACKEND_FAILURE_109: { means: "the disk's chain of clones is too long", hint: "let the storage coalesce it, or make a full copy" },
  VDI_IO_ERROR: {
    means: "the storage could not write or read the disk",
    hint: "is the image larger than the disk, or the storage full?",
    // Also what XAPI makes of an upload whose connection broke.
    retry: { tries: 2, delayMs: 5 * SECOND, only: /^PUT / },
  },
  VDI_READONLY: { means: "the disk is read-only" },
  VDI_TOO_LARGE: { means: "the disk is too large for this format" },
  VM_BAD_POWER_STATE: { means: "the machine is in another power state than this needs" },
  VM_MISSING_PV_DRIVERS: { means: "the guest has no XenServer VM Tools" },
  OPERATION_BLOCKED: { means: "somebody has blocked this operation on this machine" },
  LICENCE_RESTRICTION: { means: "the pool's licence does not include this" },
  MESSAGE_METHOD_UNKNOWN: { means: "this release of XAPI does not know the call" },
  NOT_IMPLEMENTED: { means: "XAPI does not implement this" },
  TASK_CANCELLED: { means: "the task was cancelled on the pool" },
  // The way to the host.
  ECONNREFUSED: { means: "nothing listens there", hint: unreachable, unsent: true, relogin: true, address: true, retry: restart },
  EHOSTUNREACH: { means: "there is no way to that host", hint: unreachable, unsent: true, relogin: true, address: true, retry: restart },
  ENETUNREACH: { means: "there is no way to that network", hint: unreachable, unsent: true, relogin: true, address: true, retry: restart },
  ENOTFOUND: { means: "there is no such host name", hint: "check the spelling of the address", unsent: true, relogin: true, address: true },
  EAI_AGAIN: { means: "the host name could not be looked up", unsent: true, relogin: true, address: true, retry: brief },
  CONNECT_TIMEOUT: { means: "the host does not answer", hint: unreachable, unsent: true, relogin: true, address: true, retry: restart },
  CONNECT_RESET: {
    means: "the host cut the connection before anything was said",
    hint: unreachable,
    unsent: true,
    relogin: true,
    address: true,
    retry: restart,
  },
  ECONNRESET: { means: "the connection was cut", unclear: true, address: true, retry: { tries: 5, delayMs: SECOND } },
  REPLY_TIMEOUT: { means: "the host took the call and did not answer in time", unclear: true, address: true },
  HTTP_502: { means: "a proxy does not reach the host", unclear: true, address: true, retry: brief },
  HTTP_503: { means: "the host is too busy, or starting", unsent: true, address: true, retry: brief },
  HTTP_504: { means: "a proxy does not get an answer from the host", unclear: true, address: true, retry: brief },
  HTTP_401: { means: "the host does not accept the session", relogin: true, retry: { tries: 2, delayMs: 0 } },
  HTTP_403: { means: "the account's role does not allow this transfer", hint: "vm-admin is the least role that xenlayer works with" },
  [NOT_A_XAPI]: {
    means: "what answers there is not XAPI",
    hint: "give the address of a host of the pool (not of XenCenter, a web server or a console), and its HTTPS port if that is not 443",
    unsent: true,
    address: true,
  },
  [NOT_TLS]: {
    means: "what answers there does not speak TLS",
    hint: "the port is wrong, or it is plain HTTP, which must be written out (`http://…`) and is not for real pools",
    unsent: true,
    address: true,
  },
  [CERTIFICATE_REFUSED]: { means: "the host could not prove who it is; nothing was sent to it", unsent: true, address: true },
  [REDIRECT_REFUSED]: { means: "the host pointed to another place; the credentials were not sent there", unsent: true },
  [UNREADABLE_REPLY]: { means: "XAPI's answer could not be read", hint: "please report this with the release of the pool" },
  // Ours.
  [OUTCOME_UNKNOWN]: {
    means: "the connection broke before the answer came: it may have been done or not",
    hint: "run again: what was made is found and used",
  },
  [TASK_VANISHED]: {
    means: "the task is gone before it ended (XAPI was restarted): it may have been done or not",
    hint: "run again: what was made is found and used",
  },
  [TRANSFER_FAILED]: { means: "the transfer broke" },
  [TRANSFER_INCOMPLETE]: { means: "less came than the disk has" },
};

export function meaning(code: string): Code | undefined {
  return Object.hasOwn(table, code) ? table[code] : undefined;
}

/** Every code that the table knows; for tests and documentation. */
export const codes: readonly string[] = Object.keys(table);

/** How often and how soon a failed call is repeated; undefined = not at all. `readOnly` calls may also be repeated when nobody knows whether they were done. */
export function retryOf(code: string, method: string, readOnly: boolean): Retry | undefined {
  const known = meaning(code);
  if (known?.retry === undefined || (known.unclear && !readOnly)) return undefined;
  if (known.retry.only !== undefined && !known.retry.only.test(method)) return undefined;
  return known.retry;
}
