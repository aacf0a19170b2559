// Times as people read them: moments in the reader's own time zone, and lengths in words.
import type { Timestamp } from "@bufbuild/protobuf/wkt";

/** The milliseconds since 1970 of a timestamp; undefined where there is none. */
export function millisOf(time: Timestamp | undefined): number | undefined {
  return time && Number(time.seconds) * 1000 + Math.floor(time.nanos / 1_000_000);
}

const SAME_DAY = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const OTHER_DAY = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const WHOLE = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

/** A moment, without its date if it is today. */
export function showMoment(millis: number | undefined, now: number = Date.now()): string {
  if (millis === undefined) return "";
  const today = new Date(millis).toDateString() === new Date(now).toDateString();
  return (today ? SAME_DAY : OTHER_DAY).format(millis);
}

/** A moment with its date, its weekday and its time zone. */
export function showWholeMoment(millis: number): string {
  return WHOLE.format(millis);
}

/** A length of time in its two largest units: "350 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function showLength(millis: number): string {
  const length = Math.max(0, millis);
  if (length < 1000) return `${Math.round(length)} ms`;
  if (length < 9950) return `${(length / 1000).toFixed(1).replace(".0", "")} s`;
  const seconds = Math.round(length / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return joined(Math.floor(seconds / 60), "min", seconds % 60, "s");
  if (seconds < 86400) return joined(Math.floor(seconds / 3600), "h", Math.floor((seconds % 3600) / 60), "min");
  return joined(Math.floor(seconds / 86400), "d", Math.floor((seconds % 86400) / 3600), "h");
}

function joined(large: number, unit: string, small: number, smaller: string): string {
  return small === 0 ? `${large} ${unit}` : `${large} ${unit} ${small} ${smaller}`;
}
