// One schedule, trigger, filter or webhook: what it is, whether it acts, what it has done, and what can be done with it.
import { Button, Card, Group, Stack, Switch, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { Link } from "react-router";
import type { Operation } from "../api/google/longrunning/operations_pb";
import { useTitleFocus } from "./use-title-focus";
import { runPath } from "../routes";
import type { Problem } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import { ResourceLink } from "../ui/ResourceLink";
import { useCall } from "../ui/use-call";
import { useState } from "react";

interface Props {
  name: string;
  displayName: string;
  description: string;
  /** The noun, as "Schedule", which begins the names of its methods. */
  kind: "Schedule" | "Trigger" | "Filter" | "Webhook";
  enabled: boolean;
  onEnable: (enabled: boolean) => Promise<Operation>;
  onRun?: () => Promise<Operation>;
  /** Called after something was done to it. */
  onDone: () => void;
  problem: Problem | undefined;
  children: ReactNode;
}

export function AutomationCard(props: Props) {
  const { name, kind, enabled } = props;
  const call = useCall();
  const [operation, setOperation] = useState("");
  const ref = useTitleFocus(name);
  const title = props.displayName || name.slice(name.indexOf("/") + 1);
  const submit = (ask: () => Promise<Operation>): void =>
    call.run(ask, (answer) => {
      setOperation(answer.name);
      props.onDone();
    });
  return (
    <Card withBorder padding="md" component="section" aria-label={`${kind} ${title}`} data-name={name}>
      <Stack gap="xs">
        <Group justify="space-between" gap="sm">
          <Title order={3} ref={ref} tabIndex={-1} style={{ overflowWrap: "anywhere" }}>
            {title}
          </Title>
          <Group gap="xs">
            <Switch
              label={enabled ? "Enabled" : "Disabled"}
              aria-label={`${title} is enabled`}
              checked={enabled}
              disabled={call.busy}
              onChange={(event) => submit(((wanted) => () => props.onEnable(wanted))(event.currentTarget.checked))}
            />
            {props.onRun && (
              <Button variant="default" size="xs" loading={call.busy} onClick={() => submit(props.onRun as () => Promise<Operation>)}>
                Run now
              </Button>
            )}
            <Button variant="default" size="xs" component={Link} to={runPath(`Update${kind}`, { object: name })}>
              Edit
            </Button>
            <Button variant="subtle" color="red" size="xs" component={Link} to={runPath(`Delete${kind}`, { object: name })}>
              Delete
            </Button>
          </Group>
        </Group>
        {props.description && <Text size="sm">{props.description}</Text>}
        {props.children}
        {operation && (
          <Text size="sm" role="status">
            Submitted as <ResourceLink name={operation} />.
          </Text>
        )}
        {call.problem && <ProblemAlert title="It could not be done" problem={call.problem} onClose={call.clear} />}
        {props.problem && <ProblemAlert title="What it has done is not known" problem={props.problem} />}
      </Stack>
    </Card>
  );
}
