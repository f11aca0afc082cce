// A pool, what two stacks want of it, and what strangers do to it; and what must be true of it whatever happened. For the model-based test: what is known to
// be sealed must stay so, nobody else's object changes, nothing of ours is without an entry that tells of it.
import { createHash } from "node:crypto";
import { FatVolume } from "../../simulator/storage/fat.ts";
import type { Entry } from "../layer/entry.ts";
import { isOurs, marksOf } from "../layer/marks.ts";
import { LayerRecord } from "../layer/record.ts";
import { bearsMeta, recordName } from "../layer/recordKeys.ts";
import type { ConnectorCredentials } from "../resource.ts";
import { connectFor } from "../session.ts";
import { type Stage, step } from "../testing.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { type Declared, type Kept, Stack } from "./stack.ts";

export type StackName = "one" | "two";
export type Steps = "agent" | "other" | "fails";

/** What a program says of one layer. */
export interface Wish {
  name: string;
  version: string;
  steps: Steps;
  keep?: number | undefined;
}

/** A version that was seen sealed: from then on it is there, the same bytes, until somebody may remove it. */
export interface Sealed {
  layer: string;
  version: string;
  vdi: string;
  steps: string;
  digest: string;
}

/** What a sequence begins with, kept with the pool it belongs to. */
export interface Beginning {
  url: string;
  connectorId: string;
  osLayer: string;
  state: Kept[];
  wish: Wish | undefined;
  sealed: [string, Sealed][];
}

export interface Seen {
  vdis: Rec<"VDI">[];
  records: LayerRecord[];
}

const FILES: Record<Steps, string> = { agent: "Program Files/Agent/agent.txt", other: "Program Files/Other/other.txt", fails: "none" };

export class World {
  readonly stage: Stage;
  readonly connector: Record<string, unknown>;
  readonly osLayer: string;
  readonly stacks: Record<StackName, Stack>;
  readonly wishes: Record<StackName, (Wish | undefined)[]>;
  /** By entry id. */
  readonly sealed: Map<string, Sealed>;
  /** Entries whose evidence a stranger has destroyed. */
  readonly withoutEvidence = new Set<string>();
  /** Objects that strangers made, as they were then. */
  readonly foreign = new Map<string, { cls: "VDI" | "VM"; was: string }>();

  constructor(stage: Stage, begin: Beginning) {
    this.stage = stage;
    this.connector = { ...stage.connector(), connectorId: begin.connectorId };
    this.osLayer = begin.osLayer;
    this.stacks = { one: new Stack(stage, begin.state), two: new Stack(stage) };
    this.wishes = { one: [begin.wish, undefined], two: [undefined, undefined] };
    this.sealed = new Map(begin.sealed);
  }

  xapi(): Promise<Xapi> {
    return connectFor(this.stage.front, this.connector as unknown as ConnectorCredentials);
  }

  program(stack: StackName): Declared[] {
    const { connector } = this;
    const platform = { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "none" };
    return this.wishes[stack].flatMap((wish, at): Declared[] => {
      if (wish === undefined) return [];
      const { name, version, steps, keep } = wish;
      const layer = { connector, name, osLayer: this.osLayer, purpose: "publishing", platform };
      const retention = keep === undefined ? {} : { retention: { keep } };
      const install = [step(`${steps}.exe`)];
      return [
        { name: `layer ${at}`, type: "PlatformLayer", inputs: () => ({ ...layer, ...retention }) },
        {
          name: `disk ${at}`,
          type: "PackagingDisk",
          inputs: (made) => ({ connector, layer: made(`layer ${at}`).id, version, triggers: { steps } }),
        },
        { name: `machine ${at}`, type: "PackagingMachine", inputs: (made) => ({ connector, disk: made(`disk ${at}`).id, install }) },
        {
          name: `seal ${at}`,
          type: "Finalize",
          inputs: (made) => ({ connector, disk: made(`disk ${at}`).id, machine: made(`machine ${at}`).id, version }),
        },
      ];
    });
  }

  async look(): Promise<Seen> {
    const xapi = await this.xapi();
    const vdis = await xapi.all("VDI");
    return { vdis, records: LayerRecord.among(xapi, vdis).filter(({ meta }) => meta.kind === "platform") };
  }

  /** What is wrong with the pool, whatever was done to it and wherever it was killed. `mayGo`: entries that the last command may have removed. */
  wrongs(seen: Seen, mayGo: ReadonlySet<string>): string[] {
    const wrongs: string[] = [];
    const { vdis, records } = seen;
    const names = records.map(({ meta }) => meta.name);
    for (const name of new Set(names)) if (names.filter((other) => other === name).length > 1) wrongs.push(`two layers are named ${name}`);
    const entries = new Map(records.flatMap((record) => [...record.versions].map(([name, entry]) => [entry.id, { record, name, entry }])));
    for (const [id, was] of this.sealed) {
      const now = entries.get(id);
      const disk = vdis.some(({ uuid }) => uuid === was.vdi);
      if (mayGo.has(id) && !(disk && now?.entry.state === "Deployable")) this.sealed.delete(id);
      else if (now?.entry.state !== "Deployable")
        wrongs.push(`${was.layer} ${was.version}: was sealed and is ${now?.entry.state ?? "gone"}`);
      else {
        if (now.entry.vdi !== was.vdi || !disk) wrongs.push(`${was.layer} ${was.version}: its disk is ${disk ? "another" : "gone"}`);
        if (!this.withoutEvidence.has(id) && !vdis.some(({ uuid }) => uuid === now.entry.sealed?.evidence))
          wrongs.push(`${was.layer} ${was.version}: its evidence is gone`);
      }
    }
    const ours = vdis.filter(({ $ref }) => !this.foreign.has($ref));
    wrongs.push(...ownerless({ vdis: ours, records }, this.osLayer), ...this.strangers());
    return wrongs;
  }

