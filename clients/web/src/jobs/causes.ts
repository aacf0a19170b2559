// What led to the error of an operation or of a job: the jobs below that failed, and beneath each the steps that did.
import type { Job, Step } from "../api/virtyard/api/jobs/v1/job_pb";
import { problemOfStatus } from "../ui/problem";
import type { Cause } from "../ui/ProblemChain";

/** The causes of an operation's error. */
export function causesOf(jobs: readonly Job[]): Cause[] {
  const failed = jobs.filter(hasFailed);
  const names = new Set(failed.map((job) => job.name));
  return failed.filter((job) => !names.has(job.parentJob)).map((job) => causeOf(job, failed));
}

/** The causes of one job's error. */
export function causesOfJob(job: Job, jobs: readonly Job[]): readonly Cause[] {
  return causeOf(job, jobs.filter(hasFailed)).causes;
}

/** The object of the job that failed first of all; empty if that cannot be told. */
export function failedObject(jobs: readonly Job[]): string {
  return jobs.find((job) => job.error?.code && !job.cause)?.object ?? "";
}

function causeOf(job: Job, failed: readonly Job[]): Cause {
  const below = failed.filter((each) => each.parentJob === job.name).map((each) => causeOf(each, failed));
  const steps = job.steps.filter((step) => step.error?.code).map(causeOfStep);
  return { title: `${job.name} ${job.title} on`, resource: job.object, problem: job.error?.code ? problemOfStatus(job.error) : undefined, causes: [...below, ...steps] };
}

function causeOfStep(step: Step): Cause {
  return { title: `step ${step.id}, ${step.title}, by`, resource: step.participant, problem: step.error && problemOfStatus(step.error), causes: [] };
}

function hasFailed(job: Job): boolean {
  return Boolean(job.error?.code) || job.steps.some((step) => step.error?.code);
}
