// QCOW2 image files, as far as one must look to know that a file is whole and stands alone (QEMU docs/interop/qcow2.txt). Numbers are big endian.

const MAGIC = 0x514649fb;
/** Bits of incompatible_features. */
const DIRTY = 1n;
const CORRUPT = 2n;
const EXTERNAL_DATA = 4n;
const EXTENDED_L2 = 16n;
const OFFSET = 0x00ff_ffff_ffff_fe00n;
const COMPRESSED = 1n << 62n;
/** QEMU's own limit of the L1 table. */
const MAX_L1 = 32 * 1024 * 1024;

/** Size of the disk in bytes, when the file begins as QCOW2. */
export function qcow2Size(head: Buffer): number | undefined {
  if (head.length < 72 || head.readUInt32BE(0) !== MAGIC) return undefined;
  return Number(head.readBigUInt64BE(24));
}

/** Why the file can't be imported; undefined = it can. `read` gives bytes of the file. */
export async function qcow2Problem(
  head: Buffer,
  fileSize: number,
  read: (offset: number, length: number) => Promise<Buffer>,
): Promise<string | undefined> {
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3) return `its QCOW version (${version}) is not known`;
  if (head.readBigUInt64BE(8) !== 0n) return "it has a backing file, which is not here: make it stand alone (qemu-img convert -O qcow2)";
  if (head.readUInt32BE(32) !== 0) return "it is encrypted";
  const features = version === 3 ? head.readBigUInt64BE(72) : 0n;
  if (features & DIRTY) return "it was not closed cleanly: repair it (qemu-img check -r leaks)";
  if (features & CORRUPT) return "it is marked as corrupt";
  if (features & EXTERNAL_DATA) return "its data is in another file";
  if (features & EXTENDED_L2) return "it uses extended L2 entries, which XAPI does not read";
  const clusterBits = head.readUInt32BE(20);
  if (clusterBits < 9 || clusterBits > 21) return `its cluster size (2^${clusterBits}) is impossible`;
  if (qcow2Size(head) === 0) return "its disk has no size";
  return truncated(head, fileSize, 2 ** clusterBits, read);
}

async function truncated(
  head: Buffer,
  fileSize: number,
  cluster: number,
  read: (offset: number, length: number) => Promise<Buffer>,
): Promise<string | undefined> {
  const cut = "a table of it points beyond its end: it is cut off or damaged";
  // The last cluster of a file may be written in part.
  const end = Math.ceil(fileSize / cluster) * cluster;
  const l1Size = head.readUInt32BE(36) * 8;
  const l1Offset = Number(head.readBigUInt64BE(40));
  if (l1Size > MAX_L1 || l1Offset + l1Size > fileSize || Number(head.readBigUInt64BE(48)) >= fileSize) return cut;
  for (const l2 of entries(await read(l1Offset, l1Size))) {
    const l2Offset = Number(l2 & OFFSET);
    if (l2Offset === 0) continue;
    if (l2Offset + cluster > fileSize) return cut;
    for (const entry of entries(await read(l2Offset, cluster))) {
      if (!(entry & COMPRESSED) && Number(entry & OFFSET) + cluster > end && (entry & OFFSET) !== 0n) return cut;
    }
  }
  return undefined;
}

function* entries(table: Buffer): Iterable<bigint> {
  for (let at = 0; at + 8 <= table.length; at += 8) yield table.readBigUInt64BE(at);
}
