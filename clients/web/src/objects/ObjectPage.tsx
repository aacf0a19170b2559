// One object: its summary, what belongs to it, its jobs, events and locks, and what can be done with it.
import { Anchor, Badge, Button, Center, Group, Loader, Stack, Tabs, Text } from "@mantine/core";
import { IconTerminal2 } from "@tabler/icons-react";
import { Link, useParams, useSearchParams } from "react-router";
import { VirtualMachineState } from "../api/virtyard/api/inventory/v1/virtual_machine_pb";
import { titleOf, useLocksOf, useObject, type AnyObject } from "../live";
import { consolePath } from "../routes";
import { LockMark } from "../ui/LockMark";
import { LookBadge } from "../ui/LookBadge";
import { Page } from "../ui/Page";
import { ProblemAlert } from "../ui/ProblemAlert";
import { problemOfStatus } from "../ui/problem";
import { SeverityMark } from "../ui/SeverityMark";
import { KindIcon } from "./KindIcon";
import { capital, kindOf, stateLook, type ObjectKind } from "./kinds";
import { ObjectEvents, ObjectJobs, ObjectLocks } from "./ObjectLists";
import { OperationButtons } from "./OperationButtons";
import { RelatedTables } from "./RelatedTables";
import { SummaryTab } from "./SummaryTab";

export default function ObjectPage() {
  const { collection = "", id = "" } = useParams();
  const kind = kindOf(collection);
  if (!kind) return <Page title="No such kind">There are no objects called “{collection}”.</Page>;
  const name = `${collection}/${id}`;
  return <Known key={name} kind={kind} name={name} />;
}

function Known({ kind, name }: { kind: ObjectKind; name: string }) {
  const { value: object, ready, error } = useObject(name);
  if (object) return <Present kind={kind} object={object} />;
  if (error && !ready) {
    return (
      <Page title={name}>
        <ProblemAlert title="It cannot be watched" problem={problemOfStatus(error)} />
      </Page>
    );
  }
  if (!ready) {
    return (
      <Center mih={200}>
        <Loader aria-label={`Loading ${name}`} />
      </Center>
    );
  }
  return <Gone kind={kind} name={name} />;
}

/** An object that was deleted, or never was: what happened to it can still be read. */
function Gone({ kind, name }: { kind: ObjectKind; name: string }) {
  return (
    <Page title={name} icon={<KindIcon collection={kind.collection} size={26} />} lead={`There is no ${kind.noun} of this name now.`}>
      <Anchor component={Link} to={`/objects/${kind.collection}`}>
        All {kind.plural}
      </Anchor>
      <ObjectEvents name={name} />
    </Page>
  );
}

function Present({ kind, object }: { kind: ObjectKind; object: AnyObject }) {
  const [query, setQuery] = useSearchParams();
  const tab = query.get("tab") ?? "summary";
  return (
    <Page
      title={titleOf(object)}
      icon={<KindIcon collection={kind.collection} size={26} />}
      lead={
        <Group gap="xs">
          <LookBadge look={stateLook(object)} strong />
          <SeverityMark name={object.name} focusable />
          <LockMark name={object.name} focusable />
          <Text size="sm" c="dimmed" component="span">
            {capital(kind.noun)} {object.name}
          </Text>
        </Group>
      }
    >
      <Group gap={6} role="group" aria-label="What can be done">
        {object.$typeName === "virtyard.api.inventory.v1.VirtualMachine" && object.state === VirtualMachineState.RUNNING && (
          <Button size="xs" component={Link} to={consolePath(object.name)} leftSection={<IconTerminal2 size={14} aria-hidden />}>
            Console
          </Button>
        )}
        <OperationButtons kind={kind} object={object} />
      </Group>
      <Tabs value={tab} onChange={(value) => setQuery(value && value !== "summary" ? { tab: value } : {}, { replace: true })} keepMounted={false}>
        <Tabs.List mb="md">
          <Tabs.Tab value="summary">Summary</Tabs.Tab>
          <Tabs.Tab value="jobs">Jobs</Tabs.Tab>
          <Tabs.Tab value="events">Events</Tabs.Tab>
          <Tabs.Tab value="locks" rightSection={<LockCount name={object.name} />}>
            Locks
          </Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="summary">
          <Stack gap="md">
            <SummaryTab kind={kind} object={object} />
            <RelatedTables kind={kind} object={object} />
          </Stack>
        </Tabs.Panel>
        <Tabs.Panel value="jobs">
          <ObjectJobs name={object.name} />
        </Tabs.Panel>
        <Tabs.Panel value="events">
          <ObjectEvents name={object.name} />
        </Tabs.Panel>
        <Tabs.Panel value="locks">
          <ObjectLocks name={object.name} />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function LockCount({ name }: { name: string }) {
  const count = useLocksOf(name).length;
  return count > 0 ? (
    <Badge size="sm" circle color="yellow.5" autoContrast>
      {count}
    </Badge>
  ) : null;
}
