// What disks take on the pool's storage. Only storage that holds thin disks can say what one takes; on the rest a disk takes its size whatever is in it.
// What the storage counts, it counts when it is scanned (SM's SR.scan and VDI.update): a figure may be older than the last change, and what lies in a parent that
// several disks share is freed when the storage has merged it, some minutes after the last of them is gone.
import type { Xapi } from "../xapi/client.ts";
import type { Rec } from "../xapi/records.ts";

// SM drivers that keep VHDs as files, or thin volumes: there, what a leaf takes is what its version added (XenServer's and XCP-ng's SM).
const THIN = new Set(["ext", "ext4", "xfs", "nfs", "smb", "cifs", "gfs2", "zfs", "linstor", "cephfs", "glusterfs", "moosefs", "file"]);

export const isThin = (srType: string | undefined): boolean => srType !== undefined && THIN.has(srType);

export interface Space {
  name: string;
  uuid: string;
  thin: boolean;
  usedBytes: number;
  sizeBytes: number;
}

/** The storage repositories that hold these disks, as they last counted. */
export async function spaceOf(xapi: Xapi, vdis: readonly Rec<"VDI">[]): Promise<Space[]> {
  const refs = new Set(vdis.map(({ SR }) => SR));
  const srs = (await xapi.all("SR")).filter(({ $ref }) => refs.has($ref));
  return srs.map((sr) => ({
    name: sr.name_label,
    uuid: sr.uuid,
    thin: isThin(sr.type),
    usedBytes: sr.physical_utilisation,
    sizeBytes: sr.physical_size,
  }));
}

export const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(bytes < 2 ** 30 ? 3 : 1)} GiB`;

/** Before and after, a line each for the thin ones; of the others nothing is known. */
export const spaceLines = (before: readonly Space[], after: readonly Space[]): string[] =>
  before
    .filter(({ thin }) => thin)
    .map(({ name, uuid, usedBytes }) => {
      const now = after.find((sr) => sr.uuid === uuid)?.usedBytes ?? usedBytes;
      return `"${name}": ${gib(usedBytes)} used before, ${gib(now)} after, as the storage counts`;
    });
