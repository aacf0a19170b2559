// What screens use of the live watch: hooks over one store that one stream of this tab feeds.
export {
  LiveProvider,
  useEvents,
  useJobs,
  useJobSummary,
  useLive,
  useLocks,
  useLocksOf,
  useObject,
  useObjects,
  useOpenEvents,
  useOpenOperations,
  useOperation,
  useTitle,
  useWorstEvent,
} from "./hooks";
export { collectionOf, idOf, titleOf, type AnyObject, type Collection, type ObjectOf } from "./kinds";
export { locksItself, type Locks } from "./locks";
export type { OpenOperation } from "./open-operations";
export { jobNumber, type WatchedOperation } from "./operation";
export { lastWord } from "./operation-progress";
export type { OpenEvents } from "./open-events";
export type { LiveStatus } from "./store";
export type { Live } from "./topic";
