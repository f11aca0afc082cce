// Where output goes when it does not go to the console.
import type { Files, Location } from "./files.ts";
import type { Stream } from "./process.ts";

export class Capture implements Stream {
  text = "";
  write(text: string): void {
    this.text += text;
  }
}

/** A redirection: the file exists at once, its text is there when the command has ended. */
export class FileStream implements Stream {
  #text: string;
  readonly #files: Files;
  readonly #at: Location;
  #dirty = false;

  private constructor(files: Files, at: Location, before: string) {
    this.#files = files;
    this.#at = at;
    this.#text = before;
  }

  static open(files: Files, at: Location, append: boolean): FileStream | undefined {
    const before = append ? (files.readText(at) ?? "") : "";
    if (!(append && files.isFile(at)) && !files.write(at, before)) return undefined;
    return new FileStream(files, at, before);
  }

  write(text: string): void {
    this.#text += text;
    this.#dirty = true;
  }

  /** False: the disk is full. */
  close(): boolean {
    return !this.#dirty || this.#files.write(this.#at, this.#text);
  }
}
