// Why an operation was not accepted, and what can be done about that from here.
import { Button, Group, Stack, Text } from "@mantine/core";
import type { Problem } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";

interface Props {
  problem: Problem;
  /** The operation's title. */
  title: string;
  /** Reads the object again and begins anew with what it is now. */
  reload: () => void;
  /** Takes another request id. */
  renew: () => void;
}

// The outcome is unknown: the request may have been accepted, and its answer lost.
const UNKNOWN = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "UNKNOWN"]);

export function RunProblem({ problem, title, reload, renew }: Props) {
  const taken = problem.reason === "ALREADY_EXISTS" && problem.resource.startsWith("operations/");
  return (
    <Stack gap="xs">
      <ProblemAlert title={`${title} was not accepted`} problem={problem} />
      {UNKNOWN.has(problem.reason) && (
        <Text size="sm">
          No answer came, so it may have been accepted. Run asks again under the same request id: it is never run twice.
        </Text>
      )}
      {problem.reason === "ETAG_MISMATCH" && (
        <Group gap="sm">
          <Button size="compact-sm" variant="default" onClick={reload}>
            Show it as it is now
          </Button>
          <Text size="sm">It has changed since this form was opened. What you have changed here is given up.</Text>
        </Group>
      )}
      {taken && (
        <Group gap="sm">
          <Button size="compact-sm" variant="default" onClick={renew}>
            Ask for another one
          </Button>
          <Text size="sm">This form was accepted before with other values.</Text>
        </Group>
      )}
    </Stack>
  );
}
