/** Keeps a pool over restarts of the simulator. What runs does not survive: after a restart every VM is halted, as after a power cut; sessions and tasks are gone. */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Pool } from "./context.ts";
import type { Saved } from "./database.ts";
import { detachAllFromDom0 } from "./dom0.ts";

const FORMAT = 1;
/** Real milliseconds after a change until it is on disk. */
const DELAY = 500;

const file = (pool: Pool) => join(pool.workDir, "database.json");

/** Loads what a former simulator has left in the directory; false where there is nothing. */
export function loadState(pool: Pool): boolean {
  if (!existsSync(file(pool))) return false;
  const saved = JSON.parse(readFileSync(file(pool), "utf8")) as Saved & { format: number };
  if (saved.format !== FORMAT) throw new Error(`${file(pool)} has format ${saved.format}; this simulator reads ${FORMAT}`);
  const { db, domains } = pool;
  db.load(saved);
  for (const cls of ["session", "task"]) for (const ref of db.refs(cls)) db.destroy(cls, ref);
  detachAllFromDom0(pool);
  for (const [ref, vm] of db.all("VM")) {
    if (vm.is_control_domain) continue;
    if (Object.keys(vm.current_operations).length > 0) db.update("VM", ref, { current_operations: {} });
    if (vm.power_state !== "Halted") domains.destroy(ref);
  }
  for (const [ref, vdi] of db.all("VDI"))
    if (Object.keys(vdi.current_operations).length > 0) db.update("VDI", ref, { current_operations: {} });
  return true;
}

/** Writes the database shortly after each change, and when it is closed. */
export function keepSaved(pool: Pool): { close(): void } {
  let timer: NodeJS.Timeout | undefined;
  const save = () => {
    timer = undefined;
    const part = `${file(pool)}.part`;
    writeFileSync(part, JSON.stringify({ format: FORMAT, ...pool.db.save() }));
    renameSync(part, file(pool));
  };
  const stop = pool.db.onChange(() => {
    timer ??= setTimeout(save, DELAY);
  });
  save();
  return {
    close: () => {
      stop();
      clearTimeout(timer);
      save();
    },
  };
}
