// The packaging machine as XAPI objects: cloned from the connector's template, with the packaging disk, the payload disk and the ISO images. A plan of
// single changes, each found again when a run was killed after it.
import { type Connector, isoOf, networkOf, templateOf } from "./connector.ts";
import { ConflictError, InputError } from "./errors.ts";
import { PAYLOAD_KEY, payloadSerial } from "./guest/bootstrap.ts";
import { hardwareFindings, hardwareOf } from "./hardware.ts";
import { GiB } from "./layer/build.ts";
import { findMachine } from "./layer/buildRemoval.ts";
import type { Entry } from "./layer/entry.ts";
import { MACHINE_MARK } from "./layer/marks.ts";
import type { LayerRecord } from "./layer/record.ts";
import { createPayload, findPayload, grownPayload } from "./payloadDisk.ts";
import { Plan, takenBack } from "./plan.ts";
import type { Context } from "./resource.ts";
import type { Xapi } from "./xapi/client.ts";
import type { Rec } from "./xapi/records.ts";

export interface MachineRequest {
  connector: Connector;
  record: LayerRecord;
  version: string;
  entry: Entry;
  vdi: Rec<"VDI">;
  /** Unique: how the clone is found again before it has marks. */
  name: string;
  /** What was asked for the machine itself; absent = whatever it has is right. */
  settings?: string;
  wanted: {
    cpus?: number | undefined;
    memoryGiB?: number | undefined;
    network?: string | undefined;
    toolsIso?: string | undefined;
    media?: string[] | undefined;
    mode: "automatic" | "manual";
    os: "windows" | "linux";
  };
}

const SYSTEM_DEVICE = "0";
const PAYLOAD_DEVICE = "1";
/** Only what would change the disk under the guest's feet, or copy it half made. */
const BLOCKED = ["snapshot", "checkpoint", "clone", "copy", "export", "suspend", "make_into_template"];
const REASON = "xenlayer is packaging a layer version with this machine";

type Ctx = Context & {
  xapi: Xapi;
  request: MachineRequest;
  payloadBytes: number;
  /** A clone that a killed run left half made: found when looking for the machine, removed when it is made. */
  left?: Rec<"VM"> | undefined;
};
type WithVm = { vm: Rec<"VM"> };
type WithPayload = { payload: Rec<"VDI"> };

export async function ensureMachine(
  ctx: Context,
  xapi: Xapi,
  request: MachineRequest,
  payloadBytes: number,
): Promise<{ vm: Rec<"VM">; payload: Rec<"VDI"> }> {
  return await machinePlan.run({ ...ctx, xapi, request, payloadBytes }, {});
}

export const machinePlan = Plan.of<Ctx, object>()
  .step<WithVm>({
    title: "cloning the template",
    find: async (ctx) => {
      const vm = await findMachine(ctx.xapi, { name: ctx.request.name, vm: ctx.request.entry.machine?.vm });
      // Marked and told to be no template is the last thing done to it: anything less is a clone that a killed run left.
      if (vm !== undefined && MACHINE_MARK in vm.other_config && !vm.is_a_template && !isOutdated(vm, ctx.request)) return { vm };
      ctx.left = vm;
      return undefined;
    },
    run: async (ctx) => ({ vm: await cloneTemplate(ctx) }),
    undo: async ({ xapi }, { vm }) => xapi.destroy("VM", vm.$ref),
  })
  .step<object>({
    title: "attaching the packaging disk",
    find: async ({ request }, { vm }: WithVm) => (isAttached(request.vdi, vm) ? {} : undefined),
    run: async ({ xapi, request }, { vm }) => attach(xapi, vm, request.vdi.$ref, SYSTEM_DEVICE, true),
  })
  .step<{ payload: Rec<"VDI"> }>({
    title: "making the payload disk",
    find: async ({ xapi, request }) => {
      const payload = await findPayload(xapi, request);
      return payload === undefined ? undefined : { payload };
    },
    run: async ({ xapi, request, payloadBytes }) => ({ payload: await createPayload(xapi, request, payloadBytes) }),
    undo: async ({ xapi }, { payload }) => xapi.destroy("VDI", payload.$ref),
  })
  .step<{ payload: Rec<"VDI"> }>({
    title: "growing the payload disk",
    find: async ({ payloadBytes }, { payload }: WithPayload) => (payload.virtual_size >= payloadBytes ? { payload } : undefined),
    run: async ({ xapi, payloadBytes }, { payload }) => ({ payload: await grownPayload(xapi, payload, payloadBytes) }),
  })
  .step<object>({
    title: "attaching the payload disk",
    find: async (_ctx, { vm, payload }) => (isAttached(payload, vm) ? {} : undefined),
    run: async ({ xapi }, { vm, payload }) => {
      const other = (await drivesOf(xapi, vm)).find((vbd) => vbd.userdevice === PAYLOAD_DEVICE);
      if (other !== undefined) await xapi.destroy("VBD", other.$ref);
      return await attach(xapi, vm, payload.$ref, PAYLOAD_DEVICE, false);
    },
  })
  .step<object>({
    title: "telling the guest its payload disk",
    // To a running guest it is not told: the whole tree would be written anew, and no longer the guest's (xapi_xenops.ml, set_xenstore_data). It was told before its start.
    find: async ({ request }, { vm, payload }) =>
      request.wanted.os !== "windows" || vm.power_state !== "Halted" || vm.xenstore_data[PAYLOAD_KEY] === payloadSerial(payload.uuid)
        ? {}
        : undefined,
    run: async ({ xapi }, { vm, payload }) =>
      xapi.call<object>("VM.set_xenstore_data", vm.$ref, { ...vm.xenstore_data, [PAYLOAD_KEY]: payloadSerial(payload.uuid) }),
  })
  .step<object>({
    title: "inserting ISO images",
    find: async ({ request }) => (isosOf(request).length === 0 ? {} : undefined),
    run: async (ctx, { vm }) => insertIsos(ctx, vm, await drivesOf(ctx.xapi, vm)),
  });

