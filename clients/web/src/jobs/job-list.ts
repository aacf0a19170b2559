// The list of jobs as it is kept in the browser: operations, the newest first, each with the tree of its jobs.
//
// A row is a small value made once from a job, so that a hundred thousand of them fit; what is shown is the operations'
// rows, and below each one that is open its jobs.
import type { Job, OperationProgress } from "../api/virtyard/api/jobs/v1/job_pb";
import { HeldReason, JobState, Origin } from "../api/virtyard/api/jobs/v1/job_pb";
import { lastWord } from "../live/operation-progress";
import { millisOf } from "../ui/moments";

/** One job as a row shows it; times are milliseconds since 1970. */
export interface JobLine {
  readonly name: string;
  readonly operation: string;
  readonly operationTitle: string;
  readonly parent: string;
  readonly title: string;
  readonly object: string;
  readonly state: JobState;
  readonly percent: number;
  readonly operationProgress: OperationProgress | undefined;
  readonly stage: string;
  readonly principal: string;
  readonly reason: string;
  readonly origin: Origin;
  readonly priority: number;
  readonly waitingFor: string;
  readonly held: HeldReason;
  readonly contactLost: boolean;
  readonly archived: boolean;
  readonly created: number | undefined;
  readonly started: number | undefined;
  readonly ended: number | undefined;
}

/** What a row shows of a job. */
export function lineOf(job: Job): JobLine {
  return {
    name: job.name,
    operation: job.operation,
    operationTitle: job.reasonTrail.find((hop) => hop.source === job.operation)?.reason ?? "",
    parent: job.parentJob,
    title: job.title,
    object: job.object,
    state: job.state,
    percent: job.progress?.percent ?? 0,
    operationProgress: job.operationProgress,
    stage: job.progress?.stage ?? "",
    principal: job.principal,
    reason: job.reason,
    origin: job.origin,
    priority: job.priority,
    waitingFor: job.waitingFor,
    held: job.held,
    contactLost: job.contactLost,
    archived: job.archived,
    created: millisOf(job.createTime),
    started: millisOf(job.startTime),
    ended: millisOf(job.endTime),
  };
}

/** One operation with the jobs of it that are in the list. */
export interface OperationLine {
  readonly name: string;
  readonly number: number;
  jobs: JobLine[];
}

/** One line of what is shown. */
export type Row =
  | { readonly kind: "operation"; readonly operation: OperationLine; readonly open: boolean }
  /** `open` is undefined for a job that has no children here. */
  | { readonly kind: "job"; readonly job: JobLine; readonly depth: number; readonly open: boolean | undefined };

/** The number in the name of an operation, as 12 of operations/12. */
export const operationNumber = (name: string): number => Number(name.slice(name.indexOf("/") + 1));

/** The place of a job in its operation, as 3 of jobs/12-3. */
const jobNumber = (name: string): number => Number(name.slice(name.lastIndexOf("-") + 1));

/** The jobs and operations of a list; changes are made in place and `version` rises with each. */
export class JobList {
  /** Rises with every change. */
  version = 0;
  private readonly operations: OperationLine[] = [];
  private readonly byName = new Map<string, OperationLine>();
  private count = 0;
  // The rows of each operation as they were shown last: of a hundred thousand a change concerns a few.
  private readonly shown = new Map<OperationLine, readonly Row[]>();
  private shownBy: ((name: string) => boolean) | undefined;

  /** The number of jobs that are here. */
  get size(): number {
    return this.count;
  }

  /** Put a job in, or in the place of its earlier state. */
  put(line: JobLine): void {
    this.version += 1;
    const operation = this.operationOf(line.operation);
    this.shown.delete(operation);
    const last = operation.jobs.at(-1);
    if (!last || jobNumber(last.name) < jobNumber(line.name)) {
      operation.jobs.push(line);
      this.count += 1;
      return;
    }
    const place = operation.jobs.findIndex((each) => jobNumber(each.name) >= jobNumber(line.name));
    const isThere = operation.jobs[place]?.name === line.name;
    operation.jobs.splice(place, isThere ? 1 : 0, line);
    this.count += isThere ? 0 : 1;
  }

  /** Take a job out that matches no longer. */
  remove(operationName: string, name: string): void {
    const operation = this.byName.get(operationName);
    const place = operation?.jobs.findIndex((each) => each.name === name) ?? -1;
    if (!operation || place < 0) return;
    this.version += 1;
    this.count -= 1;
    this.shown.delete(operation);
    operation.jobs.splice(place, 1);
    if (operation.jobs.length > 0) return;
    this.byName.delete(operationName);
    this.operations.splice(this.operations.indexOf(operation), 1);
  }

