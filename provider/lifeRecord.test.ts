// What the record of a layer survives: lost marks, migrations, other people's copies, other runs, and an SR that can't be asked.
import { expect, it, vi } from "vitest";
import { getLayer, getLayerVersions } from "./functions.ts";
import { readDocument } from "./layer/document.ts";
import type { Entry } from "./layer/entry.ts";
import { survey } from "./layer/survey.ts";
import { inMachine } from "./testing/machines.ts";
import { reach, sharedStage } from "./testing/sharedStage.ts";
import { changes, killedAt, type Made, Story, step, withStage } from "./testing.ts";
import { NULL_REF, type Rec } from "./xapi/records.ts";

const quick = { machine: { install: [] } };

const { stage, story, xapi, withLayer, told } = await sharedStage();

const vdiOf = async (uuid: unknown): Promise<Rec<"VDI">> => {
  const vdi = await xapi.get("VDI", String(uuid));
  if (vdi === undefined) throw new Error(`disk ${uuid} is gone`);
  return vdi;
};

it("marks and record are rebuilt from the durable copy when an SR has lost them", async () => {
  await withStage(async (own) => {
    const before = own.pool();
    const begun = await Story.begin(own);
    const layer = await begun.layer("plat");
    const version = await layer.version("1", { seal: { comment: "first" } });
    const pool = await reach(own, begun);
    // SR.forget and SR.introduce: same disks, same names, nothing in other_config.
    for (const vdi of await pool.all("VDI"))
      if (Object.keys(vdi.other_config).length > 0) await pool.call("VDI.set_other_config", vdi.$ref, {});
    for (const made of [begun.os, layer.made, ...Object.values(version)])
      expect(await own.up(made, made.inputs)).toMatchObject({ changes: false, replaces: [] });
    expect(own.told.filter((line) => /its marks were gone and have been rebuilt/.test(line))).toHaveLength(2);
    expect((await layer.record()).audit).toMatchObject([{ event: "version sealed", version: "1", comment: "first" }]);

    // A lost state on top of it: the layer is found by its name.
    for (const vdi of await pool.all("VDI"))
      if (Object.keys(vdi.other_config).length > 0) await pool.call("VDI.set_other_config", vdi.$ref, {});
    expect((await own.create("PlatformLayer", layer.made.inputs)).id).toBe(layer.id);
    Object.assign(layer.made, await own.create("PlatformLayer", layer.made.inputs));
    await layer.drop(version);
    await begun.end(layer);
    expect(changes(before, own.pool())).toEqual([]);
  });
});

it("a version that a storage migration has moved is found, mended and removed, though its disks are still described by the layer's former name", async () => {
  await withStage(
    async (own) => {
      const before = own.pool();
      const begun = await Story.begin(own);
      const layer = await begun.layer("plat");
      const version = await layer.version("1", quick);
      const pool = await reach(own, begun);
      const renamed = { ...layer.made.inputs, name: "renamed" };
      expect(await killedAt(own, { message: /VDI\.set_name_description$/ }, () => own.up(layer.made, renamed))).toBe(true);
      Object.assign(layer.made, (await own.up(layer.made, renamed)).made);
      const [second] = await pool.find("SR", { name_label: "Second shared NFS" });
      // As VDI.pool_migrate: a new uuid, names kept, other_config dropped.
      const move = async (uuid: unknown): Promise<Rec<"VDI">> => {
        const vdi = await pool.get("VDI", String(uuid));
        const ref = await pool.task<string>("VDI.copy", [vdi?.$ref, second?.$ref, NULL_REF, NULL_REF]);
        await pool.call("VDI.set_other_config", ref, {});
        await pool.destroy("VDI", vdi?.$ref ?? "");
        return (await pool.record("VDI", ref)) as Rec<"VDI">;
      };
      const moved = await move(version.disk.outputs.vdiUuid);
      const record = await move(layer.id);
      expect((await layer.record()).vdi.uuid).toBe(record.uuid);
      const disk = await own.up(version.disk, version.disk.inputs);
      expect(disk.replaces).toEqual([]);
      const seal = await own.up(version.seal, version.seal.inputs);
      expect(seal.made.outputs).toMatchObject({ vdiUuid: moved.uuid, versionId: version.seal.outputs.versionId });
      const machine = await own.up(version.machine, version.machine.inputs);
      expect(await pool.get("VDI", moved.uuid)).toMatchObject({
        other_config: { "xenlayer:uuid": moved.uuid },
        name_description: expect.stringMatching(/^xenlayer renamed\/1 /),
      });
      await layer.drop({ disk: disk.made, machine: machine.made, seal: seal.made });
      await begun.end(layer);
      expect(changes(before, own.pool())).toEqual([]);
    },
    { pool: "ha" },
  );
});

