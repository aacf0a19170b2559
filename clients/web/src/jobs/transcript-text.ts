// The transcript of an operation, in the words of `virtyard job transcript`.
import type { Job } from "../api/virtyard/api/jobs/v1/job_pb";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { countOf } from "../ui/counts";
import { millisOf } from "../ui/moments";
import { treeOf } from "./job-list";
import { jobLook, stepLook } from "./states";
import type { Story } from "./use-story";

/** The whole story as lines of text. */
export function transcriptOf({ operation, metadata, jobs, events }: Story): string {
  const lines = [`${operation.name}: ${metadata.title}`, `  asked for by ${metadata.principal || "nobody known"} at ${moment(metadata.createTime)}`];
  for (const hop of metadata.reasonTrail) {
    if (hop.source !== metadata.principal) lines.push(`  caused by ${hop.source} at ${moment(hop.time)}: ${hop.reason}`);
  }
  for (const { job } of treeOf(jobs.map((each) => ({ name: each.name, parent: each.parentJob, job: each })))) {
    lines.push("", ...jobLines(job.job));
    for (const event of events.filter((each) => each.job === job.name)) lines.push(`  event ${event.type} at ${moment(event.createTime)}: ${event.message}`);
  }
  lines.push("");
  for (const event of events.filter((each) => !each.job)) lines.push(`event ${event.type} at ${moment(event.createTime)}: ${event.message}`);
  if (operation.result.case === "error") lines.push(`ended with an error: ${operation.result.value.message}`);
  for (const missing of metadata.residue) lines.push(`missing: ${missing}`);
  return lines.join("\n").trimEnd();
}

function jobLines(job: Job): string[] {
  const lines = [`${job.name}: ${job.title} on ${job.object}: ${jobLook(job.state).word}`];
  const times: [string, Timestamp | undefined][] = [
    ["accepted", job.createTime],
    ["begun", job.startTime],
    ["ended", job.endTime],
  ];
  for (const [what, time] of times) if (time) lines.push(`  ${what} at ${moment(time)}`);
  for (const step of job.steps) {
    const tries = step.attempt > 1 ? `, ${countOf(step.attempt, "try", "tries")}` : "";
    lines.push(`  step ${step.id}: ${step.title} (by ${step.participant}): ${stepLook(step.state).word}${tries}`);
    if (step.error?.message) lines.push(`    ${step.error.message}`);
  }
  if (job.error?.message) lines.push(`  error: ${job.error.message}`);
  if (job.cause) lines.push(`  because of ${job.cause}`);
  if (job.deferred) lines.push("  put off, as its server could not be reached");
  for (const one of job.residue) lines.push(`  left behind: ${one}`);
  return lines;
}

function moment(time: Timestamp | undefined): string {
  const millis = millisOf(time);
  return millis === undefined ? "an unknown time" : new Date(millis).toISOString();
}
