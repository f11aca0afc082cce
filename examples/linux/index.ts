// A platform layer of a Linux guest, from a CommonJS program. Against the simulator its steps are carried out by a real shell, in a sandbox.
import * as pulumi from "@pulumi/pulumi";
import * as xenlayer from "pulumi-xenlayer";

const pool = new pulumi.Config("xenlayer");
const config = new pulumi.Config();

const connector = new xenlayer.ConnectorConfig("pool", {
  address: pool.require("address"),
  template: pool.require("template"),
  storageRepository: pool.require("storageRepository"),
  tls: { fingerprints: pool.getObject<string[]>("fingerprints") },
});

const os = new xenlayer.OsLayer("debian", {
  connector: connector.settings,
  name: "Debian",
  version: "12",
  os: "linux",
  source: { file: config.get("image") ?? "debian.raw" },
});

const platform = new xenlayer.PlatformLayer("agents", {
  connector: connector.settings,
  name: "Linux agents",
  osLayer: os.layerId,
  purpose: "publishing",
  platform: { hypervisor: "xenserver", provisioningService: "mcs", connectionBroker: "none" },
  icon: "builtin:linux",
});

const version = new xenlayer.LayerVersion("agents", {
  connector: connector.settings,
  layer: platform.layerId,
  version: config.get("version") ?? "1.0",
  // Steps find their files in the folder XENLAYER_FILES.
  files: { "agent.sh": "agent.sh", "agent.conf": "agent.conf" },
  install: [
    {
      name: "Agent",
      shell: "sh",
      run: `set -eu
mkdir -p /opt/agent /etc/agent
cp "$XENLAYER_FILES/agent.sh" /opt/agent/agent
cp "$XENLAYER_FILES/agent.conf" /etc/agent/agent.conf
sed -i "s/^server=.*/server=$SERVER/" /etc/agent/agent.conf`,
      env: { SERVER: config.get("server") ?? "agents.example.com" },
    },
    // 194 asks for a restart of the machine before the next step.
    { name: "First start", shell: "sh", run: "sh /opt/agent/agent --first-start && exit 194" },
    {
      name: "Enrolment",
      shell: "sh",
      run: 'sh /opt/agent/agent --enrol "$TOKEN"',
      // Never stored in the layer, shown in a diff or kept in the evidence.
      secretEnv: { TOKEN: config.getSecret("token") ?? "no-token" },
    },
  ],
  cleanup: [{ name: "Logs", shell: "sh", run: "rm -rf /var/log/agent" }],
});

export const connectorId = connector.connectorId;
export const layerId = platform.layerId;
export const layerVersion = version.version;
export const disk = version.vdiUuid;