it("clones, copies and snapshots of our disks that somebody made are never deleted, nor taken for ours", async () => {
  await withStage(async (own) => {
    const begun = await Story.begin(own);
    const pool = await reach(own, begun);
    const layer = await begun.layer("plat");
    const theirs: string[] = [];
    /** A backup of every disk, in each way that XAPI has. */
    const backup = async () => {
      for (const vdi of (await pool.all("VDI")).filter(({ uuid }) => !theirs.includes(uuid))) {
        if (vdi.read_only) continue;
        const made = [
          await pool.call<string>("VDI.clone", vdi.$ref),
          await pool.call<string>("VDI.snapshot", vdi.$ref),
          await pool.task<string>("VDI.copy", [vdi.$ref, vdi.SR, NULL_REF, NULL_REF]),
        ];
        for (const ref of made) theirs.push((await pool.record("VDI", ref))?.uuid ?? "");
      }
    };
    const disk = await layer.disk("1", { disk: { triggers: { a: "1" } } });
    // Halted after a failed step, with its payload disk.
    await own.create("PackagingMachine", layer.inputs("1", { machine: { install: [step("fails.exe")] } }).machine(disk.id)).catch(() => {});
    await backup();
    const anew = await own.up(disk, layer.inputs("1", { disk: { triggers: { a: "2" } } }).disk);
    const machine = await layer.machine(anew.made);
    await backup();
    const seal = await layer.seal(anew.made, "1");
    await backup();
    // Found by name, the layer is the record and not a copy of it.
    expect((await own.create("PlatformLayer", layer.made.inputs)).id).toBe(layer.id);
    Object.assign(layer.made, await own.create("PlatformLayer", layer.made.inputs));
    await layer.drop({ disk: anew.made, machine, seal });
    await own.destroy(layer.made);
    expect((await own.check("PlatformLayer", layer.made.inputs)).failures).toEqual([]);
    // A new layer of that name is new, whatever copies of the old one there are.
    const second = await begun.layer("plat");
    expect(second.id).not.toBe(layer.id);
    await begun.end(second);
    const left = (await pool.all("VDI")).filter(({ read_only }) => !read_only).map(({ uuid }) => uuid);
    expect(left.sort()).toEqual(theirs.sort());
  });
});

it("an unfinished clone of a killed run is removed, a snapshot that somebody made at that moment is not", () =>
  withLayer("in flight", async (layer) => {
    // The clone is there, without a mark of its own.
    expect(await killedAt(stage, { message: /VDI\.clone/, after: true }, () => layer.disk("1"))).toBe(true);
    const os = await vdiOf(story.os.outputs.vdiUuid);
    const inFlight = Object.keys(os.other_config).filter((key) => key.startsWith("xenlayer:copying:"));
    expect(inFlight).toHaveLength(1);
    const backup = await xapi.call<string>("VDI.snapshot", os.$ref);
    const count = () => stage.sim.db.all("VDI").length;
    const before = count();
    const disk = await layer.disk("1");
    expect(count()).toBe(before);
    expect(Object.keys((await vdiOf(os.uuid)).other_config)).not.toContain(inFlight[0]);
    expect(await xapi.record("VDI", backup)).toBeDefined();
    await layer.drop({ disk });
    await xapi.destroy("VDI", backup);
  }));

