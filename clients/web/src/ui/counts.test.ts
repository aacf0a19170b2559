// That a count and its noun agree, and so does the verb behind them.
import { expect, test } from "vitest";
import { countOf, hereWords } from "./counts";

test("one is one, and anything else is many", () => {
  expect([0, 1, 2].map((count) => countOf(count, "event"))).toEqual(["0 events", "1 event", "2 events"]);
  expect([1n, 37n].map((count) => countOf(count, "time"))).toEqual(["1 time", "37 times"]);
  expect([1, 3].map((count) => countOf(count, "try", "tries"))).toEqual(["1 try", "3 tries"]);
});

test("a list says how much of it is here", () => {
  expect([0, 1, 12].map((count) => hereWords(count, "event", true))).toEqual(["All 0 events are here.", "1 event is here; there are no more.", "All 12 events are here."]);
  expect([1, 200].map((count) => hereWords(count, "job", false))).toEqual(["1 job is here; more come as you scroll.", "200 jobs are here; more come as you scroll."]);
});
