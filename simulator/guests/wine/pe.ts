// Puts together a small Windows console program (PE32+, x86-64): calls of kernel32, jumps, and memory, which is all that the relay needs (relay.ts).
// So no compiler for Windows has to be installed, and no binary lies in the repository.
// Layout: Microsoft's "PE Format". One section holds code, data, imports and zeroed memory; all addresses are relative to the instruction.

const IMAGE_BASE = 0x1_4000_0000n;
const SECTION = 0x1000;
const FILE_ALIGNMENT = 0x200;
const HEADERS = 0x200;

/** An argument of a call: a number, the address of a label, what is stored there (64 bits), or the address so many stored bytes (32 bits) after a label. */
export type Argument = number | { address: string } | { value: string } | { after: string; bytes: string };

// rcx, rdx, r8, r9: `mov reg, imm64`, `lea reg, [rip+…]`, `mov reg, [rip+…]`, `add reg, rax`; the last is rax, for what goes over the stack.
const REGISTERS = [
  { mov: [0x48, 0xb9], lea: [0x48, 0x8d, 0x0d], load: [0x48, 0x8b, 0x0d], add: [0x48, 0x01, 0xc1] },
  { mov: [0x48, 0xba], lea: [0x48, 0x8d, 0x15], load: [0x48, 0x8b, 0x15], add: [0x48, 0x01, 0xc2] },
  { mov: [0x49, 0xb8], lea: [0x4c, 0x8d, 0x05], load: [0x4c, 0x8b, 0x05], add: [0x49, 0x01, 0xc0] },
  { mov: [0x49, 0xb9], lea: [0x4c, 0x8d, 0x0d], load: [0x4c, 0x8b, 0x0d], add: [0x49, 0x01, 0xc1] },
] as const;
const RAX = { mov: [0x48, 0xb8], lea: [0x48, 0x8d, 0x05], load: [0x48, 0x8b, 0x05], add: [] } as const;
/** Room for the arguments of a call; with the return address it keeps the stack aligned to 16. */
const STACK = 0x88;

export class Program {
  readonly #code: number[] = [0x48, 0x81, 0xec, STACK, 0, 0, 0]; // sub rsp, STACK
  readonly #references: { at: number; label: string }[] = [];
  readonly #labels = new Map<string, number>();
  readonly #imports: string[] = [];
  readonly #data: { label: string; bytes: Uint8Array }[] = [];
  readonly #memory: { label: string; size: number; parts: Readonly<Record<string, number>> }[] = [];

  /** Text with its closing zero. */
  text(label: string, text: string): this {
    this.#data.push({ label, bytes: new TextEncoder().encode(`${text}\0`) });
    return this;
  }

  /** Zeroed at the start. `parts`: further labels, by their distance from this one. */
  memory(label: string, size: number, parts: Readonly<Record<string, number>> = {}): this {
    this.#memory.push({ label, size, parts });
    return this;
  }

  label(name: string): this {
    this.#labels.set(name, this.#code.length);
    return this;
  }