it("a clone that somebody made of the base while a killed run's key was on it stays: always where a VM has it, and where it can't be told from ours", () =>
  withLayer("alike", async (layer) => {
    const os = await vdiOf(story.os.outputs.vdiUuid);
    const key = async () => Object.keys((await vdiOf(os.uuid)).other_config).some((name) => name.startsWith("xenlayer:copying:"));
    const theirs = () => xapi.call<string>("VDI.clone", os.$ref);
    const there = async (...refs: string[]) =>
      (await Promise.all(refs.map((ref) => xapi.record("VDI", ref)))).map((vdi) => vdi !== undefined);
    const make = (version: string) => layer.disk(version, { disk: { osVersion: "1.0" } });
    const copies = async () => (await survey(xapi)).filter(({ what }) => what === "unfinished copy");

    // Before it cloned; an image has the one that there is.
    expect(await killedAt(stage, { message: /VDI\.clone/ }, () => make("1"))).toBe(true);
    const image = await theirs();
    const remove = await inMachine(xapi, image);
    expect(await copies()).toEqual([]);
    await layer.drop({ disk: await make("1") });
    expect([await there(image), await key()]).toEqual([[true], false]);

    // Ours and theirs look the same.
    expect(await killedAt(stage, { message: /VDI\.clone/, after: true }, () => make("2"))).toBe(true);
    const [ours] = (await copies()).flatMap(({ vdis }) => vdis.map(({ $ref }) => $ref));
    const second = await theirs();
    expect(await copies()).toMatchObject([{ fate: "in doubt", version: "2" }]);
    const disk = await make("2");
    expect(await there(image, second, ours ?? "")).toEqual([true, true, true]);
    expect(stage.told.filter((line) => line.includes("which can't be told, so they stay"))).toHaveLength(1);
    await layer.drop({ disk });
    expect(await key()).toBe(false);

    // Two of ours, of two versions.
    for (const version of ["3", "4"]) expect(await killedAt(stage, { message: /VDI\.clone/, after: true }, () => make(version))).toBe(true);
    expect((await copies()).map(({ fate }) => fate)).toEqual(["left behind", "left behind"]);
    for (const version of ["3", "4"]) await layer.drop({ disk: await make(version) });
    await remove();
    for (const ref of [image, second, ours ?? ""]) await xapi.destroy("VDI", ref);
  }));

it("a clone whose answer was lost while the storage was at work on it is waited for, found and taken away: by the next up, and by a destroy", () =>
  withLayer("late", async (layer) => {
    const cut = async (): Promise<() => void> => {
      let end = () => {};
      const happens = () =>
        new Promise<void>((resolve) => {
          end = resolve;
        });
      stage.sim.fault({ message: "VDI.clone", cut: true, when: "during", happens });
      await expect(layer.disk("1")).rejects.toThrow("VDI.clone failed: OUTCOME_UNKNOWN");
      expect((await layer.entry("1")).state).toBe("Editing");
      return () => end();
    };
    const ends = async (work: Promise<unknown>, end: () => void) => {
      await vi.waitUntil(() => stage.told.at(-1) === "the storage is at work", { timeout: 60_000, interval: 5 });
      end();
      await work;
      stage.told.length = 0;
    };
    const end = await cut();
    expect((await survey(xapi)).find(({ what }) => what === "in-flight key")).toMatchObject({ fate: "busy", version: "1" });
    await ends(
      layer.disk("1").then((disk) => layer.drop({ disk })),
      end,
    );
    const again = await cut();
    await ends(stage.destroy(layer.made), again);
    Object.assign(layer.made, await stage.create("PlatformLayer", layer.made.inputs));
  }));

it("a clone that somebody made during a copy that failed stays, and nothing of the copy does", () =>
  withStage(
    async (own) => {
      const begun = await Story.begin(own);
      const pool = await reach(own, begun);
      const before = own.pool();
      const elsewhere = { ...begun.connector, storageRepository: "Second shared NFS" };
      const layer = await begun.layer("plat");
      const { $ref, SR } = (await pool.get("VDI", String(begun.os.outputs.vdiUuid))) as Rec<"VDI">;
      let clone = "";
      const happens = async () => {
        clone = await pool.call<string>("VDI.clone", $ref);
      };
      own.sim.fault({ message: "VDI.copy", code: "SR_BACKEND_FAILURE_44", happens });
      await expect(own.create("PackagingDisk", { ...layer.inputs("1").disk, connector: elsewhere })).rejects.toThrow(
        "SR_BACKEND_FAILURE_44",
      );
      expect((await pool.record("VDI", clone))?.SR).toBe(SR);
      await pool.destroy("VDI", clone);
      await own.destroy(layer.made);
      expect(changes(before, own.pool())).toEqual([]);
    },
    { pool: "ha" },
  ));

