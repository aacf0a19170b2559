// The Events tab: what has happened to which object, how grave it is, and what still needs somebody's attention.
import { Button, Group, Text } from "@mantine/core";
import { IconChecks, IconDownload } from "@tabler/icons-react";
import { useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { inventory } from "../client/services";
import { hereWords } from "../ui/counts";
import { ExportButton } from "../ui/ExportButton";
import { Page } from "../ui/Page";
import { ProblemAlert } from "../ui/ProblemAlert";
import { AcknowledgeAllDialog } from "./AcknowledgeAllDialog";
import { EventDrawer } from "./EventDrawer";
import { EventFilters } from "./EventFilters";
import { EventTable } from "./EventTable";
import { addressOfFilter, emptyWords, exportText, filterOfAddress, filterText, type EventFilter } from "./event-filter";
import { exportEvents } from "./export-events";
import { useEventList } from "./use-event-list";
import { useOneEvent } from "./use-one-event";

export default function EventsPage() {
  const [query, setQuery] = useSearchParams();
  const address = query.toString();
  const filter = useMemo(() => filterOfAddress(new URLSearchParams(address)), [address]);
  const text = filterText(filter);
  const listed = useEventList(filter);
  const [all, setAll] = useState(false);
  const shown = query.get("event");
  const go = (next: EventFilter, id: string | null): void => {
    const to = addressOfFilter(next);
    if (id) to.set("event", id);
    setQuery(to, { replace: true });
  };
  const event = useOneEvent(shown ? `events/${shown}` : undefined, listed);
  return (
    <Page
      title="Events"
      actions={
        <>
          {!filter.archived && (
            <Button variant="default" leftSection={<IconChecks size={16} aria-hidden />} onClick={() => setAll(true)}>
              Acknowledge all shown
            </Button>
          )}
          <ExportButton read={() => exportEvents(exportText(filter))} file="events.jsonl" icon={<IconDownload size={16} aria-hidden />} />
        </>
      }
    >
      <EventFilters filter={filter} onChange={(next: EventFilter) => go(next, shown)} />
      {listed.pages.problem && <ProblemAlert title="The events cannot be listed" problem={listed.pages.problem} />}
      <EventTable listed={listed} archive={filter.archived} empty={emptyWords(filter)} onOpen={(one) => go(filter, one.name.slice("events/".length))} />
      <Group gap="xs">
        <Text size="sm" c="dimmed" role="status">
          {hereWords(listed.events.length, "event", listed.pages.complete)}
        </Text>
      </Group>
      <EventDrawer event={event.event} problem={event.problem} opened={shown !== null} onClose={() => go(filter, null)} onChanged={event.put} onStale={event.again} />
      <AcknowledgeAllDialog opened={all} filter={text} onClose={() => setAll(false)} acknowledge={(request) => inventory.acknowledgeEvents(request)} />
    </Page>
  );
}
