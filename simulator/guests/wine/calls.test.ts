// The simulator's end of the relay, whose folder belongs to the guest: what is not a whole question of a program is no question, and an answer goes nowhere else.
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Call, Calls } from "./calls.ts";
import { relayProgram } from "./relay.ts";

let base: string;
let calls: Calls;
const taken: Call[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "xapi-calls-"));
  taken.length = 0;
  calls = new Calls(join(base, "calls"), (call) => void taken.push(call));
  calls.open();
});
afterEach(() => {
  calls.close();
  rmSync(base, { recursive: true, force: true });
});

const question = "?call\nC:\\windows\\system32\\tasklist.exe\ntasklist /fo csv \nE:\\\n?end\n";
const at = (name: string): string => join(base, "calls", name);
const write = (name: string, text: string): void => writeFileSync(at(name), text);

it("takes a question once, when it is whole", () => {
  write("c1a.tmp", question.slice(0, -3));
  calls.serve();
  expect(taken).toEqual([]);
  write("c1a.tmp", question);
  calls.serve();
  calls.serve();
  expect(taken).toEqual([{ id: "c1a.tmp", program: "C:\\windows\\system32\\tasklist.exe", line: "tasklist /fo csv", cwd: "E:\\" }]);
});

it("puts the answer in the question's place: its kind, exit code, lengths, streams", () => {
  write("c1.tmp", question);
  calls.serve();
  calls.answer("c1.tmp", { out: "out", err: "error", rc: -1 });
  const answer = readFileSync(at("c1.tmp"));
  expect(answer.toString("latin1", 0, 1)).toBe("!");
  expect([4, 8, 12].map((offset) => answer.readInt32LE(offset))).toEqual([-1, 3, 5]);
  expect(answer.toString("latin1", 16)).toBe("outerror");
  // An answer is no question; the same name, used again, is.
  calls.serve();
  write("c1.tmp", question);
  calls.serve();
  expect(taken).toHaveLength(2);
});

it("follows no link, neither in what it reads nor in what it writes, and takes nothing that is too large", () => {
  const secret = join(base, "secret");
  writeFileSync(secret, question);
  symlinkSync(secret, at("c1.tmp"));
  write("c2.tmp", `?call\n${"x".repeat(100_000)}\n\n\n?end\n`);
  write("other.tmp", question);
  calls.serve();
  expect(taken).toEqual([]);
  symlinkSync(secret, at("c3.tmp.answer"));
  calls.answer("c3.tmp", { out: "answer", err: "", rc: 0 });
  expect(readFileSync(secret, "utf8")).toBe(question);
});

it("the relay is a small program of one section, for x86-64 and the console", () => {
  const program = Buffer.from(relayProgram());
  expect(program.length).toBeLessThan(8192);
  expect(program.toString("latin1", 0, 2)).toBe("MZ");
  const header = program.readUInt32LE(0x3c);
  expect([program.toString("latin1", header, header + 4), program.readUInt16LE(header + 4), program.readUInt16LE(header + 6)]).toEqual([
    "PE\0\0",
    0x8664,
    1,
  ]);
  expect(program.readUInt16LE(header + 24 + 68)).toBe(3);
});
