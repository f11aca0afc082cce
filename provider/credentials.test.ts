// Credentials move on: a password is changed, a certificate renewed, an account loses a right. Each is a clear error, nothing is lost, and the next run goes on.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { explain } from "./errors.ts";
import { changes, type Made, type OpenStage, openStage, Story, type StoryLayer, withStage } from "./testing.ts";
import { testdata } from "./xapi/testing.ts";

// Whole lives of versions, on whatever machine.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

const failing = async (work: Promise<unknown>): Promise<Error> => {
  const result = await work.then(
    () => undefined,
    (error: Error) => error,
  );
  if (result === undefined) throw new Error("it should have failed");
  return result;
};

describe("a password that is changed", () => {
  it("before an up is refused in check by its name; given anew, by stack configuration too, the version goes on", () =>
    withStage(async (stage) => {
      const before = stage.pool();
      const story = await Story.begin(stage);
      const layer = await story.layer("plat");
      const disk = await layer.disk("1");
      stage.sim.changePassword("new one");
      stage.sim.expireSessions();
      const { failures } = await stage.check("PackagingMachine", layer.inputs("1").machine(disk.id));
      expect(failures).toMatchObject([
        { property: "connector", reason: expect.stringMatching(/SESSION_AUTHENTICATION_FAILED.*check `username` and `password`/) },
      ]);
      expect(failures[0]?.reason).not.toContain(stage.sim.password);
      await expect(stage.refresh(disk)).rejects.toThrow("SESSION_AUTHENTICATION_FAILED");
      // The state still holds the old one.
      stage.front.config = { password: "new one" };
      const machine = await layer.machine(disk);
      const seal = await layer.seal(disk, "1");
      for (const made of [disk, machine, seal]) expect(await stage.up(made, made.inputs)).toMatchObject({ changes: false });
      await layer.drop({ disk, machine, seal });
      await story.end(layer);
      expect(changes(before, stage.pool())).toEqual([]);
    }));

  it("in the middle of a build lets the open session work on, and fails where a new one is needed; the next run goes on", () =>
    withStage(async (stage) => {
      const story = await Story.begin(stage);
      const layer = await story.layer("plat");
      const disk = await layer.disk("1");
      stage.sim.fault({ message: "VM.start", when: "after", happens: () => void stage.sim.changePassword("new one") });
      const machine = await layer.machine(disk);
      expect(machine.outputs.ready).toBe(true);
      stage.sim.fault({ message: "VDI.add_to_other_config", when: "after", happens: () => void stage.sim.expireSessions() });
      const error = await failing(stage.resource("Finalize").create(stage.front, layer.inputs("1").seal(disk.id)));
      expect(error.message).toContain("SESSION_AUTHENTICATION_FAILED");
      stage.front.config = { password: "new one" };
      const seal = await layer.seal(disk, "1");
      await layer.drop({ disk, machine, seal });
      await story.end(layer);
    }));
});

it("a certificate that is renewed is refused until it is trusted; then everything is taken as it is", () =>
  withStage(
    async (stage) => {
      const story = await Story.begin(stage);
      const layer = await story.layer("plat");
      const version = await layer.version("1", { machine: { install: [] } });
      stage.sim.renewCertificate({ key: testdata("one.key"), cert: testdata("one.pem") });
      stage.sim.expireSessions();
      const { failures } = await stage.check("PackagingDisk", version.disk.inputs, version.disk.inputs);
      expect(failures).toMatchObject([{ property: "connector", reason: expect.stringContaining("CERTIFICATE_REFUSED") }]);
      await expect(stage.refresh(version.seal)).rejects.toThrow("CERTIFICATE_REFUSED");
      // The new one is trusted: no diff but of the connector, and everything is taken as it is.
      const tls = { fingerprints: [stage.sim.fingerprint] };
      const connector = { ...story.connector, tls };
      for (const made of [story.os, layer.made, version.disk, version.machine, version.seal]) {
        const up = await stage.up(made, { ...made.inputs, connector });
        expect([made.type, up.replaces]).toEqual([made.type, []]);
        Object.assign(made, up.made);
      }
      await layer.drop(version);
      for (const made of [layer.made, story.os]) await stage.destroy(made);
    },
    { tls: true },
  ));

describe("an account that loses a right in the middle", () => {
  let stage: OpenStage;
  let story: Story;
  beforeAll(async () => {
    stage = await openStage();
    story = await Story.begin(stage);
    Object.assign(story.connector, { username: "vm-admin" });
  });
  afterAll(() => stage?.close());

  /** Another role for the account from its next login on, which is at once. */
  const become = (name: string): void => {
    const [role] = stage.sim.db.all("role").find(([, { name_label }]) => name_label === name) ?? [];
    const [subject] = stage.sim.db.all("subject").find(([, { other_config }]) => other_config["subject-name"] === "vm-admin") ?? [];
    stage.sim.db.update("subject", subject ?? "", { roles: [role ?? ""] });
    stage.sim.expireSessions();
  };

  it.each([
    ["VDI.clone", (layer: StoryLayer) => layer.disk("1")],
    ["VM.clone", async (layer: StoryLayer) => layer.machine(await layer.disk("1"))],
    ["VM.start", async (layer: StoryLayer) => layer.machine(await layer.disk("1"))],
  ] as [string, (layer: StoryLayer) => Promise<unknown>][])(
    "after %s hears which, and resumes when it has it again",
    async (message, work) => {
      const before = stage.pool();
      const layer = await story.layer("plat");
      stage.sim.fault({ message, when: "after", happens: () => become("read-only") });
      const error = await failing(work(layer));
      expect(explain(error)).toMatch(
        /the account's role does not allow this( transfer)?: vm-admin is the least role that xenlayer works with/,
      );
      become("vm-admin");
      const disk: Made = await layer.disk("1");
      const machine = await layer.machine(disk);
      const seal = await layer.seal(disk, "1");
      expect(seal.outputs).toMatchObject({ report: { state: "ready" } });
      await layer.drop({ disk, machine, seal });
      await stage.destroy(layer.made);
      expect(changes(before, stage.pool())).toEqual([]);
    },
  );
});
