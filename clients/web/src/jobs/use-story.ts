// The whole story of one operation: live while it is under way, from the lists and the archive once it has ended.
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { useEffect, useMemo, useState } from "react";
import type { Operation } from "../api/google/longrunning/operations_pb";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { OperationMetadataSchema, type OperationMetadata } from "../api/virtyard/api/jobs/v1/operation_pb";
import { inventory, jobs as jobService, longrunning } from "../client/services";
import { jobNumber, useOperation } from "../live";
import { quoted } from "../ui/filter-text";
import { problemOf, type Problem } from "../ui/problem";

export interface Story {
  readonly operation: Operation;
  readonly metadata: OperationMetadata;
  /** In the order of the plan. */
  readonly jobs: readonly Job[];
  /** The oldest first. */
  readonly events: readonly Event[];
}

interface Told {
  readonly name: string;
  readonly story: Story | undefined;
  readonly problem: Problem | undefined;
}

/** The story of an operation by its name; undefined until it is known. */
export function useStory(name: string): { story: Story | undefined; problem: Problem | undefined } {
  const live = useOperation(name);
  const [told, setTold] = useState<Told>({ name, story: undefined, problem: undefined });
  // Read at first, and again where it may have changed: when the operation has ended, or its last events have come.
  const ended = live.value?.operation.done ?? false;
  useEffect(() => {
    const abort = new AbortController();
    read(name, abort.signal).then(
      (story) => setTold({ name, story, problem: undefined }),
      (error: unknown) => abort.signal.aborted || setTold((before) => ({ ...before, name, problem: problemOf(error) })),
    );
    return () => abort.abort();
  }, [name, ended]);

  return useMemo(() => {
    const base = told.name === name ? told.story : undefined;
    if (!live.value) return { story: base, problem: told.name === name ? told.problem : undefined };
    // The watch does not carry the plan, which changes only where it is made again.
    const metadata = { ...live.value.metadata, ...(base?.metadata.plan ? { plan: base.metadata.plan } : {}) };
    return { story: { ...live.value, metadata, events: base?.events ?? [] }, problem: undefined };
  }, [live, told, name]);
}

async function read(name: string, signal: AbortSignal): Promise<Story> {
  const filter = `operation = ${quoted(name)}`;
  const [operation, listed, log] = await Promise.all([
    longrunning.getOperation({ name }, { signal }),
    jobService.listJobs({ filter, pageSize: 1000 }, { signal }),
    inventory.listEvents({ filter, pageSize: 1000, orderBy: "create_time" }, { signal }),
  ]);
  let { jobs } = listed;
  if (jobs.length === 0) ({ jobs } = await jobService.listJobs({ filter, pageSize: 1000, archived: true }, { signal }));
  const metadata = operation.metadata && anyUnpack(operation.metadata, OperationMetadataSchema);
  if (!metadata) throw new Error(`${name} has no metadata`);
  return { operation, metadata, jobs: [...jobs].sort((a, b) => jobNumber(a.name) - jobNumber(b.name)), events: log.events };
}
