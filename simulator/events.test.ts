import { describe, expect, test } from "vitest";
import { createVdi, login, type Rpc, withSimulator } from "./testing.ts";

interface Event {
  id: string;
  class: string;
  operation: string;
  ref: string;
  snapshot?: Record<string, unknown>;
}
interface Batch {
  events: Event[];
  valid_ref_counts: Record<string, number>;
  token: string;
}

const from = (rpc: Rpc, classes: string[], token: string, timeout = 5) => rpc<Batch>("event.from", classes, token, timeout);
const now = async (rpc: Rpc): Promise<string> => (await from(rpc, ["*"], "")).token;
const brief = (events: Event[]) => events.map(({ operation, ref }) => [operation, ref]);

describe("event.from", () => {
  test("an empty token means everything, as additions; a token has two numbers of twenty digits", () =>
    withSimulator(async (_simulator, rpc) => {
      const { events, token, valid_ref_counts } = await from(rpc, ["VM"], "");
      expect(events.map((event) => event.ref).sort()).toEqual((await rpc<string[]>("VM.get_all")).sort());
      expect(new Set(events.map((event) => `${event.class} ${event.operation}`))).toEqual(new Set(["vm add"]));
      expect(events.every((event) => typeof event.id === "string")).toBe(true);
      expect(token).toMatch(/^\d{20},\d{20}$/);
      expect(valid_ref_counts).toMatchObject({ pool: 1, vm_guest_metrics: 0, host: 1 });
    }));

  test("several changes of one object are one event with the newest snapshot", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      const token = await now(rpc);
      await rpc("VDI.set_name_label", vdi, "one");
      await rpc("VDI.set_name_label", vdi, "two");
      const { events } = await from(rpc, ["vdi"], token);
      expect(brief(events)).toEqual([["mod", vdi]]);
      expect(events[0]?.snapshot).toEqual(await rpc("VDI.get_record", vdi));
    }));

  test("created and changed is an addition, created and destroyed is nothing, destroyed is a deletion without snapshot", () =>
    withSimulator(async (_simulator, rpc) => {
      const old = await createVdi(rpc);
      const token = await now(rpc);
      const fresh = await createVdi(rpc);
      await rpc("VDI.set_name_label", fresh, "renamed");
      await rpc("VDI.destroy", await createVdi(rpc));
      await rpc("VDI.destroy", old);
      const { events } = await from(rpc, ["VDI"], token);
      expect(brief(events)).toEqual([
        ["add", fresh],
        ["del", old],
      ]);
      expect(events[1]).not.toHaveProperty("snapshot");
    }));

  test("both sides of a relation change together", () =>
    withSimulator(async (_simulator, rpc) => {
      const [pool] = await rpc<string[]>("pool.get_all");
      const sr = await rpc<string>("pool.get_default_SR", pool);
      const token = await now(rpc);
      const vdi = await createVdi(rpc);
      const { events } = await from(rpc, [`SR/${sr}`], token);
      expect(events.map((event) => [event.class, event.operation])).toEqual([["sr", "mod"]]);
      expect(events[0]?.snapshot?.VDIs).toContain(vdi);
    }));

  test("one object can be watched by its reference, and nothing else is told", () =>
    withSimulator(async (_simulator, rpc) => {
      const watched = await createVdi(rpc);
      const other = await createVdi(rpc);
      const token = await now(rpc);
      const waiting = from(rpc, [`VDI/${watched}`], token);
      await rpc("VDI.set_name_label", other, "noise");
      await rpc("VDI.set_name_label", watched, "news");
      expect(brief((await waiting).events)).toEqual([["mod", watched]]);
    }));

  test("without news it answers nothing at its time, and the token stays", () =>
    withSimulator(async (_simulator, rpc) => {
      const token = await now(rpc);
      await createVdi(rpc);
      expect(await from(rpc, ["secret", "network"], token, 0.1)).toMatchObject({ events: [], token });
    }));

  test("a writing of what is there already is no event", () =>
    withSimulator(async (_simulator, rpc) => {
      const vdi = await createVdi(rpc);
      const token = await now(rpc);
      await rpc("VDI.set_name_label", vdi, "disk");
      expect((await from(rpc, ["VDI"], token, 0.1)).events).toEqual([]);
    }));

  test("a blocked call ends with SESSION_INVALID when its session logs out", () =>
    withSimulator(async (simulator, rpc) => {
      const other = await login(simulator);
      const token = await now(rpc);
      const blocked = expect(from(other, ["secret"], token, 60)).rejects.toMatchObject({
        code: "SESSION_INVALID",
        params: [other.session],
      });
      await other("session.logout");
      await blocked;
    }));

  test("a token of another form is refused", () =>
    withSimulator(async (_simulator, rpc) => {
      await expect(from(rpc, ["*"], "42")).rejects.toMatchObject({ code: "EVENT_FROM_TOKEN_PARSE_FAILURE", params: ["42"] });
    }));

  test("sessions and secrets make no events", () =>
    withSimulator(async (simulator, rpc) => {
      const token = await now(rpc);
      await login(simulator);
      await rpc("secret.create", { value: "x", other_config: {} });
      expect((await from(rpc, ["session"], token, 0.1)).events).toEqual([]);
    }));
});

test("event.inject bumps an object and answers a token from just before", () =>
  withSimulator(async (_simulator, rpc) => {
    const [pool = ""] = await rpc<string[]>("pool.get_all");
    const token = await rpc<string>("event.inject", "pool", pool);
    expect(brief((await from(rpc, ["pool"], token)).events)).toEqual([["mod", pool]]);
    await expect(rpc("event.inject", "Pool", pool)).rejects.toMatchObject({ code: "HANDLE_INVALID" });
  }));
