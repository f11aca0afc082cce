// FAT file systems on simulated disks: how guests, tests and image makers read and write files. FatFs (fatfs.ts) does the work; here is the care that it needs: every
// file is closed, every volume unmounted within the call, short writes are errors. Each call mounts afresh, so what another writer put on the disk is always seen.

import * as FatFs from "js-fatfs";
import type { Disk } from "./disk.ts";
import { CHUNK, loadFatFs, type Machine, withFatFs } from "./fatfs.ts";
import { type Extent, fatAt, findFat, formatPartition, writeLabel } from "./partitions.ts";

export { FatError } from "./fatfs.ts";

export interface FatEntry {
  name: string;
  size: number;
  directory: boolean;
}

export interface FormatOptions {
  /** Up to 11 characters of ASCII; kept in upper case. */
  label: string;
  /** "mbr": one partition from 1 MiB to the end; "none": the volume is the whole disk. */
  partitioned: "mbr" | "none";
}

export class FatVolume {
  readonly #disk: Disk;
  readonly #extent: Extent;
  #closed = false;

  private constructor(disk: Disk, extent: Extent) {
    this.#disk = disk;
    this.#extent = extent;
  }

  /** Loads FatFs, once for the process. To be awaited before the first volume is used; the simulator does it as it starts. */
  static ready(): Promise<void> {
    return loadFatFs();
  }

  /** The first FAT volume of the disk: in an MBR or GPT partition, or bare. */
  static open(disk: Disk): FatVolume | undefined {
    const extent = findFat(disk);
    return extent === undefined ? undefined : new FatVolume(disk, extent);
  }

  /** Makes an empty file system, and the partition table around it where asked. What was on the disk is lost. */
  static format(disk: Disk, options: FormatOptions): FatVolume {
    const extent = options.partitioned === "mbr" ? formatPartition(disk) : { start: 0, length: disk.size };
    const volume = new FatVolume(disk, extent);
    withFatFs(`format disk ${disk.id}`, disk, extent, ({ ff, buffer }) =>
      // Two FATs and 512 root entries: what other systems expect to find.
      ff.f_mkfs("", { fmt: FatFs.FM_FAT | FatFs.FM_FAT32 | FatFs.FM_SFD, n_fat: 2, align: 0, n_root: 512, au_size: 0 }, buffer, CHUNK),
    );
    writeLabel(disk, extent, options.label);
    return volume;
  }

