// XAPI calls per operation, compared exactly with the committed table: a change that costs or saves calls shows in its diff.
// `npm run bench:calls` writes the table anew.
import { readFileSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { counted, mainPath } from "./xapiCalls.ts";

const TABLE = new URL("xapi-calls.json", import.meta.url);

it("asks a pool exactly as often as bench/xapi-calls.json says", async () => {
  const calls = counted(await mainPath());
  if (process.env.XENLAYER_WRITE_CALLS === "1") writeFileSync(TABLE, `${JSON.stringify(calls, undefined, 2)}\n`);
  expect(calls).toEqual(JSON.parse(readFileSync(TABLE, "utf8")));
});

it("counts a transfer apart from the calls around it, and what marks cost", () => {
  const request = (method: string, ...params: unknown[]) => ({ n: 0, method, params, session: 1, ms: 0, error: undefined });
  const requests = [
    request("VDI.create", {}),
    request("VDI.add_to_other_config", "OpaqueRef:1", "key", "value"),
    request("task.create", "xenlayer: import of raw", ""),
    request("PUT /import_raw_vdi", { vdi: "OpaqueRef:1", task_id: "OpaqueRef:2" }),
    request("task.destroy", "OpaqueRef:2"),
    request("Async.VDI.destroy", "OpaqueRef:1"),
    request("task.destroy", "OpaqueRef:3"),
  ];
  expect(counted([{ name: "probe", requests }])).toEqual({ probe: 4, "probe marks": 1, "probe transfers": 1 });
});
