// The order: what one boot series of a guest has to do. It lies on the payload disk as order.json; the scripts beside it are generated from it.
// Promises: an order names every command and limit, so that a reader needs nothing else; two equal orders generate equal scripts;
// an order is answered once (a report on the disk means: do nothing).
import { createHash, randomBytes } from "node:crypto";
import { z } from "zod";
import { type CheckPolicies, factsOf, policyOf } from "./checks.ts";
import { fixKind, foundTest, type GuestOs, guestOs, type Platform, platform, quietTest } from "./fact.ts";

export const ORDER_FORMAT = 1;

export const shell = z.enum(["cmd", "powershell", "sh"]);
export type Shell = z.output<typeof shell>;

const SCRIPT_EXTENSIONS = { cmd: "cmd", powershell: "ps1", sh: "sh" } as const satisfies Record<Shell, string>;

// Names go into `set NAME=` and `export NAME`: nothing but a plain name can't be anything else there.
const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "letters, digits and underscores only, not starting with a digit")
  .refine((name) => !name.toUpperCase().startsWith("XENLAYER_"), "names that start with XENLAYER_ are xenlayer's own");
const variables = z.record(variableName, z.string().max(4000));

/** A step as a program gives it. `secretEnv` values never enter an order, a digest or a report. */
export const stepInput = z.strictObject({
  name: z.string().min(1).max(100).describe("What the step installs; shown while it runs."),
  run: z
    .string()
    .min(1)
    .max(200_000)
    .describe("The text of the script. It runs as the guest's system account; its last exit code is the step's."),
  shell: shell.describe("Which program runs it: cmd or powershell on Windows, sh on Linux."),
  env: variables.optional().describe("Environment of this step only."),
  secretEnv: variables
    .optional()
    .describe("Secret environment of this step only; deleted from the payload disk when the step has ended.")
    .meta({ secret: true }),
  expectExit: z.array(z.int()).min(1).max(32).default([0]).describe("Exit codes that mean success."),
  rebootExit: z.array(z.int()).max(32).default([3010, 1641, 194]).describe("Exit codes that mean success once the guest has restarted."),
  timeoutMinutes: z.number().positive().max(1440).default(60).describe("After this time the step counts as failed."),
});
export type StepInput = z.input<typeof stepInput>;

export const ngenMode = z.enum(["wait", "execute-queued", "update-force"]);
export type NgenMode = z.output<typeof ngenMode>;

const stepId = z.string().regex(/^[0-9]{2,3}$/);
const factId = z.string().regex(/^[a-z0-9-]{1,60}$/);
const seconds = z.number().nonnegative().max(86_400);

export const orderStep = z.strictObject({
  id: stepId,
  name: z.string().min(1).max(100),
  shell,
  /** Path below /xenlayer. */
  script: z.string().max(60),
  run: z.string().max(200_000),
  env: variables.optional(),
  /** Names only: the values lie in a file of their own, which the script deletes. */
  secretNames: z.array(variableName).optional(),
  expectExit: z.array(z.int()),
  rebootExit: z.array(z.int()),
  timeoutSeconds: seconds.positive(),
  phase: z.enum(["install", "cleanup"]),
});
export type OrderStep = z.output<typeof orderStep>;

export const orderFact = z.strictObject({
  id: factId,
  check: z.string().max(60),
  command: z.string().max(4000),
  quiet: quietTest,
  /** Gathered only where this file exists; elsewhere `<id>.rc` holds "absent" and the fact counts as quiet. */
  requires: z.string().max(200).optional(),
  /** Gathered only when that fact of the same round is quiet; else left out, and not quiet. */
  after: factId.optional(),
  /** A program at work: the guest is not restarted or powered off while this is not quiet. */
  worker: z.literal(true).optional(),
  fix: fixKind,
  /** Of fix "reboot": elsewhere than with exit code 0. */
  found: foundTest.optional(),
});
export type OrderFact = z.output<typeof orderFact>;

