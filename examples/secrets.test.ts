// No secret anywhere: a program with a password given as an input, secrets of steps and KMS is run by the real engine at its highest verbosity, goes well and
// fails in each way; then all that was said, stored and left on the pool is searched. Left out is what the engine itself
// records of the requests: its lines of properties at -v=9, and in PULUMI_DEBUG_GRPC's log the fields that are named here.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ENGINE, type Example, startExample } from "./testing.ts";

const LICENSE = "marked-license-9b1f4e";
const WRONG = "marked-wrong-password-77aa";
const BLOCK = 2 ** 21;
const ENGINES_OWN = /"msg":"(Unm|M)arshaling property for RPC\[/;
/** What marks a secret between engine and providers (sdk/go/common/resource/plugin/rpc.go). */
const MARK = "4dabf18193072939515e22adb298388d";

const PROGRAM = `import * as pulumi from "@pulumi/pulumi";
import * as xenlayer from "pulumi-xenlayer";
const pool = new pulumi.Config("xenlayer");
const config = new pulumi.Config();
const connector = new xenlayer.ConnectorConfig("pool", {
  address: config.get("address") ?? pool.require("address"),
  username: "root",
  password: config.requireSecret("given"),
  template: pool.require("template"),
  storageRepository: pool.require("storageRepository"),
}).settings;
const os = new xenlayer.OsLayer("os", { connector, name: "OS", version: "1", source: { file: "windows-11.raw" } });
const platform = { hypervisor: "xenserver", provisioningService: "none", connectionBroker: "none" } as const;
const layer = new xenlayer.PlatformLayer("layer", { connector, name: "layer", osLayer: os.layerId, purpose: "publishing", platform });
new xenlayer.LayerVersion("version", {
  connector,
  layer: layer.layerId,
  version: config.get("version") ?? "1",
  install: [{ name: "licensed", shell: "cmd", run: config.get("run") ?? "echo done", secretEnv: { LICENSE: config.requireSecret("license") } }],
  kms: "rearm",
});
`;

