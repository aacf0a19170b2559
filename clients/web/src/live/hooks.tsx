// Hooks over the live store. Each screen says what it looks at; all of it comes over one stream.
import { createContext, use, useCallback, useMemo, useSyncExternalStore, type ReactNode } from "react";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import type { JobSummary } from "../api/virtyard/api/jobs/v1/operation_pb";
import type { Lock } from "../api/virtyard/api/locks/v1/lock_service_pb";
import { collectionOf, idOf, titleOf, type AnyObject, type Collection, type ObjectOf } from "./kinds";
import type { Locks } from "./locks";
import type { OpenEvents } from "./open-events";
import type { OpenOperation } from "./open-operations";
import type { WatchedOperation } from "./operation";
import {
  eventsSource,
  jobsSource,
  jobSummarySource,
  locksSource,
  objectsSource,
  openEventsSource,
  openOperationsSource,
  operationSource,
  type Source,
} from "./sources";
import { type LiveStatus, LiveStore } from "./store";
import type { Live } from "./topic";

const StoreContext = createContext<LiveStore | undefined>(undefined);

/** Hands the tab's store to everything inside. */
export function LiveProvider({ store, children }: { store: LiveStore; children: ReactNode }) {
  return <StoreContext value={store}>{children}</StoreContext>;
}

function useStore(): LiveStore {
  const store = use(StoreContext);
  if (!store) throw new Error("there is no LiveProvider above this component");
  return store;
}

function useSource<Value>(source: Source<Value>): Live<Value> {
  const store = useStore();
  const subscribe = useCallback((listener: () => void) => store.subscribe(source, listener), [store, source]);
  return useSyncExternalStore(subscribe, () => store.read(source));
}

/**
 * All objects of a collection by display name, kept current. The tree keeps pools, servers, machines, repositories and
 * networks; a filter (AIP-160 over name, display_name, state and labels) keeps others small.
 */
export function useObjects<C extends Collection>(collection: C, filter = ""): Live<readonly ObjectOf<C>[]> {
  const source = useMemo(() => objectsSource(collection, filter), [collection, filter]);
  return useSource(source) as Live<readonly ObjectOf<C>[]>;
}

/** One object by its resource name; undefined while it is not there. */
export function useObject(name: string): Live<AnyObject | undefined> {
  const source = useMemo(() => objectsSource(collectionOf(name), `name = "${name}"`), [name]);
  const found = useSource(source);
  return useMemo(() => ({ ...found, value: found.value[0] }), [found]);
}

/** What people call the object of a name: its display name where the tree knows it, else its id. */
export function useTitle(name: string): string {
  const store = useStore();
  const source = useMemo(() => objectsSource(collectionOf(name)), [name]);
  const subscribe = useCallback(
    (listener: () => void) => (store.peek(source) ? store.subscribe(source, listener) : () => {}),
    [store, source],
  );
  return useSyncExternalStore(subscribe, () => {
    const object = store.peek(source)?.value.find((each) => each.name === name);
    return object ? titleOf(object) : idOf(name);
  });
}

/** The six counters over all live jobs; undefined until they are known. */
export function useJobSummary(): Live<JobSummary | undefined> {
  return useSource(jobSummarySource);
}

/** One operation with its jobs, as operations/12; undefined until it is known, or where it is in the archive. */
export function useOperation(name: string): Live<WatchedOperation | undefined> {
  const source = useMemo(() => operationSource(name), [name]);
  return useSource(source);
}

/** The operations that have not ended, the newest first. */
export function useOpenOperations(): Live<readonly OpenOperation[]> {
  return useSource(openOperationsSource);
}

/** All locks, held or waited for. */
export function useLocks(): Live<Locks> {
  return useSource(locksSource);
}

const NONE: readonly Lock[] = [];

/** The locks on one object; the component renders again only when these change. */
export function useLocksOf(name: string): readonly Lock[] {
  const store = useStore();
  const subscribe = useCallback((listener: () => void) => store.subscribe(locksSource, listener), [store]);
  return useSyncExternalStore(subscribe, () => store.read(locksSource).value.byObject.get(name) ?? NONE);
}

const NO_EVENTS: Live<readonly Event[]> = { value: [], ready: false, state: "ended", error: undefined };

/** The latest events that an AIP-160 filter lets pass, at most 1000, the newest first; without a filter nothing is watched. */
export function useEvents(filter: string | undefined): Live<readonly Event[]> {
  const store = useStore();
  const source = useMemo(() => (filter === undefined ? undefined : eventsSource(filter)), [filter]);
  const subscribe = useCallback((listener: () => void) => (source ? store.subscribe(source, listener) : () => {}), [store, source]);
  return useSyncExternalStore(subscribe, () => (source ? store.read(source) : NO_EVENTS));
}

/** The live jobs that an AIP-160 filter lets pass, at most 1000, the newest operation first. */
export function useJobs(filter: string): Live<readonly Job[]> {
  const source = useMemo(() => jobsSource(filter), [filter]);
  return useSource(source);
}

/** The open events of the site: how many, and how grave. */
export function useOpenEvents(): OpenEvents {
  return useSource(openEventsSource).value;
}

/** The worst open event of one object; the component renders again only when it is another one. */
export function useWorstEvent(name: string): Event | undefined {
  const store = useStore();
  const subscribe = useCallback((listener: () => void) => store.subscribe(openEventsSource, listener), [store]);
  return useSyncExternalStore(subscribe, () => store.read(openEventsSource).value.byObject.get(name));
}

/** Whether what is shown is current, and since when it is or is not. */
export function useLive(): LiveStatus {
  const store = useStore();
  const subscribe = useCallback((listener: () => void) => store.subscribeStatus(listener), [store]);
  return useSyncExternalStore(subscribe, () => store.status());
}
