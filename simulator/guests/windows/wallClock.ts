// A modelled Windows' own clock: simulated time, and how far somebody has set it from that. A restart keeps it, as XenServer keeps a guest's RTC (platform:timeoffset).
import type { Clock } from "../../clock.ts";
import type { Registry } from "./registry.ts";

/**
 * `{ "Ahead": ["REG_SZ", "-3600"], "Starts": ["REG_MULTI_SZ", "0", "31536000"] }`, in seconds and of the model's own: how far the clock is ahead, and how far it is
 * found ahead at the first, the second, … start, as when time is synchronised then or the hypervisor's RTC is another.
 */
export const CLOCK_KEY = "HKLM\\SYSTEM\\XAPISIM\\Clock";

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const two = (value: number): string => String(value).padStart(2, "0");

export class WallClock {
  readonly #clock: Clock;
  /** Undefined until Windows has started. */
  readonly #registry: () => Registry | undefined;

  constructor(clock: Clock, registry: () => Registry | undefined) {
    this.#clock = clock;
    this.#registry = registry;
  }

  /** At the start of that number. */
  started(boot: number): void {
    const found = this.#registry()?.value(CLOCK_KEY, "Starts")?.data[boot - 1];
    if (found !== undefined) this.#setAhead(Number(found));
  }

  /** As %DATE% of an English (United States) Windows. */
  date(): string {
    const now = this.#now();
    return `${DAYS[now.getUTCDay()]} ${two(now.getUTCMonth() + 1)}/${two(now.getUTCDate())}/${now.getUTCFullYear()}`;
  }

  time(): string {
    const text = this.#now().toISOString();
    return `${String(Number(text.slice(11, 13))).padStart(2, " ")}${text.slice(13, 22)}`;
  }

  /** `mm-dd-yyyy`; false: no date. */
  setDate(text: string): boolean {
    const [, month, day, year] = /^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})$/.exec(text) ?? [];
    const wanted = this.#now();
    wanted.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
    return wanted.getUTCMonth() === Number(month) - 1 && this.#set(wanted);
  }

  /** `hh:mm[:ss[.hh]]`; false: no time of a day. */
  setTime(text: string): boolean {
    const [, hours, minutes, seconds = "0"] = /^(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,]\d\d?)?)?$/.exec(text) ?? [];
    if (!(Number(hours) < 24 && Number(minutes) < 60 && Number(seconds) < 60)) return false;
    const wanted = this.#now();
    wanted.setUTCHours(Number(hours), Number(minutes), Number(seconds), 0);
    return this.#set(wanted);
  }

  #now(): Date {
    return new Date(this.#clock.now() + Number(this.#registry()?.value(CLOCK_KEY, "Ahead")?.data[0] ?? 0) * 1000);
  }

  #set(wanted: Date): boolean {
    this.#setAhead(Math.round((wanted.getTime() - this.#clock.now()) / 1000));
    return true;
  }

  #setAhead(seconds: number): void {
    this.#registry()?.setValue(CLOCK_KEY, "Ahead", "REG_SZ", [String(seconds)]);
  }
}
