// Clients over XML-RPC that nobody here wrote: Python's own, and XenServer's SDK for Python where it is installed.
import { execFile, execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { withSimulator } from "./testing.ts";

const script = fileURLToPath(new URL("python.test.py", import.meta.url));

describe.each([
  ["xmlrpc.client", "install python3"],
  ["XenAPI", "it is the SDK that XenServer publishes: pip install XenAPI"],
])("Python's %s", (module, install) => {
  const there = canImport(module);
  if (!there) process.stderr.write(`python3 with ${module} not found: its test did not run (${install})\n`);

  test.skipIf(!there)("logs in, lists, creates, clones in a task, destroys, and is told why when something fails", () =>
    withSimulator(async (simulator) => {
      const before = simulator.db.refs("VDI").length;
      const { url, username, password } = simulator;
      const { stdout } = await promisify(execFile)("python3", [script, module, url, username, password]);
      const seen = JSON.parse(stdout) as { vdi: string };
      expect(seen).toEqual({
        srs: ["Installers", "Local storage"],
        vdi: expect.stringMatching(/^OpaqueRef:[0-9a-f-]{36}$/),
        name: 'from Python: <ä> & "quoted"',
        size: String(5 * 1024 ** 3), // ints look like strings in XML-RPC
        managed: true,
        config: { key: "value" },
        time: "19700101T00:00:00Z",
        vbds: [],
        clone: ["success", 1, true],
        failure: ["failure", ["HANDLE_INVALID", "VDI", "OpaqueRef:none"]],
        gone: ["HANDLE_INVALID", "VDI", seen.vdi],
        vdis: before,
      });
      expect([simulator.db.refs("VDI").length, simulator.db.refs("task"), simulator.sessions()]).toEqual([before, [], 1]);
    }),
  );
});

function canImport(module: string): boolean {
  try {
    execFileSync("python3", ["-c", `import ${module}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
