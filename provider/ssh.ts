// SSH as a pair of hands (hands.ts): logs in once and installs the bootstrap that the payload disk carries.
// Promises: nothing is sent to a host whose key is not the one that was named; a key or an account that is refused ends the wait at once, a guest that does not
// listen yet does not; what it was given is in no message.
import { createHash } from "node:crypto";
import * as z from "zod";
import { explain, GuestError } from "./errors.ts";
import { installCommand } from "./guest/bootstrap.ts";
import type { GuestOs } from "./guest/fact.ts";
import { type Offers, RefusedError, type Way } from "./hands.ts";

export const sshInput = z
  .strictObject({
    username: z.string().min(1).max(64).describe("An administrator; on Linux root, or whom sudo asks for no password."),
    privateKey: z.string().max(20_000).optional().describe("Private key (OpenSSH or PEM, without a passphrase).").meta({ secret: true }),
    password: z.string().max(1000).optional().describe("Password, where there is no key.").meta({ secret: true }),
    hostKeyFingerprint: z
      .string()
      .regex(/^SHA256:[A-Za-z0-9+/]{43}=?$/, "as `ssh-keygen -lf` prints it: SHA256: and 43 characters")
      .describe("Fingerprint of the guest's host key, as `ssh-keygen -lf` prints it."),
    address: z.string().min(1).max(255).optional().describe("Where it listens; default: the address that the VM's tools report."),
    port: z.number().int().min(1).max(65_535).default(22).describe("Port."),
  })
  .refine(({ privateKey, password }) => (privateKey === undefined) !== (password === undefined), "takes privateKey or password");
export type SshInput = z.output<typeof sshInput>;

const CONNECT_MS = 20_000;
const LONGEST_MS = 120_000;
const RETRY_MS = 5_000;
const MOST_OUTPUT = 65_536;

/** Runs one command; its exit code and what it printed. */
export async function overSsh(
  { username, privateKey, password, hostKeyFingerprint, port }: SshInput,
  address: string,
  command: string,
  signal: AbortSignal,
): Promise<{ code: number; output: string }> {
  const { Client } = (await import("ssh2")).default;
  const client = new Client();
  const at = `ssh ${username}@${address}:${port}`;
  const wanted = hostKeyFingerprint.replace(/=$/, "");
  let shown = wanted;
  const limit = AbortSignal.timeout(LONGEST_MS);
  const stop = AbortSignal.any([signal, limit]);
  try {
    return await new Promise((resolve, reject) => {
      stop.throwIfAborted();
      stop.addEventListener("abort", () =>
        reject(limit.aborted ? new GuestError(`${at}: no end after ${LONGEST_MS / 1000} s`) : stop.reason),
      );
      client.on("error", (error) => reject(failure(at, error, shown === wanted ? undefined : shown)));
      client.on("close", () => reject(new GuestError(`${at}: the guest closed the connection`)));
      client.on("ready", () =>
        client.exec(command, (error, stream) => {
          if (error !== undefined) return reject(failure(at, error));
          let output = "";
          const take = (data: Buffer): void => {
            if (output.length < MOST_OUTPUT) output += data.toString("latin1");
          };
          stream.on("data", take);
          stream.stderr.on("data", take);
          stream.on("close", (code: number | null) => resolve({ code: code ?? -1, output }));
        }),
      );
      client.connect({
        host: address,
        port,
        username,
        ...(privateKey === undefined ? {} : { privateKey }),
        ...(password === undefined ? {} : { password }),
        readyTimeout: CONNECT_MS,
        hostVerifier: (key: Buffer) => {
          shown = `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=$/, "")}`;
          return shown === wanted;
        },
      });
    });
  } finally {
    client.end();
  }
}

function failure(at: string, error: Error & { level?: string }, foreign?: string): GuestError {
  if (foreign !== undefined)
    return new RefusedError(`${at}: its host key is ${foreign}, not the one of ssh.hostKeyFingerprint`, {
      hint: "nothing was sent to it; where that key is the guest's own, name it",
    });
  if (error.level === "client-authentication") return new RefusedError(`${at}: the guest refuses this account or key`);
  return new GuestError(`${at}: ${explain(error)}`);
}

export function sshWay(ssh: SshInput, os: GuestOs): Way {
  const addressOf = ({ addresses }: Offers): string | undefined => ssh.address ?? addresses[0];
  return {
    by: "by SSH",
    needs: "an address",
    retryMs: RETRY_MS,
    at(offers) {
      const address = addressOf(offers);
      return address === undefined ? undefined : ` at ${address}`;
    },
    install: (offers, signal) => overSsh(ssh, addressOf(offers) ?? "", installCommand(os), signal),
  };
}
