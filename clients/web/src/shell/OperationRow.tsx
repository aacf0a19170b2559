// One operation that is under way: what it is, how far it is, and the button that aborts it.
import { Anchor, Group, Progress, Text } from "@mantine/core";
import { Link } from "react-router";
import { HeldReason, JobState, type Job } from "../api/virtyard/api/jobs/v1/job_pb";
import { heldWords, jobLook } from "../jobs/states";
import type { OpenOperation } from "../live";
import { AbortButton } from "../ui/AbortButton";
import { leftWords } from "../ui/left";
import { ResourceLink } from "../ui/ResourceLink";
import { pageOf } from "../ui/pages";
import { useNow } from "../ui/use-now";
import classes from "./JobSummaryPane.module.css";

const COLOURS: Partial<Record<JobState, string>> = {
  [JobState.ROLLING_BACK]: "grape",
  [JobState.WAITING_FOR_LOCKS]: "yellow",
  [JobState.PENDING]: "gray",
};

export function OperationRow({ operation }: { operation: OpenOperation }) {
  const { current } = operation;
  const percent = Math.floor(operation.percent);
  const now = useNow(operation.expectedEnd !== undefined);
  const words = [stageOf(current), leftWords(operation.expectedEnd, now)].filter(Boolean).join(", ");
  const moving = current.state === JobState.RUNNING || current.state === JobState.ROLLING_BACK;
  return (
    <li className={classes.row} data-operation={operation.name}>
      <div className={classes.what}>
        <Anchor component={Link} to={pageOf(operation.name)!} size="sm" fw={600} className={classes.one} display="block">
          {operation.title}
        </Anchor>
        <Text size="xs" c="dimmed" className={classes.one}>
          {current.object ? <ResourceLink name={current.object} /> : operation.name}
          {", "}
          {operation.principal}
        </Text>
      </div>
      <div className={classes.progress}>
        <Group gap={8} wrap="nowrap">
          <Progress.Root size="md" flex={1}>
            <Progress.Section
              value={operation.percent}
              color={COLOURS[current.state] ?? "blue"}
              animated={moving}
              aria-label={`${operation.title}, ${operation.name}`}
            />
          </Progress.Root>
          <Text size="xs" w="3em" ta="right" style={{ fontVariantNumeric: "tabular-nums" }}>
            {percent} %
          </Text>
        </Group>
        <Text size="xs" c="dimmed" className={classes.one} title={words}>
          {words}
        </Text>
      </div>
      <AbortButton job={current} title={operation.title} />
    </li>
  );
}

/** What a job does now, or what it waits for. */
export function stageOf(job: Job): string {
  if (job.held !== HeldReason.UNSPECIFIED) return `${job.title}: ${heldWords(job.held)}`;
  if (job.contactLost) return `${job.title}: its host is silent; nothing is guessed`;
  if (job.waitingFor) return `${job.title}: waiting for ${job.waitingFor}`;
  const stage = job.progress?.stage;
  return `${job.title}: ${stage || jobLook(job.state).word}`;
}
