// The timeline of an operation as geometry: a lane for each job, with what it waited for and how long it worked.
import { JobState, StepState, type Job, type Step } from "../api/virtyard/api/jobs/v1/job_pb";
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

/** One step in a lane's strip, done or undone: when, in milliseconds since 1970, and how far it is, from 0 to 1. */
export interface StepBar {
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
  readonly steps: readonly StepBar[];
  /** How many of the job's steps are done, and how many it has. */
  readonly count: readonly [done: number, all: number];
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
  const wait = waitOf(jobs, created);
  const lanes = treeOf(jobs.map((job) => ({ name: job.name, parent: job.parentJob, job }))).map(({ job: { job }, depth }) => laneOf(job, depth, created, wait, begun, end));
  const place = new Map(lanes.map((lane, index) => [lane.name, index]));
  const marks = events.flatMap((event) => {
    const at = millisOf(event.createTime);
    return at === undefined ? [] : [{ at, type: event.type, message: event.message, lane: place.get(event.job) ?? 0 }];
  });
  // Events of the end come a moment after it.
  const latest = Math.max(end, ...marks.map((mark) => mark.at));
  return { from: created, to: Math.max(latest, created + 1), lanes, marks };
}

/** When an operation waited for its locks: of all its jobs at once, told by those of them that were written since. */
interface Wait {
  readonly asked: number;
  /** Undefined while they are not granted, and for records that do not have it. */
  readonly granted: number | undefined;
}

function waitOf(jobs: readonly Job[], created: number): Wait {
  const told = (of: (job: Job) => number | undefined): number | undefined => jobs.map(of).find((time) => time !== undefined);
  return { asked: told((job) => millisOf(job.lockRequestTime)) ?? created, granted: told((job) => millisOf(job.lockGrantTime)) };
}

function laneOf(job: Job, depth: number, created: number, wait: Wait, begun: number | undefined, end: number): Lane {
  const started = millisOf(job.startTime);
  const finished = millisOf(job.endTime);
  const stop = finished ?? (isOpen(job.state) || job.state === JobState.ROLLBACK_FAILED ? end : (started ?? end));
  const spans: Span[] = [];
  // Where it is not known when the locks were granted: that is just before the first job starts.
  const granted = Math.min(wait.granted ?? begun ?? stop, started ?? stop);
  const asked = Math.min(wait.asked, granted);
  if (asked > created) spans.push({ kind: "turn", from: created, to: asked });
  if (granted > asked) spans.push({ kind: "locks", from: asked, to: granted });
  if ((started ?? stop) > granted) spans.push({ kind: "turn", from: granted, to: started ?? stop });
  if (started !== undefined) spans.push({ kind: "work", from: started, to: Math.max(stop, started) });
  const steps = started === undefined ? [] : stepBars(job, started, Math.max(stop, started), end);
  const count = [job.steps.filter((step) => step.state === StepState.DONE).length, job.steps.length] as const;
  return { name: job.name, title: job.title, object: job.object, depth, look: jobLook(job.state), spans, steps, count };
}

/**
 * The steps of a job by their times, each followed by its undo; of a record that has none, side by side, each as wide as
 * its share of the work between `from` and `to`.
 *
 * @param end up to when what is under way is drawn.
 */
export function stepBars(job: Job, from: number, to: number, end: number): StepBar[] {
  if (job.steps.some((step) => step.startTime !== undefined)) return job.steps.flatMap((step) => barsOf(step, end));
  const total = job.steps.reduce((sum, step) => sum + (step.weight || 1), 0);
  let place = from;
  return job.steps.map((step) => {
    const next = place + ((step.weight || 1) / total) * (to - from);
    const bar = { title: step.title, look: stepLook(step.state), from: place, to: next, done: doneOf(step) };
    place = next;
    return bar;
  });
}

function barsOf(step: Step, end: number): StepBar[] {
  const { title } = step;
  const bars: StepBar[] = [];
  const begun = millisOf(step.startTime);
  const undone = millisOf(step.undoStartTime);
  // What was undone was done, or left something, before that.
  const look = stepLook(undone === undefined ? step.state : StepState.DONE);
  if (begun !== undefined) bars.push({ title, look, from: begun, to: millisOf(step.endTime) ?? undone ?? end, done: undone === undefined ? doneOf(step) : 1 });
  if (undone !== undefined) bars.push({ title, look: stepLook(step.state), from: undone, to: millisOf(step.undoEndTime) ?? end, done: 1 });
  return bars;
}

/** How much of a step's bar is filled: a failed one in full, as it is over. */
function doneOf(step: Step): number {
  return step.state === StepState.STARTED || step.state === StepState.PENDING ? (step.progress?.percent ?? 0) / 100 : step.state === StepState.SKIPPED ? 0 : 1;
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
