// What can be watched: each source is a request to its service, and how its frames become what a hook hands out.
import { create } from "@bufbuild/protobuf";
import type { Operation } from "../api/google/longrunning/operations_pb";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import {
  WatchEventsRequestSchema,
  WatchObjectsRequestSchema,
  type WatchEventsRequest,
  type WatchEventsResponse,
  type WatchObjectsRequest,
  type WatchObjectsResponse,
} from "../api/virtyard/api/inventory/v1/inventory_service_pb";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import {
  WatchJobSummaryRequestSchema,
  WatchJobsRequestSchema,
  WatchOperationRequestSchema,
  type WatchJobSummaryRequest,
  type WatchJobSummaryResponse,
  type WatchJobsRequest,
  type WatchJobsResponse,
  type WatchOperationRequest,
  type WatchOperationResponse,
} from "../api/virtyard/api/jobs/v1/job_service_pb";
import type { JobSummary } from "../api/virtyard/api/jobs/v1/operation_pb";
import {
  WatchLocksRequestSchema,
  type Lock,
  type WatchLocksRequest,
  type WatchLocksResponse,
} from "../api/virtyard/api/locks/v1/lock_service_pb";
import { byTitle } from "./by-title";
import type { AnyObject, Collection } from "./kinds";
import { locksByObject, NO_LOCKS, type Locks } from "./locks";
import { NO_OPEN_EVENTS, OPEN_EVENTS_FILTER, openEvents, type OpenEvents } from "./open-events";
import { openOperations, type OpenOperation } from "./open-operations";
import { watchedOperation, type WatchedOperation } from "./operation";
import { Topic, type Frame } from "./topic";

/** The request of a subscription, as the gateway's `Subscription.source` has it. */
export type SourceRequest =
  | { case: "objects"; value: WatchObjectsRequest }
  | { case: "jobs"; value: WatchJobsRequest }
  | { case: "operation"; value: WatchOperationRequest }
  | { case: "locks"; value: WatchLocksRequest }
  | { case: "events"; value: WatchEventsRequest }
  | { case: "jobSummary"; value: WatchJobSummaryRequest };

/** A frame of a subscription, as the gateway's `WatchResponse.frame` has it. */
export type SourceFrame =
  | { case: "objects"; value: WatchObjectsResponse }
  | { case: "jobs"; value: WatchJobsResponse }
  | { case: "operation"; value: WatchOperationResponse }
  | { case: "locks"; value: WatchLocksResponse }
  | { case: "events"; value: WatchEventsResponse }
  | { case: "jobSummary"; value: WatchJobSummaryResponse };

/** Something to watch; sources of one key share one subscription. */
export interface Source<Value> {
  readonly key: string;
  /** What people call it, where it is not live. */
  readonly label: string;
  request(): SourceRequest;
  topic(): SourceTopic<Value>;
}

/** A topic that takes the frames of its source as they come. */
export interface SourceTopic<Value> extends Pick<Topic<unknown, Value>, "read" | "setState"> {
  take(frame: SourceFrame): boolean;
}

const BATCHED = { options: { batch: true } };

/** The objects of a collection that a filter lets pass, by display name. */
export function objectsSource(collection: Collection, filter = ""): Source<readonly AnyObject[]> {
  const whole = `kind = "${collection}"${filter && ` AND (${filter})`}`;
  return {
    key: `objects ${whole}`,
    label: collection,
    request: () => ({ case: "objects", value: create(WatchObjectsRequestSchema, { ...BATCHED, filter: whole }) }),
    topic: () => taking(new Topic<AnyObject, readonly AnyObject[]>(byTitle, []), objectFrames),
  };
}

/** The jobs of all operations that have not ended, as operations. */
export const openOperationsSource: Source<readonly OpenOperation[]> = {
  key: "open operations",
  label: "jobs",
  request: () => ({ case: "jobs", value: create(WatchJobsRequestSchema, { ...BATCHED, filter: "done = false" }) }),
  topic: () => taking(new Topic<Job, readonly OpenOperation[]>(openOperations, []), jobFrames),
};

/** The live jobs that a filter lets pass, the newest operation first. */
export function jobsSource(filter: string): Source<readonly Job[]> {
  return {
    key: `jobs ${filter}`,
    label: "jobs",
    request: () => ({ case: "jobs", value: create(WatchJobsRequestSchema, { ...BATCHED, filter }) }),
    topic: () => taking(new Topic<Job, readonly Job[]>(newestFirst, []), jobFrames),
  };
}

