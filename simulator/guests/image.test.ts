// Images made for examples and tests, read by programs that nobody here wrote.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { missingPrograms } from "../storage/testing.ts";
import { DescriptorError } from "./descriptor.ts";
import { makeGuestImage } from "./image.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "xapi-image-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const descriptor = { guest: "windows", bootstrap: "xenlayer" } as const;

describe.skipIf(missingPrograms(["mtype"]).length > 0)("a guest image", () => {
  it("has a partition from 1 MiB with a FAT file system that holds the descriptor and the files", async () => {
    const path = join(folder, "windows.img");
    await makeGuestImage(path, { descriptor, files: { "Users/Public/readme.txt": "hello" }, sizeMiB: 48, partition: "mbr" });
    expect(statSync(path).size).toBe(48 * 1024 * 1024);
    const read = (file: string): string => execFileSync("mtype", ["-i", `${path}@@1M`, `::/${file}`], { encoding: "utf8" });
    expect(JSON.parse(read("XAPISIM/GUEST.JSON"))).toEqual(descriptor);
    expect(read("Users/Public/readme.txt")).toBe("hello");
  });

  it("takes little room: what is empty is a hole", async () => {
    const path = join(folder, "large.img");
    await makeGuestImage(path, { descriptor, sizeMiB: 1024 });
    expect(statSync(path).blocks * 512).toBeLessThan(16 * 1024 * 1024);
  });

  it("is not made from a descriptor that no guest would take", async () => {
    const wrong = { guest: "windows", bootstrap: "magic" } as never;
    await expect(makeGuestImage(join(folder, "x.img"), { descriptor: wrong })).rejects.toThrow(DescriptorError);
    const expression = { ...descriptor, programs: [{ match: { regex: "(" } }] };
    await expect(makeGuestImage(join(folder, "x.img"), { descriptor: expression })).rejects.toThrow("programs.0.match.regex");
  });
});
