import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, expect, it } from "vitest";
import { stepDigests } from "../provider/guest/order.ts";
import { triggersOf } from "./triggers.ts";

type Given = Parameters<typeof triggersOf>[0];
const digests = (given: Given) => settled(pulumi.output(triggersOf(given)));
// Internal to Pulumi, and the one way to see an Output's failure without an engine.
const settled = <T>(output: pulumi.Output<T>) => (output as unknown as { promise(): Promise<T> }).promise();

const vda = { name: "VDA", run: "vda.exe /quiet", shell: "cmd" } as const;
const tools = { name: "tools", run: "tools.exe", shell: "cmd", env: { MODE: "full" } } as const;
const tidy = { name: "tidy", run: "del c:\\temp\\*.*", shell: "cmd" } as const;

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "xenlayer-sdk-"));
});
afterEach(() => rm(dir, { recursive: true }));

it("names a digest for each step, file and medium, as the provider itself does", async () => {
  const file = join(dir, "setup.exe");
  await writeFile(file, "first");
  const given = { install: [vda, tools], cleanup: [tidy], files: { "setup.exe": file }, media: ["vda.iso"] };
  const [ofVda, ofTools, ofTidy] = stepDigests([vda, tools], [tidy]).map(({ digest }) => digest);
  const first = await digests(given);
  expect(first).toEqual({
    'install "VDA"': ofVda,
    'install "tools"': ofTools,
    'cleanup "tidy"': ofTidy,
    "order of steps": "VDA, tools, tidy",
    'file "setup.exe"': "a7937b64b8caa58f03721bb6bacf5c78",
    'media "vda.iso"': "vda.iso",
  });
  await writeFile(file, "second");
  const second = await digests(given);
  expect(Object.keys(first).filter((key) => first[key] !== second[key])).toEqual(['file "setup.exe"']);
});

it("gives the same digests whether a program has values or outputs", async () => {
  const plain = await digests({ install: [vda, tools], media: ["vda.iso"] });
  expect(await digests({ install: pulumi.output([vda, tools]), media: [pulumi.output("vda.iso")] })).toEqual(plain);
  expect(await digests({ install: [vda, Promise.resolve(tools)], media: ["vda.iso"] })).toEqual(plain);
  expect(await digests({ install: [vda, { ...tools, run: pulumi.output("tools.exe") }], media: ["vda.iso"] })).toEqual(plain);
});

it("counts a secret by its name alone, and is no secret because of it", async () => {
  const withKey = (value: string) => ({ install: [{ ...vda, secretEnv: { KEY: pulumi.secret(value) } }] });
  expect(await digests(withKey("one"))).toEqual(await digests(withKey("two")));
  expect(await digests(withKey("one"))).not.toEqual(await digests({ install: [vda] }));
  const hidden = { install: [{ ...vda, secretEnv: pulumi.secret({ KEY: "x" }) }] };
  expect(await digests(hidden)).toEqual(await digests(withKey("one")));
  for (const given of [withKey("one"), hidden]) expect(await pulumi.isSecret(pulumi.output(triggersOf(given)))).toBe(false);
});

it("tells steps of one name apart, and an order from another", async () => {
  const twice = await digests({ install: [vda, { ...vda, run: "other.exe" }] });
  expect(Object.keys(twice)).toEqual(['install "VDA"', 'install "VDA" (2)', "order of steps"]);
  expect(await digests({ install: [vda, tools] })).not.toEqual(await digests({ install: [tools, vda] }));
});

it("leaves a step that is no valid one to the provider's check", async () => {
  expect(await digests({ install: [{ ...vda, env: { "NO NAME": "x" } }] })).toEqual({ 'install "VDA"': "not a valid step" });
});
