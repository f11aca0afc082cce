// The provider in a process of its own: imports disk files, and waits for machines to power off.
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { awaitPowerOff } from "../provider/guestRun.ts";
import { inspectImage, uploadBody } from "../provider/image.ts";
import type { Context } from "../provider/resource.ts";
import { type Connection, connect, disconnectAll } from "../provider/xapi/client.ts";
import { clock, serve } from "./processes.ts";

const xapi = await connect(JSON.parse(process.argv[2] ?? "{}") as Connection);
const [sr] = await xapi.find("SR", { name_label: "Local storage" });
const ctx: Context = {
  report: () => {},
  warn: () => {},
  signal: new AbortController().signal,
  config: {},
  connect: async () => xapi,
};

const disk = (virtual_size: number): Promise<string> =>
  xapi.call<string>("VDI.create", {
    name_label: "bench",
    name_description: "",
    SR: sr?.$ref,
    virtual_size,
    type: "user",
    sharable: false,
    read_only: false,
    other_config: {},
  });

/** As OsLayer does it: what the file is, a disk for it, its content. Returns the disk. */
async function imported(path: string): Promise<string> {
  const info = await inspectImage(path);
  const ref = await disk(info.virtualSize);
  await xapi.put(ref, await uploadBody(path, info));
  return ref;
}

serve(
  {
    disk,
    destroy: (ref: string) => xapi.destroy("VDI", ref),
    /** Seconds. */
    async import(path: string): Promise<number> {
      const from = performance.now();
      const ref = await imported(path);
      const seconds = (performance.now() - from) / 1000;
      await xapi.destroy("VDI", ref);
      return seconds;
    },
    /** A raw file as the VHD file that would be sent for it. */
    async convert(path: string, to: string): Promise<void> {
      const { stream } = await uploadBody(path, await inspectImage(path));
      await pipeline(stream(ctx.signal), createWriteStream(to));
    },
    /** By how many bytes the process grows while it imports. */
    async growth(path: string): Promise<number> {
      globalThis.gc?.();
      await delay(200);
      const before = process.memoryUsage.rss();
      let most = before;
      const watch = setInterval(() => {
        most = Math.max(most, process.memoryUsage.rss());
      }, 20);
      const ref = await imported(path);
      clearInterval(watch);
      await xapi.destroy("VDI", ref);
      return most - before;
    },
    /** A halted machine that boots the image. */
    async machine(path: string): Promise<{ ref: string; uuid: string }> {
      const [template] = await xapi.find("VM", { name_label: "xenlayer-packaging" });
      const ref = await xapi.call<string>("VM.clone", template?.$ref, "bench");
      await xapi.call("VM.set_is_a_template", ref, false);
      const VDI = await imported(path);
      await xapi.call("VBD.create", {
        VM: ref,
        VDI,
        userdevice: "0",
        bootable: true,
        mode: "RW",
        type: "Disk",
        unpluggable: false,
        empty: false,
        other_config: {},
        qos_algorithm_type: "",
        qos_algorithm_params: {},
      });
      return { ref, uuid: String(await xapi.call("VM.get_uuid", ref)) };
    },
    start: (vm: string) => xapi.task("VM.start", [vm, false, false]),
    /** Waits as PackagingMachine and Finalize do; answers when the next call after that was answered. */
    async poweredOff(vm: string): Promise<number> {
      const limits = { bootMinutes: 15, totalMinutes: 15 };
      await awaitPowerOff(ctx, {
        xapi,
        vm,
        vmName: "bench",
        payload: "",
        build: "",
        nonce: "",
        doing: "the bench",
        manual: "waiting",
        ...limits,
      });
      await xapi.call("VM.get_power_state", vm);
      return clock();
    },
  },
  disconnectAll,
);
