// What the plan of an operation locks, and the servers that it touches.
import { Stack, Table, Text } from "@mantine/core";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { ResourceLink } from "../ui/ResourceLink";
import type { Story } from "./use-story";

export function PlannedLocks({ story: { metadata } }: { story: Story }) {
  const plan = metadata.plan;
  if (!plan) return <Text size="sm">The plan is not kept any more.</Text>;
  return (
    <Stack gap="sm">
      <Text size="sm">
        {plan.servers.length === 0 ? "No server is touched." : "Servers that are touched: "}
        {plan.servers.map((server, index) => (
          <span key={server}>
            {index > 0 && ", "}
            <ResourceLink name={server} />
          </span>
        ))}
      </Text>
      <Table.ScrollContainer minWidth={300}>
        <Table verticalSpacing={4}>
          <Table.Caption>All of these are granted together, and released when no job and no undo needs them any more.</Table.Caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Object</Table.Th>
              <Table.Th>Mode</Table.Th>
              <Table.Th>First used by job</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {plan.locks.map((lock) => (
              <Table.Tr key={lock.object}>
                <Table.Td><ResourceLink name={lock.object} /></Table.Td>
                <Table.Td>{LockMode[lock.mode]}</Table.Td>
                <Table.Td>{lock.job}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Stack>
  );
}