it("read says gone only where the storage could be asked, and diff replaces only then", async () => {
  await withStage(async (own) => {
    const begun = await Story.begin(own);
    const layer = await begun.layer("plat");
    const version = await layer.version("1", quick);
    const pool = await reach(own, begun);
    const sr = await pool.find("SR", { name_label: "Local storage" });
    const [pbd] = await pool.find("PBD", { SR: sr[0]?.$ref ?? "" });
    const all: Made[] = [version.seal, version.machine, version.disk, layer.made, begun.os];
    // Detached, its disks still in the database: everything is answered as before.
    await pool.call("PBD.unplug", pbd?.$ref);
    for (const made of all) expect((await own.refresh(made))?.outputs).toEqual(made.outputs);
    // Forgotten by XAPI as well: nothing is found, and nobody can tell.
    for (const vdi of await pool.find("VDI", { SR: sr[0]?.$ref ?? "" })) await pool.call("VDI.forget", vdi.$ref);
    for (const made of all) {
      await expect(own.refresh(made)).rejects.toThrow('storage repository "Local storage" is attached to no host');
      const diff = own.resource(made.type).diff(own.front, made.id, made.outputs, made.inputs);
      if (made.type !== "PackagingMachine" && made.type !== "Finalize") await expect(diff).rejects.toThrow("is attached to no host");
    }
    await pool.call("PBD.plug", pbd?.$ref);
    for (const made of all) expect(await own.refresh(made)).toBeUndefined();
    expect((await own.up(begun.os, begun.os.inputs)).replaces).toEqual(["name"]);
    // What is gone needs no delete.
    await layer.drop(version);
    await begun.end(layer);
  });
});

it("a record that can't be read is named and left alone, whatever is asked", () =>
  withLayer("unreadable", async (layer) => {
    const version = await layer.version("1", quick);
    const vdi = await vdiOf(layer.id);
    const key = Object.keys(vdi.other_config).find((name) => name.startsWith("xenlayer:version:1:")) ?? "";
    const good = vdi.other_config[key] ?? "";
    for (const text of ["{", JSON.stringify({ ...JSON.parse(good), format: 2 })]) {
      await xapi.call("VDI.set_other_config", vdi.$ref, { ...vdi.other_config, [key]: text });
      const before = stage.pool();
      const message = `layer record ${vdi.uuid} ("unreadable (layer record)"): key ${key} can't be read`;
      for (const made of [...Object.values(version), layer.made]) {
        await expect(stage.refresh(made)).rejects.toThrow(message);
        await expect(stage.destroy(made)).rejects.toThrow(message);
      }
      expect((await stage.check("PackagingDisk", version.disk.inputs)).failures[0]?.reason).toContain(
        "it may come from a newer release of xenlayer",
      );
      expect(changes(before, stage.pool())).toEqual([]);
    }
    await xapi.call("VDI.set_other_config", vdi.$ref, vdi.other_config);
    await layer.drop(version);
  }));

it("keys of a later release in a record are kept", () =>
  withLayer("later", async (layer) => {
    const version = await layer.version("1", quick);
    const record = await layer.record();
    await record.put("1", { ...(record.versions.get("1") as Entry), invented: { later: true } } as Entry);
    await record.putMeta({ ...record.meta, alsoInvented: 1 });
    await layer.drop(version);
    expect(await layer.entry("1")).toMatchObject({ released: expect.any(String), invented: { later: true } });
    expect((await stage.up(layer.made, { ...layer.made.inputs, description: "x" })).changes).toBe(true);
    expect((await layer.record()).meta).toMatchObject({ alsoInvented: 1, description: "x" });
    Object.assign(layer.made, await stage.create("PlatformLayer", layer.made.inputs));
  }));

it("a sealed disk that somebody has changed is said to be broken, and not sealed or taken again", () =>
  withLayer("drift", async (layer) => {
    const version = await layer.version("1", quick);
    const vdi = await vdiOf(version.disk.outputs.vdiUuid);
    await xapi.task("VDI.resize", [vdi.$ref, vdi.virtual_size + 2 ** 22]);
    const diff = await stage.resource("Finalize").diff(stage.front, version.seal.id, version.seal.outputs, version.seal.inputs);
    expect(diff).toEqual({ changes: true });
    await expect(stage.up(version.seal, version.seal.inputs)).rejects.toThrow(
      /version 1 of layer "drift" is not what was sealed any more: its disk .* has/,
    );
    expect(await told(() => stage.refresh(version.seal))).toMatch(/warning: version 1 of layer "drift" is not what was sealed any more/);
    const { versions } = await getLayerVersions(stage.front, { connector: story.connector, layer: layer.id });
    expect(versions).toMatchObject([{ version: "1", state: "Broken" }]);
    // The way out: a new version.
    const next = await layer.version("2", quick);
    await layer.drop(version);
    await layer.drop(next);
  }));

