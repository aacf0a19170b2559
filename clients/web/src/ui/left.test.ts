// That what is left is said as people say it, and nothing where nothing is known.
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { inWords, leftWords } from "./left";

test("a span is told in the one unit that people would use", () => {
  expect([0.2, 40, 56, 420, 5_000, 7_000, 200_000].map(inWords)).toEqual(["1 second", "40 seconds", "1 minute", "7 minutes", "83 minutes", "2 hours", "2 days"]);
});

test("nothing is said of an end that is not known or has passed", () => {
  const end = timestampFromMs(1_000_000);
  expect(leftWords(end, 1_000_000 - 420_000)).toBe("about 7 minutes left");
  expect(leftWords(end, 1_000_000)).toBe("");
  expect(leftWords(undefined, 1_000_000)).toBe("");
});