/** Asked for with other memory, processors or networks, and not at work. */
function isOutdated(vm: Rec<"VM">, { settings }: MachineRequest): boolean {
  if (settings === undefined || vm.power_state !== "Halted") return false;
  try {
    return (JSON.parse(vm.other_config[MACHINE_MARK] ?? "{}") as { settings?: unknown }).settings !== settings;
  } catch {
    return true;
  }
}

/** By the references that both records hold: the drive itself need not be read. */
const isAttached = (vdi: Rec<"VDI">, vm: Rec<"VM">): boolean => vdi.VBDs.some((vbd) => vm.VBDs.includes(vbd));

/** A machine that had none when it was found, or made, has only what this run attached: nothing to reckon with. */
const drivesOf = async (xapi: Xapi, vm: Rec<"VM">): Promise<Rec<"VBD">[]> =>
  vm.VBDs.length === 0 ? [] : await xapi.find("VBD", { VM: vm.$ref });

async function cloneTemplate({ xapi, request, ...ctx }: Ctx): Promise<Rec<"VM">> {
  const { connector, entry, name, wanted } = request;
  const template = await templateOf(xapi, connector);
  const machine = { ...hardwareOf(template), ...(wanted.cpus === undefined ? {} : { vcpus: String(wanted.cpus) }) };
  const { errors, warnings } = hardwareFindings(entry.base?.hardware ?? {}, machine);
  if (errors.length > 0)
    throw new InputError([
      { property: "connector.template", reason: `template "${template.name_label}" does not fit the OS layer: ${errors.join("; ")}` },
    ]);
  for (const warning of warnings) ctx.warn(`template "${template.name_label}": ${warning}; images may ask for a restart`);
  for (let left = ctx.left; left !== undefined; left = await findMachine(xapi, { name })) await xapi.destroy("VM", left.$ref);

  const ref = await xapi.call<string>("VM.clone", template.$ref, name);
  try {
    return await configured(xapi, request, ref, template);
  } catch (error) {
    throw await takenBack(error, () => xapi.destroy("VM", ref));
  }
}

