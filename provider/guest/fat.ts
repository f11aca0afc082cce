// A FAT volume in memory, without a partition table: what the payload disk is. FatFs compiled to WebAssembly does the work (npm js-fatfs).
// Promises: files are closed whatever happens, a short write is an error, reads are bounded, a damaged volume gives errors and never a crash; of a volume that a guest
// wrote, whose chains of clusters may be circles, no more is walked through than a sound one can have.
import * as fatfs from "js-fatfs";

const SECTOR = 512;

export class FatError extends Error {
  override readonly name = "FatError";
}

export interface FatEntry {
  readonly name: string;
  readonly size: number;
  readonly directory: boolean;
}

export class FatVolume {
  readonly #ff: fatfs.FatFs;
  readonly #mount: number;
  /** What may still be skipped to read the ends of files: together they are no longer than the volume, unless they share clusters. */
  #unskipped: number;

  private constructor(ff: fatfs.FatFs, mount: number, size: number) {
    this.#ff = ff;
    this.#mount = mount;
    this.#unskipped = size;
  }

  /** Makes a volume of so many bytes (FAT12 or FAT16 by size; both are read by every guest) with that label. */
  static async format(size: number, label: string, fill: (volume: FatVolume) => void): Promise<Uint8Array> {
    const image = new Uint8Array(size);
    const ff = await engine(image);
    const work = ff.malloc(65_536);
    try {
      check(
        ff.f_mkfs("", { fmt: fatfs.FM_FAT | fatfs.FM_SFD, n_fat: 2, align: 1, n_root: 512, au_size: 0 }, work, 65_536),
        "format the payload disk",
      );
    } finally {
      ff.free(work);
    }
    setLabel(image, label);
    const volume = FatVolume.#mounted(ff, size);
    try {
      fill(volume);
    } finally {
      volume.close();
    }
    return image;
  }

  /** The image is not written to by reading. */
  static async open(image: Uint8Array): Promise<FatVolume> {
    return FatVolume.#mounted(await engine(image, MOST_READ), image.length);
  }

  static #mounted(ff: fatfs.FatFs, size: number): FatVolume {
    const mount = ff.malloc(fatfs.sizeof_FATFS);
    try {
      check(ff.f_mount(mount, "", 1), "mount the payload disk");
    } catch (error) {
      ff.free(mount);
      throw error;
    }
    return new FatVolume(ff, mount, size);
  }

  close(): void {
    this.#ff.f_unmount("");
    this.#ff.free(this.#mount);
  }

  makeFolders(path: string): void {
    let folder = "";
    for (const part of path.split("/").slice(0, -1)) {
      folder = folder === "" ? part : `${folder}/${part}`;
      const result = this.#ff.f_mkdir(folder);
      if (result !== fatfs.FR_EXIST) check(result, `make the folder ${folder}`);
    }
  }

  write(path: string, data: Uint8Array): void {
    this.makeFolders(path);
    const ff = this.#ff;
    const file = ff.malloc(fatfs.sizeof_FIL);
    const buffer = ff.malloc(Math.max(1, Math.min(data.length, CHUNK)));
    const count = ff.malloc(4);
    try {
      check(ff.f_open(file, path, fatfs.FA_WRITE | fatfs.FA_CREATE_ALWAYS), `create ${path}`);
      try {
        for (let offset = 0; offset < data.length; offset += CHUNK) {
          const part = data.subarray(offset, offset + CHUNK);
          // The heap may have grown since the last turn: its view is read anew.
          ff.HEAPU8.set(part, buffer);
          check(ff.f_write(file, buffer, part.length, count), `write ${path}`);
          if (ff.getValue(count, "i32") !== part.length) throw new FatError(`write ${path}: the payload disk is full`);
        }
      } finally {
        ff.f_close(file);
      }
    } finally {
      ff.free(file);
      ff.free(buffer);
      ff.free(count);
    }
  }

  /** At most `limit` bytes: from the start, or of the end with `tail`. Undefined when there is no such file. */
  read(path: string, limit: number, tail = false): { data: Uint8Array; size: number } | undefined {
    const ff = this.#ff;
    const file = ff.malloc(fatfs.sizeof_FIL);
    const count = ff.malloc(4);
    let buffer = 0;
    try {
      const opened = ff.f_open(file, path, fatfs.FA_READ);
      if (opened === fatfs.FR_NO_FILE || opened === fatfs.FR_NO_PATH || opened === fatfs.FR_INVALID_NAME || opened === fatfs.FR_DENIED)
        return undefined;
      check(opened, `open ${path}`);
      try {
        // The size comes from a guest and is an unsigned 32-bit number that the binding hands out as signed.
        const size = ff.f_size(file) >>> 0;
        const wanted = Math.min(size, limit);
        if (tail && size > limit) {
          this.#unskipped -= size - limit;
          if (this.#unskipped < 0) throw new FatError(`read ${path}: the files are longer than the volume`);
          check(ff.f_lseek(file, size - limit), `read ${path}`);
        }
        buffer = ff.malloc(Math.max(1, wanted));
        check(ff.f_read(file, buffer, wanted, count), `read ${path}`);
        const read = Math.min(ff.getValue(count, "i32") >>> 0, wanted);
        return { data: ff.HEAPU8.slice(buffer, buffer + read), size };
      } finally {
        ff.f_close(file);
      }
    } finally {
      ff.free(file);
      ff.free(count);
      if (buffer !== 0) ff.free(buffer);
    }
  }

  /** At most `limit` entries of a folder; none when it is not there. */
  list(path: string, limit: number): FatEntry[] {
    const ff = this.#ff;
    const folder = ff.malloc(fatfs.sizeof_DIR);
    const info = ff.malloc(fatfs.sizeof_FILINFO);
    const entries: FatEntry[] = [];
    try {
      const opened = ff.f_opendir(folder, path);
      if (opened === fatfs.FR_NO_PATH || opened === fatfs.FR_NO_FILE) return [];
      check(opened, `list ${path}`);
      try {
        while (entries.length < limit) {
          check(ff.f_readdir(folder, info), `list ${path}`);
          const name = ff.FILINFO_fname(info);
          if (name === "") break;
          entries.push({ name, size: ff.FILINFO_fsize(info) >>> 0, directory: (ff.FILINFO_fattrib(info) & fatfs.AM_DIR) !== 0 });
        }
      } finally {
        ff.f_closedir(folder);
      }
    } finally {
      ff.free(folder);
      ff.free(info);
    }
    return entries;
  }
}

