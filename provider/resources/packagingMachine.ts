// PackagingMachine: the temporary VM that boots the packaging disk and runs the install steps.
import { stat } from "node:fs/promises";
import * as z from "zod";
import { connectorInput, currentOf, isoOf, networkOf, reachable } from "../connector.ts";
import { checkPolicies } from "../guest/checks.ts";
import { stepInput, stepProblem } from "../guest/order.ts";
import { payloadFileProblem } from "../guest/payload.ts";
import { GiB } from "../layer/build.ts";
import { removeBuild } from "../layer/buildRemoval.ts";
import type { Entry } from "../layer/entry.ts";
import { withLease } from "../layer/lease.ts";
import { demandStorage, demandVersion, openVersion } from "../layer/open.ts";
import { sealedRefusal } from "../layer/sealed.ts";
import { packaged } from "../packaging.ts";
import { partsOf, sealedChanges } from "../parts.ts";
import { type CheckFailure, defineResource, holdsUnknown, type Known } from "../resource.ts";
import { runScriptProblem } from "../runScript.ts";
import { connectFor } from "../session.ts";
import { waysIn } from "../waysIn.ts";

export const inputs = z.object({
  connector: connectorInput,
  disk: z.string().min(1).describe("Id of the PackagingDisk."),
  install: z.array(stepInput).max(90).default([]).describe("Steps in order."),
  cleanup: z
    .array(stepInput)
    .max(9)
    .default([])
    .describe("Steps after the others: remove installers, settings and files that don't belong into the layer."),
  files: z
    .record(z.string().regex(/^[A-Za-z0-9._ -]{1,100}$/, "letters, digits, blank, dot, hyphen, underscore"), z.string())
    .optional()
    .describe("Files for the steps: name to path. Steps find them in the folder XENLAYER_FILES."),
  media: z.array(z.string()).max(2).optional().describe("name_label or uuid of ISO images with installers."),
  mode: z
    .enum(["automatic", "manual"])
    .default("automatic")
    .describe("manual: an engineer installs at the machine and runs Shutdown For Finalize; no steps are run."),
  checks: checkPolicies
    .optional()
    .describe(
      "Policy per check: fix, block, warn or ignore; the same as for Finalize. In manual mode Shutdown For Finalize goes by it; in automatic mode what has to end before the machine is powered off.",
    ),
  cpus: z.number().int().min(1).max(64).optional().describe("vCPUs; default: the template's."),
  memoryGiB: z.number().positive().max(1024).optional().describe("Memory in GiB; default: the template's. Needs vm-power-admin."),
  network: z.string().optional().describe("name_label or uuid of the network; default: the connector's."),
  toolsIso: z.string().optional().describe("name_label or uuid of the ISO with the VM tools; default: the connector's."),
  ...waysIn,
  timeouts: z
    .strictObject({
      bootMinutes: z.number().positive().max(240).default(15).describe("Until the guest's bootstrap must have been heard."),
      packageMinutes: z
        .number()
        .positive()
        .max(2880)
        .default(240)
        .describe("Until all steps must be done (manual mode: until the engineer is)."),
    })
    .prefault({})
    .describe("Limits of the waits."),
  onFailure: z
    .enum(["keep", "delete"])
    .default("keep")
    .describe("What becomes of the machine when a step fails: keep it for a look and resume, or delete it."),
});

export const outputs = z.object({
  versionId: z.string().describe("Id of the version."),
  vmUuid: z.string().describe("uuid of the VM (gone once the version is sealed)."),
  consoleUrl: z.string().describe("Where its console is."),
  ipAddresses: z.array(z.string()).describe("Addresses the guest's tools reported last."),
  toolsVersion: z.string().describe("Version of the VM tools that answered last; empty = none."),
  steps: z
    .array(
      z.object({
        name: z.string().describe("The step's name."),
        exitCode: z.number().describe("The exit code that it ended with."),
        seconds: z.number().describe("How long it ran, by the guest's clock."),
        logDigest: z.string().describe("SHA-256 of what is kept of its output."),
      }),
    )
    .describe("What each step ended with: exit code, duration, SHA-256 of its log."),
  ready: z.boolean().describe("Whether every step is done."),
  holder: z.string().describe("Token of this hold on the version."),
});

export type Inputs = z.output<typeof inputs>;
export type Outputs = z.output<typeof outputs>;

