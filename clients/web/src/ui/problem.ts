// What went wrong, as a person wants it told: from the typed details of an error, whichever way it came.
import { ConnectError, Code } from "@connectrpc/connect";
import { createRegistry } from "@bufbuild/protobuf";
import { anyUnpack, type Any } from "@bufbuild/protobuf/wkt";
import { BadRequestSchema, ErrorInfoSchema, ResourceInfoSchema, RetryInfoSchema } from "../api/google/rpc/error_details_pb";
import type { Status } from "../api/google/rpc/status_pb";
import { LockInfoSchema } from "../api/virtyard/api/type/v1/lock_pb";

/** An error in the parts that a person reads. */
export interface Problem {
  /** The sentence that says what is wrong. */
  message: string;
  /** The reason in UPPER_SNAKE, as ETAG_MISMATCH; the name of the gRPC code where none was given. */
  reason: string;
  /** The resource name of what it is about; empty if it is about none. */
  resource: string;
  /** The fields that are wrong, each with what is allowed. */
  fields: { field: string; description: string }[];
  /** Who holds what is wanted. */
  holders: { object: string; holder: string; purpose: string }[];
  /** After how many seconds it may be tried again; undefined if nothing was said of that. */
  retrySeconds: number | undefined;
}

const DETAILS = createRegistry(ErrorInfoSchema, ResourceInfoSchema, BadRequestSchema, RetryInfoSchema, LockInfoSchema);

/** The parts of anything that was thrown. */
export function problemOf(error: unknown): Problem {
  const failed = ConnectError.from(error);
  const problem: Problem = { ...empty(), message: failed.rawMessage || "The control plane cannot be reached.", reason: Code[failed.code].toUpperCase() };
  for (const info of failed.findDetails(ErrorInfoSchema)) problem.reason = info.reason;
  for (const info of failed.findDetails(ResourceInfoSchema)) problem.resource = info.resourceName;
  for (const bad of failed.findDetails(BadRequestSchema)) problem.fields.push(...bad.fieldViolations);
  for (const lock of failed.findDetails(LockInfoSchema)) problem.holders.push(lock);
  for (const retry of failed.findDetails(RetryInfoSchema)) problem.retrySeconds = Number(retry.retryDelay?.seconds ?? 0n);
  return problem;
}

/** The parts of a status that is kept with a job, a step or an event. */
export function problemOfStatus(status: Status): Problem {
  const problem: Problem = { ...empty(), message: status.message };
  for (const detail of status.details) read(problem, detail);
  return problem;
}

function read(problem: Problem, detail: Any): void {
  const message = anyUnpack(detail, DETAILS);
  if (message?.$typeName === "google.rpc.ErrorInfo") problem.reason = (message as { reason?: string }).reason ?? "";
  if (message?.$typeName === "google.rpc.ResourceInfo") problem.resource = (message as { resourceName?: string }).resourceName ?? "";
}

function empty(): Problem {
  return { message: "", reason: "", resource: "", fields: [], holders: [], retrySeconds: undefined };
}
