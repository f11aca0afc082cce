/** task: own tasks may be changed and cancelled, those of others only by a pool-operator (xen-api ocaml/xapi/xapi_task.ml). */
import type { Context, Messages } from "../context.ts";
import { fail } from "../errors.ts";
import { addToMap, removeFromMap } from "../implicit.ts";
import { ANY_TASK } from "../permissions.ts";
import type { Records } from "../records.ts";

type Task = Records["task"];

function assertOwn(ctx: Context, task: string): void {
  ctx.db.get("task", task);
  if (!ctx.tasks.owns(ctx.session, task)) ctx.sessions.authorize(ctx.session, ANY_TASK);
}

function change(ctx: Context, task: string, fields: Partial<Task>): void {
  assertOwn(ctx, task);
  if (!ctx.tasks.pending(task)) fail("OPERATION_NOT_ALLOWED", `task ${task} is not pending`);
  ctx.db.update("task", task, fields);
}

export const task = {
  create: (ctx: Context, label: string, description: string) =>
    ctx.tasks.create({ label, description, host: ctx.host, session: ctx.session }),

  destroy: (ctx: Context, ref: string) => {
    assertOwn(ctx, ref);
    ctx.tasks.destroy(ref);
  },
  cancel: (ctx: Context, ref: string) => {
    assertOwn(ctx, ref);
    ctx.tasks.cancel(ref);
  },

  set_progress: (ctx: Context, ref: string, progress: number) => change(ctx, ref, { progress }),
  set_result: (ctx: Context, ref: string, result: string) => change(ctx, ref, { result }),
  set_error_info: (ctx: Context, ref: string, error_info: readonly string[]) => change(ctx, ref, { error_info }),
  set_status: (ctx: Context, ref: string, status: Task["status"]) => {
    change(ctx, ref, { status });
    if (status !== "pending") ctx.tasks.ended(ref);
  },

  set_other_config: (ctx: Context, ref: string, other_config: Task["other_config"]) => {
    assertOwn(ctx, ref);
    ctx.db.update("task", ref, { other_config });
  },
  add_to_other_config: (ctx: Context, ref: string, key: string, value: string) => {
    assertOwn(ctx, ref);
    addToMap(ctx, "task", ref, "other_config", key, value);
  },
  remove_from_other_config: (ctx: Context, ref: string, key: string) => {
    assertOwn(ctx, ref);
    removeFromMap(ctx, "task", ref, "other_config", key);
  },
} satisfies Messages;