export const packagingMachine = defineResource(connectFor, {
  type: "PackagingMachine",
  description:
    "The temporary VM that boots the packaging disk and runs the install steps, cloned from the connector's template. It is removed when its version is sealed.",
  inputs,
  outputs,

  async examine(ctx, want) {
    const failures = await shapeFailures(want);
    if (failures.length > 0 || !reachable(want.connector)) return { failures };
    const xapi = await ctx.connect(want.connector);
    for (const [index, iso] of (want.media ?? []).entries()) await isoOf(xapi, `media[${index}]`, iso);
    if (want.toolsIso !== undefined) await isoOf(xapi, "toolsIso", want.toolsIso);
    if (want.network !== undefined) await networkOf(xapi, want.network);
    if (want.memoryGiB !== undefined) {
      const session = await xapi.session();
      const permission = "vm.set_memory_limits";
      if (!session.is_local_superuser && !session.rbac_permissions.includes(permission))
        failures.push({ property: "memoryGiB", reason: `the account's role lacks ${permission}: vm-power-admin has it` });
    }
    const opened = want.disk === undefined ? undefined : await openVersion(ctx, want.connector, want.disk);
    failures.push(...stepFailures(want, opened?.entry));
    const compared = opened !== undefined && (opened.entry.state === "Deployable" || want.runScript === true);
    const changes = compared && failures.length === 0 ? sealedChanges(opened.entry, await partsOf(want), want.mode) : [];
    if (want.runScript === true) {
      const problem =
        want.ssh !== undefined
          ? "ssh is given, too: one of them is enough"
          : isReached(opened?.entry, changes)
            ? undefined
            : await runScriptProblem(xapi, opened?.entry.base?.os ?? "windows");
      if (problem !== undefined) failures.push({ property: "runScript", reason: problem });
    }
    if (opened?.entry.state !== "Deployable" || failures.length > 0) return { failures };
    const { record, name, entry } = opened;
    const refusal = sealedRefusal(record, name, entry, changes);
    return { failures: refusal === undefined ? [] : [{ property: "install", reason: refusal }] };
  },

  async diff(ctx, id, old, want) {
    const opened = await openVersion(ctx, currentOf(want.connector, old.connector), id);
    // Its disk is made anew then, under another id.
    if (opened === undefined) return want.disk === old.disk ? { changes: true, replaces: ["disk"] } : { replaces: ["disk"] };
    // The id of a disk that is updated in place stays known in a preview: one that isn't known is another disk's.
    if ("disk" in want && want.disk !== old.disk) return { replaces: ["disk"] };
    const { entry } = opened;
    if (entry.holders.machine !== old.holder) return { changes: true };
    if (entry.state === "Deployable") return {};
    return entry.machine?.packaged === true && old.ready ? {} : { changes: true };
  },

  async create(ctx, wanted) {
    const opened = await demandVersion(ctx, wanted.connector, wanted.disk);
    return { id: wanted.disk, outputs: await packaged(ctx, opened, wanted) };
  },

  async read(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined) {
      await demandStorage(await ctx.connect(state.connector), state.connector);
      return undefined;
    }
    // Outputs don't change because of what a later resource does: the seal removes the VM, and what was said of it stays true.
    const { entry } = opened;
    const ready = entry.state === "Deployable" || entry.machine?.packaged === true;
    const { versionId, vmUuid, consoleUrl, ipAddresses, toolsVersion, steps, holder } = state;
    return { versionId, vmUuid, consoleUrl, ipAddresses, toolsVersion, steps, holder, ready };
  },

  update: async (ctx, id, _old, wanted) => packaged(ctx, await demandVersion(ctx, wanted.connector, id), wanted),

  async delete(ctx, id, state) {
    const opened = await openVersion(ctx, state.connector, id);
    if (opened === undefined || opened.entry.state === "Deployable" || opened.entry.holders.machine !== state.holder) return;
    const { xapi, record, name } = opened;
    // Said first, so that it is not taken for a machine that is only to be resumed: the disk may carry some of the steps.
    const removed = (before: Entry | undefined): Entry | undefined =>
      before === undefined || before.state === "Deployable" || before.holders.machine !== state.holder
        ? undefined
        : { ...before, machine: before.machine === undefined ? undefined : { ...before.machine, packaged: false, removed: true } };
    await withLease(ctx, record, name, removed, async (held) => {
      await removeBuild({ ...ctx, signal: held.signal }, xapi, record, held.entry, { roles: ["payload"] });
      const { machine: _, ...holders } = held.entry.holders;
      return { result: true, finish: (entry) => ({ ...entry, holders }) };
    });
  },
});

// No guest has to be reached any more: what the pool has allowed once may be forbidden by now.
const isReached = (entry: Entry | undefined, changes: readonly string[]): boolean =>
  entry?.state === "Deployable" || (entry?.machine?.packaged === true && changes.length === 0);

// What can't run at all is told before the disk is known, too: sh is Linux's shell and no other's.
function stepFailures(want: Known<Inputs>, entry: Entry | undefined): CheckFailure[] {
  const lists = [
    ["install", want.install],
    ["cleanup", want.cleanup],
  ] as const;
  return lists.flatMap(([property, steps]) =>
    (steps ?? []).flatMap((step, index) => {
      if (holdsUnknown(step)) return [];
      const known = step as z.output<typeof stepInput>;
      const os = entry === undefined ? (known.shell === "sh" ? "linux" : "windows") : (entry.base?.os ?? "windows");
      const problem = stepProblem(os, known);
      return problem === undefined ? [] : [{ property: `${property}[${index}]`, reason: problem }];
    }),
  );
}

async function shapeFailures(want: Known<Inputs>): Promise<CheckFailure[]> {
  const failures: CheckFailure[] = [];
  const names = new Set<string>();
  for (const [property, steps] of [
    ["install", want.install],
    ["cleanup", want.cleanup],
  ] as const) {
    if (want.mode === "manual" && (steps ?? []).length > 0)
      failures.push({
        property,
        reason: `is not run in mode "manual", where an engineer installs: leave ${property} out (files and media are there for the engineer), or use mode "automatic"`,
      });
    for (const [index, step] of (steps ?? []).entries()) {
      if (names.has(`${property} ${step.name}`))
        failures.push({ property: `${property}[${index}].name`, reason: `two steps are named "${step.name}"` });
      names.add(`${property} ${step.name}`);
    }
  }
  for (const [name, path] of Object.entries(want.files ?? {})) {
    if (path === undefined) continue;
    const problem = payloadFileProblem(name);
    const found = await stat(path).catch(() => undefined);
    if (problem !== undefined) failures.push({ property: `files.${name}`, reason: problem });
    else if (found === undefined || !found.isFile()) failures.push({ property: `files.${name}`, reason: `there is no file "${path}"` });
    else if (found.size > MAX_FILE)
      failures.push({ property: `files.${name}`, reason: `"${path}" is larger than 2 GiB: use an ISO image (media) for it` });
  }
  return failures;
}

const MAX_FILE = 2 * GiB;
