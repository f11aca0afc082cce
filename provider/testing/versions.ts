// For tests: sealed versions without building each.
import { diskDescription } from "../layer/build.ts";
import type { Entry } from "../layer/entry.ts";
import { boundMarks } from "../layer/marks.ts";
import { randomId } from "../layer/record.ts";
import type { StoryLayer } from "../testing.ts";

/** A version as `model` in this layer, its disk and evidence clones, marked as its own. */
export async function versionLike(
  model: Entry,
  of: StoryLayer,
  name: string,
  { sealedAt = new Date().toISOString(), ...more }: { sealedAt?: string } & Partial<Entry> = {},
): Promise<void> {
  const record = await of.record();
  const { xapi } = record;
  const [id, build] = [randomId(), randomId()];
  const made = async (role: "disk" | "payload", from: string | undefined) => {
    const ref = await xapi.call<string>("VDI.clone", (await xapi.get("VDI", from ?? ""))?.$ref);
    const uuid = (await xapi.record("VDI", ref))?.uuid ?? "";
    await xapi.call("VDI.set_name_label", ref, `${record.meta.name} ${name} ${role}`);
    const marks = { connector: record.meta.connectorId, role, layer: of.id, version: id, build };
    await xapi.call("VDI.set_other_config", ref, boundMarks(marks, uuid));
    return uuid;
  };
  const vdi = await made("disk", model.vdi);
  const evidence = await made("payload", model.sealed?.evidence);
  const sealed = { virtualSize: 0, ...model.sealed, evidence, at: sealedAt };
  const entry: Entry = { ...model, id, build, vdi, sealed, holders: {}, ...more };
  await record.put(name, entry);
  const disk = await xapi.get("VDI", vdi);
  await xapi.call("VDI.set_name_description", disk?.$ref, diskDescription(record, name, entry));
}
