// Sizes and spans are read as the command line reads them, and what is written for one reads as the same.
import { expect, test } from "vitest";
import { readBytes, readPercent, readSeconds, showBytes, writeBytes, writeSeconds } from "./quantities";

test("a size is binary, unless it says that it is decimal", () => {
  const sizes = { "4G": 4n << 30n, "4GiB": 4n << 30n, "4GB": 4_000_000_000n, "512m": 512n << 20n, "1.5T": 3n << 39n, "17": 17n, "17B": 17n, ".5K": 512n };
  for (const [text, bytes] of Object.entries(sizes)) expect(readBytes(text), text).toBe(bytes);
  for (const text of ["", "G", "4Gx", "-1G", "1.5", "4 G B", "4iB4"]) expect(readBytes(text), text).toBeUndefined();
});

test("a span is seconds, or numbers with units", () => {
  const spans = { "90": 90, "30s": 30, "1h30m": 5400, "1.5m": 90, "2d": 172800, "250ms": 0.25, "1h 30m": undefined, "5": 5, "": undefined, "m": undefined };
  for (const [text, seconds] of Object.entries(spans)) expect(readSeconds(text), text).toBe(seconds);
});

test("per cent ends at a hundred", () => {
  expect([readPercent("40%"), readPercent("100"), readPercent("101"), readPercent("x")]).toEqual([40, 100, undefined, undefined]);
});

test("what is written reads as the same", () => {
  for (const size of [0n, 1n, 1023n, 1024n, 1536n, 5n << 30n, (1n << 62n) + 1n]) expect(readBytes(writeBytes(size))).toBe(size);
  for (const seconds of [0, 1, 59, 60, 3661, 90061, 0.5]) expect(readSeconds(writeSeconds(seconds))).toBe(seconds);
  expect([showBytes(0), showBytes(1536), showBytes(4n << 30n)]).toEqual(["0 B", "1.5 KiB", "4 GiB"]);
});