describe.sequential("a program with secrets", { timeout: ENGINE }, () => {
  let example: Example;
  let password: string;
  /** Where a secret was seen while the runs went on. */
  const seen = new Set<string>();
  const said: string[] = [];
  let logs: string;
  beforeAll(async () => {
    logs = await mkdtemp(join(tmpdir(), "xenlayer-secrets-"));
    const secrets = { license: LICENSE, given: "xapi-simulator" };
    const env = { PULUMI_DEBUG_GRPC: join(logs, "grpc.json") };
    example = await startExample({ example: "quickstart", program: PROGRAM, secrets, env });
    password = example.simulator.password;
    // With the state of the pool, and the arguments of every process, at each change of a machine or a disk.
    const watching = {
      test: (call: string) => {
        if (/^(Async\.)?(VM|VDI|VBD)\./.test(call)) void look();
        return false;
      },
    };
    example.simulator.fault({ message: Object.assign(/(?:)/, watching), code: "INTERNAL_ERROR" });
  }, ENGINE);
  afterAll(async () => {
    await example?.[Symbol.asyncDispose]();
    await rm(logs, { recursive: true, force: true });
  }, ENGINE);

  const secrets = () => [password, LICENSE, WRONG];
  const leaks = (text: string): string[] => secrets().filter((secret) => text.includes(secret));
  async function look(): Promise<void> {
    for (const leak of leaks(JSON.stringify(example.simulator.state()))) seen.add(`pool: ${leak}`);
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const args = await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => "");
      for (const leak of leaks(args)) seen.add(`arguments: ${leak} in ${args.slice(0, 40)}`);
    }
  }
  const up = async (...flags: string[]): Promise<number> => {
    const { code, output } = await example.stack.pulumi(["up", "--skip-preview", ...flags]);
    said.push(output);
    return code;
  };

  it("is built, with everything logged that can be", async () => {
    expect(await up("-v=9", "--logtostderr", "--logflow")).toBe(0);
    expect(said.join("").length).toBeGreaterThan(100_000);
  });

  it("fails where a step does, the account is refused, and nobody answers", async () => {
    await example.stack.configure({ version: "2", run: "exit 1603" });
    expect(await up()).not.toBe(0);
    await example.stack.configure({}, { given: WRONG, "xenlayer:password": WRONG });
    expect(await up()).not.toBe(0);
    await example.stack.configure({ address: "http://127.0.0.1:1" }, { given: password, "xenlayer:password": password });
    expect(await up()).not.toBe(0);
    expect(said.join("")).toMatch(/SESSION_AUTHENTICATION_FAILED/);
    expect(said.join("")).toContain("1603");
  });

  it("says none of its secrets, and none was on the pool or among arguments at any moment", () => {
    // At -v=9 the engine shows each property that it sends or receives; those lines are its own, and hold what any program gives it.
    const lines = said.flatMap((text) => text.split("\n")).filter((line) => !ENGINES_OWN.test(line));
    expect(lines.filter((line) => leaks(line).length > 0).map((line) => line.slice(0, 300))).toEqual([]);
    expect([...seen]).toEqual([]);
  });

  it("has them in the log of PULUMI_DEBUG_GRPC, which is the engine's, only as they were given; what the provider answers is marked", async () => {
    const fields = new Set<string>();
    const walk = (value: unknown, path: string): void => {
      if (typeof value === "string" && leaks(value).length > 0) fields.add(path);
      if (typeof value !== "object" || value === null) return;
      const marked = MARK in value ? `${path} (marked)` : path;
      for (const [name, inner] of Object.entries(value))
        walk(inner, MARK in value ? marked : `${path}.${Array.isArray(value) ? "*" : name}`);
    };
    for (const line of (await readFile(join(logs, "grpc.json"), "utf8")).split("\n").filter((text) => text !== "")) {
      const { method, ...said } = JSON.parse(line) as { method: string };
      walk(said, method.replace("/pulumirpc.", ""));
    }
    // The log holds also in clear what is marked; unmarked it goes to providers, and to programs from their configuration.
    const unmarked = [...fields].filter((field) => !field.includes("(marked)"));
    const places = unmarked.map((field) =>
      field
        .replace(/^(LanguageRuntime\/Run|ResourceProvider\/(CheckConfig|DiffConfig|Configure))\.request\..*:\w+$/, "configuration")
        .replace(/^ResourceProvider\/(Check|Diff|Create)\.request\.(news|olds|oldInputs|properties)\./, "to the provider: "),
    );
    expect([...new Set(places)].sort()).toEqual([
      // The program gives it unmarked, so that reviewers see the steps beside it; the provider's check marks it.
      "ResourceMonitor/RegisterResource.request.object.install.*.secretEnv.LICENSE",
      "configuration",
      "to the provider: connector.password",
      "to the provider: install.*.secretEnv.LICENSE",
      "to the provider: password",
    ]);
    expect([...fields].filter((field) => field.startsWith("ResourceProvider/") && field.includes(".response."))).toHaveLength(6);
  });

  it("stores none: not in the state, its backups or its history", async () => {
    const state = join(example.dir, "..", "state");
    const files = (await readdir(state, { recursive: true, withFileTypes: true })).filter((file) => file.isFile());
    expect(files.length).toBeGreaterThan(3);
    for (const file of files)
      expect({ file: file.name, leaks: leaks(await readFile(join(file.parentPath, file.name), "latin1")) }).toEqual({
        file: file.name,
        leaks: [],
      });
  });

  it("leaves none on a disk, but on the payload of the machine that waits to be gone on with", () => {
    const { storage, db } = example.simulator;
    const waiting = new Set(db.all("VDI").flatMap(([, vdi]) => (vdi.name_label === "layer 2 evidence" ? [vdi.uuid] : [])));
    const found = storage.ids().filter((id) => {
      const disk = example.simulator.disk(id);
      return storage
        .blocks(id)
        .some(
          (block) => leaks(Buffer.from(disk.read(block * BLOCK, Math.min(BLOCK, disk.size - block * BLOCK))).toString("latin1")).length > 0,
        );
    });
    expect(found.filter((id) => !waiting.has(id))).toEqual([]);
  });
});
