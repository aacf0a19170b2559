// What the abort of one job leaves: the jobs that end by it, and those that have not ended and go on.
import { JobState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";

const GOING_BACK: ReadonlySet<JobState> = new Set([JobState.ROLLING_BACK, JobState.ROLLBACK_FAILED]);

/** Parts the jobs of an operation by the names of those that an abort ends, both in the order of the plan. */
export function endingOf(names: readonly string[], jobs: readonly Job[]): { ending: Job[]; goingOn: Job[] } {
  const ended = new Set(names);
  return {
    ending: jobs.filter((job) => ended.has(job.name)),
    goingOn: jobs.filter((job) => !ended.has(job.name) && !job.done && !job.abortRequested && !GOING_BACK.has(job.state)),
  };
}

/** Whether a job can be aborted by itself: it is one of several, and nobody has asked for that yet. */
export function canBeAborted(job: Job, jobs: readonly Job[]): boolean {
  return jobs.length > 1 && !job.done && !job.abortRequested && !GOING_BACK.has(job.state);
}
