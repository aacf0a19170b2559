// How far an operation is by the word of the service: each of its open jobs carries it, and the last one updated is right.
import type { OperationProgress } from "../api/virtyard/api/jobs/v1/job_pb";
import { millisOf } from "../ui/moments";

/** The last word of these; undefined where none says anything, as for jobs that have ended. */
export function lastWord(words: readonly (OperationProgress | undefined)[]): OperationProgress | undefined {
  let last: OperationProgress | undefined;
  for (const word of words) if (word && timeOf(word) >= timeOf(last)) last = word;
  return last;
}

function timeOf(word: OperationProgress | undefined): number {
  return millisOf(word?.updateTime) ?? -Infinity;
}
