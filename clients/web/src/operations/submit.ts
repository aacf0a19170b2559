// Asking for an operation, or for its plan; the answer comes as soon as the plan is durable.
import { createRegistry, type Message } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "../api/google/longrunning/operations_pb";
import { OperationMetadataSchema, type OperationMetadata } from "../api/virtyard/api/jobs/v1/operation_pb";
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
  const answer = (await callUnary(operation.method, request)) as Operation;
  const metadata = answer.metadata && anyUnpack(answer.metadata, METADATA);
  if (!metadata) throw new Error("the operation was answered without its metadata");
  return { name: answer.name, metadata: metadata as OperationMetadata };
}
