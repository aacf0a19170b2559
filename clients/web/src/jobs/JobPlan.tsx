// The jobs of an operation as a tree, each with its state, its progress and its steps.
import { Accordion, Group, Progress, Stack, Table, Text } from "@mantine/core";
import { useState } from "react";
import { useSearchParams } from "react-router";
import { JobState, type Job, type Step } from "../api/virtyard/api/jobs/v1/job_pb";
import { leftWords } from "../ui/left";
import { ListOf } from "../ui/ListOf";
import { colourOf } from "../ui/looks";
import { LookBadge } from "../ui/LookBadge";
import { Moment } from "../ui/Moment";
import { millisOf, showLength } from "../ui/moments";
import { problemOfStatus } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import { ResourceLink } from "../ui/ResourceLink";
import { useNow } from "../ui/use-now";
import { causesOfJob } from "./causes";
import { canBeAborted } from "./job-abort";
import { JobAbort } from "./JobAbort";
import { treeOf } from "./job-list";
import { JobResidueActions, waitsForDecision } from "./JobResidueActions";
import { Fact } from "./OperationFacts";
import { heldWords, jobLook, stepLook } from "./states";
import type { Story } from "./use-story";

export function JobPlan({ story }: { story: Story }) {
  const [query] = useSearchParams();
  const wanted = query.get("job");
  const [open, setOpen] = useState<string[]>(() => {
    const named = story.jobs.filter((job) => job.name === `jobs/${wanted}`);
    const noticeable = story.jobs.filter(isNoticeable);
    const few = story.jobs.length <= 2 ? story.jobs : [];
    return [named, noticeable, few].find((jobs) => jobs.length > 0)?.map((job) => job.name) ?? [];
  });
  const tree = treeOf(story.jobs.map((job) => ({ name: job.name, parent: job.parentJob, job })));
  return (
    <Accordion multiple value={open} onChange={setOpen} chevronPosition="left" variant="contained">
      {tree.map(({ job: { job }, depth }) => (
        <Accordion.Item key={job.name} value={job.name} ml={depth * 24} data-job={job.name} data-state={JobState[job.state]}>
          <Accordion.Control>
            <JobLineHead job={job} />
          </Accordion.Control>
          <Accordion.Panel>
            <JobBody job={job} jobs={story.jobs} />
          </Accordion.Panel>
        </Accordion.Item>
      ))}
    </Accordion>
  );
}

/** Jobs that somebody who opens the page wants to see at once. */
function isNoticeable(job: Job): boolean {
  return job.state === JobState.RUNNING || job.state === JobState.ROLLING_BACK || job.state === JobState.FAILED || job.state === JobState.ROLLBACK_FAILED;
}

function JobLineHead({ job }: { job: Job }) {
  const percent = job.progress?.percent ?? 0;
  return (
    <Group justify="space-between" gap="xs" pe="xs">
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
        <Text span fw={600} size="sm">
          {job.title}
        </Text>{" "}
        {job.object}
      </Text>
      <Group gap="sm" wrap="nowrap">
        <Progress w={120} value={percent} aria-label={`Progress of ${job.title}`} color={colourOf(jobLook(job.state).tone)} />
        <Text size="sm" w={52} ta="end" style={{ whiteSpace: "nowrap" }}>
          {Math.floor(percent)} %
        </Text>
        <Text size="sm" component="div" w={160}>
          <LookBadge look={jobLook(job.state)} />
        </Text>
      </Group>
    </Group>
  );
}

function JobBody({ job, jobs }: { job: Job; jobs: readonly Job[] }) {
  const started = millisOf(job.startTime);
  const ended = millisOf(job.endTime);
  const left = leftWords(job.progress?.expectedEndTime, useNow(job.progress?.expectedEndTime !== undefined));
  return (
    <Stack gap="xs">
      <Group gap="lg" style={{ rowGap: 4 }}>
        <Fact name="Job">{job.name}</Fact>
        <Fact name="Object"><ResourceLink name={job.object} /></Fact>
        {started !== undefined && <Fact name="Began"><Moment at={started} /></Fact>}
        {started !== undefined && ended !== undefined && <Fact name="Took">{showLength(ended - started)}</Fact>}
        {job.progress?.stage && <Fact name="Stage">{job.progress.stage}</Fact>}
        {left && <Fact name="Time">{left}</Fact>}
        {job.waitingFor && <Fact name="Waits for">{job.waitingFor}</Fact>}
        {job.cause && <Fact name="Undone because of"><ResourceLink name={job.cause} /></Fact>}
        {job.held !== 0 && <Fact name="Held">{heldWords(job.held)}{job.hold?.reason && `: ${job.hold.reason} (${job.hold.principal})`}</Fact>}
      </Group>
      {job.contactLost && <Text size="sm" fw={600}>The host of a step is silent; nothing is guessed meanwhile.</Text>}
      {job.stalled && <Text size="sm" fw={600}>A step has made no progress for longer than it may.</Text>}
      {job.deferred && <Text size="sm" fw={600}>Put off, as its server could not be reached.</Text>}
      {job.error?.message && <ProblemAlert title={`${job.title} failed`} problem={problemOfStatus(job.error)} about={job.object} causes={causesOfJob(job, jobs)} />}
      {job.residue.length > 0 && (
        <div>
          <Text size="sm" fw={600}>Left behind</Text>
          <ListOf items={job.residue} />
        </div>
      )}
      {waitsForDecision(job) && <JobResidueActions job={job} />}
      {!waitsForDecision(job) && canBeAborted(job, jobs) && <JobAbort job={job} jobs={jobs} />}
      <Steps steps={job.steps} />
    </Stack>
  );
}

function Steps({ steps }: { steps: readonly Step[] }) {
  if (steps.length === 0) return null;
  return (
    <Table.ScrollContainer minWidth={520}>
      <Table verticalSpacing={4} layout="fixed">
        <Table.Thead>
          <Table.Tr>
            <Table.Th w={44}>#</Table.Th>
            <Table.Th>Step</Table.Th>
            <Table.Th w="22%">By</Table.Th>
            <Table.Th w="24%">State</Table.Th>
            <Table.Th w={92}>Took</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {steps.map((step) => (
            <Table.Tr key={step.id}>
              <Table.Td>{step.id}</Table.Td>
              <Table.Td style={{ overflowWrap: "anywhere" }}>
                {step.title}
                {step.error?.message && <Text size="sm" c="var(--mantine-color-error)">{step.error.message}</Text>}
              </Table.Td>
              <Table.Td><ResourceLink name={step.participant} /></Table.Td>
              <Table.Td>
                <Group gap="xs">
                  <LookBadge look={stepLook(step.state)} />
                  {step.attempt > 1 && <Text size="sm">try {step.attempt}</Text>}
                  {step.progress !== undefined && step.progress.percent > 0 && step.progress.percent < 100 && <Text size="sm">{Math.floor(step.progress.percent)} %</Text>}
                </Group>
              </Table.Td>
              <Table.Td>{tookOf(step)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

/** How long the last try of a step took; empty while it is under way, and where its times are not known. */
function tookOf(step: Step): string {
  const from = millisOf(step.startTime);
  const to = millisOf(step.endTime);
  return from === undefined || to === undefined ? "" : showLength(to - from);
}
