// What went wrong, as a person wants it told: from the typed details of an error, whichever way it came.
import { createRegistry, getOption, hasOption, type Message } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { Code } from "../api/google/rpc/code_pb";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
  type BadRequest,
  type ErrorInfo,
  type ResourceInfo,
  type RetryInfo,
} from "../api/google/rpc/error_details_pb";
import type { Status } from "../api/google/rpc/status_pb";
import { ErrorReasonSchema, remedy, type Remedy } from "../api/virtyard/api/type/v1/error_reason_pb";
import { LockInfoSchema, type LockInfo } from "../api/virtyard/api/type/v1/lock_pb";

/** An error in the parts that a person reads. */
export interface Problem {
  /** The sentence that says what is wrong. */
  message: string;
  /** The reason in UPPER_SNAKE, as ETAG_MISMATCH; the name of the gRPC code where none was given. */
  reason: string;
  /** The name of the gRPC code, as FAILED_PRECONDITION. */
  code: string;
  /** The resource name of what it is about; empty if it is about none. */
  resource: string;
  /** The fields that are wrong, each with what is allowed. */
  fields: { field: string; description: string }[];
  /** Who holds what is wanted, or waits for it. */
  holders: { object: string; holder: string; purpose: string; waiting: boolean }[];
  /** What the server said besides, for programs. */
  facts: [name: string, value: string][];
  /** After how many seconds it may be tried again; undefined if nothing was said of that. */
  retrySeconds: number | undefined;
}

/** The details that errors of the services have. */
export const DETAILS = createRegistry(ErrorInfoSchema, ResourceInfoSchema, BadRequestSchema, RetryInfoSchema, LockInfoSchema);

/** The parts of anything that was thrown. */
export function problemOf(error: unknown): Problem {
  const failed = ConnectError.from(error);
  return assemble(failed.rawMessage || "The control plane cannot be reached.", failed.code, failed.findDetails(DETAILS));
}

/** The parts of a status that is kept with an operation, a job, a step or an event. */
export function problemOfStatus(status: Status): Problem {
  return assemble(status.message, status.code, status.details.map((detail) => anyUnpack(detail, DETAILS)));
}

/** What to do about errors of a reason, as the API says it beside the reason; undefined where their message says it. */
export function remedyFor(reason: string): Remedy | undefined {
  const value = ErrorReasonSchema.values.find(({ name }) => name === `ERROR_REASON_${reason}`);
  return value && hasOption(value, remedy) ? getOption(value, remedy) : undefined;
}

function assemble(message: string, code: number, details: readonly (Message | undefined)[]): Problem {
  const name = Code[code] ?? "UNKNOWN";
  const problem: Problem = { message, reason: name, code: name, resource: "", fields: [], holders: [], facts: [], retrySeconds: undefined };
  for (const detail of details) if (detail) read(problem, detail);
  return problem;
}

function read(problem: Problem, detail: Message): void {
  switch (detail.$typeName) {
    case ErrorInfoSchema.typeName:
      problem.reason = (detail as ErrorInfo).reason || problem.reason;
      problem.facts = Object.entries((detail as ErrorInfo).metadata).sort();
      break;
    case ResourceInfoSchema.typeName:
      problem.resource ||= (detail as ResourceInfo).resourceName;
      break;
    case BadRequestSchema.typeName:
      problem.fields.push(...(detail as BadRequest).fieldViolations);
      break;
    case RetryInfoSchema.typeName:
      problem.retrySeconds = secondsOf(detail as RetryInfo);
      break;
    case LockInfoSchema.typeName:
      problem.holders.push(detail as LockInfo);
  }
}

function secondsOf({ retryDelay }: RetryInfo): number {
  return Number(retryDelay?.seconds ?? 0n) + (retryDelay?.nanos ?? 0) / 1e9;
}
