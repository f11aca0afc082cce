// What each operation of each resource asks of a pool, on the main path: one layer from its connector to a sealed version, and all of it taken away again.
// Counted where it arrives, in the simulator's log. Reads of events are not counted: how often they return is a matter of time, not of design.
// Marks are what crash safety costs: writes of marks, records and leases in other_config, without which a killed run's work could not be found.
// A transfer is counted by itself: the HTTP request that moves a disk, with the task that is made for it before and taken away after it (three requests).
import type { ConnectorCredentials } from "../provider/resource.ts";
import { connectFor } from "../provider/session.ts";
import { type Made, withStage } from "../provider/testing.ts";
import { disconnectAll } from "../provider/xapi/client.ts";
import type { Request } from "../simulator/index.ts";

/** "Finalize.create", of which "Finalize.create marks" are for crash safety, and "Finalize.create transfers" for the disks that it moves. */
export type Calls = Record<string, number>;

const POLLS = new Set(["event.from", "event.inject"]);
const isMark = (method: string): boolean => /^\w+\.(set|add_to|remove_from)_other_config$/.test(method);
const isTransfer = (method: string): boolean => /^(PUT|GET) /.test(method);

const WINDOWS = {
  guest: "windows" as const,
  bootstrap: "xenlayer" as const,
  os: { name: "Windows 11 Enterprise", major: 10, minor: 0, build: 22631 },
  kms: { channel: "VOLUME_KMSCLIENT", rearmCount: 5 },
  programs: [{ match: "setup.exe /quiet", seconds: 60, exitCode: 0, files: { "Program Files/Agent/agent.txt": "1" } }],
};

/** Guests take their time, if a short one: a machine that has powered off before the next events are read is looked at once more than usual. */
const POOL = { clock: "real", speed: 200 } as const;

export interface Operation {
  name: string;
  requests: readonly Request[];
}

/** Runs the main path and tells the requests of each operation, in order. */
export async function mainPath(): Promise<Operation[]> {
  const operations: Operation[] = [];
  await withStage(async (stage) => {
    const measured = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const from = stage.sim.log.at(-1)?.n ?? 0;
      const result = await work();
      operations.push({ name, requests: stage.sim.log.filter(({ n, method }) => n > from && !POLLS.has(method)) });
      return result;
    };
    const file = await stage.image(WINDOWS);
    const settings = stage.connector();
    await measured("session", () => connectFor(stage.front, { ...settings, transferOverTls: true } as ConnectorCredentials));
    const create = async (type: string, news: Record<string, unknown>): Promise<Made> => {
      const { inputs, failures } = await measured(`${type}.check`, () => stage.check(type, news));
      if (failures.length > 0) throw new Error(`${type}: ${JSON.stringify(failures)}`);
      return { type, inputs, ...(await measured(`${type}.create`, () => stage.resource(type).create(stage.front, inputs))) };
    };
    const config = await create("ConnectorConfig", settings);
    const connector = { ...settings, connectorId: config.outputs.connectorId };
    const os = await create("OsLayer", { connector, name: "win11", version: "1.0", source: { file } });
    const layer = await create("PlatformLayer", {
      connector,
      name: "plat",
      osLayer: os.outputs.layerId,
      purpose: "publishing",
      platform: { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "xendesktop" },
    });
    const disk = await create("PackagingDisk", { connector, layer: layer.outputs.layerId, version: "2.3" });
    const install = [{ name: "Agent", run: "setup.exe /quiet", shell: "cmd" }];
    const machine = await create("PackagingMachine", { connector, disk: disk.id, install });
    const version = await create("Finalize", { connector, disk: disk.id, machine: machine.id, version: "2.3", kms: "rearm" });
    const all = [config, os, layer, disk, machine, version];
    for (const { type, id, outputs } of all) await measured(`${type}.read`, () => stage.resource(type).read(stage.front, id, outputs));
    for (const { type, id, inputs, outputs } of all)
      await measured(`${type}.diff`, () => stage.resource(type).diff(stage.front, id, outputs, inputs));
    for (const made of all)
      made.outputs = (
        await measured(`${made.type}.update`, () => stage.resource(made.type).update(stage.front, made.id, made.outputs, made.inputs))
      ).outputs;
    for (const { type, id, outputs } of all.reverse())
      await measured(`${type}.delete`, () => stage.resource(type).delete(stage.front, id, outputs));
    await measured("session", () => disconnectAll());
  }, POOL);
  return operations;
}

export function counted(operations: readonly Operation[]): Calls {
  const calls: Calls = {};
  const add = (key: string, count: number) => {
    if (count > 0 || !/ (marks|transfers)$/.test(key)) calls[key] = (calls[key] ?? 0) + count;
  };
  for (const { name, requests } of operations) {
    const moved = requests.filter(({ method }) => isTransfer(method)).map(taskOf);
    add(name, requests.length - moved.length - requests.filter((request) => servesTransfer(request, moved)).length);
    add(`${name} marks`, requests.filter(({ method }) => isMark(method)).length);
    add(`${name} transfers`, moved.length);
  }
  return calls;
}

const taskOf = ({ params }: Request): unknown => (params[0] as { task_id?: string } | undefined)?.task_id;

// Only transfers have tasks that the client makes itself.
const servesTransfer = ({ method, params }: Request, tasks: readonly unknown[]): boolean =>
  method === "task.create" || (method === "task.destroy" && tasks.includes(params[0]));
