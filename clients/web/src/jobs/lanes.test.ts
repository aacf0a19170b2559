// That the timeline says what jobs waited for and how long they worked.
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { EventSchema } from "../api/virtyard/api/inventory/v1/event_pb";
import { JobSchema, JobState, StepState } from "../api/virtyard/api/jobs/v1/job_pb";
import { stepBars, ticksOf, timelineOf } from "./lanes";

const T = 1_700_000_000_000;
const at = (millis: number) => timestampFromMs(T + millis);
const first = create(JobSchema, { name: "jobs/1-1", title: "One", state: JobState.COMPLETED, createTime: at(0), startTime: at(400), endTime: at(900) });
const second = create(JobSchema, { name: "jobs/1-2", title: "Two", state: JobState.RUNNING, createTime: at(0), startTime: at(900) });
const third = create(JobSchema, { name: "jobs/1-3", title: "Three", parentJob: "jobs/1-2", state: JobState.PENDING, createTime: at(0) });

const spans = (index: number, lanes: ReturnType<typeof timelineOf>["lanes"]) => lanes[index]?.spans.map((span) => [span.kind, span.from - T, span.to - T]);

test("all jobs wait for the locks until the first begins, then for their turn, then they work", () => {
  const { lanes, from, to } = timelineOf([first, second, third], [], T, undefined, T + 1500);
  expect([from - T, to - T]).toEqual([0, 1500]);
  expect(spans(0, lanes)).toEqual([["locks", 0, 400], ["work", 400, 900]]);
  expect(spans(1, lanes)).toEqual([["locks", 0, 400], ["turn", 400, 900], ["work", 900, 1500]]);
  expect(spans(2, lanes)).toEqual([["locks", 0, 400], ["turn", 400, 1500]]);
  expect(lanes.map((lane) => lane.depth)).toEqual([0, 0, 1]);
});

test("the wait for locks is as long as it was, and what came before it and after it is no part of it", () => {
  const waited = create(JobSchema, { ...first, $typeName: undefined, lockRequestTime: at(100), lockGrantTime: at(300) } as never);
  const { lanes } = timelineOf([waited, second], [], T, undefined, T + 1500);
  expect(spans(0, lanes)).toEqual([["turn", 0, 100], ["locks", 100, 300], ["turn", 300, 400], ["work", 400, 900]]);
  // One that was written before the grant has the same wait: it is the operation's.
  expect(spans(1, lanes)).toEqual([["turn", 0, 100], ["locks", 100, 300], ["turn", 300, 900], ["work", 900, 1500]]);
});

test("one that waits for its locks does so up to now, from when it asked for them", () => {
  const waits = create(JobSchema, { name: "jobs/1-1", state: JobState.WAITING_FOR_LOCKS, lockRequestTime: at(200) });
  const { lanes } = timelineOf([waits], [], T, undefined, T + 700);
  expect(spans(0, lanes)).toEqual([["turn", 0, 200], ["locks", 200, 700]]);
});

test("while nothing has begun, everything waits for locks up to now", () => {
  const { lanes } = timelineOf([third], [], T, undefined, T + 700);
  expect(spans(0, lanes)).toEqual([["locks", 0, 700]]);
});

test("an operation that has ended stands still, but for an event that came just after it", () => {
  const event = create(EventSchema, { name: "events/1", type: "JOB_FAILED", job: "jobs/1-1", createTime: at(1100) });
  const { to, marks } = timelineOf([first], [event], T, T + 1000, T + 99_000);
  expect(to - T).toBe(1100);
  expect(marks.map((mark) => [mark.at - T, mark.lane])).toEqual([[1100, 0]]);
});

const bars = (job: Parameters<typeof stepBars>[0]) => stepBars(job, T, T + 1000, T + 2000).map((bar) => [bar.look.word, bar.from - T, bar.to - T, bar.done]);

test("steps of a record without times share the work by their weights, and a done one is done whatever its last progress was", () => {
  const job = create(JobSchema, {
    steps: [
      { id: "1", state: StepState.DONE, weight: 3, progress: { percent: 40 } },
      { id: "2", state: StepState.STARTED, weight: 1, progress: { percent: 40 } },
      { id: "3", state: StepState.PENDING },
    ],
  });
  expect(bars(job)).toEqual([
    ["done", 0, 600, 1],
    ["started", 600, 800, 0.4],
    ["pending", 800, 1000, 0],
  ]);
});

test("steps are drawn when they were done, one under way up to now, and what was undone twice", () => {
  const job = create(JobSchema, {
    steps: [
      { id: "1", state: StepState.UNDONE, weight: 9, startTime: at(100), endTime: at(150), undoStartTime: at(900), undoEndTime: at(950) },
      { id: "2", state: StepState.UNDOING, startTime: at(150), endTime: at(400), undoStartTime: at(800), progress: { percent: 100 } },
      { id: "3", state: StepState.FAILED, startTime: at(400), endTime: at(700), progress: { percent: 20 } },
      { id: "4", state: StepState.STARTED, startTime: at(700), progress: { percent: 20 } },
      { id: "5", state: StepState.SKIPPED },
      { id: "6", state: StepState.PENDING },
    ],
  });
  expect(bars(job)).toEqual([
    ["done", 100, 150, 1],
    ["undone", 900, 950, 1],
    ["done", 150, 400, 1],
    ["undoing", 800, 2000, 1],
    ["failed", 400, 700, 1],
    ["started", 700, 2000, 0.2],
  ]);
});

test("a lane counts steps, not bars, and a job that has not begun has none to draw", () => {
  const begun = create(JobSchema, {
    name: "jobs/1-2",
    state: JobState.RUNNING,
    startTime: at(400),
    steps: [{ id: "1", state: StepState.DONE, startTime: at(400), endTime: at(500) }, { id: "2", state: StepState.PENDING }],
  });
  const { lanes } = timelineOf([begun, third], [], T, undefined, T + 1500);
  expect(lanes.map((lane) => [lane.count, lane.steps.length])).toEqual([[[1, 2], 1], [[0, 0], 0]]);
});

test("the axis has round moments, few enough to be read", () => {
  expect(ticksOf(950, 5)).toEqual([0, 200, 400, 600, 800]);
  expect(ticksOf(61_000, 5)).toEqual([0, 15_000, 30_000, 45_000, 60_000]);
  expect(ticksOf(30 * 86_400_000, 5).length).toBeLessThanOrEqual(6);
});