  readFile(path: string): Uint8Array | undefined {
    const entry = this.#stat(path);
    if (entry === undefined || entry.directory) {
      return undefined;
    }
    const out = new Uint8Array(entry.size);
    this.#file(`read ${path}`, path, FatFs.FA_READ, ({ ff, file, buffer, count }) => {
      for (let done = 0; done < out.length; ) {
        const result = ff.f_read(file, buffer, Math.min(CHUNK, out.length - done), count);
        const read = ff.getValue(count, "i32") >>> 0;
        if (result !== FatFs.FR_OK || read === 0) {
          return result === FatFs.FR_OK ? FatFs.FR_INT_ERR : result;
        }
        out.set(ff.HEAPU8.subarray(buffer, buffer + read), done);
        done += read;
      }
      return FatFs.FR_OK;
    });
    return out;
  }

  /** Replaces the file or makes it, with the folders on its way. When space runs out, nothing of it stays. */
  writeFile(path: string, data: Uint8Array | string): void {
    const bytes = typeof data === "string" ? Buffer.from(data, "utf8") : data;
    const folders = path
      .split("/")
      .filter((part) => part !== "")
      .slice(0, -1);
    // Mostly they are there: one look instead of one each.
    if (this.#stat(folders.join("/"))?.directory !== true)
      for (const depth of folders.keys()) this.makeFolder(folders.slice(0, depth + 1).join("/"));
    try {
      this.#file(`write ${path}`, path, FatFs.FA_WRITE | FatFs.FA_CREATE_ALWAYS, ({ ff, file, buffer, count }) => {
        for (let done = 0; done < bytes.length; ) {
          const part = bytes.subarray(done, done + CHUNK);
          ff.HEAPU8.set(part, buffer);
          const result = ff.f_write(file, buffer, part.length, count);
          // A full disk is a short count, not a result.
          if (result !== FatFs.FR_OK || ff.getValue(count, "i32") >>> 0 !== part.length) {
            return result === FatFs.FR_OK ? FatFs.FR_DENIED : result;
          }
          done += part.length;
        }
        return FatFs.FR_OK;
      });
    } catch (error) {
      if (this.#stat(path)?.directory === false) {
        this.remove(path);
      }
      throw error;
    }
  }

  makeFolder(path: string): void {
    if (this.#stat(path)?.directory !== true) {
      this.#mounted(`make folder ${path}`, ({ ff }) => ff.f_mkdir(absolute(path)));
    }
  }

  /** What is in a folder, in the order of the directory; nothing where there is no such folder. */
  list(path: string): FatEntry[] {
    const entries: FatEntry[] = [];
    if (absolute(path) !== "/" && this.#stat(path)?.directory !== true) {
      return entries;
    }
    this.#mounted(`list ${path}`, ({ ff, info, file: folder }) => {
      let result = ff.f_opendir(folder, absolute(path));
      while (result === FatFs.FR_OK) {
        result = ff.f_readdir(folder, info);
        const entry = result === FatFs.FR_OK ? entryAt(ff, info) : undefined;
        if (entry === undefined || entry.name === "") {
          break;
        }
        entries.push(entry);
      }
      return result;
    });
    return entries;
  }

  exists(path: string): boolean {
    return absolute(path) === "/" || this.#stat(path) !== undefined;
  }

  /** Removes a file, or a folder with all that is in it; nothing to remove is success. */
  remove(path: string): void {
    const entry = this.#stat(path);
    if (entry === undefined) {
      return;
    }
    if (entry.directory) {
      for (const { name } of this.list(path)) {
        this.remove(`${path}/${name}`);
      }
    }
    this.#mounted(`remove ${path}`, ({ ff }) => ff.f_unlink(absolute(path)));
  }

  label(): string | undefined {
    return fatAt(this.#disk, this.#extent)?.label();
  }

  /** Where the volume lies on its disk, in bytes. */
  get extent(): Extent {
    return this.#extent;
  }

  close(): void {
    this.#closed = true;
  }

  #stat(path: string): FatEntry | undefined {
    let entry: FatEntry | undefined;
    if (absolute(path) === "/") {
      return { name: "", size: 0, directory: true };
    }
    this.#mounted(`look at ${path}`, ({ ff, info }) => {
      const result = ff.f_stat(absolute(path), info);
      if (result === FatFs.FR_OK) {
        entry = entryAt(ff, info);
      }
      return result === FatFs.FR_NO_FILE || result === FatFs.FR_NO_PATH ? FatFs.FR_OK : result;
    });
    return entry;
  }

  /** `action` on an open file, closed whatever happens: an unclosed one leaves lost clusters. */
  #file(what: string, path: string, mode: number, action: (machine: Machine) => number): void {
    this.#mounted(what, (m) => {
      const opened = m.ff.f_open(m.file, absolute(path), mode);
      if (opened !== FatFs.FR_OK) {
        return opened;
      }
      const result = action(m);
      const closed = m.ff.f_close(m.file);
      return result === FatFs.FR_OK ? closed : result;
    });
  }

  #mounted(what: string, action: (machine: Machine) => number): void {
    if (this.#closed) {
      throw new Error(`${what}: this volume of disk ${this.#disk.id} is closed`);
    }
    withFatFs(what, this.#disk, this.#extent, (m) => {
      const mounted = m.ff.f_mount(m.volume, "", 1);
      const result = mounted === FatFs.FR_OK ? action(m) : mounted;
      m.ff.f_unmount("");
      return result;
    });
  }
}

function absolute(path: string): string {
  return `/${path
    .split("/")
    .filter((part) => part !== "")
    .join("/")}`;
}

function entryAt(ff: FatFs.FatFs, info: number): FatEntry {
  return {
    name: ff.FILINFO_fname(info),
    size: ff.FILINFO_fsize(info),
    directory: (ff.FILINFO_fattrib(info) & FatFs.AM_DIR) !== 0,
  };
}
