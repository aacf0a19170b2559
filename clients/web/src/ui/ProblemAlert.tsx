// An error where it happened: what failed, on which object, why, what to do about it, and on request what led to it.
import { Alert, Code, List, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { pageOf } from "./pages";
import type { Problem } from "./problem";
import { ProblemChain, type Cause } from "./ProblemChain";
import { ResourceLink } from "./ResourceLink";
import { ToDo } from "./ToDo";

interface Props {
  /** What was tried, as "The operation could not be aborted". */
  title: string;
  problem: Problem;
  /** The object that it failed on, where the error itself names none. */
  about?: string | undefined;
  /** What led to it, each beneath what it led to. */
  causes?: readonly Cause[];
  onClose?: () => void;
}

export function ProblemAlert({ title, problem, about = "", causes = [], onClose }: Props) {
  // An error may be about what no person knows by name, as a step; the job's object is told then.
  const object = pageOf(problem.resource) ? problem.resource : about || problem.resource;
  return (
    <Alert
      role="alert"
      variant="outline"
      color="red"
      icon={<IconAlertTriangle aria-hidden />}
      title={title}
      withCloseButton={onClose !== undefined}
      closeButtonLabel="Close this message"
      {...(onClose ? { onClose } : {})}
    >
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>{problem.message}</Text>
      {object && (
        <Text size="sm">
          About <ResourceLink name={object} />
        </Text>
      )}
      <Particulars problem={problem} />
      <ToDo problem={problem} />
      <ProblemChain problem={problem} causes={causes} />
    </Alert>
  );
}

/** The fields that are wrong, and who is in the way. */
function Particulars({ problem }: { problem: Problem }) {
  // What the message says already is not said again.
  const fields = problem.fields.filter(({ description }) => !problem.message.includes(description));
  if (fields.length + problem.holders.length === 0) return null;
  return (
    <List size="sm">
      {fields.map((one) => (
        <List.Item key={one.field + one.description}>
          <Code>{one.field}</Code> {one.description}
        </List.Item>
      ))}
      {problem.holders.map((one) => (
        <List.Item key={one.object + one.holder}>
          <ResourceLink name={one.object} /> {one.waiting ? "is waited for by" : "is held by"} <ResourceLink name={one.holder} />
          {one.purpose && `: ${one.purpose}`}
        </List.Item>
      ))}
    </List>
  );
}
