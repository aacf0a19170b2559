// That lengths of time read well at every size.
import { expect, test } from "vitest";
import { millisOf, showLength } from "./moments";

test.each([
  [0, "0 ms"],
  [-5, "0 ms"],
  [999, "999 ms"],
  [4200, "4.2 s"],
  [9960, "10 s"],
  [59_400, "59 s"],
  [59_600, "1 min"],
  [200_000, "3 min 20 s"],
  [7_500_000, "2 h 5 min"],
  [273_600_000, "3 d 4 h"],
])("%d milliseconds are %s", (millis, words) => {
  expect(showLength(millis)).toBe(words);
});

test("a timestamp becomes milliseconds, and none stays none", () => {
  expect(millisOf({ $typeName: "google.protobuf.Timestamp", seconds: 2n, nanos: 5_600_000 })).toBe(2005);
  expect(millisOf(undefined)).toBeUndefined();
});