export const order = z.strictObject({
  format: z.literal(ORDER_FORMAT),
  nonce: z.string().regex(/^[0-9a-f]{32}$/),
  order: z.enum(["package", "finalize"]),
  os: guestOs,
  layer: z.string().max(500),
  version: z.string().max(500),
  /** What the layer says it is, for the judge: what is installed should fit it. */
  platform: platform.optional(),
  mode: z.enum(["automatic", "manual"]),
  steps: z.array(orderStep).max(999),
  facts: z.array(orderFact).max(200),
  accept: z.array(factId).max(200),
  fixes: z.strictObject({
    rebootMax: z.int().min(0).max(20),
    ngen: ngenMode,
    ngenWaitSeconds: seconds,
    msiWaitSeconds: seconds,
  }),
  kms: z.strictObject({ rearm: z.boolean() }),
  /** An order of an earlier release does not name it. */
  office: z.strictObject({ rearm: z.boolean() }).default({ rearm: false }),
  /** Between the two samples of every fact. */
  sampleGapSeconds: seconds,
  wait: z.strictObject({
    /** Between two looks at a worker that has to end by itself. */
    pollSeconds: seconds,
    /** In a Linux guest, between the report and the power-off: what its tools wrote last to xenstore is lost otherwise (guest.md 3.2). */
    flushSeconds: seconds,
  }),
});
export type Order = z.output<typeof order>;

export interface OrderRequest {
  order: "package" | "finalize";
  os: GuestOs;
  layer: string;
  version: string;
  platform?: Platform | undefined;
  mode?: "automatic" | "manual";
  /** Given only where an order is built anew for a comparison; random otherwise. */
  nonce?: string;
  install?: readonly StepInput[];
  cleanup?: readonly StepInput[];
  policies?: CheckPolicies;
  /** Facts that an earlier judgement found to be harmless though they are not quiet. */
  accept?: readonly string[];
  ngen?: NgenMode;
  kms?: boolean;
  office?: boolean;
  limits?: Partial<{
    rebootMax: number;
    ngenWaitSeconds: number;
    msiWaitSeconds: number;
    sampleGapSeconds: number;
    pollSeconds: number;
    flushSeconds: number;
  }>;
}

export function buildOrder(request: OrderRequest): Order {
  const { os, policies = {}, limits = {} } = request;
  const facts = factsOf(os).map(({ check, fact }): { entry: OrderFact; accepted: boolean } => {
    const chosen = policyOf(check, policies);
    return {
      entry: {
        id: fact.id,
        check: check.id,
        command: fact.command,
        quiet: fact.quiet,
        ...(fact.requires === undefined ? {} : { requires: fact.requires }),
        ...(fact.after === undefined ? {} : { after: fact.after }),
        ...(fact.worker === undefined ? {} : { worker: fact.worker }),
        fix: chosen === "fix" ? fact.fix : "none",
        ...(fact.found === undefined ? {} : { found: fact.found }),
      },
      accepted: chosen === "warn" || chosen === "ignore",
    };
  });
  const known = new Set(facts.map(({ entry }) => entry.id));
  const accept = new Set([
    ...facts.filter(({ accepted }) => accepted).map(({ entry }) => entry.id),
    ...(request.accept ?? []).filter((id) => known.has(id)),
  ]);
  return order.parse({
    format: ORDER_FORMAT,
    nonce: request.nonce ?? randomBytes(16).toString("hex"),
    order: request.order,
    os,
    layer: request.layer,
    version: request.version,
    ...(request.platform === undefined ? {} : { platform: request.platform }),
    mode: request.mode ?? "automatic",
    // By hand nobody runs steps, so nobody would delete their secrets.
    steps: request.order === "finalize" || request.mode === "manual" ? [] : orderSteps(os, request.install ?? [], request.cleanup ?? []),
    facts: facts.map(({ entry }) => entry),
    accept: [...accept].sort(),
    fixes: {
      rebootMax: limits.rebootMax ?? 3,
      ngen: request.ngen ?? "execute-queued",
      ngenWaitSeconds: limits.ngenWaitSeconds ?? 3600,
      msiWaitSeconds: limits.msiWaitSeconds ?? 1800,
    },
    kms: { rearm: os === "windows" && (request.kms ?? false) },
    office: { rearm: os === "windows" && (request.office ?? false) },
    sampleGapSeconds: limits.sampleGapSeconds ?? 15,
    wait: { pollSeconds: limits.pollSeconds ?? 30, flushSeconds: limits.flushSeconds ?? 15 },
  });
}

