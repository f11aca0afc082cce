/** event: what changed (events.ts). The old queue of register and next is refused: no client of this century needs it. */
import type { Context, Messages } from "../context.ts";
import { fail } from "../errors.ts";

export const event = {
  from: (ctx: Context, targets: readonly string[], token: string, timeout: number) => ctx.events.from(ctx.session, targets, token, timeout),
  inject: (ctx: Context, cls: string, ref: string) => ctx.events.inject(cls, ref),
  get_current_id: (ctx: Context) => ctx.db.generation,
  register: () => fail("NOT_IMPLEMENTED", "event.register"),
  next: () => fail("NOT_IMPLEMENTED", "event.next"),
  unregister: () => fail("NOT_IMPLEMENTED", "event.unregister"),
} satisfies Messages;