/** One operation with its jobs. */
export function operationSource(name: string): Source<WatchedOperation | undefined> {
  return {
    key: `operation ${name}`,
    label: name,
    request: () => ({ case: "operation", value: create(WatchOperationRequestSchema, { ...BATCHED, name }) }),
    topic: () =>
      taking(new Topic<Operation | Job, WatchedOperation | undefined>(watchedOperation, undefined), operationFrames),
  };
}

/** All locks, by the object that they are on. */
export const locksSource: Source<Locks> = {
  key: "locks",
  label: "locks",
  request: () => ({ case: "locks", value: create(WatchLocksRequestSchema, BATCHED) }),
  topic: () => taking(new Topic<Lock, Locks>(locksByObject, NO_LOCKS), lockFrames),
};

/** The latest events that a filter lets pass, the newest first. */
export function eventsSource(filter: string): Source<readonly Event[]> {
  return {
    ...eventRequest(filter),
    key: `events ${filter}`,
    topic: () => taking(new Topic<Event, readonly Event[]>(newestFirst, []), eventFrames),
  };
}

/** The open events of weight. */
export const openEventsSource: Source<OpenEvents> = {
  ...eventRequest(OPEN_EVENTS_FILTER),
  key: "open events",
  topic: () => taking(new Topic<Event, OpenEvents>(openEvents, NO_OPEN_EVENTS), eventFrames),
};

/** The six counters. */
export const jobSummarySource: Source<JobSummary | undefined> = {
  key: "job summary",
  label: "job summary",
  request: () => ({ case: "jobSummary", value: create(WatchJobSummaryRequestSchema, {}) }),
  topic: () => taking(new Topic<JobSummary, JobSummary | undefined>((items) => items.get(""), undefined), summaryFrames),
};

function eventRequest(filter: string): Pick<Source<never>, "label" | "request"> {
  return {
    label: "events",
    request: () => ({ case: "events", value: create(WatchEventsRequestSchema, { filter }) }),
  };
}

function taking<Item, Value>(
  topic: Topic<Item, Value>,
  framesOf: (frame: SourceFrame) => Frame<Item>[],
): SourceTopic<Value> {
  return {
    read: () => topic.read(),
    setState: (state, error) => topic.setState(state, error),
    take(frame) {
      let news = false;
      for (const each of framesOf(frame)) news = topic.apply(each) || news;
      return news;
    },
  };
}

function objectFrames(frame: SourceFrame): Frame<AnyObject>[] {
  if (frame.case !== "objects") return [];
  return [frame.value, ...frame.value.further].map(({ kind, name, object }) => ({
    kind,
    name,
    item: object?.object.value,
  }));
}

function jobFrames(frame: SourceFrame): Frame<Job>[] {
  if (frame.case !== "jobs") return [];
  return [frame.value, ...frame.value.further].map(({ kind, name, job }) => ({ kind, name, item: job }));
}

function operationFrames(frame: SourceFrame): Frame<Operation | Job>[] {
  if (frame.case !== "operation") return [];
  return [frame.value, ...frame.value.further].map(({ kind, name, item }) => ({ kind, name, item: item.value }));
}

function lockFrames(frame: SourceFrame): Frame<Lock>[] {
  if (frame.case !== "locks") return [];
  return [frame.value, ...frame.value.further].map(({ kind, name, lock }) => ({ kind, name, item: lock }));
}

function eventFrames(frame: SourceFrame): Frame<Event>[] {
  if (frame.case !== "events") return [];
  const { kind, name, event } = frame.value;
  return [{ kind, name, item: event }];
}

function summaryFrames(frame: SourceFrame): Frame<JobSummary>[] {
  if (frame.case !== "jobSummary") return [];
  const { kind, summary } = frame.value;
  // The counters have no name; a first frame of them is a whole snapshot.
  return [{ kind, name: "", item: summary }];
}

const MOST_SHOWN = 1000;

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

function newestFirst<Item extends { name: string }>(items: ReadonlyMap<string, Item>): readonly Item[] {
  return [...items.values()].sort((a, b) => collator.compare(b.name, a.name)).slice(0, MOST_SHOWN);
}
