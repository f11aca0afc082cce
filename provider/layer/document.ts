// The durable copy of a layer record, in the content of its VDI: other_config doesn't survive storage migration, nor SR forget and introduce
// (xapi_sr.ml, xapi_vm_migrate.ml); content does. Two slots with length and checksum, written one after the other in one stream from the start of
// the disk: a write torn in the first slot leaves the older document in the second, torn in the second leaves the new one in the first.
import { createHash } from "node:crypto";
import * as z from "zod";
import { InputError } from "../errors.ts";
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";
import { auditSchema, entrySchema, metaSchema } from "./entry.ts";

const MiB = 2 ** 20;
const SLOT = MiB;
const ICON_AT = 2 * SLOT;
/** Size of a record VDI: two slots, the icon. A multiple of 2 MiB, as VHD SRs round up to (xapi.md 3.6). */
export const RECORD_SIZE = 4 * MiB;
const HEADER = 128;
const MAGIC = "xenlayer-record 1";
const ICON_MAGIC = "xenlayer-icon 1";

const documentSchema = z.looseObject({
  meta: metaSchema,
  versions: z.record(z.string(), entrySchema),
  audit: z.array(auditSchema),
});
export type Document = z.output<typeof documentSchema>;

/** `icon`: written too, where it changes; it stays otherwise. */
export async function writeDocument(
  xapi: Xapi,
  vdi: Rec<"VDI">,
  document: Document,
  { icon, signal }: { icon?: Uint8Array | undefined; signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const slot = framed(MAGIC, Buffer.from(JSON.stringify(document)), TOO_LARGE);
  const picture = icon === undefined ? Buffer.alloc(0) : framed(ICON_MAGIC, icon, "the icon is too large");
  const content = Buffer.alloc(icon === undefined ? SLOT + slot.length : ICON_AT + picture.length);
  slot.copy(content, 0);
  slot.copy(content, SLOT);
  picture.copy(content, ICON_AT);
  await put(xapi, vdi, content, signal);
}

const TOO_LARGE = "the record of this layer has grown too large: delete versions that are not needed";

export async function readDocument(xapi: Xapi, vdi: Rec<"VDI">, signal?: AbortSignal): Promise<Document | undefined> {
  const content = await fetchContent(xapi, vdi, ICON_AT, signal);
  for (const at of [0, SLOT]) {
    const bytes = unframed(MAGIC, content.subarray(at, at + SLOT));
    if (bytes === undefined) continue;
    try {
      const parsed = documentSchema.safeParse(JSON.parse(bytes.toString()));
      if (parsed.success) return parsed.data;
    } catch {
      // Not JSON although the checksum is right: another product's data; the other slot may do better.
    }
  }
  return undefined;
}

async function put(xapi: Xapi, vdi: Rec<"VDI">, content: Buffer, signal?: AbortSignal): Promise<void> {
  await xapi.put(
    vdi.$ref,
    {
      format: "raw",
      length: content.length,
      stream: async function* () {
        yield content;
      },
    },
    signal === undefined ? {} : { signal },
  );
}

async function fetchContent(xapi: Xapi, vdi: Rec<"VDI">, limit: number, signal?: AbortSignal): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  // The whole export is read (a record is small): stopping early would leave a failing task behind.
  for await (const part of await xapi.getDisk(vdi.$ref, { format: "raw", ...(signal === undefined ? {} : { signal }) })) {
    if (length < limit) parts.push(part);
    length += part.length;
  }
  return Buffer.concat(parts).subarray(0, limit);
}

function framed(magic: string, bytes: Uint8Array, tooLarge: string): Buffer {
  if (HEADER + bytes.length > SLOT) throw new InputError([{ property: "", reason: tooLarge }]);
  const header = Buffer.alloc(HEADER);
  header.write(`${magic} ${bytes.length} ${createHash("sha256").update(bytes).digest("hex")}\n`, "latin1");
  return Buffer.concat([header, bytes]);
}

function unframed(magic: string, slot: Buffer): Buffer | undefined {
  const line = slot.subarray(0, HEADER).toString("latin1").split("\n")[0] ?? "";
  const match = new RegExp(`^${magic} (\\d+) ([0-9a-f]{64})$`).exec(line);
  if (match?.[1] === undefined) return undefined;
  const length = Number(match[1]);
  if (HEADER + length > slot.length) return undefined;
  const bytes = slot.subarray(HEADER, HEADER + length);
  return createHash("sha256").update(bytes).digest("hex") === match[2] ? bytes : undefined;
}
