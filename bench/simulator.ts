// A simulated pool in a process of its own, which also tells when a machine has powered off.
import { type SimulatorOptions, startSimulator } from "../simulator/index.ts";
import { clock, serve } from "./processes.ts";

const simulator = await startSimulator(JSON.parse(process.argv[2] ?? "{}") as SimulatorOptions);

serve(
  {
    access: () => ({ address: simulator.url, username: simulator.username, password: simulator.password }),
    type: (vm: string, command: string) => simulator.console(vm).type(command),
    /** When the machine became Halted. */
    halted: (vm: string) =>
      new Promise<number>((resolve) => {
        const ref = simulator.db.refOf("VM", vm);
        const stop = simulator.db.onChange(() => {
          if (simulator.db.get("VM", ref).power_state !== "Halted") return;
          resolve(clock());
          stop();
        });
      }),
  },
  () => simulator.close(),
);
