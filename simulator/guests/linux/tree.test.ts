// A volume laid over a system that is already there (Wine's), and what of both reaches the volume afterwards.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { DiskStore } from "../../storage/disk.ts";
import { FatVolume } from "../../storage/fat.ts";
import { Tree } from "./tree.ts";

let base: string;
let store: DiskStore;
let volume: FatVolume;
let tree: Tree;

beforeEach(async () => {
  await FatVolume.ready();
  base = mkdtempSync(join(tmpdir(), "xapi-tree-"));
  store = new DiskStore(join(base, "disks"));
  volume = FatVolume.format(store.create("system", 8 * 1024 * 1024), { label: "SYSTEM", partitioned: "none" });
  mkdirSync(at("windows/system32"), { recursive: true });
  writeFileSync(at("windows/win.ini"), "the system's own");
  writeFileSync(join(base, "library"), "the host's");
  for (const name of ["one.dll", "two.dll"]) symlinkSync(join(base, "library"), at(`windows/system32/${name}`));
  tree = new Tree(volume, join(base, "root"), { leaveOut: new Set(["XAPISIM"]), log: (line) => expect.unreachable(line), over: true });
});
afterEach(() => {
  store.close();
  rmSync(base, { recursive: true, force: true });
});

const at = (path: string): string => join(base, "root", path);
const onDisk = (path: string): string | undefined => {
  const data = volume.readFile(path);
  return data === undefined ? undefined : new TextDecoder().decode(data);
};

it("takes the place of the system's files, whatever the case of names, and never writes through a link", () => {
  volume.writeFile("Windows/System32/ONE.DLL", "the guest's");
  volume.writeFile("XAPISIM/state", "the model's");
  tree.unpack();
  expect(readFileSync(at("windows/system32/one.dll"), "utf8")).toBe("the guest's");
  expect(readFileSync(join(base, "library"), "utf8")).toBe("the host's");
  expect(() => readFileSync(at("XAPISIM/state"))).toThrow();
});

it("only what the guest has written reaches the volume", () => {
  tree.unpack();
  expect(tree.writeBack()).toBe(false);
  mkdirSync(at("windows/system32/drivers"));
  writeFileSync(at("windows/system32/drivers/new.sys"), "new");
  writeFileSync(at("windows/win.ini"), "changed by the guest");
  rmSync(at("windows/system32/two.dll"));
  writeFileSync(at("windows/system32/two.dll"), "replaced");
  tree.writeBack();
  expect([onDisk("windows/system32/drivers/new.sys"), onDisk("Windows/WIN.INI"), onDisk("windows/system32/two.dll")]).toEqual([
    "new",
    "changed by the guest",
    "replaced",
  ]);
  expect(onDisk("windows/system32/one.dll")).toBeUndefined();
  rmSync(at("windows/system32/drivers"), { recursive: true });
  tree.writeBack();
  expect(onDisk("windows/system32/drivers/new.sys")).toBeUndefined();
});
