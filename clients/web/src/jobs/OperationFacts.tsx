// Who asked for an operation, why, when, and where it stands.
import { Group, Text } from "@mantine/core";
import { Fragment } from "react";
import type { ReasonHop } from "../api/virtyard/api/type/v1/submission_pb";
import { countOf } from "../ui/counts";
import { LookBadge } from "../ui/LookBadge";
import { Moment } from "../ui/Moment";
import { millisOf, showLength } from "../ui/moments";
import { ResourceLink } from "../ui/ResourceLink";
import { useNow } from "../ui/use-now";
import { heldWords, operationLook } from "./states";
import type { Story } from "./use-story";

export function OperationFacts({ story }: { story: Story }) {
  const { metadata, operation } = story;
  const now = useNow(!operation.done);
  const created = millisOf(metadata.createTime);
  const ended = millisOf(metadata.endTime);
  const priority = story.jobs[0]?.priority ?? metadata.options?.priority ?? 0;
  return (
    <Group gap="lg" style={{ rowGap: 4 }}>
      <LookBadge look={operationLook(metadata.state)} strong />
      {metadata.abortRequested && !operation.done && <Text size="sm" fw={600}>abort requested</Text>}
      {metadata.held !== 0 && <Text size="sm" fw={600}>{heldWords(metadata.held)}</Text>}
      <Fact name="Asked for by">{metadata.principal || "nobody known"}</Fact>
      {created !== undefined && <Fact name="Accepted"><Moment at={created} /></Fact>}
      {created !== undefined && (
        <Fact name={operation.done ? "Took" : "So far"}>{showLength((ended ?? now) - created)}</Fact>
      )}
      {priority !== 0 && <Fact name="Priority">{priority}</Fact>}
      {metadata.options?.reason && <Fact name="Reason">{metadata.options.reason}</Fact>}
      {metadata.options?.under && <Fact name="Under"><ResourceLink name={metadata.options.under} /></Fact>}
      {metadata.supersededBy && <Fact name="Made way for"><ResourceLink name={metadata.supersededBy} /></Fact>}
      {metadata.replans > 0 && <Fact name="Planned again">{countOf(metadata.replans, "time")}</Fact>}
      <Trail hops={metadata.reasonTrail} own={metadata.principal} />
    </Group>
  );
}

export function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <Text size="sm" component="span" style={{ overflowWrap: "anywhere" }}>
      <Text span size="sm" c="dimmed">
        {name}{" "}
      </Text>
      {children}
    </Text>
  );
}

/** The chain of causes, where there is more than that somebody asked. */
function Trail({ hops, own }: { hops: readonly ReasonHop[]; own: string }) {
  const causes = hops.filter((hop) => hop.source !== own || hop.reason);
  if (causes.length < 2) return null;
  return (
    <Fact name="Why">
      {causes.map((hop, index) => (
        <Fragment key={index}>
          {index > 0 && " → "}
          <ResourceLink name={hop.source} />
          {hop.reason && ` (${hop.reason})`}
        </Fragment>
      ))}
    </Fact>
  );
}
