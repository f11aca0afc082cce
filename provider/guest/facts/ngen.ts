// .NET's native image compiler at work. Interrupted, it can leave a .NET that does not function, so nothing restarts the guest meanwhile.
// Processes are looked at first: asking the queue is foreground activity and pauses the work (seed; guest.md 2.7). "is stopped" alone does not
// prove an empty queue since Windows 8: where the order allows it, the queue is run once in the foreground, which does.
import {
  type Check,
  cannotTell,
  type Fact,
  type Judgement,
  joinJudgements,
  judgeAbsent,
  pending,
  type Raw,
  type Reading,
  ready,
  unknown,
  value,
  words,
} from "../fact.ts";
import { named, processList, running } from "../processes.ts";

const SEED = "A Microsoft NGen operation is in progress in the background.";
export const NGEN_WORKERS = ["mscorsvw.exe", "ngen.exe", "ngentask.exe"];

export const ngenWorkers = processList("ngen-workers", NGEN_WORKERS, "ngen");

/** Each has a queue of its own. Directories that a guest lacks are absent facts. */
export const NGEN_FRAMEWORKS = [
  { id: "64-v4", directory: "Framework64\\v4.0.30319" },
  { id: "32-v4", directory: "Framework\\v4.0.30319" },
  { id: "64-v2", directory: "Framework64\\v2.0.50727" },
  { id: "32-v2", directory: "Framework\\v2.0.50727" },
] as const;

export const ngenPath = (directory: string): string => `%SystemRoot%\\Microsoft.NET\\${directory}\\ngen.exe`;

const STOPPED = "The .NET Runtime Optimization Service is stopped";

/** ngen.exe's texts are not localised in this place: its string table is English in every language (guest.md 2.7). */
export function parseQueueStatus(raw: Raw): Reading<string> {
  const [, state] = /The \.NET Runtime Optimization Service (?:is )?([a-z ]+)/.exec(raw.out) ?? [];
  return state === undefined ? unknown(`ngen ended with ${raw.rc}: ${words(raw)}`) : value(state.trim());
}

export const ngenQueues = NGEN_FRAMEWORKS.map(({ id, directory }): { directory: string; fact: Fact<string> } => ({
  directory,
  fact: {
    id: `ngen-queue-${id}`,
    command: `"${ngenPath(directory)}" queue status`,
    // No exit code is documented, so only the text counts: an exit code other than 0 with this text can't be told from another error and is not quiet.
    quiet: {
      kind: "textAbsent",
      text: ["Service is running", "Service is starting", "Service is stopping", "is pending", "is started and paused", "Unknown state"],
      present: [STOPPED],
    },
    requires: ngenPath(directory),
    after: "ngen-workers",
    fix: "ngen",
    parse: parseQueueStatus,
  },
}));

export const ngen: Check = {
  id: "ngen",
  title: "Microsoft NGen",
  prompt: SEED,
  bit: { name: "ngen", value: 8 },
  policy: "fix",
  windows: {
    facts: [ngenWorkers, ...ngenQueues.map(({ fact }) => fact)],
    judge: (look) => {
      const processes = look(ngenWorkers);
      if (processes.kind !== "value") return cannotTell(ngenWorkers, processes);
      const workers = running(processes.value, NGEN_WORKERS);
      // The queues are not asked while workers run: their missing answers are no news.
      if (workers.length > 0) return pending(`${SEED} ${named(workers)} runs: you must let it complete, do not reboot to stop it.`);
      if (ngenQueues.every(({ fact }) => look(fact).kind === "absent")) {
        return cannotTell(ngenWorkers, "no .NET Framework directory with an ngen.exe was found, and every Windows has one");
      }
      return joinJudgements(
        ngenQueues.map(
          ({ directory, fact }): Judgement =>
            judgeAbsent(fact, look, (state) =>
              state === "stopped"
                ? ready
                : pending(
                    `${SEED} ${directory}: ngen queue status says "${state}"; wait, or have it done in the foreground with ngen: "execute-queued" or "update-force".`,
                  ),
            ),
        ),
      );
    },
  },
};
