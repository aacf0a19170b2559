// The operations that have not ended, made of their jobs that have not.
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { JobState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { jobNumber } from "./operation";
import { lastWord } from "./operation-progress";

/** An operation that is under way, as a pane shows it. */
export interface OpenOperation {
  /** The resource name, as operations/12. */
  readonly name: string;
  /** What people call it: "Create Virtual Machine". */
  readonly title: string;
  readonly principal: string;
  /** How far it is, from 0 to 100. */
  readonly percent: number;
  /** When it is expected to end, if the service can tell. */
  readonly expectedEnd: Timestamp | undefined;
  /** The job that people would look at now: the first that runs, else the first that waits. */
  readonly current: Job;
  /** Its jobs that have not ended, in the order of the plan. */
  readonly jobs: readonly Job[];
  /** The number of its jobs, as far as it can be told. */
  readonly total: number;
}

export function openOperations(
  items: ReadonlyMap<string, Job>,
  last: readonly OpenOperation[],
): readonly OpenOperation[] {
  const before = new Map(last.map((each) => [each.name, each]));
  const grouped = new Map<string, Job[]>();
  for (const job of items.values()) {
    const there = grouped.get(job.operation);
    if (there) there.push(job);
    else grouped.set(job.operation, [job]);
  }
  const found = [...grouped].map(([name, jobs]) => openOperation(name, jobs, before.get(name)));
  return found.sort((a, b) => numberOf(b.name) - numberOf(a.name));
}

function openOperation(name: string, jobs: Job[], last: OpenOperation | undefined): OpenOperation {
  jobs.sort((a, b) => jobNumber(a.name) - jobNumber(b.name));
  if (last && last.jobs.length === jobs.length && jobs.every((job, index) => job === last.jobs[index])) return last;
  const first = jobs[0]!;
  // Jobs are numbered from 1, and those with a lower number that are not here have ended.
  const total = Math.max(jobNumber(jobs.at(-1)!.name), last?.total ?? 0);
  const word = lastWord(jobs.map((job) => job.operationProgress));
  return {
    name,
    title: first.reasonTrail.find((hop) => hop.source === name)?.reason || first.title,
    principal: first.principal,
    percent: word?.percent ?? 0,
    expectedEnd: word?.expectedEndTime,
    current: jobs.find(isMoving) ?? first,
    jobs,
    total,
  };
}

function isMoving(job: Job): boolean {
  return job.state === JobState.RUNNING || job.state === JobState.ROLLING_BACK;
}

function numberOf(operation: string): number {
  return Number(operation.slice(operation.indexOf("/") + 1));
}