async function configured(
  xapi: Xapi,
  { connector, record, version, entry, name, wanted, settings }: MachineRequest,
  ref: string,
  template: Rec<"VM">,
): Promise<Rec<"VM">> {
  const mark = {
    format: 1,
    connector: record.meta.connectorId,
    role: "machine",
    layer: record.layerId,
    version: entry.id,
    build: entry.build,
    ref,
    settings,
  };
  await xapi.call("VM.add_to_other_config", ref, MACHINE_MARK, JSON.stringify(mark));
  // App Layering's habit: product, purpose and layer as tags, beside the template's own.
  const tags = new Set([...template.tags, ...(connector.tags ?? []), "xenlayer", "Packaging Machine", record.meta.name]);
  await xapi.call("VM.set_tags", ref, [...tags]);
  if (connector.folder !== undefined) {
    await xapi.call("VM.remove_from_other_config", ref, "folder");
    await xapi.call("VM.add_to_other_config", ref, "folder", connector.folder);
  }
  if (template.actions_after_shutdown !== "destroy") await xapi.call("VM.set_actions_after_shutdown", ref, "destroy");
  if (template.ha_restart_priority !== "") await xapi.call("VM.set_ha_restart_priority", ref, "");
  if (wanted.memoryGiB !== undefined) {
    const bytes = Math.round(wanted.memoryGiB * GiB);
    await xapi.call("VM.set_memory_limits", ref, Math.min(template.memory_static_min, bytes), bytes, bytes, bytes);
  }
  if (wanted.cpus !== undefined) await setCpus(xapi, ref, wanted.cpus, template.VCPUs_max);
  const network = wanted.network ?? connector.network;
  if (network !== undefined) await connectTo(xapi, ref, (await networkOf(xapi, network)).$ref);
  await xapi.call(
    "VM.set_blocked_operations",
    ref,
    Object.fromEntries(BLOCKED.map((operation) => [operation, `${REASON}: ${record.meta.name} ${version}`])),
  );
  await xapi.call("VM.set_is_a_template", ref, false);
  const vm = await xapi.record("VM", ref);
  if (vm === undefined) throw new ConflictError(`packaging machine "${name}" has been removed while it was made`);
  return vm;
}

// XAPI demands 0 < VCPUs_at_startup <= VCPUs_max at each moment (xapi_vm_helpers.ml).
async function setCpus(xapi: Xapi, ref: string, cpus: number, before: number): Promise<void> {
  const calls: [string, number][] = [
    ["VM.set_VCPUs_max", cpus],
    ["VM.set_VCPUs_at_startup", cpus],
  ];
  for (const [method, value] of cpus > before ? calls : calls.reverse()) await xapi.call(method, ref, value);
}

async function connectTo(xapi: Xapi, vm: string, network: string): Promise<void> {
  for (const vif of await xapi.find("VIF", { VM: vm })) {
    if (vif.network === network) continue;
    await xapi.destroy("VIF", vif.$ref);
    await xapi.call("VIF.create", {
      device: vif.device,
      network,
      VM: vm,
      MAC: "",
      MTU: vif.MTU,
      other_config: vif.other_config,
      qos_algorithm_type: "",
      qos_algorithm_params: {},
    });
  }
}

async function attach(xapi: Xapi, vm: Rec<"VM">, vdi: string, userdevice: string, bootable: boolean): Promise<object> {
  // No `owner` in other_config: XenCenter would offer to delete the disk with the VM.
  await xapi.call("VBD.create", {
    VM: vm.$ref,
    VDI: vdi,
    userdevice,
    bootable,
    mode: "RW",
    type: "Disk",
    unpluggable: false,
    empty: false,
    other_config: {},
    qos_algorithm_type: "",
    qos_algorithm_params: {},
  });
  return {};
}

const isosOf = ({ connector, wanted }: MachineRequest): { property: string; iso: string }[] => [
  ...[wanted.toolsIso ?? connector.toolsIso].flatMap((iso) => (iso === undefined ? [] : [{ property: "toolsIso", iso }])),
  ...(wanted.media ?? []).map((iso, index) => ({ property: `media[${index}]`, iso })),
];

async function insertIsos({ xapi, request }: Ctx, vm: Rec<"VM">, vbds: Rec<"VBD">[]): Promise<object> {
  const drives = vbds.filter((vbd) => vbd.type === "CD");
  const used = new Set([SYSTEM_DEVICE, PAYLOAD_DEVICE, ...vbds.map((vbd) => vbd.userdevice)]);
  for (const { property, iso } of isosOf(request)) {
    const { $ref } = await isoOf(xapi, property, iso);
    if (drives.some((drive) => drive.VDI === $ref)) continue;
    const empty = drives.find((drive) => drive.empty);
    if (empty !== undefined) {
      await xapi.call("VBD.insert", empty.$ref, $ref);
      drives.splice(drives.indexOf(empty), 1);
      continue;
    }
    const userdevice = ["3", "2", "4", "5", "6"].find((device) => !used.has(device)) ?? "autodetect";
    used.add(userdevice);
    await xapi.call("VBD.create", {
      VM: vm.$ref,
      VDI: $ref,
      userdevice,
      bootable: false,
      mode: "RO",
      type: "CD",
      unpluggable: true,
      empty: false,
      other_config: {},
      qos_algorithm_type: "",
      qos_algorithm_params: {},
    });
  }
  return {};
}
