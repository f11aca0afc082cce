// A bump with changed steps: what a reviewer sees of it, and that both versions exist afterwards.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { getLayerVersions } from "../sdk/functions.ts";
import { disksOf, ENGINE, type Example, startExample } from "./testing.ts";

describe.sequential("a new version", { timeout: ENGINE }, () => {
  let example: Example;
  beforeAll(async () => {
    example = await startExample({ example: "new-version" });
  }, ENGINE);
  afterAll(() => example?.[Symbol.asyncDispose](), ENGINE);

  it("starts from a sealed one", async () => {
    await example.stack.expect(["preview"]);
    expect(example.changed()).toEqual([]);
    expect((await example.stack.expect(["up", "--skip-preview"])).changes).toEqual({ create: 8 });
    expect((await example.stack.expect(["up", "--skip-preview"])).changes).toEqual({ same: 8 });
  });

  it("is demanded in preview of whoever changes a step of a sealed version", async () => {
    example.changedSince();
    await example.stack.configure({ controllers: "elsewhere.example.com" });
    const preview = await example.stack.pulumi(["preview"]);
    expect(preview.code).not.toBe(0);
    expect(preview.output).toMatch(/version 2024\.1 of layer "Workstations" was sealed .*install "Controllers" .*: give a new version/);
    expect(preview.output).not.toContain("XenServer VM Tools");
    await example.stack.expect(["config", "rm", "controllers"]);
    expect(example.changedSince()).toEqual([]);
  });

  it("shows in the preview what is rebuilt and why", async () => {
    await example.stack.configure({ version: "2024.2" });
    const preview = await example.stack.expect(["preview", "--diff"]);
    expect(preview.changes).toEqual({ same: 5, replace: 3 });
    const replaced = preview.events.flatMap(({ resourcePreEvent: event }) =>
      event?.metadata.op === "replace" ? [event.metadata.type] : [],
    );
    expect(replaced.map((type) => type.split(":").at(-1)).sort()).toEqual(["Finalize", "PackagingDisk", "PackagingMachine"]);
    expect(preview.output).toContain("2024.1 stays in the layer");
    expect(preview.output).toMatch(/version\s*: "2024\.1" => "2024\.2"/);
    expect(preview.output).toMatch(/base\s*: "Windows 11\/23H2" => "Workstations\/2024\.1"/);
    // The steps that changed, by name; not the one that did not.
    expect(preview.output).toMatch(/~ install "XenServer VM Tools"/);
    expect(preview.output).toMatch(/~ install "Controllers"/);
    expect(preview.output).not.toMatch(/[~+-] install "Virtual Delivery Agent"/);
    expect(preview.output).toContain("managementagent-9.4.0-x64.msi");
    expect(example.changedSince()).toEqual([]);
  });

  it("is built beside the old one", async () => {
    const up = await example.stack.expect(["up", "--skip-preview"]);
    expect(up.changes).toEqual({ same: 5, replace: 3 });
    const { basedOn, layerId } = await example.stack.outputs();
    expect(basedOn).toBe("Workstations/2024.1");
    const { versions } = await getLayerVersions({ connector: await example.connector(), layer: String(layerId) });
    expect(versions).toMatchObject([
      { version: "2024.1", state: "Deployable" },
      { version: "2024.2", state: "Deployable" },
    ]);
    expect(disksOf(example)).toEqual(expect.arrayContaining(["Workstations 2024.1", "Workstations 2024.2"]));
  });

  it("has nothing to do after a refresh", async () => {
    expect((await example.stack.expect(["refresh", "--skip-preview"])).changes).toEqual({ same: 8 });
    expect((await example.stack.expect(["up", "--skip-preview"])).changes).toEqual({ same: 8 });
  });

  it("is gone with all others after destroy: the pool is as before the first up", async () => {
    await example.stack.expect(["destroy", "--skip-preview"]);
    expect(example.changed()).toEqual([]);
  });
});