const CHUNK = 1 << 20;
/** In sectors: some seconds. A disk full of evidence takes a hundred thousand; each file that is looked for in a folder of 65536 entries, as FAT allows, 4096. */
const MOST_READ = 1 << 20;

function engine(image: Uint8Array, most = Number.POSITIVE_INFINITY): Promise<fatfs.FatFs> {
  let read = 0;
  const sectors = Math.floor(image.length / SECTOR);
  const inside = (sector: number, count: number): boolean => sector >= 0 && count >= 0 && sector + count <= sectors;
  return fatfs.create({
    diskio: {
      initialize: () => 0,
      status: () => 0,
      read: (ff, _drive, buffer, sector, count) => {
        if (!inside(sector, count)) return fatfs.RES_PARERR;
        read += count;
        if (read > most) return fatfs.RES_ERROR;
        ff.HEAPU8.set(image.subarray(sector * SECTOR, (sector + count) * SECTOR), buffer);
        return fatfs.RES_OK;
      },
      write: (ff, _drive, buffer, sector, count) => {
        if (!inside(sector, count)) return fatfs.RES_PARERR;
        image.set(ff.HEAPU8.subarray(buffer, buffer + count * SECTOR), sector * SECTOR);
        return fatfs.RES_OK;
      },
      ioctl: (ff, _drive, command, buffer) => {
        if (command === fatfs.GET_SECTOR_COUNT) ff.setValue(buffer, sectors, "i32");
        else if (command === fatfs.GET_SECTOR_SIZE) ff.setValue(buffer, SECTOR, "i16");
        else if (command === fatfs.GET_BLOCK_SIZE) ff.setValue(buffer, 1, "i32");
        return fatfs.RES_OK;
      },
    },
  });
}

function check(result: number, doing: string): void {
  if (result !== fatfs.FR_OK) throw new FatError(`${doing}: FatFs answered ${RESULTS[result] ?? result}`);
}

const RESULTS: Readonly<Record<number, string>> = {
  [fatfs.FR_DISK_ERR]: "a disk error",
  [fatfs.FR_INT_ERR]: "that the volume is damaged",
  [fatfs.FR_NO_FILE]: "no such file",
  [fatfs.FR_NO_PATH]: "no such folder",
  [fatfs.FR_INVALID_NAME]: "that the name is not valid",
  [fatfs.FR_DENIED]: "that the volume is full or the file is protected",
  [fatfs.FR_NO_FILESYSTEM]: "that there is no FAT file system",
};

/** The build of FatFs lacks f_setlabel. FAT12 and FAT16 keep the label in the boot sector and as an entry of the root folder; guests read either. */
function setLabel(image: Uint8Array, label: string): void {
  const name = new TextEncoder().encode(label.padEnd(11).slice(0, 11));
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  image.set(name, 43);
  const reserved = view.getUint16(14, true);
  const fats = view.getUint8(16);
  const sectorsPerFat = view.getUint16(22, true);
  const root = (reserved + fats * sectorsPerFat) * SECTOR;
  const ATTRIBUTE_VOLUME = 0x08;
  image.set(name, root);
  image[root + 11] = ATTRIBUTE_VOLUME;
  // A date that FAT can hold (1980-01-01); zero is flagged by some checkers.
  view.setUint16(root + 24, 0x21, true);
}
