// Quantities as people write and read them: bytes, per cent and spans of time, by the rules of the command line.

const PREFIXES = "KMGTPE";
const SECONDS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

export const BYTES_ALLOWED = "a size such as 512M, 4G, 1.5T or a number of bytes";
export const SPAN_ALLOWED = "a span of time such as 30s, 5m, 1h30m or a number of seconds";
export const PERCENT_ALLOWED = "per cent from 0 to 100, such as 40 or 40%";

/** Reads a size as a whole number of bytes: 4G and 4GiB are binary, 4GB is decimal; undefined if it is no size. */
export function readBytes(text: string): bigint | undefined {
  const found = /^(\d*)(?:\.(\d+))?\s*([KMGTPE]?)(iB|B|)$/i.exec(text.trim());
  if (!found || (!found[1] && !found[2])) return undefined;
  const [, whole = "", fraction = "", prefix = "", rest = ""] = found;
  const power = prefix ? PREFIXES.indexOf(prefix.toUpperCase()) + 1 : 0;
  const factor = (rest.toUpperCase() === "B" && power ? 1000n : 1024n) ** BigInt(power);
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * factor;
  if (scaled % scale !== 0n && !power) return undefined;
  return (scaled + scale / 2n) / scale;
}

/** A size in the largest binary unit that gives it exactly, as 4G, so that reading it gives the same bytes. */
export function writeBytes(size: bigint): string {
  let value = size;
  let power = 0;
  while (value !== 0n && value % 1024n === 0n && power < PREFIXES.length) {
    value /= 1024n;
    power += 1;
  }
  return `${value}${power ? PREFIXES[power - 1] : ""}`;
}

/** A size with a binary unit and at most one digit behind the point, as 4 GiB or 1.5 TiB. */
export function showBytes(size: bigint | number): string {
  let value = Number(size);
  let power = 0;
  while (Math.abs(value) >= 1024 && power < PREFIXES.length) {
    value /= 1024;
    power += 1;
  }
  return power ? `${value.toFixed(1).replace(/\.0$/, "")} ${PREFIXES[power - 1]}iB` : `${Number(size)} B`;
}

/** Reads a span of time as seconds; undefined if it is none. */
export function readSeconds(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed);
  if (!/^(\d+(\.\d+)?\s*(ms|s|m|h|d))+$/.test(trimmed)) return undefined;
  let seconds = 0;
  for (const [, number, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)/g)) {
    seconds += Number(number) * SECONDS[unit!]!;
  }
  return seconds;
}

/** A span of time in its units, as 1h30m or 10s, so that reading it gives the same seconds. */
export function writeSeconds(seconds: number): string {
  if (!Number.isInteger(seconds)) return `${seconds}s`;
  let rest = seconds;
  let text = "";
  for (const unit of ["d", "h", "m", "s"]) {
    const size = SECONDS[unit]!;
    const count = Math.floor(rest / size);
    if (count) text += `${count}${unit}`;
    rest -= count * size;
  }
  return text || "0s";
}

/** Reads per cent; undefined if it is no number from 0 to 100. */
export function readPercent(text: string): number | undefined {
  const found = /^(\d+(?:\.\d+)?)\s*%?$/.exec(text.trim());
  const value = found ? Number(found[1]) : NaN;
  return value <= 100 ? value : undefined;
}
