// The export of jobs as a file: a line of JSON for each, in the proto's own JSON form.
import { toJsonString } from "@bufbuild/protobuf";
import { ExportJobsResponseSchema } from "../api/virtyard/api/jobs/v1/job_service_pb";
import { jobs } from "../client/services";
import { DETAILS } from "../ui/problem";

/** Read every job that a filter lets pass, live and archived, as JSON lines. */
export async function exportJobs(filter: string): Promise<Blob> {
  const lines: string[] = [];
  for await (const exported of jobs.exportJobs({ filter })) {
    lines.push(`${toJsonString(ExportJobsResponseSchema, exported, { registry: DETAILS })}\n`);
  }
  return new Blob(lines, { type: "application/x-ndjson" });
}

/** Let the browser save a file. */
export function saveAs(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}
