// The quickstart, run by the real engine against a simulated pool; then what it made is looked at from outside, by qemu-img and mtools.
import { copyFile, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingPrograms } from "../simulator/storage/testing.ts";
import { disksOf, download, ENGINE, type Example, fileIn, run, startExample } from "./testing.ts";

const BLOCK = 2 ** 21;
const missing = missingPrograms(["qemu-img", "mtype"]);

describe.sequential("the quickstart", { timeout: ENGINE }, () => {
  let example: Example;
  beforeAll(async () => {
    example = await startExample({ example: "quickstart" });
  }, ENGINE);
  afterAll(() => example?.[Symbol.asyncDispose](), ENGINE);

  it("previews what it will make, and the pool stays as it is", async () => {
    const preview = await example.stack.expect(["preview"]);
    expect(preview.changes).toEqual({ create: 8 });
    expect(example.changed()).toEqual([]);
  });

  it("builds, checks and seals the version, and says what it is at", async () => {
    const up = await example.stack.expect(["up", "--skip-preview"]);
    expect(up.changes).toEqual({ create: 8 });
    expect(await example.stack.outputs()).toMatchObject({
      layerVersion: "1.0",
      basedOn: "Windows 11/23H2",
      report: { state: "ready", kms: "KMS: rearmed once, remaining count 3 before; Windows shows what is left after its next start" },
    });
    const statuses = up.events.flatMap(({ diagnosticEvent: said }) => (said?.ephemeral === true ? [said.message.trim()] : []));
    expect(statuses).toEqual(expect.arrayContaining(["cloning Windows 11/23H2", "starting the packaging machine", "all 4 steps are done"]));
    expect(disksOf(example)).toEqual([
      "Citrix on XenServer (layer record)",
      "Citrix on XenServer 1.0",
      "Citrix on XenServer 1.0 evidence",
      "Windows 11 (layer record)",
      "Windows 11 23H2",
    ]);
  });

  it("restarts for the step that asks for it, and lets NGen end before anything is switched off", () => {
    const said = example.simulator.guestLog.map(({ line }) => line);
    const order = [
      "step 01 running",
      "xenlayer: restart",
      "boot 2",
      "step 01 done",
      "step 03 done",
      "waiting for ngen-workers",
      "power off",
      "rearming KMS",
    ];
    const found = order.map((text) => said.findIndex((line) => line.includes(text)));
    expect(found).not.toContain(-1);
    expect(found).toEqual([...found].sort((a, b) => a - b));
  });

  it("leaves no machine, no session and no password behind", async () => {
    const machines = example.simulator.db.all("VM").filter(([, vm]) => !vm.is_a_template && !vm.is_control_domain);
    expect(machines).toEqual([]);
    expect(example.simulator.sessions()).toBe(0);
    expect(await example.stack.storedState()).not.toContain(example.simulator.password);
    expect(JSON.stringify(example.simulator.state())).not.toContain(example.simulator.password);
  });

  describe.skipIf(missing.length > 0)("its sealed version, downloaded", () => {
    it("equals the base plus what the guest wrote, and holds the files of the install steps", async () => {
      const { disk } = await example.stack.outputs();
      const [vhd, raw, expected] = ["version.vhd", "version.img", "expected.img"].map((name) => join(example.dir, name)) as [
        string,
        string,
        string,
      ];
      await download(example, String(disk), "vhd", vhd);

      // The example's own image file, and over it the blocks that the version's disk has beyond its base's.
      await copyFile(join(example.dir, "windows-11.raw"), expected);
      const { storage, db } = example.simulator;
      const base = db.all("VDI").find(([, vdi]) => vdi.name_label === "Windows 11 23H2")?.[1].uuid ?? "";
      const written = storage.difference(String(disk), base);
      expect(written.length).toBeGreaterThan(0);
      const file = await open(expected, "r+");
      for (const block of written) {
        const data = storage.open(String(disk)).read(block * BLOCK, BLOCK);
        await file.write(data, 0, data.length, block * BLOCK);
      }
      await file.close();
      expect((await run("qemu-img", ["compare", "-f", "vpc", "-F", "raw", vhd, expected])).stdout).toContain("Images are identical");

      await run("qemu-img", ["convert", "-f", "vpc", "-O", "raw", vhd, raw]);
      expect(await fileIn(raw, "Program Files/XenServer/XenTools/version.txt")).toBe("9.4.0\r\n");
      expect(await fileIn(raw, "Program Files/Citrix/Provisioning Services/version.txt")).toBe("2402\r\n");
      expect(await fileIn(raw, "Program Files/Citrix/Virtual Delivery Agent/version.txt")).toBe("2402\r\n");
      expect(await fileIn(raw, "Users/Public/Documents/readme.txt")).toContain("as it was installed");
      // What the clean-up step removed.
      expect(await fileIn(raw, "InstallLogs/vda.log")).toBeUndefined();
    });

    it("left its base as it was", async () => {
      const base = example.simulator.db.all("VDI").find(([, vdi]) => vdi.name_label === "Windows 11 23H2")?.[1].uuid ?? "";
      const path = join(example.dir, "base.img");
      await download(example, base, "raw", path);
      const { stdout } = await run("qemu-img", ["compare", "-f", "raw", "-F", "raw", path, join(example.dir, "windows-11.raw")]);
      expect(stdout).toContain("Images are identical");
      expect((await readFile(path)).equals(await readFile(join(example.dir, "windows-11.raw")))).toBe(true);
    });
  });

  it("has nothing to do when run again, nor after a refresh", async () => {
    example.changedSince();
    expect((await example.stack.expect(["up", "--skip-preview"])).changes).toEqual({ same: 8 });
    expect((await example.stack.expect(["refresh", "--skip-preview"])).changes).toEqual({ same: 8 });
    expect((await example.stack.expect(["preview", "--expect-no-changes"])).changes).toEqual({ same: 8 });
    expect(example.changedSince()).toEqual([]);
  });

  it("destroys all it made: the pool is as before the first up", async () => {
    expect((await example.stack.expect(["destroy", "--skip-preview"])).changes).toEqual({ delete: 8 });
    expect(example.changed()).toEqual([]);
    expect(example.simulator.storage.ids().filter((id) => !isIso(example, id))).toEqual([]);
  });
});

const isIso = ({ simulator }: Example, id: string): boolean =>
  simulator.db.all("VDI").some(([, vdi]) => vdi.uuid === id && vdi.name_label.endsWith(".iso"));
