// The words and looks of the states of operations, jobs and steps; the words are the command line's.
import { HeldReason, JobState, Origin, StepState } from "../api/virtyard/api/jobs/v1/job_pb";
import { OperationState } from "../api/virtyard/api/jobs/v1/operation_pb";
import type { Look } from "../ui/looks";

const UNKNOWN: Look = { word: "unknown", tone: "quiet", sign: "dot" };

const JOB_LOOKS: Partial<Record<JobState, Look>> = {
  [JobState.PENDING]: { word: "pending", tone: "quiet", sign: "dot" },
  [JobState.WAITING_FOR_LOCKS]: { word: "waiting for locks", tone: "caution", sign: "lock" },
  [JobState.RUNNING]: { word: "running", tone: "active", sign: "run" },
  [JobState.ROLLING_BACK]: { word: "rolling back", tone: "undo", sign: "undo" },
  [JobState.COMPLETED]: { word: "completed", tone: "good", sign: "check" },
  [JobState.FAILED]: { word: "failed", tone: "bad", sign: "cross" },
  [JobState.ABORTED]: { word: "aborted", tone: "caution", sign: "stop" },
  [JobState.ROLLBACK_FAILED]: { word: "rollback failed", tone: "bad", sign: "alert" },
};

const OPERATION_LOOKS: Partial<Record<OperationState, Look>> = {
  [OperationState.ACTIVE]: { word: "active", tone: "active", sign: "run" },
  [OperationState.SUCCEEDED]: { word: "succeeded", tone: "good", sign: "check" },
  [OperationState.FAILED]: { word: "failed", tone: "bad", sign: "cross" },
  [OperationState.CANCELLED]: { word: "cancelled", tone: "caution", sign: "stop" },
  [OperationState.PARTIAL]: { word: "partial", tone: "caution", sign: "alert" },
};

const STEP_LOOKS: Partial<Record<StepState, Look>> = {
  [StepState.PENDING]: { word: "pending", tone: "quiet", sign: "dot" },
  [StepState.STARTED]: { word: "started", tone: "active", sign: "run" },
  [StepState.DONE]: { word: "done", tone: "good", sign: "check" },
  [StepState.FAILED]: { word: "failed", tone: "bad", sign: "cross" },
  [StepState.UNDOING]: { word: "undoing", tone: "undo", sign: "undo" },
  [StepState.UNDONE]: { word: "undone", tone: "quiet", sign: "undo" },
  [StepState.UNDO_FAILED]: { word: "undo failed", tone: "bad", sign: "alert" },
  [StepState.SKIPPED]: { word: "skipped", tone: "quiet", sign: "skip" },
};

export const jobLook = (state: JobState): Look => JOB_LOOKS[state] ?? UNKNOWN;
export const operationLook = (state: OperationState): Look => OPERATION_LOOKS[state] ?? UNKNOWN;
export const stepLook = (state: StepState): Look => STEP_LOOKS[state] ?? UNKNOWN;

/** The states by which a list of jobs can be narrowed, in the order of a job's life. */
export const JOB_STATES: readonly JobState[] = [
  JobState.PENDING,
  JobState.WAITING_FOR_LOCKS,
  JobState.RUNNING,
  JobState.ROLLING_BACK,
  JobState.COMPLETED,
  JobState.FAILED,
  JobState.ABORTED,
  JobState.ROLLBACK_FAILED,
];

/** States that people ask for together: those that a counter of the Job Summary pane stands for, and all that have not ended. */
export const STATE_GROUPS = {
  open: [JobState.PENDING, JobState.WAITING_FOR_LOCKS, JobState.RUNNING, JobState.ROLLING_BACK],
  pending: [JobState.PENDING, JobState.WAITING_FOR_LOCKS],
  inProgress: [JobState.RUNNING, JobState.ROLLING_BACK],
  failed: [JobState.FAILED, JobState.ROLLBACK_FAILED],
} as const satisfies Record<string, readonly JobState[]>;

/** States as the address of a list has them, as PENDING,WAITING_FOR_LOCKS. */
export const stateNames = (states: readonly JobState[]): string => states.map((state) => JobState[state]).join();

/** Whether a job of this state has not ended; one that could not be undone waits for a person. */
export function isOpen(state: JobState): boolean {
  return state === JobState.PENDING || state === JobState.WAITING_FOR_LOCKS || state === JobState.RUNNING || state === JobState.ROLLING_BACK;
}

const HELD: Partial<Record<HeldReason, string>> = {
  [HeldReason.POISON]: "set aside, as it brought the scheduler down again and again",
  [HeldReason.BROKEN]: "set aside, as a lock of it was broken",
  [HeldReason.FILTER]: "kept back by a filter",
  [HeldReason.PERSON]: "held by a person",
};

/** Why a job is set aside; empty while it is not. */
export const heldWords = (held: HeldReason): string => HELD[held] ?? "";

const ORIGINS: Partial<Record<Origin, string>> = {
  [Origin.PERSON]: "person",
  [Origin.EVENT]: "event",
  [Origin.SCHEDULE]: "schedule",
  [Origin.PARENT]: "parent job",
};

/** Who or what asked for a job. */
export const originWord = (origin: Origin): string => ORIGINS[origin] ?? "";
