// The guest descriptor: /XAPISIM/GUEST.JSON in the first FAT file system of a disk says which guest boots from it.
// Promises: what is misspelt is refused with its path in the file, never ignored; nothing here depends on the disk's other content.
import { z } from "zod";

export const DESCRIPTOR_PATH = "XAPISIM/GUEST.JSON";

/** `["REG_DWORD", "0x1"]`; a REG_MULTI_SZ lists its strings: `["REG_MULTI_SZ", "a", "b"]`. */
const registryValue = z
  .tuple([z.enum(["REG_SZ", "REG_EXPAND_SZ", "REG_MULTI_SZ", "REG_DWORD", "REG_QWORD", "REG_BINARY", "REG_NONE"])])
  .rest(z.string());

/** By key, then by value name ("" is the default value). `null` instead of a value or a key: deleted. */
const registry = z.record(z.string().min(1), z.record(z.string(), registryValue.nullable()).nullable());
export type RegistryContent = z.output<typeof registry>;

const tools = z.strictObject({
  /** `9.4.0` or `9.4.0.146`, as attr/PVAddons/* says it. */
  version: z.string().regex(/^\d+\.\d+(\.\d+(\.\d+)?)?$/),
  /** Windows: version of each PV driver by its name, as in `{ "xenbus": "9.1.12.94" }`. */
  drivers: z.record(z.string().regex(/^[a-z0-9]+$/), z.string()).optional(),
  vendor: z.string().default("XenServer"),
  /** Windows: the agent runs scripts that xapi hands it (`control/feature-xs-batcmd`), as Citrix' and XenServer's did. */
  runScript: z.boolean().optional(),
  /** Windows: vendors whose classes WMI knows too, without an instance, as their drivers are not at work. */
  otherVendors: z.array(z.string()).optional(),
});
export type Tools = z.output<typeof tools>;

/** What waits for a restart when a program has ended; `device`, `update`: told by CIM and COM alone; `temp-file`: rubbish to be deleted at it; `msi`: Windows Installer's suspended installation. */
const pendingKind = z.enum(["reboot", "windows-update", "driver-reboot", "msi", "pfro", "temp-file", "rename", "device", "update"]);
export type PendingKind = z.output<typeof pendingKind>;

const program = z.strictObject({
  /**
   * Which command lines are this program: a text that they contain (case, quotes, and the amount of blanks ignored), or a regular expression
   * over the line as typed, variables replaced.
   */
  match: z.union([z.string().min(1), z.strictObject({ regex: z.string().min(1) })]),
  seconds: z.number().nonnegative().default(0),
  exitCode: z.int().default(0),
  output: z.string().default(""),
  /** Text by path on the system drive, `Program Files/Citrix/VDA/version.txt`. */
  files: z.record(z.string().min(1), z.string()).default({}),
  registry: registry.default({}),
  /** Services that are installed by it and run from then on. */
  services: z.array(z.string().min(1)).default([]),
  /** Without this file the program can't be started: `%XENLAYER_FILES%\vda.exe`, `C:/Installers/tools.msi`. */
  requiresFile: z.string().optional(),
  /** Without this ISO in a drive the program can't be started (its name_label). */
  requiresMedia: z.string().optional(),
  installsTools: tools.optional(),
  pending: z.array(pendingKind).default([]),
  /** How many restarts it takes until what is pending is gone; 99: as good as never. */
  pendingReboots: z.int().min(1).default(1),
  /** NGen work that it leaves, for each framework. */
  ngenSeconds: z.number().nonnegative().default(0),
  /** How long Windows Installer works on in the background. */
  msiSeconds: z.number().nonnegative().default(0),
  never: z.literal(true).optional(),
});
export type Program = z.output<typeof program>;

const os = z.strictObject({
  name: z.string().default(""),
  major: z.int().optional(),
  minor: z.int().optional(),
  build: z.int().optional(),
  /** Windows edition and Linux kernel release, as the tools report them. */
  uname: z.string().default(""),
  distro: z.string().optional(),
});

const common = {
  /** `xenlayer`: runs the payload disk's run script at each boot; `none`: never looks for the payload disk and is never heard of. */
  bootstrap: z.enum(["xenlayer", "cloud-init", "none"]),
  bootSeconds: z.number().nonnegative().default(20),
  shutdownSeconds: z.number().nonnegative().default(10),
  tools: z.union([z.literal(false), tools]).default(false),
  hostName: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,63}$/)
    .default("PACKAGING"),
};

