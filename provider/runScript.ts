// run-script as a pair of hands (hands.ts): XAPI hands the guest's agent the one line that installs the bootstrap. Nothing depends on it: it is an opt-in, off by default in every pool,
// offered by the Windows agents of Citrix and XenServer alone, and a temporary solution to its author (win-xenguestagent PR#18).
// What it carries sets its use: 1024 bytes whose line breaks are lost, one call per 10 s, two streams of at most 1024 characters, no power-off meanwhile. A finalize
// needs none of that, since the bootstrap does it from the payload disk.
import { z } from "zod";
import { GuestError, XapiError } from "./errors.ts";
import { installBatch } from "./guest/bootstrap.ts";
import type { GuestOs } from "./guest/fact.ts";
import { RefusedError, type Way } from "./hands.ts";
import type { Xapi } from "./xapi/client.ts";

const POOL_KEY = "allow_guest_agent_run_script";
/** What the role must have (xapi_vm.ml, run_script: the permission of VM.checkpoint), and the call itself. */
const PERMISSIONS = ["vm.checkpoint", "vm.call_plugin"];
/** Set by the agent below control/, which XAPI copies to the guest metrics. */
export const offersRunScript = (other: Readonly<Record<string, string>>): boolean => other["feature-xs-batcmd"] === "1";

/** Why it can't be used on this pool, with this account, in such a guest; undefined: it can be tried. */
export async function runScriptProblem(xapi: Xapi, os: GuestOs): Promise<string | undefined> {
  if (os === "linux") return "no agent of a Linux guest offers run-script: use ssh";
  const [pool] = await xapi.all("pool");
  if (pool?.other_config[POOL_KEY] !== "true")
    return `the pool does not allow run-script: its administrator runs \`xe pool-param-set uuid=${pool?.uuid ?? "..."} other-config:${POOL_KEY}=true\`, or use ssh`;
  const { is_local_superuser, rbac_permissions } = await xapi.session();
  const lacking = is_local_superuser ? [] : PERMISSIONS.filter((permission) => !rbac_permissions.includes(permission));
  return lacking.length === 0 ? undefined : `the account's role lacks ${lacking.join(", ")}: vm-power-admin has it; or use ssh`;
}

// A number where the guest's agent gave one, else text.
const ran = z.object({ rc: z.coerce.number().int(), stdout: z.string(), stderr: z.string() });

const REFUSED: Readonly<Record<string, string>> = {
  FEATURE_RESTRICTED: "the pool does not allow it any more",
  RBAC_PERMISSION_DENIED: "the account's role does not allow it",
  MESSAGE_METHOD_UNKNOWN: "this pool does not know VM.call_plugin",
};

export const runScriptWay = (xapi: Xapi, vm: string): Way => ({
  by: "by run-script",
  needs: "its agent to offer run-script (XenServer's VM tools)",
  // One call per VM and 10 s; one that failed counts.
  retryMs: 11_000,
  at: ({ runsScripts }) => (runsScripts ? "" : undefined),
  async install(_offers, signal) {
    // Both are demanded and used by nobody: the script runs as LocalSystem (xapi_vm.ml, run_script).
    const args = { username: "unused", password: "unused", script: installBatch };
    try {
      const result = await xapi.task<string>("VM.call_plugin", [vm, "guest-agent-operation", "run-script", args], { signal });
      const parsed = ran.safeParse(json(result));
      if (!parsed.success) throw new GuestError("the answer is not the result of a script");
      return { code: parsed.data.rc, output: `${parsed.data.stdout}${parsed.data.stderr}` };
    } catch (error) {
      const refused = error instanceof XapiError ? REFUSED[error.code] : undefined;
      if (refused === undefined) throw error;
      throw new RefusedError(`run-script is refused: ${refused}`, { hint: "leave runScript out, or use ssh", cause: error });
    }
  },
});

function json(text: unknown): unknown {
  try {
    return JSON.parse(String(text));
  } catch {
    return undefined;
  }
}
