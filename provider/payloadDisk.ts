// The payload disk of a packaging machine as a VDI: made once for a build, and in the place of one that somebody has deleted. Whatever run was killed, it is found again.
import { ConflictError } from "./errors.ts";
import { payloadDescription } from "./layer/build.ts";
import { isOfBuild, type Marks, marksFor, REPLACES } from "./layer/marks.ts";
import type { MachineRequest } from "./machine.ts";
import type { Xapi } from "./xapi/client.ts";
import type { Rec } from "./xapi/records.ts";

const payloadMarks = ({ record, entry }: MachineRequest): Marks => ({
  connector: record.meta.connectorId,
  role: "payload",
  layer: record.layerId,
  version: entry.id,
  build: entry.build,
});

/** The payload disk that is recorded; else one that a killed run has made, in its place or as the version's first, and didn't live to record. */
export async function findPayload(xapi: Xapi, request: MachineRequest): Promise<Rec<"VDI"> | undefined> {
  const { payload: recorded, resumed } = request.entry.machine ?? {};
  // A version's first machine has none.
  if (recorded === undefined && resumed !== true) return undefined;
  const there = recorded === undefined ? undefined : await xapi.get("VDI", recorded);
  if (there !== undefined) return there;
  return (await xapi.find("VDI", { SR: request.vdi.SR })).find((vdi) => isOfBuild(vdi, payloadMarks(request), recorded));
}

export async function createPayload(xapi: Xapi, request: MachineRequest, bytes: number): Promise<Rec<"VDI">> {
  const { record, version, entry, vdi } = request;
  const gone = entry.machine?.payload;
  const ref = await xapi.call<string>("VDI.create", {
    name_label: `${record.meta.name} ${version} evidence`,
    name_description: payloadDescription(record, version, entry),
    SR: vdi.SR,
    virtual_size: bytes,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: { ...marksFor(payloadMarks(request)), ...(gone === undefined ? {} : { [REPLACES]: gone }) },
  });
  const payload = await xapi.record("VDI", ref);
  if (payload === undefined) throw new ConflictError(`the payload disk of version ${version} has been removed while it was made`);
  return payload;
}

export async function grownPayload(xapi: Xapi, payload: Rec<"VDI">, bytes: number): Promise<Rec<"VDI">> {
  if (payload.virtual_size >= bytes) return payload;
  await xapi.task("VDI.resize", [payload.$ref, bytes]);
  return (await xapi.record("VDI", payload.$ref)) ?? payload;
}
