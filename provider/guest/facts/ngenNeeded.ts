// Native images that wait to be compiled though no worker runs (App Layering's icNgenNeeded): `ngen display` marks them StatusPending. Since Windows 8 the native
// image task takes them up when the machine is idle, which a packaging machine may never be, so "the queue is stopped" does not prove that it is empty (guest.md 2.7).
// The list may be megabytes long: it goes into a file, of which two lines are looked for.
import {
  type Check,
  cannotTell,
  type Fact,
  type Judgement,
  joinJudgements,
  judgeAbsent,
  pending,
  ready,
  unknown,
  value,
  words,
} from "../fact.ts";
import { running } from "../processes.ts";
import { NGEN_FRAMEWORKS, NGEN_WORKERS, ngenPath, ngenWorkers } from "./ngen.ts";

const PROMPT = "A Microsoft NGen operation is needed - please check the Packaging Machine.";
const PROOF = "Native Images";
const LIST = "out\\ngen-display.txt";

const images = NGEN_FRAMEWORKS.map(({ id, directory }): { directory: string; fact: Fact<number> } => ({
  directory,
  fact: {
    id: `ngen-pending-${id}`,
    command: `cmd /d /c ""${ngenPath(directory)}" display >${LIST} & find "${PROOF}" ${LIST} & find "StatusPending" ${LIST}"`,
    // The last find's: 1 is "not found".
    quiet: { kind: "exitCode", codes: [1], present: [PROOF] },
    requires: ngenPath(directory),
    after: "ngen-workers",
    fix: "ngen",
    parse: (raw) => {
      if (!raw.out.includes(PROOF)) return unknown(`ngen display did not list its ${PROOF}: ${words(raw)}`);
      if (raw.rc !== 0 && raw.rc !== 1) return unknown(`find ended with ${raw.rc}`);
      const count = raw.out.split("\n").filter((line) => line.includes("(StatusPending)")).length;
      return raw.rc === 0 && count === 0 ? unknown("find says that there are StatusPending images and shows none") : value(count);
    },
  },
}));

export const ngenNeeded: Check = {
  id: "ngenNeeded",
  title: "Microsoft NGen needed",
  prompt: PROMPT,
  bit: { name: "ngenNeeded", value: 64 },
  policy: "fix",
  windows: {
    facts: images.map(({ fact }) => fact),
    judge: (look) => {
      const processes = look(ngenWorkers);
      if (processes.kind === "value" && running(processes.value, NGEN_WORKERS).length > 0)
        return pending(`${PROMPT} It is not looked for while NGen works.`);
      const first = images[0];
      // Without any framework directory the other check of NGen says so already.
      if (first !== undefined && images.every(({ fact }) => look(fact).kind === "absent"))
        return cannotTell(first.fact, "no ngen.exe was found");
      return joinJudgements(
        images.map(
          ({ directory, fact }): Judgement =>
            judgeAbsent(fact, look, (count) =>
              count === 0
                ? ready
                : pending(
                    `${PROMPT} ${directory}: ${count} native images wait to be compiled; have it done with ngen: "execute-queued" or "update-force".`,
                  ),
            ),
        ),
      );
    },
  },
};
