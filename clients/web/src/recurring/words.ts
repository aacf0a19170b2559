// When schedules are due and what automation submits, in words.
import type { Any } from "@bufbuild/protobuf/wkt";
import { CatchUpPolicy, OverlapPolicy, type Schedule } from "../api/virtyard/api/inventory/v1/schedule_pb";
import { FilterAction, type Filter } from "../api/virtyard/api/inventory/v1/filter_pb";
import { showLength } from "../ui/moments";

/** What a request asks for: "Start Virtual Machine" of a StartVirtualMachineRequest. */
export function requestWords(request: Any | undefined): string {
  const message = request?.typeUrl.slice(request.typeUrl.lastIndexOf(".") + 1) ?? "";
  return message.replace(/Request$/, "").replace(/(?<=[a-z0-9])(?=[A-Z])/g, " ");
}

/** When a schedule is due: "30 2 * * * (Europe/Vienna)" or "every 10 min". */
export function dueWords(schedule: Schedule): string {
  const jitter = schedule.jitterSeconds > 0n ? `, up to ${showLength(Number(schedule.jitterSeconds) * 1000)} later` : "";
  if (schedule.cron) return `${schedule.cron} (${schedule.timeZone || "UTC"})${jitter}`;
  return `every ${showLength(Number(schedule.intervalSeconds) * 1000)}${jitter}`;
}

/** What a schedule does about runs that overlap or were missed. */
export function policyWords({ overlap, catchUp, mostCaughtUp }: Schedule): string[] {
  const overlaps: Partial<Record<OverlapPolicy, string>> = {
    [OverlapPolicy.QUEUE]: "A run that is due while the last one goes on waits for its end.",
    [OverlapPolicy.RUN]: "A run that is due while the last one goes on runs beside it.",
  };
  const missed: Partial<Record<CatchUpPolicy, string>> = {
    [CatchUpPolicy.NONE]: "Runs that were missed are left out.",
    [CatchUpPolicy.ALL]: `Runs that were missed are made up for, ${mostCaughtUp || 10} at most.`,
  };
  return [
    overlaps[overlap] ?? "A run that is due while the last one goes on is left out.",
    missed[catchUp] ?? "Of runs that were missed the last one is made up for.",
  ];
}

/** What a filter does with operations that match. */
export function actionWords({ action, limitPerMinute }: Filter): string {
  switch (action) {
    case FilterAction.PAUSE:
      return "keeps back";
    case FilterAction.REJECT:
      return "refuses";
    case FilterAction.RATE_LIMIT:
      return `lets ${limitPerMinute} begin in a minute`;
    case FilterAction.DRAIN:
      return "drains: keeps back what is newer";
    default:
      return "";
  }
}
