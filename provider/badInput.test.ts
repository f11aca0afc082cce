// Bad input: refused in check where it can be known there, by property path, with what to do about it, and nothing is touched.
import { execFileSync } from "node:child_process";
import { copyFileSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConnectorCredentials, UNKNOWN } from "./resource.ts";
import { connectFor } from "./session.ts";
import { changes, type OpenStage, openStage, Story, type StoryLayer, step, withStage } from "./testing.ts";
import type { Xapi } from "./xapi/client.ts";
import { scriptedHost, testdata, XapiFault } from "./xapi/testing.ts";

type Json = Record<string, unknown>;
type Refusals = Record<string, string | RegExp>;
const GiB = 2 ** 30;

let stage: OpenStage;
let story: Story;
let layer: StoryLayer;
let xapi: Xapi;
beforeAll(async () => {
  stage = await openStage();
  story = await Story.begin(stage);
  layer = await story.layer("plat");
  xapi = await connectFor(stage.front, story.connector as unknown as ConnectorCredentials);
});
afterAll(() => stage?.close());

/** The check refuses exactly these properties, and the pool is as it was. */
async function refuses(type: string, news: Json, refusals: Refusals, old?: Json, on = stage): Promise<void> {
  const before = on.pool();
  const { failures } = await on.check(type, news, old);
  expect(failures.map(({ property }) => property).sort()).toEqual(Object.keys(refusals).sort());
  for (const { property, reason } of failures) {
    const expected = refusals[property] ?? "";
    if (typeof expected === "string") expect(reason).toContain(expected);
    else expect(reason).toMatch(expected);
  }
  expect(changes(before, on.pool())).toEqual([]);
}

