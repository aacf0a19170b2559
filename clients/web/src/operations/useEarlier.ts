// The request of an earlier operation, read from its record.
import type { Message } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { useEffect, useState } from "react";
import { OperationMetadataSchema } from "../api/virtyard/api/jobs/v1/operation_pb";
import { longrunning } from "../client/services";
import type { Catalogue, OperationType } from "../forms/catalogue";
import { problemOf, type Problem } from "../ui/problem";

/** What came of reading it. */
export interface Earlier {
  request: Message | undefined;
  problem: Problem | undefined;
  loading: boolean;
}

const NONE: Earlier = { request: undefined, problem: undefined, loading: false };

/** The request of an operation by its name; nothing is read while the name is empty. */
export function useEarlier(catalogue: Catalogue, operation: OperationType, name: string): Earlier {
  const [read, setRead] = useState<Earlier & { name: string }>({ ...NONE, name: "" });
  useEffect(() => {
    if (!name) return undefined;
    const abort = new AbortController();
    requestOf(catalogue, operation, name, abort.signal).then(
      (request) => setRead({ ...NONE, request, name }),
      (error: unknown) => abort.signal.aborted || setRead({ ...NONE, problem: problemOf(error), name }),
    );
    return () => abort.abort();
  }, [catalogue, operation, name]);
  return read.name === name ? read : { ...NONE, loading: true };
}

async function requestOf(catalogue: Catalogue, operation: OperationType, name: string, signal: AbortSignal): Promise<Message> {
  const { metadata } = await longrunning.getOperation({ name }, { signal });
  const packed = metadata && anyUnpack(metadata, OperationMetadataSchema)?.request;
  const request = packed && anyUnpack(packed, catalogue.registry);
  if (request?.$typeName !== operation.method.input.typeName) throw new Error(`${name} was not to ${operation.title}`);
  return request;
}
