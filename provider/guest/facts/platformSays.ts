// What the layer says it is for, against what is installed: a layer for PVS without its target device, or one "without broker" that has an agent, is usually a step
// that was forgotten or a form that was filled in wrongly. Only said, never a reason to stop: the software may come from another layer of the chain, or by other names.
import { type Check, cannotTell, type Fact, type Judgement, OTHER_BIT, type Platform, pending, ready } from "../fact.ts";
import { type RegistryAnswer, registryValue, valueNamed } from "../registry.ts";

interface Part {
  readonly what: string;
  /** Name of its service. */
  readonly service: string;
  readonly fact: Fact<RegistryAnswer>;
  /** Undefined: the layer says nothing about it. */
  readonly wanted: (platform: Platform) => boolean | undefined;
}

const part = (id: string, what: string, service: string, wanted: Part["wanted"]): Part => ({
  what,
  service,
  wanted,
  fact: {
    ...registryValue(id, `HKLM\\SYSTEM\\CurrentControlSet\\Services\\${service}`, "Start", "none"),
    // There or not, both are answers.
    quiet: { kind: "textAbsent", text: [], present: ["Start    REG_DWORD"], orCode: 1 },
  },
});

const oneOf = (given: string | undefined, wanted: readonly string[]): boolean | undefined =>
  given === undefined ? undefined : wanted.includes(given);

const parts: readonly Part[] = [
  part("service-vda", "Virtual Delivery Agent", "BrokerAgent", ({ connectionBroker }) => oneOf(connectionBroker, ["xendesktop", "xenapp"])),
  part("service-pvs", "Provisioning target device", "BNDevice", ({ provisioningService }) => oneOf(provisioningService, ["pvs"])),
  // Of another hypervisor's layer nobody can tell: PV drivers may be there from the OS layer.
  part("service-xenbus", "PV drivers of XenServer", "xenbus", ({ hypervisor }) => (hypervisor === "xenserver" ? true : undefined)),
];

function judgePart({ what, service, fact, wanted }: Part, found: boolean, platform: Platform): Judgement {
  const says = wanted(platform);
  if (says === undefined || says === found) return ready;
  const where = `service ${service}, asked by ${fact.id}`;
  return says
    ? pending(`The layer's platform needs ${what}, which is not installed (${where}).`)
    : pending(`${what} is installed, which the layer's platform does not name (${where}).`);
}

export const platformSays: Check = {
  id: "platformSays",
  title: "What the layer says it is",
  prompt: "What is installed does not fit the layer's platform - please check the Packaging Machine.",
  bit: OTHER_BIT,
  policy: "warn",
  windows: {
    facts: parts.map(({ fact }) => fact),
    judge: (look, platform) => {
      const judgements = parts.map((entry): Judgement => {
        const answer = look(entry.fact);
        if (answer.kind === "error") return cannotTell(entry.fact, answer.error);
        if (answer.kind === "value" && valueNamed(answer.value, "Start") === undefined)
          return cannotTell(entry.fact, "the answer lacks Start, which every service has");
        return judgePart(entry, answer.kind === "value", platform);
      });
      const said = judgements.flatMap((judgement) => (judgement.state === "ready" ? [] : [judgement.message]));
      const unread = judgements.some((judgement) => judgement.state === "failed");
      return said.length === 0 ? ready : { state: unread ? "failed" : "pending", message: said.join(" ") };
    },
  },
};
