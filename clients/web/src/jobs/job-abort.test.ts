// That an abort of one job says which jobs end by it and which go on, and is offered where it can be asked for.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { JobSchema, JobState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { canBeAborted, endingOf } from "./job-abort";

function job(name: string, state: JobState, part: Partial<Job> = {}): Job {
  return create(JobSchema, { name, state, done: state === JobState.COMPLETED, ...part } as never);
}

const through = job("jobs/1-1", JobState.COMPLETED);
const running = job("jobs/1-2", JobState.RUNNING);
const waiting = job("jobs/1-3", JobState.PENDING);
const asked = job("jobs/1-4", JobState.RUNNING, { abortRequested: true });
const undone = job("jobs/1-5", JobState.ROLLING_BACK);
const all = [through, running, waiting, asked, undone];

test("what ends is what the service names, and what has ended or goes back does not go on", () => {
  expect(endingOf(["jobs/1-3"], all)).toEqual({ ending: [waiting], goingOn: [running] });
  expect(endingOf(["jobs/1-3", "jobs/1-2"], all)).toEqual({ ending: [running, waiting], goingOn: [] });
});

test("a job can be aborted by itself while it goes forward, beside others", () => {
  expect(all.filter((one) => canBeAborted(one, all))).toEqual([running, waiting]);
  expect(canBeAborted(running, [running])).toBe(false);
});
