// SSH against OpenSSH's own server, on loopback. Where it is missing the tests say that they did not run; with CI=true that fails.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createTcp, type Server as TcpServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FatVolume } from "../simulator/storage/fat.ts";
import { explain } from "./errors.ts";
import { RefusedError } from "./hands.ts";
import { overSsh, type SshInput } from "./ssh.ts";
import { halfMade, Story, step, windowsGuest, withStage } from "./testing.ts";

const sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].find((path) => existsSync(path));
if (sshd === undefined) {
  if (process.env.CI === "true") throw new Error("SSH can't be tested: there is no sshd (Debian: apt-get install openssh-server)");
  console.warn("\nSSH was NOT tested: there is no sshd (Debian: openssh-server)\n");
}

/** OpenSSH's server on a port of its own; every command that is sent goes to `run`, whatever it is. */
class Sshd {
  readonly #dir = mkdtempSync(join(tmpdir(), "xenlayer-sshd-"));
  readonly #tcp: TcpServer;
  readonly #http: Server;
  readonly commands: string[] = [];
  run: (command: string) => Promise<{ rc: number; output: string }> = async () => ({ rc: 0, output: "" });

  constructor(program: string) {
    const at = (name: string): string => join(this.#dir, name);
    for (const name of ["host", "user", "other"]) execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", at(name)]);
    this.#http = createServer(async (request, response) => {
      const parts: Buffer[] = [];
      for await (const part of request) parts.push(part as Buffer);
      const command = Buffer.concat(parts).toString();
      this.commands.push(command);
      const { rc, output } = await this.run(command);
      response.end(JSON.stringify({ rc, output }));
    });
    // Its working folder serves each connection by a server process of its own, as inetd does.
    this.#tcp = createTcp({ pauseOnConnect: true }, (socket) => {
      const child = spawn(program, ["-i", "-f", at("config")], { stdio: [socket, socket, "ignore"] });
      child.once("exit", () => socket.destroy());
    });
    if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  }

  async start(): Promise<void> {
    for (const server of [this.#http, this.#tcp]) await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const at = (name: string): string => join(this.#dir, name);
    writeFileSync(
      at("bridge.mjs"),
      `const reply = await fetch("http://127.0.0.1:${(this.#http.address() as AddressInfo).port}", { method: "POST", body: process.env.SSH_ORIGINAL_COMMAND ?? "" });
const { rc, output } = await reply.json();
process.stdout.write(output);
process.exitCode = rc;
`,
    );
    const config = {
      HostKey: at("host"),
      AuthorizedKeysFile: at("user.pub"),
      ForceCommand: `${process.execPath} ${at("bridge.mjs")}`,
      StrictModes: "no",
      PasswordAuthentication: "no",
      KbdInteractiveAuthentication: "no",
      PermitRootLogin: "yes",
      PidFile: "none",
    };
    writeFileSync(
      at("config"),
      Object.entries(config)
        .map(([key, text]) => `${key} ${text}\n`)
        .join(""),
    );
  }

  account(key = "user"): SshInput {
    const read = (name: string): string => readFileSync(join(this.#dir, name), "utf8");
    const [, fingerprint = ""] = execFileSync("ssh-keygen", ["-lf", join(this.#dir, "host.pub")], { encoding: "utf8" }).split(" ");
    const { port } = this.#tcp.address() as AddressInfo;
    return { username: userInfo().username, privateKey: read(key), hostKeyFingerprint: fingerprint, address: "127.0.0.1", port };
  }

  async close(): Promise<void> {
    for (const server of [this.#http, this.#tcp]) await new Promise((done) => server.close(done));
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

it("a guest whose address is given is still heard: addresses and tools version, which stay when a later run hears nothing", () =>
  withStage(async (own) => {
    const story = await Story.begin(own, { ...windowsGuest, tools: { version: "9.4.0" } });
    const layer = await story.layer("given");
    const disk = await layer.disk("1");
    // Nobody listens there, and nobody has to: this guest runs its order by itself.
    const ssh = { username: "a", password: "b", hostKeyFingerprint: `SHA256:${"A".repeat(43)}`, address: "127.0.0.1", port: 1 };
    const told = { ipAddresses: [expect.stringMatching(/^192\.0\.2\./)], toolsVersion: "9.4.0.0" };
    const failed = halfMade(await layer.machine(disk, { machine: { install: [step("fails.exe")], ssh } }).catch((error) => error));
    expect(failed.outputs).toMatchObject(told);
    const { db } = own.sim;
    const forgotten = () => {
      for (const [ref] of db.all("VM_guest_metrics")) db.update("VM_guest_metrics", ref, { networks: {}, PV_drivers_version: {} });
    };
    own.sim.fault({ message: /VM_guest_metrics\.get_record$/, happens: forgotten, times: 99 });
    const again = halfMade(await own.up(failed, failed.inputs).catch((error) => error));
    expect(again.outputs).toMatchObject({ ...told, steps: [{ exitCode: 1603 }] });
    await layer.drop({ disk, machine: again });
    await story.end(layer);
  }));

describe.skipIf(sshd === undefined)("by SSH", () => {
  let server: Sshd;
  beforeAll(async () => {
    server = new Sshd(sshd ?? "");
    await server.start();
  });
  afterAll(() => server?.close());
  const never = new AbortController().signal;
  const failing = (work: Promise<unknown>): Promise<Error> =>
    work.then(
      () => new Error("it should have failed"),
      (error: Error) => error,
    );

  it("a command is run, and its output and exit code come back", async () => {
    server.run = async (command) => ({ rc: 7, output: `ran ${command}\n` });
    expect(await overSsh(server.account(), "127.0.0.1", "echo 'a b'", never)).toEqual({ code: 7, output: "ran echo 'a b'\n" });
  });

  it("nothing is sent to a host with another key than the one that was named", async () => {
    server.commands.length = 0;
    const error = await failing(
      overSsh({ ...server.account(), hostKeyFingerprint: `SHA256:${"A".repeat(43)}` }, "127.0.0.1", "true", never),
    );
    expect(error).toBeInstanceOf(RefusedError);
    expect(error.message).toContain(`its host key is ${server.account().hostKeyFingerprint}, not the one of ssh.hostKeyFingerprint`);
    expect(server.commands).toEqual([]);
  });

  it("a key that the guest doesn't know is refused at once, and is in no message", async () => {
    const account = server.account("other");
    const error = await failing(overSsh(account, "127.0.0.1", "true", never));
    expect(error).toBeInstanceOf(RefusedError);
    expect(error.message).toContain("the guest refuses this account or key");
    expect(explain(error)).not.toContain(account.privateKey?.split("\n")[1] ?? "?");
  });

  it("a guest that doesn't listen yet is no refusal", async () => {
    const closed = createTcp();
    await new Promise<void>((done) => closed.listen(0, "127.0.0.1", done));
    const { port } = closed.address() as AddressInfo;
    await new Promise((done) => closed.close(done));
    const error = await failing(overSsh({ ...server.account(), port }, "127.0.0.1", "true", never));
    expect(error).not.toBeInstanceOf(RefusedError);
    expect(error.message).toMatch(/^ssh .*@127\.0\.0\.1:\d+: .*ECONNREFUSED/);
  });

  it("a guest without a bootstrap gets one, for this version alone, and runs its order", () =>
    withStage(async (own) => {
      const story = await Story.begin(own, { ...windowsGuest, bootstrap: "none" });
      const layer = await story.layer("reached");
      const disk = await layer.disk("1");
      // What sshd in the guest would do: run it there.
      server.run = async (command) => {
        const vm = own.sim.db.all("VM").find(([, { name_label }]) => name_label.startsWith("reached 1 packaging"))?.[1].uuid ?? "";
        while (!own.sim.guestLog.some(({ line }) => line.includes("no bootstrap"))) await new Promise((resolve) => setImmediate(resolve));
        return own.sim.console(vm).type(command);
      };
      const { privateKey = "" } = server.account();
      const machine = await layer.machine(disk, { machine: { install: [step("restarts.exe"), step("agent.exe")], ssh: server.account() } });
      expect(machine.outputs).toMatchObject({ ready: true, steps: [{ exitCode: 3010 }, { exitCode: 0 }] });
      expect(server.commands).toContainEqual(expect.stringContaining("bootstrap"));
      // What it is told next may be the guest's own word already.
      expect(own.told).toContainEqual(expect.stringMatching(/^booting; .* by SSH/));
      const seal = await layer.seal(disk, "1");
      expect(FatVolume.open(own.sim.disk(String(seal.outputs.vdiUuid)))?.exists("Windows/xenlayer")).toBe(false);
      expect(JSON.stringify([own.told, own.pool(), seal.outputs, await layer.entry("1")])).not.toContain(privateKey.split("\n")[1]);
      await layer.drop({ disk, machine, seal });
      await story.end(layer);
    }));

  it("an account that is refused ends the wait, with the machine left as it is", () =>
    withStage(async (own) => {
      const story = await Story.begin(own, { ...windowsGuest, bootstrap: "none" });
      const layer = await story.layer("refused");
      const disk = await layer.disk("1");
      const error = await failing(layer.machine(disk, { machine: { ssh: server.account("other") } }));
      expect(error.message).toMatch(/the guest refuses this account or key/);
      expect(error.message).toMatch(/machine "refused 1 packaging \w+" is left running/);
    }));
});