const linuxGuest = z.strictObject({
  guest: z.literal("linux"),
  ...common,
  os: os.default({ name: "Linux", uname: "" }),
  /** `busybox`: sh and all that busybox has a program for are busybox's; the rest is the simulator host's. */
  userland: z.enum(["host", "busybox"]).default("host"),
});
export type LinuxDescriptor = z.output<typeof linuxGuest>;

/** A volume licensed Office has KMS clients, `{ "name": "Office16ProPlusVL_KMS_Client", "channel": "VOLUME_KMSCLIENT" }`. 16 is 2016 and all that came after it. */
const office = z.strictObject({
  version: z.literal([14, 15, 16]).default(16),
  bits: z.literal([32, 64]).default(64),
  licences: z
    .array(z.strictObject({ name: z.string().min(1), channel: z.string().min(1) }))
    .default([{ name: "Office16ProPlusVL_KMS_Client", channel: "VOLUME_KMSCLIENT" }]),
  rearmCount: z.int().nonnegative().default(5),
});
export type OfficeInstallation = z.output<typeof office>;

const framework = z.string().regex(/^Framework(64)?\/v[0-9.]+$/);

/** What a guest under Wine has from the model too: Wine has no NGen and no licensing. */
const windowsCommon = {
  ...common,
  os: os.default({ name: "Windows 11 Enterprise", major: 10, minor: 0, build: 22631, uname: "Enterprise" }),
  registry: registry.default({}),
  kms: z
    .strictObject({ channel: z.string().regex(/^[A-Z0-9_]+$/), rearmCount: z.int().nonnegative() })
    .default({ channel: "VOLUME_KMSCLIENT", rearmCount: 1001 }),
  ngen: z
    .strictObject({
      frameworks: z.array(framework),
      /** Work that waits already in the image. */
      queuedSeconds: z.number().nonnegative().default(0),
    })
    .default({ frameworks: ["Framework/v4.0.30319", "Framework64/v4.0.30319"], queuedSeconds: 0 }),
};

const windowsGuest = z.strictObject({
  guest: z.literal("windows"),
  ...windowsCommon,
  programs: z.array(program).default([]),
  office: office.optional(),
  /** SAN policy: what becomes of disks that it has not seen before. */
  newDisks: z.enum(["online", "offline"]).default("online"),
});
export type WindowsDescriptor = z.output<typeof windowsGuest>;

const wineGuest = z.strictObject({ guest: z.literal("wine"), ...windowsCommon });
export type WineDescriptor = z.output<typeof wineGuest>;

const descriptor = z.discriminatedUnion("guest", [linuxGuest, windowsGuest, wineGuest]);
export type Descriptor = z.output<typeof descriptor>;
/** What an author writes: everything with a default may be left out. */
export type DescriptorInput = z.input<typeof descriptor>;

export class DescriptorError extends Error {
  override readonly name = "DescriptorError";
}

/** Reads a descriptor; what is wrong with it is said by the path inside the file. */
export function parseDescriptor(text: string): Descriptor {
  let content: unknown;
  try {
    content = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (cause) {
    throw new DescriptorError(`guest descriptor /${DESCRIPTOR_PATH} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = descriptor.safeParse(content);
  if (parsed.success) {
    checkExpressions(parsed.data);
    return parsed.data;
  }
  const issues = parsed.error.issues.slice(0, 5).map((issue) => `${issue.path.map(String).join(".") || "(root)"}: ${issue.message}`);
  throw new DescriptorError(`guest descriptor /${DESCRIPTOR_PATH} is refused: ${issues.join("; ")}`, { cause: parsed.error });
}

function checkExpressions(guest: Descriptor): void {
  if (guest.guest !== "windows") return;
  for (const [index, { match }] of guest.programs.entries()) {
    if (typeof match === "string") continue;
    try {
      new RegExp(match.regex);
    } catch (cause) {
      throw new DescriptorError(
        `guest descriptor /${DESCRIPTOR_PATH} is refused: programs.${index}.match.regex: ${(cause as Error).message}`,
        { cause },
      );
    }
  }
}
