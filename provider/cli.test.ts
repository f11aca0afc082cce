import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Simulator, type SimulatorOptions, startSimulator } from "../simulator/index.ts";
import { main } from "./cli.ts";

let simulator: Simulator | undefined;
const start = async (options: SimulatorOptions = {}): Promise<Simulator> => {
  simulator = await startSimulator({ seed: 1, ...options });
  vi.stubEnv("XENLAYER_USERNAME", simulator.username);
  vi.stubEnv("XENLAYER_PASSWORD", simulator.password);
  return simulator;
};
afterEach(async () => {
  vi.unstubAllEnvs();
  await simulator?.close();
  simulator = undefined;
});

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "xenlayer-cli-"));
});
afterEach(() => rm(dir, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: "", err: "" };
  const code = await main(args, {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
  });
  return { code, ...said };
}
const doctor = (address: string, ...more: string[]) =>
  run("doctor", "--address", address, "--template", "xenlayer-packaging", "--storage-repository", "Local storage", ...more);

describe("xenlayer doctor", () => {
  it("finds nothing in the way on a pool that can be used, changes nothing there and leaves no session", async () => {
    const { url, state, sessions } = await start();
    const before = state();
    const { code, out } = await doctor(url);
    expect(out).toContain("ok       address: XenServer 8.4.0");
    expect(out).toMatch(/This pool can be used[^\n]*\.\n$/);
    expect(code).toBe(0);
    expect(state()).toEqual(before);
    expect(sessions()).toBe(0);
  });

  it("writes, reads and removes a probe disk where it is asked to", async () => {
    const { url, state } = await start();
    const before = state().VDI;
    const { code, out } = await doctor(url, "--probe");
    expect(out).toContain("a probe disk was written, read back, compared and removed");
    expect(code).toBe(0);
    expect(state().VDI).toEqual(before);
  });

  it("tells all that stands in the way at once, and ends with 1", async () => {
    const { url } = await start();
    const { code, out } = await run(
      ...[
        "doctor",
        "--address",
        url,
        "--template",
        "Windows 11",
        "--storage-repository",
        "local storage",
        "--network",
        "nowhere",
        "--json",
      ],
    );
    const { findings } = JSON.parse(out) as { findings: { property: string; severity: string }[] };
    const errors = findings.filter(({ severity }) => severity === "error").map(({ property }) => property);
    expect(errors).toEqual(["template", "storageRepository", "network"]);
    expect(code).toBe(1);
  });

  it("says what is wrong with the account without saying its password", async () => {
    const { url } = await start();
    vi.stubEnv("XENLAYER_PASSWORD", "not-the-password");
    const { code, out, err } = await doctor(url);
    expect(out).toMatch(/^error +password: .*SESSION_AUTHENTICATION_FAILED/m);
    expect(out + err).not.toContain("not-the-password");
    expect(code).toBe(1);
  });

  it("asks for the account where the environment has none", async () => {
    const { url } = await start();
    vi.stubEnv("XENLAYER_USERNAME", undefined);
    vi.stubEnv("XENLAYER_PASSWORD", undefined);
    const { code, out } = await doctor(url);
    expect(out).toContain("XENLAYER_USERNAME");
    expect(out).toContain("XENLAYER_PASSWORD");
    expect(code).toBe(1);
  });

  it("trusts a host by its CA or its fingerprint, and no other", async () => {
    const { url, ca, fingerprint } = await start({ tls: true });
    const file = join(dir, "ca.pem");
    await writeFile(file, ca ?? "");
    expect((await doctor(url)).code).toBe(1);
    expect((await doctor(url, "--ca-certificate", file)).code).toBe(0);
    expect((await doctor(url, "--fingerprint", fingerprint ?? "")).code).toBe(0);
    const wrong = await doctor(url, "--fingerprint", "00".repeat(32));
    expect(wrong.out).toMatch(/^error +tls: /m);
  });
});

describe("a command line that isn't understood", () => {
  it.each([
    [[], "no command\n\nUsage: xenlayer COMMAND"],
    [["cure"], 'no command "cure"\n\nUsage: xenlayer COMMAND'],
    [["toString"], 'no command "toString"'],
    [["doctor", "--adress", "x"], "--adress"],
    [["doctor", "pool"], "Unexpected argument 'pool'"],
    [["doctor", "--address", "x"], "--template is missing\nxenlayer: --storage-repository is missing\n\nUsage: xenlayer doctor"],
    [
      ["doctor", "--address", "x", "--template", "t", "--storage-repository", "s", "--ca-certificate", "/nowhere.pem"],
      "--ca-certificate can't be read: ENOENT",
    ],
  ])("%j is answered by what is wrong and the usage, and 2", async (args, expected) => {
    const { code, out, err } = await run(...args);
    expect(err).toContain(expected);
    expect(err).toContain("Usage: xenlayer");
    expect(out).toBe("");
    expect(code).toBe(2);
  });

  it.each([
    [["--help"], "Usage: xenlayer COMMAND"],
    [["-h"], "  doctor     tests whether"],
    [["doctor", "--help"], "Usage: xenlayer doctor"],
  ])("asking for help with %j is no mistake", async (args, expected) => {
    const { code, out } = await run(...args);
    expect(out).toContain(expected);
    expect(code).toBe(0);
  });
});
