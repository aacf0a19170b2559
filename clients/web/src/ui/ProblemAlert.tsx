// An error where it happened: what failed, on which object, why, and what to do about it.
import { Alert, Code, List, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { Problem } from "./problem";
import { ResourceLink } from "./ResourceLink";

interface Props {
  /** What was tried, as "The operation could not be aborted". */
  title: string;
  problem: Problem;
  onClose?: () => void;
}

export function ProblemAlert({ title, problem, onClose }: Props) {
  return (
    <Alert
      role="alert"
      variant="outline"
      color="red"
      icon={<IconAlertTriangle aria-hidden />}
      title={<Text fw={600} c="var(--mantine-color-text)">{title}</Text>}
      withCloseButton={onClose !== undefined}
      closeButtonLabel="Close this message"
      {...(onClose ? { onClose } : {})}
    >
      <Text size="sm">{problem.message}</Text>
      {problem.resource && (
        <Text size="sm">
          About <ResourceLink name={problem.resource} />
        </Text>
      )}
      <List size="sm">
        {problem.fields.map((one) => (
          <List.Item key={one.field + one.description}>
            <Code>{one.field}</Code> {one.description}
          </List.Item>
        ))}
        {problem.holders.map((one) => (
          <List.Item key={one.object + one.holder}>
            <ResourceLink name={one.object} /> is held by <ResourceLink name={one.holder} />
            {one.purpose && `: ${one.purpose}`}
          </List.Item>
        ))}
      </List>
      {problem.retrySeconds !== undefined && <Text size="sm">It may be tried again after {problem.retrySeconds} s.</Text>}
      {problem.reason && <Text size="xs">Reason: <Code>{problem.reason}</Code></Text>}
    </Alert>
  );
}
