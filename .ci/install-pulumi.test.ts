// The installer against a stand-in for Pulumi's download host on loopback, with programs that only say their version.
// The build from Go modules is not tried here: it takes minutes. `make test` on a machine without Pulumi and without a way
// to the download host does it.

import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const installer = join(dirname(fileURLToPath(import.meta.url)), "install-pulumi");
const version = /^version=(.*)$/m.exec(readFileSync(installer, "utf8"))?.[1] ?? "";
const programs = ["pulumi", "pulumi-language-nodejs", "pulumi-resource-pulumi-nodejs"];
// What the installer may use; nothing else is on its PATH, so that this machine's own pulumi and go do not count.
const tools = "awk cat chmod cp curl dirname env find flock mkdir mktemp mv node rm sed sh tail tar gzip uname".split(" ");

let dir: string;
let server: Server;
let published: Map<string, Buffer>;
let downloads: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "install-pulumi-"));
  mkdirSync(join(dir, "tools"));
  for (const tool of tools) {
    const found = (process.env.PATH ?? "")
      .split(delimiter)
      .map((folder) => join(folder, tool))
      .find(existsSync);
    if (found !== undefined) symlinkSync(found, join(dir, "tools", tool));
  }
  published = new Map();
  server = createServer((request, response) => {
    const file = published.get((request.url ?? "").slice(1));
    response.writeHead(file === undefined ? 404 : 200).end(file);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  downloads = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true });
});

function fakePulumi(folder: string, says: string, names = programs): string {
  mkdirSync(folder, { recursive: true });
  for (const name of names) {
    writeFileSync(join(folder, name), `#!/bin/sh\necho v${says}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

function publish(checksum?: string): void {
  const os = process.platform === "darwin" ? "darwin" : "linux";
  const name = `pulumi-v${version}-${os}-${process.arch === "arm64" ? "arm64" : "x64"}.tar.gz`;
  fakePulumi(join(dir, "archive/pulumi"), version);
  const archive = execFileSync("tar", ["-czf", "-", "-C", join(dir, "archive"), "pulumi"]);
  published.set(name, archive);
  const sum = checksum ?? createHash("sha256").update(archive).digest("hex");
  published.set(`pulumi-${version}-checksums.txt`, Buffer.from(`${sum}  ${name}\n`));
}

function install(...path: string[]): Promise<{ code: number; bin: string; said: string }> {
  const env = { PATH: [...path, join(dir, "tools")].join(delimiter), HOME: dir, XENLAYER_PULUMI_DOWNLOADS: downloads };
  return new Promise((resolve) => {
    execFile("sh", [installer], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), bin: stdout.trim(), said: stderr });
    });
  });
}

const cached = () => join(dir, `.cache/xenlayer/pulumi-${version}/bin`);
const left = () => readdirSync(join(dir, ".cache/xenlayer")).filter((name) => !name.endsWith(".lock"));

describe("install-pulumi", () => {
  test("takes a supported pulumi from PATH and says nothing", async () => {
    const bin = fakePulumi(join(dir, "mine"), "3.300.1-alpha.5");
    expect(await install(bin)).toEqual({ code: 0, bin, said: "" });
    expect(existsSync(join(dir, ".cache"))).toBe(false);
  });

  test.each(["3.100.0", "4.0.0", "2.999.0", "not-a-version"])("does not take pulumi %s from PATH, and says why", async (says) => {
    publish();
    const result = await install(fakePulumi(join(dir, "mine"), says));
    expect(result).toMatchObject({ code: 0, bin: cached() });
    expect(result.said).toContain(`pulumi ${says.replace(/^v/, "")} (${join(dir, "mine/pulumi")}) is not used: xenlayer needs 3.`);
  });

  test("does not take a pulumi from PATH that lacks its Node language host", async () => {
    publish();
    const result = await install(fakePulumi(join(dir, "mine"), version, ["pulumi"]));
    expect(result.bin).toBe(cached());
    expect(result.said).toContain("its pulumi-language-nodejs is missing");
  });

  test("downloads into the cache, and a second run is silent and needs no network", async () => {
    publish();
    expect(await install()).toMatchObject({ code: 0, bin: cached() });
    published.clear();
    expect(await install()).toEqual({ code: 0, bin: cached(), said: "" });
    expect(left()).toEqual([`pulumi-${version}`]);
  });

  test("refuses a download whose checksum is not the published one, and without Go says what to install", async () => {
    publish("0".repeat(64));
    const result = await install();
    expect(result).toMatchObject({ code: 1, bin: "" });
    expect(result.said).toContain("the published one is 0000");
    expect(result.said).toMatch(/install Pulumi \(3\.\d+\.0 or later\) or Go \(1\.\d+(\.\d+)? or later\)/);
    expect(left()).toEqual([]);
  });

  test("two runs at once both end with the same directory, and nothing else is left", async () => {
    publish();
    const both = await Promise.all([install(), install()]);
    expect(both.map(({ code, bin }) => ({ code, bin }))).toEqual([
      { code: 0, bin: cached() },
      { code: 0, bin: cached() },
    ]);
    expect(left()).toEqual([`pulumi-${version}`]);
    expect(readdirSync(cached()).sort()).toEqual(programs);
  });

  test("mends a cache directory that lacks a program", async () => {
    publish();
    fakePulumi(cached(), version, ["pulumi"]);
    expect(await install()).toMatchObject({ code: 0, bin: cached() });
    expect(readdirSync(cached()).sort()).toEqual(programs);
  });
});
