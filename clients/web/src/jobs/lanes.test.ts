// That the timeline says what jobs waited for and how long they worked.
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { EventSchema } from "../api/virtyard/api/inventory/v1/event_pb";
import { JobSchema, JobState, StepState } from "../api/virtyard/api/jobs/v1/job_pb";
import { stepShares, ticksOf, timelineOf } from "./lanes";

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

test("steps share the work by their weights, and a done one is done whatever its last progress was", () => {
  const job = create(JobSchema, {
    steps: [
      { id: "1", state: StepState.DONE, weight: 3, progress: { percent: 40 } },
      { id: "2", state: StepState.STARTED, weight: 1, progress: { percent: 40 } },
      { id: "3", state: StepState.PENDING },
    ],
  });
  expect(stepShares(job).map((share) => [share.from, share.to, share.done])).toEqual([
    [0, 0.6, 1],
    [0.6, 0.8, 0.4],
    [0.8, 1, 0],
  ]);
});

test("the axis has round moments, few enough to be read", () => {
  expect(ticksOf(950, 5)).toEqual([0, 200, 400, 600, 800]);
  expect(ticksOf(61_000, 5)).toEqual([0, 15_000, 30_000, 45_000, 60_000]);
  expect(ticksOf(30 * 86_400_000, 5).length).toBeLessThanOrEqual(6);
});