function orderSteps(os: GuestOs, install: readonly StepInput[], cleanup: readonly StepInput[]): OrderStep[] {
  const all = [
    ...install.map((step) => ({ step, phase: "install" as const })),
    ...cleanup.map((step) => ({ step, phase: "cleanup" as const })),
  ];
  return all.map(({ step, phase }, index) => {
    const parsed = stepInput.parse(step);
    const problem = stepProblem(os, parsed);
    if (problem !== undefined) throw new StepError(parsed.name, problem);
    const id = String(index + 1).padStart(all.length > 99 ? 3 : 2, "0");
    const secretNames = Object.keys(parsed.secretEnv ?? {}).sort();
    return {
      id,
      name: parsed.name,
      shell: parsed.shell,
      script: `steps/${id}.${SCRIPT_EXTENSIONS[parsed.shell]}`,
      run: unixLines(parsed.run),
      ...(Object.keys(parsed.env ?? {}).length > 0 && parsed.env !== undefined ? { env: parsed.env } : {}),
      ...(secretNames.length > 0 ? { secretNames } : {}),
      expectExit: parsed.expectExit,
      rebootExit: parsed.rebootExit,
      timeoutSeconds: Math.max(1, Math.round(parsed.timeoutMinutes * 60)),
      phase,
    };
  });
}

/** A step that can't be carried out as written; known before anything is touched, so that a check can refuse it by its property. */
export class StepError extends Error {
  override readonly name = "StepError";
  constructor(
    readonly step: string,
    readonly problem: string,
  ) {
    super(`step "${step}": ${problem}`);
  }
}

/** Why a step can't run in a guest of this kind; undefined when it can. For a resource's check. */
export function stepProblem(os: GuestOs, step: z.output<typeof stepInput>): string | undefined {
  if ((os === "linux") !== (step.shell === "sh"))
    return `shell ${step.shell} does not exist in a ${os} guest; use ${os === "linux" ? "sh" : "cmd or powershell"}`;
  if (step.run.includes("\0")) return "its text holds a NUL character";
  const both = step.expectExit.filter((code) => step.rebootExit.includes(code));
  if (both.length > 0) return `exit code ${both.join(", ")} is in expectExit and in rebootExit`;
  const variables = Object.entries({ ...step.env, ...step.secretEnv });
  const twice = Object.keys(step.env ?? {}).find((name) =>
    Object.keys(step.secretEnv ?? {}).some((other) => other.toUpperCase() === name.toUpperCase()),
  );
  if (twice !== undefined) return `${twice} is in env and in secretEnv`;
  const torn = variables.find(([, text]) => text.includes("\0"));
  if (torn !== undefined) return `the value of ${torn[0]} holds a NUL character`;
  return step.shell === "cmd" ? cmdProblem(step.run, variables) : undefined;
}

// cmd reads a file in the code page of the machine and lines of up to 8191 characters; a variable can't hold a line break.
function cmdProblem(run: string, variables: [string, string][]): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: everything that is not ASCII is what is looked for
  const foreign = /[^\x00-\x7f]/u;
  const strange = foreign.exec(run)?.[0];
  if (strange !== undefined)
    return `its text holds "${strange}", which cmd reads differently on each machine; write it in ASCII or use shell powershell`;
  if (run.split("\n").some((line) => line.length > 8000)) return "a line of its text is longer than the 8000 characters that cmd reads";
  for (const [name, text] of variables) {
    if (foreign.test(text)) return `the value of ${name} is not ASCII, which cmd reads differently on each machine; use shell powershell`;
    if (/[\r\n]/.test(text)) return `the value of ${name} has several lines, which cmd can't hold in a variable; use shell powershell`;
  }
  return undefined;
}

const unixLines = (text: string): string => text.replace(/\r\n?/g, "\n");

export interface StepDigest {
  name: string;
  digest: string;
}

/**
 * One digest a step, over what decides its effect: text, shell, environment, exit codes, phase; line ends and the order of variables don't count, nor does the
 * time limit. Of a secret only its name counts: a rotated password is no changed layer, and a digest of it could be guessed.
 */
export function stepDigests(install: readonly StepInput[], cleanup: readonly StepInput[] = []): StepDigest[] {
  const digest = (step: StepInput, phase: "install" | "cleanup"): StepDigest => {
    const { name, run, shell: program, env = {}, secretEnv = {}, expectExit, rebootExit } = stepInput.parse(step);
    const content = JSON.stringify([
      1,
      phase,
      program,
      unixLines(run).trimEnd(),
      Object.entries(env).sort(([a], [b]) => (a < b ? -1 : 1)),
      Object.keys(secretEnv).sort(),
      [...expectExit].sort((a, b) => a - b),
      [...rebootExit].sort((a, b) => a - b),
    ]);
    return { name, digest: createHash("sha256").update(content).digest("hex").slice(0, 32) };
  };
  return [...install.map((step) => digest(step, "install")), ...cleanup.map((step) => digest(step, "cleanup"))];
}
