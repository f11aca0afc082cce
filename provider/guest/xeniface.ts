// What a Windows guest reads and writes in xenstore: by WMI, through the driver xeniface, which comes with the VM tools (root/wmi, `<vendor>XenStoreBase`; xeniface.mof).
// Promises: nothing waits for it or depends on it; where the driver is not there, nothing is run.

/**
 * Each vendor's drivers have a class of their own, and one whose driver is not at work has no instance: that must not keep the others from being asked. A session
 * lasts until it is ended (xeniface.mof, EndSession).
 */
export const throughXeniface = (work: string): string =>
  [
    "foreach ($class in Get-CimClass -Namespace root/wmi -ClassName *XenStoreBase) {",
    "try { $name = $class.CimClassName;",
    "$id = (Get-CimInstance -Namespace root/wmi -ClassName $name | Invoke-CimMethod -MethodName AddSession -Arguments @{ Id = 'xenlayer' }).SessionId;",
    "$session = Get-CimInstance -Namespace root/wmi -ClassName ($name -replace 'Base', 'Session') -Filter ('SessionId=' + $id);",
    `try { ${work}`,
    "} finally { Invoke-CimMethod -InputObject $session -MethodName EndSession } } catch { } }",
  ].join(" ");

const TELL = throughXeniface(
  "Invoke-CimMethod -InputObject $session -MethodName SetValue -Arguments @{ Pathname = 'vm-data/xenlayer/progress'; value = $env:XENLAYER_SAYS }",
);

/** `call :tell step 01 running`: for whoever stands at the console, and for the provider's row. PowerShell takes a second or two, so not every line is told. */
export const tellLabel = (nonce: string): string => `
:tell
echo xenlayer: %*
if not exist "%SystemRoot%\\System32\\drivers\\xeniface.sys" exit /b 0
set /a seq=seq+1
set XENLAYER_SAYS=${nonce} %n% %seq% %*
powershell -NoProfile -NonInteractive -Command "$ErrorActionPreference = 'Stop'; ${TELL}" >nul 2>&1 <nul
exit /b 0
`;
