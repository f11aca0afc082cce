// LayerVersion, the component: PackagingDisk, PackagingMachine and Finalize in one, so that a version is bumped in one place.
// Its inputs are theirs, less what it wires itself; which input goes to which of the three is told here, and nowhere else.
import * as z from "zod";
import * as finalize from "./resources/finalize.ts";
import * as disk from "./resources/packagingDisk.ts";
import * as machine from "./resources/packagingMachine.ts";

const diskInputs = disk.inputs.omit({ base: true, triggers: true, comment: true });
const machineInputs = machine.inputs.omit({ disk: true });
const finalizeInputs = finalize.inputs.omit({ disk: true, machine: true });

const limitsOf = <T extends z.ZodObject>(timeouts: z.ZodPrefault<T>): T => timeouts.unwrap();

export const layerVersion = {
  type: "LayerVersion",
  description:
    "A version of a platform layer from its steps to the seal: disk, machine and finalize in one. What changes in steps, files or media shows by name in the preview.",
  inputs: z.object({
    ...diskInputs.shape,
    ...machineInputs.shape,
    ...finalizeInputs.shape,
    version: diskInputs.shape.version,
    timeouts: z
      .strictObject({ ...limitsOf(machineInputs.shape.timeouts).shape, ...limitsOf(finalizeInputs.shape.timeouts).shape })
      .prefault({})
      .describe("Limits of the waits, of packaging and of finalizing."),
  }),
  outputs: z.object({
    versionId: finalize.outputs.shape.versionId,
    vdiUuid: finalize.outputs.shape.vdiUuid,
    basedOn: disk.outputs.shape.basedOn,
    location: disk.outputs.shape.location,
    steps: machine.outputs.shape.steps,
    report: finalize.outputs.shape.report,
    deltaGiB: finalize.outputs.shape.deltaGiB,
    sealedAt: finalize.outputs.shape.sealedAt,
  }),
  parts: {
    disk: Object.keys(diskInputs.shape),
    machine: Object.keys(machineInputs.shape),
    finalize: Object.keys(finalizeInputs.shape),
  },
  timeouts: {
    machine: Object.keys(limitsOf(machineInputs.shape.timeouts).shape),
    finalize: Object.keys(limitsOf(finalizeInputs.shape.timeouts).shape),
  },
} as const;
