// Asking for an operation, or for its plan; the answer comes as soon as the plan is durable.
import { createRegistry, type Message } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "../api/google/longrunning/operations_pb";
import { OperationMetadataSchema, type OperationMetadata } from "../api/virtyard/api/jobs/v1/operation_pb";
import { JobService } from "../api/virtyard/api/jobs/v1/job_service_pb";
import { clientOf } from "../client/transport";
import type { OperationType } from "../forms/catalogue";
import { callUnary } from "./call";

/** What was answered: the operation, and what is known of it. */
export interface Submitted {
  name: string;
  metadata: OperationMetadata;
}

const METADATA = createRegistry(OperationMetadataSchema);

/** Submits a request; one with `validate_only` is answered with its plan and changes nothing. */
export async function submit(operation: OperationType, request: Message): Promise<Submitted> {
  const answer = isOwn(operation) ? ((await callUnary(operation.method, request)) as Operation) : await submitAny(operation, request);
  const metadata = answer.metadata && anyUnpack(answer.metadata, METADATA);
  if (!metadata) throw new Error("the operation was answered without its metadata");
  return { name: answer.name, metadata: metadata as OperationMetadata };
}

function isOwn(operation: OperationType): boolean {
  return operation.fullName.startsWith("virtyard.api.");
}

/** The way for operation types of other packages, whose services the gateway need not know. */
function submitAny(operation: OperationType, request: Message): Promise<Operation> {
  return clientOf(JobService).submitOperation({ request: anyPack(operation.method.input, request) });
}
