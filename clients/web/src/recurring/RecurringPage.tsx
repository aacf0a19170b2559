// The Recurring half of the Jobs tab: schedules, triggers, filters and webhooks, as they are and as they come along.
import { Button, Center, Group, Loader, Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { JobTabs } from "../jobs/JobTabs";
import { useObjects } from "../live";
import { runPath } from "../routes";
import { Page } from "../ui/Page";
import { FilterCard } from "./Filters";
import { ScheduleCard } from "./Schedules";
import { TriggerCard } from "./Triggers";
import { WebhookCard } from "./Webhooks";

export default function RecurringPage() {
  const schedules = useObjects("schedules");
  const triggers = useObjects("triggers");
  const filters = useObjects("filters");
  const webhooks = useObjects("webhooks");
  return (
    <Page title="Recurring jobs">
      <JobTabs />
      <Section title="Schedules" kind="Schedule" lead="Each submits an operation whenever it is due." ready={schedules.ready} count={schedules.value.length}>
        {schedules.value.map((schedule) => (
          <ScheduleCard key={schedule.name} schedule={schedule} />
        ))}
      </Section>
      <Section title="Triggers" kind="Trigger" lead="Each submits an operation for every event that it waits for." ready={triggers.ready} count={triggers.value.length}>
        {triggers.value.map((trigger) => (
          <TriggerCard key={trigger.name} trigger={trigger} />
        ))}
      </Section>
      <Section title="Filters" kind="Filter" lead="Each keeps operations back, or refuses them, before their locks are asked for." ready={filters.ready} count={filters.value.length}>
        {filters.value.map((filter) => (
          <FilterCard key={filter.name} filter={filter} />
        ))}
      </Section>
      <Section title="Webhooks" kind="Webhook" lead="Each sends events, or how operations end, or both, to another system." ready={webhooks.ready} count={webhooks.value.length}>
        {webhooks.value.map((webhook) => (
          <WebhookCard key={webhook.name} webhook={webhook} />
        ))}
      </Section>
    </Page>
  );
}

interface SectionProps {
  title: string;
  kind: string;
  lead: string;
  ready: boolean;
  count: number;
  children: ReactNode;
}

function Section({ title, kind, lead, ready, count, children }: SectionProps) {
  return (
    <Stack gap="sm">
      <Group justify="space-between" align="flex-end">
        <div>
          <Title order={2}>{title}</Title>
          <Text size="sm" c="dimmed">
            {lead}
          </Text>
        </div>
        <Button variant="default" component={Link} to={runPath(`Create${kind}`)}>
          New {kind.toLowerCase()}
        </Button>
      </Group>
      {!ready && (
        <Center>
          <Loader role="status" size="sm" aria-label={`Loading ${title.toLowerCase()}`} />
        </Center>
      )}
      {ready && count === 0 && <Text size="sm">There is none.</Text>}
      {children}
    </Stack>
  );
}
