// Pictures of the console. A machine whose time was over is left running, with its payload disk in use: the run that gave up keeps its picture on its own machine,
// and the seal, where it finds it there, puts it on the evidence. Promises: few and small ones; nothing else of this machine is ever read, whatever a record says;
// a disk without room for them is left as it is.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, extname } from "node:path";
import type { PayloadReport } from "../guest/evidence.ts";
import { FatVolume } from "../guest/fat.ts";
import { fetchImage } from "../guestDisk.ts";
import { PICTURE_FOLDER, sendImage } from "../guestRun.ts";
import type { PictureTaken } from "../layer/entry.ts";
import type { Context } from "../resource.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import type { Report } from "./shape.ts";

/** A console is some 100 KiB as JPEG. */
const MOST = 1024 * 1024;

const typeOf = (file: string): "image/png" | "image/jpeg" => (extname(file) === ".png" ? "image/png" : "image/jpeg");

const nameOf = ({ file }: PictureTaken): string =>
  `console-${createHash("sha256").update(file).digest("hex").slice(0, 16)}${typeOf(file) === "image/png" ? ".png" : ".jpg"}`;

/** Where it still lies on this machine. Its path comes from the pool: nothing is read but a picture in a folder as this provider makes them. */
async function lying({ file }: PictureTaken): Promise<Uint8Array | undefined> {
  if (dirname(dirname(file)) !== tmpdir() || !basename(dirname(file)).startsWith(PICTURE_FOLDER)) return undefined;
  const data = await readFile(file).catch(() => undefined);
  return data !== undefined && isPicture(file, data) ? data : undefined;
}

function isPicture(file: string, data: Uint8Array): boolean {
  const magic = typeOf(file) === "image/png" ? "89504e47" : "ffd8ff";
  return data.length <= MOST && Buffer.from(data.subarray(0, 4)).toString("hex").startsWith(magic);
}

/** Puts those that lie on this machine on the evidence of a version that is about to be sealed; its machine is halted. */
export async function keepPictures(ctx: Context, xapi: Xapi, payload: Rec<"VDI">, pictures: readonly PictureTaken[]): Promise<void> {
  const found = await Promise.all(pictures.map(async (picture) => ({ name: nameOf(picture), data: await lying(picture) })));
  const there = found.flatMap(({ name, data }) => (data === undefined ? [] : [{ name, data }]));
  if (there.length === 0) return;
  const image = await fetchImage(ctx, xapi, payload);
  try {
    const volume = await FatVolume.open(image);
    try {
      for (const { name, data } of there) volume.write(`xenlayer/files/${name}`, data);
    } finally {
      volume.close();
    }
  } catch {
    // Its guest has filled it, or worse: what it proved has been read, and no picture is worth that.
    return;
  }
  await sendImage(ctx, xapi, payload.$ref, image);
}

/** As the report shows it: from this machine, or from the evidence of a version that is sealed (of one that is not, its guest may have written what lies there). */
export async function pictureOf(taken: PictureTaken, kept: PayloadReport["pictures"]): Promise<Report["pictures"][number]> {
  const { at, doing, file } = taken;
  const told = { at, doing, file, type: typeOf(file) };
  const data = (await lying(taken)) ?? kept?.get(nameOf(taken));
  return data === undefined || !isPicture(file, data) ? told : { ...told, data: Buffer.from(data).toString("base64") };
}
