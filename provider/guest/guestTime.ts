// Times as a guest's script writes them: ISO 8601 in UTC on Linux; cmd's %DATE% %TIME% on Windows, whose date is written as the locale wants it.

/**
 * How long a step took. `seconds`: as the guest counted it; coarsely where it has nothing better than its own looks (cmd), so its clock is more exact, unless the
 * two are so far apart that the clock was set meanwhile.
 */
export function secondsTaken(step: {
  readonly started?: string | undefined;
  readonly finished?: string | undefined;
  readonly seconds?: number | undefined;
}): number | undefined {
  const byClock = secondsBetween(step.started, step.finished);
  if (step.seconds === undefined) return byClock;
  return byClock === undefined || Math.abs(byClock - step.seconds) > 10 + step.seconds / 4 ? step.seconds : byClock;
}

/** Seconds from one to the other, by the guest's clock; undefined where it can't be told (a clock that was set, a form that is not known). */
function secondsBetween(started: string | undefined, finished: string | undefined): number | undefined {
  const [from, to] = [instant(started), instant(finished)];
  if (from !== undefined && to !== undefined) return to < from || to - from > A_DAY * 1000 ? undefined : Math.round((to - from) / 1000);
  const [begun, ended] = [timeOfDay(started), timeOfDay(finished)];
  if (begun === undefined || ended === undefined) return undefined;
  // Past midnight.
  return Math.round(ended < begun ? ended + A_DAY - begun : ended - begun);
}

// The longest limit that a step may have, in seconds: more is a clock that was set.
const A_DAY = 86_400;

const instant = (text = ""): number | undefined =>
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text) && !Number.isNaN(Date.parse(text)) ? Date.parse(text) : undefined;

/** "Thu 03/14/2024  9:05:07.12", "14.03.2024 10:22:11,34": %TIME% always counts 24 hours; its separators are the locale's. */
function timeOfDay(text = ""): number | undefined {
  const [, hours, minutes, seconds, hundredths = "0"] = /(?:^|\s)(\d{1,2})[:.](\d\d)[:.](\d\d)(?:[.,](\d\d))?\s*$/.exec(text) ?? [];
  if (hours === undefined || Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) > 59) return undefined;
  return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds) + Number(hundredths) / 100;
}