it("a VM that writes to a sealed disk is told by refresh", () =>
  withLayer("written", async (layer) => {
    const version = await layer.version("1", quick);
    const vdi = await vdiOf(version.disk.outputs.vdiUuid);
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    const vm = await xapi.call<string>("VM.clone", template?.$ref, "careless");
    await xapi.call("VM.set_is_a_template", vm, false);
    const drive = { VM: vm, VDI: vdi.$ref, userdevice: "0", bootable: true, mode: "RW", type: "Disk", unpluggable: false, empty: false };
    await xapi.call("VBD.create", { ...drive, other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} });
    expect(await told(() => stage.refresh(version.seal))).toBe("");
    await xapi.task("VM.start", [vm, false, false]);
    expect(await told(() => stage.refresh(version.seal))).toContain('is being written to by VM "careless"');
    await xapi.task("VM.hard_shutdown", [vm]);
    await xapi.destroy("VM", vm);
    await layer.drop(version);
  }));

it("a layer is renamed in place with its disks, and a taken name is refused in check", () =>
  withLayer("old name", async (layer) => {
    const version = await layer.version("1", quick);
    const other = await story.layer("taken name");
    const inputs = story.layerInputs("taken name");
    expect((await stage.check("PlatformLayer", inputs, layer.made.inputs)).failures).toEqual([
      { property: "name", reason: 'a layer "taken name" exists: choose another name' },
    ]);
    await expect(stage.resource("PlatformLayer").update(stage.front, layer.id, layer.made.outputs, inputs)).rejects.toThrow("taken name");
    expect((await stage.check("PlatformLayer", story.layerInputs("win11"))).failures).toMatchObject([{ property: "name" }]);
    expect((await stage.check("OsLayer", { ...story.os.inputs, name: "taken name" })).failures).toMatchObject([{ property: "name" }]);
    await stage.destroy(other.made);

    const renamed = await stage.up(layer.made, story.layerInputs("new/name"));
    expect(renamed).toMatchObject({ changes: true, replaces: [] });
    expect((await vdiOf(layer.id)).name_label).toBe("new/name (layer record)");
    expect((await vdiOf(version.disk.outputs.vdiUuid)).name_description).toMatch(/^xenlayer new\/name\/1 /);
    for (const made of Object.values(version)) expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false });
    // A slash in the name of the layer is no end of it.
    const next = await layer.disk("2", { disk: { baseVersion: "1" } });
    expect(next.outputs.basedOn).toBe("new/name/1");
    expect((await stage.check("PackagingDisk", next.inputs, next.inputs)).inputs.base).toBe("new/name/1");
    await layer.drop({ disk: next });
    await layer.drop(version);
    Object.assign(layer.made, renamed.made);
  }));

it("a rename that was killed in the middle is finished by the next", () =>
  withLayer("from", async (layer) => {
    const inputs = story.layerInputs("to");
    expect(await killedAt(stage, { message: /VDI\.set_name_label/, after: true }, () => stage.up(layer.made, inputs))).toBe(true);
    const { made } = await stage.up(layer.made, inputs);
    expect((await getLayer(stage.front, { connector: story.connector, name: "to" })).layerId).toBe(layer.id);
    Object.assign(layer.made, made);
  }));

it("each comment becomes one audit entry, however often a program runs", () =>
  withLayer("audited", async (layer) => {
    const said = async () => (await layer.record()).audit.map(({ event, version = "", comment = "" }) => `${event} ${version}: ${comment}`);
    const first = await stage.up(layer.made, { ...layer.made.inputs, comment: "layer one" });
    const again = await stage.up(first.made, { ...first.made.inputs, description: "other" });
    const version = await layer.version("1", { ...quick, disk: { comment: "opened" }, seal: { comment: "sealed" } });
    await layer.seal(version.disk, "1", { seal: { comment: "sealed" } });
    const disk = await stage.up(version.disk, { ...version.disk.inputs, comment: "about the disk" });
    const seal = await stage.up(version.seal, { ...version.seal.inputs, comment: "sealed, really" });
    expect(await said()).toEqual([
      "layer changed : layer one",
      "version added 1: opened",
      "version sealed 1: sealed",
      "version changed 1: about the disk",
      "version sealed 1: sealed, really",
    ]);
    const third = await stage.up(again.made, { ...again.made.inputs, comment: "layer two" });
    expect((await said()).at(-1)).toBe("layer changed : layer two");
    expect((await getLayer(stage.front, { connector: story.connector, layerId: layer.id })).audit).toHaveLength(6);
    await layer.drop({ disk: disk.made, machine: version.machine, seal: seal.made });
    Object.assign(layer.made, third.made);
  }));

