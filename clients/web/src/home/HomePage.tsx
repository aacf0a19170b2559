// The first screen: what the site consists of, and what needs somebody's attention.
import { Anchor, Button, Card, Group, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { Link } from "react-router";
import { severityLook } from "../events/severities";
import { useEvents, useObjects, type AnyObject, type Collection } from "../live";
import { OPEN_EVENTS_FILTER } from "../live/open-events";
import { Reference } from "../objects/FieldView";
import { KindIcon } from "../objects/KindIcon";
import { capital, kindOf, stateLook } from "../objects/kinds";
import type { Look } from "../ui/looks";
import { LookBadge } from "../ui/LookBadge";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { Page } from "../ui/Page";
import classes from "./HomePage.module.css";

const SHOWN: readonly Collection[] = ["serverPools", "servers", "virtualMachines", "repositories", "networks"];

export default function HomePage() {
  return (
    <Page title="Overview">
      <FirstSteps />
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 3 }} spacing="md">
        {SHOWN.map((collection) => (
          <KindCard key={collection} collection={collection} />
        ))}
      </SimpleGrid>
      <Attention />
    </Page>
  );
}

/** The way into an empty site. */
function FirstSteps() {
  const machines = useObjects("virtualMachines");
  if (!machines.ready || machines.value.length > 0) return null;
  return (
    <Card withBorder padding="lg">
      <Group justify="space-between" gap="md">
        <div>
          <Title order={2} size="h3">
            There is no machine here yet
          </Title>
          <Text size="sm">A few steps lead from an empty site to a running machine: servers, a pool, a repository, a machine.</Text>
        </div>
        <Button component={Link} to="/first-run">
          Show me the first steps
        </Button>
      </Group>
    </Card>
  );
}

function KindCard({ collection }: { collection: Collection }) {
  const { value, ready } = useObjects(collection);
  const kind = kindOf(collection)!;
  return (
    <Card withBorder padding="md" component="section" aria-label={capital(kind.plural)}>
      <Group justify="space-between" wrap="nowrap" mb={6}>
        <Anchor component={Link} to={`/objects/${collection}`} fw={600} underline="hover">
          <Group gap={8} wrap="nowrap">
            <KindIcon collection={collection} />
            {capital(kind.plural)}
          </Group>
        </Anchor>
        <Text fw={700} size="xl" className={classes.count}>
          {ready ? value.length.toLocaleString() : "–"}
        </Text>
      </Group>
      <Group gap="4px 14px">
        {countStates(value).map(({ look, count }) => (
          <Text key={look.word} size="sm" component="span">
            <LookBadge look={{ ...look, word: `${count.toLocaleString()} ${look.word}` }} />
          </Text>
        ))}
        {ready && value.length === 0 && (
          <Text size="sm" c="dimmed">
            None yet
          </Text>
        )}
      </Group>
    </Card>
  );
}

/** How many objects there are in each state, the most frequent state first. */
export function countStates(objects: readonly AnyObject[]): readonly { look: Look; count: number }[] {
  const counts = new Map<number, { look: Look; count: number }>();
  for (const object of objects) {
    const known = counts.get(object.state);
    if (known) known.count += 1;
    else counts.set(object.state, { look: stateLook(object), count: 1 });
  }
  return [...counts.values()].sort((a, b) => b.count - a.count);
}

const MOST_EVENTS = 8;

function Attention() {
  const events = useEvents(OPEN_EVENTS_FILTER);
  const worst = [...events.value].sort((a, b) => b.severity - a.severity).slice(0, MOST_EVENTS);
  return (
    <Card withBorder padding="md" component="section" aria-label="Open events">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h3">
          Open events
        </Title>
        <Anchor component={Link} to="/events" size="sm">
          All events
        </Anchor>
      </Group>
      {worst.length === 0 && (
        <Text size="sm" c="dimmed">
          {events.ready ? "Nothing needs anybody's attention." : "Loading."}
        </Text>
      )}
      <Stack gap={0} component="ul" className={classes.events}>
        {worst.map((event) => (
          <li key={event.name} className={classes.event}>
            <LookBadge look={severityLook(event.severity)} />
            <span className={classes.message}>
              <Reference name={event.object} /> {event.message}
            </span>
            <Text size="xs" c="dimmed" component="span">
              <Moment at={millisOf(event.createTime)} />
            </Text>
          </li>
        ))}
      </Stack>
    </Card>
  );
}
