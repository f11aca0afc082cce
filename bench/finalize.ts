// What a finalize costs: real time under a virtual clock, boots, and calls to the pool, with nothing pending and with a restart pending.
import { Story, step, windowsGuest, withStage } from "../provider/testing.ts";
import { median, type Row } from "./table.ts";
import { counted } from "./xapiCalls.ts";

const ROUNDS = 5;
const POLLS = new Set(["event.from", "event.inject"]);

export async function finalizeRows(progress: (line: string) => void): Promise<Row[]> {
  const rows: Row[] = [];
  await withStage(async (stage) => {
    const story = await Story.begin(stage, { ...windowsGuest, tools: { version: "9.4.0.146" } });
    const layer = await story.layer("plat");
    for (const [what, program] of [
      ["nothing pending", "agent.exe"],
      ["a restart pending", "driver.exe"],
    ] as const) {
      const seconds: number[] = [];
      let cost = "";
      for (let round = 1; round <= ROUNDS; round++) {
        const version = `${program} ${round}`;
        const wish = { machine: { install: [step(program)] } };
        const disk = await layer.disk(version);
        await layer.machine(disk, wish);
        const from = stage.sim.log.at(-1)?.n ?? 0;
        const began = performance.now();
        const seal = await layer.seal(disk, version, wish);
        seconds.push((performance.now() - began) / 1000);
        const requests = stage.sim.log.filter(({ n, method }) => n > from && !POLLS.has(method));
        const { seal: calls = 0, "seal transfers": transfers = 0 } = counted([{ name: "seal", requests }]);
        const { boots } = seal.outputs.report as { boots: number };
        cost = `${boots} boot${boots === 1 ? "" : "s"}, ${calls} calls and ${transfers} transfers`;
        progress(`finalize, ${what}, round ${round}: ${seconds.at(-1)?.toFixed(2)} s, ${cost}`);
      }
      rows.push({ figure: `finalize with ${what}`, measured: cost, aim: "", met: undefined });
      const spent = median(seconds);
      const time = `${spent.toFixed(2)} s (median of ${ROUNDS})`;
      rows.push({ figure: `finalize with ${what}: real time under a virtual clock`, measured: time, aim: "below 2 s", met: spent < 2 });
    }
  });
  return rows;
}