  /** The operation of this name, if the list has jobs of it. */
  find(name: string): OperationLine | undefined {
    return this.byName.get(name);
  }

  /**
   * The rows to show, the newest operation first.
   *
   * @param isOpen whether an operation shows its jobs, and a job its children; another function where that has changed.
   * @param complete whether the list goes to its end; if not, the last operation may have more jobs and is left out.
   */
  rows(isOpen: (name: string) => boolean, complete: boolean): Row[] {
    if (isOpen !== this.shownBy) this.shown.clear();
    this.shownBy = isOpen;
    const rows: Row[] = [];
    const count = complete || this.operations.length === 1 ? this.operations.length : this.operations.length - 1;
    for (let place = 0; place < count; place += 1) {
      for (const row of this.rowsOf(this.operations[place] as OperationLine, isOpen)) rows.push(row);
    }
    return rows;
  }

  private rowsOf(operation: OperationLine, isOpen: (name: string) => boolean): readonly Row[] {
    const known = this.shown.get(operation);
    if (known) return known;
    const open = isOpen(operation.name);
    const rows: Row[] = [{ kind: "operation", operation, open }];
    if (open) addTree(rows, operation.jobs, isOpen);
    this.shown.set(operation, rows);
    return rows;
  }

  private operationOf(name: string): OperationLine {
    const found = this.byName.get(name);
    if (found) return found;
    const made: OperationLine = { name, number: operationNumber(name), jobs: [] };
    this.byName.set(name, made);
    let place = this.operations.length;
    if ((this.operations.at(-1)?.number ?? Infinity) < made.number) place = this.placeOf(made.number);
    this.operations.splice(place, 0, made);
    return made;
  }

  /** Where an operation of this number belongs, found by halves. */
  private placeOf(number: number): number {
    let low = 0;
    let high = this.operations.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.operations[middle] as OperationLine).number > number) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Add the rows of an operation's jobs: children below their parent, one whose parent is not here at the top. */
function addTree(rows: Row[], jobs: readonly JobLine[], isOpen: (name: string) => boolean): void {
  const parents = new Set(jobs.map((job) => job.parent));
  // What is deeper than this is below one that is closed.
  let shown = Infinity;
  for (const { job, depth } of treeOf(jobs)) {
    if (depth > shown) continue;
    const open = parents.has(job.name) ? isOpen(job.name) : undefined;
    shown = open === false ? depth : Infinity;
    rows.push({ kind: "job", job, depth, open });
  }
}

/** Jobs in the order of a tree, each with its depth, from 0. */
export function treeOf<J extends { readonly name: string; readonly parent: string }>(jobs: readonly J[]): { job: J; depth: number }[] {
  const here = new Set(jobs.map((job) => job.name));
  const children = new Map<string, J[]>();
  for (const job of jobs) {
    const parent = here.has(job.parent) ? job.parent : "";
    const siblings = children.get(parent);
    if (siblings) siblings.push(job);
    else children.set(parent, [job]);
  }
  const found: { job: J; depth: number }[] = [];
  const walk = (parent: string, depth: number): void => {
    for (const job of children.get(parent) ?? []) {
      found.push({ job, depth });
      walk(job.name, depth + 1);
    }
  };
  walk("", 0);
  return found;
}

const GRAVITY: readonly JobState[] = [
  JobState.ROLLBACK_FAILED,
  JobState.ROLLING_BACK,
  JobState.RUNNING,
  JobState.WAITING_FOR_LOCKS,
  JobState.FAILED,
  JobState.ABORTED,
  JobState.PENDING,
  JobState.COMPLETED,
];

/** The state that an operation's row shows: of its jobs' states the one that says most. */
export function stateOf(jobs: readonly JobLine[]): JobState {
  const states = new Set(jobs.map((job) => job.state));
  // Some jobs of it are done and others wait for their turn: it is under way, between two of them.
  if (states.has(JobState.COMPLETED) && states.has(JobState.PENDING) && states.size === 2) return JobState.RUNNING;
  return GRAVITY.find((state) => states.has(state)) ?? JobState.UNSPECIFIED;
}

/** How far an operation is, in per cent: as its open jobs say, and once it has ended as its first job does. */
export function percentOf(jobs: readonly JobLine[]): number {
  return lastWord(jobs.map((job) => job.operationProgress))?.percent ?? jobs[0]?.percent ?? 0;
}
