// What a guest's progress line is shown as on the resource's row: which step or check is under way, and why it waits.
// A line is data from a guest: what has none of the forms that the scripts write is shown as it is, and nothing is ever decided by it.
import { checks } from "./checks.ts";
import { NGEN_FRAMEWORKS } from "./facts/ngen.ts";

/** What the order asks for, by which the lines name it. */
export interface Asked {
  readonly steps?: readonly { readonly id: string; readonly name: string }[] | undefined;
  readonly facts?: readonly { readonly id: string; readonly check: string }[] | undefined;
}

export function shownProgress(line: string, asked: Asked): { message: string; percent?: number } {
  const match = /^(.*?)\s+(\d{1,3})\s?%$/.exec(line);
  if (match?.[1] === undefined || Number(match[2]) > 100) return { message: sentence(line, asked) };
  return { message: sentence(match[1], asked), percent: Number(match[2]) };
}

const SAMPLES: Readonly<Record<string, string>> = { a: "first sample", b: "second sample", c: "last sample" };

const WAITS: Readonly<Record<string, string>> = {
  "waiting for": "waiting, not ready yet:",
  "restart for": "restarting the guest because of",
  "left running:": "left running, still at work:",
  "blocked:": "not ready:",
};

const PLAIN: Readonly<Record<string, string>> = {
  restart: "restarting the guest",
  inventory: "listing installed software and drivers",
  "rearming Office": "rearming Office, just before the power-off",
  "rearming KMS": "rearming KMS, the last act before the power-off",
  ready: "ready: all samples are quiet",
  "power off": "powering off",
};

function sentence(text: string, { steps = [], facts = [] }: Asked): string {
  const [, id, state = "restarting the guest"] = /^(?:restart for (?=step \d+$))?step (\d{2,3})(?: (.+))?$/.exec(text) ?? [];
  const step = steps.findIndex((entry) => entry.id === id);
  if (step >= 0) return `[${step + 1}/${steps.length}] ${steps[step]?.name}: ${state}`;

  // Windows tells a sample as a whole: telling takes it longer than most checks.
  const [, sample = "", check = ""] = /^check ([abc])(?: ([A-Za-z]+))?$/.exec(text) ?? [];
  const order = [...new Set(facts.map((fact) => fact.check))];
  if (sample !== "" && check === "") return `${SAMPLES[sample]} of ${order.length} checks`;
  if (order.includes(check)) return `[${order.indexOf(check) + 1}/${order.length}] ${titleOf(check)}: ${SAMPLES[sample]}`;

  const [, why = "", ids] = /^(waiting for|restart for|left running:|blocked:) +([a-z0-9 -]+)$/.exec(text) ?? [];
  if (ids !== undefined) return `${WAITS[why]} ${byCheck(ids.trim().split(/ +/), facts)}`;

  const framework = NGEN_FRAMEWORKS.find((entry) => text === `fix ngen ${entry.id}`);
  if (framework !== undefined) return `running NGen's queue in the foreground: ${framework.directory}`;
  return Object.hasOwn(PLAIN, text) ? (PLAIN[text] ?? text) : text;
}

const titleOf = (check: string): string => checks.find(({ id }) => id === check)?.title ?? check;

/** "Microsoft NGen (ngen-workers, ngen-queue-64-v4); Installation in progress (msi-service)" */
function byCheck(ids: readonly string[], facts: NonNullable<Asked["facts"]>): string {
  const groups = new Map<string, string[]>();
  for (const id of ids) {
    const check = facts.find((fact) => fact.id === id)?.check;
    const title = check === undefined ? "" : titleOf(check);
    groups.set(title, [...(groups.get(title) ?? []), id]);
  }
  return [...groups].map(([title, of]) => (title === "" ? of.join(", ") : `${title} (${of.join(", ")})`)).join("; ");
}
