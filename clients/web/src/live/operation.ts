// One operation as it is watched: the operation, its metadata, and its jobs in the order of the plan.
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "../api/google/longrunning/operations_pb";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { OperationMetadataSchema, type OperationMetadata } from "../api/virtyard/api/jobs/v1/operation_pb";

export interface WatchedOperation {
  readonly operation: Operation;
  readonly metadata: OperationMetadata;
  readonly jobs: readonly Job[];
}

export function watchedOperation(items: ReadonlyMap<string, Operation | Job>): WatchedOperation | undefined {
  let operation: Operation | undefined;
  const jobs: Job[] = [];
  for (const item of items.values()) {
    if (item.$typeName === "google.longrunning.Operation") operation = item;
    else jobs.push(item);
  }
  const metadata = operation?.metadata && anyUnpack(operation.metadata, OperationMetadataSchema);
  if (!operation || !metadata) return undefined;
  jobs.sort((a, b) => jobNumber(a.name) - jobNumber(b.name));
  return { operation, metadata, jobs };
}

/** The place of a job in its operation's plan, counted from 1: 3 of `jobs/12-3`. */
export function jobNumber(name: string): number {
  return Number(name.slice(name.lastIndexOf("-") + 1));
}
