// The program that stands for those that Wine lacks, or only pretends to have: it asks the simulator, prints the answer and ends with its exit code.
// Promise: without an answer it never ends, so a question that nobody answers is never taken for a quiet one.
import { Program } from "./pe.ts";

/** Where requests and answers lie, in the sandbox. */
export const CALLS_FOLDER = "/run/xapisim/calls";

// A request: this mark, the program's own path, its command line and its directory, each closed by a line feed, and a mark of its end.
export const REQUEST = { begin: "?call\n", end: "\n?end\n" } as const;
/** An answer takes the request's place: this letter, then exit code and lengths of both streams as 32-bit numbers, and the streams. */
export const ANSWER = { said: "!", run: ">" } as const;
export const ANSWER_HEADER = 16;
export const MOST_ANSWER = 1024 * 1024;

const READ = 0x8000_0000;
const WRITE = 0x4000_0000;
const SHARE_ALL = 7;
const OPEN_EXISTING = 3;
const [OUT, ERR] = [-11, -12];
const POLL_MS = 2;
const INFINITE = 0xffff_ffff;

export function relayProgram(): Uint8Array {
  const program = new Program()
    .text("folder", `\\\\?\\unix${CALLS_FOLDER.replaceAll("/", "\\")}`)
    .text("prefix", "c")
    .text("begin", REQUEST.begin)
    .text("line", "\n")
    .text("end", REQUEST.end)
    .memory("file", 1024)
    .memory("handle", 8)
    .memory("length", 8)
    .memory("done", 8)
    .memory("text", 8)
    .memory("path", 4096)
    .memory("answer", ANSWER_HEADER + MOST_ANSWER + 8, { rc: 4, out: 8, err: 12, streams: ANSWER_HEADER })
    .memory("startup", 104)
    .memory("process", 24);

  const write = (text: { address: string } | { value: string }): void => {
    program.call("lstrlenA", text).save("length");
    program.call("WriteFile", { value: "handle" }, text, { value: "length" }, { address: "done" }, 0);
  };

  program.call("GetTempFileNameA", { address: "folder" }, { address: "prefix" }, 0, { address: "file" });
  program.call("CreateFileA", { address: "file" }, WRITE, SHARE_ALL, 0, OPEN_EXISTING, 0, 0).save("handle");
  write({ address: "begin" });
  program.call("GetModuleFileNameA", 0, { address: "path" }, 4096);
  write({ address: "path" });
  write({ address: "line" });
  program.call("GetCommandLineA").save("text");
  write({ value: "text" });
  write({ address: "line" });
  program.call("GetCurrentDirectoryA", 4096, { address: "path" });
  write({ address: "path" });
  write({ address: "end" });
  program.call("CloseHandle", { value: "handle" });

  program
    .label("wait")
    .call("Sleep", POLL_MS)
    .call("CreateFileA", { address: "file" }, READ, SHARE_ALL, 0, OPEN_EXISTING, 0, 0)
    .save("handle")
    .jumpIf(-1, "wait")
    .call("ReadFile", { value: "handle" }, { address: "answer" }, ANSWER_HEADER + MOST_ANSWER, { address: "done" }, 0)
    .call("CloseHandle", { value: "handle" })
    .jumpIfByte("answer", ANSWER.said.charCodeAt(0), "said")
    .jumpIfByte("answer", ANSWER.run.charCodeAt(0), "run")
    .jump("wait");

  program
    .label("said")
    .call("DeleteFileA", { address: "file" })
    .call("GetStdHandle", OUT)
    .save("handle")
    .call("WriteFile", { value: "handle" }, { address: "streams" }, { value: "out" }, { address: "done" }, 0)
    .call("GetStdHandle", ERR)
    .save("handle")
    .call("WriteFile", { value: "handle" }, { after: "streams", bytes: "out" }, { value: "err" }, { address: "done" }, 0)
    .call("ExitProcess", { value: "rc" });

  // The streams hold a command line instead: Wine's own program does it.
  program
    .label("run")
    .call("DeleteFileA", { address: "file" })
    .call("GetStartupInfoA", { address: "startup" })
    .call("CreateProcessA", 0, { address: "streams" }, 0, 0, 1, 0, 0, 0, { address: "startup" }, { address: "process" })
    .call("WaitForSingleObject", { value: "process" }, INFINITE)
    .call("GetExitCodeProcess", { value: "process" }, { address: "done" })
    .call("ExitProcess", { value: "done" });

  return program.bytes();
}
