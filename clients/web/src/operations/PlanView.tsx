// A plan as a preview shows it: the jobs with their steps as a tree, and the locks and servers as tables.
import { Badge, Group, List, Stack, Table, Text, Title } from "@mantine/core";
import type { Plan, PlannedJob } from "../api/virtyard/api/jobs/v1/plan_pb";
import { StepKind } from "../api/virtyard/api/jobs/v1/plan_pb";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { countOf } from "../ui/counts";
import { ResourceLink } from "../ui/ResourceLink";

const MODES: Partial<Record<LockMode, string>> = {
  [LockMode.IS]: "IS: shared locks below it",
  [LockMode.IX]: "IX: exclusive locks below it",
  [LockMode.S]: "S: shared",
  [LockMode.SIX]: "SIX: shared, with exclusive locks below it",
  [LockMode.X]: "X: exclusive",
};

export function PlanView({ plan }: { plan: Plan }) {
  const count = plan.jobs.length;
  const servers = plan.servers.length;
  return (
    <Stack gap="md">
      <Text size="sm">
        It would run {countOf(count, "job")}
        {servers > 0 && ` on ${countOf(servers, "server")}`}. Nothing has been changed.
      </Text>
      <Stack gap={4}>
        <Title order={3}>Jobs</Title>
        <JobList jobs={plan.jobs} parent="" />
      </Stack>
      <Stack gap={4}>
        <Title order={3}>Locks</Title>
        <Table.ScrollContainer minWidth={280}>
          <Table verticalSpacing={4}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Object</Table.Th>
                <Table.Th>Mode</Table.Th>
                <Table.Th>Job</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {plan.locks.map((lock) => (
                <Table.Tr key={lock.object}>
                  <Table.Td style={{ overflowWrap: "anywhere" }}>{lock.object}</Table.Td>
                  <Table.Td>{MODES[lock.mode] ?? String(lock.mode)}</Table.Td>
                  <Table.Td>{lock.job}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      </Stack>
      {servers > 0 && (
        <Stack gap={4}>
          <Title order={3}>Servers</Title>
          <List size="sm">
            {plan.servers.map((server) => (
              <List.Item key={server}>
                <ResourceLink name={server} />
              </List.Item>
            ))}
          </List>
        </Stack>
      )}
    </Stack>
  );
}

/** The jobs below one job, those of the operation itself where there is none. */
function JobList({ jobs, parent }: { jobs: readonly PlannedJob[]; parent: string }) {
  const own = jobs.filter((job) => job.parent === parent);
  if (own.length === 0) return null;
  return (
    <List size="sm" listStyleType="none" spacing={6} withPadding={parent !== ""}>
      {own.map((job) => (
        <List.Item key={job.id}>
          <Group gap="xs">
            <Text size="sm" fw={600}>
              {job.id}. {job.title}
            </Text>
            <Text size="sm" c="dimmed" style={{ overflowWrap: "anywhere" }}>
              {job.object}
            </Text>
            {job.after.length > 0 && (
              <Text size="xs" c="dimmed">
                after {job.after.join(", ")}
              </Text>
            )}
          </Group>
          <Steps job={job} />
          <JobList jobs={jobs} parent={job.id} />
        </List.Item>
      ))}
    </List>
  );
}

function Steps({ job }: { job: PlannedJob }) {
  return (
    <List size="sm" withPadding>
      {job.steps.map((step) => (
        <List.Item key={step.id}>
          <Group gap="xs">
            <span>{step.title || step.do?.typeUrl.slice(step.do.typeUrl.lastIndexOf(".") + 1)}</span>
            <Text span size="xs" c="dimmed">
              {step.participant}
            </Text>
            {step.kind === StepKind.PIVOT && (
              <Badge size="sm" variant="outline" color="red">
                no way back
              </Badge>
            )}
            {step.ifDeferred && (
              <Text span size="xs" c="dimmed">
                only if it cannot be reached
              </Text>
            )}
          </Group>
        </List.Item>
      ))}
    </List>
  );
}
