// The long table of events.
import { Center, Group, Loader, Stack, Text, UnstyledButton } from "@mantine/core";
import { useCallback } from "react";
import type { Event } from "../api/virtyard/api/inventory/v1/event_pb";
import { LookBadge } from "../ui/LookBadge";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { ResourceLink } from "../ui/ResourceLink";
import { useNarrow } from "../ui/use-narrow";
import { VirtualGrid, type Column } from "../ui/VirtualGrid";
import { severityLook } from "./severities";
import { ARCHIVED, countWords, standingLook } from "./standing";
import type { ListedEvents } from "./use-event-list";

interface Props {
  listed: ListedEvents;
  /** Whether it is the archive: of each of those it need not be said that it is archived. */
  archive: boolean;
  /** What it says when nothing is listed. */
  empty: string;
  onOpen: (event: Event) => void;
}

export function EventTable({ listed: { events, pages }, archive, empty, onOpen }: Props) {
  const narrow = useNarrow();
  const { loading, more } = pages;
  const nearEnd = useCallback(() => {
    if (!loading) more();
  }, [loading, more]);
  const message = (event: Event) => (
    <UnstyledButton fz="sm" tabIndex={-1} title={event.message} onClick={() => onOpen(event)} style={{ maxWidth: "100%", overflow: "hidden", textOverflow: "ellipsis", whiteSpace: "nowrap" }}>
      {event.message}
    </UnstyledButton>
  );
  const columns: Column<Event>[] = [
    { key: "severity", title: "Severity", width: "8.5rem", cell: (event) => <LookBadge look={severityLook(event.severity)} /> },
    { key: "time", title: "Time", width: "8.5rem", cell: (event) => <Moment at={millisOf(event.lastTime ?? event.createTime)} /> },
    { key: "object", title: "Object", width: "minmax(9rem, 1fr)", cell: (event) => <ResourceLink name={event.object} tabIndex={-1} /> },
    { key: "message", title: "What happened", width: "minmax(12rem, 3fr)", cell: message },
    { key: "type", title: "Type", width: "minmax(8rem, 1fr)", cell: (event) => <span title={event.type}>{event.type}</span> },
    { key: "count", title: "Count", width: "4rem", cell: (event) => (event.count > 1n ? <span title={countWords(event)}>{String(event.count)}</span> : "") },
    { key: "standing", title: "State", width: "8.5rem", cell: (event) => <Standing event={event} archive={archive} /> },
  ];
  return (
    <VirtualGrid
      label="Events"
      around="14rem"
      rows={events}
      columns={columns}
      keyOf={(event) => event.name}
      narrow={narrow}
      cardHeight={88}
      card={(event) => (
        <Stack gap={2}>
          <Group justify="space-between" gap="xs" wrap="nowrap">
            <Text size="sm" component="div">
              <LookBadge look={severityLook(event.severity)} />
            </Text>
            <Text size="xs" component="div">
              <Moment at={millisOf(event.lastTime ?? event.createTime)} />
            </Text>
          </Group>
          {message(event)}
          <Group justify="space-between" gap="xs" wrap="nowrap">
            <Text size="sm" truncate component="div">
              <ResourceLink name={event.object} tabIndex={-1} />
            </Text>
            <Text size="sm" component="div">
              <Standing event={event} archive={archive} />
            </Text>
          </Group>
        </Stack>
      )}
      onOpen={onOpen}
      onNearEnd={nearEnd}
      empty={
        loading ? (
          <Center>
            <Loader role="status" aria-label="Loading events" />
          </Center>
        ) : (
          <Text size="sm">{empty}</Text>
        )
      }
    />
  );
}

function Standing({ event, archive }: { event: Event; archive: boolean }) {
  const look = event.archived && !archive ? ARCHIVED : standingLook(event);
  return look ? <LookBadge look={look} /> : null;
}