describe("ConnectorConfig", () => {
  const refused = (more: Json, refusals: Refusals) => refuses("ConnectorConfig", stage.connector(more), refusals);

  it.each<[string, Json, Refusals]>([
    ["a wrong password", { password: "wrong" }, { password: /SESSION_AUTHENTICATION_FAILED.*check `username` and `password`/ }],
    ["no password", { password: undefined }, { password: /is required: set it, or .*XENLAYER_PASSWORD.*--secret/ }],
    ["no user", { username: undefined, password: undefined }, { username: /is required/, password: /is required/ }],
    [
      "a role that may too little",
      { username: "vm-operator" },
      { username: /lacks .*vdi\.create.*: vm-admin is the least role that works/ },
    ],
    ["an address where nothing listens", { address: "http://127.0.0.1:9" }, { address: /ECONNREFUSED.*check the address and port/ }],
    [
      "two addresses where nothing listens",
      { address: ["http://127.0.0.1:9", "http://127.0.0.1:7"] },
      { address: /no address could be used/ },
    ],
    ["a host name that nobody knows", { address: "no-such-host.invalid" }, { address: /check the spelling/ }],
    ["an address that is none", { address: "http://" }, { address: '"http://" is neither host, host:port nor URL' }],
    [
      "a template that isn't there",
      { template: "packaging" },
      { template: 'there is no template "packaging"; usable here: "xenlayer-packaging"' },
    ],
    [
      "a template in another case",
      { template: "Xenlayer-Packaging" },
      { template: 'there is no template "Xenlayer-Packaging", but "xenlayer-packaging": names are case-sensitive' },
    ],
    [
      "a built-in template",
      { template: "Windows 11" },
      { template: "it is one of the pool's built-in templates: make a custom template from it" },
    ],
    ["an ISO library", { storageRepository: "Installers" }, { storageRepository: /"Installers" can't be used: it is an ISO library/ }],
    [
      "a repository in another case",
      { storageRepository: "local storage" },
      { storageRepository: 'but "Local storage": names are case-sensitive' },
    ],
    ["a network that isn't there", { network: "eth7" }, { network: /there is no network "eth7"; usable here/ }],
    ["tools that are no ISO", { toolsIso: "tools" }, { toolsIso: /there is no ISO image "tools"; usable here: .*"guest-tools.iso"/ }],
    ["a connectorId of another form", { connectorId: "mine" }, { connectorId: "32 hexadecimal digits" }],
    ["a property that doesn't exist", { templates: "x" }, { templates: /no such property; there are address, / }],
    [
      "a value of the wrong type",
      { template: 5, tls: { verify: "yes" } },
      { template: /expected string/, "tls.verify": /expected boolean/ },
    ],
    [
      "everything at once",
      { template: "a", storageRepository: "b", network: "c" },
      { template: /"a"/, storageRepository: /"b"/, network: /"c"/ },
    ],
  ])("refuses %s", (_what, more, refusals) => refused(more, refusals));

  it("refuses what answers and is no XAPI", async () => {
    const server = createServer((_request, response) => response.end("<html>hello</html>"));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await refused({ address: `http://127.0.0.1:${port}` }, { address: /what answers there is not XAPI/ });
    await refused({ address: `127.0.0.1:${port}` }, { address: /does not speak TLS.*the port is wrong/ });
    await new Promise((resolve) => server.close(resolve));
  });

  it("refuses a pool member whose coordinator can't be reached, and names both", async () => {
    const host = await scriptedHost({
      answers: {
        "session.login_with_password": () => {
          throw new XapiFault("HOST_IS_SLAVE", "127.0.0.9");
        },
      },
    });
    await refused({ address: host.url }, { address: /127\.0\.0\.1:\d+ is a pool member and names 127\.0\.0\.9.* as its coordinator/ });
    await host.close();
  });

  it("refuses a certificate that nobody vouches for", () =>
    withStage(
      async (secure) => {
        const refusals = { tls: /CERTIFICATE_REFUSED/ };
        const check = (tls: unknown) => refuses("ConnectorConfig", secure.connector({ tls }), refusals, undefined, secure as OpenStage);
        await check({});
        await check({ caCertificate: testdata("ca.pem") });
        await check({ fingerprints: ["00".repeat(32)] });
        expect((await secure.check("ConnectorConfig", secure.connector())).failures).toEqual([]);
        expect(
          (await secure.check("ConnectorConfig", secure.connector({ tls: { fingerprints: [secure.sim.fingerprint] } }))).failures,
        ).toEqual([]);
        expect((await secure.check("ConnectorConfig", secure.connector({ tls: { verify: false } }))).failures).toEqual([]);
      },
      { tls: true },
    ));

  it("refuses templates that can't be packaged with", async () => {
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    const clone = async (name: string, change: (vm: string) => Promise<unknown>) => {
      const vm = await xapi.call<string>("VM.clone", template?.$ref, name);
      await change(vm);
      return vm;
    };
    const [os] = await xapi.find("VDI", { uuid: String(story.os.outputs.vdiUuid) });
    const drive = { VDI: os?.$ref, userdevice: "0", bootable: true, mode: "RO", type: "Disk", unpluggable: false, empty: false };
    const options = { other_config: {}, qos_algorithm_type: "", qos_algorithm_params: {} };
    const made = [
      await clone("with disk", (VM) => xapi.call("VBD.create", { VM, ...drive, ...options })),
      await clone("without card", async (VM) => {
        for (const vif of await xapi.find("VIF", { VM })) await xapi.destroy("VIF", vif.$ref);
      }),
      await clone("provisions", (VM) => xapi.call("VM.add_to_other_config", VM, "disks", '<provision><disk device="0"/></provision>')),
      await clone("no template", (VM) => xapi.call("VM.set_is_a_template", VM, false)),
      await clone("twice", async () => {}),
      await clone("twice", async () => {}),
    ];
    await refused({ template: "with disk" }, { template: "has a disk: remove it, layers bring their own" });
    await refused({ template: "without card" }, { template: "has no network card: add one" });
    await refused({ template: "provisions" }, { template: "makes a disk when it is provisioned (other_config:disks): remove that key" });
    await refused({ template: "no template" }, { template: "it is a VM, not a template" });
    await refused({ template: "twice" }, { template: /there are 2 templates named "twice" \(.{36}, .{36}\): give the uuid/ });
    const uuid = (await xapi.record("VM", made[4] ?? ""))?.uuid;
    expect((await stage.check("ConnectorConfig", stage.connector({ template: uuid }))).failures).toEqual([]);
    for (const vm of made) await xapi.destroy("VM", vm);
  });

  it("refuses a template that HA would restart", () =>
    withStage(
      async (ha) => {
        const pool = await connectFor(ha.front, ha.connector() as unknown as ConnectorCredentials);
        const [template] = await pool.find("VM", { name_label: "xenlayer-packaging" });
        await pool.call("VM.set_ha_restart_priority", template?.$ref, "restart");
        await refuses("ConnectorConfig", ha.connector(), { template: /has the HA restart priority "restart"/ }, undefined, ha as OpenStage);
      },
      { pool: "ha" },
    ));

  it("refuses a repository that is detached or full", async () => {
    const [sr] = await xapi.find("SR", { name_label: "Local storage" });
    const [pbd] = await xapi.find("PBD", { SR: sr?.$ref ?? "" });
    await xapi.call("PBD.unplug", pbd?.$ref);
    await refused({}, { storageRepository: '"Local storage" is attached to no host: plug its PBD' });
    await xapi.call("PBD.plug", pbd?.$ref);
    await full(GiB / 2, () => refused({}, { storageRepository: /0 GiB of \d+ GiB free: too little for any layer/ }));
  });
});

/** The repository with so many bytes free. */
async function full(free: number, work: () => Promise<unknown>): Promise<void> {
  const [sr] = await xapi.find("SR", { name_label: "Local storage" });
  if (sr === undefined) throw new Error("no SR");
  stage.sim.db.update("SR", sr.$ref, { physical_size: sr.physical_utilisation + free });
  await work();
  stage.sim.db.update("SR", sr.$ref, { physical_size: sr.physical_size });
}

describe("OsLayer", () => {
  const inputs = (more: Json) => ({ connector: story.connector, name: "other", version: "1.0", ...more });
  const refused = (more: Json, refusals: Refusals) => refuses("OsLayer", inputs(more), refusals);

  it("refuses what is no single source", async () => {
    await refused({ source: {} }, { source: "give exactly one of file, vm, template, vdi" });
    await refused({ source: { vm: "a", vdi: "b" } }, { source: "give exactly one of file, vm, template, vdi, not vm and vdi" });
    await refused({ source: { vdi: "b", format: "raw" } }, { "source.format": "is only for source.file" });
    await refused({ source: { file: "/nowhere.img" } }, { "source.file": /nowhere\.img/ });
    await refused({ source: { vm: "nobody" } }, { "source.vm": 'there is no VM "nobody"' });
    await refused({ source: { template: "xenlayer-packaging" } }, { "source.template": '"xenlayer-packaging" has no disk' });
    await refused({ source: { vdi: "no disk" } }, { "source.vdi": 'there is no disk "no disk"' });
    await refused({ source: { file: "x" }, name: " ", version: "" }, { name: /Too small|>=1/, version: /Too small|>=1/ });
    await refused({ source: { file: "x" }, name: undefined }, { name: "is required" });
  });

  it("refuses a VM that is not off as a source", async () => {
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    const vm = await xapi.call<string>("VM.clone", template?.$ref, "at work");
    await xapi.call("VM.set_is_a_template", vm, false);
    // Paused, so that nothing in it changes meanwhile.
    await xapi.task("VM.start", [vm, true, false]);
    await refused({ source: { vm: "at work" } }, { "source.vm": "it is Paused: shut it down first" });
    await xapi.task("VM.hard_shutdown", [vm]);
    await xapi.destroy("VM", vm);
  });

  it("refuses image files that are not what they say", async () => {
    const image = String((story.os.inputs.source as Json).file);
    const at = (name: string) => join(stage.dir, name);
    execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "vpc", image, at("whole.vhd")]);
    copyFileSync(at("whole.vhd"), at("cut.vhd"));
    truncateSync(at("cut.vhd"), 70_000);
    execFileSync("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", image, at("whole.qcow2")]);
    copyFileSync(at("whole.qcow2"), at("cut.qcow2"));
    truncateSync(at("cut.qcow2"), 150_000);
    writeFileSync(at("empty.img"), "");
    expect((await stage.check("OsLayer", inputs({ source: { file: at("whole.vhd") } }))).failures).toEqual([]);
    await refused({ source: { file: at("cut.vhd") } }, { "source.file": /cut\.vhd can't be used: / });
    await refused({ source: { file: at("cut.qcow2") } }, { "source.file": /cut\.qcow2 can't be used: / });
    await refused({ source: { file: at("empty.img") } }, { "source.file": /empty\.img/ });
    await refused({ source: { file: at("whole.vhd"), format: "raw" } }, { "source.file": /whole\.vhd is vhd, not raw/ });
    await refused({ source: { file: image, format: "vhd" } }, { "source.file": /is raw, not vhd/ });
    await refused({ source: { file: stage.dir } }, { "source.file": /xenlayer-test/ });
  });

  it("refuses an image for which there is too little space, and another image under a sealed version's name", async () => {
    const file = await stage.image({ guest: "windows", bootstrap: "none" }, 66);
    await full(2 ** 20, () =>
      refused(
        { source: { file } },
        { "connector.storageRepository": /"Local storage" has 0 GiB free, the image needs 1 GiB: free some space/ },
      ),
    );
    await refuses(
      "OsLayer",
      { ...story.os.inputs, source: { file } },
      { version: /version 1\.0 of layer "win11" was sealed .*, and the source changed: give a new version/ },
    );
    await refuses("OsLayer", { ...story.os.inputs, source: { vdi: "x" } }, { version: /the source changed/ });
    await refuses("OsLayer", { ...story.os.inputs, name: "plat" }, { name: 'a platform layer is named "plat"' });
  });
});

describe("PlatformLayer", () => {
  const refused = (more: Json, refusals: Refusals, old?: Json) => refuses("PlatformLayer", story.layerInputs("new", more), refusals, old);

  it.each<[string, Json, Refusals]>([
    ["an unknown hypervisor", { platform: { hypervisor: "xen" } }, { "platform.hypervisor": /expected one of "xenserver"/ }],
    [
      "an unknown broker",
      { platform: { hypervisor: "xenserver", provisioningService: "mcs", connectionBroker: "citrix" } },
      { "platform.connectionBroker": /expected one of "none"/ },
    ],
    [
      "packaging with a broker",
      { purpose: "packaging", platform: { hypervisor: "vsphere", connectionBroker: "xendesktop" } },
      { "platform.connectionBroker": "a layer for packaging takes only the hypervisor; remove it, or make the purpose publishing" },
    ],
    [
      "publishing without broker and provisioning",
      { purpose: "publishing", platform: { hypervisor: "xenserver" } },
      {
        "platform.connectionBroker": "is required for publishing; `none` is a value",
        "platform.provisioningService": "is required for publishing",
      },
    ],
    ["another purpose", { purpose: "testing" }, { purpose: /expected one of "packaging"\|"publishing"/ }],
    ["an OS layer that isn't there", { osLayer: "0".repeat(8) }, { osLayer: "there is no layer 00000000 on this pool" }],
    ["an icon that isn't there", { icon: "/nowhere.png" }, { icon: 'there is no file "/nowhere.png"' }],
    ["a built-in icon that isn't there", { icon: "builtin:mac" }, { icon: /there is no "builtin:mac"; there are builtin:layer/ }],
    ["the icon of a layer that isn't there", { icon: "layer:none" }, { icon: "there is no layer none on this pool" }],
    ["a negative retention", { retention: { keep: -1 } }, { "retention.keep": />=0/ }],
  ])("refuses %s", (_what, more, refusals) => refused(more, refusals));

  it("refuses icons that are no PNG or JPG, or too large", async () => {
    const icon = (name: string, bytes: Uint8Array | string): string => {
      writeFileSync(join(stage.dir, name), bytes);
      return join(stage.dir, name);
    };
    const png = (width: number, height: number) => {
      const bytes = Buffer.alloc(33);
      Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13]).copy(bytes);
      bytes.write("IHDR", 12, "latin1");
      bytes.writeUInt32BE(width, 16);
      bytes.writeUInt32BE(height, 20);
      return bytes;
    };
    await refused({ icon: icon("text.png", "this is text, whatever its name says") }, { icon: /is neither a PNG nor a JPG image/ });
    await refused({ icon: icon("gif.png", "GIF89a") }, { icon: /is neither a PNG nor a JPG image/ });
    await refused({ icon: icon("wide.png", png(2000, 10)) }, { icon: /has 2000 x 10 pixels; at most 1024 x 1024 are allowed/ });
    await refused(
      { icon: icon("fat.png", Buffer.concat([png(10, 10), Buffer.alloc(600 * 1024)])) },
      { icon: /has 601 KiB; at most 512 are allowed/ },
    );
    await refused({ icon: stage.dir }, { icon: /is no file/ });
    expect((await stage.check("PlatformLayer", story.layerInputs("new", { icon: icon("good.png", png(64, 64)) }))).failures).toEqual([]);
  });

  it("refuses another OS layer, and one that is a platform layer", async () => {
    await refused({ osLayer: layer.id }, { osLayer: 'layer "plat" is a platform layer' });
    const moved = story.layerInputs("plat", { osLayer: layer.id });
    await refuses("PlatformLayer", moved, { osLayer: "a layer belongs to its OS layer for good: make another layer" }, layer.made.inputs);
    // Also where no old inputs tell it.
    await refuses("PlatformLayer", moved, { osLayer: 'layer "plat" exists; a layer belongs to its OS layer for good' });
  });

  it("warns of a layer for packaging where the OS comes from", async () => {
    const from = stage.told.length;
    await refused({ purpose: "packaging", platform: { hypervisor: "xenserver" } }, {});
    expect(stage.told.slice(from)).toEqual(["warning: a layer for packaging on xenserver, where the OS comes from, is not needed"]);
  });
});

describe("PackagingDisk", () => {
  const refused = (more: Json, refusals: Refusals) => refuses("PackagingDisk", layer.inputs("9", { disk: more }).disk, refusals);

  it.each<[string, () => Json, Refusals]>([
    ["a layer that isn't there", () => ({ layer: "none" }), { layer: "there is no layer none on this pool" }],
    ["an OS layer", () => ({ layer: story.os.id }), { layer: 'layer "win11" is an OS layer' }],
    ["two bases", () => ({ baseVersion: "1", osVersion: "1.0" }), { osVersion: "give baseVersion or osVersion, not both" }],
    ["an unknown OS version", () => ({ osVersion: "2.0" }), { osVersion: 'layer "win11" has no sealed version "2.0"; it has 1.0' }],
    ["an unknown base", () => ({ baseVersion: "2.0" }), { baseVersion: 'layer "plat" has no sealed version "2.0"; it has none' }],
    ["a smaller disk", () => ({ sizeGiB: 0.01 }), { sizeGiB: /a disk can only grow/ }],
    [
      "a format that the repository doesn't hold",
      () => ({ format: "qcow2" }),
      { format: /holds vhd disks; qcow2 is for storage repositories made for it/ },
    ],
    ["a format that there isn't", () => ({ format: "vmdk" }), { format: /expected one of "vhd"\|"qcow2"/ }],
    [
      "a repository that isn't there",
      () => ({ connector: { ...story.connector, storageRepository: "x" } }),
      { "connector.storageRepository": /"x"/ },
    ],
    ["a wrong password", () => ({ connector: { ...story.connector, password: "x" } }), { connector: /SESSION_AUTHENTICATION_FAILED/ }],
    ["no password", () => ({ connector: { ...story.connector, password: undefined } }), { "connector.password": /is required/ }],
    [
      "a connector without an id",
      () => ({ connector: { ...story.connector, connectorId: undefined } }),
      { "connector.connectorId": "is required" },
    ],
    ["no version", () => ({ version: undefined }), { version: "is required" }],
  ])("refuses %s", (_what, more, refusals) => refused(more(), refusals));

  it("refuses a disk for which there is too little space", () =>
    full(GiB / 2, () => refused({}, { "connector.storageRepository": /has 0 GiB free, 1 GiB are needed: free some space/ })));
});

describe("PackagingMachine and Finalize", () => {
  const machine = (more: Json, refusals: Refusals) =>
    refuses("PackagingMachine", { connector: story.connector, disk: UNKNOWN, ...more }, refusals);

  it.each<[string, Json, Refusals]>([
    ["two steps of one name", { install: [step("a.exe"), step("a.exe")] }, { "install[1].name": 'two steps are named "a"' }],
    ["a step without a shell", { install: [{ name: "a", run: "b" }] }, { "install[0].shell": /expected one of/ }],
    ["a step without text", { install: [step("a.exe"), { name: "b", run: "", shell: "cmd" }] }, { "install[1].run": /Too small|>=1/ }],
    [
      "an exit code that means two things",
      { install: [step("a.exe", { expectExit: [0, 3010] })] },
      { "install[0]": /exit code 3010 is in expectExit and in rebootExit/ },
    ],
    ["letters that cmd reads differently", { cleanup: [step("ä.exe")] }, { "cleanup[0]": /its text holds "ä"/ }],
    [
      "a variable with a strange name",
      { install: [step("a.exe", { env: { "A B": "1" } })] },
      { "install[0].env.A B": /letters, digits and underscores only/ },
    ],
    ["a file that isn't there", { files: { "a.msi": "/nowhere/a.msi" } }, { "files.a.msi": 'there is no file "/nowhere/a.msi"' }],
    ["a device as a file", { files: { "nul.txt": "/etc/hostname" } }, { "files.nul.txt": /device name/ }],
    [
      "a medium that isn't there",
      { media: ["guest-tools.iso", "office.iso"] },
      { "media[1]": /there is no ISO image "office.iso"; usable here: / },
    ],
    ["tools that aren't there", { toolsIso: "x" }, { toolsIso: /there is no ISO image "x"/ }],
    ["a network that isn't there", { network: "x" }, { network: /there is no network "x"/ }],
    ["no processors", { cpus: 0 }, { cpus: />=1/ }],
    ["another mode", { mode: "by hand" }, { mode: /expected one of/ }],
    [
      "steps where an engineer works",
      { mode: "manual", install: [step("a.exe", { secretEnv: { TOKEN: "s3cret" } })], cleanup: [step("b.exe")] },
      {
        install: /^is not run in mode "manual", where an engineer installs: leave install out .* or use mode "automatic"$/,
        cleanup: /leave cleanup out/,
      },
    ],
    ["a limit of nothing", { timeouts: { bootMinutes: 0 } }, { "timeouts.bootMinutes": />0/ }],
  ])("refuses %s", (_what, more, refusals) => machine(more, refusals));

  it("refuses what the account may not", async () => {
    const connector = { ...story.connector, username: "vm-admin" };
    await machine({ connector, memoryGiB: 8 }, { memoryGiB: "the account's role lacks vm.set_memory_limits: vm-power-admin has it" });
    await machine({ connector, cpus: 2 }, {});
  });

  it("refuses what doesn't fit the disk", async () => {
    stage.front.program = {};
    const disk = await layer.disk("1");
    const inputs = layer.inputs("1");
    await refuses(
      "PackagingMachine",
      { ...inputs.machine(disk.id), install: [step("a.sh", { shell: "sh" })] },
      { "install[0]": /shell sh does not exist in a windows guest; use cmd or powershell/ },
    );
    await refuses("PackagingMachine", inputs.machine("somewhere"), { disk: '"somewhere" is no id of a PackagingDisk: link it by its id' });
    await refuses("Finalize", { ...inputs.seal(disk.id), version: "2" }, { version: 'the disk is of version "1"' });
    await refuses("Finalize", { ...inputs.seal(disk.id), machine: "other" }, { machine: /is the machine of another disk/ });
    await refuses("Finalize", { ...inputs.seal(disk.id), checks: { everything: "ignore" } }, { checks: /everything|Unrecognized|Invalid/ });
    await refuses("Finalize", { ...inputs.seal(disk.id), kms: "always" }, { kms: /expected one of "rearm"\|"none"/ });
    await expect(stage.create("Finalize", inputs.seal(disk.id))).rejects.toThrow(
      "version 1 can't be finalized: its install steps are not done",
    );
    await layer.drop({ disk });
  });

  it("refuses a template whose hardware the OS can't boot on, before anything is cloned", async () => {
    stage.front.program = {};
    const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
    const vm = await xapi.call<string>("VM.clone", template?.$ref, "old bios");
    await xapi.call("VM.set_HVM_boot_params", vm, { firmware: "bios", order: "cdn" });
    const disk = await layer.disk("1");
    const before = stage.pool();
    const connector = { ...story.connector, template: "old bios" };
    await expect(stage.create("PackagingMachine", { ...layer.inputs("1").machine(disk.id), connector })).rejects.toThrow(
      'template "old bios" does not fit the OS layer: firmware is bios, the OS was made with uefi',
    );
    expect(changes(before, stage.pool()).filter((line) => !line.includes("other_config"))).toEqual([]);
    await layer.drop({ disk });
    await xapi.destroy("VM", vm);
  });
});
