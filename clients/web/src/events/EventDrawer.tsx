// One event in full: what it says, what caused it, what it blocks, and the way to acknowledge it.
import { Button, Code, Drawer, Group, List, Loader, Stack, Text } from "@mantine/core";
import { useState } from "react";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { Fact } from "../jobs/OperationFacts";
import { keepFocus } from "../ui/focus";
import { LookBadge } from "../ui/LookBadge";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { problemOfStatus, type Problem } from "../ui/problem";
import { ProblemAlert } from "../ui/ProblemAlert";
import { ResourceLink } from "../ui/ResourceLink";
import { ToDo } from "../ui/ToDo";
import { AcknowledgeDialog } from "./AcknowledgeDialog";
import { severityLook } from "./severities";
import { ARCHIVED, canAcknowledge, countWords, standingLook } from "./standing";

interface Props {
  event: Event | undefined;
  problem: Problem | undefined;
  opened: boolean;
  onClose: () => void;
  onChanged: (event: Event) => void;
  /** Is called where the event is found not to be what is shown of it. */
  onStale: () => void;
}

export function EventDrawer({ event, problem, opened, onClose, onChanged, onStale }: Props) {
  return (
    <Drawer opened={opened} onClose={onClose} position="right" size="lg" onExitTransitionEnd={keepFocus} title={event ? event.type : "Event"} closeButtonProps={{ "aria-label": "Close" }}>
      {event && <Content event={event} onChanged={onChanged} onStale={onStale} />}
      {!event && problem && <ProblemAlert title="This event cannot be shown" problem={problem} />}
      {!event && !problem && <Loader role="status" aria-label="Loading the event" />}
    </Drawer>
  );
}

function Content({ event, onChanged, onStale }: Pick<Props, "onChanged" | "onStale"> & { event: Event }) {
  const [asking, setAsking] = useState(false);
  const standing = standingLook(event);
  return (
    <Stack gap="md">
      <Group gap="lg">
        <LookBadge look={severityLook(event.severity)} strong />
        {standing && <LookBadge look={standing} />}
        {event.archived && <LookBadge look={ARCHIVED} />}
        <Moment at={millisOf(event.createTime)} />
        {event.count > 1n && <Text size="sm">{countWords(event)}</Text>}
      </Group>
      <Text>{event.message}</Text>
      <Stack gap={4}>
        <Fact name="Object"><ResourceLink name={event.object} /></Fact>
        {event.operation && <Fact name="Operation"><ResourceLink name={event.operation} /></Fact>}
        {event.job && <Fact name="Job"><ResourceLink name={event.job} /></Fact>}
        {event.undone && <Fact name="It happened">because the operation was being undone</Fact>}
        {event.changedFields.length > 0 && <Fact name="Changed">{event.changedFields.join(", ")}</Fact>}
        {event.blocks.length > 0 && <Fact name={canAcknowledge(event) ? "Until then it blocks" : "It blocked"}>{event.blocks.join(", ")}</Fact>}
        <Fact name="Name"><Code>{event.name}</Code></Fact>
      </Stack>
      <Causes event={event} />
      <Became event={event} />
      {canAcknowledge(event) && (
        <Group>
          <Button onClick={() => setAsking(true)}>Acknowledge</Button>
        </Group>
      )}
      <AcknowledgeDialog event={event} opened={asking} onClose={() => setAsking(false)} onDone={onChanged} onRefused={onStale} />
    </Stack>
  );
}

/** The chain of causes, the nearest first. */
function Causes({ event: { causes } }: { event: Event }) {
  if (causes.length === 0) return null;
  return (
    <div>
      <Text size="sm" fw={600}>
        Causes, the nearest first
      </Text>
      <List size="sm" type="ordered">
        {causes.map((cause, index) => (
          <List.Item key={index}>
            {cause.message} {problemOfStatus(cause).reason && <Code>{problemOfStatus(cause).reason}</Code>}
          </List.Item>
        ))}
      </List>
      {causes[0] && <ToDo problem={problemOfStatus(causes[0])} />}
    </div>
  );
}

/** What became of it since. */
function Became({ event }: { event: Event }) {
  if (!event.acknowledgedBy && !event.cleared) return null;
  return (
    <Stack gap={4} data-testid="event-became">
      {event.acknowledgedBy && (
        <Fact name={event.forced ? "Acknowledged by force, by" : "Acknowledged by"}>
          {event.acknowledgedBy} <Moment at={millisOf(event.acknowledgeTime)} />
        </Fact>
      )}
      {event.comment && <Fact name="Comment">{event.comment}</Fact>}
      {event.cleared && (
        <Fact name="Cleared by itself">
          <Moment at={millisOf(event.clearTime)} /> {event.clearedBy && <ResourceLink name={event.clearedBy} />}
        </Fact>
      )}
    </Stack>
  );
}
