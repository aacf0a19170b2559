// That the list of jobs keeps its order and its trees, whatever comes in which order.
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { JobSchema, JobState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { JobList, lineOf, percentOf, stateOf, treeOf, type Row } from "./job-list";

function job(name: string, part: Partial<Job> = {}): Job {
  return create(JobSchema, { name, operation: `operations/${name.slice(5).split("-")[0]}`, title: name, state: JobState.COMPLETED, ...part } as never);
}

function listOf(...names: string[]): JobList {
  const list = new JobList();
  for (const name of names) list.put(lineOf(job(name)));
  return list;
}

const names = (rows: Row[]): string[] => rows.map((row) => (row.kind === "job" ? `${".".repeat(row.depth)}${row.job.name}` : row.operation.name));

test("operations come the newest first, with their jobs in order, however they were put in", () => {
  const list = listOf("jobs/2-1", "jobs/9-2", "jobs/9-1", "jobs/10-1", "jobs/2-2", "jobs/5-1");
  expect(names(list.rows((name) => name !== "operations/5", true))).toEqual([
    "operations/10",
    "jobs/10-1",
    "operations/9",
    "jobs/9-1",
    "jobs/9-2",
    "operations/5",
    "operations/2",
    "jobs/2-1",
    "jobs/2-2",
  ]);
  expect(list.size).toBe(6);
});

test("a job that is put in again takes the place of its earlier state", () => {
  const list = listOf("jobs/1-1", "jobs/1-2");
  const before = list.version;
  list.put(lineOf(job("jobs/1-1", { state: JobState.FAILED })));
  expect(list.size).toBe(2);
  expect(list.find("operations/1")?.jobs.map((line) => line.state)).toEqual([JobState.FAILED, JobState.COMPLETED]);
  expect(list.version).toBeGreaterThan(before);
});

test("an operation of which the next page may have more jobs is not shown yet", () => {
  const list = listOf("jobs/3-1", "jobs/2-1");
  expect(names(list.rows(() => false, false))).toEqual(["operations/3"]);
  expect(names(list.rows(() => false, true))).toEqual(["operations/3", "operations/2"]);
});

test("rows that are asked for again follow each change, and those of other operations are not made anew", () => {
  const list = listOf("jobs/3-1", "jobs/2-1", "jobs/2-2");
  const all = () => true;
  const before = list.rows(all, true);
  list.put(lineOf(job("jobs/2-2", { state: JobState.FAILED })));
  const after = list.rows(all, true);
  expect(after.map((row) => row.kind === "job" && row.job.state)).toEqual([false, JobState.COMPLETED, false, JobState.COMPLETED, JobState.FAILED]);
  expect(after.map((row, place) => row === before[place])).toEqual([true, true, false, false, false]);
  list.remove("operations/2", "jobs/2-1");
  list.put(lineOf(job("jobs/3-2")));
  expect(names(list.rows(all, true))).toEqual(["operations/3", "jobs/3-1", "jobs/3-2", "operations/2", "jobs/2-2"]);
  expect(names(list.rows((name) => name !== "operations/3", true))).toEqual(["operations/3", "operations/2", "jobs/2-2"]);
  expect(names(list.rows(all, true))).toHaveLength(5);
});

test("an operation without jobs is gone", () => {
  const list = listOf("jobs/3-1", "jobs/2-1", "jobs/2-2");
  list.remove("operations/2", "jobs/2-1");
  list.remove("operations/3", "jobs/3-1");
  list.remove("operations/3", "jobs/3-1");
  expect(names(list.rows(() => true, true))).toEqual(["operations/2", "jobs/2-2"]);
  expect(list.size).toBe(1);
});

test("children are below their parent, and one whose parent is not there is at the top", () => {
  const lines = [
    { name: "jobs/1-1", parent: "" },
    { name: "jobs/1-2", parent: "jobs/1-1" },
    { name: "jobs/1-3", parent: "" },
    { name: "jobs/1-4", parent: "jobs/1-1" },
    { name: "jobs/1-5", parent: "jobs/1-9" },
  ];
  expect(treeOf(lines).map(({ job: { name }, depth }) => [name, depth])).toEqual([
    ["jobs/1-1", 0],
    ["jobs/1-2", 1],
    ["jobs/1-4", 1],
    ["jobs/1-3", 0],
    ["jobs/1-5", 0],
  ]);
});

test("an operation shows the state that says most, and is running between two of its jobs", () => {
  const lines = (...states: JobState[]) => states.map((state, index) => lineOf(job(`jobs/1-${index + 1}`, { state })));
  expect(stateOf(lines(JobState.COMPLETED, JobState.PENDING))).toBe(JobState.RUNNING);
  expect(stateOf(lines(JobState.COMPLETED, JobState.RUNNING, JobState.PENDING))).toBe(JobState.RUNNING);
  expect(stateOf(lines(JobState.ABORTED, JobState.FAILED))).toBe(JobState.FAILED);
  expect(stateOf(lines(JobState.FAILED, JobState.ROLLBACK_FAILED))).toBe(JobState.ROLLBACK_FAILED);
  expect(stateOf(lines(JobState.COMPLETED))).toBe(JobState.COMPLETED);
});

test("how far an operation is comes of the last word of the service, whatever its jobs add up to", () => {
  const says = (percent: number, seconds: number) => ({ operationProgress: { percent, updateTime: { seconds: BigInt(seconds), nanos: 0 } } }) as never;
  const own = (percent: number) => ({ progress: { percent } }) as never;
  const lines = [job("jobs/1-1", own(100)), job("jobs/1-2", says(25, 10)), job("jobs/1-3", says(61, 12)), job("jobs/1-4", says(3, 1))].map(lineOf);
  expect(percentOf(lines)).toBe(61);
  // On the way back it falls, and the last word is still the right one.
  expect(percentOf([...lines, lineOf(job("jobs/1-5", says(40, 13)))])).toBe(40);
  expect(percentOf([job("jobs/1-1", own(100)), job("jobs/1-2", own(20))].map(lineOf))).toBe(100);
});

test("a hundred thousand jobs are taken in and laid out without walking the list for each", () => {
  const list = new JobList();
  const like = lineOf(job("jobs/1-1"));
  for (let index = 0; index < 100_000; index += 1) {
    const number = 20_000 - Math.floor(index / 5);
    list.put({ ...like, name: `jobs/${number}-${(index % 5) + 1}`, operation: `operations/${number}` });
  }
  // A walk for each of them would outlast the test's time by far.
  expect(list.rows(() => true, true)).toHaveLength(120_000);
});
