// The jobs, events and locks of one object, as they are now.
import { Card, Center, Group, Loader, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { LockMode } from "../api/virtyard/api/type/v1/lock_pb";
import { severityLook } from "../events/severities";
import { jobLook } from "../jobs/states";
import { useEvents, useJobs, useLocksOf, type Live } from "../live";
import { quoted } from "../ui/filter-text";
import { LockIcon } from "../ui/LockIcon";
import { LookBadge } from "../ui/LookBadge";
import { Moment } from "../ui/Moment";
import { millisOf } from "../ui/moments";
import { ResourceLink } from "../ui/ResourceLink";

import classes from "./ObjectLists.module.css";

export function ObjectJobs({ name }: { name: string }) {
  const jobs = useJobs(`object = ${quoted(name)}`);
  return (
    <Lines of={jobs} label="Jobs" empty="No job in the live list has changed it.">
      {jobs.value.map((job) => (
        <Line key={job.name} look={<LookBadge look={jobLook(job.state)} />} at={millisOf(job.createTime)}>
          <ResourceLink name={job.name} text={job.title} /> by {job.principal}
          {job.reason && <Text size="xs">Reason: {job.reason}</Text>}
        </Line>
      ))}
    </Lines>
  );
}

export function ObjectEvents({ name }: { name: string }) {
  const events = useEvents(`object = ${quoted(name)}`);
  return (
    <Lines of={events} label="Events" empty="Nothing has happened to it that is still kept.">
      {events.value.map((event) => (
        <Line key={event.name} look={<LookBadge look={severityLook(event.severity)} />} at={millisOf(event.createTime)}>
          <ResourceLink name={event.name} text={event.type} />
          <Text size="sm">{event.message}</Text>
        </Line>
      ))}
    </Lines>
  );
}

export function ObjectLocks({ name }: { name: string }) {
  const locks = useLocksOf(name);
  return (
    <Lines of={{ value: locks, ready: true }} label="Locks" empty="It is not locked, and nobody waits for it.">
      {locks.map((lock) => (
        <Line
          key={lock.owner}
          look={
            <Group gap={6} wrap="nowrap">
              <LockIcon filled={!lock.waiting} />
              {lock.waiting ? "waits" : LockMode[lock.mode]}
            </Group>
          }
          at={millisOf(lock.grantTime ?? lock.requestTime)}
        >
          <ResourceLink name={lock.owner} /> {lock.purpose}
        </Line>
      ))}
    </Lines>
  );
}

interface LinesProps {
  of: Pick<Live<readonly unknown[]>, "value" | "ready">;
  label: string;
  empty: string;
  children: ReactNode;
}

function Lines({ of, label, empty, children }: LinesProps) {
  if (!of.ready) {
    return (
      <Center mih={120}>
        <Loader aria-label={`Loading ${label.toLowerCase()}`} />
      </Center>
    );
  }
  if (of.value.length === 0) return <Text c="dimmed">{empty}</Text>;
  return (
    <Card withBorder padding={0}>
      <ul className={classes.lines} aria-label={label}>
        {children}
      </ul>
    </Card>
  );
}

function Line({ look, at, children }: { look: ReactNode; at: number | undefined; children: ReactNode }) {
  return (
    <li className={classes.line}>
      <span className={classes.look}>{look}</span>
      <Stack gap={0} className={classes.words}>
        {children}
      </Stack>
      <Text size="xs" c="dimmed">
        <Moment at={at} />
      </Text>
    </li>
  );
}
