// Exact reads from a body that arrives in pieces of any size. Nothing is held back but the piece at hand.

/** The body ended before what it announced. */
export class EndOfStream extends Error {
  constructor(wanted: number, got: number) {
    super(`the stream ended ${wanted - got} bytes early`);
    this.name = "EndOfStream";
  }
}

export class StreamReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array(0);
  #position = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Bytes taken or skipped so far. */
  get position(): number {
    return this.#position;
  }

  /** Up to `most` bytes, as they come; undefined at the end. */
  async next(most: number): Promise<Uint8Array | undefined> {
    while (this.#piece.length === 0) {
      const { value, done } = await this.#source.next();
      if (done === true) {
        return undefined;
      }
      this.#piece = value;
    }
    const part = this.#piece.subarray(0, most);
    this.#piece = this.#piece.subarray(part.length);
    this.#position += part.length;
    return part;
  }

  /** Gives exactly `length` bytes to `use`, in pieces. */
  async forEach(length: number, use: (piece: Uint8Array, offset: number) => void): Promise<void> {
    for (let done = 0; done < length; ) {
      const piece = await this.next(length - done);
      if (piece === undefined) {
        throw new EndOfStream(length, done);
      }
      use(piece, done);
      done += piece.length;
    }
  }

  /** Exactly `length` bytes in one buffer: for what is known to be small. */
  async take(length: number): Promise<Buffer> {
    const out = Buffer.allocUnsafe(length);
    await this.forEach(length, (piece, offset) => out.set(piece, offset));
    return out;
  }

  async skip(length: number): Promise<void> {
    await this.forEach(length, () => {});
  }
}
