// How long something still takes, as people say it and as the command line does: "about 7 minutes left".
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { countOf } from "./counts";
import { millisOf } from "./moments";

const UNITS: readonly (readonly [number, number, string])[] = [
  [86_400, 1.5, "day"],
  [3_600, 1.5, "hour"],
  [60, 0.9, "minute"],
];

/** How long it is to an expected end; empty where there is none, and once it has passed, as then nothing is known. */
export function leftWords(end: Timestamp | undefined, now: number): string {
  const left = (millisOf(end) ?? 0) - now;
  return left > 0 ? `about ${inWords(left / 1000)} left` : "";
}

/** A span of time in its one unit that people would use: "40 seconds", "7 minutes". */
export function inWords(seconds: number): string {
  const [size, , word] = UNITS.find(([unit, least]) => seconds >= unit * least) ?? [1, 1, "second"];
  const count = Math.max(1, Math.round(seconds / size));
  return countOf(count, word);
}
