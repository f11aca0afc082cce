// cloudbase-init as far as user data goes (plugins/common/userdata.py, execcmd.py): it is run once an instance, unless its exit code asks for the next boot (bit 2 of
// 1001 to 1003) or for a restart (bit 1). The plugin's state is kept in the registry, below the instance's id.
import type { FatVolume } from "../../storage/fat.ts";
import type { Files } from "./files.ts";
import type { Shell } from "./shell.ts";
import type { System } from "./system.ts";

const DONE = "0x1";
const NEXT_BOOT = "0x2";

export interface Cloudbase {
  readonly volume: FatVolume;
  readonly system: System;
  readonly files: Files;
  readonly shell: Shell;
  log(line: string): void;
}

/** Whether the machine is to be restarted. */
export async function cloudbaseInit({ volume, system, files, shell, log }: Cloudbase): Promise<boolean> {
  const text = (path: string): string => new TextDecoder().decode(volume.readFile(path));
  const instance = /^instance-id:[ \t]*(\S+)/m.exec(text("meta-data"))?.[1] ?? "";
  const key = `HKLM\\SOFTWARE\\Cloudbase Solutions\\Cloudbase-Init\\${instance}\\Plugins`;
  if (system.registry.value(key, "UserDataPlugin")?.data[0] === DONE) {
    log(`cloudbase-init: user data of ${instance} is done`);
    return false;
  }
  const script = files.locate("C:\\Windows\\TEMP\\user-data.cmd");
  files.makeFolder(files.locate("C:\\Windows\\TEMP"));
  files.write(script, text("user-data"));
  await shell.runScript(script, [files.full(script)]);
  files.remove(script);
  const rc = shell.errorlevel;
  const asks = rc >= 1001 && rc <= 1003 ? rc : 0;
  system.registry.setValue(key, "UserDataPlugin", "REG_DWORD", [(asks & 2) === 0 ? DONE : NEXT_BOOT]);
  system.save();
  log(`cloudbase-init: user data ended with ${rc}`);
  return (asks & 1) !== 0;
}
