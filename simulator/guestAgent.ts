/**
 * VM.call_plugin: what a guest's agent does when it is asked through xapi (xen-api ocaml/xapi/xapi_vm.ml, call_plugin and run_script), and run-script's way into the guest: nodes
 * below control/batcmd (ocaml/xenopsd/xc/xenops_server_xen.ml, run_script). No guest here offers the remote desktop switches.
 */
import type { Context } from "./context.ts";
import type { Database } from "./database.ts";
import { fail } from "./errors.ts";
import { operation } from "./operations.ts";
import type { Xenstore } from "./xenstore.ts";

/** xapi_globs.ml, vm_call_plugin_interval. */
const INTERVAL_SECONDS = 10;
const MOST_SCRIPT = 1024;

/** What a script in the guest came to. */
export interface Ran {
  readonly rc: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running domain, and what its agent does with a script; undefined: it has none. */
export interface ScriptChannel {
  readonly xenstore: Xenstore;
  readonly run: ((script: string) => Promise<Ran>) | undefined;
}

const latest = new WeakMap<Database, Map<string, number>>();

/** Recorded before anything else is looked at, so that a call that fails counts, too; one that is refused for it does not. */
function record({ db, clock }: Context, vm: string): void {
  const calls = latest.get(db) ?? new Map<string, number>();
  latest.set(db, calls);
  const wait = (calls.get(vm) ?? Number.NEGATIVE_INFINITY) + INTERVAL_SECONDS * 1000 - clock.now();
  if (wait > 0) fail("VM_CALL_PLUGIN_RATE_LIMIT", vm, `${INTERVAL_SECONDS}.`, String(wait / 1000));
  calls.set(vm, clock.now());
}

export function callPlugin(ctx: Context, vm: string, plugin: string, fn: string, args: Readonly<Record<string, string>>): Promise<string> {
  return operation(ctx, "VM", vm, "call_plugin", async () => {
    if (plugin !== "guest-agent-operation") fail("XENAPI_MISSING_PLUGIN", plugin);
    record(ctx, vm);
    if (fn === "run-script") return await runScript(ctx, vm, args);
    const known = fn === "request-rdp-on" || fn === "request-rdp-off";
    const why = known
      ? `The requested fn "${fn}" of plugin "${plugin}" could not be executed for lack of guest agent control feature.`
      : `The requested fn "${fn}" could not be found in plugin "${plugin}".`;
    return fail("XENAPI_PLUGIN_FAILURE", known ? "failed to execute fn" : "failed to find fn", why, why);
  });
}

async function runScript(ctx: Context, vm: string, args: Readonly<Record<string, string>>): Promise<string> {
  if (ctx.db.all("pool")[0]?.[1].other_config.allow_guest_agent_run_script !== "true") fail("FEATURE_RESTRICTED");
  for (const name of ["username", "password", "script"])
    if (!Object.hasOwn(args, name)) fail("XENAPI_PLUGIN_FAILURE", "missing argument", "", `Argument ${name} is required.`);
  try {
    ctx.sessions.authorize(ctx.session, "vm.checkpoint");
  } catch {
    fail("RBAC_PERMISSION_DENIED", "vm.call_plugin", "No permission to run script, must have VM power admin role or higher.");
  }
  const { script = "" } = args;
  if (Buffer.byteLength(script) > MOST_SCRIPT)
    fail("XENAPI_PLUGIN_FAILURE", "length restriction", "", `The script length must not exceed ${MOST_SCRIPT} bytes`);
  return await handOver(ctx, ctx.domains.scripts(vm), script);
}

const PATH = "control/batcmd";

async function handOver({ signal }: Context, channel: ScriptChannel | undefined, script: string): Promise<string> {
  const run = channel?.run;
  if (channel === undefined || run === undefined || channel.xenstore.read("control/feature-xs-batcmd") === undefined)
    return fail("NOT_IMPLEMENTED", "run-script is not supported on the given VM (or it is still booting)");
  const { xenstore } = channel;
  const node = (name: string): string => xenstore.read(`${PATH}/${name}`) ?? "";
  if (node("state") === "IN PROGRESS")
    fail("XENAPI_PLUGIN_FAILURE", "A residual run-script instance in progress, either wait for its completion or reboot the VM.");
  if (node("state") !== "") xenstore.remove(PATH);
  xenstore.put(`${PATH}/script`, script);
  xenstore.put(`${PATH}/state`, "READY");
  // The guest goes on with it whatever becomes of the call: so a call that was cancelled leaves one behind.
  const ended = (async () => {
    xenstore.put(`${PATH}/state`, "IN PROGRESS");
    const { rc, stdout, stderr } = await run(script);
    for (const [name, text] of Object.entries({ return: String(rc), stdout: clipped(stdout), stderr: clipped(stderr) }))
      xenstore.put(`${PATH}/${name}`, text);
    xenstore.put(`${PATH}/state`, "SUCCESS");
  })();
  ended.catch(() => {});
  await Promise.race([ended, aborted(signal)]);
  const result = { rc: Number(node("return")), stdout: node("stdout"), stderr: node("stderr") };
  xenstore.remove(PATH);
  return JSON.stringify(result);
}

/** win-xenguestagent (Features.cs): a value of xenstore holds no more. */
const clipped = (text: string): string => (text.length < MOST_SCRIPT ? text : `${text.slice(0, MOST_SCRIPT - 12)} (truncated)`);

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
