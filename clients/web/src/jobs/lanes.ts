// The timeline of an operation as geometry: a lane for each job, with what it waited for and how long it worked.
import { JobState, StepState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { millisOf } from "../ui/moments";
import { isOpen, jobLook, stepLook } from "./states";
import { treeOf } from "./job-list";
import type { Look } from "../ui/looks";

/** A stretch of time in a lane, in milliseconds since 1970. */
export interface Span {
  readonly kind: "locks" | "turn" | "work";
  readonly from: number;
  readonly to: number;
}

/** One step in a lane's strip: its share of the job's work, from 0 to 1, and how far it is. */
export interface StepShare {
  readonly title: string;
  readonly look: Look;
  readonly from: number;
  readonly to: number;
  readonly done: number;
}

/** One job's lane. */
export interface Lane {
  readonly name: string;
  readonly title: string;
  readonly object: string;
  readonly depth: number;
  readonly look: Look;
  readonly spans: readonly Span[];
  readonly steps: readonly StepShare[];
}

/** A moment that the event log has of the operation. */
export interface Mark {
  readonly at: number;
  readonly type: string;
  readonly message: string;
  readonly lane: number;
}

/** What is drawn. */
export interface Timeline {
  readonly from: number;
  readonly to: number;
  readonly lanes: readonly Lane[];
  readonly marks: readonly Mark[];
}

/**
 * The timeline of an operation.
 *
 * @param created when it was accepted.
 * @param ended when it ended; undefined while it has not.
 * @param now the present time, up to which open jobs are drawn.
 */
export function timelineOf(jobs: readonly Job[], events: readonly Event[], created: number, ended: number | undefined, now: number): Timeline {
  const starts = jobs.map((job) => millisOf(job.startTime)).filter((time) => time !== undefined);
  const begun = starts.length > 0 ? Math.min(...starts) : undefined;
  const end = ended ?? now;
  const lanes = treeOf(jobs.map((job) => ({ name: job.name, parent: job.parentJob, job }))).map(({ job: { job }, depth }) => laneOf(job, depth, created, begun, end));
  const place = new Map(lanes.map((lane, index) => [lane.name, index]));
  const marks = events.flatMap((event) => {
    const at = millisOf(event.createTime);
    return at === undefined ? [] : [{ at, type: event.type, message: event.message, lane: place.get(event.job) ?? 0 }];
  });
  // Events of the end come a moment after it.
  const latest = Math.max(end, ...marks.map((mark) => mark.at));
  return { from: created, to: Math.max(latest, created + 1), lanes, marks };
}

function laneOf(job: Job, depth: number, created: number, begun: number | undefined, end: number): Lane {
  const started = millisOf(job.startTime);
  const finished = millisOf(job.endTime);
  const stop = finished ?? (isOpen(job.state) || job.state === JobState.ROLLBACK_FAILED ? end : (started ?? end));
  const spans: Span[] = [];
  // All locks are granted at once, just before the first job starts.
  const granted = Math.min(begun ?? stop, started ?? stop);
  if (granted > created) spans.push({ kind: "locks", from: created, to: granted });
  if ((started ?? stop) > granted) spans.push({ kind: "turn", from: granted, to: started ?? stop });
  if (started !== undefined) spans.push({ kind: "work", from: started, to: Math.max(stop, started) });
  return { name: job.name, title: job.title, object: job.object, depth, look: jobLook(job.state), spans, steps: stepShares(job) };
}

/** The steps of a job side by side, each as wide as its share of the work. */
export function stepShares(job: Job): StepShare[] {
  const total = job.steps.reduce((sum, step) => sum + (step.weight || 1), 0);
  let from = 0;
  return job.steps.map((step) => {
    const to = from + (step.weight || 1) / total;
    const done = step.state === StepState.DONE ? 1 : (step.progress?.percent ?? 0) / 100;
    const share = { title: step.title, look: stepLook(step.state), from, to, done };
    from = to;
    return share;
  });
}

/** Round moments for the axis, at most `most` of them, as milliseconds after the beginning. */
export function ticksOf(length: number, most: number): number[] {
  const units = [1, 2, 5, 10, 20, 50, 100, 200, 500];
  const seconds = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400].map((each) => each * 1000);
  const step = [...units, ...seconds].find((each) => length / each <= most) ?? Math.ceil(length / most / 86_400_000) * 86_400_000;
  const ticks: number[] = [];
  for (let tick = 0; tick <= length; tick += step) ticks.push(tick);
  return ticks;
}
