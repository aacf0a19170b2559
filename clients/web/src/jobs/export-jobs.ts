// The export of jobs with their events as a file, as `virtyard job export` has them.
import { ExportJobsResponseSchema } from "../api/virtyard/api/jobs/v1/job_service_pb";
import { jobs } from "../client/services";
import { jsonLines } from "../ui/json-lines";

/** Read every job that a filter lets pass, live and archived, as JSON lines. */
export function exportJobs(filter: string): Promise<Blob> {
  return jsonLines(ExportJobsResponseSchema, jobs.exportJobs({ filter }));
}
