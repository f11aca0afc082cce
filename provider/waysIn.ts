// The ways into a guest that a program may give: for the machine that packages, and for its boots afterwards.
import * as z from "zod";
import type { GuestOs } from "./guest/fact.ts";
import { Hands } from "./hands.ts";
import { runScriptWay } from "./runScript.ts";
import { type SshInput, sshInput, sshWay } from "./ssh.ts";
import type { Xapi } from "./xapi/client.ts";
import type { Rec } from "./xapi/records.ts";

export const waysIn = {
  ssh: sshInput
    .optional()
    .describe("How to log in where the OS layer runs no orders: the bootstrap is installed by SSH, for this version alone."),
  runScript: z
    .boolean()
    .optional()
    .describe(
      "Installs the bootstrap through run-script of the guest's agent, for this version alone: only where the pool allows it, the role is vm-power-admin and XenServer's VM tools for Windows offer it.",
    ),
};

interface WaysIn {
  ssh?: SshInput | undefined;
  runScript?: boolean | undefined;
}

export function handsFor(xapi: Xapi, { ssh, runScript }: WaysIn, vm: Rec<"VM">, os: GuestOs): Hands | undefined {
  if (ssh !== undefined) return new Hands(sshWay(ssh, os));
  return runScript === true ? new Hands(runScriptWay(xapi, vm.$ref)) : undefined;
}