  /** Takes in what has been sealed since the last look; answers what is wrong with it. */
  learn({ records }: Seen): string[] {
    return records.flatMap((record) =>
      [...record.versions].flatMap(([version, { id, state, vdi, content }]) => {
        if (state !== "Deployable" || vdi === undefined || this.sealed.has(id) || !this.stage.sim.storage.has(vdi)) return [];
        const steps = content.triggers?.steps as Steps;
        this.sealed.set(id, { layer: record.meta.name, version, vdi, steps, digest: this.digest(vdi) });
        const volume = FatVolume.open(this.stage.sim.disk(vdi));
        return volume?.readFile(FILES[steps]) === undefined ? [`${version} was sealed without what its steps install (${steps})`] : [];
      }),
    );
  }

  /** Sealed versions whose bytes have changed. */
  changedBytes(): string[] {
    return [...this.sealed.values()].flatMap(({ layer, version, vdi, digest }) =>
      this.digest(vdi) === digest ? [] : [`${layer} ${version}: its bytes have changed`],
    );
  }

  /** From now on a stranger's, to be left as it is. */
  adopt(cls: "VDI" | "VM", ref: string): void {
    this.foreign.set(ref, { cls, was: this.picture(cls, ref) });
  }

  /** VMs of strangers that have the disk. */
  usersOf(vdi: string): string[] {
    const { db } = this.stage.sim;
    const refs = db.all("VDI").flatMap(([ref, { uuid }]) => (uuid === vdi ? [ref] : []));
    return db.all("VBD").flatMap(([, vbd]) => (refs.includes(vbd.VDI) && this.foreign.has(vbd.VM) ? [vbd.VM] : []));
  }

  /** Names of layers that are there, also where their record was only begun. */
  layersLeft({ vdis, records }: Seen): string[] {
    const begun = vdis.filter((vdi) => !this.foreign.has(vdi.$ref) && isOurs(vdi, { role: "layer" }) && !bearsMeta(vdi));
    return [...records.map(({ meta }) => meta.name), ...begun.map(({ name_label }) => name_label.slice(0, -recordName("").length))];
  }

  private strangers(): string[] {
    return [...this.foreign].flatMap(([ref, { cls, was }]) => {
      const is = this.stage.sim.db.has(cls, ref) ? this.picture(cls, ref) : "gone";
      return is === was ? [] : [`a stranger's ${cls} has changed: it was ${was} and is ${is}`];
    });
  }

  private picture(cls: "VDI" | "VM", ref: string): string {
    const { db } = this.stage.sim;
    if (cls === "VM") {
      const { uuid, name_label, power_state, VBDs, other_config } = db.get("VM", ref);
      return JSON.stringify({ uuid, name_label, power_state, VBDs, other_config });
    }
    const { uuid, name_label, name_description, virtual_size, other_config, tags } = db.get("VDI", ref);
    return JSON.stringify({ uuid, name_label, name_description, virtual_size, other_config, tags });
  }

  private digest(vdi: string): string {
    const hash = createHash("sha1");
    const disk = this.stage.sim.disk(vdi);
    const size = 2 ** 21;
    for (const block of this.stage.sim.storage.blocks(vdi)) {
      hash.update(`${block} `);
      hash.update(disk.read(block * size, Math.min(size, disk.size - block * size)));
    }
    return hash.digest("hex");
  }
}

/** Disks that bear marks of their own, of which no entry tells: nobody would ever remove them; and a build that has two. */
function ownerless({ vdis, records }: Seen, osLayer: string): string[] {
  const told = new Set<string>();
  for (const { versions } of records)
    for (const { id, build, stale = [] } of versions.values())
      for (const one of [{ id, build }, ...stale]) told.add(`${one.id} ${one.build}`);
  const met = new Set<string>();
  return vdis.flatMap((vdi) => {
    const marks = marksOf(vdi);
    if (marks?.version === undefined || marks.layer === osLayer || !isOurs(vdi, {})) return [];
    const build = `${marks.version} ${marks.build}`;
    const role = `${build} ${marks.role}`;
    const twice = met.has(role);
    met.add(role);
    return [
      ...(told.has(build) ? [] : [`no entry tells of disk "${vdi.name_label}" (${marks.role})`]),
      ...(twice ? [`a build has two disks of role ${marks.role}: "${vdi.name_label}"`] : []),
    ];
  });
}

/** All of an entry but its lease, which a run takes and gives back. */
export const entryText = ({ lease: _, ...entry }: Entry): string => JSON.stringify(entry);
