// The Locks tab: who holds what and who waits for whom, as a picture and as a list, with people's own locks.
import { Button, Center, Loader, Switch, Text, TextInput, Group, Title } from "@mantine/core";
import { IconLockPlus } from "@tabler/icons-react";
import { useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { locksItself, useLocks } from "../live";
import { Page } from "../ui/Page";
import { BreakDialog } from "./BreakDialog";
import { lockRows } from "./lock-rows";
import { LockTable } from "./LockTable";
import { PersonLocks } from "./PersonLocks";
import { TakeDialog } from "./TakeDialog";
import { layOut, waitsOf } from "./wait-graph";
import { GraphLegend, WaitGraph } from "./WaitGraph";

export default function LocksPage() {
  const locks = useLocks();
  const [query] = useSearchParams();
  const [search, setSearch] = useState(query.get("object") ?? "");
  const [intentions, setIntentions] = useState(false);
  const [taking, setTaking] = useState(false);
  const [breaking, setBreaking] = useState<string>();
  const { all } = locks.value;
  const graph = useMemo(() => {
    const { parties, waits } = waitsOf(all);
    return layOut(parties, waits);
  }, [all]);
  const rows = useMemo(() => lockRows(all.filter((lock) => intentions || locksItself(lock)), search), [all, intentions, search]);
  const people = useMemo(() => all.filter((lock) => lock.owner.startsWith("locks/")).map((lock) => `${lock.owner} ${lock.object} ${lock.waiting}`).sort().join("|"), [all]);
  if (!locks.ready)
    return (
      <Page title="Locks">
        <Center mih={200}>
          <Loader role="status" aria-label="Loading locks" />
        </Center>
      </Page>
    );
  return (
    <Page
      title="Locks"
      actions={
        <Button leftSection={<IconLockPlus size={16} aria-hidden />} onClick={() => setTaking(true)}>
          Take a lock
        </Button>
      }
    >
      <Title order={2}>Who waits for whom</Title>
      {graph.nodes.length === 0 ? <Text size="sm">Nobody waits for a lock.</Text> : (
        <>
          <WaitGraph graph={graph} />
          <GraphLegend />
        </>
      )}
      <Group justify="space-between" align="flex-end">
        <Title order={2}>Held and waited for</Title>
        <Group align="flex-end">
          <Switch mb={8} label="Show intention locks" checked={intentions} onChange={(event) => setIntentions(event.currentTarget.checked)} />
          <TextInput label="Object or owner" placeholder="virtualMachines/web" value={search} onChange={(event) => setSearch(event.currentTarget.value)} />
        </Group>
      </Group>
      <LockTable rows={rows} onBreak={setBreaking} />
      <Title order={2}>Locks of people</Title>
      <PersonLocks moment={people} />
      <TakeDialog opened={taking} onClose={() => setTaking(false)} />
      <BreakDialog owner={breaking} locks={all} onClose={() => setBreaking(undefined)} />
    </Page>
  );
}
