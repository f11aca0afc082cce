import { expect, it } from "vitest";
import { secondsTaken } from "./guestTime.ts";

it.each([
  ["on Linux", "2026-11-23T23:59:30Z", "2026-11-24T00:00:40Z", 70],
  ["on an English Windows", "Thu 03/14/2024  9:05:07.12", "Thu 03/14/2024 10:05:09.62", 3603],
  ["on a German Windows, past midnight", "14.03.2024 23:59:58,50", "15.03.2024 0:00:03,50", 5],
  ["on an Italian Windows", "14/03/2024  9.05.07,00", "14/03/2024  9.05.08,00", 1],
  ["when the clock was set back", "2026-11-23T10:00:01Z", "2026-11-23T10:00:00Z", undefined],
  ["when the clock was set a year back", "2026-11-23T10:00:01Z", "2025-11-23T10:00:20Z", undefined],
  ["when the clock was set a year forward", "2026-11-23T10:00:01Z", "2027-11-23T10:00:20Z", undefined],
  ["when it took the longest that it may", "2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z", 86_400],
  ["when the clock was set a year forward on Windows", "Thu 03/14/2024  9:05:07.12", "Fri 03/14/2025  9:05:09.12", 2],
  ["when a form is not known", "yesterday", "Thu 03/14/2024 10:05:09.62", undefined],
  ["when the hour is none", "Thu 03/14/2024 29:05:07.12", "Thu 03/14/2024 30:05:09.62", undefined],
  ["when only a date is there", "14.03.2024", "15.03.2024", undefined],
  ["when it has not ended", "2026-11-23T10:00:01Z", undefined, undefined],
])("tells how long a step took %s", (_where, started, finished, seconds) => {
  expect(secondsTaken({ started, finished })).toBe(seconds);
});

it.each([
  ["the clock, where it agrees", "2026-11-23T10:01:40Z", 94, 100],
  ["the clock, as far as a coarse count may be off", "2026-11-23T10:01:40Z", 72, 100],
  ["the count, where the clock was set by less than a day", "2026-11-23T17:01:40Z", 94, 94],
  ["the count, where the clock was set by a little", "2026-11-23T10:01:40Z", 71, 71],
  ["the count, where the clock was set back", "2025-11-23T10:00:20Z", 20, 20],
])("believes %s", (_what, finished, counted, seconds) => {
  expect(secondsTaken({ started: "2026-11-23T10:00:00Z", finished, seconds: counted })).toBe(seconds);
});
