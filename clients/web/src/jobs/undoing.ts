// What an abort would undo: from what is done by now, and what the plan has an undo for.
import { StepState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";
import type { Plan } from "../api/virtyard/api/jobs/v1/plan_pb";
import { AbortResult } from "../api/virtyard/api/jobs/v1/job_control_pb";
import { idOf } from "../live";

/** A step that would be undone. */
export interface Undo {
  readonly job: string;
  readonly title: string;
  /** True while it is still under way: it is stopped first. */
  readonly underWay: boolean;
}

/** The steps that would be undone, in the order of the undoing: the last one first. */
export function undosOf(jobs: readonly Job[], plan: Plan | undefined): Undo[] {
  const found: Undo[] = [];
  for (const job of jobs) {
    const planned = plan?.jobs.find((each) => each.id === idOf(job.name).split("-")[1]);
    for (const step of job.steps) {
      const isBegun = step.state === StepState.DONE || step.state === StepState.STARTED;
      const isUndoable = !planned || planned.steps.find((each) => each.id === step.id)?.undo !== undefined;
      if (isBegun && isUndoable) found.push({ job: job.title, title: step.title, underWay: step.state === StepState.STARTED });
    }
  }
  return found.reverse();
}

const RESULTS: Partial<Record<AbortResult, string>> = {
  [AbortResult.WOULD_ABORT]: "will be aborted",
  [AbortResult.ABORTING]: "is being aborted",
  [AbortResult.ALREADY_ABORTING]: "is being aborted already",
  [AbortResult.TOO_LATE]: "goes on: its point of no return has passed",
  [AbortResult.ROLLING_BACK]: "is going back already",
  [AbortResult.NOT_RUN_YET]: "is being adopted after a restart; try again in a moment",
};

/** What an abort comes to for a job, as people read it. */
export const resultWords = (result: AbortResult): string => RESULTS[result] ?? "";