  /** Calls a function of kernel32; its answer is in rax. */
  call(name: string, ...args: Argument[]): this {
    for (const [index, argument] of args.entries()) {
      if (index < 4) continue;
      this.#load(RAX, argument);
      this.#code.push(0x48, 0x89, 0x84, 0x24, ...little(0x20 + 8 * (index - 4), 4)); // mov [rsp+…], rax
    }
    for (const [index, argument] of args.slice(0, 4).entries()) this.#load(REGISTERS[index] ?? RAX, argument);
    if (!this.#imports.includes(name)) this.#imports.push(name);
    return this.#reach([0xff, 0x15], `import ${name}`); // call [rip+…]
  }

  /** Keeps the answer of the last call. */
  save(label: string): this {
    return this.#reach([0x48, 0x89, 0x05], label); // mov [rip+…], rax
  }

  jump(label: string): this {
    return this.#reach([0xe9], label);
  }

  /** When the answer of the last call (32 bits) is this number. */
  jumpIf(number: number, label: string): this {
    this.#code.push(0x3d, ...little(number, 4)); // cmp eax, imm32
    return this.#reach([0x0f, 0x84], label); // je
  }

  /** When the byte at a label is this one. */
  jumpIfByte(label: string, byte: number, target: string): this {
    this.#reach([0x0f, 0xb6, 0x05], label); // movzx eax, byte [rip+…]
    return this.jumpIf(byte, target);
  }

  bytes(): Uint8Array {
    const section = [...this.#code];
    const at = new Map(this.#labels);
    const place = (label: string, bytes: Iterable<number>): void => {
      while (section.length % 8 !== 0) section.push(0);
      at.set(label, section.length);
      section.push(...bytes);
    };
    for (const { label, bytes } of this.#data) place(label, bytes);
    const names = this.#imports.map((name) => {
      place(`name ${name}`, [0, 0, ...new TextEncoder().encode(`${name}\0`)]);
      return SECTION + (at.get(`name ${name}`) ?? 0);
    });
    place("library", new TextEncoder().encode("KERNEL32.dll\0"));
    for (const table of ["lookup", "addresses"])
      place(
        table,
        [...names, 0].flatMap((name) => little(name, 8)),
      );
    for (const [index, name] of this.#imports.entries()) at.set(`import ${name}`, (at.get("addresses") ?? 0) + 8 * index);
    const address = (label: string): number => SECTION + (at.get(label) ?? 0);
    const descriptor = [address("lookup"), 0, 0, address("library"), address("addresses")];
    place(
      "imports",
      [...descriptor, 0, 0, 0, 0, 0].flatMap((word) => little(word, 4)),
    );
    let end = section.length;
    for (const { label, size, parts } of this.#memory) {
      end = Math.ceil(end / 16) * 16;
      at.set(label, end);
      for (const [part, distance] of Object.entries(parts)) at.set(part, end + distance);
      end += size;
    }
    for (const { at: from, label } of this.#references) {
      const to = at.get(label);
      if (to === undefined) throw new Error(`the program has no ${label}`);
      section.splice(from, 4, ...little(to - (from + 4), 4));
    }
    const raw = Math.ceil(section.length / FILE_ALIGNMENT) * FILE_ALIGNMENT;
    const file = new Uint8Array(HEADERS + raw);
    file.set(headers(raw, end, address("imports")));
    file.set(section, HEADERS);
    return file;
  }

  #load(register: (typeof REGISTERS)[number] | typeof RAX, argument: Argument): void {
    if (typeof argument === "number") this.#code.push(...register.mov, ...little(argument, 8));
    else if ("address" in argument) this.#reach(register.lea, argument.address);
    else if ("value" in argument) this.#reach(register.load, argument.value);
    else {
      this.#reach(register.lea, argument.after);
      this.#reach([0x8b, 0x05], argument.bytes); // mov eax, [rip+…]
      this.#code.push(...register.add);
    }
  }

  #reach(instruction: readonly number[], label: string): this {
    this.#code.push(...instruction, 0, 0, 0, 0);
    this.#references.push({ at: this.#code.length - 4, label });
    return this;
  }
}

function headers(raw: number, used: number, imports: number): Uint8Array {
  const bytes = new Uint8Array(HEADERS);
  const view = new DataView(bytes.buffer);
  const text = (offset: number, from: string): void => bytes.set(new TextEncoder().encode(from), offset);
  text(0, "MZ");
  view.setUint32(0x3c, 0x40, true);
  text(0x40, "PE\0\0");
  const coff = 0x44;
  view.setUint16(coff, 0x8664, true); // x86-64
  view.setUint16(coff + 2, 1, true); // sections
  view.setUint16(coff + 16, 240, true); // size of the optional header
  view.setUint16(coff + 18, 0x22, true); // executable, large addresses
  const optional = coff + 20;
  view.setUint16(optional, 0x20b, true); // PE32+
  view.setUint32(optional + 4, raw, true);
  view.setUint32(optional + 16, SECTION, true); // entry
  view.setUint32(optional + 20, SECTION, true); // base of code
  view.setBigUint64(optional + 24, IMAGE_BASE, true);
  view.setUint32(optional + 32, SECTION, true);
  view.setUint32(optional + 36, FILE_ALIGNMENT, true);
  for (const version of [40, 48]) view.setUint16(optional + version, 6, true); // Windows Vista or later
  view.setUint32(optional + 56, SECTION + Math.ceil(used / SECTION) * SECTION, true); // size of the image
  view.setUint32(optional + 60, HEADERS, true);
  view.setUint16(optional + 68, 3, true); // console
  for (const [index, size] of [0x10_0000, 0x1000, 0x10_0000, 0x1000].entries())
    view.setBigUint64(optional + 72 + 8 * index, BigInt(size), true); // stack and heap
  view.setUint32(optional + 108, 16, true); // data directories
  view.setUint32(optional + 120, imports, true);
  view.setUint32(optional + 124, 40, true);
  const section = optional + 240;
  text(section, ".text");
  view.setUint32(section + 8, used, true);
  view.setUint32(section + 12, SECTION, true);
  view.setUint32(section + 16, raw, true);
  view.setUint32(section + 20, HEADERS, true);
  view.setUint32(section + 36, 0xe000_0060, true); // code and data, read, write, execute
  return bytes;
}

function little(number: number, size: number): number[] {
  let rest = BigInt.asUintN(8 * size, BigInt(number));
  return Array.from({ length: size }, () => {
    const byte = Number(rest & 0xffn);
    rest >>= 8n;
    return byte;
  });
}