it("the durable copy says at every commit point what the record says", () =>
  withLayer("durable", async (layer) => {
    const same = async () => {
      const record = await layer.record();
      const copy = await readDocument(xapi, record.vdi);
      expect(copy).toEqual({ meta: record.meta, versions: Object.fromEntries(record.versions), audit: record.audit });
    };
    await same();
    const version = await layer.version("1", { ...quick, seal: { comment: "c" } });
    await same();
    await layer.drop(version);
    await same();
    const { made } = await stage.up(layer.made, { ...layer.made.inputs, retention: { keep: 0 } });
    await same();
    expect((await layer.record()).versions.size).toBe(0);
    Object.assign(layer.made, made);
  }));

/** The provider in another process: nothing of this one's memory is shared. */
async function anotherProcess() {
  vi.resetModules();
  const [{ resources }, { disconnectAll }] = await Promise.all([import("./resources/index.ts"), import("./xapi/client.ts")]);
  const create = async (type: string, inputs: Record<string, unknown>) => {
    const found = resources.find((candidate) => candidate.type === type);
    if (found === undefined) throw new Error(type);
    return await found.create(stage.front, (await found.check(stage.front, undefined, inputs)).inputs);
  };
  return { create, close: disconnectAll };
}

it("of two runs that build the same version at the same time, one works and the other waits and takes what it made", () =>
  withLayer("raced", async (layer) => {
    const other = await anotherProcess();
    const inputs = layer.inputs("1");
    const disk = await layer.disk("1");
    const starts = () => stage.sim.log.filter(({ method }) => method.endsWith("VM.start")).length;
    const before = starts();
    const both = await Promise.all([layer.machine(disk), other.create("PackagingMachine", inputs.machine(disk.id))]);
    expect(both.map(({ outputs }) => outputs.ready)).toEqual([true, true]);
    expect(starts()).toBe(before + 1);
    expect(stage.told.some((line) => /version 1 is held by a run on .*waiting for it/.test(line))).toBe(true);
    const seals = await Promise.all([layer.seal(disk, "1"), other.create("Finalize", inputs.seal(disk.id))]);
    expect(starts()).toBe(before + 2);
    expect(seals[0]?.outputs.sealedAt).toBe(seals[1]?.outputs.sealedAt);
    await other.close();
    // One of them has the hold.
    const holder = (await layer.entry("1")).holders.finalize;
    const [seal] = seals.filter(({ outputs }) => outputs.holder === holder);
    await layer.drop({ seal: { ...(seals[0] as Made), outputs: seal?.outputs ?? {} } });
    expect((await layer.entry("1")).released).toBeDefined();
  }));

it("of two runs that begin the same version at the same time, both end with one disk, or one is told to run again", () =>
  withLayer("begun twice", async (layer) => {
    const other = await anotherProcess();
    const results = await Promise.allSettled([layer.disk("1"), other.create("PackagingDisk", layer.inputs("1").disk)]);
    await other.close();
    const failures = results.flatMap((result) => (result.status === "rejected" ? [String(result.reason)] : []));
    expect(failures.length).toBeLessThan(2);
    for (const failure of failures) expect(failure).toMatch(/was changed by another run at the same time/);
    const disk = await layer.disk("1");
    expect(stage.sim.db.all("VDI").filter(([, { name_label }]) => name_label.startsWith("begun twice"))).toHaveLength(2);
    await layer.drop({ disk });
  }));

it("a layer with a version that another run is building is not deleted", () =>
  withLayer("busy", async (layer) => {
    await layer.disk("1");
    const record = await layer.record();
    const entry = record.versions.get("1") as Entry;
    await record.put("1", { ...entry, lease: { run: "another", host: "elsewhere", pid: 1, until: Date.now() + 60_000 } });
    await expect(stage.destroy(layer.made)).rejects.toThrow(
      /version 1 of layer "busy" is being worked on by a run on elsewhere \(process 1\)/,
    );
    await record.put("1", entry);
  }));
