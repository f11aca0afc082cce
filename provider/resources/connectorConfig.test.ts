import { expect, it } from "vitest";
import { marksFor } from "../layer/marks.ts";
import type { ConnectorCredentials } from "../resource.ts";
import { connectFor } from "../session.ts";
import { changes, killedAt, type Stage, Story, withStage } from "../testing.ts";

const reach = (stage: Stage) => connectFor(stage.front, stage.connector() as unknown as ConnectorCredentials);
const probes = (stage: Stage): string[] =>
  stage.sim.db.all("VDI").flatMap(([, vdi]) => (vdi.name_label.startsWith("xenlayer probe") ? [vdi.uuid] : []));

it("tests the pool down to a disk that is written and read back, tells what it found, and leaves nothing", async () => {
  await withStage(async (stage) => {
    const before = stage.pool();
    const network = "Pool-wide network associated with eth0";
    const made = await stage.create("ConnectorConfig", stage.connector({ network, toolsIso: "guest-tools.iso" }));
    expect(made.outputs).toMatchObject({
      connectorId: expect.stringMatching(/^[0-9a-f]{32}$/),
      product: "XenServer 8.4.0",
      apiVersion: "2.21",
      coordinator: "xs1",
      capabilities: ["memory", "consoleScreenshot"],
    });
    for (const key of ["pool", "templateUuid", "storageRepositoryUuid", "networkUuid", "toolsIsoUuid"])
      expect(made.outputs[key]).toMatch(/^[0-9a-f-]{36}$/);
    expect(stage.sim.log.map(({ method }) => method)).toEqual(expect.arrayContaining(["PUT /import_raw_vdi", "GET /export_raw_vdi"]));
    expect(changes(before, stage.pool())).toEqual([]);
    expect((await stage.refresh(made))?.outputs).toEqual(made.outputs);
    await stage.destroy(made);
  });
});

it("works with vm-admin, the least role that does, and warns of what that lacks", async () => {
  await withStage(async (stage) => {
    const made = await stage.create("ConnectorConfig", stage.connector({ username: "vm-admin" }));
    expect(made.outputs.capabilities).toEqual(["consoleScreenshot"]);
    expect(stage.told.join("\n")).toContain(
      "warning: username: without vm.set_memory_limits: no memoryGiB of packaging machines (vm-power-admin)",
    );
  });
});

it("takes everything but its connectorId in place", async () => {
  await withStage(
    async (stage) => {
      const made = await stage.create("ConnectorConfig", stage.connector());
      const moved = await stage.up(made, stage.connector({ storageRepository: "Second shared NFS", tags: ["ci"] }));
      expect(moved).toMatchObject({ changes: true, replaces: [] });
      expect(moved.made.outputs.connectorId).toBe(made.outputs.connectorId);
      expect(moved.made.outputs.storageRepositoryUuid).not.toBe(made.outputs.storageRepositoryUuid);
      const other = stage.connector({ connectorId: "f".repeat(32) });
      await expect(stage.up(made, other)).rejects.toThrow("connectorId: can't be changed: it owns what was made through this connector");
      expect(await stage.up(made, stage.connector({ connectorId: made.outputs.connectorId }))).toMatchObject({ replaces: [] });
    },
    { pool: "ha" },
  );
});

it("is not deleted while something exists that was made through it, and names that; copies of others are not its business", async () => {
  await withStage(async (stage) => {
    const story = await Story.begin(stage);
    await expect(stage.destroy(story.config)).rejects.toThrow(
      'the connector is not deleted: what was made through it exists: layer "win11"',
    );
    const xapi = await reach(stage);
    const vdi = await xapi.get("VDI", String(story.os.outputs.vdiUuid));
    const backup = await xapi.call<string>("VDI.clone", vdi?.$ref);
    await stage.destroy(story.os);
    await stage.destroy(story.config);
    expect(await xapi.record("VDI", backup)).toBeDefined();
  });
});

it("takes away what a killed run left before any state knew of it, but not what another run is making", async () => {
  await withStage(async (stage) => {
    const story = await Story.begin(stage);
    const records = () => stage.sim.db.all("VDI").filter(([, { name_label }]) => name_label.startsWith("halfway"));
    expect(await killedAt(stage, { message: /VDI.set_name_description$/ }, () => story.layer("halfway"))).toBe(true);
    const [[ref, { other_config }] = expect.fail("nothing was left")] = records();
    const claim = { run: "other", host: "elsewhere", pid: 1, until: Date.now() + 60_000 };
    stage.sim.db.update("VDI", ref, { other_config: { ...other_config, "xenlayer:claim": JSON.stringify(claim) } });
    await stage.destroy(story.os);
    await expect(stage.destroy(story.config)).rejects.toThrow(
      'what was made through it exists: "halfway (layer record)", which a run is making',
    );
    stage.sim.db.update("VDI", ref, { other_config });
    await stage.destroy(story.config);
    expect(records()).toEqual([]);
  });
});

it("removes the probe that a killed run of it left, one of long ago, and nobody else's", async () => {
  await withStage(async (stage) => {
    const xapi = await reach(stage);
    expect(await killedAt(stage, { message: /VDI\.create/, after: true }, () => stage.create("ConnectorConfig", stage.connector()))).toBe(
      true,
    );
    const [killed] = probes(stage);
    const [sr] = await xapi.find("SR", { name_label: "Local storage" });
    const probe = (other_config: Record<string, string>) =>
      xapi.call<string>("VDI.create", {
        name_label: "xenlayer probe",
        name_description: "",
        SR: sr?.$ref,
        virtual_size: 2 ** 21,
        type: "user",
        sharable: false,
        read_only: false,
        other_config,
      });
    const marks = marksFor({ connector: "another", role: "probe" });
    const old = await probe({ ...marks, "xenlayer:made": "2020-01-01T00:00:00Z" });
    // Of a run that is at it now, and of somebody who likes the name.
    const theirs = [await probe({ ...marks, "xenlayer:made": new Date().toISOString() }), await probe({})];
    const made = await stage.create("ConnectorConfig", stage.connector());
    expect(await xapi.record("VDI", old)).toBeUndefined();
    for (const ref of theirs) expect(await xapi.record("VDI", ref)).toBeDefined();
    expect(probes(stage)).toContain(killed);
    // The connector whose run it was takes its own away.
    const vdi = await xapi.get("VDI", killed ?? "");
    await stage.destroy({ ...made, outputs: { ...made.outputs, connectorId: vdi?.other_config["xenlayer:connector"] } });
    expect(probes(stage)).not.toContain(killed);
  });
});
