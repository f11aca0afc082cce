// What the parts of the store agree on about accesses: what lies inside a disk, and what is zero.

import { BLOCK } from "./blocks.ts";

/** An access that begins or ends outside the disk: what a real host reports as an I/O error of the device. */
export class OutsideDisk extends Error {
  constructor(what: string, id: string, offset: number, length: number, size: number) {
    super(`${what} of ${length} bytes at ${offset} is outside disk ${id} of ${size} bytes`);
    this.name = "OutsideDisk";
  }
}

export function assertSize(size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new RangeError(`${size} is no size of a disk`);
  }
}

export function assertInside(what: string, id: string, offset: number, length: number, size: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || length < 0 || offset + length > size) {
    throw new OutsideDisk(what, id, offset, length, size);
  }
}

const zeros = Buffer.alloc(BLOCK);

/** Whether all bytes are zero: a comparison with zeros runs at memory speed, a loop does not. */
export function isZero(data: Uint8Array): boolean {
  for (let at = 0; at < data.length; at += BLOCK) {
    const length = Math.min(BLOCK, data.length - at);
    if (zeros.compare(data, at, at + length, 0, length) !== 0) {
      return false;
    }
  }
  return true;
}
