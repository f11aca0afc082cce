// Icons of layers: a file that is looked into (PNG or JPG by its bytes, not its name), a built-in by name, or another layer's.
import { readFile, stat } from "node:fs/promises";

const KiB = 1024;
const MAX_BYTES = 512 * KiB;
const MAX_PIXELS = 1024;
const BUILT_IN = ["builtin:layer", "builtin:windows", "builtin:linux"];

export type Icon = { bytes?: Uint8Array; problem?: undefined } | { problem: string };

/** What an `icon` input stands for; `problem` completes "icon: …". */
export async function loadIcon(icon: string): Promise<Icon> {
  if (icon.startsWith("builtin:"))
    return BUILT_IN.includes(icon) ? {} : { problem: `there is no "${icon}"; there are ${BUILT_IN.join(", ")}` };
  if (icon.startsWith("layer:")) return {};
  let size: number;
  try {
    const found = await stat(icon);
    if (!found.isFile()) return { problem: `"${icon}" is no file` };
    size = found.size;
  } catch {
    return { problem: `there is no file "${icon}"` };
  }
  if (size > MAX_BYTES) return { problem: `"${icon}" has ${Math.ceil(size / KiB)} KiB; at most ${MAX_BYTES / KiB} are allowed` };
  const bytes = await readFile(icon);
  const dimensions = pngDimensions(bytes) ?? jpgDimensions(bytes);
  if (dimensions === undefined) return { problem: `"${icon}" is neither a PNG nor a JPG image` };
  const { width, height } = dimensions;
  if (width < 1 || height < 1 || width > MAX_PIXELS || height > MAX_PIXELS)
    return { problem: `"${icon}" has ${width} x ${height} pixels; at most ${MAX_PIXELS} x ${MAX_PIXELS} are allowed` };
  return { bytes };
}

interface Dimensions {
  width: number;
  height: number;
}

// PNG: signature, then the chunk IHDR with width and height (W3C PNG 5.2, 11.2.1).
function pngDimensions(bytes: Buffer): Dimensions | undefined {
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  if (bytes.length < 33 || !bytes.subarray(0, 8).equals(signature) || bytes.toString("latin1", 12, 16) !== "IHDR") return undefined;
  return { width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) };
}

// JPEG: segments up to a start of frame, SOF0 to SOF15 but for DHT, JPG and DAC (ITU T.81 B.1.1.3, B.2.2).
function jpgDimensions(bytes: Buffer): Dimensions | undefined {
  if (bytes.length < 4 || bytes[0] !== 0xff || bytes[1] !== 0xd8) return undefined;
  for (let at = 2; at + 9 <= bytes.length; ) {
    const marker = bytes[at + 1] ?? 0;
    if (bytes[at] !== 0xff) return undefined;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const frame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (frame) return { height: bytes.readUInt16BE(at + 5), width: bytes.readUInt16BE(at + 7) };
    at += 2 + bytes.readUInt16BE(at + 2);
  }
  return undefined;
}
