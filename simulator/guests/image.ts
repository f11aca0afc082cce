// Images to boot guests from: a raw disk image file with an MBR partition table and a FAT file system that holds a guest descriptor. For examples and tests.
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BLOCK, DiskStore } from "../storage/disk.ts";
import { FatVolume } from "../storage/fat.ts";
import { DESCRIPTOR_PATH, type DescriptorInput, parseDescriptor } from "./descriptor.ts";

const MIB = 1024 * 1024;

export interface GuestImage {
  descriptor: DescriptorInput;
  /** Further files by path, with slashes. */
  files?: Readonly<Record<string, string | Uint8Array>>;
  sizeMiB?: number;
  partition?: "mbr";
  label?: string;
}

/** Writes a raw image file, sparse where it is empty. */
export async function makeGuestImage(path: string, { descriptor, files = {}, sizeMiB = 64, label = "SYSTEM" }: GuestImage): Promise<void> {
  const text = `${JSON.stringify(descriptor, undefined, 2)}\n`;
  parseDescriptor(text);
  await FatVolume.ready();
  const scratch = mkdtempSync(join(tmpdir(), "xapi-image-"));
  try {
    const store = new DiskStore(scratch);
    const disk = store.create("image", sizeMiB * MIB);
    const volume = FatVolume.format(disk, { label, partitioned: "mbr" });
    volume.writeFile(DESCRIPTOR_PATH, text);
    for (const [name, content] of Object.entries(files)) volume.writeFile(name, content);
    volume.close();
    const file = await open(path, "w");
    try {
      await file.truncate(disk.size);
      for (const block of store.blocks("image")) {
        const offset = block * BLOCK;
        await file.write(disk.read(offset, Math.min(BLOCK, disk.size - offset)), 0, undefined, offset);
      }
    } finally {
      await file.close();
    }
    store.close();
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
